"""Makes the books agree with what is known now: merges devices and settles overdrafts.

Both write movements whose names say which use they are for. What they should come to is computed
afresh from all that happened, and only the difference to what is written is changed; so an entry
that comes days later leads to the same books as one that came at once.
"""

from collections.abc import Collection, Iterable, Mapping
from datetime import date
from typing import Any

import msgspec
from sqlalchemy import delete, select

from edgegate.passes.happenings import Sold
from edgegate.passes.model import Location, Pass
from edgegate.store.projection import instant, microseconds
from edgegate_sync.cloud.balances import Books
from edgegate_sync.cloud.feed import Transaction
from edgegate_sync.cloud.known import every_record, family_of, records_of
from edgegate_sync.cloud.ledger_tables import book, movement, settlement_policy, visit
from edgegate_sync.cloud.merge import merged
from edgegate_sync.cloud.projection import BY_HAND, SETTLEMENTS, MovementKind
from edgegate_sync.cloud.rows import Row, return_of, upsert, use_of, visit_of
from edgegate_sync.cloud.settle import Case, Grant, Outcome, Settlement, settled
from edgegate_sync.cloud.usage import Known, Use, given_back

Spans = Mapping[str, tuple[int, int]]
"""By customer: from when until when, in microseconds."""

ROUNDS_MAX = 64
"""How often a customer's time is widened to what hangs on it; then it is taken as it is."""

CLOUD = "cloud"
"""Who makes these movements."""

_own = {
    *("id", "kind", "customer", "pass", "location", "session", "amount"),
    *("money", "currency", "memo"),
}
_sold = msgspec.json.Decoder(Sold).decode
_outcomes = msgspec.json.Decoder(tuple[Outcome, ...]).decode


async def merge(tx: Transaction, spans: Spans, now_us: int) -> dict[str, int]:
    """Merge what devices spent on these customers (M-02); what each pass gained by it."""
    components = await _components(tx, spans)
    if not components:
        return {}
    ids = [use_id for component in components.values() for use_id in component]
    uses = [use_of(row) for row in await _movements(tx, movement.c.id.in_(ids))]
    known = await _known_of(tx, uses)
    back, visits = await _returns_and_visits(tx, uses)
    due: dict[str, int] = {}
    for customer in components:
        own = [use for use in uses if use.spent.customer == customer]
        due |= merged(own, back, visits, known)
    wanted = [_merge_row(use, due[use.id]) for use in uses if due.get(use.id)]
    written = await _movements(tx, movement.c.id.in_([f"merge:{use_id}" for use_id in ids]))
    return await _change(tx, written, wanted, now_us)


async def _components(tx: Transaction, spans: Spans) -> dict[str, set[str]]:
    """By customer, the uses that overlap each other around a time, where devices share it."""
    found: dict[str, set[str]] = {}
    spans = dict(spans)
    for _ in range(ROUNDS_MAX):
        if not spans:
            break
        overlapping = await _overlapping(tx, spans)
        wider = {}
        for customer, rows in overlapping.items():
            if len({row.device for row in rows}) > 1:
                found[customer] = {row.id for row in rows}
                span = _hull(spans[customer], rows)
                if span != spans[customer]:
                    wider[customer] = span
        spans = wider
    return found


async def _overlapping(tx: Transaction, spans: Spans) -> dict[str, list[Any]]:
    earliest = min(span[0] for span in spans.values())
    latest = max(span[1] for span in spans.values())
    rows = await tx.execute(
        select(
            movement.c.id,
            movement.c.customer,
            movement.c.device,
            movement.c.from_us,
            movement.c.ends_us,
        ).where(
            movement.c.site == tx.site,
            movement.c.customer.in_(sorted(spans)),
            movement.c.ends_us >= earliest,
            movement.c.from_us <= latest,
            movement.c.kind == MovementKind.DEBIT,
        )
    )
    found: dict[str, list[Any]] = {}
    for row in rows:
        earliest, latest = spans[row.customer]
        if row.ends_us >= earliest and row.from_us <= latest:
            found.setdefault(row.customer, []).append(row)
    return found


def _hull(span: tuple[int, int], rows: Iterable[Any]) -> tuple[int, int]:
    rows = list(rows)
    return (
        min(span[0], *(row.from_us for row in rows)),
        max(span[1], *(row.ends_us for row in rows)),
    )


async def _movements(tx: Transaction, *where: Any) -> list[Any]:
    found = await tx.execute(select(movement).where(movement.c.site == tx.site, *where))
    return list(found)


async def _known_of(tx: Transaction, uses: Iterable[Use]) -> Known:
    """What merging asks of the records: the passes, and all locations."""
    passes = await records_of(tx, "pass", Pass, {use.spent.pass_ for use in uses})
    return Known(passes=passes, locations=await every_record(tx, "location", Location))


async def _returns_and_visits(
    tx: Transaction, uses: Collection[Use]
) -> tuple[dict[str, int], dict[str, Any]]:
    sessions = sorted({use.spent.session for use in uses})
    customers = sorted({use.spent.customer for use in uses})
    returns = await _movements(
        tx,
        movement.c.customer.in_(customers),
        movement.c.kind == MovementKind.REFUND,
        movement.c.session.in_(sessions),
    )
    back, _ = given_back(tuple(uses), map(return_of, returns))
    rows = await tx.execute(select(visit).where(visit.c.site == tx.site, visit.c.id.in_(sessions)))
    return back, {row.id: visit_of(row) for row in rows}


def _merge_row(use: Use, amount: int) -> Row:
    return _row(use, MovementKind.MERGE, f"merge:{use.id}", amount) | {
        "pass": use.spent.pass_,
        "memo": "another device had been paid for this stay already",
    }


def _row(use: Use, kind: str, name: str, amount: int) -> Row:
    """A movement that the cloud makes about a use."""
    device, epoch, sequence = use.position
    return {
        "id": name,
        "kind": kind,
        "device": device,
        "epoch": epoch,
        "sequence": sequence,
        "customer": use.spent.customer,
        "location": use.spent.location,
        "session": use.spent.session,
        "amount": amount,
        "money": None,
        "currency": None,
        "at": use.at,
    }


async def _change(
    tx: Transaction, written: Iterable[Any], wanted: Iterable[Row], now_us: int
) -> dict[str, int]:
    """Turn the rows that are written into those that are wanted; what each pass gained by it."""
    before = {row.id: row._mapping for row in written}  # noqa: SLF001 - SQLAlchemy's public name
    after = {row["id"]: row for row in wanted}
    gained: dict[str, int] = {}
    for sign, rows in ((-1, before.values()), (1, after.values())):
        for row in rows:
            gained[row["pass"]] = gained.get(row["pass"], 0) + sign * row["amount"]
    gone = before.keys() - after.keys()
    if gone:
        await tx.execute(
            delete(movement).where(movement.c.site == tx.site, movement.c.id.in_(sorted(gone)))
        )
    fresh = [
        _completed(tx, row, now_us)
        for name, row in after.items()
        if name not in before or any(row[column] != before[name][column] for column in _own)
    ]
    await upsert(tx, movement, fresh, (*sorted(_own - {"id"}), "booked_us"))
    return {pass_id: amount for pass_id, amount in gained.items() if amount}


def _completed(tx: Transaction, row: Row, now_us: int) -> Row:
    at_us = microseconds(row["at"])
    rest = {name: value for name, value in row.items() if name != "at"}
    return rest | {
        "site": tx.site,
        "at_us": at_us,
        "from_us": None,
        "ends_us": None,
        "booked_us": now_us,
        "by": CLOUD,
        "body": None,
    }


async def settle(tx: Transaction, books: Books, now_us: int) -> bool:
    """Settle what the open passes are overdrawn by (M-03), and what was settled and need not be.

    Returns whether there was anything to look at.
    """
    done: set[str] = set()
    for p in books.unsettled:
        if p.id in done:
            continue
        known = await family_of(tx, p.holder)
        known = _with(known, p)
        done |= known.passes.keys()
        await _settle_family(tx, books, known, now_us)
    return bool(done)


def _with(known: Known, p: Pass) -> Known:
    passes = {**known.passes, p.id: p}
    return msgspec.structs.replace(known, passes=passes)


async def _settle_family(tx: Transaction, books: Books, known: Known, now_us: int) -> None:
    rows = await _movements(tx, movement.c["pass"].in_(sorted(known.passes)))
    written = await _settled_before(tx, rows)
    case = await _case(tx, known, rows)
    settlements = settled(case)
    wanted = [row for s in settlements for row in _settlement_rows(s)]
    gained = await _change(tx, written, wanted, now_us)
    touched = gained.keys() | {row["pass"] for row in wanted}
    await books.open(touched)
    books.move(gained)
    books.watch(touched)


async def _settled_before(tx: Transaction, rows: list[Any]) -> list[Any]:
    """What was settled of these passes, with what others paid that may belong there no longer."""
    # Of somebody who was erased nothing can be told any more, so that nothing is changed.
    own = [row for row in rows if row.kind in SETTLEMENTS and row.customer is not None]
    known = {row.id for row in own}
    paid = {_paid_name(row.id) for row in own if row.kind == MovementKind.MOVED} - known
    if not paid:
        return own
    return own + await _movements(tx, movement.c.id.in_(sorted(paid)))


async def _case(tx: Transaction, known: Known, rows: list[Any]) -> Case:
    uses = tuple(use_of(row) for row in rows if row.kind == MovementKind.DEBIT and row.body)
    returns = [return_of(row) for row in rows if row.kind == MovementKind.REFUND and row.body]
    back, unmatched = given_back(uses, returns)
    merged_back = {row.id: row.amount for row in rows if row.kind == MovementKind.MERGE}
    grants = [Grant(pass_=r.refund.pass_, at=r.at, amount=rest) for r, rest in unmatched]
    grants += [
        Grant(pass_=row._mapping["pass"], at=instant(row.at_us), amount=row.amount)  # noqa: SLF001 - SQLAlchemy's public name
        for row in rows
        if row.amount and (row.customer is None or row.kind in BY_HAND)
    ]
    return Case(
        known=known,
        uses=uses,
        net={
            u.id: u.spent.amount - back.get(u.id, 0) - merged_back.get(f"merge:{u.id}", 0)
            for u in uses
        },
        grants=tuple(grants),
        sold=await _days_sold(tx, uses),
        policies=await policies(tx),
    )


async def _days_sold(tx: Transaction, uses: Iterable[Use]) -> frozenset[tuple[str, str, date]]:
    customers = sorted({use.spent.customer for use in uses})
    rows = await _movements(
        tx, movement.c.customer.in_(customers), movement.c.kind == MovementKind.SOLD
    )
    sales = [_sold(row.body) for row in rows if row.body]
    return frozenset((s.customer, s.sale.offer, s.day) for s in sales if s.until is not None)


async def policies(tx: Transaction) -> dict[str, tuple[Outcome, ...]]:
    """What the site tries when a pass is overdrawn, by location; "" is its own."""
    rows = await tx.execute(
        select(settlement_policy.c.location, settlement_policy.c.outcomes).where(
            settlement_policy.c.site == tx.site
        )
    )
    return {row.location: _outcomes(row.outcomes) for row in rows}


def _paid_name(settled: str) -> str:
    """The name of what another pass paid, by that of what it paid for."""
    return f"{settled}:paid"


def _settlement_rows(s: Settlement) -> list[Row]:
    name = f"settle:{s.use.id}:{s.place}"
    charged = s.outcome is Outcome.CHARGED
    row = _row(s.use, s.outcome.value, name, s.amount) | {
        "pass": s.use.spent.pass_,
        "memo": s.why,
        "money": s.money if charged else None,
        "currency": s.currency if charged else None,
    }
    if s.to_pass is None:
        return [row]
    paid = _row(s.use, MovementKind.PAID, _paid_name(name), -s.to_amount)
    return [row, paid | {"pass": s.to_pass, "memo": f"for the pass {s.use.spent.pass_}"}]


async def refresh(tx: Transaction, pass_ids: Iterable[str], now_us: int) -> None:
    """Settle anew and write the balances of passes, where the books know them.

    Whoever puts a pass calls it afterwards: its amount may have changed.
    """
    await tx.lock()
    known = await tx.execute(
        select(book.c["pass"]).where(book.c.site == tx.site, book.c["pass"].in_(sorted(pass_ids)))
    )
    books = Books(tx)
    await books.open([row[0] for row in known])
    await settle(tx, books, now_us)
    await books.write()
