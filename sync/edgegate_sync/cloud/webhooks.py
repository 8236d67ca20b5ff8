"""Delivers webhooks: each endpoint in its order, at least once, none waiting for another.

A worker takes an endpoint for a moment and tells it what comes next. What fails is tried again
later and later, with jitter; what could not be told within a day is parked, and the next one
follows. Who dies in between leaves the endpoint to others; then an event may come twice, under the
same `webhook-id`.
"""

import asyncio
import logging
import random
import ssl
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
from msgspec import Struct
from msgspec.structs import replace
from sqlalchemy import and_, exists, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from edgegate_sync.cancelling import apart
from edgegate_sync.cloud.counters import Counters
from edgegate_sync.cloud.database import Database, fetch
from edgegate_sync.cloud.keys import scope_of
from edgegate_sync.cloud.vault import Vault
from edgegate_sync.cloud.webhook_events import wants
from edgegate_sync.cloud.webhook_send import Guard, Outcome, headers, open_session, send
from edgegate_sync.cloud.webhook_tables import webhook, webhook_delivery, webhook_event

LOOK_EVERY_S = 1.0
ENDPOINTS_MAX = 20
"""Endpoints that one worker delivers to at once."""

EVENTS_MAX = 50
"""Events that are read at once for one endpoint."""

TURN_S_MAX = 60
"""How long an endpoint is delivered to before it is taken anew."""

LEASE = timedelta(seconds=120)
PARKED_AFTER = timedelta(hours=24)
BACKOFF_S_MIN = 5
BACKOFF_S_MAX = 3600
GONE = 410
"""The status by which an endpoint says that it wants nothing any more."""

log = logging.getLogger(__name__)


class Endpoint(Struct, frozen=True, kw_only=True):
    """An endpoint that this worker has taken."""

    site: str
    id: str
    url: str
    events: str
    secrets: tuple[bytes, ...]
    sent: int
    failures: int


class Event(Struct, frozen=True, kw_only=True):
    """Something that is to be told."""

    number: int
    id: str
    type: str
    noted_at: datetime
    body: bytes


def purpose_of(endpoint: str) -> str:
    """What an endpoint's secret is sealed for."""
    return f"webhook/{endpoint}"


def backoff(failures: int) -> timedelta:
    """When to try again after so many failures in a row: twice as late each time, with jitter."""
    whole_s = min(BACKOFF_S_MAX, BACKOFF_S_MIN * 2 ** min(failures - 1, 30))
    # No secret, only so that many endpoints do not come at one moment.
    return timedelta(seconds=random.uniform(whole_s / 2, whole_s))  # noqa: S311 - see above


class Deliverer:
    """One worker's part in delivering."""

    def __init__(
        self,
        database: Database,
        vault: Vault,
        worker: str,
        counters: Counters,
        allowed: tuple[str, ...] = (),
    ) -> None:
        self.guard = Guard(allowed)
        self._database = database
        self._vault = vault
        self._worker = worker
        self._counters = counters
        self._busy = 0
        self._session: aiohttp.ClientSession | None = None

    async def run(self) -> None:
        """Deliver until it is cancelled."""
        context = await asyncio.to_thread(ssl.create_default_context)
        async with open_session(self.guard, context) as session, asyncio.TaskGroup() as group:
            self._session = session
            while True:
                try:
                    for one in await apart(self._take(ENDPOINTS_MAX - self._busy)):
                        self._busy += 1
                        name = f"cloud: webhook {one.site}/{one.id}"
                        group.create_task(self._turn(session, one), name=name)
                except (DBAPIError, PoolTimeoutError, OSError) as error:
                    _warn(error)
                await asyncio.sleep(LOOK_EVERY_S)

    async def deliver(self, endpoint: Endpoint, event: Event) -> Outcome:
        """Try once to tell an endpoint of an event, out of turn, and note how it went."""
        if self._session is not None:
            outcome = await self._send(self._session, endpoint, event)
        else:
            context = await asyncio.to_thread(ssl.create_default_context)
            async with open_session(self.guard, context) as session:
                outcome = await self._send(session, endpoint, event)
        async with self._database.writing() as writing:
            state = "delivered" if outcome.is_done else "failed"
            await writing.execute(self._noted(endpoint, event, outcome, state))
        return outcome

    def opened(self, row: Any, now: datetime) -> Endpoint:
        """A row of the endpoints' table with the secrets that are good now."""
        scope, purpose = scope_of(row.site), purpose_of(row.id)
        sealed = [row.secret]
        if row.previous is not None and row.previous_until > now:
            sealed.append(row.previous)
        return Endpoint(
            site=row.site,
            id=row.id,
            url=row.url,
            events=row.events,
            secrets=tuple(self._vault.open(scope, purpose, one) for one in sealed),
            sent=row.sent,
            failures=row.failures,
        )

    async def _take(self, count: int) -> list[Endpoint]:
        """Endpoints that something is to be told now, for this worker alone."""
        now = datetime.now(UTC)
        waiting = exists().where(
            webhook_event.c.site == webhook.c.site, webhook_event.c.number > webhook.c.sent
        )
        due = and_(
            webhook.c.paused.is_(False),
            or_(webhook.c.next_at.is_(None), webhook.c.next_at <= now),
            or_(webhook.c.leased_until.is_(None), webhook.c.leased_until < now),
            waiting,
        )
        if count < 1:
            return []
        async with self._database.reading() as connection:
            # Most looks find nothing, and then nothing is locked.
            if (await fetch(connection, select(webhook.c.id).where(due).limit(1))).first() is None:
                return []
        statement = select(webhook).where(due).order_by(webhook.c.next_at).limit(count)
        async with self._database.writing() as writing:
            rows = list(
                await writing.execute(statement.with_for_update(of=webhook, skip_locked=True))
            )
            for row in rows:
                await writing.execute(
                    update(webhook)
                    .where(webhook.c.site == row.site, webhook.c.id == row.id)
                    .values(worker=self._worker, leased_until=now + LEASE)
                )
        return [self.opened(row, now) for row in rows]

    async def _turn(self, session: aiohttp.ClientSession, endpoint: Endpoint) -> None:
        """Tell one endpoint what comes next, until it fails, all is told, or its turn is over."""
        try:
            until_s = time.monotonic() + TURN_S_MAX
            goes_on = True
            while goes_on and time.monotonic() < until_s:
                events = await self._next(endpoint)
                if not events:
                    break
                for event in events:
                    goes_on, endpoint = await self._tell(session, endpoint, event)
                    if not goes_on or time.monotonic() >= until_s:
                        break
            await self._give_back(endpoint)
        except (DBAPIError, PoolTimeoutError, OSError) as error:
            # The lease ends by itself.
            _warn(error)
        finally:
            self._busy -= 1

    async def _next(self, endpoint: Endpoint) -> list[Event]:
        statement = (
            select(webhook_event)
            .where(webhook_event.c.site == endpoint.site, webhook_event.c.number > endpoint.sent)
            .order_by(webhook_event.c.number)
            .limit(EVENTS_MAX)
        )
        async with self._database.reading() as connection:
            return [event_of(row) for row in await fetch(connection, statement)]

    async def _tell(
        self, session: aiohttp.ClientSession, endpoint: Endpoint, event: Event
    ) -> tuple[bool, Endpoint]:
        """Tell of one event if it is wanted; whether to go on, and how the endpoint stands."""
        passed = replace(endpoint, sent=event.number)
        if not wants(endpoint.events, event.type):
            return await self._advance(passed, {}), passed
        outcome = await self._send(session, endpoint, event)
        now = datetime.now(UTC)
        if outcome.is_done:
            passed = replace(passed, failures=0)
            values: dict[str, Any] = {
                "failures": 0,
                "next_at": None,
                "delivered_at": now,
                "error": None,
            }
            return await self._advance(passed, values, event, outcome, "delivered"), passed
        failed = replace(endpoint, failures=endpoint.failures + 1)
        error = outcome.error or f"status {outcome.status}"
        values = {"failures": failed.failures, "error": error}
        values["next_at"] = now + backoff(failed.failures)
        if outcome.status == GONE:
            values["paused"] = True
        if now - event.noted_at > PARKED_AFTER:
            failed = replace(failed, sent=event.number)
            await self._advance(failed, values, event, outcome, "parked")
        else:
            await self._advance(failed, values, event, outcome, "failed")
        return False, failed

    async def _send(
        self, session: aiohttp.ClientSession, endpoint: Endpoint, event: Event
    ) -> Outcome:
        fields = headers(endpoint.secrets, event.id, int(time.time()), event.body)
        outcome = await send(session, self.guard, endpoint.url, event.body, fields)
        self._counters.count("webhooks", "delivered" if outcome.is_done else "failed")
        return outcome

    async def _advance(
        self,
        endpoint: Endpoint,
        values: dict[str, Any],
        event: Event | None = None,
        outcome: Outcome | None = None,
        state: str = "",
    ) -> bool:
        """Write how an endpoint stands; False if another worker has it by now."""
        mine = and_(
            webhook.c.site == endpoint.site,
            webhook.c.id == endpoint.id,
            webhook.c.worker == self._worker,
        )
        until = datetime.now(UTC) + LEASE
        values = {"sent": endpoint.sent, "leased_until": until} | values
        async with self._database.writing() as writing:
            done = await writing.execute(update(webhook).where(mine).values(values))
            if done.rowcount != 1:
                return False
            if event is not None and outcome is not None:
                await writing.execute(self._noted(endpoint, event, outcome, state))
        return True

    def _noted(self, endpoint: Endpoint, event: Event, outcome: Outcome, state: str) -> Any:
        if state == "parked":
            self._counters.count("webhooks", "parked")
        insert = sqlite.insert if self._database.is_sqlite else postgresql.insert
        values = {
            "state": state,
            "status": outcome.status,
            "error": outcome.error or None,
            "at": datetime.now(UTC),
        }
        statement = insert(webhook_delivery).values(
            site=endpoint.site,
            webhook=endpoint.id,
            number=event.number,
            event=event.id,
            type=event.type,
            attempts=1,
            **values,
        )
        return statement.on_conflict_do_update(
            index_elements=["site", "webhook", "number"],
            set_=values | {"attempts": webhook_delivery.c.attempts + 1},
        )

    async def _give_back(self, endpoint: Endpoint) -> None:
        async with self._database.writing() as writing:
            await writing.execute(
                update(webhook)
                .where(
                    webhook.c.site == endpoint.site,
                    webhook.c.id == endpoint.id,
                    webhook.c.worker == self._worker,
                )
                .values(leased_until=None)
            )


def event_of(row: Any) -> Event:
    """A row of the events' table."""
    return Event(number=row.number, id=row.id, type=row.type, noted_at=row.noted_at, body=row.body)


def _warn(error: Exception) -> None:
    fields = {"task": "webhooks", "error": str(error)[:300]}
    log.warning("no database", extra={"fields": fields})
