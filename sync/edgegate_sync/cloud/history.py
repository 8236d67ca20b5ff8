"""What happened to a customer's passes and money: who did it, when, and why."""

from typing import Any

from msgspec import Struct, field
from sqlalchemy import and_, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from edgegate.passes.model import Instant
from edgegate.store.projection import instant
from edgegate_sync.cloud.database import fetch
from edgegate_sync.cloud.ledger_tables import ledger_epoch, ledger_flag, movement, quarantine

NUMBER_MAX = 2**62
"""No instant has as many microseconds."""

HIDDEN = ("debit", "sold")
"""Of these only what took something is told; a sale is told by its charge."""


class Transaction(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line of a history: `amount` in the pass's unit, `money` in minor units."""

    id: str
    kind: str
    at: Instant
    """When it happened."""
    booked_at: Instant
    """When the cloud learnt of it or decided it."""
    by: str
    """The device, the name of the token, `plan` for a renewal, or `cloud`."""
    amount: int
    pass_: str | None = field(name="pass", default=None)
    location: str | None = None
    money: int | None = None
    currency: str | None = None
    memo: str | None = None


class History(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Some lines, the newest first; `next` is the cursor if there may be more."""

    transactions: tuple[Transaction, ...]
    next: str | None = None


class LedgerFault(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Where a device's chain is broken, was cut off, or came with less than it had."""

    device: str
    epoch: int
    sequence: int
    kind: str
    detail: str
    noticed_at: Instant


class Parked(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Something in quarantine."""

    id: str
    device: str
    fault: str
    detail: str
    taken_at: Instant
    epoch: int | None = None
    sequence: int | None = None
    raw: str = ""
    """As it came, as far as it is text; only where one is asked for."""
    dismissed_at: Instant | None = None
    dismissed_by: str | None = None
    memo: str | None = None


class LedgerHead(Struct, frozen=True, kw_only=True):
    """How far an epoch of a device's ledger was taken in, and when last."""

    device: str
    epoch: int
    sequence: int
    taken_at: Instant


class LedgerState(Struct, frozen=True, kw_only=True):
    """How far the ledgers of a site were taken in, and what is wrong with them."""

    heads: tuple[LedgerHead, ...]
    faults: tuple[LedgerFault, ...]


async def history(
    connection: AsyncConnection, site: str, customer: str, cursor: str, limit: int
) -> History:
    """A page of a customer's history; the cursor is that of the page before, "" the beginning.

    Raises:
        ValueError: if the cursor is none.
    """
    statement = select(movement).where(
        movement.c.site == site,
        movement.c.customer == customer,
        or_(movement.c.kind.not_in(HIDDEN), movement.c.amount != 0),
    )
    if cursor:
        at, _, name = cursor.partition(":")
        at_us = int(at)
        if abs(at_us) >= NUMBER_MAX:
            raise ValueError("that is no instant")
        statement = statement.where(
            or_(
                movement.c.at_us < at_us,
                and_(movement.c.at_us == at_us, movement.c.id < name),
            )
        )
    ordered = statement.order_by(movement.c.at_us.desc(), movement.c.id.desc()).limit(limit)
    rows = list((await fetch(connection, ordered)).mappings())
    more = f"{rows[-1]['at_us']}:{rows[-1]['id']}" if len(rows) == limit else None
    return History(transactions=tuple(map(_transaction, rows)), next=more)


def _transaction(row: Any) -> Transaction:
    return Transaction(
        id=row["id"],
        kind=row["kind"],
        at=instant(row["at_us"]),
        booked_at=instant(row["booked_us"]),
        by=row["by"],
        amount=row["amount"],
        pass_=row["pass"],
        location=row["location"],
        money=row["money"],
        currency=row["currency"],
        memo=row["memo"],
    )


async def ledger_state(connection: AsyncConnection, site: str, limit: int) -> LedgerState:
    """How far a site's ledgers were taken in, and at most `limit` faults, the newest first."""
    heads = await fetch(
        connection,
        select(ledger_epoch)
        .where(ledger_epoch.c.site == site)
        .order_by(ledger_epoch.c.device, ledger_epoch.c.epoch),
    )
    rows = list(heads)
    flags = await fetch(
        connection,
        select(ledger_flag)
        .where(ledger_flag.c.site == site)
        .order_by(ledger_flag.c.noticed_us.desc(), ledger_flag.c.device, ledger_flag.c.sequence)
        .limit(limit),
    )
    faults = [_fault(row.device, row.epoch, row.sequence, row) for row in flags]
    behind = [_behind(row) for row in rows if row.behind is not None]
    return LedgerState(
        heads=tuple(
            LedgerHead(
                device=row.device,
                epoch=row.epoch,
                sequence=row.sequence,
                taken_at=instant(row.taken_us),
            )
            for row in rows
        ),
        faults=(*behind, *faults),
    )


def _fault(device: str, epoch: int, sequence: int, row: Any) -> LedgerFault:
    return LedgerFault(
        device=device,
        epoch=epoch,
        sequence=sequence,
        kind=row.kind,
        detail=row.detail,
        noticed_at=instant(row.noticed_us),
    )


def _behind(row: Any) -> LedgerFault:
    return LedgerFault(
        device=row.device,
        epoch=row.epoch,
        sequence=row.behind,
        kind="behind",
        detail=f"the device came with {row.behind}, and had {row.sequence} before",
        noticed_at=instant(row.taken_us),
    )


async def parked(connection: AsyncConnection, site: str, cursor: str, limit: int) -> list[Parked]:
    """Some of what is in quarantine and was not dismissed, in the order of its names."""
    rows = await fetch(
        connection,
        select(quarantine)
        .where(
            quarantine.c.site == site,
            quarantine.c.id > cursor,
            quarantine.c.dismissed_us.is_(None),
        )
        .order_by(quarantine.c.id)
        .limit(limit),
    )
    return [parked_of(row) for row in rows]


def parked_of(row: Any, *, with_raw: bool = False) -> Parked:
    """A row of the quarantine as it is told."""
    return Parked(
        id=row.id,
        device=row.device,
        fault=row.fault,
        detail=row.detail,
        taken_at=instant(row.taken_us),
        epoch=row.epoch,
        sequence=row.sequence,
        raw=row.raw.decode(errors="replace") if with_raw else "",
        dismissed_at=None if row.dismissed_us is None else instant(row.dismissed_us),
        dismissed_by=row.dismissed_by,
        memo=row.memo,
    )
