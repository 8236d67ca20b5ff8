"""QR and barcode scanners that act as a keyboard (evdev), grabbed so that nobody else hears them.

Events are read by the event loop's own watch of the descriptor: a time-out around the library's
`async_read_loop` loses a batch of events.
"""

import errno
import os
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated, Any, Final

from msgspec import Meta

from edgegate.ports import DeviceAbsentError, DeviceFaultError, Driver, Part
from edgegate_drivers._codes import CodeScanner, CodeSettings
from edgegate_drivers._devices import device_error, library, opened_in_thread
from edgegate_drivers._hid_keymap import ENDS, ENTER, KeyDecoder, Layout
from edgegate_drivers._reader import QueuedReader

if TYPE_CHECKING:
    import evdev

# Linux, include/uapi/linux/input-event-codes.h and Documentation/input/event-codes.rst.
EV_SYN: Final = 0
EV_KEY: Final = 1
SYN_REPORT: Final = 0
SYN_DROPPED: Final = 3
_UP, _DOWN = 0, 1

UsbId = Annotated[int, Meta(ge=0, le=0xFFFF)]


class Settings(CodeSettings, frozen=True, kw_only=True):
    """A keyboard scanner, found by its udev link or by what it says of itself.

    Attributes:
        path: Its link, `/dev/input/by-id/…-event-kbd` or `by-path`; not `/dev/input/event7`, whose
            number is another one after the next start. Without it, one of the next three is needed.
        vendor: USB vendor id, such as 0x0c2e.
        product: USB product id.
        model: The whole name that the device gives itself, as `evtest` lists it.
        layout: The keyboard layout the scanner is set to: us, gb, de, fr.
        kind: What its codes are taken for: a `CredentialKind`.
        pause_ms: Milliseconds of silence that end a code; 0: only Enter does.
        length_max: Bytes in UTF-8; a longer code is dropped whole and counted.
    """

    path: Annotated[str, Meta(min_length=1)] | None = None
    vendor: UsbId | None = None
    product: UsbId | None = None
    model: Annotated[str, Meta(min_length=1)] | None = None
    layout: Layout = "us"

    def __post_init__(self) -> None:
        """Refuse settings that name no device, or one that changes its name."""
        matches = (self.vendor, self.product, self.model)
        if self.path is None and matches == (None, None, None):
            raise ValueError("set `path`, or one of `vendor`, `product`, `model`")
        if self.path is not None and matches != (None, None, None):
            raise ValueError("set either `path` or `vendor`, `product`, `model`, not both")
        if self.path is not None and re.search(r"/event[0-9]+$", self.path):
            raise ValueError("`path` must be a link of /dev/input/by-id or by-path")

    def claims(self) -> tuple[str, ...]:
        """Name the input device."""
        return (f"input {self.device_text()}",)

    def device_text(self) -> str:
        """The device, as messages name it."""
        if self.path is not None:
            return os.path.normpath(self.path)
        ids = {"vendor": self.vendor, "product": self.product}
        text = [f"{key} {value:04x}" for key, value in ids.items() if value is not None]
        return ", ".join([*text, *([f"model {self.model}"] if self.model is not None else [])])


class _HidScanner(CodeScanner):
    def __init__(self, settings: Settings, device: "evdev.InputDevice[str]") -> None:
        super().__init__(settings, settings.device_text())
        self._device = device
        self._keys = KeyDecoder(settings.layout)
        self._lost = False

    def take(self) -> Iterator[bytes]:
        events = list(self._device.read())
        self.stamp()
        if not events:
            raise OSError(errno.ENODEV, "end of file")
        for event in events:
            if event.type == EV_SYN:
                self._synchronise(event.code)
            elif event.type == EV_KEY and not self._lost:
                code = self._key(event.code, event.value)
                if code is not None:
                    yield code

    def end_code(self) -> bytes | None:
        self.code.add(self._keys.flush().encode())
        return super().end_code()

    def _key(self, key: int, value: int) -> bytes | None:
        """Take one key event; the code, if it ended one."""
        if value == _UP:
            self._keys.release(key)
        # Any other value is the kernel's auto-repeat of a key that is held down.
        elif value == _DOWN:
            if key in ENDS:
                return self.end_code()
            text = self._keys.press(key)
            if text is None:
                # A code without the character that this key stands for would be another code.
                self.code.spoil()
            else:
                self.code.add(text.encode())
        return None

    def _synchronise(self, code: int) -> None:
        """After SYN_DROPPED, what comes up to the next report is to be ignored."""
        if code == SYN_DROPPED:
            self._lost = True
            self.code.spoil()
        elif code == SYN_REPORT and self._lost:
            self._lost = False
            # To ask the device what it holds would discard the key events that wait in the
            # kernel, and so cut the next code; between two codes a scanner holds nothing.
            self._keys.reset()


def _matches(settings: Settings, device: "evdev.InputDevice[Any]") -> bool:
    wanted = ((settings.vendor, device.info.vendor), (settings.product, device.info.product))
    return (
        all(value is None or value == actual for value, actual in wanted)
        and settings.model in {None, device.name}
        # A scanner may show more than one device, such as one for media keys.
        and ENTER in device.capabilities().get(EV_KEY, ())
    )


def _find(settings: Settings) -> str:
    """Where the device is now."""
    import evdev  # noqa: PLC0415 - needed only where such a scanner is configured

    if settings.path is not None:
        return settings.path
    found = []
    for path in sorted(evdev.list_devices()):
        try:
            device: evdev.InputDevice[str] = evdev.InputDevice(path)
        except OSError:
            # It went away since it was listed.
            continue
        if _matches(settings, device):
            found.append(path)
        device.close()
    if not found:
        raise DeviceAbsentError(f"no keyboard with {settings.device_text()} is there")
    if len(found) > 1:
        names = ", ".join(found)
        raise DeviceFaultError(f"{settings.device_text()} is not one device but {names}; set path")
    return found[0]


def _open_device(settings: Settings) -> "evdev.InputDevice[str]":
    with library("hid", "evdev"):
        import evdev  # noqa: PLC0415 - needed only where such a scanner is configured
    path = _find(settings)
    try:
        device: evdev.InputDevice[str] = evdev.InputDevice(path)
    except OSError as error:
        raise device_error(error, path) from error
    try:
        device.grab()
    except OSError as error:
        device.close()
        raise device_error(error, path) from error
    return device


@asynccontextmanager
async def open_reader(settings: Settings) -> AsyncIterator[QueuedReader]:
    """Find the scanner, take it for this process alone, and yield its reader.

    Raises:
        LibraryMissingError: without evdev.
        DeviceAbsentError: if it is not there; from `scans()`: if it went away.
        DeviceBusyError: if somebody else has grabbed it.
        DeviceFaultError: if it cannot be opened, or if more than one device matches.
    """
    async with opened_in_thread(
        lambda: _open_device(settings), lambda device: device.close()
    ) as device:
        with _HidScanner(settings, device).attached(device.fileno()) as reader:
            yield reader


DRIVER = Driver(reader=Part(Settings, open_reader))
