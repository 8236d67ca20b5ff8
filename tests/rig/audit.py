"""Compares what appliances wrote with what their cloud has; every claim by itself."""

import asyncio
import json
import sqlite3
from collections import Counter
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import select

from edgegate.passes.happenings import Debited, Refunded
from edgegate.store import cache, chain, ledger
from edgegate.store.chain import Entry
from edgegate.store.projection import happening_of
from edgegate_sync.cloud import balances, feed
from edgegate_sync.cloud.database import Database, fetch, open_database
from edgegate_sync.cloud.history import ledger_state, parked
from edgegate_sync.cloud.ledger_tables import ledger_entry, movement
from edgegate_sync.cloud.projection import MovementKind
from edgegate_sync.cloud.rows import entry_of
from edgegate_sync.cloud.tables import record
from rig.processes import Box
from rig.sites import Site

DRAIN_S_MAX = 200


@dataclass
class Done:
    """What a run is known to have done, from its own side."""

    steps: int = 0
    taps: int = 0
    opened: int = 0
    told: list[tuple[str, int, int, str]] = field(default_factory=list)
    """Device, epoch, sequence and hash of entries that were durable when somebody was answered."""
    faults: Counter[str] = field(default_factory=Counter)
    adjusted: Counter[str] = field(default_factory=Counter)
    """By pass, what staff added."""


@dataclass
class Report:
    """What a campaign came to."""

    faults: Counter[str] = field(default_factory=Counter)
    entries: int = 0
    opened: int = 0
    moved: int = 0
    took_s: dict[str, float] = field(default_factory=dict)


async def drained(site: Site, database: Database) -> None:
    """Wait until every appliance has sent what it has, and knows what the cloud does.

    Raises:
        AssertionError: that does not come about.
    """
    seen: list[Any] = []
    head = 0
    try:
        async with asyncio.timeout(DRAIN_S_MAX):
            while True:
                async with database.reading() as connection:
                    head = (await feed.standing(connection, site.name)).head
                seen = [await box.ask("account") for box in site.boxes]
                if all(_is_drained(found, head) for found in seen):
                    return
                await asyncio.sleep(0.1)
    except TimeoutError:
        raise AssertionError(f"{site.name} does not drain to {head}: {seen}") from None


def _is_drained(found: dict[str, Any], head: int) -> bool:
    # An empty epoch has nothing to send.
    sent: bool = found["sequence"] == 0 or found["cursor"] == [found["epoch"], found["sequence"]]
    return sent and bool(found["head"] == head)


async def audited(site: Site, url: str) -> None:
    """Wait until a site has drained, and look at everything; its appliances are off then.

    Raises:
        AssertionError: something was lost, doubled, or differs.
    """
    database = await open_database(url)
    try:
        await drained(site, database)
        await Audit(site, Done(), database).run(Report())
    finally:
        await database.close()


class Audit:
    """Compares a site's appliances with its cloud; every claim by itself."""

    def __init__(self, site: Site, done: Done, database: Database) -> None:
        self._site = site.name
        self._boxes = site.boxes
        self._done = done
        self._database = database

    async def run(self, report: Report) -> None:
        """Look at everything.

        Raises:
            AssertionError: with the site, which names the seed, and what is wrong.
        """
        looks = {box.name: await box.ask("look") for box in self._boxes}
        left = {box.name: await box.ask("remaining") for box in self._boxes}
        for box in self._boxes:
            await box.stop()
        for name, found in looks.items():
            self._same(found["faults"], [], f"{name} had unexpected faults")
            self._same(found["parked"], [], f"{name} had entries refused")
            self._same(found["feed_quarantined"], [], f"{name} put records aside")
        written = {box.name: await asyncio.to_thread(ledger_of, box) for box in self._boxes}
        await self._entries(written)
        await self._balances(written, left, report)
        await self._records()
        report.entries += sum(map(len, written.values()))

    def _same(self, found: Any, wanted: Any, what: str) -> None:
        assert found == wanted, f"{self._site}: {what}: {found!r}, not {wanted!r}"

    async def _entries(self, written: dict[str, list[Entry]]) -> None:
        """Every entry is there once, as it was written, none is lost, and the chains hold."""
        rows = select(ledger_entry).where(ledger_entry.c.site == self._site)
        rows = rows.order_by(ledger_entry.c.device, ledger_entry.c.epoch, ledger_entry.c.sequence)
        async with self._database.reading() as connection:
            stored = [entry_of(self._site, row) for row in await fetch(connection, rows)]
            state = await ledger_state(connection, self._site, 100)
            aside = await parked(connection, self._site, "", 100)
        self._same(list(state.faults), [], "the cloud flags chains")
        self._same([(p.device, p.sequence, p.fault) for p in aside], [], "the cloud put aside")
        for name, entries in written.items():
            self._same(chain.verify(entries), [], f"the chain of {name}")
            self._same(len({e.epoch for e in entries}) <= 1, True, f"{name} has one epoch")
            there = [e for e in stored if e.device == name]
            self._same(chain.verify(there), [], f"the cloud's chain of {name}")
            self._same(
                [(e.epoch, e.sequence, e.hash, e.data) for e in there],
                [(e.epoch, e.sequence, e.hash, e.data) for e in entries],
                f"what the cloud has of {name}",
            )
        known = {(e.device, e.epoch, e.sequence, e.hash.hex()) for e in stored}
        lost = [told for told in self._done.told if told[2] and told not in known]
        self._same(lost, [], "what was answered for at the door is gone")

    async def _balances(
        self, written: dict[str, list[Entry]], left: dict[str, Any], report: Report
    ) -> None:
        """What the entries come to is what the books say, and what each appliance reckons."""
        booked = await self._booked(report)
        spent = spent_in(e for entries in written.values() for e in entries)
        self._same(_nonzero(booked["own"]), _nonzero(spent), "what the entries come to")
        self._same(_nonzero(booked["hand"]), _nonzero(self._done.adjusted), "what staff adjusted")
        async with self._database.site(self._site) as tx:
            self._same(await balances.audit(tx), {}, "the books' own sums")
        wanted = {}
        for pass_id, body in (await self._stored("pass")).items():
            wanted[pass_id] = body.get("amount", 0) + booked["all"][pass_id]
        for pass_id, body in (await self._stored("balance")).items():
            if pass_id in wanted:
                self._same(body["remaining"], wanted[pass_id], f"the balance of {pass_id}")
        for name, found in left.items():
            self._same(found["remaining"], wanted, f"what {name} reckons to be left")

    async def _booked(self, report: Report) -> dict[str, Counter[str]]:
        """What passes gained or lost: by their appliances, by hand, and in all."""
        booked: dict[str, Counter[str]] = {"own": Counter(), "hand": Counter(), "all": Counter()}
        columns = (movement.c.kind, movement.c["pass"], movement.c.amount)
        statement = select(*columns).where(movement.c.site == self._site)
        async with self._database.reading() as connection:
            rows = list((await fetch(connection, statement)).mappings())
        for row in rows:
            pass_id, amount = row["pass"], row["amount"]
            if pass_id is None:
                continue
            booked["all"][pass_id] += amount
            if row["kind"] in (MovementKind.DEBIT, MovementKind.REFUND):
                booked["own"][pass_id] += amount
            elif row["kind"] == MovementKind.ADJUSTMENT:
                booked["hand"][pass_id] += amount
            else:
                report.moved += 1
        return booked

    async def _stored(self, kind: str) -> dict[str, Any]:
        statement = select(record.c.id, record.c.body).where(
            record.c.site == self._site, record.c.kind == kind, record.c.op == "put"
        )
        async with self._database.reading() as connection:
            return {row.id: json.loads(row.body) for row in await fetch(connection, statement)}

    async def _records(self) -> None:
        for kind in cache.KINDS:
            wanted = await self._stored(kind)
            for box in self._boxes:
                found = await asyncio.to_thread(records_of, box, kind)
                self._same(found, wanted, f"the records {kind} of {box.name}")


def spent_in(entries: Iterable[Entry]) -> Counter[str]:
    """By pass, what entries took from it and gave back."""
    spent: Counter[str] = Counter()
    for entry in entries:
        happening = happening_of(entry)
        if isinstance(happening, Debited):
            spent[happening.pass_] -= happening.amount
        elif isinstance(happening, Refunded):
            spent[happening.pass_] += happening.amount
    return spent


def _nonzero(amounts: Counter[str]) -> dict[str, int]:
    return {name: amount for name, amount in amounts.items() if amount}


def ledger_of(box: Box) -> list[Entry]:
    """Everything an appliance has written; it must be off."""
    with closing(sqlite3.connect(box.ledger)) as connection:
        return list(ledger.entries(connection))


def records_of(box: Box, kind: str) -> dict[str, Any]:
    """An appliance's records of a kind, by id; it must be off."""
    with closing(sqlite3.connect(box.cache)) as connection:
        rows = connection.execute(f"SELECT id, body FROM {kind}")  # noqa: S608 - a kind's name
        return {id_: json.loads(body) for id_, body in rows}
