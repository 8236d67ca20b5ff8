"""A pool of tasks that take jobs: as concurrent as the jobs wait, without a task for each.

A worker goes on with the next job for as long as its jobs do not wait; only when one does is the
next worker needed. So a burst of quick jobs costs one wake-up, and slow ones run side by side.
A job is begun when it is its turn (`edgegate.wifi.turns`).
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from edgegate.wifi.turns import Turns

Job = TypeVar("Job")


class Workers(Generic[Job]):
    """At most `jobs_max` jobs under way or waiting for their turn; a further one is not taken.

    Args:
        work: does one job; it raises nothing but cancellation.
        tasks: where the workers run.
        jobs_max: the limit.
        turns: when a job may be begun.
    """

    def __init__(
        self,
        work: Callable[[Job], Awaitable[None]],
        tasks: asyncio.TaskGroup,
        jobs_max: int,
        turns: Turns,
    ) -> None:
        self._work = work
        self._tasks = tasks
        self._jobs_max = jobs_max
        self._turns = turns
        self._waiting: deque[Job] = deque()
        self._busy: dict[int, int] = {}
        """The round in which each busy worker took its job."""
        self._running: dict[int, asyncio.Task[None]] = {}
        self._idle: list[asyncio.Future[None]] = []
        self._waking = False
        """Whether a worker is on its way to the jobs, or waits for its turn to begin one."""
        self._stopping = False
        self._hired = 0
        self._round = 0

    def put(self, job: Job, room: int | None = None) -> bool:
        """Have a job done; whether there was room for it, which may be less than for others."""
        room = self._jobs_max if room is None else room
        if self._stopping or len(self._busy) + len(self._waiting) >= room:
            return False
        self._waiting.append(job)
        if not self._waking:
            self._wake()
        return True

    def stop(self) -> None:
        """Send home who is idle now, and the others when their jobs are done."""
        self._stopping = True
        for idle in self._idle:
            if not idle.done():
                idle.set_result(None)
        self._idle.clear()

    def dismiss(self) -> int:
        """Cancel every job that was taken before the last call of this; how many those were."""
        late = [number for number, taken in self._busy.items() if taken < self._round]
        for number in late:
            self._running[number].cancel()
        self._round += 1
        return len(late)

    def _wake(self) -> None:
        self._waking = True
        while self._idle and self._idle[-1].done():
            self._idle.pop()
        if self._idle:
            self._idle.pop().set_result(None)
        else:
            self._hired += 1
            worker = self._run(self._hired)
            self._running[self._hired] = self._tasks.create_task(
                worker, name=f"worker {self._hired}"
            )

    async def _run(self, number: int) -> None:
        loop = asyncio.get_running_loop()
        try:
            while True:
                # Those who come together are read before the first of them is worked on.
                await asyncio.sleep(0)
                self._waking = False
                while self._waiting and (self._turns.has_time() or await self._gets_turn()):
                    await self._next(number)
                if self._stopping:
                    return
                idle = loop.create_future()
                self._idle.append(idle)
                await idle
        finally:
            self._busy.pop(number, None)
            del self._running[number]
            if self._waiting and not self._waking and not self._stopping:
                self._wake()

    async def _gets_turn(self) -> bool:
        """Wait until a job may be begun, unless another worker does that already."""
        if self._waking:
            return False
        self._waking = True
        await self._turns.take()
        self._waking = False
        return bool(self._waiting)

    async def _next(self, number: int) -> None:
        job = self._waiting.popleft()
        self._busy[number] = self._round
        if self._waiting and not self._waking:
            self._wake()
        await self._work(job)
        del self._busy[number]
