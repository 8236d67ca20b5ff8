"""The books: what the line reads for a decision, and where it writes what happened."""

import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Protocol, TypeVar

import msgspec

from edgegate.passes.facts import Facts, Running
from edgegate.passes.happenings import (
    Closed,
    Debited,
    Denied,
    Granted,
    Happening,
    Opened,
    SegmentBegan,
    SegmentEnded,
)
from edgegate.passes.model import (
    Balance,
    Coverage,
    Credential,
    Customer,
    Door,
    Location,
    Pass,
    PassState,
    Session,
    Unit,
)
from edgegate.store import cache
from edgegate.store.chain import entry_id
from edgegate.store.ledger import Draft, Stamp, append, head
from edgegate.store.projection import (
    COVERAGE_KEPT,
    TYPES,
    instant,
    microseconds,
    project,
    read_session,
)

_coverage = msgspec.json.Decoder(Coverage).decode
_session = msgspec.json.Decoder(Session).decode

R = TypeVar("R", bound=msgspec.Struct)

ANCESTORS_MAX = 16
"""How deep locations may lie in each other; a deeper or circular tree is cut there."""


class Files(Protocol):
    """The two database files, as whoever recovers them leaves them now."""

    @property
    def ledger(self) -> sqlite3.Connection:
        """What this device did; only entries are ever added."""

    @property
    def cache(self) -> sqlite3.Connection:
        """The copy of the cloud's records; the line only reads it."""


class Books:
    """The cloud's records and the ledger, as one device's line reads and writes them.

    Every method runs inside a job of the database thread; none of them commits.
    """

    def __init__(self, store: Files, stamp: Callable[[], Stamp]) -> None:
        self._store = store
        self._stamp = stamp
        self._places_of = store.cache
        self._locations: dict[str, Location | None] = {}
        self._doors: dict[str, Door | None] = {}
        self.lockdown = False

    def forget_places(self) -> None:
        """Read locations and doors afresh; called after each change of the cache."""
        self._locations.clear()
        self._doors.clear()

    # Records of the cloud.

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Let all that is read of the cloud's records inside come from one state.

        It also takes the file's lock once and not for each of six reads, which halves their time.
        """
        cache_file = self._store.cache
        cache_file.execute("BEGIN")
        try:
            yield
        finally:
            # Nothing was written; SQLite itself has ended it where the file failed.
            if cache_file.in_transaction:
                cache_file.execute("ROLLBACK")

    def location(self, location_id: str) -> Location | None:
        """A location by its id."""
        self._follow_file()
        if location_id not in self._locations:
            self._locations[location_id] = self.record_of(cache.LOCATION, location_id)
        return self._locations[location_id]

    def door(self, door_id: str) -> Door | None:
        """A door by its id."""
        self._follow_file()
        if door_id not in self._doors:
            self._doors[door_id] = self.record_of(cache.DOOR, door_id)
        return self._doors[door_id]

    def customer(self, customer_id: str) -> Customer | None:
        """A customer by their id."""
        return self.record_of(cache.CUSTOMER, customer_id)

    def record_of(self, kind: cache.Kind[R], record_id: str) -> R | None:
        """A record of the cloud's by its id."""
        return cache.get(self._store.cache, kind, record_id)

    def credential(self, lookup: str) -> Credential | None:
        """A credential by its keyed hash."""
        found = cache.find(self._store.cache, cache.CREDENTIAL, "lookup", lookup)
        return found[0] if found else None

    def remaining(self, passes: Iterable[Pass]) -> dict[str, int]:
        """What is left of each pass (M-01): its balance less the debits not yet counted in it."""
        passes = list(passes)
        ids = msgspec.json.encode([p.id for p in passes]).decode()
        rows = self._store.cache.execute(
            "SELECT body FROM balance WHERE id IN (SELECT value FROM json_each(?))", (ids,)
        )
        balances = {b.pass_: b for b in (cache.BALANCE.decode.decode(row[0]) for row in rows)}
        left = {p.id: balances[p.id].remaining if p.id in balances else p.amount for p in passes}
        debits = self._store.ledger.execute(
            "SELECT pass, device, epoch, sequence, amount FROM debit"
            " WHERE pass IN (SELECT value FROM json_each(?))",
            (ids,),
        )
        for pass_id, device, epoch, sequence, amount in debits:
            if not _is_counted(balances.get(pass_id), device, epoch, sequence):
                left[pass_id] -= amount
        return left

    # Visits.

    def facts(self, customer: Customer, location: Location, at: datetime) -> Facts:
        """All that a decision about a customer at a location may look at."""
        passes = tuple(self._held_by(customer, cache.PASS))
        passes = tuple(p for p in passes if p.state is not PassState.CANCELLED)
        minute_passes = [p.id for p in passes if p.unit is Unit.MINUTE]
        return Facts(
            customer=customer,
            ancestry=self._ancestry(location),
            contracts=tuple(self._held_by(customer, cache.CONTRACT)),
            passes=passes,
            remaining=self.remaining(passes),
            coverages=self._coverages_of(customer.id, at),
            session=self.session_of(customer.id, location.id),
            running=tuple(self._running(minute_passes)) if minute_passes else (),
            lockdown=self.lockdown,
        )

    def session_of(self, customer_id: str, location_id: str) -> Session | None:
        """The open session of a customer at a location."""
        row = self._store.ledger.execute(
            "SELECT body FROM session WHERE customer = ? AND location = ?",
            (customer_id, location_id),
        ).fetchone()
        return None if row is None else _session(row[0])

    def session(self, session_id: str) -> Session | None:
        """An open session by its id."""
        return read_session(self._store.ledger, session_id)

    def sessions(self) -> list[Session]:
        """All open sessions, by customer."""
        rows = self._store.ledger.execute("SELECT body FROM session ORDER BY customer, location")
        return [_session(row[0]) for row in rows]

    def sessions_on(self, pass_ids: Iterable[str]) -> list[Session]:
        """The open sessions whose segment is on one of the passes, by customer."""
        ids = msgspec.json.encode(list(pass_ids)).decode()
        rows = self._store.ledger.execute(
            "SELECT body FROM session WHERE pass IN (SELECT value FROM json_each(?))"
            " ORDER BY customer, location",
            (ids,),
        )
        return [_session(row[0]) for row in rows]

    def next_deadline(self) -> datetime | None:
        """The earliest instant at which an open session asks for a look."""
        row = self._store.ledger.execute("SELECT MIN(deadline) FROM session").fetchone()
        return None if row[0] is None else instant(row[0])

    def sessions_due(self, at: datetime) -> list[Session]:
        """The open sessions whose deadline is this instant or earlier, by customer."""
        rows = self._store.ledger.execute(
            "SELECT body FROM session WHERE deadline <= ? ORDER BY customer, location",
            (microseconds(at),),
        )
        return [_session(row[0]) for row in rows]

    def set_deadline(self, session_id: str, at: datetime) -> None:
        """Note when a session asks for a look; derived, so not in the ledger."""
        self._store.ledger.execute(
            "UPDATE session SET deadline = ? WHERE id = ?", (microseconds(at), session_id)
        )

    # Writing.

    def next_name(self) -> str:
        """A name for a new session: that of the entry which is written next."""
        link = head(self._store.ledger)
        return entry_id(self._stamp().source, link.epoch, link.sequence + 1)

    def record(self, happenings: Iterable[Happening], at: datetime) -> None:
        """Append what happened to the ledger and carry it into the tables."""
        written = list(happenings)
        drafts = [Draft(type=TYPES[type(h)], at=at, subject=_subject(h), data=h) for h in written]
        entries = append(self._store.ledger, drafts, self._stamp())
        for happening, entry in zip(written, entries, strict=True):
            project(self._store.ledger, happening, entry)

    def append(self, draft: Draft) -> None:
        """Append an entry that no table follows: what a door or a device reports."""
        append(self._store.ledger, [draft], self._stamp())

    # Parts.

    def _follow_file(self) -> None:
        """Places are remembered for as long as the cache is the same file."""
        if self._places_of is not self._store.cache:
            self._places_of = self._store.cache
            self.forget_places()

    def _held_by(self, customer: Customer, kind: cache.Kind[R]) -> list[R]:
        held = cache.of_holder(self._store.cache, kind, customer.id)
        if customer.team is not None:
            held += cache.of_holder(self._store.cache, kind, customer.team)
        return held

    def _coverages_of(self, customer_id: str, at: datetime) -> tuple[Coverage, ...]:
        rows = self._store.ledger.execute(
            "SELECT body FROM coverage WHERE customer = ? AND (until IS NULL OR until > ?)",
            (customer_id, microseconds(at - COVERAGE_KEPT)),
        )
        return tuple(_coverage(row[0]) for row in rows)

    def _running(self, pass_ids: list[str]) -> Iterator[Running]:
        for s in self.sessions_on(pass_ids):
            if s.segment is not None:
                yield Running(
                    session=s.id, customer=s.customer, pass_=s.segment.pass_, from_=s.segment.from_
                )

    def _ancestry(self, location: Location) -> tuple[str, ...]:
        ids = [location.id]
        parent = location.parent
        while parent is not None and parent not in ids and len(ids) < ANCESTORS_MAX:
            ids.append(parent)
            above = self.location(parent)
            parent = above.parent if above is not None else None
        return tuple(ids)


def _is_counted(balance: Balance | None, device: str, epoch: int, sequence: int) -> bool:
    counted = balance.counted.get(device) if balance is not None else None
    return counted is not None and (epoch, sequence) <= (counted.epoch, counted.sequence)


def _subject(h: Happening) -> str:
    """Where it happened: the envelope's subject names a place, never a person."""
    match h:
        case Granted() | Denied() if h.door is not None:
            return f"door/{h.door}"
        case Granted() | Denied() | Debited() | Closed():
            return f"location/{h.location}"
        case Opened():
            return f"location/{h.session.location}"
        case SegmentEnded() | SegmentBegan():
            return f"session/{h.session}"
