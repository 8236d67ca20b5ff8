"""The database thread's own side: it takes what waits, runs it as one transaction, and answers."""

import asyncio
import logging
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from queue import Empty, SimpleQueue
from time import monotonic
from typing import Any, Generic

from edgegate.ports import OperatingError
from edgegate.store.errors import StoreUnavailableError
from edgegate.store.jobs import BESIDE_DOORS_MAX, Group, Job, Limits, S, Scope, Urgency, Waiting

log = logging.getLogger(__name__)

_CORRUPT = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_STORAGE = _CORRUPT | {
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_PROTOCOL,
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
}
"""Primary result codes (sqlite.org/rescode.html) that no job can be blamed for."""

PATIENCE_SHARE = 0.25
"""The part of a commit's time that a group waits for others to join it."""

CROWD_PAUSE = 5.0
"""After a commit for the Wi-Fi alone the next such one waits so many times as long as that took, or
until there is a whole group: few taps meet one, and those who join share it."""


class Worker(Generic[S]):
    """What runs on the thread. Everything here but the constructor is called there only."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        inbox: "SimpleQueue[Job[S] | None]",
        limits: Limits,
        answer: Callable[[list[Job[S]]], None],
    ) -> None:
        """Prepare to take jobs from `inbox`, None being the last, and hand them to `answer`."""
        self._loop = loop
        self._inbox = inbox
        self._limits = limits
        self._answer_on_loop = answer
        self._waiting: Waiting[S] = Waiting()
        self._closing = False
        self._broken: Exception | None = None
        self.repairing = False
        """Whether the files are being repaired; read by the event loop."""
        self._repair_at_s = 0.0
        self._commit_s = 0.0
        self.is_computing = False
        """Whether it works on jobs and wants the interpreter; read by the event loop."""
        self._doors_before = 0
        self._waits_until_s = 0.0
        self._left_behind = False
        """Whether the last group was for a door, and others were left waiting."""
        self._beside_doors_max = 0
        self._crowd_at_s = 0.0
        self._crowd_size = 0

    def main(
        self,
        open_store: Callable[[], S],
        opened: Callable[[S | None, BaseException | None], None],
        ended: Callable[[BaseException | None], None],
    ) -> None:
        """Open the store, serve until told to close, close it; both callbacks run on the loop."""
        try:
            store = open_store()
        except BaseException as error:  # noqa: BLE001 - it is handed to the caller of start()
            self._tell(ended, None)
            self._tell(opened, None, error)
            return
        self._tell(opened, store, None)
        fault = None
        try:
            self._serve(store)
        except BaseException as error:  # noqa: BLE001 - handed to on_fault, which ends the process
            fault = error
        with suppress(sqlite3.Error):
            store.close()
        self._tell(ended, fault)

    def _tell(self, callback: Callable[..., object], *args: Any) -> None:
        # The loop is gone when the process is ending; then there is nobody left to tell.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(callback, *args)

    def _answer(self, jobs: list[Job[S]]) -> None:
        if jobs:
            self._tell(self._answer_on_loop, jobs)

    def _refuse(self, jobs: list[Job[S]], error: Exception) -> None:
        for job in jobs:
            job.refuse(error)
        self._answer(jobs)

    def _serve(self, store: S) -> None:
        while self._waiting or not self._closing:
            if not self._waiting:
                self._wait(store)
            self._drain()
            if self._broken is not None:
                self._repair(store, self._broken)
            elif self._waiting:
                self._let_crowd_gather()
                self._run_group(store)

    def _wait(self, store: S) -> None:
        """Sleep until a job comes; if none comes for a while, tidy up or try to repair."""
        timeout_s = None
        if self._broken is not None:
            timeout_s = self._limits.recover_retry_s
        elif store.changes() >= self._limits.checkpoint_changes_min:
            timeout_s = self._limits.checkpoint_idle_s
        try:
            self._take(self._inbox.get(timeout=timeout_s))
        except Empty:
            if self._broken is None:
                self._checkpoint(store)

    def _drain(self) -> None:
        while not self._inbox.empty():
            self._take(self._inbox.get_nowait())

    def _take(self, item: Job[S] | None) -> None:
        if item is None:
            self._closing = True
        else:
            self._waiting.push(item)

    def _let_crowd_gather(self) -> None:
        """Wait for the time of a commit for the Wi-Fi; it ends when somebody comes to a door."""
        while 0 < self._waiting.crowd() < self._limits.crowd_max and not self._closing:
            left_s = self._crowd_at_s - monotonic()
            if left_s <= 0:
                return
            with suppress(Empty):
                self._take(self._inbox.get(timeout=left_s))

    def _run_group(self, store: S) -> None:
        first = self._waiting.pop_first()
        group = Group(first)
        try:
            match first.scope:
                case Scope.LEDGER:
                    self._run_ledger(store, group)
                case Scope.CACHE:
                    _run_cache(store, first)
                case Scope.NONE:
                    _attempt(store, first)
        except sqlite3.Error as error:
            self.is_computing = False
            self._fail(store, group.jobs, error)
        else:
            if isinstance(first.error, StoreUnavailableError):
                # The job exchanged a file and was left without one.
                self._broken = first.error
            self._answer(group.jobs)
            if self._broken is None and store.changes() >= self._limits.checkpoint_changes_max:
                self._checkpoint(store)

    def _run_ledger(self, store: S, group: Group[S]) -> None:
        """Run the first job of the group, and all that may join it until it is committed."""
        self.is_computing = True
        self._size_up(group)
        self._run_jobs(store, group)
        self.is_computing = False
        commits_at_s = monotonic()
        store.ledger.execute("COMMIT")
        committed_at_s = monotonic()
        self._commit_s = committed_at_s - commits_at_s
        self._doors_before = group.doors
        self._left_behind = bool(self._doors_before and self._waiting)
        if group.urgency is Urgency.WIFI:
            pause_s = min(self._commit_s * CROWD_PAUSE, self._limits.crowd_pause_s_max)
            self._crowd_at_s = committed_at_s + pause_s

    def _run_jobs(self, store: S, group: Group[S]) -> None:
        """Run them, all on one state of what the cloud said; its file's lock is taken once."""
        ledger, cache, first = store.ledger, store.cache, group.jobs[0]
        ledger.execute("BEGIN IMMEDIATE")
        cache.execute("BEGIN")
        try:
            # The first job can be undone by undoing all, and so needs no savepoint.
            _attempt(store, first)
            _demand_transaction(ledger, first)
            if first.error is not None:
                ledger.execute("ROLLBACK")
                ledger.execute("BEGIN IMMEDIATE")
            while (job := self._next_of(group)) is not None:
                group.add(job)
                ledger.execute("SAVEPOINT job")
                _attempt(store, job)
                _demand_transaction(ledger, job)
                if job.error is not None:
                    ledger.execute("ROLLBACK TO job")
                ledger.execute("RELEASE job")
        finally:
            # Nothing was written; SQLite itself has ended it where the file failed.
            _roll_back(cache)

    def _size_up(self, group: Group[S]) -> None:
        """Say who may join the first job of a group, and until when."""
        is_for_door = group.urgency is Urgency.DOOR
        # Others are left behind once, for whoever comes to a door alone.
        self._beside_doors_max = BESIDE_DOORS_MAX if is_for_door and self._left_behind else 0
        self._crowd_size = min(len(group) + self._waiting.crowd(), self._limits.crowd_max)
        self._waits_until_s = monotonic() + self._patience_s()

    def _is_full(self, group: Group[S]) -> bool:
        if group.urgency is not Urgency.WIFI:
            return len(group) >= self._limits.group_max
        # Those of a crowd who come meanwhile make up the next; somebody at a door goes along.
        return len(group) >= self._crowd_size and self._waiting.crowd() > 0

    def _next_of(self, group: Group[S]) -> Job[S] | None:
        """The next job that may join; where several came to doors before, they are waited for."""
        self._drain()
        if self._is_full(group):
            return None
        job = self._waiting.pop_for(group, self._beside_doors_max)
        while job is None and 0 < group.doors < self._doors_before and not self._waiting:
            try:
                self._take(self._inbox.get(timeout=max(0.0, self._waits_until_s - monotonic())))
            except Empty:
                return None
            job = self._waiting.pop_for(group, self._beside_doors_max)
        return job

    def _patience_s(self) -> float:
        """How long a group waits for more, so that one slow commit carries those who come at once.

        A part of what the commit takes, and only after several at doors: whoever comes alone is
        never kept waiting.
        """
        if self._doors_before <= 1 or self._commit_s < self._limits.patience_commit_s_min:
            return 0.0
        return min(self._commit_s * PATIENCE_SHARE, self._limits.patience_s_max)

    def _fail(self, store: S, group: list[Job[S]], error: sqlite3.Error) -> None:
        """Refuse the group whose transaction did not come about."""
        log.error("the store failed and refuses %d jobs: %s", len(group), error)
        _roll_back(store.ledger)
        if _code(error) == sqlite3.SQLITE_BUSY:
            # Each of those behind would stand through the same time-out before the same answer.
            self._drain()
            group.extend(self._waiting.pop_hasty())
        self._refuse(group, error)
        if _code(error) in _CORRUPT:
            self._broken = error
            self._repair(store, error)

    def _repair(self, store: S, broken: Exception) -> None:
        """Repair the store, unless that failed a moment ago.

        Jobs are refused, and not run again after the repair, wherever somebody stands and waits: a
        door that opens seconds after the tap opens for nobody, or for somebody else.
        """
        # From now on nobody hands in anything that would wait for the end of it.
        self.repairing = monotonic() >= self._repair_at_s
        self._drain()
        self._refuse(self._waiting.pop_hasty(), broken)
        if self.repairing:
            try:
                store.recover(broken)
            except OperatingError as error:
                log.error("the store could not be repaired: %s", error)  # noqa: TRY400 - expected
                self._repair_at_s = monotonic() + self._limits.recover_retry_s
            else:
                self._broken = None
            finally:
                self.repairing = False
        self._drain()
        jobs = self._waiting.pop_hasty() if self._broken is None else self._waiting.pop_all()
        self._refuse(jobs, broken)

    def _checkpoint(self, store: S) -> None:
        try:
            store.checkpoint()
        except sqlite3.Error as error:
            log.error("the checkpoint failed: %s", error)  # noqa: TRY400 - no trace of use
            if _code(error) in _CORRUPT:
                self._broken = error


def _attempt(store: S, job: Job[S]) -> None:
    """Run a job and keep its result or its own error.

    Raises:
        sqlite3.Error: if the storage failed under it.
    """
    try:
        job.result = job.work(store)
    except sqlite3.Error as error:
        if _code(error) in _STORAGE:
            raise
        job.error = error
    except Exception as error:  # noqa: BLE001 - the boundary of one job; its caller gets the error
        job.error = error


def _run_cache(store: S, job: Job[S]) -> None:
    cache = store.cache
    with _query_only(store.ledger, on=True), _query_only(cache, on=False):
        try:
            cache.execute("BEGIN IMMEDIATE")
            _attempt(store, job)
            _demand_transaction(cache, job)
            cache.execute("COMMIT" if job.error is None else "ROLLBACK")
        finally:
            _roll_back(cache)


@contextmanager
def _query_only(connection: sqlite3.Connection, *, on: bool) -> Iterator[None]:
    """Forbid (or allow) a connection to write, and turn that round afterwards."""
    connection.execute(f"PRAGMA query_only = {on:d}")
    try:
        yield
    finally:
        connection.execute(f"PRAGMA query_only = {not on:d}")


def _demand_transaction(connection: sqlite3.Connection, job: Job[S]) -> None:
    if connection.in_transaction:
        return
    if job.error is not None:
        # SQLite itself rolls back on some failures (sqlite.org/lang_transaction.html).
        raise sqlite3.OperationalError(f"the transaction was lost: {job.error}")
    raise RuntimeError(f"a job ended the transaction it runs in: {job.work!r}")


def _roll_back(connection: sqlite3.Connection) -> None:
    if connection.in_transaction:
        # A file that fails may fail this too; the next BEGIN shows whether it is usable.
        with suppress(sqlite3.Error):
            connection.execute("ROLLBACK")


def _code(error: sqlite3.Error) -> int:
    """The primary result code; 0 for an error of the Python module, which has none."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF
