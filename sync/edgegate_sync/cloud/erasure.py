"""Erasing a person: the records about them, and what other modules keep of them."""

from collections.abc import Awaitable, Callable

from sqlalchemy import select

from edgegate_sync.cloud.feed import Transaction
from edgegate_sync.cloud.tables import record
from edgegate_sync.wire.changes import Op
from edgegate_sync.wire.kinds import ERASURES

Eraser = Callable[[Transaction, str, str], Awaitable[None]]

erasers: list[Eraser] = []
"""Called with kind and id in the transaction that erases, by modules that keep more of people."""


async def erase(transaction: Transaction, kind: str, record_id: str) -> int:
    """Erase a record and what goes with it; how many records that were.

    `kind` is a key of `ERASURES`. Erasing what is gone already is no error, and tells the devices
    once more.
    """
    await transaction.lock()
    await transaction.flush()
    count = 1
    for other, _field in ERASURES[kind].records:
        for other_id in await _owned(transaction, other, record_id):
            await transaction.erase(other, other_id)
            count += 1
            if other == "pass":
                await transaction.erase("balance", other_id)
                count += 1
    await transaction.erase(kind, record_id)
    for eraser in erasers:
        await eraser(transaction, kind, record_id)
    return count


async def _owned(transaction: Transaction, kind: str, owner: str) -> list[str]:
    """The records of a kind that belong to somebody: `owner` is the field that `ERASURES` names."""
    found = await transaction.execute(
        select(record.c.id).where(
            record.c.site == transaction.site,
            record.c.kind == kind,
            record.c.owner == owner,
            record.c.op == Op.PUT.value,
        )
    )
    return list(found.scalars())
