r"""A door board made of software: strikes, sensors and readers behind one Unix socket.

A client connects once for each channel and speaks ASCII lines that end in "\n", at most
`LINE_BYTES_MAX` bytes long. Its first line says what the channel is:

    strike NAME     then the client sends "1" (released) or "0" (locked)
    sensor NAME     then the board sends "1" (active) or "0", at once and at each change
    reader NAME     then the board sends "KIND HEX" for each scan, the client "granted", "refused"

NAME is 1 to 64 of `A-Z a-z 0-9 _ . -`. The newest client of a channel is the one that counts: an
older one is cut. Any other line, and one too long, is counted in `bad_lines` and its client is cut.
"""

import contextlib
import re
import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

LINE_BYTES_MAX = 8192
CLIENTS_MAX = 256
"""Clients at a time; one more is cut at once."""
HISTORY_MAX = 100_000
"""Changes kept for each channel; when full the oldest is forgotten."""

HELLO = re.compile(r"(strike|sensor|reader) ([A-Za-z0-9_.-]{1,64})")
SIGNALS = frozenset({"granted", "refused"})
LEVELS = {"0": False, "1": True}

Callback = Callable[[int, bool], None]
"""Called with `time.monotonic_ns()` of the change and the new level."""


class CallbackFailedError(Exception):
    """A callback of `on_change` raised; its own error is the cause."""


@dataclass(slots=True, eq=False)
class _Client:
    connection: socket.socket
    buffer: bytearray = field(default_factory=bytearray)
    kind: str = ""
    name: str = ""
    received_ns: int = 0


@dataclass(slots=True)
class _Channel:
    level: bool = False
    history: deque[tuple[int, bool]] = field(default_factory=lambda: deque(maxlen=HISTORY_MAX))
    signals: deque[tuple[int, str]] = field(default_factory=lambda: deque(maxlen=HISTORY_MAX))
    callbacks: list[Callback] = field(default_factory=list)
    client: _Client | None = None


class Board:
    """The board: listens from construction to `close()`, in a thread of its own.

    A level is True for released (a strike) or active (a sensor); a strike starts locked, a sensor
    inactive. Every method may be called from any thread.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        lost_level: Literal["pull", "keep"] = "pull",
        auto_contact: Mapping[str, str] | None = None,
    ) -> None:
        """Listen on the Unix socket `path`; what a dead board left there is replaced.

        Args:
            path: at most 107 bytes, as sun_path of unix(7) wants.
            lost_level: what a strike's line does when its client dies: `pull` locks it, as a pull
                resistor does; `keep` leaves it, as bcm2835 with persist_gpio_outputs=1 does.
            auto_contact: strikes whose release opens a door, by name, with the contact's sensor;
                the door falls shut as the strike locks.
        """
        self.path = Path(path)
        self.lost_level = lost_level
        self.bad_lines = 0
        self.cut_clients = 0
        self._auto_contact = dict(auto_contact or {})
        self._channels: dict[str, _Channel] = {}
        self._callback_error: Exception | None = None
        self._changed = threading.Condition(threading.RLock())
        self._closed = False
        if self.path.is_socket():
            self.path.unlink()
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.setblocking(False)
        self._listener.bind(str(self.path))
        self._listener.listen(CLIENTS_MAX)
        self._waker, self._woken = socket.socketpair()
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._selector.register(self._woken, selectors.EVENT_READ)
        self._clients: dict[socket.socket, _Client] = {}
        self._thread = threading.Thread(target=self._serve, name=f"board {path}", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Cut every client and stop listening: to them the board is unplugged."""
        if self._closed:
            return
        self._closed = True
        self._waker.send(b"x")
        self._thread.join()
        for client in list(self._clients.values()):
            client.received_ns = time.monotonic_ns()
            self._drop(client)
        for resource in (self._listener, self._waker, self._woken, self._selector):
            resource.close()
        self.path.unlink(missing_ok=True)

    def level(self, name: str) -> bool:
        """The level of a strike or sensor now."""
        with self._changed:
            return self._channel(name).level

    def history(self, name: str) -> list[tuple[int, bool]]:
        """Each change since the start, oldest first: `time.monotonic_ns()` and the level."""
        with self._changed:
            return list(self._channel(name).history)

    def signals(self, name: str) -> list[tuple[int, str]]:
        """What a reader was told to show, oldest first: `time.monotonic_ns()` and the word."""
        with self._changed:
            return list(self._channel(name).signals)

    def wait_level(self, name: str, level: bool, timeout_s: float) -> None:
        """Wait until a channel has a level and every callback for it has returned.

        Raises:
            TimeoutError: if it did not within `timeout_s`.
            CallbackFailedError: if a callback raised, for whatever channel.
        """
        self._wait(lambda: self._channel(name).level == level, f"{name} {level}", timeout_s)

    def wait_changes(self, name: str, count: int, timeout_s: float) -> None:
        """Wait until a channel has changed `count` times in all; raises as `wait_level`.

        Unlike a level, a change that was soon taken back is not missed.
        """
        self._wait(lambda: len(self._channel(name).history) >= count, name, timeout_s)

    def wait_signals(self, name: str, count: int, timeout_s: float) -> None:
        """Wait until a reader was told to show `count` answers in all; raises as `wait_level`."""
        self._wait(lambda: len(self._channel(name).signals) >= count, name, timeout_s)

    def wait_connected(self, name: str, timeout_s: float, *, connected: bool = True) -> None:
        """Wait until a channel has a client, or none; raises as `wait_level`."""
        self._wait(lambda: (self._channel(name).client is not None) == connected, name, timeout_s)

    def on_change(self, name: str, callback: Callback) -> None:
        """Call `callback` for each change, in the thread that made it, before anybody sees it.

        For a strike that is the board's thread. `level`, `history` and `wait_level` show the
        change only when the callback has returned; it must not wait for a thread that asks them.
        """
        with self._changed:
            self._channel(name).callbacks.append(callback)

    def set_sensor(self, name: str, active: bool) -> None:
        """Set the level of a sensor and tell its client, if it has one."""
        with self._changed:
            channel = self._channel(name)
            self._change(channel, active, time.monotonic_ns())
            if channel.client is not None:
                self._send(channel.client, _level_line(active))

    def scan(self, name: str, kind: str, number_hex: str) -> bool:
        """Let a reader read a credential; False if nobody listens to it, and it is lost."""
        with self._changed:
            client = self._channel(name).client
            return client is not None and self._send(client, f"{kind} {number_hex}\n".encode())

    def cut(self, name: str) -> None:
        """Pull the cable of one channel: its client, if any, sees the end of the connection."""
        with self._changed:
            client = self._channel(name).client
            if client is not None:
                self._cut(client)

    def _channel(self, name: str) -> _Channel:
        return self._channels.setdefault(name, _Channel())

    def _wait(self, condition: Callable[[], bool], what: str, timeout_s: float) -> None:
        with self._changed:
            met = self._changed.wait_for(
                lambda: self._callback_error is not None or condition(), timeout_s
            )
            if self._callback_error is not None:
                raise CallbackFailedError(what) from self._callback_error
        if not met:
            raise TimeoutError(f"{what}: not within {timeout_s} s")

    def _change(self, channel: _Channel, level: bool, at_ns: int) -> None:
        """Call back, then let everybody see the change."""
        if channel.level == level:
            return
        for callback in channel.callbacks:
            try:
                callback(at_ns, level)
            except Exception as error:  # noqa: BLE001 - a test's code; the waiting test gets it
                self._callback_error = error
        channel.level = level
        channel.history.append((at_ns, level))
        self._changed.notify_all()

    def _send(self, client: _Client, data: bytes) -> bool:
        try:
            sent = client.connection.send(data, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
        except OSError:
            sent = 0
        if sent != len(data):
            self._cut(client)
        return sent == len(data)

    def _cut(self, client: _Client) -> None:
        """End a connection from any thread: the board's own then reads its end and drops it."""
        self.cut_clients += 1
        with contextlib.suppress(OSError):
            client.connection.shutdown(socket.SHUT_RDWR)

    def _serve(self) -> None:
        while not self._closed:
            for key, _ in self._selector.select():
                if key.fileobj is self._listener:
                    self._accept()
                elif isinstance(key.data, _Client):
                    self._receive(key.data)

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError:
            return
        if len(self._clients) >= CLIENTS_MAX:
            self.cut_clients += 1
            connection.close()
            return
        connection.setblocking(False)
        client = self._clients[connection] = _Client(connection)
        self._selector.register(connection, selectors.EVENT_READ, client)

    def _receive(self, client: _Client) -> None:
        try:
            data = client.connection.recv(LINE_BYTES_MAX)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        client.received_ns = time.monotonic_ns()
        with self._changed:
            client.buffer += data
            while b"\n" in client.buffer:
                line, _, rest = client.buffer.partition(b"\n")
                client.buffer = rest
                if not self._take(client, bytes(line)):
                    self._refuse(client)
                    return
            if len(client.buffer) > LINE_BYTES_MAX:
                self._refuse(client)
            elif not data:
                self._drop(client)

    def _take(self, client: _Client, line: bytes) -> bool:
        """Do what one line asks; False if it is no line of the protocol."""
        text = line.decode("ascii", errors="replace")
        if not client.kind:
            return self._greet(client, text)
        channel = self._channel(client.name)
        if channel.client is not client:
            return True
        if client.kind == "strike" and text in LEVELS:
            self._drive(client, LEVELS[text])
            return True
        if client.kind == "reader" and text in SIGNALS:
            channel.signals.append((client.received_ns, text))
            self._changed.notify_all()
            return True
        return False

    def _greet(self, client: _Client, text: str) -> bool:
        hello = HELLO.fullmatch(text)
        if hello is None:
            return False
        client.kind, client.name = hello[1], hello[2]
        channel = self._channel(client.name)
        if channel.client is not None:
            self._cut(channel.client)
        channel.client = client
        if client.kind == "sensor":
            self._send(client, _level_line(channel.level))
        self._changed.notify_all()
        return True

    def _drive(self, client: _Client, released: bool) -> None:
        self._change(self._channel(client.name), released, client.received_ns)
        contact = self._auto_contact.get(client.name)
        if contact is not None:
            self.set_sensor(contact, released)

    def _refuse(self, client: _Client) -> None:
        self.bad_lines += 1
        self.cut_clients += 1
        self._drop(client)

    def _drop(self, client: _Client) -> None:
        with self._changed:
            del self._clients[client.connection]
            self._selector.unregister(client.connection)
            client.connection.close()
            channel = self._channel(client.name) if client.name else None
            if channel is None or channel.client is not client:
                return
            channel.client = None
            if client.kind == "strike" and self.lost_level == "pull":
                self._drive(client, False)
            self._changed.notify_all()


def _level_line(level: bool) -> bytes:
    return b"1\n" if level else b"0\n"
