"""Strikes and sensors on the GPIO lines of this machine's own chips, by the kernel's gpiod."""

import asyncio
import errno
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Annotated, Literal

from msgspec import Meta

from edgegate.ports import (
    DeviceAbsentError,
    DeviceBusyError,
    DeviceFaultError,
    Driver,
    DriverSettings,
    LibraryMissingError,
    OperatingError,
    Part,
    SensorEdge,
)
from edgegate_drivers._edges import EdgeStream
from edgegate_drivers._relock import RELEASE_S_MAX, ReleaseSeconds, Relock

if TYPE_CHECKING:
    import gpiod
    from gpiod.line import Value

DEVICES = Path("/dev")

LABELS = ("pinctrl-rp1", "pinctrl-bcm2711", "pinctrl-bcm2835")
"""The chips with the header's lines: of the Raspberry Pi 5, 4, and 0 to 3 (their kernel drivers).

Numbers are no names: the Pi 5's header moved from gpiochip4 to gpiochip0 (PITFALLS G5).
"""

ABSENT = frozenset({errno.ENODEV, errno.ENOENT, errno.ENXIO})

CONSUMER = "edgegate"
"""The name by which `gpioinfo` shows our lines."""

Chip = Annotated[
    str, Meta(pattern=r"^(auto|/dev/gpiochip[0-9]{1,3}|[A-Za-z0-9][A-Za-z0-9_.:-]{0,30})$")
]
"""`auto`, a chip's label, or its device; a label has at most 31 characters (GPIO_MAX_NAME_SIZE)."""

Line = Annotated[int, Meta(ge=0, le=1023)]
"""A line's offset in its chip; on a Raspberry Pi the number in its GPIO name."""


class StrikeSettings(DriverSettings, frozen=True, kw_only=True):
    """A relay or transistor that feeds a strike."""

    line: Line
    chip: Chip = "auto"
    active_high: bool = True
    """Whether the strike gets current at the high level."""
    fail: Literal["secure", "safe"] = "secure"
    """A fail-safe strike is locked while it gets current, a fail-secure one while it does not."""
    release_s_max: ReleaseSeconds = RELEASE_S_MAX

    def claims(self) -> tuple[str, ...]:
        """The line, for nobody else."""
        return (f"gpio {self.chip} {self.line}",)


class SensorSettings(DriverSettings, frozen=True, kw_only=True):
    """A door contact, a button or a fire input."""

    line: Line
    chip: Chip = "auto"
    active_high: bool = True
    """Whether the high level means open, pressed, alarm."""
    bias: Literal["pull-up", "pull-down", "disabled", "as-is"] = "pull-up"
    debounce_ms: Annotated[int, Meta(ge=0, le=1000)] = 20

    def claims(self) -> tuple[str, ...]:
        """The line, for nobody else."""
        return (f"gpio {self.chip} {self.line}",)


class GpioLine:
    """The line of one strike, requested as an output (a `StrikeLine`)."""

    def __init__(
        self, request: "gpiod.LineRequest", line: int, *, locked: "Value", released: "Value"
    ) -> None:
        self._request = request
        self._line = line
        self._locked = locked
        self._released = released

    def release_line(self) -> None:
        """Drive the line to unlocked."""
        with _operating(f"line {self._line}"):
            self._request.set_value(self._line, self._released)

    def lock_line(self) -> None:
        """Drive the line to locked."""
        with _operating(f"line {self._line}"):
            self._request.set_value(self._line, self._locked)

    def check_line(self) -> None:
        """Raise if the chip went away."""
        with _operating(f"line {self._line}"):
            self._request.get_value(self._line)


class GpioSensor:
    """A sensor on one line, requested as an input with its edges."""

    def __init__(self, request: "gpiod.LineRequest", line: int) -> None:
        self._request = request
        self._line = line
        self._stream = EdgeStream(self._read)
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(request.fd, self._on_edges)

    @property
    def active(self) -> bool:
        """The level as the kernel has it now; raises an `OperatingError` if the chip is gone."""
        return self._read()

    def edges(self) -> AsyncIterator[SensorEdge]:
        """Yield the changes that the kernel has debounced, and what a level read found later."""
        return self._stream.edges()

    def close(self) -> None:
        """Stop listening; an iteration that still waits ends with `DeviceAbsentError`."""
        self._loop.remove_reader(self._request.fd)
        self._stream.lose(DeviceAbsentError(f"line {self._line} is closed"))

    def _read(self) -> bool:
        with _operating(f"line {self._line}"):
            return bool(self._request.get_value(self._line))

    def _on_edges(self) -> None:
        try:
            with _operating(f"line {self._line}"):
                events = self._request.read_edge_events()
        except OperatingError as error:
            # A lost descriptor stays readable: to listen on would spin (PITFALLS E4).
            self._loop.remove_reader(self._request.fd)
            self._stream.lose(error)
            return
        for event in events:
            # The kernel's edges are logical ones and CLOCK_MONOTONIC is `time.monotonic_ns`.
            self._stream.notice(event.event_type is event.Type.RISING_EDGE, event.timestamp_ns)


@asynccontextmanager
async def open_strike(settings: StrikeSettings) -> AsyncIterator[Relock]:
    """Request the line, locked from its first moment, and yield the strike.

    Raises:
        OperatingError: if chip or line is absent, busy or faulty.
        LibraryMissingError: if gpiod is not installed.
    """
    gpiod, path = await asyncio.to_thread(_found, settings.chip)
    value = gpiod.line.Value
    locked, released = (value.INACTIVE, value.ACTIVE)
    if settings.fail == "safe":
        locked, released = (released, locked)
    wanted = gpiod.LineSettings(
        direction=gpiod.line.Direction.OUTPUT,
        active_low=not settings.active_high,
        # Level and direction in one call: there is no glitch (PITFALLS G1, G3).
        output_value=locked,
    )
    with _requested(gpiod, path, settings.line, wanted) as request:
        strike = Relock(
            GpioLine(request, settings.line, locked=locked, released=released),
            name=f"gpio {settings.chip} {settings.line}",
            release_s_max=settings.release_s_max,
        )
        try:
            yield strike
        finally:
            strike.close()


@asynccontextmanager
async def open_sensor(settings: SensorSettings) -> AsyncIterator[GpioSensor]:
    """Request the line with its edges and yield the sensor.

    Raises:
        OperatingError: if chip or line is absent, busy or faulty.
        LibraryMissingError: if gpiod is not installed.
    """
    gpiod, path = await asyncio.to_thread(_found, settings.chip)
    wanted = gpiod.LineSettings(
        direction=gpiod.line.Direction.INPUT,
        edge_detection=gpiod.line.Edge.BOTH,
        active_low=not settings.active_high,
        bias=gpiod.line.Bias[settings.bias.replace("-", "_").upper()],
        debounce_period=timedelta(milliseconds=settings.debounce_ms),
        event_clock=gpiod.line.Clock.MONOTONIC,
    )
    with _requested(gpiod, path, settings.line, wanted) as request:
        sensor = GpioSensor(request, settings.line)
        try:
            yield sensor
        finally:
            sensor.close()


def _found(chip: str) -> tuple[ModuleType, Path]:
    """Load the library and find the chip; slow on a small machine, so not for the event loop."""
    gpiod = _library()
    return gpiod, _chip_path(gpiod, chip)


def _library() -> ModuleType:
    try:
        import gpiod  # noqa: PLC0415 - only where a driver of this kind is opened
    except ModuleNotFoundError as error:
        raise LibraryMissingError(
            f"the driver gpio needs {error.name}: pip install 'edgegate[gpio]'"
        ) from error
    return gpiod


@contextmanager
def _requested(
    gpiod: ModuleType, path: Path, line: int, wanted: "gpiod.LineSettings"
) -> Iterator["gpiod.LineRequest"]:
    with _operating(str(path)), gpiod.Chip(str(path)) as chip:
        lines = chip.get_info().num_lines
        if line >= lines:
            raise DeviceFaultError(f"{path} has lines 0 to {lines - 1}, not {line}")
        try:
            request = chip.request_lines({line: wanted}, consumer=CONSUMER)
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
            holder = chip.get_line_info(line).consumer
            raise DeviceBusyError(f"{path} line {line} is held by {holder!r}") from error
    try:
        yield request
    finally:
        request.release()


def _chip_path(gpiod: ModuleType, name: str) -> Path:
    """Find a chip's device by its label, or by the known ones; a device is itself."""
    if name.startswith("/"):
        return Path(name)
    found: dict[str, Path] = {}
    unreadable = ""
    for path in sorted(DEVICES.glob("gpiochip*"), key=lambda path: (len(path.name), path.name)):
        if gpiod.is_gpiochip_device(str(path)):
            try:
                with gpiod.Chip(str(path)) as chip:
                    found.setdefault(chip.get_info().label, path)
            except OSError as error:
                # It may not be the one that is wanted.
                unreadable += f"; {path}: {error}"
    for label in LABELS if name == "auto" else (name,):
        if label in found:
            return found[label]
    raise DeviceAbsentError(
        f"no GPIO chip {name!r}; this machine has {', '.join(sorted(found)) or 'none'}{unreadable}"
    )


@contextmanager
def _operating(what: str) -> Iterator[None]:
    """Turn the errors of the system into ours."""
    try:
        yield
    except OSError as error:
        kind = DeviceAbsentError if error.errno in ABSENT else DeviceFaultError
        raise kind(f"{what}: {error}") from error


DRIVER = Driver(strike=Part(StrikeSettings, open_strike), sensor=Part(SensorSettings, open_sensor))
