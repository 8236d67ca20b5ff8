"""The queue between a device and the line: what the reader drivers yield as their `Reader`."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator

from edgegate.ports import Scan, Signal

SCANS_MAX = 16
"""Scans that wait for the line; who stands at the door now matters more than who stood there."""


class QueuedReader:
    """A `Reader` that its driver feeds with `put` and `fail`, both on the event loop's thread.

    Attributes:
        counts: What this reader has seen since it was opened, for metrics: `scans` handed over,
            `dropped` pushed out of the full queue, `overlong` codes above the length limit, and
            `malformed` cards and codes that could not be read whole. All keys are always there.
    """

    def __init__(self) -> None:
        self.counts: dict[str, int] = {"scans": 0, "dropped": 0, "overlong": 0, "malformed": 0}
        self._waiting: deque[Scan] = deque()
        self._error: BaseException | None = None
        self._changed = asyncio.Event()

    def put(self, scan: Scan) -> None:
        """Hand a scan over; if the queue is full, the oldest one in it is dropped and counted."""
        if len(self._waiting) >= SCANS_MAX:
            self._waiting.popleft()
            self.counts["dropped"] += 1
        self._waiting.append(scan)
        self.counts["scans"] += 1
        self._changed.set()

    def fail(self, error: BaseException) -> None:
        """End the scans with this error, after those that wait; the first error stays."""
        if self._error is None:
            self._error = error
        self._changed.set()

    async def scans(self) -> AsyncIterator[Scan]:
        """Yield scans in the order in which they were read, then raise what ended the device."""
        while True:
            while self._waiting:
                yield self._waiting.popleft()
            if self._error is not None:
                raise self._error
            self._changed.clear()
            await self._changed.wait()

    def show(self, signal: Signal) -> None:
        """Do nothing: neither a PN532 board nor a scanner has a lamp that edgegate could light."""
