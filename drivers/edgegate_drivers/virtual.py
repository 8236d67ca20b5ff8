r"""Readers, strikes and sensors of the emulated door board, for demo and tests.

The board listens on a Unix socket and speaks the lines that `edgegate_emulators.board` documents:
each channel is a connection of its own that begins with what it is, as in "strike front\n".
"""

import asyncio
import binascii
import logging
import socket
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Annotated

from msgspec import Meta

from edgegate.passes.model import CredentialKind
from edgegate.ports import (
    DeviceAbsentError,
    DeviceFaultError,
    Driver,
    DriverSettings,
    OperatingError,
    Part,
    Scan,
    SensorEdge,
    Signal,
)
from edgegate_drivers._edges import EdgeStream
from edgegate_drivers._relock import RELEASE_S_MAX, ReleaseSeconds, Relock

LINE_BYTES_MAX = 8192
SCANS_MAX = 64
"""Scans that may wait; when full the newest is dropped, as a busy reader does."""
SIGNAL_BYTES_MAX = 4096
"""Bytes of answers that may wait for the board; when full a new answer is dropped."""
LEVEL_TIMEOUT_S = 5.0
LEVELS = {"0": False, "1": True}

log = logging.getLogger(__name__)


class ChannelSettings(DriverSettings, frozen=True, kw_only=True):
    """Which channel of which board."""

    socket: Annotated[str, Meta(min_length=1, max_length=107)]
    """The board's Unix socket; its length is limited by unix(7)."""
    channel: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]

    def claims(self) -> tuple[str, ...]:
        """The channel, for nobody else."""
        return (f"virtual {self.socket} {self.channel}",)


class ReaderSettings(ChannelSettings, frozen=True, kw_only=True):
    """A reader."""


class SensorSettings(ChannelSettings, frozen=True, kw_only=True):
    """A contact, a button or a fire input."""


class StrikeSettings(ChannelSettings, frozen=True, kw_only=True):
    """A strike."""

    release_s_max: ReleaseSeconds = RELEASE_S_MAX


class BoardLine:
    """The line of one strike (a `StrikeLine`): one send that never waits, from any thread."""

    def __init__(self, connection: socket.socket, name: str) -> None:
        self._connection = connection
        self._name = name

    def release_line(self) -> None:
        """Tell the board to release; it is in the socket when this returns."""
        self._send(b"1\n")

    def lock_line(self) -> None:
        """Tell the board to lock; it is in the socket when this returns."""
        self._send(b"0\n")

    def check_line(self) -> None:
        """Raise if the board went away; it never sends a strike anything but its end."""
        try:
            if self._connection.recv(1, socket.MSG_DONTWAIT) == b"":
                raise DeviceAbsentError(f"{self._name} went away")
        except BlockingIOError:
            pass
        except OSError as error:
            raise DeviceAbsentError(f"{self._name}: {error}") from error

    def _send(self, line: bytes) -> None:
        try:
            self._connection.send(line, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
        except BlockingIOError as error:
            raise DeviceFaultError(f"{self._name} does not take what it is sent") from error
        except OSError as error:
            raise DeviceAbsentError(f"{self._name}: {error}") from error


class LineProtocol(asyncio.Protocol):
    """Cuts what the board sends into lines for `on_line`; `on_lost` is called once at the end."""

    def __init__(
        self, on_line: Callable[[str], None], on_lost: Callable[[OperatingError], None], name: str
    ) -> None:
        self._on_line = on_line
        self._on_lost = on_lost
        self._name = name
        self._buffer = bytearray()
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport, to end it where the board talks nonsense."""
        if isinstance(transport, asyncio.WriteTransport):
            self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Hand on each whole line; a line too long ends the connection."""
        self._buffer += data
        while b"\n" in self._buffer:
            line, _, self._buffer = self._buffer.partition(b"\n")
            self._on_line(line.decode("ascii", errors="replace"))
        if len(self._buffer) > LINE_BYTES_MAX and self._transport is not None:
            self._transport.abort()

    def connection_lost(self, error: Exception | None) -> None:
        """Say that the device is absent, whoever ended the connection."""
        self._on_lost(DeviceAbsentError(f"{self._name} went away: {error or 'end of stream'}"))


class BoardReader:
    """A reader of the board."""

    def __init__(self) -> None:
        self.bad_lines = 0
        self.scans_dropped = 0
        self.signals_dropped = 0
        self._waiting: deque[Scan] = deque()
        self._lost: OperatingError | None = None
        self._woken = asyncio.Event()
        self._transport: asyncio.WriteTransport | None = None

    def attach(self, transport: asyncio.WriteTransport) -> None:
        """Send answers there from now on."""
        self._transport = transport

    def take_line(self, line: str) -> None:
        """Take one "KIND HEX" line as a scan; any other is counted."""
        read_ns = time.monotonic_ns()
        kind, _, digits = line.partition(" ")
        try:
            scan = Scan(
                kind=CredentialKind(kind), number=binascii.unhexlify(digits), read_ns=read_ns
            )
        except ValueError:
            self.bad_lines += 1
            log.warning("bad line from a virtual reader, the %d. so far", self.bad_lines)
            return
        if len(self._waiting) >= SCANS_MAX:
            self.scans_dropped += 1
            return
        self._waiting.append(scan)
        self._woken.set()

    def lose(self, error: OperatingError) -> None:
        """End the scans with `error`, after those that wait."""
        self._lost = error
        self._woken.set()

    async def scans(self) -> AsyncIterator[Scan]:
        """Yield scans until the board goes away, then raise `DeviceAbsentError`."""
        while True:
            self._woken.clear()
            while self._waiting:
                yield self._waiting.popleft()
            if self._lost is not None:
                raise self._lost
            await self._woken.wait()

    def show(self, signal: Signal) -> None:
        """Tell the board what to show; dropped where the board is gone or does not listen."""
        transport = self._transport
        if (
            transport is None
            or transport.is_closing()
            or transport.get_write_buffer_size() > SIGNAL_BYTES_MAX
        ):
            self.signals_dropped += 1
            return
        transport.write(f"{signal}\n".encode())


class BoardSensor:
    """A sensor of the board; `known` is set with its first level, or where it is lost before."""

    def __init__(self, name: str) -> None:
        self.known = asyncio.Event()
        self._name = name
        self._level = False
        self._lost: OperatingError | None = None
        self._stream: EdgeStream | None = None

    @property
    def active(self) -> bool:
        """The level as the board last told it; raises an `OperatingError` if it is gone."""
        self.raise_if_lost()
        return self._level

    def raise_if_lost(self) -> None:
        """Raise the `OperatingError` with which the board went away, if it did."""
        if self._lost is not None:
            raise self._lost

    def edges(self) -> AsyncIterator[SensorEdge]:
        """Yield changes until the board goes away, then raise `DeviceAbsentError`."""
        if self._stream is None:
            raise DeviceFaultError(f"{self._name} has not told its level")
        return self._stream.edges()

    def take_line(self, line: str) -> None:
        """Take "1" or "0" as the level; the first one is no change. Any other line is ignored."""
        read_ns = time.monotonic_ns()
        if line not in LEVELS:
            log.warning("bad line from %s: %.20r", self._name, line)
            return
        self._level = LEVELS[line]
        if self._stream is None:
            self._stream = EdgeStream(lambda: self.active)
            self.known.set()
        else:
            self._stream.notice(self._level, read_ns)

    def lose(self, error: OperatingError) -> None:
        """End the changes with `error`, after those that wait."""
        self._lost = error
        self.known.set()
        if self._stream is not None:
            self._stream.lose(error)


@asynccontextmanager
async def open_reader(settings: ReaderSettings) -> AsyncIterator[BoardReader]:
    """Connect to a reader's channel; raises `DeviceAbsentError` where no board listens."""
    reader = BoardReader()
    async with _connected("reader", settings, reader.take_line, reader.lose) as transport:
        reader.attach(transport)
        yield reader


@asynccontextmanager
async def open_sensor(settings: SensorSettings) -> AsyncIterator[BoardSensor]:
    """Connect to a sensor's channel and wait for its level; raises an `OperatingError`."""
    sensor = BoardSensor(f"sensor {settings.channel}")
    async with _connected("sensor", settings, sensor.take_line, sensor.lose):
        try:
            async with asyncio.timeout(LEVEL_TIMEOUT_S):
                await sensor.known.wait()
        except TimeoutError as error:
            raise DeviceFaultError(f"sensor {settings.channel} does not tell its level") from error
        sensor.raise_if_lost()
        yield sensor


@asynccontextmanager
async def open_strike(settings: StrikeSettings) -> AsyncIterator[Relock]:
    """Connect to a strike's channel, lock it and yield it; raises `DeviceAbsentError`."""
    name = f"virtual {settings.channel}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.setblocking(False)
        try:
            connection.connect(settings.socket)
            connection.send(f"strike {settings.channel}\n0\n".encode(), socket.MSG_NOSIGNAL)
        except OSError as error:
            raise DeviceAbsentError(f"{settings.socket}: {error}") from error
        strike = Relock(
            BoardLine(connection, name), name=name, release_s_max=settings.release_s_max
        )
        try:
            yield strike
        finally:
            strike.close()


@asynccontextmanager
async def _connected(
    kind: str,
    settings: ChannelSettings,
    on_line: Callable[[str], None],
    on_lost: Callable[[OperatingError], None],
) -> AsyncIterator[asyncio.WriteTransport]:
    name = f"{kind} {settings.channel}"
    try:
        transport, _ = await asyncio.get_running_loop().create_unix_connection(
            lambda: LineProtocol(on_line, on_lost, name), settings.socket
        )
    except OSError as error:
        raise DeviceAbsentError(f"{settings.socket}: {error}") from error
    try:
        transport.write(f"{name}\n".encode())
        yield transport
    finally:
        transport.close()


DRIVER = Driver(
    reader=Part(ReaderSettings, open_reader),
    strike=Part(StrikeSettings, open_strike),
    sensor=Part(SensorSettings, open_sensor),
)
