"""Publishes what changed from the outbox: per site one message at a time, from where it stands.

The outbox holds, per site, the number up to which changes were published. A worker takes a site
for a moment, publishes what is after that number, and moves it on. A worker that dies leaves the
site to the others; then a message may come twice, which devices know by its numbers.

Sites do not wait for each other: each that is due is a task of its own, `SITES_MAX` at once.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from functools import partial

from msgspec import Struct
from sqlalchemy import or_, select, update

from edgegate_sync.cloud.database import Database, fetch
from edgegate_sync.cloud.feed import Row, changes
from edgegate_sync.cloud.feed_api import change_of
from edgegate_sync.cloud.tables import outbox, site
from edgegate_sync.wire.changes import MESSAGE_CHANGES_MAX, encode_message
from edgegate_sync.wire.topics import Topics

SITES_MAX = 8
"""Sites that one worker publishes at once; further ones wait for the first that is done."""

LEASE = timedelta(seconds=15)
LOOK_EVERY_S = 1.0

Publish = Callable[[str, bytes], Awaitable[None]]
"""Publishes a payload on a topic, at least once, or raises."""


class Due(Struct, frozen=True):
    """A site whose changes are to be published."""

    site: str
    published: int
    head: int


class Publisher:
    """One worker's part in publishing."""

    def __init__(self, database: Database, worker: str) -> None:
        self._database = database
        self._worker = worker
        self._poked = asyncio.Event()
        self._busy: set[str] = set()
        """Sites of which a message is under way."""
        self._last = ""
        """The site that was taken last: those after it come next, so that all have turns."""
        database.committed.append(self.poke)

    def poke(self, _site: str = "", _head: int = 0) -> None:
        """Something was committed here."""
        self._poked.set()

    async def run(self, publish: Publish) -> None:
        """Publish until `publish` or the database raises, and then end with an ExceptionGroup."""
        async with asyncio.TaskGroup() as group:
            while True:
                self._poked.clear()
                for one in await self._take():
                    task = group.create_task(self._publish(one, publish))
                    task.add_done_callback(partial(self._end, one.site))
                try:
                    async with asyncio.timeout(LOOK_EVERY_S):
                        await self._poked.wait()
                except TimeoutError:
                    # Other workers' changes are looked for without a poke.
                    continue

    async def _publish(self, due: Due, publish: Publish) -> None:
        await publish(Topics(due.site).feed, await self._message(due))
        await self._done(due)

    def _end(self, site_id: str, _task: asyncio.Task[None]) -> None:
        """Look again: for what came of the site meanwhile, and for those that waited for room."""
        self._busy.discard(site_id)
        self._poked.set()

    async def _take(self) -> list[Due]:
        """What is due and not under way, as far as there is room for it."""
        if len(self._busy) >= SITES_MAX:
            return []
        now = datetime.now(UTC)
        free = or_(outbox.c.leased_until.is_(None), outbox.c.leased_until < now)
        statement = (
            select(outbox.c.site, outbox.c.published, site.c.head)
            .join(site, site.c.id == outbox.c.site)
            .where(
                site.c.head > outbox.c.published,
                or_(free, outbox.c.worker == self._worker),
                outbox.c.site.not_in(list(self._busy)),
            )
            .order_by(outbox.c.site <= self._last, outbox.c.site)
            .limit(SITES_MAX - len(self._busy))
        )
        async with self._database.reading() as connection:
            # Most looks find nothing, and then nothing is locked.
            if (await fetch(connection, statement)).first() is None:
                return []
        async with self._database.writing() as writing:
            found = await writing.execute(statement.with_for_update(of=outbox, skip_locked=True))
            due = [Due(row.site, row.published, row.head) for row in found]
            await writing.execute(
                update(outbox)
                .where(outbox.c.site.in_([one.site for one in due]))
                .values(worker=self._worker, leased_until=now + LEASE)
            )
        self._busy.update(one.site for one in due)
        self._last = due[-1].site if due else self._last
        return due

    async def _message(self, due: Due) -> bytes:
        """A message with all changes, or a hint where there are too many of them."""
        rows: list[Row] = []
        if due.head - due.published <= MESSAGE_CHANGES_MAX:
            async with self._database.reading() as connection:
                # After 0 a snapshot would leave the deletions out.
                async for batch in changes(
                    connection, due.site, due.published, due.head, with_deletions=True
                ):
                    rows.extend(batch)
        return encode_message(due.published, due.head, [change_of(row) for row in rows])

    async def _done(self, due: Due) -> None:
        async with self._database.writing() as writing:
            await writing.execute(
                update(outbox)
                .where(outbox.c.site == due.site, outbox.c.worker == self._worker)
                .values(published=due.head, leased_until=None)
            )
