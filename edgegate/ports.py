"""What the core needs from the outside: readers, strikes, sensors, and the shape of a driver.

Drivers see this module and the rules' types, nothing else of edgegate.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import msgspec

from edgegate.passes.model import CredentialKind


class OperatingError(Exception):
    """Something outside is not as it should be; the supervisor tries again."""


class DeviceAbsentError(OperatingError):
    """The device is not there, or went away."""


class DeviceBusyError(OperatingError):
    """Somebody else holds the device; the message names the holder where it can be known."""


class DeviceFaultError(OperatingError):
    """The device is there and does not do what it should."""


class LibraryMissingError(Exception):
    """The driver's own library is not installed; the message names it and how to get it."""


class Scan(msgspec.Struct, frozen=True, kw_only=True):
    """One credential as a reader read it."""

    kind: CredentialKind
    number: bytes
    """The card's id as raw bytes, or the code's characters as the scanner sent them."""
    read_ns: int
    """`time.monotonic_ns()` when its last byte was read."""


class Signal(StrEnum):
    """What a reader shows for a scan."""

    GRANTED = "granted"
    REFUSED = "refused"


class Reader(Protocol):
    """A source of scans."""

    def scans(self) -> AsyncIterator[Scan]:
        """Yield scans until the device goes away, then raise an `OperatingError`."""

    def show(self, signal: Signal) -> None:
        """Light or sound the answer; returns at once, and a reader without lights ignores it."""


class Strike(Protocol):
    """The lock of a door, whatever its wiring: the driver knows levels, callers know meaning."""

    def release(self, for_s: float) -> None:
        """Unlock now and lock again by itself after `for_s` seconds at the most.

        A later call moves that instant. The driver keeps the time on its own, so that a caller
        that hangs leaves the door locked; to hold a door open is to call again and again.

        Raises:
            OperatingError: if the line could not be driven; the door may then not have opened.
        """

    def lock(self) -> None:
        """Lock now; safe to call at any time and from any state."""

    def leave_released(self) -> None:
        """Release for good: neither time nor closing locks it any more.

        For a fail-safe strike under fire when the process ends; there is no way back.
        """

    async def watch(self) -> None:
        """Wait until the device goes away, then raise an `OperatingError`."""


class SensorEdge(msgspec.Struct, frozen=True, kw_only=True):
    """A change of a sensor: active means door open, button pressed, fire alarm raised."""

    active: bool
    read_ns: int
    """`time.monotonic_ns()` of the change."""


class Sensor(Protocol):
    """A contact, a button or a fire input."""

    @property
    def active(self) -> bool:
        """The level as it is now, read from the device."""

    def edges(self) -> AsyncIterator[SensorEdge]:
        """Yield debounced changes until the device goes away, then raise an `OperatingError`."""


class ClockTrust(StrEnum):
    """How far the wall clock can be believed."""

    TRUSTED = "trusted"
    HOLDOVER = "holdover"
    UNTRUSTED = "untrusted"


class Clock(Protocol):
    """The time that decisions are taken by."""

    def now(self) -> datetime:
        """The instant, in UTC."""

    def trust(self) -> ClockTrust:
        """How far `now()` can be believed."""


class Correction(NamedTuple):
    """A clock that nobody had believed was set, at an instant of its computer's monotonic clock."""

    at: datetime
    """What it said from then on."""
    made_s: float
    """When that was, in seconds since boot."""
    by: timedelta
    """How much later it said so than before."""

    def right(self, since_boot_s: float) -> datetime:
        """The right time at so many seconds since boot, be it before the correction."""
        return self.at + timedelta(seconds=since_boot_s - self.made_s)

    def dated(self, at: datetime, since_boot_s: float) -> datetime:
        """What the clock said at so many seconds since boot, put right if that was before."""
        return at + self.by if since_boot_s < self.made_s else at


class DriverStatus(StrEnum):
    """How a configured device is doing; kiosk and cloud show it."""

    ENABLED = "enabled"
    DISABLED = "disabled"
    LOAD_ERROR = "load_error"
    CONFIG_ERROR = "config_error"
    SELF_CHECK_FAILED = "self_check_failed"
    OFFLINE = "offline"


class DriverSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The keys a driver takes in the configuration; its fields are those keys."""

    def claims(self) -> tuple[str, ...]:
        """What the device needs for itself alone ("port /dev/ttyUSB0", "gpio pinctrl-rp1 17").

        The configuration is refused where two devices claim the same.
        """
        return ()


S = TypeVar("S", bound=DriverSettings)
P_co = TypeVar("P_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Part(Generic[S, P_co]):
    """One thing a driver can open: the settings it takes, and how it is opened with them."""

    settings: type[S]
    open: Callable[[S], AbstractAsyncContextManager[P_co]]


@dataclass(frozen=True, slots=True)
class Driver:
    """What a driver module exports as `DRIVER`; its module's name is its name in the config."""

    reader: Part[Any, Reader] | None = None
    strike: Part[Any, Strike] | None = None
    sensor: Part[Any, Sensor] | None = None
