"""QR and barcode scanners that send their codes over a serial line or USB-CDC (pyserial)."""

import errno
import os
import termios
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated

from msgspec import Meta

from edgegate.ports import Driver, Part
from edgegate_drivers._codes import CodeScanner, CodeSettings
from edgegate_drivers._devices import device_error, library, opened_in_thread
from edgegate_drivers._reader import QueuedReader

if TYPE_CHECKING:
    import serial

_READ_BYTES_MAX = 4096
"""The size of the kernel's input buffer of a terminal: one read empties it."""


class Settings(CodeSettings, frozen=True, kw_only=True):
    """A scanner on a serial port; CR, LF, CRLF or a pause ends a code.

    Attributes:
        port: The device, best by a stable name: `/dev/serial/by-id/…`.
        baud: Bits a second, 8N1; a scanner on USB-CDC does not mind.
        kind: What its codes are taken for: a `CredentialKind`.
        pause_ms: Milliseconds of silence that end a code; 0: only CR and LF do.
        length_max: Bytes; a longer code is dropped whole and counted.
    """

    port: Annotated[str, Meta(min_length=1)]
    baud: Annotated[int, Meta(ge=300, le=4_000_000)] = 9600

    def claims(self) -> tuple[str, ...]:
        """Name the port."""
        return (f"port {os.path.normpath(self.port)}",)


class _SerialScanner(CodeScanner):
    def take(self) -> Iterator[bytes]:
        data = os.read(self._descriptor, _READ_BYTES_MAX)
        self.stamp()
        if not data:
            raise OSError(errno.ENODEV, "end of file")
        return self.code.split(data)


def _open_port(settings: Settings) -> "serial.Serial":
    with library("serial", "serial"):
        import serial  # noqa: PLC0415 - needed only where such a scanner is configured
    try:
        # An inter-byte time-out of 0 makes pyserial set VMIN = 1, without which a read that finds
        # nothing and a read from an unplugged device would both return no bytes.
        return serial.Serial(
            settings.port, settings.baud, timeout=0, inter_byte_timeout=0, exclusive=True
        )
    except (OSError, termios.error) as error:
        raise device_error(error, settings.port) from error


@asynccontextmanager
async def open_reader(settings: Settings) -> AsyncIterator[QueuedReader]:
    """Open the port, for this process alone, and yield its reader.

    Raises:
        LibraryMissingError: without pyserial.
        DeviceAbsentError: if the port is not there; from `scans()`: if it went away.
        DeviceBusyError: if somebody else holds it.
        DeviceFaultError: if it cannot be opened or set.
    """
    async with opened_in_thread(lambda: _open_port(settings), lambda port: port.close()) as port:
        with _SerialScanner(settings, settings.port).attached(port.fileno()) as reader:
            yield reader


DRIVER = Driver(reader=Part(Settings, open_reader))
