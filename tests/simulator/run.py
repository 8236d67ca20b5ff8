"""Runs random spaces, checks them after every step, and makes a failure small."""

import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from random import Random
from typing import TypeVar

from edgegate.deadlines import view_of_segment
from edgegate.passes.happenings import Closed
from edgegate.passes.model import Pass, Record
from edgegate.passes.reasons import ClosingReason
from edgegate.passes.visits import deadline
from edgegate.store import cache, ledger
from edgegate.store.projection import TABLES, happening_of, instant, rebuild
from oracle.comparison import difference
from oracle.payers import session_allows
from oracle.worlds import Draw
from simulator import spaces
from simulator.account import Account
from simulator.appliance import Appliance, Asked, copy_of, decided_elsewhere
from simulator.steps import HIDDEN, Step, next_step, scenario

T = TypeVar("T")

STEPS_A_SPACE = 250
LOOK_EVERY = 50
"""Every so many steps the tables are made anew from the ledger, and its chain is verified."""

SHRINKS_MAX = 1500


@dataclass(frozen=True)
class Failure:
    """What was found wrong after a step, and all that led to it."""

    seed: str
    records: list[Record]
    steps: list[Step]
    fault: str

    def __str__(self) -> str:
        text = scenario(self.records, self.steps)
        return f"seed {self.seed}, step {len(self.steps)}: {self.fault}\n\n{text}\n"


class Simulation:
    """One space under watch."""

    def __init__(self, records: list[Record], *, steady: bool) -> None:
        self.appliance = Appliance(records)
        self._account = Account()
        self._random = Random(0)
        self._steady = steady
        """Whether time only goes forward."""
        for record in records:
            if isinstance(record, Pass):
                self._account.stock(record, None)

    def step(self, step: Step) -> str | None:
        """Do a step; the first thing that is wrong after it is returned."""
        if step.record is not None:
            # What fell due before a change from the cloud is still reckoned without it.
            self.appliance.act(Step(step.at, "tick"))
            fault = next(self._entries(changed=False), None)
            if fault is not None:
                return fault
            self._account.told(step)
        asked = self.appliance.act(step)
        return next(self._faults(step, asked), None)

    def _faults(self, step: Step, asked: Asked | None) -> Iterator[str]:
        yield from self._entries(changed=step.record is not None)
        if asked is not None:
            yield from self._decision(asked)
        if step.action == "put" and isinstance(step.record, Pass):
            return
        yield from self._balances()
        yield from self._sessions(step)
        yield from self._coverages()

    def _entries(self, *, changed: bool) -> Iterator[str]:
        for entry in self.appliance.news():
            happening = happening_of(entry)
            revoked = isinstance(happening, Closed) and happening.reason is ClosingReason.REVOKED
            if revoked and not changed:
                yield f"revoked by nobody: {happening}"
            if happening is not None:
                yield from self._account.post(happening, entry.at, self.appliance.books)

    def _decision(self, asked: Asked) -> Iterator[str]:
        """Every decision is the oracle's, and that of a device that knows the same."""
        found = difference(asked.facts, asked.request, asked.decision)
        if found is not None:
            yield f"a decision is not that of the oracle: {found}"
        if decided_elsewhere(asked, self._random) != asked.decision:
            yield f"another device decides otherwise than {asked.decision}"

    def _balances(self) -> Iterator[str]:
        books = self.appliance.books
        passes = list(cache.every(self.appliance.store.cache, cache.PASS))
        left = {p: n for p, n in books.remaining(passes).items() if p in self._account.left}
        for pass_id, number in left.items():
            if number != self._account.left[pass_id]:
                yield f"balance wrong: {pass_id} has {number}, not {self._account.left[pass_id]}"

    def _sessions(self, step: Step) -> Iterator[str]:
        books = self.appliance.books
        sessions = books.sessions()
        places = [(s.customer, s.location) for s in sessions]
        if len(set(places)) < len(places):
            yield f"two open sessions at one place: {places}"
        if sorted(s.id for s in sessions) != sorted(self._account.visits):
            yield f"sessions not those of the ledger: {places}"
        due = books.next_deadline()
        if due is not None and due <= step.at and self._steady:
            yield f"a deadline in the past: {due}"
        for session in sessions if self._steady else ():
            facts, request = view_of_segment(books, session, step.at)
            if session.closes_at <= step.at:
                yield f"open beyond its end: {session}"
            if session.segment is not None and not session_allows(facts, request):
                yield f"goes on, on what no longer counts: {session}"
            noted = deadline_of(self.appliance.store.ledger, session.id)
            now = deadline(session, facts, request)
            if noted is None or noted > now:
                yield f"a deadline noted too late: {now} is due, {noted} is noted, {session}"

    def _coverages(self) -> Iterator[str]:
        """What covers a day was paid: nobody comes in by a use that came back (S-06)."""
        for (pass_id, customer, day), uses in self._account.days.items():
            if uses > 0:
                continue
            rows = self.appliance.store.ledger.execute(
                "SELECT 1 FROM coverage WHERE customer = ? AND json_extract(body, '$.pass') = ?"
                " AND json_extract(body, '$.day') = ?",
                (customer, pass_id, day.isoformat()),
            )
            if rows.fetchone() is not None:
                yield f"covered without paying: {customer} by {pass_id} on {day}"

    def look(self) -> str | None:
        """Whether the ledger is sound, and gives the same tables from empty."""
        store = self.appliance.store
        faults = ledger.verify(store.ledger)
        if faults:
            return f"the chain does not verify: {faults[0]}"
        copied = copy_of(store.ledger)
        try:
            rebuild(copied)
            for table in TABLES:
                before, after = rows_of(store.ledger, table), rows_of(copied, table)
                if before != after:
                    gone = [row for row in before if row not in after][:2]
                    new = [row for row in after if row not in before][:2]
                    return f"made anew otherwise: in {table} {gone} became {new}"
        finally:
            copied.close()
        return None


def deadline_of(connection: sqlite3.Connection, session_id: str) -> datetime | None:
    row = connection.execute("SELECT deadline FROM session WHERE id = ?", (session_id,)).fetchone()
    return None if row is None or row[0] is None else instant(row[0])


def rows_of(connection: sqlite3.Connection, table: str) -> list[str]:
    columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
    kept = ", ".join(name for name in columns if name != "deadline")
    rows = connection.execute(f"SELECT {kept} FROM {table}")  # noqa: S608 - the tables' own names
    return sorted(map(repr, rows))


def told(appliance: Appliance) -> list[str]:
    """All that an appliance wrote down, in order."""
    return [f"{e.at} {e.data!r}" for e in ledger.entries(appliance.store.ledger)]


def fault_of(records: list[Record], steps: list[Step], *, steady: bool) -> str | None:
    """What is wrong in a space after the last of the steps, or before; None: nothing."""
    simulation = Simulation(records, steady=steady)
    try:
        for number, step in enumerate(steps, 1):
            fault = simulation.step(step)
            if fault is None and (number % LOOK_EVERY == 0 or number == len(steps)):
                fault = simulation.look()
            if fault is not None:
                return fault
        return traces(records, steps, simulation.appliance) if steady else None
    finally:
        simulation.appliance.close()


def traces(records: list[Record], steps: list[Step], appliance: Appliance) -> str | None:
    """S-08: a crash, an outage or a look at the clock leaves no trace in what is written down."""
    twin = Appliance(records)
    try:
        for step in steps:
            if step.action not in HIDDEN or step is steps[-1]:
                twin.act(step)
        for ours, theirs in zip(told(appliance), told(twin), strict=False):
            if ours != theirs:
                return f"a crash leaves a trace: {ours}, without it {theirs}"
        if len(told(appliance)) != len(told(twin)):
            return "a crash leaves a trace: more or less happens"
    finally:
        twin.close()
    return None


def simulate(seed: str, steps_max: int = STEPS_A_SPACE, *, steady: bool = True) -> Failure | None:
    """Run the space of a seed; the first thing that is wrong is returned, made small."""
    draw = Draw(Random(seed))
    records = spaces.space(draw)
    simulation = Simulation(records, steady=steady)
    steps: list[Step] = []
    fault = None
    try:
        while fault is None and len(steps) < steps_max:
            books = simulation.appliance.books
            steps.append(next_step(draw, books, clock_steps=not steady))
            fault = simulation.step(steps[-1])
            if fault is None and len(steps) % LOOK_EVERY == 0:
                fault = simulation.look()
        if fault is None and steady:
            fault = traces(records, steps, simulation.appliance)
    finally:
        simulation.appliance.close()
    return None if fault is None else shrunk(seed, records, steps, fault, steady=steady)


def shrunk(
    seed: str, records: list[Record], steps: list[Step], fault: str, *, steady: bool
) -> Failure:
    """Leave out steps, then records, for as long as something of the same sort is still wrong."""
    tries = iter(range(SHRINKS_MAX))

    def fails(with_records: list[Record], with_steps: list[Step]) -> bool:
        if next(tries, None) is None:
            return False
        found = fault_of(with_records, with_steps, steady=steady)
        return found is not None and found.partition(":")[0] == fault.partition(":")[0]

    steps = fewer(steps, lambda kept: fails(records, kept))
    records = fewer(records, lambda kept: fails(kept, steps))
    steps = fewer(steps, lambda kept: fails(records, kept))
    return Failure(seed, records, steps, fault_of(records, steps, steady=steady) or fault)


def fewer(items: list[T], still_fails: Callable[[list[T]], bool]) -> list[T]:
    """Delta debugging: leave out halves, quarters, …, single ones."""
    size = len(items) // 2
    while size:
        start = 0
        while start < len(items):
            kept = items[:start] + items[start + size :]
            if still_fails(kept):
                items = kept
            else:
                start += size
        size //= 2
    return items
