"""Moves in the books what a device dated by a clock that nobody believed, once it tells how far.

It is written anew from the entries and all that moved them, so that it does not matter whether what
is moved came before or after that, nor how often.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta

import msgspec
from msgspec.structs import replace
from sqlalchemy import select

from edgegate.passes.happenings import (
    Charged,
    Closed,
    Debited,
    Happening,
    Moved,
    Opened,
    Refunded,
    Sold,
)
from edgegate.store.projection import TYPES, happening_of
from edgegate_sync.cloud.feed import Transaction
from edgegate_sync.cloud.intake import Fresh, Key
from edgegate_sync.cloud.ledger_tables import ledger_entry, movement, visit
from edgegate_sync.cloud.projection import Touched, project, widen
from edgegate_sync.cloud.rows import entry_of, upsert

UNTRUSTED = "untrusted"
"""What an entry says of a clock that nobody believed (`wire.events.Event.clock`)."""

Moves = Mapping[str, list[tuple[Key, Moved]]]
"""By visit, how it was moved, and by which entries."""

_TYPES = [TYPES[kind].value for kind in (Opened, Debited, Refunded, Sold, Charged, Closed)]


async def shift(
    tx: Transaction, device: str, fresh: Iterable[Fresh], touched: Touched, now_us: int
) -> None:
    """Write anew what was moved of the visits that a batch is about.

    `touched` then spans the time that was said and the right one: what had been merged with what
    other devices spent is merged anew.
    """
    concerned = {
        visit_id: customer
        for one in fresh
        if isinstance(one.happening, Moved) or one.entry.clock == UNTRUSTED
        for visit_id, customer in _visit_of(one.happening)
    }
    if not concerned:
        return
    customers = sorted(set(concerned.values()))
    moves = moves_among(await _told(tx, device, customers, [TYPES[Moved].value]))
    moves = {visit_id: moves[visit_id] for visit_id in concerned.keys() & moves.keys()}
    if not moves:
        return
    told = await _told(tx, device, customers, _TYPES)
    said = [one for one in told for visit_id, _ in _visit_of(one.happening) if visit_id in moves]
    before = project(tx.site, said, now_us)
    after = project(tx.site, [_moved(one, moves) for one in said], now_us)
    await _write(tx, after)
    for projected in (before, after):
        for customer, span in projected.spans.items():
            widen(touched, customer, *span)


def _visit_of(h: Happening | None) -> Iterator[tuple[str, str]]:
    """The visit that a happening is about, and whose it is."""
    if isinstance(h, Opened):
        yield h.session.id, h.session.customer
    elif isinstance(h, Moved | Debited | Refunded | Sold | Charged | Closed):
        yield h.session, h.customer


async def _told(
    tx: Transaction, device: str, customers: Sequence[str], types: Sequence[str]
) -> list[Fresh]:
    """What a device told of customers, in its order; nothing of whoever was erased."""
    rows = await tx.execute(
        select(ledger_entry)
        .where(
            ledger_entry.c.site == tx.site,
            ledger_entry.c.customer.in_(customers),
            ledger_entry.c.device == device,
            ledger_entry.c.type.in_(types),
            ledger_entry.c.data.is_not(None),
        )
        .order_by(ledger_entry.c.epoch, ledger_entry.c.sequence)
    )
    entries = (entry_of(tx.site, row) for row in rows)
    return [Fresh(entry=entry, happening=happening_of(entry)) for entry in entries]


def moves_among(told: Iterable[Fresh]) -> dict[str, list[tuple[Key, Moved]]]:
    """By visit, the moves among what one device told."""
    found: dict[str, list[tuple[Key, Moved]]] = {}
    for one in told:
        if isinstance(one.happening, Moved):
            found.setdefault(one.happening.session, []).append((one.key, one.happening))
    return found


def moved_by(moves: Iterable[tuple[Key, Moved]], key: Key) -> timedelta:
    """How much later than it says that lies which the entry of this key tells of a visit."""
    return sum((h.by for place, h in moves if place > key), start=timedelta(0))


def _moved(one: Fresh, moves: Moves) -> Fresh:
    """An entry as its device would have written it by the right time."""
    ((visit_id, _),) = _visit_of(one.happening)
    later = [(place, h) for place, h in moves[visit_id] if place > one.key]
    if not later:
        return one
    try:
        return _later(one, moved_by(later, one.key), [h for _, h in later])
    except OverflowError:
        # By so much that there is no such date: somebody made it up, and it holds up nothing.
        return one


def _later(one: Fresh, by: timedelta, moves: Sequence[Moved]) -> Fresh:
    h, last = one.happening, moves[-1]
    match h:
        case Debited() | Sold():
            ends = {b.from_: b.until for move in moves for b in move.bought}
            from_ = h.from_ + by
            until = None if h.until is None else ends.get(h.from_) or h.until + by
            until = None if until is None else max(until, from_)
            h = replace(h, from_=from_, until=until, day=last.day)
        case Refunded(from_=datetime() as began):
            h = replace(h, from_=began + by)
        case Closed():
            h = replace(h, at=h.at + by)
        case Opened(session=s):
            closes_at = last.closes_at or s.closes_at + by
            h = Opened(session=replace(s, opened_at=last.opened_at, closes_at=closes_at))
    data = msgspec.json.encode(h, order="sorted")
    return Fresh(entry=replace(one.entry, at=one.entry.at + by, data=data), happening=h)


async def _write(tx: Transaction, moved: Touched) -> None:
    await upsert(tx, movement, moved.movements, ("at_us", "from_us", "ends_us", "body"))
    opened = [v for v in moved.visits.values() if v["opened_us"] is not None]
    await upsert(tx, visit, opened, ("opened_us", "closes_us"), kept=("closed_us",))
