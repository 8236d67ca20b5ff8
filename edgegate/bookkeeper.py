"""The bookkeeper: the event loop's side of the books, there even while the storage is not."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import AsyncExitStack, suppress
from datetime import datetime
from functools import partial
from typing import Any, TypeVar

from edgegate.boundary import Contained
from edgegate.deadlines import resume, settle
from edgegate.ports import Correction, OperatingError
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

GATHER_S = 0.005
"""How long a record lets those go first who tap now, so that it joins their commit."""

TOGETHER_MAX = 64
"""How many records one job makes: so long somebody who taps then may have to wait."""


class Bookkeeper:
    """Hands jobs on the books to the database thread, one transaction for what comes together."""

    def __init__(
        self,
        thread: DatabaseThread[Store],
        stamp: Callable[[], Stamp],
        corrected: Callable[[], Correction | None] = lambda: None,
    ) -> None:
        self._thread = thread
        self._stamp = stamp
        self._corrected = corrected
        self.on_entries: Callable[[], object] = lambda: None
        """Called after each commit that brought entries; must return at once."""
        self._store: Store | None = None
        self._books: Books | None = None

    async def open(self, open_store: Callable[[], Store]) -> None:
        """Open the store, and the visits that were open when the process ended (S-08).

        Raises:
            OperatingError: if the storage is not to be had now.
        """
        store = await self._thread.start(open_store)
        books = Books(store, self._stamp)
        books.doubts.corrected = self._corrected
        async with AsyncExitStack() as undone:
            undone.push_async_callback(self._thread.close)
            await self._thread.run(lambda _: _take_up(books))
            undone.pop_all()
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
        if self._thread.repairing:
            # Nobody is to stand at a door until a whole ledger has been read.
            raise StorageFailedError("the store is being repaired")
        result, wrote = await self._thread.run(lambda _: _told(books, job), urgency)
        if wrote:
            self.on_entries()
        return result

    def note_reached(self, at: datetime | None) -> None:
        """Note when the cloud was last reached, None while it is (D-08)."""
        if self._books is not None:
            self._books.reached_at = at

    def note_clock(self, *, trusted: bool) -> None:
        """Note whether the clock can be believed (D-09)."""
        if self._books is not None:
            self._books.clock_trusted = trusted

    @property
    def is_computing(self) -> bool:
        """Whether the database thread has the interpreter: not while it commits or has no job."""
        return self._thread.is_computing

    def locked_down(self, doors: Iterable[str]) -> list[str]:
        """Which of these doors are in a lockdown; none while the store is not open."""
        books = self._books
        return [] if books is None else [door for door in doors if books.is_locked_down(door)]


class Afterwards:
    """What was done already and is still to be recorded: exits, and all that doors report.

    What waits is recorded together, in one transaction: one commit for each would fall behind what
    twenty busy doors report, and each would stand in the way of a tap.

    Bounded: when storage stays away for so long that `waiting_max` is reached, the oldest goes, and
    is counted.
    """

    def __init__(self, keeper: Bookkeeper, waiting_max: int) -> None:
        self._keeper = keeper
        self._waiting: deque[Job[Any]] = deque()
        self._waiting_max = waiting_max
        self._came = asyncio.Event()
        self._suspects = 0
        """So many of the first are recorded one by one, because one of them raises."""
        self.dropped = 0
        """How many were never recorded, since the start."""

    def note(self, job: Job[Any]) -> None:
        """Record this when it can be; returns at once."""
        self._waiting.append(job)
        self._drop_beyond_limit()
        self._came.set()

    async def run(self) -> None:
        """Record what comes, in order, for ever; while storage fails it is tried again."""
        while True:
            await self._came.wait()
            await asyncio.sleep(GATHER_S)
            self._came.clear()
            await self._record_all()

    async def drain(self, wait_s: float) -> None:
        """Record what waits before the process ends, as far as that is possible in the time."""
        try:
            async with asyncio.timeout(wait_s):
                await self._record_all()
        except TimeoutError:
            log.error("%d records of exits and doors were lost", len(self._waiting))  # noqa: TRY400 - a time-out's trace is of no use

    async def _record_all(self) -> None:
        while self._waiting:
            count = 1 if self._suspects else min(len(self._waiting), TOGETHER_MAX)
            self._suspects = max(0, self._suspects - 1)
            await self._record([self._waiting.popleft() for _ in range(count)])

    async def _record(self, jobs: list[Job[Any]]) -> None:
        """Record these in one job, so that none of them overtakes another."""
        try:
            await self._keeper.do(partial(_each, jobs))
        except OperatingError:
            self._put_back(jobs)
            await asyncio.sleep(RETRY_S)
        except Exception as error:  # noqa: BLE001 - the boundary of one record: others must not wait
            self._set_apart(jobs, error)

    def _set_apart(self, jobs: list[Job[Any]], error: Exception) -> None:
        """Try jobs of which one is at fault one by one; drop it once it stands alone."""
        if len(jobs) > 1:
            self._put_back(jobs)
            self._suspects = len(jobs)
        else:
            self.dropped += 1
            log.error("a record was dropped", exc_info=error)

    def _put_back(self, jobs: list[Job[Any]]) -> None:
        self._waiting.extendleft(reversed(jobs))
        self._drop_beyond_limit()

    def _drop_beyond_limit(self) -> None:
        while len(self._waiting) > self._waiting_max:
            self._waiting.popleft()
            self.dropped += 1


def _take_up(books: Books) -> None:
    books.recall_lockdown()
    resume(books)


def _told(books: Books, job: Job[R]) -> tuple[R, bool]:
    """What a job returned, and whether it wrote entries: the loop sees later groups' counts too."""
    before = books.appended
    return job(books), books.appended > before


def _each(jobs: list[Job[Any]], books: Books) -> None:
    for job in jobs:
        job(books)


async def keep_time(
    keeper: Bookkeeper, now: Callable[[], datetime], on_progress: Callable[[], None], tick_s: float
) -> None:
    """Fire the deadlines of visits as they fall due, for ever.

    `on_progress` is called after each round that the database thread answered, be it with a
    failure: what it proves is that event loop and thread are alive.
    """
    while True:
        due = None
        # An operating error is the answer of a thread that works on.
        with Contained(log, "time could not be kept for the visits"), suppress(OperatingError):
            due = await keeper.do(lambda books: _tend(books, now()), Urgency.WIFI)
        on_progress()
        wait_s = tick_s if due is None else (due - now()).total_seconds()
        await asyncio.sleep(max(0.0, min(tick_s, wait_s)))


def _tend(books: Books, at: datetime) -> datetime | None:
    settle(books, at)
    return books.next_deadline()
