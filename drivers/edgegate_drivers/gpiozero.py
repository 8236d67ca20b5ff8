"""Strikes and sensors on the pins that gpiozero reaches: pigpio over the network, and what has it.

Where the lines are this machine's own the driver `gpio` is the better one: gpiozero turns a pin
into an input before it makes it an output, and again when it closes it (PITFALLS G2), so the wiring
must pull it to locked.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any, Literal

from msgspec import Meta

from edgegate.ports import (
    DeviceAbsentError,
    Driver,
    DriverSettings,
    OperatingError,
    Part,
    SensorEdge,
)
from edgegate_drivers._edges import EdgeStream
from edgegate_drivers._pin_factories import borrowed_factory, operating, reach
from edgegate_drivers._relock import RELEASE_S_MAX, ReleaseSeconds, Relock

BOUNCE_NS_MAX = 1_000_000_000
"""How long edges may follow each other before the level is read in spite of them."""

PULLS = {"pull-up": "up", "pull-down": "down", "disabled": "floating"}

FactoryName = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_]{0,31}$")]
"""A name in gpiozero's entry-point group: lgpio, pigpio, rpigpio, native, mock, or an add-on's."""


log = logging.getLogger(__name__)


class PinSettings(DriverSettings, frozen=True, kw_only=True):
    """Which pin, and by which of gpiozero's pin factories."""

    factory: FactoryName
    """Used as named: where it does not work there is an error and no other one instead."""
    line: Annotated[int, Meta(ge=0, le=1023)]
    """The number in the pin's GPIO name."""
    host: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.:-]{1,253}$")] = "localhost"
    """Where pigpiod runs; for `pigpio` only, and PIGPIO_ADDR is not looked at."""
    port: Annotated[int, Meta(ge=1, le=65535)] = 8888
    active_high: bool = True

    def claims(self) -> tuple[str, ...]:
        """The pin, for nobody else; a local one is the line that the driver `gpio` may claim."""
        chip = "auto"
        if self.factory == "pigpio":
            chip = f"{self.host}:{self.port}"
        return (f"gpio {chip} {self.line}",)


class StrikeSettings(PinSettings, frozen=True, kw_only=True):
    """A relay or transistor that feeds a strike; `active_high`: current at the high level."""

    fail: Literal["secure", "safe"] = "secure"
    """A fail-safe strike is locked while it gets current, a fail-secure one while it does not."""
    release_s_max: ReleaseSeconds = RELEASE_S_MAX


class SensorSettings(PinSettings, frozen=True, kw_only=True):
    """A contact, a button or a fire input; `active_high`: high is open, pressed, alarm."""

    bias: Literal["pull-up", "pull-down", "disabled"] = "pull-up"
    debounce_ms: Annotated[int, Meta(ge=0, le=1000)] = 20


class PinLine:
    """The pin of one strike (a `StrikeLine`)."""

    def __init__(self, pin: Any, *, locked: bool) -> None:
        self._pin = pin
        self._locked = locked

    def release_line(self) -> None:
        """Drive the pin to unlocked."""
        with operating(self._pin):
            self._pin.state = not self._locked

    def lock_line(self) -> None:
        """Drive the pin to locked."""
        with operating(self._pin):
            self._pin.state = self._locked

    def check_line(self) -> None:
        """Raise if the pin cannot be read."""
        with operating(self._pin):
            _ = self._pin.state


class PinSensor:
    """A sensor on one pin, debounced here: gpiozero's `bounce_time` loses edges (PITFALLS G8)."""

    def __init__(self, pin: Any, settings: SensorSettings) -> None:
        self._pin = pin
        self._active_high = settings.active_high
        self._debounce_s = settings.debounce_ms / 1000
        self._loop = asyncio.get_running_loop()
        self._settled = self.active
        self._timer: asyncio.TimerHandle | None = None
        self._bouncing_since_ns = 0
        self._stream = EdgeStream(self._read_settled)
        with operating(pin):
            pin.edges = "both"
            pin.when_changed = self._on_change

    @property
    def active(self) -> bool:
        """The level as the pin has it now; raises an `OperatingError` if it cannot be read."""
        with operating(self._pin):
            return bool(self._pin.state) == self._active_high

    def edges(self) -> AsyncIterator[SensorEdge]:
        """Yield changes that lasted `debounce_ms`, and what a level read found later."""
        return self._stream.edges()

    def close(self) -> None:
        """Stop listening; an iteration that still waits ends with `DeviceAbsentError`."""
        try:
            with operating(self._pin):
                self._pin.when_changed = None
        except OperatingError:
            log.info("%r was gone before it was closed", self._pin)
        if self._timer is not None:
            self._timer.cancel()
        self._stream.lose(DeviceAbsentError(f"{self._pin!r} is closed"))

    def _on_change(self, _ticks: object, _state: object) -> None:
        """Take an edge in the library's own thread."""
        read_ns = time.monotonic_ns()
        # The loop may be closed already: the library's thread outlives it.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._bounce, read_ns)

    def _bounce(self, read_ns: int) -> None:
        """Wait for `debounce_ms` without an edge, but not for ever where they never end."""
        if self._timer is None:
            self._bouncing_since_ns = read_ns
        elif read_ns - self._bouncing_since_ns > BOUNCE_NS_MAX:
            return
        else:
            self._timer.cancel()
        self._timer = self._loop.call_later(self._debounce_s, self._settle)

    def _settle(self) -> None:
        self._timer = None
        try:
            self._settled = self.active
        except OperatingError as error:
            self._stream.lose(error)
        else:
            self._stream.notice(self._settled, self._bouncing_since_ns)

    def _read_settled(self) -> bool:
        if self._timer is None:
            self._settled = self.active
        return self._settled


@asynccontextmanager
async def open_strike(settings: StrikeSettings) -> AsyncIterator[Relock]:
    """Take the pin as an output, locked from its first moment as far as its factory can.

    Raises:
        OperatingError: if the factory does not work here, or the pin is busy or faulty.
        LibraryMissingError: if gpiozero, or what the factory needs, is not installed.
    """
    locked = (settings.fail == "safe") == settings.active_high
    async with _taken_pin(settings) as pin:
        with operating(pin):
            _claim_output(settings.factory, pin, locked)
        strike = Relock(
            PinLine(pin, locked=locked),
            name=settings.claims()[0],
            release_s_max=settings.release_s_max,
        )
        try:
            yield strike
        finally:
            strike.close()


@asynccontextmanager
async def open_sensor(settings: SensorSettings) -> AsyncIterator[PinSensor]:
    """Take the pin as an input and yield the sensor; raises as `open_strike`."""
    async with _taken_pin(settings) as pin:
        with operating(pin):
            pin.input_with_pull(PULLS[settings.bias])
        sensor = PinSensor(pin, settings)
        try:
            yield sensor
        finally:
            sensor.close()


def _claim_output(factory: str, pin: Any, level: bool) -> None:
    """Make a pin an output with a level.

    gpiozero's own way is to make it an output and then to write it, which pulses a strike whose
    locked level is high (its pull request 1177); both libraries below can do it in one call.
    """
    if factory == "lgpio":
        import lgpio  # noqa: PLC0415 - only where this factory is used

        handle, number = pin.factory._handle, pin._number  # noqa: SLF001 - as in that request
        lgpio.gpio_claim_output(handle, number, level)
    elif factory == "pigpio":
        # pigpiod sets the level before the mode.
        pin.factory.connection.write(pin._number, level)  # noqa: SLF001 - its only name
    else:
        pin.output_with_state(level)


@asynccontextmanager
async def _taken_pin(settings: PinSettings) -> AsyncIterator[Any]:
    if settings.factory == "pigpio":
        await reach(settings.host, settings.port)
    async with borrowed_factory(settings.factory, settings.host, settings.port) as factory:
        from gpiozero import GPIODevice  # noqa: PLC0415 - only where a driver of this kind is opened

        with operating(None):
            device = GPIODevice(settings.line, pin_factory=factory)
        try:
            yield device.pin
        finally:
            _close(device)


def _close(device: Any) -> None:
    try:
        with operating(device.pin):
            device.close()
    except OperatingError as error:
        log.warning("a pin was gone before it was closed: %s", error)
        # Else its finalizer would try again, and fail where nobody hears it.
        device._pin = None  # noqa: SLF001 - the library has no other way to say so


DRIVER = Driver(strike=Part(StrikeSettings, open_strike), sensor=Part(SensorSettings, open_sensor))
