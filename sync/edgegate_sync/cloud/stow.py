"""Writes what a batch brought: entries, quarantine, flags, heads, movements and visits."""

from collections.abc import Collection, Iterable, Sequence
from typing import Any

import msgspec
from msgspec import Struct
from sqlalchemy import ColumnElement, Select, Table, and_, delete, or_, select

from edgegate.passes.model import Reservation, ReservationState
from edgegate.store.projection import microseconds
from edgegate_sync.cloud.feed import Transaction
from edgegate_sync.cloud.intake import (
    Fault,
    FlagKind,
    Fresh,
    Key,
    Links,
    Poison,
    customer_of,
    flags,
)
from edgegate_sync.cloud.known import records_of
from edgegate_sync.cloud.ledger_tables import (
    ledger_entry,
    ledger_epoch,
    ledger_flag,
    movement,
    quarantine,
    visit,
)
from edgegate_sync.cloud.projection import Touched
from edgegate_sync.cloud.rows import Row, upsert
from edgegate_sync.cloud.tables import record
from edgegate_sync.wire.changes import Op


class Head(Struct, frozen=True, kw_only=True):
    """How far an epoch of a device's ledger was taken in."""

    sequence: int
    hash: bytes
    behind: int | None = None


class Taken(Struct, kw_only=True):
    """A batch once it is known what of it is known already."""

    fresh: list[Fresh]
    repeated: list[Fresh]
    poison: list[Poison]
    known: dict[Key, tuple[bytes, bytes]]
    heads: dict[int, Head]


def heads_query(site: str, device: str) -> Select[Any]:
    """What `heads_in` reads."""
    return select(
        ledger_epoch.c.epoch,
        ledger_epoch.c.sequence,
        ledger_epoch.c.hash,
        ledger_epoch.c.behind,
    ).where(ledger_epoch.c.site == site, ledger_epoch.c.device == device)


def heads_in(rows: Iterable[Any]) -> dict[int, Head]:
    """By epoch, how far a device's ledger was taken in."""
    return {
        row.epoch: Head(sequence=row.sequence, hash=row.hash, behind=row.behind) for row in rows
    }


async def erased_of(tx: Transaction, fresh: Iterable[Fresh]) -> frozenset[str]:
    """Who of those whom a batch is about was erased: nothing of them is kept."""
    customers = {customer_of(one) for one in fresh} - {None}
    if not customers:
        return frozenset()
    rows = await tx.execute(
        select(record.c.id).where(
            record.c.site == tx.site,
            record.c.kind == "customer",
            record.c.id.in_(sorted(str(c) for c in customers)),
            record.c.op == Op.ERASE.value,
        )
    )
    return frozenset(row.id for row in rows)


async def write_entries(
    tx: Transaction, device: str, taken: Taken, erased: frozenset[str], now_us: int
) -> None:
    """Store what is fresh, without what is personal of whoever was erased, and park the poison."""
    rows = [_entry_row(tx.site, device, one, erased, now_us) for one in taken.fresh]
    await upsert(tx, ledger_entry, rows)
    poison = [
        {
            "site": tx.site,
            "id": p.id(device),
            "device": device,
            "epoch": None if p.key is None else p.key[0],
            "sequence": None if p.key is None else p.key[1],
            "fault": p.fault,
            "detail": p.detail,
            "raw": p.raw,
            "hash": p.hash,
            "taken_us": now_us,
        }
        for p in taken.poison
    ]
    await upsert(tx, quarantine, poison)


def _entry_row(site: str, device: str, one: Fresh, erased: frozenset[str], now_us: int) -> Row:
    entry, customer = one.entry, customer_of(one)
    gone = customer in erased
    return {
        "site": site,
        "device": device,
        "epoch": entry.epoch,
        "sequence": entry.sequence,
        "type": str(entry.type),
        "at_us": microseconds(entry.at),
        "taken_us": now_us,
        "subject": entry.subject,
        "clock": entry.clock,
        "monotonic": entry.monotonic,
        "salt": None if gone else entry.salt,
        "data": None if gone else entry.data,
        "data_hash": entry.data_hash,
        "prevhash": entry.prevhash,
        "hash": entry.hash,
        "customer": None if gone else customer,
    }


async def write_flags(tx: Transaction, device: str, taken: Taken, now_us: int) -> None:
    """Flag what is wrong with the chain now, and take back what this batch mended."""
    fresh = {one.key for one in taken.fresh}
    parked = {p.key for p in taken.poison if p.key is not None and p.fault != Fault.FORK}
    after = {(epoch, sequence + 1) for epoch, sequence in fresh | parked} - fresh - parked
    # Behind the newest there is nothing yet.
    again = {key for key in after if key[1] <= taken.heads[key[0]].sequence}
    again |= parked | await _first_of_later_epochs(tx, device, taken)
    links = Links(
        known=taken.known,
        heads={epoch: (head.sequence, head.hash) for epoch, head in taken.heads.items()},
    )
    found = flags(links, fresh | {key for key in again if key in taken.known})
    found |= _gaps_before(parked - taken.known.keys(), parked | taken.known.keys())
    gaps = {key for key, (kind, _) in found.items() if kind == FlagKind.GAP}
    if gaps:
        behind_parked = await _parked(tx, device, gaps)
        found = {key: flag for key, flag in found.items() if key not in behind_parked}
    await _take_back(tx, device, again)
    rows = [
        {
            "site": tx.site,
            "device": device,
            "epoch": epoch,
            "sequence": sequence,
            "kind": kind,
            "detail": detail,
            "noticed_us": now_us,
        }
        for (epoch, sequence), (kind, detail) in found.items()
    ]
    await upsert(tx, ledger_flag, rows)


async def _first_of_later_epochs(tx: Transaction, device: str, taken: Taken) -> set[Key]:
    """The first entries whose epochs follow ones that grew: what they name may be there now."""
    later = {
        min(e for e in taken.heads if e > epoch)
        for epoch in {one.entry.epoch for one in taken.fresh}
        if epoch < max(taken.heads)
    }
    keys = {(epoch, 1) for epoch in later} - {one.key for one in taken.fresh}
    if not keys:
        return set()
    rows = await tx.execute(
        select(ledger_entry.c.epoch, ledger_entry.c.hash, ledger_entry.c.prevhash).where(
            ledger_entry.c.site == tx.site,
            ledger_entry.c.device == device,
            ledger_entry.c.epoch.in_(sorted(later)),
            ledger_entry.c.sequence == 1,
        )
    )
    taken.known |= {(row.epoch, 1): (row.hash, row.prevhash) for row in rows}
    return keys


def _gaps_before(parked: Collection[Key], there: Collection[Key]) -> dict[Key, tuple[str, str]]:
    """Where an entry that goes into quarantine does not follow another one."""
    return {
        (epoch, sequence): (FlagKind.GAP, f"there is no {epoch}/{sequence - 1}")
        for epoch, sequence in parked
        if sequence > 1 and (epoch, sequence - 1) not in there
    }


async def _take_back(tx: Transaction, device: str, keys: Collection[Key]) -> None:
    if not keys:
        return
    here = (ledger_flag.c.site == tx.site, ledger_flag.c.device == device)
    places = (
        and_(ledger_flag.c.epoch == epoch, ledger_flag.c.sequence == sequence)
        for epoch, sequence in sorted(keys)
    )
    await tx.execute(delete(ledger_flag).where(*here, or_(*places)))


async def _parked(tx: Transaction, device: str, gaps: Iterable[Key]) -> set[Key]:
    """Those of the entries whose predecessor is in quarantine."""
    rows = await tx.execute(
        select(quarantine.c.epoch, quarantine.c.sequence).where(
            quarantine.c.site == tx.site,
            quarantine.c.device == device,
            quarantine.c.sequence.in_(sorted({sequence - 1 for _, sequence in gaps})),
        )
    )
    there = {(row.epoch, row.sequence) for row in rows}
    return {(epoch, sequence) for epoch, sequence in gaps if (epoch, sequence - 1) in there}


async def write_heads(
    tx: Transaction, device: str, taken: Taken, before: dict[int, Head], now_us: int
) -> None:
    """Note how far the ledger goes, and whether its device came with less than it had."""
    parked = [p.key for p in taken.poison if p.key is not None and p.fault != Fault.FORK]
    last = max((*parked, *(one.key for one in (*taken.fresh, *taken.repeated))), default=None)
    newest = max(taken.heads, default=0)
    if last is not None and last[0] in taken.heads:
        head = taken.heads[last[0]]
        less = not taken.fresh and (last[0] < newest or last[1] < head.sequence)
        forks = any(p.fault == Fault.FORK for p in taken.poison)
        if not less or forks or not await _has_ended_there(tx, device, last):
            behind = last[1] if less else None
            taken.heads[last[0]] = Head(sequence=head.sequence, hash=head.hash, behind=behind)
    rows = [
        {
            "site": tx.site,
            "device": device,
            "epoch": epoch,
            "sequence": head.sequence,
            "hash": head.hash,
            "taken_us": now_us,
            "behind": head.behind,
        }
        for epoch, head in taken.heads.items()
        if before.get(epoch) != head
    ]
    await upsert(tx, ledger_epoch, rows, ("sequence", "hash", "taken_us", "behind"))


async def _has_ended_there(tx: Transaction, device: str, last: Key) -> bool:
    """Whether a batch that was taken in once ended at a place.

    Then it is that batch which the network brings again, and says nothing of how much its device
    has by now. A device that did go back to such a place tells by what it does next: it begins an
    epoch that does not follow the old one, or gives a number again.
    """
    entries = select(ledger_entry.c.epoch, ledger_entry.c.sequence, ledger_entry.c.taken_us).where(
        ledger_entry.c.site == tx.site,
        ledger_entry.c.device == device,
        _from(ledger_entry, last),
    )
    parked = select(quarantine.c.epoch, quarantine.c.sequence, quarantine.c.taken_us).where(
        quarantine.c.site == tx.site,
        quarantine.c.device == device,
        quarantine.c.fault != Fault.FORK,
        _from(quarantine, last),
    )
    found = [
        row
        for each in (entries, parked)
        for row in await tx.execute(each.order_by("epoch", "sequence").limit(2))
    ]
    found.sort(key=lambda row: (row.epoch, row.sequence))
    # The entries of one batch have one `taken_us`.
    return (
        len(found) > 1
        and (found[0].epoch, found[0].sequence) == last
        and found[0].taken_us != found[1].taken_us
    )


def _from(table: Table, place: Key) -> ColumnElement[bool]:
    epoch, sequence = place
    later = and_(table.c.epoch == epoch, table.c.sequence >= sequence)
    return or_(table.c.epoch > epoch, later)


async def write_movements(tx: Transaction, touched: Touched, erased: frozenset[str]) -> None:
    """Write movements and visits, and let the reservations that somebody came for say so."""
    rows = touched.movements
    if erased:
        rows = [
            row | {"customer": None, "body": None} if row["customer"] in erased else row
            for row in rows
        ]
        for customer in erased:
            touched.spans.pop(customer, None)
    await upsert(tx, movement, rows)
    opened = [
        v
        for v in touched.visits.values()
        if v["opened_us"] is not None and v["customer"] not in erased
    ]
    ended = [
        v | {"opened_us": v["closed_us"]}
        for v in touched.visits.values()
        if v["opened_us"] is None and v["customer"] not in erased
    ]
    await upsert(
        tx,
        visit,
        opened,
        ("opened_us", "closes_us"),
        kept=("closed_us",),
    )
    await upsert(tx, visit, ended, ("closed_us",))
    await _arrive(tx, touched.arrived)


async def _arrive(tx: Transaction, reservations: Sequence[str]) -> None:
    """Somebody came for whom a reservation was made: all devices learn of it (C-09)."""
    if not reservations:
        return
    found = await records_of(tx, "reservation", Reservation, reservations)
    for r in found.values():
        if r.state is ReservationState.SCHEDULED:
            arrived = msgspec.structs.replace(r, state=ReservationState.ARRIVED)
            await tx.put("reservation", r.id, arrived)
