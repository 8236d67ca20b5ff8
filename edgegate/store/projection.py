"""Projections: what the ledger's entries about visits leave in the tables that decisions read.

`project` is the only writer of those tables, for a fresh entry and for one that is read again, so
that replaying the ledger from empty gives the same state.
"""

import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

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
from edgegate.passes.model import Coverage, Segment, Session
from edgegate.store.chain import Entry
from edgegate.store.ledger import EntryType, entries

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
COVERAGE_KEPT = timedelta(days=2)
"""How long an ended coverage is kept: its business day may still run at another location."""

TYPES: dict[type[Happening], EntryType] = {
    Granted: EntryType.ACCESS_GRANTED,
    Denied: EntryType.ACCESS_DENIED,
    Debited: EntryType.PASS_DEBITED,
    Opened: EntryType.SESSION_OPENED,
    SegmentEnded: EntryType.SESSION_SEGMENT,
    SegmentBegan: EntryType.SESSION_SEGMENT,
    Closed: EntryType.SESSION_CLOSED,
}

_session = msgspec.json.Decoder(Session).decode
encode = msgspec.json.encode


def microseconds(at: datetime) -> int:
    """An instant as the tables hold it: whole microseconds since 1970, exact."""
    return (at - EPOCH) // timedelta(microseconds=1)


def instant(us: int) -> datetime:
    """The instant that the tables hold as microseconds."""
    return EPOCH + timedelta(microseconds=us)


def project(ledger: sqlite3.Connection, happening: Happening, entry: Entry) -> None:
    """Carry one happening, recorded in that entry, into the tables."""
    writer = _WRITERS.get(type(happening))
    if writer is not None:
        writer(ledger, happening, entry)


def read_session(ledger: sqlite3.Connection, session_id: str) -> Session | None:
    """An open session by its id."""
    row = ledger.execute("SELECT body FROM session WHERE id = ?", (session_id,)).fetchone()
    return None if row is None else _session(row[0])


def _granted(ledger: sqlite3.Connection, h: Granted, _entry: Entry) -> None:
    """Note the way of the last entry, which a hand-over is decided for (S-04)."""
    if h.session is None or h.resource is not None:
        return
    session = read_session(ledger, h.session)
    if session is not None and (session.channel, session.door) != (h.channel, h.door):
        _update(ledger, msgspec.structs.replace(session, channel=h.channel, door=h.door))


def _debited(ledger: sqlite3.Connection, h: Debited, entry: Entry) -> None:
    if h.amount:
        ledger.execute(
            "INSERT INTO debit (pass, device, epoch, sequence, amount) VALUES (?, ?, ?, ?, ?)",
            (h.pass_, device_of(entry), entry.epoch, entry.sequence, h.amount),
        )
    if h.covers:
        _cover(ledger, h)


def _cover(ledger: sqlite3.Connection, h: Debited) -> None:
    session = h.session if h.visit_only else None
    coverage = Coverage(
        pass_=h.pass_, customer=h.customer, day=h.day, from_=h.from_, until=h.until, session=session
    )
    ledger.execute(
        "DELETE FROM coverage WHERE customer = ? AND until < ?",
        (h.customer, microseconds(h.from_ - COVERAGE_KEPT)),
    )
    until = None if h.until is None else microseconds(h.until)
    ledger.execute(
        "INSERT INTO coverage (pass, customer, day, until, session, body)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        (h.pass_, h.customer, h.day.isoformat(), until, session, encode(coverage)),
    )


def _opened(ledger: sqlite3.Connection, h: Opened, _entry: Entry) -> None:
    s = h.session
    ledger.execute(
        "INSERT INTO session (id, customer, location, pass, deadline, body)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        (s.id, s.customer, s.location, _pass(s.segment), microseconds(s.closes_at), encode(s)),
    )


def _segment_ended(ledger: sqlite3.Connection, h: SegmentEnded, _entry: Entry) -> None:
    session = read_session(ledger, h.session)
    if session is not None:
        minutes = session.minutes + h.minutes
        _update(ledger, msgspec.structs.replace(session, segment=None, minutes=minutes))


def _segment_began(ledger: sqlite3.Connection, h: SegmentBegan, _entry: Entry) -> None:
    session = read_session(ledger, h.session)
    if session is not None:
        paid_by = (*session.paid_by, h.segment.pass_)
        if h.segment.pass_ in session.paid_by:
            paid_by = session.paid_by
        _update(ledger, msgspec.structs.replace(session, segment=h.segment, paid_by=paid_by))


def _closed(ledger: sqlite3.Connection, h: Closed, _entry: Entry) -> None:
    ledger.execute("DELETE FROM session WHERE id = ?", (h.session,))
    ledger.execute(
        "DELETE FROM coverage WHERE customer = ? AND session = ?", (h.customer, h.session)
    )


def _update(ledger: sqlite3.Connection, session: Session) -> None:
    ledger.execute(
        "UPDATE session SET pass = ?, body = ? WHERE id = ?",
        (_pass(session.segment), encode(session), session.id),
    )


def _pass(segment: Segment | None) -> str | None:
    return None if segment is None else segment.pass_


_WRITERS: dict[type[Happening], Callable[[sqlite3.Connection, Any, Entry], None]] = {
    Granted: _granted,
    Debited: _debited,
    Opened: _opened,
    SegmentEnded: _segment_ended,
    SegmentBegan: _segment_began,
    Closed: _closed,
}


_BY_TYPE = {entry_type: kind for kind, entry_type in TYPES.items()}


def happening_of(entry: Entry) -> Happening | None:
    """The happening that an entry holds; None for one about something else, or erased."""
    if entry.type not in _BY_TYPE or entry.data is None:
        return None
    kind = _BY_TYPE[EntryType(entry.type)]
    if entry.type == EntryType.SESSION_SEGMENT:
        kind = SegmentBegan if "segment" in msgspec.json.decode(entry.data) else SegmentEnded
    return msgspec.json.decode(entry.data, type=kind)


def device_of(entry: Entry) -> str:
    """The device that recorded an entry: the last part of its source."""
    return entry.source.rpartition("/")[2]


def rebuild(ledger: sqlite3.Connection) -> None:
    """Make the tables again from the ledger's entries, in order.

    A salvaged ledger may have lost some: what hangs on them is passed over.
    """
    for table in ("session", "coverage", "debit"):
        ledger.execute(f"DELETE FROM {table}")  # noqa: S608 - names from the line above
    for entry in entries(ledger):
        happening = happening_of(entry)
        if happening is not None:
            project(ledger, happening, entry)
