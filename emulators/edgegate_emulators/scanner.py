"""A serial code scanner without hardware: what it reads comes out of a pseudo-terminal."""

import time
from pathlib import Path
from types import TracebackType
from typing import Self

from edgegate_emulators.tty import PtyLink


class SerialScanner:
    """A code scanner whose serial port is found at `path` from construction until `close`.

    As a scanner on a real port it does not know whether somebody listens: what is scanned before
    the host has opened the port is lost, and what a host does not read is dropped. `scan` and
    `send` may be used from an event loop: they wait only for a host that has left kilobytes unread.

    Raises:
        OSError: if the port cannot be made at `path`.
    """

    def __init__(self, path: Path) -> None:
        self._link = PtyLink(path)
        self._link.plug()

    @property
    def path(self) -> Path:
        """Where the port is found while plugged."""
        return self._link.path

    @property
    def dropped_byte_count(self) -> int:
        """Bytes that a host which did not read never got."""
        return self._link.dropped_byte_count

    def scan(self, text: str, end: str = "\r\n") -> int:
        """Send a code and its end, in UTF-8; returns `time.monotonic_ns()` after the last byte.

        Raises:
            UnpluggedError: while unplugged.
        """
        return self.send((text + end).encode())

    def send(self, data: bytes) -> int:
        """Send bytes as they are; returns `time.monotonic_ns()` after the last byte.

        Raises:
            UnpluggedError: while unplugged.
        """
        self._link.write(data)
        return time.monotonic_ns()

    def unplug(self) -> None:
        """Pull the plug: the host's descriptor hangs up and the port is gone; idempotent."""
        self._link.unplug()

    def replug(self) -> None:
        """Plug in again, or pull and plug."""
        self._link.unplug()
        self._link.plug()

    def close(self) -> None:
        """Pull the plug for good; idempotent."""
        self._link.unplug()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
