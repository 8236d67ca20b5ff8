"""The one thread that owns the store: jobs come in, are committed together, and then answered.

A job is a plain function of the store. Nothing else runs between its first read and its last write,
so that what it decides on is still so when it is recorded. Jobs that come while another group is
being committed make up the next group, with one commit for all of them; nobody is answered before
that commit. A job that raises is undone alone. When the storage fails, every job of the group is
refused with `StorageFailedError`, and nothing of it is on record.
"""

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, Generic, TypeVar, cast

from edgegate.store.errors import QueueFullError, StoreClosedError
from edgegate.store.jobs import Job, Limits, S, Scope, Storage, Urgency
from edgegate.store.worker import Worker

__all__ = ["DatabaseThread", "Limits", "Storage", "Urgency"]

ANSWERS_A_TURN = 4
"""Answers in one turn of the event loop to who does not stand at a door."""

log = logging.getLogger(__name__)

R = TypeVar("R")


class DatabaseThread(Generic[S]):
    """Runs jobs on a store. All methods are for the event loop's thread.

    Cancelling a caller never cancels its job: what it records stands, whether or not anybody still
    waits for the answer.
    """

    def __init__(
        self, on_fault: Callable[[BaseException], object], limits: Limits | None = None
    ) -> None:
        """Prepare the thread.

        Args:
            on_fault: called on the event loop if the thread's own code fails. The thread has then
                ended, every waiting job is refused, and the process should end.
            limits: see `Limits`.
        """
        self._on_fault = on_fault
        self._limits = limits or Limits()
        self._inbox: SimpleQueue[Job[S] | None] = SimpleQueue()
        self._unanswered: set[Job[S]] = set()
        self._to_answer: deque[Job[S]] = deque()
        self._running = False
        self._ended: asyncio.Future[None] | None = None
        self._worker: Worker[S] | None = None

    async def start(self, open_store: Callable[[], S]) -> S:
        """Start the thread and open the store on it; return the store, which only jobs may touch.

        Raises:
            Exception: what `open_store` raised; the thread has then ended and can be started again.
            RuntimeError: if it runs already.
        """
        if self._ended is not None and not self._ended.done():
            raise RuntimeError("the database thread runs already")
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[S] = loop.create_future()
        self._ended = loop.create_future()
        self._inbox = SimpleQueue()
        worker = self._worker = Worker(loop, self._inbox, self._limits, self._answer)
        self._running = True
        threading.Thread(
            target=worker.main,
            args=(open_store, lambda store, error: _resolve(answer, store, error), self._end),
            name="edgegate-store",
            # A process that ends by an exception shall not wait for a close() that never comes.
            daemon=True,
        ).start()
        return await answer

    async def run(self, job: Callable[[S], R], urgency: Urgency = Urgency.DOOR) -> R:
        """Run a job in the ledger's transaction and return its result once that is committed.

        The job may read both files and write the ledger only. A job that only reads costs no flush.

        Raises:
            StorageFailedError: nothing of the job is on record.
            QueueFullError: too many jobs wait.
            StoreClosedError: the thread does not run.
            Exception: what the job itself raised; nothing of it is on record.
        """
        return await self._call(job, Scope.LEDGER, urgency)

    async def run_cache(self, job: Callable[[S], R], urgency: Urgency = Urgency.BACKGROUND) -> R:
        """Run a job in a transaction of the cache, which alone it may write; else like `run`."""
        return await self._call(job, Scope.CACHE, urgency)

    async def run_alone(self, job: Callable[[S], R], urgency: Urgency = Urgency.BACKGROUND) -> R:
        """Run a job with no transaction open, as exchanging a file needs it; else like `run`."""
        return await self._call(job, Scope.NONE, urgency)

    def post(
        self,
        job: Callable[[S], R],
        urgency: Urgency = Urgency.BACKGROUND,
        on_done: Callable[[R | None, Exception | None], object] | None = None,
    ) -> None:
        """Run a job like `run`, and wait for nothing.

        `on_done` is called on the event loop after the commit, with the result or with the error;
        without it an error is logged.

        Raises:
            QueueFullError: too many jobs wait.
            StoreClosedError: the thread does not run.
        """
        loop = asyncio.get_running_loop()

        def done(result: Any, error: Exception | None) -> None:
            if on_done is None:
                _log_unasked(error)
            else:
                # On its own, so that what it raises keeps no other caller from its answer.
                loop.call_soon(on_done, result, error)

        self._submit(Job(job, Scope.LEDGER, urgency, done))

    @property
    def is_computing(self) -> bool:
        """Whether it has jobs under way, other than to commit them."""
        return self._worker is not None and self._worker.is_computing

    @property
    def repairing(self) -> bool:
        """Whether it reads a damaged file whole now, and so answers nobody for a while."""
        return self._worker is not None and self._worker.repairing

    async def close(self) -> None:
        """Finish the jobs that were taken, close the store, end the thread; safe to repeat."""
        if self._running:
            self._running = False
            self._inbox.put(None)
        if self._ended is not None:
            await asyncio.shield(self._ended)

    async def _call(self, work: Callable[[S], R], scope: Scope, urgency: Urgency) -> R:
        answer: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._submit(
            Job(work, scope, urgency, lambda result, error: _resolve(answer, result, error))
        )
        return await answer

    def _submit(self, job: Job[S]) -> None:
        if not self._running:
            raise StoreClosedError("the database thread does not run")
        if len(self._unanswered) >= self._limits.jobs_max:
            raise QueueFullError(f"{self._limits.jobs_max} jobs wait for the database thread")
        self._unanswered.add(job)
        self._inbox.put(job)

    def _answer(self, jobs: list[Job[S]]) -> None:
        """Answer who stands at a door at once, and the others a few in each turn of the loop.

        What follows an answer keeps the loop busy; of a whole group's it would be for longer than
        the next tap should wait.
        """
        is_idle = not self._to_answer
        for job in jobs:
            if job.urgency is Urgency.DOOR:
                self._tell(job)
            else:
                self._to_answer.append(job)
        if is_idle:
            self._answer_some()

    def _answer_some(self) -> None:
        for _ in range(min(ANSWERS_A_TURN, len(self._to_answer))):
            self._tell(self._to_answer.popleft())
        if self._to_answer:
            asyncio.get_running_loop().call_soon(self._answer_some)

    def _tell(self, job: Job[S]) -> None:
        self._unanswered.discard(job)
        job.done(job.result, job.error)

    def _end(self, fault: BaseException | None) -> None:
        self._running = False
        answered = list(self._to_answer)
        self._to_answer.clear()
        left = self._unanswered.difference(answered)
        for job in left:
            job.refuse(fault or StoreClosedError("the database thread ended"))
        for job in (*answered, *left):
            self._tell(job)
        if self._ended is not None:
            self._ended.set_result(None)
        if fault is not None:
            self._on_fault(fault)


def _resolve(answer: "asyncio.Future[R]", result: R | None, error: BaseException | None) -> None:
    if answer.cancelled():
        _log_unasked(error)
    elif error is not None:
        answer.set_exception(error)
    else:
        answer.set_result(cast("R", result))


def _log_unasked(error: BaseException | None) -> None:
    if error is not None:
        log.error("a database job that nobody waits for failed: %s", error, exc_info=error)
