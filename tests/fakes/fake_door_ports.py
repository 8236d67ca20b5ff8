"""A strike, a sensor and a clock that obey the ports' contracts and keep a history."""

import asyncio
from collections.abc import AsyncIterator, Callable

from edgegate.ports import DeviceFaultError, OperatingError, SensorEdge


class FakeClock:
    """A monotonic clock that stands until it is moved."""

    def __init__(self, now_s: float = 1000.0) -> None:
        self.now_s = now_s

    def __call__(self) -> float:
        return self.now_s


class FakeStrike:
    """A strike that locks by itself when its time is over, as `ports.Strike` demands.

    `commands` holds the seconds of each release, and 0 for each lock, those that failed included.
    """

    def __init__(self, clock_s: Callable[[], float]) -> None:
        self._clock_s = clock_s
        self._locks_at_s = float("-inf")
        self.commands: list[float] = []
        self.failure: Exception | None = None
        self._gone = asyncio.Event()
        self._why = DeviceFaultError("")

    @property
    def released(self) -> bool:
        return self._clock_s() < self._locks_at_s

    @property
    def left_s(self) -> float:
        """Seconds until it locks by itself."""
        return max(0.0, self._locks_at_s - self._clock_s())

    def release(self, for_s: float) -> None:
        assert for_s > 0
        self._note(for_s)
        self._locks_at_s = self._clock_s() + for_s

    def lock(self) -> None:
        self._note(0)
        self._locks_at_s = float("-inf")

    def leave_released(self) -> None:
        self._note(float("inf"))
        self._locks_at_s = float("inf")

    async def watch(self) -> None:
        await self._gone.wait()
        raise self._why

    def lose(self, words: str) -> None:
        """Take the device away, as pulling its plug does."""
        self._why = DeviceFaultError(words)
        self._gone.set()

    def fail(self, words: str) -> None:
        """From now on every command raises."""
        self.failure = DeviceFaultError(words)

    def _note(self, for_s: float) -> None:
        self.commands.append(for_s)
        if self.failure is not None:
            raise self.failure


class FakeSensor:
    """A contact or button whose level a test sets, and which a test can take away."""

    def __init__(self, clock_s: Callable[[], float], *, active: bool = False) -> None:
        self._clock_s = clock_s
        self._level = active
        self._edges: asyncio.Queue[SensorEdge | OperatingError] = asyncio.Queue()
        self.followed = asyncio.Event()
        self.failure: OperatingError | None = None

    @property
    def active(self) -> bool:
        if self.failure is not None:
            raise self.failure
        return self._level

    async def edges(self) -> AsyncIterator[SensorEdge]:
        self.followed.set()
        while True:
            edge = await self._edges.get()
            if isinstance(edge, OperatingError):
                raise edge
            yield edge

    def set(self, *, active: bool, at_s: float | None = None) -> None:
        """Change the level, now or at an instant that has passed."""
        self._level = active
        at_s = self._clock_s() if at_s is None else at_s
        self._edges.put_nowait(SensorEdge(active=active, read_ns=round(at_s * 1e9)))

    def lose(self, error: OperatingError) -> None:
        """End the sensor, as pulling its plug does."""
        self._edges.put_nowait(error)
