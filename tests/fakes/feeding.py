"""An appliance's store with the feed's end on it, as far as the feed is concerned."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from edgegate.bookkeeper import Bookkeeper
from edgegate.ports import ClockTrust
from edgegate.store import cache
from edgegate.store.books import Books
from edgegate.store.files import Store
from edgegate.store.ledger import Stamp
from edgegate.store.thread import DatabaseThread
from edgegate_sync.appliance.client import CloudClient, Timing
from edgegate_sync.appliance.feed import Feed
from edgegate_sync.appliance.snapshot import Built, Task, build
from edgegate_sync.appliance.spool import SpoolLimits

AT = datetime(2026, 3, 2, 9, tzinfo=UTC)
QUICK = Timing(connect_s=5, silence_s=20, total_s=30)


async def build_here(task: Task) -> Built:
    """Build a snapshot in a thread, without the time that a process takes to start."""
    return await asyncio.to_thread(build, task)


@dataclass
class Fed:
    """A store that is open, its feed, and the instant that it takes for now."""

    thread: DatabaseThread[Store]
    keeper: Bookkeeper
    feed: Feed
    at: datetime

    async def get(self, kind: cache.Kind[Any], id_: str) -> Any:
        """A record of the cache."""
        return await self.thread.run(lambda store: cache.get(store.cache, kind, id_))

    async def rows(self, query: str) -> list[tuple[Any, ...]]:
        """What a query says of the cache."""
        return await self.thread.run(lambda store: store.cache.execute(query).fetchall())

    async def books(self, job: Callable[[Books], Any]) -> Any:
        """Do something with the books."""
        return await self.keeper.do(job)


@asynccontextmanager
async def fed(
    state: Path,
    limits: SpoolLimits | None = None,
    build: Callable[[Task], Awaitable[Built]] = build_here,
) -> AsyncIterator[Fed]:
    """A store in that directory."""
    faults: list[BaseException] = []
    thread: DatabaseThread[Store] = DatabaseThread(faults.append)
    stamp = Stamp(source="edgegate/s/d", clock=ClockTrust.TRUSTED, boot_id="b", monotonic_s=1.0)
    keeper = Bookkeeper(thread, lambda: stamp)
    await keeper.open(lambda: Store.open(state))
    it = Fed(thread, keeper, None, AT)  # type: ignore[arg-type]  # the feed asks it for the time
    it.feed = Feed(keeper, thread, state, lambda: it.at, limits, build)
    try:
        await it.feed.start()
        yield it
    finally:
        await thread.close()
    assert faults == []


def client_of(url: str, **others: Any) -> CloudClient:
    """A client that does not wait long."""
    return CloudClient(url, timing=QUICK, **others)
