"""What the admin API does with the books."""

from datetime import UTC, datetime
from typing import TypeVar

import msgspec
from aiohttp import web
from sqlalchemy import ColumnElement, and_, select, update

from edgegate.store.projection import microseconds
from edgegate_sync.cloud import abandon, adjust, forget, history, problems, reckon, schedule
from edgegate_sync.cloud.adjust import By
from edgegate_sync.cloud.balances import Books
from edgegate_sync.cloud.database import fetch
from edgegate_sync.cloud.feed import Transaction, standing
from edgegate_sync.cloud.ledger_tables import quarantine, settlement_policy
from edgegate_sync.cloud.record_api import FaultyError, checked
from edgegate_sync.cloud.rows import upsert
from edgegate_sync.cloud.server import Asked, Handler, answer, nothing
from edgegate_sync.cloud.usage_operations import Done, Left, Policies, Policy, Quarantine
from edgegate_sync.wire.errors import FieldFault
from edgegate_sync.wire.kinds import decode_record, encode_record, kind_of

R = TypeVar("R", bound=msgspec.Struct)

FORGETS = forget.forget
"""Erasing a person also erases them from the books: `forget` is registered by being imported."""


async def adjust_pass(asked: Asked) -> web.StreamResponse:
    """Add or deduct."""
    what = asked.body
    if not what.amount:
        raise problems.invalid([FieldFault(field="amount", problem="must not be 0")])
    async with asked.cloud.database.site(asked.site) as tx:
        left = await adjust.adjust(
            tx, asked.values["pass"], what.amount, _by(asked, what.memo), what.id
        )
    return answer(Left(remaining=left))


async def give_lot(asked: Asked) -> web.StreamResponse:
    """Give a new lot."""
    lot = _valid("pass", asked.body.lot, "lot")
    async with asked.cloud.database.site(asked.site) as tx:
        await adjust.give(tx, lot, _by(asked, asked.body.memo))
        left = await _left(tx, lot.id)
    return answer(Left(remaining=left))


async def decide_pass(asked: Asked) -> web.StreamResponse:
    """Approve or reject."""
    pass_id, what = asked.values["pass"], asked.body
    async with asked.cloud.database.site(asked.site) as tx:
        await adjust.approve(tx, pass_id, _by(asked, what.memo), approved=what.approved)
        left = await _left(tx, pass_id)
    return answer(Left(remaining=left))


async def schedule_use(asked: Asked) -> web.StreamResponse:
    """Make a reservation."""
    reservation = _valid("reservation", asked.body.reservation, "reservation")
    async with asked.cloud.database.site(asked.site) as tx:
        left = await schedule.schedule(tx, reservation, _by(asked, asked.body.memo))
    return answer(Left(remaining=left))


async def cancel_use(asked: Asked) -> web.StreamResponse:
    """Cancel a reservation."""
    async with asked.cloud.database.site(asked.site) as tx:
        left = await schedule.cancel(tx, asked.values["reservation"], _by(asked, asked.body.memo))
    return answer(Left(remaining=left))


async def abandon_device(asked: Asked) -> web.StreamResponse:
    """Settle the visits of a lost device."""
    async with asked.cloud.database.site(asked.site) as tx:
        count = await abandon.abandon(tx, asked.values["device"], _by(asked, asked.body.memo))
    return answer(Done(count=count))


async def read_history(asked: Asked) -> web.StreamResponse:
    """A page of a customer's history."""
    async with asked.cloud.database.reading() as connection:
        await standing(connection, asked.site)
        try:
            page = await history.history(
                connection,
                asked.site,
                asked.values["customer"],
                asked.values["cursor"],
                asked.values["limit"],
            )
        except ValueError as error:
            fault = FieldFault(field="cursor", problem="is not the `next` of a page")
            raise problems.invalid([fault], 400) from error
    return answer(page)


async def read_ledgers(asked: Asked) -> web.StreamResponse:
    """How far the ledgers were taken in."""
    async with asked.cloud.database.reading() as connection:
        await standing(connection, asked.site)
        return answer(await history.ledger_state(connection, asked.site, asked.values["limit"]))


async def list_quarantine(asked: Asked) -> web.StreamResponse:
    """A page of the quarantine."""
    limit = asked.values["limit"]
    async with asked.cloud.database.reading() as connection:
        await standing(connection, asked.site)
        found = await history.parked(connection, asked.site, asked.values["cursor"], limit)
    more = found[-1].id if len(found) == limit else None
    return answer(Quarantine(parked=tuple(found), next=more))


async def read_quarantined(asked: Asked) -> web.StreamResponse:
    """Something in quarantine as it came."""
    async with asked.cloud.database.reading() as connection:
        rows = await fetch(connection, select(quarantine).where(_this(asked)))
        row = rows.one_or_none()
    if row is None:
        raise _not_parked(asked)
    return answer(history.parked_of(row, with_raw=True))


async def dismiss_quarantined(asked: Asked) -> web.StreamResponse:
    """Note that somebody has looked."""
    by = _by(asked, asked.body.memo)
    new = {
        "dismissed_us": microseconds(by.now),
        "dismissed_by": by.name,
        "memo": by.memo or None,
    }
    statement = update(quarantine).where(_this(asked)).values(new).returning(quarantine)
    async with asked.cloud.database.writing() as writing:
        row = (await writing.execute(statement)).one_or_none()
    if row is None:
        raise _not_parked(asked)
    return answer(history.parked_of(row))


async def list_policies(asked: Asked) -> web.StreamResponse:
    """What overdrawn uses become."""
    async with asked.cloud.database.site(asked.site) as tx:
        await tx.lock()
        found = await reckon.policies(tx)
    return answer(
        Policies(
            policies=tuple(
                Policy(outcomes=outcomes, location=location or None)
                for location, outcomes in sorted(found.items())
            )
        )
    )


async def put_policy(asked: Asked) -> web.StreamResponse:
    """Say what overdrawn uses become."""
    row = {
        "site": asked.site,
        "location": asked.body.location or "",
        "outcomes": msgspec.json.encode(asked.body.outcomes).decode(),
    }
    async with asked.cloud.database.site(asked.site) as tx:
        await tx.lock()
        await upsert(tx, settlement_policy, [row], ("outcomes",))
    return nothing()


HANDLERS: dict[str, Handler] = {
    handler.__name__: handler
    for handler in (
        *(adjust_pass, give_lot, decide_pass, schedule_use, cancel_use, abandon_device),
        *(read_history, read_ledgers, list_quarantine, read_quarantined, dismiss_quarantined),
        *(list_policies, put_policy),
    )
}
"""By operation."""


def _by(asked: Asked, memo: str) -> By:
    name = asked.token.name if asked.token is not None else ""
    return By(name=name, now=datetime.now(UTC), memo=memo)


def _valid(kind: str, record: R, field: str) -> R:
    """A record in a request, as any other record is checked."""
    body = encode_record(record)
    record_id = kind_of(kind).id_of(record)
    try:
        found: R = decode_record(kind_of(kind), record_id, checked(kind, record_id, body)).record
    except FaultyError as error:
        faults = [
            msgspec.structs.replace(fault, field=f"{field}.{fault.field}".rstrip("."))
            for fault in error.faults
        ]
        raise problems.invalid(faults) from error
    return found


async def _left(tx: Transaction, pass_id: str) -> int:
    books = Books(tx)
    await books.open([pass_id])
    return books.remaining(pass_id) or 0


def _this(asked: Asked) -> ColumnElement[bool]:
    return and_(quarantine.c.site == asked.site, quarantine.c.id == asked.values["parked"])


def _not_parked(asked: Asked) -> problems.ProblemError:
    return problems.not_found(f'"{asked.values["parked"]}" in quarantine at this site')
