"""The bookkeeper: the event loop's side of the books, there even while the storage is not."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeVar

from edgegate.deadlines import resume, settle
from edgegate.ports import OperatingError
from edgegate.store.books import Books
from edgegate.store.errors import StorageFailedError
from edgegate.store.files import Store
from edgegate.store.ledger import Stamp
from edgegate.store.thread import DatabaseThread, Urgency

R = TypeVar("R")
Job = Callable[[Books], R]

log = logging.getLogger(__name__)

RETRY_S = 1.0
"""How soon what could not be recorded is tried again."""


class Bookkeeper:
    """Hands jobs on the books to the database thread, one transaction for what comes together."""

    def __init__(self, thread: DatabaseThread[Store], stamp: Callable[[], Stamp]) -> None:
        self._thread = thread
        self._stamp = stamp
        self._store: Store | None = None
        self._books: Books | None = None

    async def open(self, open_store: Callable[[], Store]) -> None:
        """Open the store, and the visits that were open when the process ended (S-08).

        Raises:
            OperatingError: if the storage is not to be had now.
        """
        store = await self._thread.start(open_store)
        books = Books(store, self._stamp)
        try:
            await self._thread.run(lambda _: resume(books))
        except BaseException:
            await self._thread.close()
            raise
        self._store, self._books = store, books

    async def check_cache(self) -> None:
        """Read the whole cache beside the work; a damaged one is replaced.

        Raises:
            OperatingError: if the storage is not to be had now.
        """
        if self._store is None:
            return
        found = await asyncio.to_thread(self._store.check_cache)
        if found is not None:
            await self._thread.run_alone(lambda s: s.replace_cache(found))

    async def do(self, job: Job[R], urgency: Urgency = Urgency.DOOR) -> R:
        """Run a job in one transaction, and return what it returned once that is durable.

        Raises:
            OperatingError: the storage failed or too many wait; nothing of the job is on record.
        """
        books = self._books
        if books is None:
            raise StorageFailedError("the store is not open")
        return await self._thread.run(lambda _: job(books), urgency)


class Afterwards:
    """What was done already and is still to be recorded: exits, and all that doors report.

    Bounded: when storage stays away for so long that `waiting_max` is reached, the oldest goes, and
    is counted.
    """

    def __init__(self, keeper: Bookkeeper, waiting_max: int) -> None:
        self._keeper = keeper
        self._waiting: deque[Job[Any]] = deque()
        self._waiting_max = waiting_max
        self._came = asyncio.Event()
        self.dropped = 0
        """How many were never recorded, since the start."""

    def note(self, job: Job[Any]) -> None:
        """Record this when it can be; returns at once."""
        if len(self._waiting) >= self._waiting_max:
            self._waiting.popleft()
            self.dropped += 1
        self._waiting.append(job)
        self._came.set()

    async def run(self) -> None:
        """Record what comes, in order, for ever; while storage fails it is tried again."""
        while True:
            await self._came.wait()
            self._came.clear()
            while self._waiting:
                await self._record_first()

    async def drain(self, wait_s: float) -> None:
        """Record what waits before the process ends, as far as that is possible in the time."""
        try:
            async with asyncio.timeout(wait_s):
                while self._waiting:
                    await self._record_first()
        except TimeoutError:
            log.error("%d records of exits and doors were lost", len(self._waiting))  # noqa: TRY400

    async def _record_first(self) -> None:
        job = self._waiting.popleft()
        try:
            await self._keeper.do(job)
        except OperatingError:
            if len(self._waiting) < self._waiting_max:
                self._waiting.appendleft(job)
            else:
                self.dropped += 1
            await asyncio.sleep(RETRY_S)
        except Exception:
            # The boundary of one record: it must not hold up the next.
            self.dropped += 1
            log.exception("a record was dropped")


async def keep_time(
    keeper: Bookkeeper, now: Callable[[], datetime], on_progress: Callable[[], None], tick_s: float
) -> None:
    """Fire the deadlines of visits as they fall due, for ever.

    `on_progress` is called after each round that the database thread answered, be it with a
    failure: what it proves is that event loop and thread are alive.
    """
    while True:
        try:
            due = await keeper.do(lambda books: _tend(books, now()), Urgency.DESK)
        except OperatingError:
            due = None
        on_progress()
        wait_s = tick_s if due is None else (due - now()).total_seconds()
        await asyncio.sleep(max(0.0, min(tick_s, wait_s)))


def _tend(books: Books, at: datetime) -> datetime | None:
    settle(books, at)
    return books.next_deadline()
