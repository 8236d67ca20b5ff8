"""Erases a person from the books: the chain still verifies, the sums stay, nobody is named.

Registered with `erasure` by importing this module.
"""

from typing import Any

from sqlalchemy import LargeBinary, bindparam, delete, func, or_, update

from edgegate_sync.cloud import erasure
from edgegate_sync.cloud.feed import Transaction
from edgegate_sync.cloud.ledger_tables import ledger_entry, movement, quarantine, visit
from edgegate_sync.wire.kinds import ERASURES


async def forget(tx: Transaction, kind: str, record_id: str) -> None:
    """Remove salt and data of all entries about somebody, and their name from what they did."""
    fields = ERASURES[kind].entry_fields
    if not fields:
        return
    here = ledger_entry.c.site == tx.site
    nothing = {"salt": None, "data": None, "customer": None}
    needles = [f'"{field}":"{record_id}"'.encode() for field in fields]
    about = [_contains(tx, ledger_entry.c.data, needle) for needle in needles]
    if kind == "customer":
        await _forget_customer(tx, record_id)
        about.append(ledger_entry.c.customer == record_id)
    await tx.execute(update(ledger_entry).where(here, or_(*about)).values(nothing))
    await tx.execute(
        update(quarantine)
        .where(
            quarantine.c.site == tx.site,
            or_(*(_contains(tx, quarantine.c.raw, needle) for needle in needles)),
        )
        .values(raw=b"")
    )


def _contains(tx: Transaction, column: Any, needle: bytes) -> Any:
    """Whether bytes contain others; each database says it in its own way."""
    if tx.writing.is_sqlite:
        return func.instr(column, needle) > 0
    # `strpos` takes texts only; `position(… in …)` is what bytea has, and this is its other name.
    return func.position(bindparam(None, needle, LargeBinary).op("IN")(column)) > 0


async def _forget_customer(tx: Transaction, customer: str) -> None:
    await tx.execute(
        update(movement)
        .where(movement.c.site == tx.site, movement.c.customer == customer)
        .values(customer=None, body=None, memo=None)
    )
    await tx.execute(delete(visit).where(visit.c.site == tx.site, visit.c.customer == customer))


erasure.erasers.append(forget)
