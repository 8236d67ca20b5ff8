"""What the admin API does with webhooks."""

from datetime import UTC, datetime, timedelta
from typing import Any

from aiohttp import web
from sqlalchemy import and_, delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from edgegate_sync.cloud import problems, webhook_events
from edgegate_sync.cloud.database import Writing, fetch
from edgegate_sync.cloud.feed import standing
from edgegate_sync.cloud.keys import scope_of
from edgegate_sync.cloud.problems import ProblemError
from edgegate_sync.cloud.server import Asked, Handler, answer, nothing
from edgegate_sync.cloud.tables import site as site_table
from edgegate_sync.cloud.webhook_operations import (
    WEBHOOKS_MAX,
    Deliveries,
    Delivery,
    MadeWebhook,
    Webhook,
    Webhooks,
)
from edgegate_sync.cloud.webhook_send import new_secret, secret_text
from edgegate_sync.cloud.webhook_tables import webhook, webhook_delivery, webhook_event
from edgegate_sync.cloud.webhooks import event_of, purpose_of
from edgegate_sync.wire.errors import FieldFault

PREVIOUS_FOR = timedelta(hours=24)
"""How long the secret before the newest is good."""

_waiting = (
    select(func.count())
    .select_from(webhook_event)
    .where(webhook_event.c.site == webhook.c.site, webhook_event.c.number > webhook.c.sent)
    .scalar_subquery()
    .label("waiting")
)


async def list_webhooks(asked: Asked) -> web.StreamResponse:
    """All endpoints of a site."""
    statement = select(webhook, _waiting).where(webhook.c.site == asked.site)
    async with asked.cloud.database.reading() as connection:
        await standing(connection, asked.site)
        rows = await fetch(connection, statement.order_by(webhook.c.id))
        return answer(Webhooks(webhooks=tuple(_told(row) for row in rows)))


async def put_webhook(asked: Asked) -> web.StreamResponse:
    """Make or change an endpoint."""
    new = asked.body
    try:
        asked.cloud.webhooks.guard.check_url(new.url)
    except ValueError as error:
        raise problems.invalid([FieldFault(field="url", problem=str(error))]) from error
    values = {"url": new.url, "events": " ".join(new.events), "paused": new.paused}
    secret = None
    async with asked.cloud.database.writing() as writing:
        await _lock(writing, asked.site)
        changed = await writing.execute(
            update(webhook)
            .where(_mine(asked))
            .values(**values, failures=0, next_at=None, error=None)
        )
        if changed.rowcount == 0:
            secret = new_secret()
            await _make(writing, asked, values, secret)
    async with asked.cloud.database.reading() as connection:
        row = await _known(connection, asked)
    return answer(_made(row, secret))


async def delete_webhook(asked: Asked) -> web.StreamResponse:
    """Remove an endpoint with what is known of its deliveries."""
    async with asked.cloud.database.writing() as writing:
        gone = await writing.execute(delete(webhook).where(_mine(asked)))
        if gone.rowcount == 0:
            raise _none(asked)
        await writing.execute(
            delete(webhook_delivery).where(
                webhook_delivery.c.site == asked.site,
                webhook_delivery.c.webhook == asked.values["webhook"],
            )
        )
    return nothing()


async def rotate_webhook(asked: Asked) -> web.StreamResponse:
    """Give an endpoint a new secret."""
    secret = new_secret()
    async with asked.cloud.database.writing() as writing:
        done = await writing.execute(
            update(webhook)
            .where(_mine(asked))
            .values(
                previous=webhook.c.secret,
                previous_until=datetime.now(UTC) + PREVIOUS_FOR,
                secret=_sealed(asked, secret),
            )
        )
        if done.rowcount == 0:
            raise _none(asked)
    async with asked.cloud.database.reading() as connection:
        row = await _known(connection, asked)
    return answer(_made(row, secret))


async def list_deliveries(asked: Asked) -> web.StreamResponse:
    """A page of what an endpoint was told."""
    limit, state = asked.values["limit"], asked.values["state"]
    statement = select(webhook_delivery).where(
        webhook_delivery.c.site == asked.site,
        webhook_delivery.c.webhook == asked.values["webhook"],
        webhook_delivery.c.number > asked.values["after"],
    )
    if state is not None:
        statement = statement.where(webhook_delivery.c.state == state)
    async with asked.cloud.database.reading() as connection:
        await _known(connection, asked)
        rows = await fetch(connection, statement.order_by(webhook_delivery.c.number).limit(limit))
        deliveries = tuple(_delivery(row) for row in rows)
    more = deliveries[-1].number if len(deliveries) == limit else None
    return answer(Deliveries(deliveries=deliveries, next=more))


async def retry_delivery(asked: Asked) -> web.StreamResponse:
    """Tell an endpoint of one event now."""
    number = asked.values["number"]
    event = select(webhook_event).where(
        webhook_event.c.site == asked.site, webhook_event.c.number == number
    )
    async with asked.cloud.database.reading() as connection:
        row = await _known(connection, asked)
        found = (await fetch(connection, event)).one_or_none()
    if found is None:
        raise problems.not_found(f"event {number} any more")
    endpoint = asked.cloud.webhooks.opened(row, datetime.now(UTC))
    await asked.cloud.webhooks.deliver(endpoint, event_of(found))
    statement = select(webhook_delivery).where(
        webhook_delivery.c.site == asked.site,
        webhook_delivery.c.webhook == endpoint.id,
        webhook_delivery.c.number == number,
    )
    async with asked.cloud.database.reading() as connection:
        return answer(_delivery((await fetch(connection, statement)).one()))


async def _lock(writing: Writing, site_id: str) -> None:
    """Hold the site, so that endpoints are counted and events numbered one after the other."""
    found = await writing.execute(
        select(site_table.c.id).where(site_table.c.id == site_id).with_for_update()
    )
    if found.one_or_none() is None:
        raise problems.not_found(f'site "{site_id}"')


async def _make(writing: Writing, asked: Asked, values: dict[str, Any], secret: bytes) -> None:
    counted = await writing.execute(
        select(func.count()).select_from(webhook).where(webhook.c.site == asked.site)
    )
    if counted.scalar_one() >= WEBHOOKS_MAX:
        raise problems.conflict(f"There are {WEBHOOKS_MAX} endpoints already; remove one.")
    await writing.execute(
        insert(webhook).values(
            site=asked.site,
            id=asked.values["webhook"],
            secret=_sealed(asked, secret),
            created_at=datetime.now(UTC),
            # It is told of what happens from now on.
            sent=await webhook_events.head(writing, asked.site),
            failures=0,
            **values,
        )
    )


def _sealed(asked: Asked, secret: bytes) -> bytes:
    purpose = purpose_of(asked.values["webhook"])
    return asked.cloud.vault.seal(scope_of(asked.site), purpose, secret)


def _mine(asked: Asked) -> Any:
    return and_(webhook.c.site == asked.site, webhook.c.id == asked.values["webhook"])


async def _known(connection: AsyncConnection, asked: Asked) -> Any:
    row = (await fetch(connection, select(webhook, _waiting).where(_mine(asked)))).one_or_none()
    if row is None:
        raise _none(asked)
    return row


def _none(asked: Asked) -> ProblemError:
    return problems.not_found(f'endpoint "{asked.values["webhook"]}" at this site')


def _made(row: Any, secret: bytes | None) -> MadeWebhook:
    return MadeWebhook(webhook=_told(row), secret=None if secret is None else secret_text(secret))


def _told(row: Any) -> Webhook:
    is_rotating = row.previous_until is not None and row.previous_until > datetime.now(UTC)
    return Webhook(
        id=row.id,
        url=row.url,
        events=tuple(row.events.split()),
        paused=row.paused,
        created_at=row.created_at,
        sent=row.sent,
        waiting=row.waiting,
        failures=row.failures,
        next_at=row.next_at,
        delivered_at=row.delivered_at,
        error=row.error,
        previous_secret_until=row.previous_until if is_rotating else None,
    )


def _delivery(row: Any) -> Delivery:
    return Delivery(
        number=row.number,
        event=row.event,
        type=row.type,
        state=row.state,
        attempts=row.attempts,
        status=row.status,
        error=row.error,
        at=row.at,
    )


HANDLERS: dict[str, Handler] = {
    "list_webhooks": list_webhooks,
    "put_webhook": put_webhook,
    "delete_webhook": delete_webhook,
    "rotate_webhook": rotate_webhook,
    "list_deliveries": list_deliveries,
    "retry_delivery": retry_delivery,
}
"""By operation."""
