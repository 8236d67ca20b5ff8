"""What staff do to passes by hand: add and deduct, give, approve and reject, always with a memo."""

import secrets
from datetime import datetime

from msgspec import Struct
from msgspec.structs import replace

from edgegate.passes.model import Pass, PassState, Unit
from edgegate.store.projection import microseconds
from edgegate_sync.cloud import problems, reckon
from edgegate_sync.cloud.balances import Books
from edgegate_sync.cloud.feed import Transaction
from edgegate_sync.cloud.known import records_of
from edgegate_sync.cloud.ledger_tables import movement
from edgegate_sync.cloud.projection import MovementKind
from edgegate_sync.cloud.rows import Row, upsert
from edgegate_sync.wire.kinds import encode_record


class By(Struct, frozen=True, kw_only=True):
    """Who does something, when, and why."""

    name: str
    now: datetime
    memo: str = ""


async def adjust(
    tx: Transaction, pass_id: str, amount: int, by: By, name: str | None = None
) -> int:
    """Add to a pass, or deduct with a negative amount; what is then left.

    Whoever gives the adjustment a name may send it twice: it counts once.

    Raises:
        ProblemError: 404 without such a pass; 409 if it is counted in nothing, or if less is left
            than is to be deducted (Q-S4).
    """
    await tx.lock()
    p = await pass_of(tx, pass_id)
    if p.unit is Unit.UNLIMITED:
        raise problems.conflict(f"The pass {pass_id} is unlimited: there is nothing to count.")
    movement_id = f"adjust:{name or secrets.token_hex(12)}"
    books = Books(tx)
    await books.open([pass_id])
    left = books.remaining(pass_id) or 0
    if await _is_there(tx, movement_id):
        return left
    if amount < 0 and left + amount < 0:
        raise problems.conflict(f"The pass {pass_id} has {left} left, less than {-amount}.")
    what = ByHand(id=movement_id, kind=MovementKind.ADJUSTMENT, amount=amount)
    await book_by_hand(tx, books, p, what, by)
    return books.remaining(pass_id) or 0


class ByHand(Struct, frozen=True, kw_only=True):
    """A movement that no device made."""

    id: str
    kind: str
    amount: int
    customer: str | None = None
    """The pass's holder, where nobody is named."""
    location: str | None = None


async def book_by_hand(tx: Transaction, books: Books, p: Pass, what: ByHand, by: By) -> None:
    """Write a movement of a pass that is open in `books`, and the balances that follow."""
    row = hand_row(tx.site, what.id, what.kind, by, what.customer or p.holder)
    row |= {"pass": p.id, "amount": what.amount, "location": what.location}
    await upsert(tx, movement, [row])
    if what.amount:
        books.move({p.id: what.amount})
        books.watch([p.id])
        await reckon.settle(tx, books, microseconds(by.now))
        await books.write()


def hand_row(site: str, movement_id: str, kind: str, by: By, customer: str | None) -> Row:
    """A movement of nothing yet, by somebody, now."""
    now_us = microseconds(by.now)
    empty = ("device", "epoch", "sequence", "pass", "location", "session", "money", "currency")
    return dict.fromkeys((*empty, "from_us", "ends_us", "body")) | {
        "site": site,
        "id": movement_id,
        "kind": kind,
        "customer": customer,
        "amount": 0,
        "at_us": now_us,
        "booked_us": now_us,
        "by": by.name,
        "memo": by.memo or None,
    }


async def give(tx: Transaction, p: Pass, by: By) -> None:
    """Give a new lot: a pass of its own, with an expiry or for good (SB-07, AC-05).

    Raises:
        ProblemError: 409 if there is another pass of that id.
    """
    await tx.lock()
    body = encode_record(p)
    known = await tx.get("pass", p.id)
    if known is not None:
        if known != body:
            raise problems.conflict(f'There is another pass "{p.id}" already.')
        return
    await tx.put("pass", p.id, body)
    row = hand_row(tx.site, f"grant:{p.id}", MovementKind.GRANTED, by, p.holder)
    await upsert(tx, movement, [row | {"pass": p.id, "location": p.home}])


async def approve(tx: Transaction, pass_id: str, by: By, *, approved: bool) -> Pass:
    """Approve or reject a pass that awaits it (DK-13); doing it again changes nothing.

    Raises:
        ProblemError: 404 without such a pass, 409 if it awaits no approval.
    """
    await tx.lock()
    p = await pass_of(tx, pass_id)
    state = PassState.ACTIVE if approved else PassState.REJECTED
    row = hand_row(tx.site, f"approval:{pass_id}", MovementKind.APPROVAL, by, p.holder)
    if p.state is state and await _is_there(tx, row["id"]):
        return p
    if p.state is not PassState.AWAITING_APPROVAL:
        raise problems.conflict(f"The pass {pass_id} awaits no approval: it is {p.state}.")
    decided = replace(p, state=state)
    await tx.put("pass", pass_id, encode_record(decided))
    memo = ": ".join(filter(None, ("approved" if approved else "rejected", by.memo)))
    await upsert(tx, movement, [row | {"pass": pass_id, "memo": memo}])
    return decided


async def pass_of(tx: Transaction, pass_id: str) -> Pass:
    """A pass by its id.

    Raises:
        ProblemError: 404 if there is none.
    """
    found = await records_of(tx, "pass", Pass, [pass_id])
    if pass_id not in found:
        raise problems.not_found(f'pass "{pass_id}" at this site')
    return found[pass_id]


async def _is_there(tx: Transaction, movement_id: str) -> bool:
    found = await tx.execute(
        movement.select().where(movement.c.site == tx.site, movement.c.id == movement_id)
    )
    return found.first() is not None
