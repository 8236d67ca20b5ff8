"""Strikes on one Unix socket that stamp every command as it arrives.

They speak the lines of the emulated board ("strike NAME", then "1" or "0"). The board keeps levels
and their changes; here a strike that is told "1" again while it is released is stamped again, so
that doors can be tapped as fast as they answer. All is done by the one thread that waits.
"""

import selectors
import socket
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path

LINE_BYTES_MAX = 4096
CLIENTS_MAX = 128


@dataclass(frozen=True, slots=True)
class Command:
    """What a strike was told, and when that arrived, by `time.monotonic_ns()`."""

    name: str
    released: bool
    at_ns: int


class Strikes:
    """The strikes of all that is measured, by their names."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(path))
        self._listener.listen(CLIENTS_MAX)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._names: dict[socket.socket, str] = {}
        self._commands: deque[Command] = deque()

    def close(self) -> None:
        """Stop listening and cut all."""
        self._selector.close()
        for connection in (*self._names, self._listener):
            connection.close()
        self.path.unlink()

    def forget(self) -> None:
        """Drop what arrived until now."""
        self._receive(0)
        self._commands.clear()

    def next(self, timeout_s: float) -> Command:
        """The next command of any strike.

        Raises:
            TimeoutError: if none comes.
        """
        ends_s = time.monotonic() + timeout_s
        while not self._commands:
            left_s = ends_s - time.monotonic()
            if left_s <= 0:
                raise TimeoutError(f"no strike was told anything for {timeout_s} s")
            self._receive(left_s)
        return self._commands.popleft()

    def wait(self, name: str, *, released: bool, timeout_s: float) -> int:
        """When a strike was told so; what comes before that is dropped.

        Raises:
            TimeoutError: if it is not.
        """
        ends_s = time.monotonic() + timeout_s
        while True:
            command = self.next(max(0.0, ends_s - time.monotonic()))
            if command.name == name and command.released == released:
                return command.at_ns

    def _receive(self, timeout_s: float) -> None:
        for key, _ in self._selector.select(timeout_s):
            if key.fileobj is self._listener:
                connection, _ = self._listener.accept()
                self._names[connection] = ""
                self._selector.register(connection, selectors.EVENT_READ)
            elif isinstance(key.fileobj, socket.socket):
                self._take(key.fileobj)

    def _take(self, connection: socket.socket) -> None:
        try:
            data = connection.recv(LINE_BYTES_MAX)
        except ConnectionError:
            data = b""
        at_ns = time.monotonic_ns()
        if not data:
            self._selector.unregister(connection)
            connection.close()
            del self._names[connection]
            return
        for line in data.decode("ascii").splitlines():
            if line.startswith("strike "):
                self._names[connection] = line.removeprefix("strike ")
            else:
                self._commands.append(Command(self._names[connection], line == "1", at_ns))
