"""Keeps an answer of the feed until it is complete: in memory while it is small, else in a file."""

import asyncio
import io
import os
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import IO, Self, TypeVar

from msgspec import Struct

from edgegate_sync.appliance.client import FeedAnswer
from edgegate_sync.appliance.errors import SpoolFullError
from edgegate_sync.appliance.lines import lines_of

R = TypeVar("R")

FILE = "feed.spool"
"""Where a long answer is kept, in the state directory; what is left of one is removed at start."""


class SpoolLimits(Struct, frozen=True, kw_only=True):
    """How much one answer may be."""

    bytes_max: int = 2 * 1024**3
    """As it was sent, and again when unpacked: a site of a million records has a third of that."""
    memory_bytes_max: int = 262_144
    """A longer answer goes to the disk, in pieces of this size."""
    disk_free_bytes_min: int = 128 * 1024**2
    """So much of the disk stays free for the ledger."""


async def in_thread(work: Callable[[], R]) -> R:
    """Run blocking work in a thread; who is cancelled meanwhile goes when it has come to its end.

    Otherwise what comes after would meet a file that is still being written.
    """
    done = asyncio.get_running_loop().run_in_executor(None, work)
    try:
        return await asyncio.shield(done)
    except asyncio.CancelledError:
        await asyncio.wait((done,))
        raise


class Spool:
    """An answer of the feed, as it was sent."""

    def __init__(self, state: Path, limits: SpoolLimits) -> None:
        """Prepare to keep an answer; `receive` is what to call."""
        self._path = state / FILE
        self._limits = limits
        self._memory = bytearray()
        self._file: IO[bytes] | None = None
        self.is_gzip = False
        self.bytes = 0
        """How long the answer is, as it was sent."""

    @classmethod
    async def receive(cls, answer: FeedAnswer, state: Path, limits: SpoolLimits) -> Self:
        """Keep all that comes of an answer. Whether it is complete is not known then.

        Raises:
            TruncatedError: it broke off.
            SpoolFullError: it is too long, or the disk is full.
        """
        spool = cls(state, limits)
        spool.is_gzip = answer.is_gzip
        async with AsyncExitStack() as undone:
            undone.push_async_callback(in_thread, spool.remove)
            await spool._fill(answer.chunks())
            undone.pop_all()
        return spool

    async def _fill(self, chunks: AsyncIterator[bytes]) -> None:
        async for chunk in chunks:
            self.bytes += len(chunk)
            if self.bytes > self._limits.bytes_max:
                raise SpoolFullError(f"the feed has more than {self._limits.bytes_max} bytes")
            self._memory += chunk
            if len(self._memory) > self._limits.memory_bytes_max:
                await in_thread(self._write)

    def _write(self) -> None:
        """Carry what stands in memory over to the file."""
        try:
            free = shutil.disk_usage(self._path.parent).free
            if free < self._limits.disk_free_bytes_min:
                raise SpoolFullError(f"the disk has {free} bytes left, too few to keep the feed")
            if self._file is None:
                self._path.unlink(missing_ok=True)
                flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
                self._file = os.fdopen(os.open(self._path, flags, 0o600), "w+b", buffering=0)
            view = memoryview(self._memory)
            while view:
                view = view[self._file.write(view) :]
        except OSError as error:
            raise SpoolFullError(f"the feed cannot be kept: {error}") from error
        self._memory = bytearray()

    def to_file(self) -> Path:
        """Put all of it into the file, for another process to read; blocking.

        Raises:
            SpoolFullError: the disk is full.
        """
        self._write()
        return self._path

    def lines(self) -> Iterator[bytes]:
        """The answer's lines, unpacked, with their ends; blocking, and to be read to the end.

        A line that is longer than `LINE_BYTES_MAX` is cut one byte beyond it, so that it shows.

        Raises:
            TruncatedError: its packing is damaged or ends early.
            SpoolFullError: it is too long when unpacked.
        OSError: the disk fails.
        """
        self._flush_rest()
        if self._file is None:
            return lines_of(io.BytesIO(self._memory), self.is_gzip, self._limits.bytes_max)
        return lines_of(self._path.open("rb"), self.is_gzip, self._limits.bytes_max)

    def _flush_rest(self) -> None:
        if self._file is not None and self._memory:
            self._write()

    def remove(self) -> None:
        """Forget the answer and remove its file; blocking, safe to call again."""
        file, self._file = self._file, None
        if file is not None:
            file.close()
        self._path.unlink(missing_ok=True)
        self._memory = bytearray()
