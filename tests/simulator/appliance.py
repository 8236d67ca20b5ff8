"""One appliance in memory: the same functions as the daemon's, under a simulated clock."""

import sqlite3
from dataclasses import dataclass
from datetime import datetime
from random import Random

from msgspec.structs import replace

from edgegate.checkin import at_reader, enter, leave, wifi_stopped
from edgegate.deadlines import reconsider, resume, settle
from edgegate.passes.decide import decide
from edgegate.passes.facts import Facts, Request
from edgegate.passes.model import (
    Balance,
    Channel,
    Counted,
    Credential,
    CredentialKind,
    Direction,
    Location,
    Pass,
    Record,
)
from edgegate.passes.payment import Decision
from edgegate.passes.reasons import ClosingReason
from edgegate.ports import ClockTrust
from edgegate.store import cache, ledger
from edgegate.store.books import Books
from edgegate.store.chain import Entry
from edgegate.store.files import Store
from edgegate.store.projection import rebuild
from simulator.steps import KIND_OF, Step

DEVICE = "device"
STAMP = ledger.Stamp(
    source=f"edgegate/simulator/{DEVICE}",
    clock=ClockTrust.TRUSTED,
    boot_id="b",
    monotonic_s=0.0,
)
STATES = ("offline", "online", "lockdown", "release", "untrust", "trust")


@dataclass(frozen=True)
class Asked:
    """What was decided, and all that could be known for it."""

    facts: Facts
    request: Request
    decision: Decision


class Appliance:
    """A device with its ledger, its copy of the cloud's records, and the cloud that writes it."""

    def __init__(self, records: list[Record]) -> None:
        self.store = Store.open(":memory:", now=lambda: 1.0)
        # Here the cloud's side writes the cache too, and there is no other transaction.
        self.store.cache.execute("PRAGMA query_only = OFF")
        self.books = Books(self.store, lambda: STAMP)
        self._told = ledger.head(self.store.ledger)
        for record in records:
            self._put(record, None)

    def close(self) -> None:
        self.store.close()

    def news(self) -> list[Entry]:
        """The entries written since this was last asked."""
        fresh: list[Entry] = []
        while batch := ledger.since(
            self.store.ledger, self._told.epoch, self._told.sequence + len(fresh)
        ):
            fresh += batch
        self._told = ledger.head(self.store.ledger)
        return fresh

    def act(self, step: Step) -> Asked | None:
        """Let what fell due happen, then the step; a decision is returned with its facts."""
        if step.action == "outage":
            self._restart()
        settle(self.books, step.at)
        asked = self._act(step)
        settle(self.books, step.at)
        return asked

    def _act(self, step: Step) -> Asked | None:
        match step.action:
            case "tap":
                return self._tap(step)
            case "checkin":
                return self._ask(step, Channel.KIOSK)
            case "wifi":
                return self._ask(step, Channel.WIFI)
            case "exit" | "checkout":
                self._leave(step)
            case "wifi_stop":
                wifi_stopped(self.books, step.customer or "", step.place or "", step.at)
            case "crash":
                self._restart()
            case action if action in STATES:
                self._switch(action, step.at)
        if step.record is not None:
            self._change(step, step.record)
        return None

    def _switch(self, action: str, at: datetime) -> None:
        """What the cloud, the clock or a staff member makes of the whole place."""
        books = self.books
        match action:
            case "offline" | "online":
                books.reached_at = at if action == "offline" else None
            case "lockdown" | "release":
                books.lockdown = action == "lockdown"
            case _:
                books.clock_trusted = action == "trust"

    def _tap(self, step: Step) -> Asked | None:
        books = self.books
        door = books.door(step.place or "")
        location = books.location(door.location) if door is not None else None
        customer = books.customer(step.customer or "")
        if door is None or location is None or customer is None:
            return None
        if door.direction is Direction.EXIT:
            self._leave(step)
            return None
        request = Request(at=step.at, location=location, channel=Channel.DOOR, door=door)
        facts = books.facts(customer, location, step.at, door)
        shown = Credential(id=customer.id, customer=customer.id, kind=CredentialKind.NFC_UID)
        outcome = at_reader(books, request, shown)
        if outcome is None or outcome.at != step.at:
            return None
        return Asked(facts, request, outcome.decision)

    def _ask(self, step: Step, channel: Channel) -> Asked | None:
        books = self.books
        location, customer = books.location(step.place or ""), books.customer(step.customer or "")
        if location is None or customer is None:
            return None
        request = Request(at=step.at, location=location, channel=channel)
        facts = books.facts(customer, location, step.at)
        return Asked(facts, request, enter(books, request, customer).decision)

    def _leave(self, step: Step) -> None:
        door = self.books.door(step.place or "")
        place = door.location if door is not None else step.place
        reason = ClosingReason.EXIT if door is not None else ClosingReason.CHECKOUT
        leave(self.books, step.customer or "", place or "", step.at, reason)

    def _change(self, step: Step, record: Record) -> None:
        """A change from the cloud arrives."""
        if step.action == "put":
            self._put(record, step.remaining)
        else:
            self._delete(record)
        self.books.forget_places()
        reconsider(self.books, step.at)

    def _restart(self) -> None:
        """Die and come back: all that a process holds is gone, the tables come from the ledger."""
        before = self.books
        rebuild(self.store.ledger)
        self.books = Books(self.store, lambda: STAMP)
        # These the daemon is told again by the cloud, the clock and the doors.
        self.books.reached_at = before.reached_at
        self.books.lockdown, self.books.clock_trusted = before.lockdown, before.clock_trusted
        self.books.answers = before.answers
        resume(self.books)

    def _put(self, record: Record, remaining: int | None) -> None:
        cache.put(self.store.cache, KIND_OF[type(record)], record)
        if not isinstance(record, Pass):
            return
        known = cache.get(self.store.cache, cache.BALANCE, record.id)
        if remaining is None and known is not None:
            return
        head = ledger.head(self.store.ledger)
        counted = {DEVICE: Counted(epoch=head.epoch, sequence=head.sequence)}
        left = record.amount if remaining is None else remaining
        balance = Balance(pass_=record.id, remaining=left, counted=counted)
        cache.put(self.store.cache, cache.BALANCE, balance)

    def _delete(self, record: Record) -> None:
        """Only what a space could lose; its places stay."""
        if isinstance(record, Location):
            return
        cache.delete(self.store.cache, KIND_OF[type(record)], record.id)
        if isinstance(record, Pass):
            cache.delete(self.store.cache, cache.BALANCE, record.id)


def copy_of(connection: sqlite3.Connection) -> sqlite3.Connection:
    """A database in memory with the same contents."""
    copied = sqlite3.connect(":memory:", isolation_level=None)
    connection.backup(copied)
    return copied


LISTS = (
    *("contracts", "others_contracts", "passes", "coverages"),
    *("running", "reservations", "offers"),
)


def shuffled(facts: Facts, random: Random) -> Facts:
    """The same facts, as a device might tell them that learned of them in another order."""
    lists = {name: list(getattr(facts, name)) for name in LISTS}
    return replace(facts, **{n: tuple(random.sample(v, len(v))) for n, v in lists.items()})


def decided_elsewhere(asked: Asked, random: Random) -> Decision:
    """What another device decides that knows the same."""
    return decide(shuffled(asked.facts, random), asked.request)
