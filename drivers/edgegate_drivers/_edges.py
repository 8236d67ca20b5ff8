"""Hands a sensor's changes from where they are noticed to the one who iterates over them."""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable

from edgegate.ports import OperatingError, SensorEdge

EDGES_MAX = 64
"""Changes that may wait; when full the oldest is dropped, so that the newest level arrives."""

RECONCILE_S = 1.0
"""How long a change that came without its edge can stay unseen (PITFALLS G8)."""


class EdgeStream:
    """The changes of one sensor, from the moment it was opened; lives in the event loop's thread.

    `read_level` is asked now and each second while somebody iterates, and raises an
    `OperatingError` where the device is gone.
    """

    def __init__(self, read_level: Callable[[], bool]) -> None:
        self._read_level = read_level
        self._level = read_level()
        self._waiting: deque[SensorEdge] = deque(maxlen=EDGES_MAX)
        self._lost: OperatingError | None = None
        self._woken = asyncio.Event()

    def notice(self, active: bool, read_ns: int) -> None:
        """Take a level that was seen at `read_ns`; the level it already has is no change."""
        if active != self._level:
            self._level = active
            self._waiting.append(SensorEdge(active=active, read_ns=read_ns))
            self._woken.set()

    def lose(self, error: OperatingError) -> None:
        """End the stream: what waits is still yielded, then `error` is raised."""
        if self._lost is None:
            self._lost = error
            self._woken.set()

    def reconcile(self) -> None:
        """Compare with the level as the device has it now."""
        try:
            active = self._read_level()
        except OperatingError as error:
            self.lose(error)
        else:
            self.notice(active, time.monotonic_ns())

    async def edges(self) -> AsyncIterator[SensorEdge]:
        """Yield each change once, until the device is lost, then raise its `OperatingError`."""
        while True:
            self._woken.clear()
            while self._waiting:
                yield self._waiting.popleft()
            if self._lost is not None:
                raise self._lost
            try:
                async with asyncio.timeout(RECONCILE_S):
                    await self._woken.wait()
            except TimeoutError:
                self.reconcile()
