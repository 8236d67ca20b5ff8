"""Settles the visits of a device that is lost, as of the last observation of whoever was in (M-05).

Only the device that opened a visit counts it, so nobody else will. What its last segment used is
taken from its pass here, and given back if the device comes back after all and closes the visit.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from msgspec import Struct
from msgspec.structs import replace
from sqlalchemy import select, update

from edgegate.passes.coverage import cost
from edgegate.passes.happenings import (
    Granted,
    Happening,
    Left,
    Moved,
    Opened,
    SegmentBegan,
    SegmentEnded,
    WifiStopped,
)
from edgegate.passes.model import Pass
from edgegate.passes.prices import charge
from edgegate.passes.state import Session, Tab
from edgegate.passes.visits import with_tab
from edgegate.store.chain import Entry
from edgegate.store.projection import happening_of, instant, microseconds
from edgegate_sync.cloud import reckon
from edgegate_sync.cloud.adjust import By, hand_row
from edgegate_sync.cloud.balances import Books
from edgegate_sync.cloud.feed import Transaction
from edgegate_sync.cloud.intake import Fresh
from edgegate_sync.cloud.known import records_of
from edgegate_sync.cloud.ledger_tables import ledger_entry, movement, visit
from edgegate_sync.cloud.projection import MovementKind
from edgegate_sync.cloud.rows import Row, entry_of, upsert
from edgegate_sync.cloud.shift import moved_by, moves_among

HALF_A_SECOND = timedelta(milliseconds=500)

VISITS_MAX = 500
"""Visits that one transaction settles."""


class Due(Struct, frozen=True, kw_only=True):
    """What a visit still comes to: takes from passes in their order, and what it ran up."""

    takes: tuple[str, ...] = ()
    amount: int = 0
    tabs: tuple[Tab, ...] = ()


def replay(session_id: str, happenings: Iterable[Happening]) -> Session | None:
    """A visit as its device left it; None where its opening is not among its entries."""
    session: Session | None = None
    for h in happenings:
        if isinstance(h, Opened) and h.session.id == session_id:
            session = h.session
        elif session is None or getattr(h, "session", None) != session_id:
            continue
        elif isinstance(h, SegmentEnded):
            tabs = with_tab(session.tabs, h.tab)
            session = replace(session, segment=None, tabs=tabs)
        elif isinstance(h, SegmentBegan):
            session = replace(session, segment=h.segment)
        elif isinstance(h, Moved) and h.closes_at is not None:
            session = replace(
                session, opened_at=h.opened_at, closes_at=h.closes_at, segment=h.segment
            )
    return session


def due(session: Session, until: datetime) -> Due:
    """What the last segment of a visit comes to if it ended then (C-06, P-05)."""
    segment = session.segment
    if segment is None:
        return Due(tabs=session.tabs)
    used = max(timedelta(0), until - (segment.counted_from or segment.from_))
    tabs = session.tabs
    if segment.sale is not None:
        used_s = (used + HALF_A_SECOND) // timedelta(seconds=1)
        tabs = with_tab(tabs, Tab(sale=segment.sale, used_s=used_s))
    if segment.counts is None or segment.pass_ is None:
        return Due(tabs=tabs)
    takes = (segment.pass_, *segment.lots)
    return Due(takes=takes, amount=cost(segment.counts, used), tabs=tabs)


async def abandon(tx: Transaction, device: str, by: By) -> int:
    """Settle the open visits of a device that is lost; how many there were, 500 at most at once."""
    await tx.lock()
    rows = await tx.execute(
        select(visit)
        .where(
            visit.c.site == tx.site,
            visit.c.device == device,
            visit.c.closed_us.is_(None),
            visit.c.abandoned_us.is_(None),
        )
        .order_by(visit.c.opened_us)
        .limit(VISITS_MAX)
    )
    visits = list(rows)
    for row in visits:
        await _abandon(tx, row, by)
    return len(visits)


async def _abandon(tx: Transaction, row: Any, by: By) -> None:
    told = await _told(tx, row.customer, row.opened_us)
    moves = moves_among(one for one in told if one.entry.device == row.device).get(row.id, [])
    if moves:
        # It was said to have opened earlier or later than it is known to have.
        earliest = min(row.opened_us, *(microseconds(h.was) for _, h in moves))
        told = await _told(tx, row.customer, earliest)
    own = [one for one in told if one.entry.device == row.device]
    session = replay(row.id, [one.happening for one in own if one.happening is not None])
    seen = [
        at + (moved_by(moves, one.key) if one.entry.device == row.device else timedelta(0))
        for one in told
        if (at := _observed(one.entry, one.happening, row.location)) is not None
    ]
    last = max(seen, default=instant(row.opened_us))
    until = min(max(last, instant(row.opened_us)), instant(row.closes_us))
    await tx.execute(
        update(visit)
        .where(visit.c.site == tx.site, visit.c.id == row.id)
        .values(abandoned_us=microseconds(until))
    )
    if session is not None:
        await _book(tx, session, until, by)


async def _told(tx: Transaction, customer: str, since_us: int) -> list[Fresh]:
    rows = await tx.execute(
        select(ledger_entry)
        .where(
            ledger_entry.c.site == tx.site,
            ledger_entry.c.customer == customer,
            ledger_entry.c.at_us >= since_us,
            ledger_entry.c.data.is_not(None),
        )
        .order_by(ledger_entry.c.device, ledger_entry.c.epoch, ledger_entry.c.sequence)
    )
    entries = (entry_of(tx.site, row) for row in rows)
    return [Fresh(entry=entry, happening=happening_of(entry)) for entry in entries]


def _observed(entry: Entry, h: Happening | None, location: str) -> datetime | None:
    """When an entry shows somebody at a place, or going from it."""
    if isinstance(h, Granted) and h.location == location:
        return entry.at
    if isinstance(h, Left | WifiStopped) and h.location == location:
        return h.at
    if isinstance(h, SegmentBegan | SegmentEnded):
        return entry.at
    return None


async def _book(tx: Transaction, session: Session, until: datetime, by: By) -> None:
    """Take what a visit came to from its passes, at most what is left of them, and charge it."""
    found = due(session, until)
    passes = await records_of(tx, "pass", Pass, found.takes)
    books = Books(tx)
    await books.open(passes)
    rows: list[Row] = []
    rest = found.amount
    for pass_id in found.takes:
        left = books.remaining(pass_id)
        part = 0 if left is None else max(0, min(rest, left))
        rest -= part
        if part:
            name = f"abandoned:{session.id}:{pass_id}"
            rows.append(
                _row(tx.site, name, session, until, by) | {"pass": pass_id, "amount": -part}
            )
            books.move({pass_id: -part})
            books.watch([pass_id])
    for tab in found.tabs:
        name = f"abandoned:{session.id}:{tab.sale.offer}:charge"
        money = {"money": charge(tab), "currency": tab.sale.currency}
        rows.append(_row(tx.site, name, session, until, by) | money)
    await upsert(tx, movement, rows)
    await reckon.settle(tx, books, microseconds(by.now))
    await books.write()


def _row(site: str, name: str, session: Session, until: datetime, by: By) -> Row:
    return hand_row(site, name, MovementKind.ABANDONED, by, session.customer) | {
        "location": session.location,
        "session": session.id,
        "at_us": microseconds(until),
    }
