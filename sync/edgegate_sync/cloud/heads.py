"""Wakes whoever waits for a site's feed to grow.

A commit of this worker wakes at once. Those of other workers are seen by one small query for all
sites that anybody waits for, however many wait; it is asked only while somebody does.
"""

import asyncio
from collections import defaultdict

from sqlalchemy import select

from edgegate_sync.cloud.database import Database, fetch
from edgegate_sync.cloud.tables import site

LOOK_EVERY_S = 0.5


class Heads:
    """The newest numbers of the sites, as far as anybody waits for them."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: dict[str, set[asyncio.Event]] = defaultdict(set)
        self._known: dict[str, int] = {}
        self._anybody = asyncio.Event()
        database.committed.append(self.grew)

    def grew(self, site_id: str, head: int) -> None:
        """A site's feed now goes up to a number."""
        if site_id in self._waiting and head > self._known.get(site_id, 0):
            self._known[site_id] = head
            for event in self._waiting[site_id]:
                event.set()

    async def wait(self, site_id: str, above: int, wait_s: float) -> None:
        """Return when the site's head is above a number, or after a while."""
        grown = asyncio.Event()
        self._waiting[site_id].add(grown)
        self._anybody.set()
        try:
            async with asyncio.timeout(wait_s):
                while self._known.get(site_id, 0) <= above:
                    await grown.wait()
                    grown.clear()
        except TimeoutError:
            return
        finally:
            self._waiting[site_id].discard(grown)
            if not self._waiting[site_id]:
                del self._waiting[site_id]
                self._known.pop(site_id, None)

    def release(self) -> None:
        """Let everybody go, as at the end."""
        for site_id in list(self._waiting):
            self.grew(site_id, 2**62)

    async def look(self) -> None:
        """See once what other workers did."""
        if not self._waiting:
            self._anybody.clear()
            await self._anybody.wait()
        statement = select(site.c.id, site.c.head).where(site.c.id.in_(list(self._waiting)))
        async with self._database.reading() as connection:
            rows = (await fetch(connection, statement)).all()
        for row in rows:
            self.grew(row.id, row.head)
