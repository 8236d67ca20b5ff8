"""The books: what the line reads for a decision, and where it writes what happened."""

import sqlite3
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta

import msgspec
from msgspec.structs import replace

from edgegate.passes.facts import Facts, Running, Span, day_of, running_of
from edgegate.passes.happenings import (
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
    Customer,
    Door,
    Location,
    Pass,
    PassState,
    Reservation,
    ReservationState,
    Unit,
)
from edgegate.passes.state import Coverage, Session
from edgegate.store import cache
from edgegate.store.chain import Link, entry_id
from edgegate.store.doubtful import Doubts, as_moved
from edgegate.store.ledger import Draft, Stamp, append, head
from edgegate.store.projection import (
    COVERAGE_KEPT,
    TYPES,
    instant,
    microseconds,
    project,
    read_session,
)
from edgegate.store.records import Files, Records

_coverage = msgspec.json.Decoder(Coverage).decode
_session = msgspec.json.Decoder(Session).decode
_debited = msgspec.json.Decoder(Debited).decode

NAMED_MAX = 8
"""So many passes are named one by one in a statement."""

ANSWERS_MAX = 256
"""How many answers of toggle readers are remembered; the oldest goes."""


class Books(Records):
    """The cloud's records and the ledger, as one device's line reads and writes them.

    Every method runs inside a job of the database thread; none of them commits.
    """

    def __init__(self, store: Files, stamp: Callable[[], Stamp]) -> None:
        super().__init__(store)
        self._stamp = stamp
        self.lockdown = False
        """Whether all of it is in a lockdown: doors, kiosk and Wi-Fi."""
        self.locked_doors: frozenset[str] = frozenset()
        """The doors that are in one of their own."""
        self.appended = 0
        """How many entries were written since the start, those of undone jobs too."""
        self.reached_at: datetime | None = None
        """When the cloud was last reached, while it is out of reach."""
        self.clock_trusted = True
        self.doubts = Doubts(store, stamp)
        """What was dated while nobody believed the clock."""
        self.answers: dict[tuple[str, str], object] = {}
        """What was answered lately, by door and credential; a restart forgets it."""

    @property
    def ledger(self) -> sqlite3.Connection:
        """The ledger's file, for tables that concern one part only (`edgegate.store.wifi`)."""
        return self._store.ledger

    def remaining(self, passes: Iterable[Pass]) -> dict[str, int]:
        """What is left of each pass (M-01): its balance less the debits not yet counted in it."""
        passes = list(passes)
        marks, ids = _marks([p.id for p in passes])
        rows = self._store.cache.execute(f"SELECT body FROM balance WHERE id IN {marks}", ids)  # noqa: S608 - marks
        balances = {b.pass_: b for b in (cache.BALANCE.decode.decode(row[0]) for row in rows)}
        left = {p.id: balances[p.id].remaining if p.id in balances else p.amount for p in passes}
        debits = self._store.ledger.execute(
            f"SELECT pass, device, epoch, sequence, amount FROM debit WHERE pass IN {marks}",  # noqa: S608 - marks
            ids,
        )
        for pass_id, device, epoch, sequence, amount in debits:
            if not _is_counted(balances.get(pass_id), device, epoch, sequence):
                left[pass_id] -= amount
        return left

    # Visits.

    def facts(
        self, customer: Customer, location: Location, at: datetime, door: Door | None = None
    ) -> Facts:
        """All that a decision about a customer at a location may look at."""
        passes = tuple(self.held_by(customer, cache.PASS))
        passes = tuple(p for p in passes if _is_kept(p, location, at))
        contracts = tuple(self.held_by(customer, cache.CONTRACT))
        session = self.session_of(customer.id, location.id)
        ridden = self._ridden([session] if session is not None else [], passes)
        counted = [p.id for p in (*passes, *ridden) if p.unit in (Unit.MINUTE, Unit.CREDIT)]
        riding = self.sessions_on(counted) if counted else []
        ridden += self._ridden(riding, (*passes, *ridden))
        resource = door.resource if door is not None else None
        return Facts(
            customer=customer,
            ancestry=self.ancestry(location),
            contracts=contracts,
            others_contracts=tuple(self.hung_on(passes, contracts)),
            passes=passes,
            remaining=self.remaining((*passes, *ridden)),
            coverages=self._coverages_of(customer.id, at),
            session=session,
            running=tuple(self._running(riding, at)),
            lockdown=self.is_locked_down(door.id if door is not None else None),
            reservations=self._reservations_of(customer.id, at),
            taken=self._taken(resource, at) if resource is not None else (),
            resource=self.record_of(cache.RESOURCE, resource) if resource is not None else None,
            offers=self.offers(),
            charged_offline=self._charged_offline(customer.id),
            inside=self._inside(location) if location.capacity is not None else 0,
            day_begun=door is not None and bool(door.schedule) and self._day_begun(location, at),
            cache_age=self.cache_age(at),
            seen_at=self._seen_at(customer.id, location.id),
            clock_trusted=self.clock_trusted,
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
        """The open sessions whose segment draws on one of the passes, by customer."""
        wanted = frozenset(pass_ids)
        marks, ids = _marks(sorted(wanted))
        rows = self._store.ledger.execute(
            f"SELECT body FROM session WHERE pass IN {marks} UNION ALL"  # noqa: S608 - marks
            " SELECT body FROM session INDEXED BY session_lots WHERE instr(body, '\"lots\":')",
            ids,
        )
        # Mostly there are none: to sort them, and leave out who comes twice, takes SQLite longer.
        found = {s.id: s for s in (_session(row[0]) for row in rows)}.values()
        riding = [s for s in found if s.segment and not wanted.isdisjoint(s.segment.passes)]
        return sorted(riding, key=lambda s: (s.customer, s.location))

    def next_deadline(self) -> datetime | None:
        """The earliest instant at which an open session asks for a look."""
        row = self._store.ledger.execute("SELECT MIN(deadline) FROM session").fetchone()
        return None if row[0] is None else instant(row[0])

    def deadline_of(self, customer_id: str, location_id: str) -> tuple[str, datetime] | None:
        """The open session of a customer at a location, and when it asks for a look, if it does."""
        row = self._store.ledger.execute(
            "SELECT id, deadline FROM session"
            " WHERE customer = ? AND location = ? AND deadline IS NOT NULL",
            (customer_id, location_id),
        ).fetchone()
        return None if row is None else (row[0], instant(row[1]))

    def sessions_due(self, at: datetime) -> list[Session]:
        """The open sessions whose deadline is this instant or earlier, by customer."""
        rows = self._store.ledger.execute(
            "SELECT body FROM session WHERE deadline <= ? ORDER BY customer, location",
            (microseconds(at),),
        )
        return [_session(row[0]) for row in rows]

    def set_deadline(self, session_id: str, at: datetime | None) -> None:
        """Note when a session asks for a look, None: not again; derived, so not in the ledger."""
        self._store.ledger.execute(
            "UPDATE session SET deadline = ?1 WHERE id = ?2 AND deadline IS NOT ?1",
            (None if at is None else microseconds(at), session_id),
        )

    def changed_at(self) -> datetime | None:
        """When the last change from the cloud was looked at: deadlines before it have fired."""
        row = self._store.ledger.execute(
            "SELECT value FROM meta WHERE name = 'changed_at'"
        ).fetchone()
        return None if row is None else instant(row[0])

    def note_change(self, at: datetime) -> None:
        """Remember that all sessions were looked at after a change from the cloud."""
        self._store.ledger.execute(
            "INSERT OR REPLACE INTO meta VALUES ('changed_at', ?)", (microseconds(at),)
        )

    def attempt(self, step: Callable[[], object]) -> Exception | None:
        """Do a step of a job whole or not at all; what undid it is returned.

        Raises:
            sqlite3.Error: the storage failed, and with it the whole job.
        """
        ledger = self._store.ledger
        ledger.execute("SAVEPOINT step")
        try:
            step()
        except Exception as error:  # the boundary of one record inside a job that concerns all
            if isinstance(error, sqlite3.Error) and not isinstance(error, sqlite3.IntegrityError):
                raise
            ledger.execute("ROLLBACK TO step")
            ledger.execute("RELEASE step")
            return error
        ledger.execute("RELEASE step")
        return None

    # Writing.

    def head(self) -> Link:
        """Where the ledger stands."""
        return head(self._store.ledger)

    def name_after(self, link: Link) -> str:
        """A name for a new session: that of the entry which is written next."""
        return entry_id(self._stamp().source, link.epoch, link.sequence + 1)

    def record(
        self, happenings: Iterable[Happening], at: datetime, after: Link | None = None
    ) -> None:
        """Append what happened to the ledger and carry it into the tables.

        `after` is the ledger's head, where the caller knows it already.
        """
        written = list(happenings)
        drafts = [Draft(type=TYPES[type(h)], at=at, subject=_subject(h), data=h) for h in written]
        entries = append(self._store.ledger, drafts, self._stamp(), after)
        for happening, entry in zip(written, entries, strict=True):
            project(self._store.ledger, happening, entry)
        self.appended += len(entries)

    def append(self, draft: Draft) -> None:
        """Append an entry that no table follows: what a door or a device reports."""
        append(self._store.ledger, [draft], self._stamp())
        self.appended += 1

    def note_lockdown(self, doors: frozenset[str], *, everywhere: bool) -> None:
        """Remember a lockdown of these doors, or of everything, over restarts too."""
        self.locked_doors, self.lockdown = doors, everywhere
        self._store.ledger.execute(
            "INSERT OR REPLACE INTO meta VALUES ('lockdown', ?)",
            (msgspec.json.encode([everywhere, sorted(doors)]).decode(),),
        )

    def recall_lockdown(self) -> None:
        """Take up the lockdown that was there when the process ended."""
        query = "SELECT value FROM meta WHERE name = 'lockdown'"
        row = self._store.ledger.execute(query).fetchone()
        if row is not None:
            self.lockdown, doors = msgspec.json.decode(row[0], type=tuple[bool, list[str]])
            self.locked_doors = frozenset(doors)

    def is_locked_down(self, door_id: str | None) -> bool:
        """Whether a lockdown holds at a door, or where no door is asked for."""
        return self.lockdown or door_id in self.locked_doors

    def remember_answer(self, door_id: str, credential_id: str, answer: object) -> None:
        """Remember an answer for a moment; the oldest of `ANSWERS_MAX` goes."""
        self.answers.pop((door_id, credential_id), None)
        if len(self.answers) >= ANSWERS_MAX:
            del self.answers[next(iter(self.answers))]
        self.answers[door_id, credential_id] = answer

    # Parts.

    def _coverages_of(self, customer_id: str, at: datetime) -> tuple[Coverage, ...]:
        rows = self._store.ledger.execute(
            "SELECT body FROM coverage WHERE customer = ? AND (until IS NULL OR until > ?)",
            (customer_id, microseconds(at - COVERAGE_KEPT)),
        )
        return tuple(_coverage(row[0]) for row in rows)

    def _ridden(self, sessions: Iterable[Session], passes: tuple[Pass, ...]) -> tuple[Pass, ...]:
        """The passes of open segments that are not, or no longer, the customer's: also debited."""
        held = {p.id for p in passes}
        segments = (s.segment for s in sessions if s.segment is not None)
        named = {pass_id: None for segment in segments for pass_id in segment.passes}
        found = (self.record_of(cache.PASS, pass_id) for pass_id in named if pass_id not in held)
        return tuple(p for p in found if p is not None)

    def _running(self, sessions: Iterable[Session], at: datetime) -> Iterator[Running]:
        for s in sessions:
            running = running_of(s, self._booked(s, at))
            if running is not None:
                yield running

    def _booked(self, session: Session, at: datetime) -> tuple[Span, ...]:
        location = self.location(session.location)
        if location is None or not location.exclude_booked_minutes:
            return ()
        own = self._reservations_of(session.customer, at)
        return tuple(Span(r.from_, r.until) for r in own)

    def _reservations_of(self, customer_id: str, at: datetime) -> tuple[Reservation, ...]:
        found = cache.find(self._store.cache, cache.RESERVATION, "customer", customer_id)
        return tuple(
            self._as_it_stands(r)
            for r in found
            if r.state is not ReservationState.CANCELLED and r.until > at - COVERAGE_KEPT
        )

    def _as_it_stands(self, r: Reservation) -> Reservation:
        """A reservation with its location named, and arrived if somebody came for it here."""
        location = r.location
        if location is None and r.resource is not None:
            resource = self.record_of(cache.RESOURCE, r.resource)
            location = resource.location if resource is not None else None
        if location is None and r.pass_ is not None:
            p = self.record_of(cache.PASS, r.pass_)
            location = p.home if p is not None else None
        row = self._store.ledger.execute("SELECT 1 FROM arrived WHERE reservation = ?", (r.id,))
        state = r.state if row.fetchone() is None else ReservationState.ARRIVED
        return replace(r, location=location, state=state)

    def _taken(self, resource_id: str, at: datetime) -> tuple[Reservation, ...]:
        found = cache.find(self._store.cache, cache.RESERVATION, "resource", resource_id)
        standing = (r for r in found if r.state is not ReservationState.CANCELLED)
        return tuple(r for r in standing if r.until > at)

    def _charged_offline(self, customer_id: str) -> int | None:
        if self.reached_at is None:
            return None
        row = self._store.ledger.execute(
            "SELECT COALESCE(SUM(amount), 0) FROM charge WHERE customer = ? AND at >= ?",
            (customer_id, microseconds(self.reached_at)),
        )
        return int(row.fetchone()[0])

    def cache_age(self, at: datetime) -> timedelta:
        """How long the cloud has been out of reach (D-08)."""
        return timedelta(0) if self.reached_at is None else at - self.reached_at

    def _inside(self, location: Location) -> int:
        row = self._store.ledger.execute(
            "SELECT COUNT(*) FROM session WHERE location = ?", (location.id,)
        )
        return int(row.fetchone()[0])

    def _day_begun(self, location: Location, at: datetime) -> bool:
        row = self._store.ledger.execute("SELECT day FROM begun WHERE location = ?", (location.id,))
        found = row.fetchone()
        return found is not None and found[0] == day_of(location, at).name.isoformat()

    def _seen_at(self, customer_id: str, location_id: str) -> datetime | None:
        if self.reached_at is None and self.clock_trusted:
            return None
        row = self._store.ledger.execute(
            "SELECT at FROM moved WHERE customer = ? AND location = ?", (customer_id, location_id)
        ).fetchone()
        return None if row is None else instant(row[0])

    def last_move(self, customer_id: str, location_id: str) -> tuple[str, datetime] | None:
        """How somebody last came or went at a location ("entry", "exit", "rule"), and when."""
        row = self._store.ledger.execute(
            "SELECT how, at FROM moved WHERE customer = ? AND location = ?",
            (customer_id, location_id),
        ).fetchone()
        return None if row is None else (row[0], instant(row[1]))

    def sold_after(self, session_id: str, at: datetime) -> frozenset[str]:
        """The offers that a visit was sold after an instant."""
        rows = self._store.ledger.execute(
            "SELECT offer FROM charge WHERE session = ? AND at > ?", (session_id, microseconds(at))
        )
        return frozenset(row[0] for row in rows)

    def debits_of(self, session_id: str) -> list[Debited]:
        """What was debited in a visit, refunds left out, as it came."""
        rows = self._store.ledger.execute(
            "SELECT key, data FROM entry WHERE data IS NOT NULL AND key IN"
            " (SELECT epoch << 32 | sequence FROM debit WHERE session = ? AND amount > 0)"
            " ORDER BY key",
            (session_id,),
        )
        ledger = self._store.ledger
        return as_moved(ledger, session_id, [(key, _debited(data)) for key, data in rows])


def _marks(ids: list[str]) -> tuple[str, tuple[str, ...]]:
    """What stands for a list of ids in a statement after IN, and the values for it.

    A few are named one by one, which takes half the time; for many there is one statement.
    """
    if len(ids) <= NAMED_MAX:
        return f"({', '.join('?' * len(ids))})", tuple(ids)
    return "(SELECT value FROM json_each(?))", (msgspec.json.encode(ids).decode(),)


def _is_kept(p: Pass, location: Location, at: datetime) -> bool:
    """Whether a pass counts as one: not cancelled (F-10), and not long expired (NX-26)."""
    if p.state is PassState.CANCELLED:
        return False
    kept = timedelta(days=location.keep_expired_days)
    return p.expires_at is None or at < p.expires_at + kept


def _is_counted(balance: Balance | None, device: str, epoch: int, sequence: int) -> bool:
    counted = balance.counted.get(device) if balance is not None else None
    return counted is not None and (epoch, sequence) <= (counted.epoch, counted.sequence)


def _subject(h: Happening) -> str:
    """Where it happened: the envelope's subject names a place, never a person."""
    match h:
        case Granted() | Denied() if h.door is not None:
            return f"door/{h.door}"
        case Opened():
            return f"location/{h.session.location}"
        case SegmentEnded() | SegmentBegan():
            return f"session/{h.session}"
        case _:
            return f"location/{h.location}"
