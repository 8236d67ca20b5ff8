"""The appliance's copy of the cloud's records: pulled, pushed, and never half applied.

The pull is the truth, the push a hint that saves a pull. Whatever comes is judged again for the
visits that are open (S-11); an instant is remembered before it comes, so that after a crash in
between no visit is judged by it from earlier on.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from datetime import datetime
from functools import partial
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from edgegate.bookkeeper import Bookkeeper
from edgegate.deadlines import look_again, settle
from edgegate.store import cache
from edgegate.store.books import Books
from edgegate.store.files import Store
from edgegate.store.thread import DatabaseThread, Urgency
from edgegate_sync.appliance import spool as spool_file
from edgegate_sync.appliance.apply import (
    Standing,
    Step,
    Unreadable,
    apply,
    standing,
    step_of,
    step_of_line,
)
from edgegate_sync.appliance.builder import build_beside
from edgegate_sync.appliance.client import CloudClient
from edgegate_sync.appliance.concerned import Concerned
from edgegate_sync.appliance.erase import Erasing
from edgegate_sync.appliance.errors import (
    GoneError,
    SnapshotFailedError,
    SpoolFullError,
    TruncatedError,
)
from edgegate_sync.appliance.judging import bites
from edgegate_sync.appliance.snapshot import Built, Task
from edgegate_sync.appliance.spool import Spool, SpoolLimits, in_thread
from edgegate_sync.wire.changes import FeedMessage, Trailer

log = logging.getLogger(__name__)

CHANGES_MAX = 256
"""Changes in one transaction: so long somebody who taps then may have to wait."""

BATCH_BYTES_MAX = 1_048_576
"""Lines in one transaction, in bytes."""

SWAP_TRIES = 100
SWAP_RETRY_S = 0.1
"""How often, and how soon again, a snapshot tries to take the place of a cache that is read."""


class Pulled(Struct, frozen=True, kw_only=True):
    """What a pull brought."""

    head: int
    changes: int
    snapshot: bool = False


class _Batch(Struct, frozen=True):
    """Changes for one transaction, and where the head is after it."""

    steps: list[Step]
    head: int


class Feed:
    """The feed's end on the appliance. All methods are for the event loop."""

    def __init__(
        self,
        keeper: Bookkeeper,
        thread: DatabaseThread[Store],
        state: Path,
        now: Callable[[], datetime],
        limits: SpoolLimits | None = None,
        build: Callable[[Task], Awaitable[Built]] = build_beside,
    ) -> None:
        """Prepare.

        Args:
            keeper: for what a change means for open visits.
            thread: the database thread of the same store.
            state: the state directory, where long answers are kept and snapshots are built.
            now: effective time.
            limits: how much one answer may be.
            build: builds a snapshot beside the work.
        """
        self._keeper = keeper
        self._thread = thread
        self._state = state
        self._now = now
        self._limits = limits or SpoolLimits()
        self._build_beside = build
        self._erasing = Erasing(thread, state)
        self._pulling = asyncio.Lock()
        self._applying = asyncio.Lock()
        self._unjudged: Concerned | None = None
        self.standing = Standing()
        """The head, and what of the feed cannot be used; for the device's state."""
        self.in_snapshot = False
        """Whether a snapshot is on its way."""
        self.wants_snapshot = False
        """Whether the next pull is one."""

    @property
    def head(self) -> int:
        """Up to which change of the feed the cache goes."""
        return self.standing.head

    async def start(self) -> None:
        """Read how the cache stands; before anything else, and again after the store was repaired.

        Raises:
            OperatingError: the store is not to be had now.
        """
        await in_thread(partial((self._state / spool_file.FILE).unlink, missing_ok=True))
        self.standing = await self._thread.run(_standing, Urgency.BACKGROUND)
        if self.standing.is_outdated:
            log.info("this version may know what another one kept out: a snapshot is due")
            self.wants_snapshot = True
        if self.standing.unjudged:
            # As of when the change came they were judged when the store was opened; the cache may
            # be another one since.
            self._unjudged = Concerned(everybody=True)
            await self._judge()

    async def pull(self, client: CloudClient, wait_s: int = 0) -> Pulled:
        """Get what changed, and apply it. With `wait_s` it waits for something to change.

        Raises:
            CloudError: the cloud's answer did not come, or not whole; nothing of it counts.
            OperatingError: this device's storage failed. What was applied stays.
        """
        async with self._pulling:
            async with self._applying:
                await self._catch_up()
            if not self._needs_snapshot():
                try:
                    return await self._pull_changes(client, wait_s)
                except GoneError as error:
                    log.warning("the cloud cannot go on from %d: %s", self.head, error)
                    self.wants_snapshot = True
            return await self._pull_snapshot(client)

    async def apply_push(self, message: FeedMessage) -> bool:
        """Apply a message of the feed's topic; False: it does not follow the head, so pull.

        Raises:
            OperatingError: this device's storage failed; pull when it is back.
        """
        if self._applying.locked():
            # A pull is being applied. Whether it has this already shows only afterwards.
            return False
        async with self._applying:
            await self._catch_up()
            if message.head <= self.head:
                return not self._needs_snapshot()
            if message.is_hint or message.prev > self.head or self._needs_snapshot():
                return False
            fresh = [c for c in message.changes if c.seq > self.head]
            steps = await in_thread(lambda: [step_of(change) for change in fresh])
            await self._apply_all(iter((_Batch(steps, message.head),)))
            return True

    async def erase_uploaded(self) -> None:
        """Erase what is due of persons' ledger entries; call it after the upload has moved on.

        Raises:
            OperatingError: this device's storage failed; call it again.
        """
        if self.standing.erases:
            left = await self._erasing.run()
            self.standing = replace(self.standing, erases=left)

    def _needs_snapshot(self) -> bool:
        return self.wants_snapshot or self.head == 0

    async def _pull_changes(self, client: CloudClient, wait_s: int) -> Pulled:
        after = self.head
        async with client.feed(after, wait_s) as answer:
            spool = await Spool.receive(answer, self._state, self._limits)
        try:
            trailer = await in_thread(partial(_trailer_of, spool))
            if trailer.head < after:
                self.wants_snapshot = True
                raise TruncatedError(f"the cloud's feed ends at {trailer.head}, before {after}")
            async with self._applying:
                changes = await self._apply_all(_batches(spool, trailer, self.head))
        finally:
            await in_thread(spool.remove)
        await self.erase_uploaded()
        return Pulled(head=self.head, changes=changes)

    async def _pull_snapshot(self, client: CloudClient) -> Pulled:
        # No push comes between: it would be undone when the snapshot takes the cache's place.
        async with self._applying:
            self.in_snapshot = True
            try:
                async with client.feed(0) as answer:
                    spool = await Spool.receive(answer, self._state, self._limits)
                try:
                    built = await self._build(spool)
                finally:
                    await in_thread(spool.remove)
                await self._swap()
            finally:
                self.in_snapshot = False
            self.wants_snapshot = False
        await self.erase_uploaded()
        return Pulled(head=self.head, changes=built.changes, snapshot=True)

    async def _build(self, spool: Spool) -> Built:
        task = Task(
            state=str(self._state),
            spool=str(await in_thread(spool.to_file)),
            is_gzip=spool.is_gzip,
            bytes_max=self._limits.bytes_max,
            disk_free_bytes_min=self._limits.disk_free_bytes_min,
        )
        built = await self._build_beside(task)
        if built.error is not None:
            raise (TruncatedError if built.truncated else SnapshotFailedError)(built.error)
        return built

    async def _swap(self) -> None:
        """Let the snapshot that is built take the cache's place, as soon as nobody reads that."""
        await self._remember_before()
        for _ in range(SWAP_TRIES):
            try:
                swapped = await self._thread.run_alone(Store.swap_cache)
            except FileNotFoundError as error:
                raise SnapshotFailedError(str(error)) from error
            if swapped:
                break
            await asyncio.sleep(SWAP_RETRY_S)
        else:
            raise SnapshotFailedError("the snapshot waits for somebody who reads the cache")
        self._unjudged = Concerned(everybody=True)
        self.standing = await self._thread.run(_standing, Urgency.BACKGROUND)
        await self._judge()

    async def _apply_all(self, batches: Iterator[_Batch]) -> int:
        """Apply batches, each in a transaction with its head; how many changes there were."""
        changes = 0
        visits_open: bool | None = None
        while (batch := await in_thread(partial(next, batches, None))) is not None:
            if visits_open is None:
                visits_open = await self._remember_before()
            concerned = self._unjudged or Concerned()
            # Set first: that it was committed may be all that happens, unheard.
            self._unjudged = Concerned(everybody=True)
            job = partial(_apply, batch, concerned, visits_open)
            self.standing = await self._thread.run_cache(job)
            self._unjudged = concerned
            changes += len(batch.steps)
        if visits_open is not None:
            await self._judge()
        return changes

    async def _catch_up(self) -> None:
        """Do what a storage that failed left undone."""
        if self._unjudged is not None:
            self.standing = await self._thread.run(_standing, Urgency.BACKGROUND)
            await self._judge()

    async def _remember_before(self) -> bool:
        """Note the instant from which on what comes holds; whether there are visits at all."""
        return await self._keeper.do(partial(_remember, self._now()), Urgency.BACKGROUND)

    async def _judge(self) -> None:
        """Look at the visits that the changes concern, a few in each job (S-11)."""
        if self._unjudged is not None:
            begin = partial(_begin_judging, self._now, self._unjudged)
            for visits in await self._keeper.do(begin, Urgency.BACKGROUND):
                await self._keeper.do(partial(_judge, self._now, visits), Urgency.BACKGROUND)
        if self.standing.unjudged:
            await self._thread.run_cache(lambda store: cache.note_judged(store.cache))
            self.standing = replace(self.standing, unjudged=False)
        self._unjudged = None


def _standing(store: Store) -> Standing:
    return standing(store.cache)


def _apply(batch: _Batch, concerned: Concerned, visits_open: bool, store: Store) -> Standing:
    return apply(batch.steps, batch.head, store.cache, concerned, visits_open=visits_open)


def _remember(at: datetime, books: Books) -> bool:
    """What falls due until now is settled as the records stand, and what comes counts from now."""
    if not books.sessions():
        return False
    settle(books, at)
    books.note_change(at)
    return True


def _begin_judging(
    now: Callable[[], datetime], concerned: Concerned, books: Books
) -> list[tuple[str, ...]]:
    """Let what came be seen, from now on; which visits are to be looked at, job by job."""
    books.forget_places()
    found = bites(books, concerned)
    if found:
        at = now()
        settle(books, at)
        books.note_change(at)
    return found


def _judge(now: Callable[[], datetime], visits: tuple[str, ...], books: Books) -> None:
    look_again(books, now(), visits)


def _trailer_of(spool: Spool) -> Trailer:
    """The trailer of an answer that is complete.

    Raises:
        TruncatedError: it is not.
        SpoolFullError: it is too long, or cannot be read.
    """
    try:
        last = deque(spool.lines(), maxlen=1)
    except OSError as error:
        raise SpoolFullError(f"the feed cannot be read: {error}") from error
    trailer = step_of_line(last[0], 0) if last else None
    if not isinstance(trailer, Trailer):
        raise TruncatedError("the feed ended before it was complete")
    return trailer


def _batches(spool: Spool, trailer: Trailer, head: int) -> Iterator[_Batch]:
    """What an answer has after `head`, some changes at a time; blocking.

    Raises:
        TruncatedError: its lines are not in order. What came before stands.
        SpoolFullError: it cannot be read.
    """
    steps: list[Step] = []
    after, size = 0, 0
    try:
        for line in spool.lines():
            step = step_of_line(line, max(after, head))
            if isinstance(step, Trailer):
                break
            if not isinstance(step, Unreadable):
                if not after <= step.seq <= trailer.head:
                    raise TruncatedError(f"change {step.seq} comes after {after}")
                after = step.seq
                if after <= head:
                    continue
            steps.append(step)
            size += len(line)
            if len(steps) >= CHANGES_MAX or size >= BATCH_BYTES_MAX:
                yield _Batch(steps, max(after, head))
                steps, size = [], 0
    except OSError as error:
        raise SpoolFullError(f"the feed cannot be read: {error}") from error
    if trailer.head > head:
        yield _Batch(steps, trailer.head)
