"""Renews the lots of plans: what is left of the old one expires, a new one comes (SB-03, AC-03).

A lot is written `LEAD` before its renewal, valid from that instant on, so that also a device that
is offline then has it. Its id is made of contract, grant and number of the renewal: however often,
and by however many workers, a renewal is tried, it gives one lot.
"""

from calendar import monthrange
from datetime import date, datetime, timedelta
from typing import Any

import msgspec
from msgspec import Struct
from sqlalchemy import and_, or_, select

from edgegate.passes.localtime import DATE_MAX, business_day, business_day_named
from edgegate.passes.model import Contract, Location, Pass, Source
from edgegate.records import Grant, Plan, RenewedLot
from edgegate.store.projection import microseconds
from edgegate_sync.cloud.adjust import By, hand_row
from edgegate_sync.cloud.database import Database, fetch
from edgegate_sync.cloud.feed import Transaction
from edgegate_sync.cloud.known import every_record
from edgegate_sync.cloud.leases import take
from edgegate_sync.cloud.ledger_tables import movement, renewal
from edgegate_sync.cloud.projection import MovementKind
from edgegate_sync.cloud.rows import Row, upsert
from edgegate_sync.cloud.tables import record, site
from edgegate_sync.wire.changes import Op
from edgegate_sync.wire.kinds import encode_record

LEAD = timedelta(days=2)
"""So long before a renewal its lot is written."""

AGAIN = timedelta(days=1)
"""When a contract is looked at again whose plan is not there or gives nothing."""

LEASE = timedelta(minutes=5)

CONTRACTS_MAX = 200
"""Contracts that one transaction renews."""

ANCHOR = date(1970, 1, 1)
"""A contract without a beginning renews as if it had begun on the first of a month."""

RENEWALS_MAX = 100_000

BY = "plan"


class Renewal(Struct, frozen=True, kw_only=True):
    """One renewal of a contract: its number, its instant, and that of the next."""

    number: int
    at: datetime
    next_at: datetime
    day: date
    """The business day that it begins."""


def renewal_of(contract: Contract, plan: Plan, place: Location, number: int) -> Renewal:
    """A contract's renewal of a number; 0 is its beginning."""
    at, day = _instant(contract, plan, place, number)
    next_at, _ = _instant(contract, plan, place, number + 1)
    return Renewal(number=number, at=at, next_at=next_at, day=day)


def _instant(contract: Contract, plan: Plan, place: Location, number: int) -> tuple[datetime, date]:
    anchor = ANCHOR
    if contract.starts_at is not None:
        anchor = business_day(place.timezone, place.day_cutoff, contract.starts_at).name
        if number == 0:
            return contract.starts_at, anchor
    day = months_after(anchor, number * plan.renew_months)
    return business_day_named(place.timezone, place.day_cutoff, day).starts, day


def months_after(day: date, months: int) -> date:
    """The same day of a later month, or its last: 31 January, 28 February, 31 March."""
    year, month = divmod(day.year * 12 + day.month - 1 + months, 12)
    if year > DATE_MAX.year:
        return DATE_MAX
    return date(year, month + 1, min(day.day, monthrange(year, month + 1)[1]))


def current(contract: Contract, plan: Plan, place: Location, at: datetime) -> int:
    """The number of the last renewal at an instant or before it; -1 before the beginning."""
    if contract.starts_at is not None and at < contract.starts_at:
        return -1
    low, high = 0, RENEWALS_MAX
    while low < high:
        middle = (low + high + 1) // 2
        if _instant(contract, plan, place, middle)[0] <= at:
            low = middle
        else:
            high = middle - 1
    return low


def lot_of(contract: Contract, plan: Plan, grant: Grant, place: Location, r: Renewal) -> Pass:
    """The pass that a renewal gives."""
    terms = {
        name: getattr(grant, name)
        for name in grant.__struct_fields__
        if name not in ("id", "keep_days")
    }
    lot = RenewedLot(contract=contract.id, grant=grant.id, renewal=r.number)
    expires_at = r.next_at
    if grant.keep_days is not None:
        last = min(r.day, DATE_MAX - timedelta(days=grant.keep_days)) + timedelta(
            days=grant.keep_days
        )
        # "Bought today, good for 30 days" ends with a day, not at the hour of the purchase.
        expires_at = business_day_named(place.timezone, place.day_cutoff, last).ends
    return Pass(
        **terms | {"home": grant.home or plan.location},
        id=lot.pass_id,
        holder=contract.holder,
        contract=contract.id,
        source=Source.PLAN,
        valid_from=r.at,
        expires_at=expires_at,
    )


async def renew_all(database: Database, worker: str, now: datetime) -> int:
    """Renew whatever is due at any site, unless another worker is at it; how many lots came."""
    async with database.reading() as connection:
        sites = list((await fetch(connection, select(site.c.id).order_by(site.c.id))).scalars())
    granted = 0
    for site_id in sites:
        if await take(database, f"renewal/{site_id}", worker, LEASE):
            while True:
                contracts, lots = await renew_some(database, site_id, now)
                granted += lots
                if contracts < CONTRACTS_MAX:
                    break
    return granted


async def renew_some(database: Database, site_id: str, now: datetime) -> tuple[int, int]:
    """Renew what is due at a site, `CONTRACTS_MAX` at most: how many contracts, how many lots."""
    async with database.site(site_id) as tx:
        await tx.lock()
        due = await _due(tx, now)
        if not due:
            return 0, 0
        plans = await every_record(tx, "plan", Plan)
        places = await every_record(tx, "location", Location)
        rows, lots = [], []
        for contract, row in due:
            line, passes = _renewed(contract, row, plans, places, now)
            rows.append({"site": site_id, "contract": row["id"], "seq": row["seq"], **line})
            lots += passes
        await upsert(tx, renewal, rows, ("seq", "done", "due_us"))
        return len(due), await _grant(tx, lots, now)


async def _due(tx: Transaction, now: datetime) -> list[tuple[Contract | None, Any]]:
    known = and_(renewal.c.site == record.c.site, renewal.c.contract == record.c.id)
    rows = await tx.execute(
        select(record.c.id, record.c.seq, record.c.body, renewal.c.done)
        .select_from(record.outerjoin(renewal, known))
        .where(
            record.c.site == tx.site,
            record.c.kind == "contract",
            record.c.op == Op.PUT.value,
            or_(
                renewal.c.contract.is_(None),
                renewal.c.seq != record.c.seq,
                renewal.c.due_us <= microseconds(now + LEAD),
            ),
        )
        .order_by(record.c.id)
        .limit(CONTRACTS_MAX)
    )
    return [(_read(row["body"]), row) for row in rows.mappings()]


def _read(body: str) -> Contract | None:
    try:
        return msgspec.json.decode(body, type=Contract)
    except msgspec.ValidationError:
        return None


def _renewed(
    contract: Contract | None,
    row: Any,
    plans: dict[str, Plan],
    places: dict[str, Location],
    now: datetime,
) -> tuple[Row, list[tuple[Pass, Renewal, RenewedLot]]]:
    """What a contract's line says after its renewals, and the lots that they give."""
    done = -1 if row["done"] is None else row["done"]
    plan = plans.get(contract.plan) if contract is not None else None
    if contract is None or plan is None or not plan.grants:
        return {"done": done, "due_us": microseconds(now + AGAIN + LEAD)}, []
    place = _place(plan, places)
    newest = current(contract, plan, place, now + LEAD)
    # Of a contract that is seen for the first time, only what runs now is given.
    first = (
        done + 1 if row["done"] is not None and done >= 0 else current(contract, plan, place, now)
    )
    lots = []
    for number in range(max(first, 0, newest - _KEPT_MAX), newest + 1):
        r = renewal_of(contract, plan, place, number)
        if contract.ends_at is None or r.at < contract.ends_at:
            lots += [(lot_of(contract, plan, grant, place, r), r, grant) for grant in plan.grants]
    following_at = renewal_of(contract, plan, place, newest).next_at
    if newest < 0 and contract.starts_at is not None:
        following_at = contract.starts_at
    ended = contract.ends_at is not None and contract.ends_at <= following_at
    due_us = None if ended else microseconds(following_at)
    alive = [
        (lot, r, RenewedLot(contract=contract.id, grant=grant.id, renewal=r.number))
        for lot, r, grant in lots
        if lot.expires_at is None or lot.expires_at > now
    ]
    return {"done": max(done, newest), "due_us": due_us}, alive


_KEPT_MAX = 1_200
"""How many missed renewals are made up for."""


def _place(plan: Plan, places: dict[str, Location]) -> Location:
    """Whose clock a plan's renewals follow: its own location's, else the site's first."""
    named = plan.location or next((g.home for g in plan.grants if g.home is not None), None)
    if named in places:
        return places[named]
    return places[min(places)] if places else Location(id="")


async def _grant(
    tx: Transaction, lots: list[tuple[Pass, Renewal, RenewedLot]], now: datetime
) -> int:
    """Write the lots that are not there yet, nor were and are deleted, and what expires by them."""
    ids = {lot.id for lot, _, _ in lots}
    ids |= {_previous(name).pass_id for _, r, name in lots if r.number}
    rows = await tx.execute(
        select(record.c.id, record.c.op).where(
            record.c.site == tx.site, record.c.kind == "pass", record.c.id.in_(sorted(ids))
        )
    )
    there = {row.id: row.op for row in rows}
    moved = []
    fresh = [known for known in lots if known[0].id not in there]
    for lot, r, name in fresh:
        await tx.put("pass", lot.id, encode_record(lot))
        moved.append(_row(tx.site, f"grant:{lot.id}", MovementKind.GRANTED, lot, r, now))
        before = _previous(name).pass_id if r.number else None
        if there.get(before or "") == Op.PUT.value and lot.expires_at == r.next_at:
            row = _row(tx.site, f"expire:{before}", MovementKind.EXPIRED, lot, r, now)
            moved.append(row | {"pass": before})
    await upsert(tx, movement, moved)
    return len(fresh)


def _previous(name: RenewedLot) -> RenewedLot:
    return msgspec.structs.replace(name, renewal=name.renewal - 1)


def _row(site_id: str, name: str, kind: str, lot: Pass, r: Renewal, now: datetime) -> Row:
    memo = f"renewal {r.number} of the contract {lot.contract}"
    row = hand_row(site_id, name, kind, By(name=BY, now=now, memo=memo), lot.holder)
    return row | {"pass": lot.id, "location": lot.home, "at_us": microseconds(r.at)}
