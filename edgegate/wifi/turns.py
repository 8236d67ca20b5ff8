"""Whose turn it is on the event loop: Wi-Fi works a little, then the doors and all else may.

A handshake's step takes up to a millisecond of the processor, and when a crowd joins there are
hundreds of them. Done one after the other they would keep every tap waiting until the last; done
while the database thread computes they would take the interpreter from it at each of its queries.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from time import perf_counter

SLICE_S = 0.0005
"""After so much work in a turn of the loop the rest waits for the next, in which sockets, readers
and the database thread were looked at."""

TOGETHER_MAX = 8
"""Pieces of work in a turn, if they are as short as those before were."""

PAUSE_S = 0.001
"""How often it is looked whether others are done."""

PAUSES_MAX = 5
"""So often the others go first: a tap is mostly answered by then, and taps without end do not keep
all from the Wi-Fi."""


class Turns:
    """The time of one event loop, for all that access points ask.

    Args:
        others_first: whether somebody else should have the interpreter now.
        now: a clock in seconds.
    """

    def __init__(
        self,
        others_first: Callable[[], bool] = lambda: False,
        now: Callable[[], float] = perf_counter,
    ) -> None:
        self._others_first = others_first
        self._now = now
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._running = False
        """Whether a turn was given, or is to be, and is not over."""
        self._until_s = 0.0
        self._together = 1
        self._pauses = 0

    def has_time(self) -> bool:
        """Whether a piece of work may be done at once, in this turn of the loop."""
        if self._waiting or self._others_first():
            return False
        if not self._running:
            self._begin()
            return True
        return self._now() < self._until_s

    async def take(self) -> None:
        """Wait until a piece of work may be done; first come, first served."""
        if self.has_time():
            return
        loop = asyncio.get_running_loop()
        mine = loop.create_future()
        self._waiting.append(mine)
        if not self._running:
            self._running = True
            loop.call_soon(self._next)
        await mine

    def _begin(self) -> None:
        self._running = True
        self._until_s = self._now() + SLICE_S
        asyncio.get_running_loop().call_soon(self._next)

    def _next(self) -> None:
        """A turn is over: give the next, unless others are to go first."""
        self._running = False
        if not self._waiting:
            self._pauses = 0
        elif self._others_first() and self._pauses < PAUSES_MAX:
            self._pauses += 1
            self._running = True
            self._until_s = 0.0
            asyncio.get_running_loop().call_later(PAUSE_S, self._next)
        else:
            self._pauses = 0
            self._give()

    def _give(self) -> None:
        left_s = self._until_s - self._now()
        self._together = min(self._together * 2, TOGETHER_MAX) if left_s > SLICE_S / 2 else 1
        for _ in range(min(self._together, len(self._waiting))):
            mine = self._waiting.popleft()
            if not mine.done():
                mine.set_result(None)
        self._begin()
