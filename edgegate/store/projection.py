"""Projections: what the ledger's entries about visits leave in the tables that decisions read.

`project` is the only writer of those tables, for a fresh entry and for one that is read again, so
that replaying the ledger from empty gives the same state.
"""

import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from msgspec.structs import replace

from edgegate.passes.happenings import (
    Arrived,
    Bought,
    Charged,
    Closed,
    Debited,
    Denied,
    Granted,
    Happening,
    Left,
    Moved,
    Opened,
    Refunded,
    SegmentBegan,
    SegmentEnded,
    Sold,
    WifiDisconnected,
    WifiStopped,
)
from edgegate.passes.model import Channel
from edgegate.passes.prices import least_charge
from edgegate.passes.reasons import ClosingReason
from edgegate.passes.state import Coverage, Segment, Session
from edgegate.passes.visits import with_tab
from edgegate.store.chain import Entry
from edgegate.store.ledger import EntryType, entries

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
COVERAGES_KEPT = 16
"""So many of a customer's newest are kept however old: a clock that jumped ahead may come back."""

COVERAGE_KEPT = timedelta(days=2)
"""How long an ended coverage is kept: its business day may still run at another location."""

TYPES: dict[type[Happening], EntryType] = {
    Granted: EntryType.ACCESS_GRANTED,
    Denied: EntryType.ACCESS_DENIED,
    Debited: EntryType.PASS_DEBITED,
    Refunded: EntryType.PASS_REFUNDED,
    Sold: EntryType.PAYG_SOLD,
    Charged: EntryType.PAYG_CHARGED,
    Arrived: EntryType.RESERVATION_ARRIVED,
    WifiStopped: EntryType.WIFI_STOPPED,
    WifiDisconnected: EntryType.WIFI_DISCONNECTED,
    Opened: EntryType.SESSION_OPENED,
    SegmentEnded: EntryType.SESSION_SEGMENT,
    SegmentBegan: EntryType.SESSION_SEGMENT,
    Closed: EntryType.SESSION_CLOSED,
    Moved: EntryType.SESSION_MOVED,
    Left: EntryType.DOOR_EXIT,
}

TABLES = ("session", "coverage", "debit", "charge", "arrived", "moved", "begun")
"""What can be made again from the entries."""

_session = msgspec.json.Decoder(Session).decode
_coverage = msgspec.json.Decoder(Coverage).decode
encode = msgspec.json.encode


def microseconds(at: datetime) -> int:
    """An instant as the tables hold it: whole microseconds since 1970, exact."""
    since = at - EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


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


def _granted(ledger: sqlite3.Connection, h: Granted, entry: Entry) -> None:
    at = microseconds(entry.at)
    ledger.execute(
        "INSERT INTO begun VALUES (?, ?) ON CONFLICT DO UPDATE SET day = excluded.day"
        " WHERE day <> excluded.day",
        (h.location, h.day.isoformat()),
    )
    if h.customer is None:
        return
    _move(ledger, h.customer, h.location, at, "entry")
    # A visit that begins with this entry has its name, and is not there yet.
    if h.session is None or h.session == entry.id:
        return
    session = read_session(ledger, h.session)
    if session is not None:
        after = entered(session, h, entry.at)
        if after != session:
            _update(ledger, after)


def entered(session: Session, h: Granted, at: datetime) -> Session:
    """A visit after another entry; a hand-over is decided for the way of the last (S-04).

    Whoever comes in by a door or the kiosk was active then, whatever the Wi-Fi saw (S-06).
    """
    if session.idle_since is not None:
        session = replace(session, idle_since=max(session.idle_since, at))
    if h.resource is None:
        session = replace(session, channel=h.channel, door=h.door)
    match h.channel:
        case Channel.DOOR:
            return replace(session, door_entry=True)
        case Channel.KIOSK:
            return replace(session, kiosk_entry=True)
        case Channel.WIFI:
            return replace(session, wifi=True, idle_since=None)


def _debited(ledger: sqlite3.Connection, h: Debited, entry: Entry) -> None:
    if h.amount:
        _take(ledger, h, h.amount, entry)
    if h.covers:
        session = h.session if h.visit_only else None
        coverage = Coverage(
            pass_=h.pass_,
            customer=h.customer,
            day=h.day,
            from_=h.from_,
            until=h.until,
            session=session,
            scope=h.scope,
        )
        _cover(ledger, coverage)


def _refunded(ledger: sqlite3.Connection, h: Refunded, entry: Entry) -> None:
    _take(ledger, h, -h.amount, entry)
    if h.from_ is not None:
        ledger.execute(
            "DELETE FROM coverage WHERE customer = ? AND json_extract(body, '$.pass') = ?"
            " AND json_extract(body, '$.from') = ?",
            (h.customer, h.pass_, msgspec.to_builtins(h.from_)),
        )


def _take(ledger: sqlite3.Connection, h: Debited | Refunded, amount: int, entry: Entry) -> None:
    place = (h.pass_, entry.device, entry.epoch, entry.sequence)
    ledger.execute(
        "INSERT INTO debit (pass, device, epoch, sequence, amount, session)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        (*place, amount, h.session),
    )


def _cover(ledger: sqlite3.Connection, coverage: Coverage) -> None:
    ledger.execute(
        "DELETE FROM coverage WHERE customer = ?1 AND until < ?2 AND rowid NOT IN"
        " (SELECT rowid FROM coverage WHERE customer = ?1 ORDER BY rowid DESC LIMIT ?3)",
        (coverage.customer, microseconds(coverage.from_ - COVERAGE_KEPT), COVERAGES_KEPT),
    )
    until = None if coverage.until is None else microseconds(coverage.until)
    ledger.execute(
        "INSERT INTO coverage (customer, until, session, body) VALUES (?, ?, ?, ?)",
        (coverage.customer, until, coverage.session, encode(coverage)),
    )


def _sold(ledger: sqlite3.Connection, h: Sold, _entry: Entry) -> None:
    ledger.execute(
        "INSERT OR REPLACE INTO charge VALUES (?, ?, ?, ?, ?)",
        (h.session, h.sale.offer, h.customer, microseconds(h.from_), least_charge(h.sale)),
    )
    if h.until is not None:
        coverage = Coverage(
            offer=h.sale.offer, customer=h.customer, day=h.day, from_=h.from_, until=h.until
        )
        _cover(ledger, coverage)


def _charged(ledger: sqlite3.Connection, h: Charged, _entry: Entry) -> None:
    if h.taken_back:
        ledger.execute(
            "DELETE FROM coverage WHERE customer = ?1 AND json_extract(body, '$.offer') = ?2"
            " AND json_extract(body, '$.from') >="
            " (SELECT json_extract(body, '$.opened_at') FROM session WHERE id = ?3)",
            (h.customer, h.offer, h.session),
        )
    ledger.execute(
        "UPDATE charge SET amount = ? WHERE session = ? AND offer = ?",
        (h.amount, h.session, h.offer),
    )


def _arrived(ledger: sqlite3.Connection, h: Arrived, _entry: Entry) -> None:
    ledger.execute("INSERT OR REPLACE INTO arrived VALUES (?)", (h.reservation,))


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
        _count_on(ledger, session, h.at)
        minutes = session.minutes + h.minutes
        tabs = with_tab(session.tabs, h.tab)
        _update(ledger, replace(session, segment=None, minutes=minutes, tabs=tabs))


def _segment_began(ledger: sqlite3.Connection, h: SegmentBegan, _entry: Entry) -> None:
    session = read_session(ledger, h.session)
    if session is not None:
        _update(ledger, replace(session, segment=h.segment, paid_by=paid_by(session, h.segment)))


def paid_by(session: Session, segment: Segment) -> tuple[str, ...]:
    """The passes that covered a visit, with those of its newest segment."""
    named = (p for p in (segment.pass_, *segment.lots) if p is not None)
    return (*session.paid_by, *(p for p in named if p not in session.paid_by))


def _count_on(ledger: sqlite3.Connection, ended: Session, at: datetime) -> None:
    """Let the customer's other segments on the pass count from where this one ends (C-06)."""
    if ended.segment is None or ended.segment.counts is None:
        return
    rows = ledger.execute(
        "SELECT body FROM session WHERE customer = ? AND pass = ? AND id != ?",
        (ended.customer, ended.segment.pass_, ended.id),
    ).fetchall()
    mine = (ended.segment.counted_from or ended.segment.from_, ended.id)
    for other in map(_session, (row[0] for row in rows)):
        segment = other.segment
        if segment is not None and mine < (segment.counted_from or segment.from_, other.id):
            # A visit may end as of an instant before the other one began (S-06).
            since = max(at, segment.from_)
            _update(ledger, replace(other, segment=replace(segment, counted_from=since)))


def _closed(ledger: sqlite3.Connection, h: Closed, _entry: Entry) -> None:
    session = read_session(ledger, h.session)
    if session is not None:
        _count_on(ledger, session, h.at)
    ledger.execute("DELETE FROM session WHERE id = ?", (h.session,))
    ledger.execute(
        "DELETE FROM coverage WHERE customer = ? AND session = ?", (h.customer, h.session)
    )
    left = h.reason in (ClosingReason.EXIT, ClosingReason.CHECKOUT)
    how = "exit" if left else "rule"
    _move(ledger, h.customer, h.location, microseconds(h.at), how)


def _moved(ledger: sqlite3.Connection, h: Moved, _entry: Entry) -> None:
    session = read_session(ledger, h.session)
    by_us = h.by // timedelta(microseconds=1)
    if session is not None and h.closes_at is not None and h.closes_for is not None:
        idle = session.idle_since
        after = replace(
            session,
            opened_at=h.opened_at,
            closes_at=h.closes_at,
            closes_for=h.closes_for,
            segment=h.segment,
            idle_since=None if idle is None else idle + h.by,
        )
        _update(ledger, after)
        ledger.execute(
            "UPDATE moved SET at = at + ? WHERE customer = ? AND location = ?",
            (by_us, h.customer, h.location),
        )
        ledger.execute(
            "UPDATE begun SET day = ? WHERE location = ?", (h.day.isoformat(), h.location)
        )
    for bought in h.bought:
        _move_coverage(ledger, h, bought)
    ledger.execute("UPDATE charge SET at = at + ? WHERE session = ?", (by_us, h.session))


def _move_coverage(ledger: sqlite3.Connection, h: Moved, bought: Bought) -> None:
    rows = ledger.execute(
        "SELECT rowid, body FROM coverage WHERE customer = ?1"
        " AND json_extract(body, '$.from') = ?2 AND json_extract(body, '$.pass') IS ?3"
        " AND json_extract(body, '$.offer') IS ?4",
        (h.customer, msgspec.to_builtins(bought.from_), bought.pass_, bought.offer),
    ).fetchall()
    until = None if bought.until is None else microseconds(bought.until)
    for row, body in rows:
        coverage = _coverage(body)
        after = replace(coverage, from_=coverage.from_ + h.by, until=bought.until, day=h.day)
        ledger.execute(
            "UPDATE coverage SET until = ?, body = ? WHERE rowid = ?", (until, encode(after), row)
        )


def _left(ledger: sqlite3.Connection, h: Left, _entry: Entry) -> None:
    _move(ledger, h.customer, h.location, microseconds(h.at), "exit")


def _move(ledger: sqlite3.Connection, customer: str, location: str, at: int, how: str) -> None:
    row = (customer, location, at, how)
    ledger.execute("INSERT OR REPLACE INTO moved VALUES (?, ?, ?, ?)", row)


def _wifi_stopped(ledger: sqlite3.Connection, h: WifiStopped, _entry: Entry) -> None:
    session = read_session(ledger, h.session)
    if session is not None:
        _update(ledger, replace(session, wifi=False, idle_since=h.at))


def _wifi_disconnected(ledger: sqlite3.Connection, h: WifiDisconnected, _entry: Entry) -> None:
    session = read_session(ledger, h.session)
    if session is not None:
        _update(ledger, replace(session, wifi=False))


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
    Refunded: _refunded,
    Sold: _sold,
    Charged: _charged,
    Arrived: _arrived,
    Opened: _opened,
    SegmentEnded: _segment_ended,
    SegmentBegan: _segment_began,
    Closed: _closed,
    Moved: _moved,
    Left: _left,
    WifiStopped: _wifi_stopped,
    WifiDisconnected: _wifi_disconnected,
}

_OF_DEVICES_TOO = (EntryType.WIFI_STOPPED, EntryType.WIFI_DISCONNECTED)
_BY_TYPE = {entry_type: kind for kind, entry_type in TYPES.items()}


def happening_of(entry: Entry) -> Happening | None:
    """The happening that an entry holds; None for one about something else, or erased."""
    if entry.type not in _BY_TYPE or entry.data is None:
        return None
    kind = _BY_TYPE[EntryType(entry.type)]
    if entry.type == EntryType.DOOR_EXIT and b'"customer"' not in entry.data:
        # What the door itself reports of an exit names nobody.
        return None
    if entry.type in _OF_DEVICES_TOO and b'"session":' not in entry.data:
        # What an access point reports of one device names no visit (edgegate/store/wifi.py).
        return None
    if entry.type == EntryType.SESSION_SEGMENT:
        kind = SegmentBegan if "segment" in msgspec.json.decode(entry.data) else SegmentEnded
    return msgspec.json.decode(entry.data, type=kind)


def device_of(entry: Entry) -> str:
    """The device that recorded an entry: the last part of its source."""
    return entry.source.rpartition("/")[2]


def rebuild(ledger: sqlite3.Connection, after: int = 0) -> None:
    """Make the tables again from the ledger's entries, in order.

    With `after`, the key of an entry, they hold what came of all up to there (`store.standing`).
    A salvaged ledger may have lost some: what hangs on them is passed over.
    """
    for table in TABLES if not after else ():
        ledger.execute(f"DELETE FROM {table}")  # noqa: S608 - names from the line above
    for entry in entries(ledger, after):
        happening = happening_of(entry)
        if isinstance(happening, Opened):
            # A visit there whose end was lost: it ended before this one began (S-01).
            ledger.execute(
                "DELETE FROM session WHERE customer = ? AND location = ?",
                (happening.session.customer, happening.session.location),
            )
        if happening is not None:
            project(ledger, happening, entry)
