"""How scanners' characters become codes: a terminator, a pause, a limit of length."""

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Self

from msgspec import Meta

from edgegate.passes.model import CredentialKind
from edgegate.ports import DeviceAbsentError, DriverSettings, Scan
from edgegate_drivers._reader import QueuedReader


class CodeSettings(DriverSettings, frozen=True, kw_only=True):
    """What all scanners take."""

    kind: CredentialKind = CredentialKind.QR_STATIC
    pause_ms: Annotated[int, Meta(ge=0, le=10_000)] = 100
    length_max: Annotated[int, Meta(ge=1, le=4096)] = 512


class CodeBuffer:
    """The code in hand; it ends whole, or is dropped whole and counted, never cut."""

    def __init__(self, length_max: int, counts: dict[str, int]) -> None:
        self._length_max = length_max
        self._counts = counts
        self._code = bytearray()
        self._dropping = False

    @property
    def pending(self) -> bool:
        """Whether a code has begun and not yet ended, be it one that is being dropped."""
        return self._dropping or bool(self._code)

    def add(self, text: bytes) -> None:
        """Append to the code; one that grows longer than `length_max` bytes is dropped."""
        if self._dropping:
            return
        self._code += text
        if len(self._code) > self._length_max:
            self._drop("overlong")

    def spoil(self) -> None:
        """Drop the code in hand and whatever still comes of it: something of it was lost."""
        if not self._dropping:
            self._drop("malformed")

    def end(self) -> bytes | None:
        """End the code; None if it is empty or was dropped. The next one starts clean."""
        code = bytes(self._code)
        self._code.clear()
        self._dropping = False
        return code or None

    def split(self, data: bytes) -> Iterator[bytes]:
        r"""Append characters and yield each code that \r or \n ends, so never an empty one."""
        *ended, rest = data.replace(b"\n", b"\r").split(b"\r")
        for text in ended:
            self.add(text)
            code = self.end()
            if code is not None:
                yield code
        self.add(rest)

    def _drop(self, why: str) -> None:
        self._counts[why] += 1
        self._code.clear()
        self._dropping = True


class CodeScanner(QueuedReader, ABC):
    """A reader whose descriptor the event loop watches; subclasses read it."""

    def __init__(self, settings: CodeSettings, path: str) -> None:
        super().__init__()
        self.code = CodeBuffer(settings.length_max, self.counts)
        self._path = path
        self._kind = settings.kind
        self._pause_s = settings.pause_ms / 1000
        self._loop = asyncio.get_running_loop()
        self._descriptor = -1
        self._pause: asyncio.TimerHandle | None = None
        self._read_ns = 0

    @abstractmethod
    def take(self) -> Iterator[bytes]:
        """Read once, without blocking, and yield the codes that ended.

        Raises:
            BlockingIOError: if there is nothing to read.
            OSError: if the device is gone.
        """

    @contextmanager
    def attached(self, descriptor: int) -> Iterator[Self]:
        """Watch the descriptor; it must not block, and is the caller's to close afterwards."""
        self._descriptor = descriptor
        self._loop.add_reader(descriptor, self._read)
        try:
            yield self
        finally:
            self._detach()

    def stamp(self) -> None:
        """Note the instant of a read; `take` calls it right after the read."""
        self._read_ns = time.monotonic_ns()

    def _read(self) -> bool:
        """Read once; whether there was anything."""
        try:
            for code in self.take():
                self._emit(code)
        except BlockingIOError:
            return False
        except OSError as error:
            # A descriptor whose device is gone stays readable for ever and would spin the loop.
            self._detach()
            if self.code.pending:
                self.code.spoil()
            self.fail(DeviceAbsentError(f"{self._path} went away ({error})"))
            return False
        self._restart_pause()
        return True

    def _restart_pause(self) -> None:
        if self._pause is not None:
            self._pause.cancel()
            self._pause = None
        if self._pause_s > 0 and self.code.pending:
            self._pause = self._loop.call_later(self._pause_s, self._paused)

    def _paused(self) -> None:
        self._pause = None
        # If it was the loop that paused and not the scanner, the rest of the code waits here.
        if self._read():
            return
        code = self.end_code()
        if code is not None:
            self._emit(code)

    def end_code(self) -> bytes | None:
        """End the code in hand, at a terminator or after a pause."""
        return self.code.end()

    def _emit(self, code: bytes) -> None:
        self.put(Scan(kind=self._kind, number=code, read_ns=self._read_ns))

    def _detach(self) -> None:
        if self._pause is not None:
            self._pause.cancel()
            self._pause = None
        if self._descriptor >= 0:
            self._loop.remove_reader(self._descriptor)
            self._descriptor = -1
