"""Keyboards that evdev opens, without /dev/uinput: pipes carry real `input_event` structures.

`FakeInputDevice` is evdev's own `InputDevice` but for what needs an ioctl, so that events are read
by the library's own C code. The rest follows the kernel's drivers/input/evdev.c: a grab excludes
the others, a full buffer is emptied and says SYN_DROPPED, a device that is gone says ENODEV at
once, and each plugging gets another event number.
"""

import errno
import fcntl
import os
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import evdev
import pytest
from evdev import ecodes

EVENT = struct.Struct("@llHHi")
"""struct input_event of a 64-bit kernel."""

BUFFER_EVENTS_MAX = 64
"""What the kernel keeps for a client that does not read (EVDEV_MIN_BUFFER_SIZE)."""


class FakeKeyboard:
    """A keyboard, plugged or not; `pressed` is the history of the keys that went down."""

    def __init__(
        self,
        name: str = "Scan Co QR",
        vendor: int = 0x0C2E,
        product: int = 0x0B61,
        keys: tuple[int, ...] = (ecodes.KEY_A, ecodes.KEY_ENTER),
    ) -> None:
        self.name = name
        self.info = evdev.DeviceInfo(ecodes.BUS_USB, vendor, product, 0x0110)
        self.keys = keys
        self.clients: list[FakeInputDevice] = []
        self.holder: FakeInputDevice | None = None
        self.pressed: list[int] = []

    def tap(self, *keys: int, held: tuple[int, ...] = ()) -> None:
        """Press and release each key, with others held meanwhile."""
        for key in held:
            self.key(key, 1)
        for key in keys:
            self.key(key, 1)
            self.key(key, 0)
        for key in held:
            self.key(key, 0)

    def key(self, key: int, value: int) -> None:
        """Send one key event as its own packet: 1 down, 0 up, 2 auto-repeat."""
        if value == 1:
            self.pressed.append(key)
        self.packet((ecodes.EV_MSC, ecodes.MSC_SCAN, key), (ecodes.EV_KEY, key, value))

    def packet(self, *events: tuple[int, int, int]) -> None:
        """Send events and the SYN_REPORT that ends them to whom the kernel would send them."""
        receivers = [self.holder] if self.holder is not None else self.clients
        for client in receivers:
            client.receive([*events, (ecodes.EV_SYN, ecodes.SYN_REPORT, 0)])


class FakeInputDevice(evdev.InputDevice[str]):
    """One opening of a keyboard."""

    def __init__(self, path: str, keyboard: FakeKeyboard) -> None:
        self.path = path
        self.fd, self._write_end = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self.info = keyboard.info
        self.name = keyboard.name
        self.phys, self.uniq, self.version, self.ff_effects_count = "", "", 0x010001, 0
        self._rawcapabilities = {ecodes.EV_SYN: [], ecodes.EV_KEY: list(keyboard.keys)}
        self._keyboard = keyboard
        self._queued = 0
        self.gone = False
        keyboard.clients.append(self)

    def receive(self, events: list[tuple[int, int, int]]) -> None:
        """Buffer events as the kernel does for one client."""
        waiting = fcntl.ioctl(self.fd, 0x541B, b"\0\0\0\0")  # FIONREAD
        if struct.unpack("i", waiting)[0] // EVENT.size + len(events) > BUFFER_EVENTS_MAX:
            os.read(self.fd, 1 << 16)
            events = [(ecodes.EV_SYN, ecodes.SYN_DROPPED, 0), *events]
        at_s, rest_ns = divmod(time.time_ns(), 1_000_000_000)
        raw = b"".join(EVENT.pack(at_s, rest_ns // 1000, *event) for event in events)
        os.write(self._write_end, raw)

    def read(self) -> Iterator[evdev.InputEvent]:
        """Read as evdev does; what was still buffered when the device went is lost."""
        if self.gone:
            raise OSError(errno.ENODEV, os.strerror(errno.ENODEV))
        return super().read()

    def grab(self) -> None:
        """Take the events for this opening alone."""
        if self._keyboard.holder not in {None, self}:
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))
        self._keyboard.holder = self

    def hang_up(self) -> None:
        """The keyboard was pulled: the descriptor becomes readable for good."""
        self.gone = True
        os.close(self._write_end)

    def close(self) -> None:
        """Close, which lets go of a grab."""
        if self.fd > -1:
            if self._keyboard.holder is self:
                self._keyboard.holder = None
            if not self.gone:
                self._keyboard.clients.remove(self)
                os.close(self._write_end)
        super().close()

    def __hash__(self) -> int:
        return id(self)

    def __eq__(self, other: object) -> bool:
        return self is other


class FakeInputs:
    """The folder of input devices; evdev looks here while the fixture `inputs` is in use."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.nodes: dict[str, FakeKeyboard] = {}
        self._number = 2

    def plug(self, keyboard: FakeKeyboard, link: str | None = None) -> str:
        """Make the keyboard's node, and udev's link to it; returns the link, or the node."""
        self._number += 1
        node = self.folder / f"event{self._number}"
        node.touch()
        self.nodes[str(node)] = keyboard
        if link is None:
            return str(node)
        path = self.folder / link
        path.unlink(missing_ok=True)
        path.symlink_to(node)
        return str(path)

    def unplug(self, keyboard: FakeKeyboard) -> None:
        """Take the keyboard away from under whoever has it open."""
        for node in [node for node, other in self.nodes.items() if other is keyboard]:
            del self.nodes[node]
            Path(node).unlink()
        for client in keyboard.clients:
            client.hang_up()
        keyboard.clients = []
        keyboard.holder = None

    def list_devices(self) -> list[str]:
        """Stand in for `evdev.list_devices`."""
        return list(self.nodes)

    def open(self, path: str) -> FakeInputDevice:
        """Stand in for `evdev.InputDevice`."""
        node = os.path.realpath(path)
        if node not in self.nodes:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        return FakeInputDevice(path, self.nodes[node])

    def install(self, patch: pytest.MonkeyPatch) -> None:
        """Let evdev open the keyboards of this folder for the length of a test."""
        patch.setattr(evdev, "InputDevice", self.open)
        patch.setattr(evdev, "list_devices", self.list_devices)
