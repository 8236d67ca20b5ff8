"""A pseudo-terminal under a stable name: the cable between an emulated device and the daemon.

The emulator holds the master and, while it is plugged, the slave too: the line's speed can be read
from it, and a daemon that closes and opens again meets the same line as on a real port. Every call
is safe from any thread.
"""

import os
import select
import termios
import threading
import tty
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

READ_BYTES_MAX = 4096

WRITE_WAIT_S = 1.0
"""How long a write waits for a host that reads nothing, before the rest is dropped."""

_RATES_BAUD = (9600, 19200, 38400, 57600, 115200, 230400, 460800, 921600)
_BAUD_BY_SPEED = {getattr(termios, f"B{rate}"): rate for rate in _RATES_BAUD}


class UnpluggedError(Exception):
    """The emulated device is not plugged in, so nothing can be sent by it."""


@dataclass(frozen=True, slots=True)
class _Ends:
    """The open descriptors of one plugging."""

    master: int
    slave: int
    wake: int
    """An event that ends a waiting read or write when the plug is pulled."""

    def close(self) -> None:
        for descriptor in (self.master, self.slave, self.wake):
            os.close(descriptor)


def _open_ends() -> _Ends:
    """Open a raw pseudo-terminal at 115200 baud, which nobody has to have set."""
    master, slave = os.openpty()
    tty.setraw(slave)
    attributes = termios.tcgetattr(slave)
    attributes[4] = attributes[5] = termios.B115200
    termios.tcsetattr(slave, termios.TCSANOW, attributes)
    os.set_blocking(master, False)
    return _Ends(master=master, slave=slave, wake=os.eventfd(0))


def _place_link(path: Path, target: str) -> None:
    """Point the symbolic link at `target` in one step; one left by a killed process is replaced."""
    if path.exists() and not path.is_symlink():
        raise FileExistsError(f"{path} is there and is no symbolic link")
    fresh = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    fresh.symlink_to(target)
    fresh.replace(path)


class PtyLink:
    """A serial cable whose host end is found at `path`; unplugged until `plug` is called."""

    def __init__(self, path: Path, *, write_wait_s: float = WRITE_WAIT_S) -> None:
        self.path = path
        self.dropped_byte_count = 0
        """Bytes that a host which did not read never got, as on a line without flow control."""
        self._write_wait_s = write_wait_s
        self._ends: _Ends | None = None
        self._target = ""
        self._plug_lock = threading.Lock()
        self._read_lock = threading.Lock()
        self._write_lock = threading.Lock()

    @property
    def plugged(self) -> bool:
        """Whether the host end exists now."""
        return self._ends is not None

    def plug(self) -> None:
        """Create the line and its name; no effect while plugged.

        Raises:
            OSError: if the name cannot be made, for one FileExistsError where a file has it.
        """
        with self._plug_lock:
            if self._ends is not None:
                return
            ends = _open_ends()
            try:
                self._target = os.ttyname(ends.slave)
                _place_link(self.path, self._target)
            except OSError:
                ends.close()
                raise
            self._ends = ends

    def unplug(self) -> None:
        """Take the line and its name away: the host's descriptor hangs up; idempotent."""
        with self._plug_lock:
            ends = self._ends
            if ends is None:
                return
            if self.path.is_symlink() and str(self.path.readlink()) == self._target:
                self.path.unlink(missing_ok=True)
            os.eventfd_write(ends.wake, 1)
            with self._read_lock, self._write_lock:
                self._ends = None
                ends.close()

    def read(self, timeout_s: float | None = None) -> bytes | None:
        """Wait for bytes from the host; empty after `timeout_s`, None once unplugged."""
        with self._read_lock:
            ends = self._ends
            if ends is None:
                return None
            ready = _wait(ends, select.POLLIN, timeout_s)
            if ends.wake in ready:
                return None
            return os.read(ends.master, READ_BYTES_MAX) if ready else b""

    def write(self, data: bytes) -> None:
        """Send bytes to the host; what does not fit within `write_wait_s` is dropped and counted.

        Raises:
            UnpluggedError: if the line is not there, or is pulled meanwhile.
        """
        with self._write_lock:
            ends = self._ends
            if ends is None:
                raise UnpluggedError(f"nothing is plugged in at {self.path}")
            rest = memoryview(data)
            while rest:
                try:
                    rest = rest[os.write(ends.master, rest) :]
                except BlockingIOError:
                    ready = _wait(ends, select.POLLOUT, self._write_wait_s)
                    if ends.wake in ready:
                        raise UnpluggedError(f"{self.path} was unplugged while writing") from None
                    if not ready:
                        self.dropped_byte_count += len(rest)
                        return

    def baud(self) -> int:
        """Return the speed that the host has set the line to; 0 for one that no device here uses.

        Raises:
            UnpluggedError: if the line is not there.
        """
        with self._read_lock:
            if self._ends is None:
                raise UnpluggedError(f"nothing is plugged in at {self.path}")
            return _BAUD_BY_SPEED.get(termios.tcgetattr(self._ends.slave)[5], 0)

    def __enter__(self) -> Self:
        self.plug()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.unplug()


def _wait(ends: _Ends, event: int, timeout_s: float | None) -> set[int]:
    """Wait for the master or the wake event; returns the descriptors that are ready."""
    poll = select.poll()
    poll.register(ends.master, event)
    poll.register(ends.wake, select.POLLIN)
    return {fd for fd, _ in poll.poll(None if timeout_s is None else timeout_s * 1000)}
