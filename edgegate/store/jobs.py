"""Jobs for the database thread, and the order in which they are taken."""

import sqlite3
from collections import deque
from collections.abc import Callable
from enum import Enum, IntEnum
from typing import Any, Generic, Protocol, TypeVar

from msgspec import Struct

from edgegate.store.errors import StorageFailedError

BESIDE_DOORS_MAX = 4
"""Others that a commit carries after somebody at a door, if they were left behind for a door just
before: a hundred who join the Wi-Fi at once keep no single tap waiting, and taps without end do not
keep them out for ever."""


class Urgency(IntEnum):
    """Who is served first; BACKGROUND runs only while nobody else waits."""

    DOOR = 0
    WIFI = 1
    DESK = 2
    BACKGROUND = 3


class Limits(Struct, frozen=True, kw_only=True):
    """How much the thread takes, and when it tidies up."""

    jobs_max: int = 1024
    """Jobs not yet answered; one more is refused with `QueueFullError`."""
    group_max: int = 64
    """Jobs in one transaction; the rest make up the next."""
    checkpoint_idle_s: float = 1.0
    """So long nothing came: then a checkpoint is in nobody's way."""
    checkpoint_changes_min: int = 2048
    """Fewer changed rows are not worth the two flushes of a checkpoint."""
    checkpoint_changes_max: int = 8192
    """So many changed rows are carried over at once, so that the logs stay small."""
    patience_commit_s_min: float = 0.004
    """A commit quicker than this is not worth waiting to share."""
    patience_s_max: float = 0.005
    """The longest that a group waits for others to join it."""
    crowd_max: int = 256
    """Jobs for the Wi-Fi in one transaction, which ends when somebody comes to a door."""
    crowd_pause_s_max: float = 0.05
    """The longest that those who join the Wi-Fi are kept waiting to share a commit."""
    recover_retry_s: float = 5.0
    """The pause after a failed repair; until then every job is refused at once."""


class Storage(Protocol):
    """What the thread needs of a store."""

    @property
    def ledger(self) -> sqlite3.Connection:
        """The precious file."""

    @property
    def cache(self) -> sqlite3.Connection:
        """The rebuildable file, `query_only` outside jobs that write it."""

    def changes(self) -> int:
        """Rows changed since the last checkpoint."""

    def checkpoint(self) -> None:
        """Carry what the write-ahead logs hold into the files, without waiting for readers."""

    def recover(self, error: Exception) -> None:
        """Repair or replace what is corrupt, and open it again.

        Raises:
            OperatingError: if that was not possible now; it is called again later.
        """

    def close(self) -> None:
        """Release everything; safe to call again."""


S = TypeVar("S", bound=Storage)


class Scope(Enum):
    """Which transaction a job runs in."""

    LEDGER = "ledger"
    CACHE = "cache"
    NONE = "none"


class Job(Generic[S]):
    """A job and its answer."""

    __slots__ = ("done", "error", "result", "scope", "urgency", "work")

    def __init__(
        self,
        work: Callable[[S], Any],
        scope: Scope,
        urgency: Urgency,
        done: Callable[[Any, Exception | None], object],
    ) -> None:
        self.work = work
        self.scope = scope
        self.urgency = urgency
        self.done = done
        self.result: Any = None
        self.error: Exception | None = None

    def refuse(self, cause: BaseException) -> None:
        """Answer that nothing of this job is on record."""
        self.result = None
        self.error = StorageFailedError(str(cause))
        self.error.__cause__ = cause


class Group(Generic[S]):
    """The jobs of one transaction, in the order in which they are run.

    It counts as they come: who may join is asked for each of hundreds.
    """

    def __init__(self, first: Job[S]) -> None:
        self.jobs: list[Job[S]] = []
        self.urgency = first.urgency
        """Of its first job."""
        self.doors = 0
        """How many are for somebody at a door."""
        self.beside_doors = 0
        """How many others came after somebody at a door, who waits for them too."""
        self.add(first)

    def __len__(self) -> int:
        return len(self.jobs)

    def add(self, job: Job[S]) -> None:
        """Let a job join."""
        self.jobs.append(job)
        if job.urgency is Urgency.DOOR:
            self.doors += 1
        elif self.doors:
            self.beside_doors += 1


class Waiting(Generic[S]):
    """The jobs that wait, by urgency and then in the order they came."""

    def __init__(self) -> None:
        self._queues: tuple[deque[Job[S]], ...] = tuple(deque() for _ in Urgency)

    def __bool__(self) -> bool:
        return any(self._queues)

    def crowd(self) -> int:
        """How many wait for the Wi-Fi, if nobody waits at a door."""
        return 0 if self._queues[Urgency.DOOR] else len(self._queues[Urgency.WIFI])

    def push(self, job: Job[S]) -> None:
        """Let a job wait."""
        self._queues[job.urgency].append(job)

    def pop_first(self) -> Job[S]:
        """Take the most urgent job; there must be one."""
        return next(queue for queue in self._queues if queue).popleft()

    def pop_for(self, group: Group[S], beside_doors_max: int) -> Job[S] | None:
        """Take the most urgent job, if it may share the transaction of `group`.

        After somebody at a door so many others may.
        """
        for queue in self._queues:
            if queue:
                return queue.popleft() if _may_join(queue[0], group, beside_doors_max) else None
        return None

    def pop_hasty(self) -> list[Job[S]]:
        """Take all jobs for whose answer a person stands at a door or a device at an antenna."""
        return self._pop_all(self._queues[: Urgency.DESK])

    def pop_all(self) -> list[Job[S]]:
        """Take all jobs."""
        return self._pop_all(self._queues)

    @staticmethod
    def _pop_all(queues: tuple[deque[Job[S]], ...]) -> list[Job[S]]:
        jobs = [job for queue in queues for job in queue]
        for queue in queues:
            queue.clear()
        return jobs


def _may_join(job: Job[S], group: Group[S], beside_doors_max: int) -> bool:
    if job.scope is not Scope.LEDGER:
        return False
    if job.urgency is Urgency.DOOR:
        return True
    if group.doors and group.beside_doors >= beside_doors_max:
        return False
    # Who stands at a door shall not wait for work that has time.
    return job.urgency is not Urgency.BACKGROUND or group.urgency is Urgency.BACKGROUND
