"""What every strike and every sensor owes its door, whatever moves its wire."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, Protocol

import pytest

from edgegate.ports import DeviceAbsentError, OperatingError, Sensor, SensorEdge
from edgegate_drivers import _edges, _relock, gpio, gpiozero, virtual
from edgegate_drivers._pin_factories import borrowed_factory
from edgegate_drivers._relock import Relock
from edgegate_emulators.board import Board
from fakes.fake_gpiod import FakeKernel
from fakes.fake_lgpio import FakeLgpio

TIMEOUT_S = 30.0
LINE = 17


class StrikeRig(Protocol):
    """One strike's driver on what stands in for its hardware."""

    def open(self, release_s_max: float = 10.0) -> AbstractAsyncContextManager[Relock]: ...

    def history(self) -> list[bool]:
        """Whether the strike was released, from before the driver came."""

    def wait(self, released: bool) -> None:
        """Block until the wire says so."""

    def wait_changes(self, count: int) -> None:
        """Block until the wire has changed so often in all."""

    def lose(self) -> None:
        """Take the device away."""


class GpioStrikeRig:
    def __init__(self, kernel: FakeKernel, *, active_high: bool, fail: str) -> None:
        self.kernel = kernel
        self.path = kernel.add_chip(0, "pinctrl-rp1")
        self.settings: dict[str, Any] = {"active_high": active_high, "fail": fail}
        self.locked_high = (fail == "safe") == active_high
        # The wiring pulls to locked.
        kernel.wire(self.path, LINE, self.locked_high)

    def open(self, release_s_max: float = 10.0) -> AbstractAsyncContextManager[Relock]:
        return gpio.open_strike(
            gpio.StrikeSettings(line=LINE, release_s_max=release_s_max, **self.settings)
        )

    def history(self) -> list[bool]:
        line = self.kernel.chips[self.path].lines[LINE]
        return [high != self.locked_high for _, high in line.history]

    def wait(self, released: bool) -> None:
        self.kernel.wait_high(self.path, LINE, released != self.locked_high, TIMEOUT_S)

    def wait_changes(self, count: int) -> None:
        self.kernel.wait_changes(self.path, LINE, count, TIMEOUT_S)

    def lose(self) -> None:
        self.kernel.unplug(self.path)


class LgpioStrikeRig:
    def __init__(self, chip: FakeLgpio, *, active_high: bool, fail: str) -> None:
        self.chip = chip
        self.settings: dict[str, Any] = {"active_high": active_high, "fail": fail}

    def open(self, release_s_max: float = 10.0) -> AbstractAsyncContextManager[Relock]:
        return gpiozero.open_strike(
            gpiozero.StrikeSettings(
                factory="lgpio", line=LINE, release_s_max=release_s_max, **self.settings
            )
        )

    def history(self) -> list[bool]:
        return [level != self.chip.wired for level in self.chip.history]

    def wait(self, released: bool) -> None:
        with self.chip.changed:
            assert self.chip.changed.wait_for(
                lambda: (self.chip.level != self.chip.wired) == released, TIMEOUT_S
            )

    def wait_changes(self, count: int) -> None:
        with self.chip.changed:
            assert self.chip.changed.wait_for(lambda: len(self.chip.history) > count, TIMEOUT_S)

    def lose(self) -> None:
        self.chip.lost = True


class MockRig:
    """A strike or a sensor on a pin of gpiozero's own mock factory."""

    def __init__(self, factory: Any) -> None:
        self.pin = factory.pin(LINE)

    def open(self, release_s_max: float = 10.0) -> AbstractAsyncContextManager[Relock]:
        return gpiozero.open_strike(
            gpiozero.StrikeSettings(factory="mock", line=LINE, release_s_max=release_s_max)
        )

    def open_sensor(self, debounce_ms: int = 0) -> AbstractAsyncContextManager[Sensor]:
        return gpiozero.open_sensor(
            gpiozero.SensorSettings(
                factory="mock", line=LINE, bias="disabled", debounce_ms=debounce_ms
            )
        )

    def history(self) -> list[bool]:
        return [bool(state.state) for state in self.pin.states]

    def wait(self, released: bool) -> None:
        with self.pin.changed:
            assert self.pin.changed.wait_for(lambda: self.pin._state == released, TIMEOUT_S)

    def wait_changes(self, count: int) -> None:
        with self.pin.changed:
            assert self.pin.changed.wait_for(lambda: len(self.pin.states) > count, TIMEOUT_S)

    def put(self, *levels: bool) -> None:
        for level in levels:
            (self.pin.drive_high if level else self.pin.drive_low)()

    def mute(self) -> None:
        self.pin._edges = "none"

    def lose(self) -> None:
        self.pin.lost = True


class VirtualRig:
    """A strike or a sensor of the virtual board."""

    def __init__(self, board: Board) -> None:
        self.board = board
        self.settings: dict[str, Any] = {"socket": str(board.path), "channel": "front"}

    def open(self, release_s_max: float = 10.0) -> AbstractAsyncContextManager[Relock]:
        settings = virtual.StrikeSettings(release_s_max=release_s_max, **self.settings)
        return virtual.open_strike(settings)

    def open_sensor(self) -> AbstractAsyncContextManager[Sensor]:
        return virtual.open_sensor(virtual.SensorSettings(**self.settings))

    def history(self) -> list[bool]:
        self.board.wait_connected("front", TIMEOUT_S, connected=False)
        return [False, *(level for _, level in self.board.history("front"))]

    def wait(self, released: bool) -> None:
        self.board.wait_level("front", released, TIMEOUT_S)

    def wait_changes(self, count: int) -> None:
        self.board.wait_changes("front", count, TIMEOUT_S)

    def put(self, *levels: bool) -> None:
        for level in levels:
            self.board.set_sensor("front", level)

    def lose(self) -> None:
        self.board.cut("front")


class GpioSensorRig:
    def __init__(self, kernel: FakeKernel) -> None:
        self.kernel = kernel
        self.path = kernel.add_chip(0, "pinctrl-rp1")

    def open_sensor(self, debounce_ms: int = 0) -> AbstractAsyncContextManager[Sensor]:
        return gpio.open_sensor(gpio.SensorSettings(line=LINE, debounce_ms=debounce_ms))

    def put(self, *levels: bool) -> None:
        self.kernel.wire(self.path, LINE, *levels)

    def mute(self) -> None:
        self.kernel.chips[self.path].lines[LINE].mute = True

    def lose(self) -> None:
        self.kernel.unplug(self.path)


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_relock, "WATCH_S", 0.02)
    monkeypatch.setattr(_edges, "RECONCILE_S", 0.1)


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeKernel:
    kernel = FakeKernel(tmp_path)
    kernel.install(monkeypatch)
    monkeypatch.setattr(gpio, "DEVICES", tmp_path)
    return kernel


@asynccontextmanager
async def mock_factory() -> AsyncIterator[Any]:
    from gpiozero.pins.mock import MockPin  # noqa: PLC0415 - it has no types to derive from above

    class LosablePin(MockPin):  # type: ignore[misc] # an untyped library's class
        def __init__(self, factory: Any, info: Any) -> None:
            self.lost = False
            self.changed = threading.Condition()
            super().__init__(factory, info)

        def _get_state(self) -> Any:
            if self.lost:
                raise OSError("the host went away")
            return super()._get_state()

        def _set_state(self, value: Any) -> None:
            if self.lost:
                raise OSError("the host went away")
            with self.changed:
                super()._set_state(value)
                self.changed.notify_all()

    async with borrowed_factory("mock", "", 0) as factory:
        factory.pin_class = LosablePin
        yield factory


@pytest.fixture(
    params=["gpio", "gpio-low", "gpio-safe", "gpiozero-mock", "lgpio", "lgpio-low", "virtual"]
)
async def strike_rig(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[StrikeRig]:
    name, _, variant = request.param.partition("-")
    wiring: dict[str, Any] = {
        "active_high": variant != "low",
        "fail": "safe" if variant == "safe" else "secure",
    }
    if name == "gpio":
        yield GpioStrikeRig(request.getfixturevalue("kernel"), **wiring)
    elif name == "lgpio":
        chip = FakeLgpio(LINE, wired=variant == "low")
        chip.install(monkeypatch, tmp_path)
        yield LgpioStrikeRig(chip, **wiring)
    elif name == "gpiozero":
        async with mock_factory() as factory:
            yield MockRig(factory)
    else:
        with Board(tmp_path / "board") as board:
            yield VirtualRig(board)


async def test_a_strike_opens_locked_and_closes_locked_without_a_glitch(
    strike_rig: StrikeRig,
) -> None:
    async with strike_rig.open():
        pass
    assert strike_rig.history() == [False]


async def test_a_strike_unlocks_at_once_and_locks_by_itself(strike_rig: StrikeRig) -> None:
    async with strike_rig.open() as strike:
        strike.release(0.05)
        await asyncio.to_thread(strike_rig.wait_changes, 2)
    assert strike_rig.history() == [False, True, False]


async def test_a_strike_locks_while_the_event_loop_hangs(strike_rig: StrikeRig) -> None:
    async with strike_rig.open() as strike:
        strike.release(0.05)
        # This blocks the loop: nothing runs in it until the strike is locked.
        strike_rig.wait_changes(2)


async def test_a_later_release_holds_a_strike_open(strike_rig: StrikeRig) -> None:
    async with strike_rig.open() as strike:
        strike.release(0.1)
        strike.release(9)
        await asyncio.sleep(0.25)
        strike_rig.wait(True)


async def test_lock_ends_a_release(strike_rig: StrikeRig) -> None:
    async with strike_rig.open() as strike:
        strike.lock()
        strike.release(0.1)
        strike.lock()
        strike.lock()
        await asyncio.sleep(0.2)
        strike.release(9)
        strike.lock()
        strike_rig.wait(False)
    assert strike_rig.history() == [False, True, False, True, False]


async def test_a_release_is_cut_at_its_maximum(strike_rig: StrikeRig) -> None:
    async with strike_rig.open(release_s_max=0.05) as strike:
        strike.release(3600)
        await asyncio.to_thread(strike_rig.wait_changes, 2)
        strike.release(3600)
        await asyncio.to_thread(strike_rig.wait_changes, 4)


async def test_a_strike_that_is_closed_while_released_is_locked(strike_rig: StrikeRig) -> None:
    async with strike_rig.open() as strike:
        strike.release(9)
        await asyncio.to_thread(strike_rig.wait, True)
    assert strike_rig.history() == [False, True, False]
    with pytest.raises(DeviceAbsentError):
        strike.release(1)
    strike.lock()


async def test_a_strike_can_be_opened_again(strike_rig: StrikeRig) -> None:
    for _ in range(3):
        async with strike_rig.open() as strike:
            strike.release(9)
            await asyncio.to_thread(strike_rig.wait, True)
    assert strike_rig.history() == [False, True, False, True, False, True, False]


async def test_a_strike_says_that_its_device_is_lost(strike_rig: StrikeRig) -> None:
    async with strike_rig.open() as strike:
        watching = asyncio.create_task(strike.watch())
        await asyncio.sleep(0)
        strike.release(9)
        await asyncio.to_thread(strike_rig.wait, True)
        strike_rig.lose()
        with pytest.raises(OperatingError):
            await asyncio.wait_for(watching, TIMEOUT_S)
        with pytest.raises(OperatingError):
            strike.release(1)
        strike.lock()


class SensorRig(Protocol):
    """One sensor's driver on what stands in for its hardware."""

    def open_sensor(self) -> AbstractAsyncContextManager[Sensor]: ...

    def put(self, *levels: bool) -> None:
        """Let the contact have these levels, one right after the other."""

    def lose(self) -> None:
        """Take the device away."""


@pytest.fixture(params=["gpio", "gpiozero-mock", "virtual"])
async def sensor_rig(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[SensorRig]:
    if request.param == "gpio":
        yield GpioSensorRig(request.getfixturevalue("kernel"))
    elif request.param == "gpiozero-mock":
        async with mock_factory() as factory:
            yield MockRig(factory)
    else:
        with Board(tmp_path / "board") as board:
            yield VirtualRig(board)


@pytest.fixture(params=["gpio", "gpiozero-mock"])
async def wired_rig(request: pytest.FixtureRequest) -> AsyncIterator[GpioSensorRig | MockRig]:
    if request.param == "gpio":
        yield GpioSensorRig(request.getfixturevalue("kernel"))
    else:
        async with mock_factory() as factory:
            yield MockRig(factory)


async def next_edge(sensor: Sensor) -> SensorEdge:
    async with asyncio.timeout(TIMEOUT_S):
        return await anext(aiter(sensor.edges()))


async def test_a_sensor_starts_with_its_level_and_no_change(sensor_rig: SensorRig) -> None:
    sensor_rig.put(True)
    async with sensor_rig.open_sensor() as sensor:
        assert sensor.active
        sensor_rig.put(False)
        assert not (await next_edge(sensor)).active
        assert not sensor.active


async def test_a_sensor_tells_each_change_with_its_instant(sensor_rig: SensorRig) -> None:
    async with sensor_rig.open_sensor() as sensor:
        before_ns = time.monotonic_ns()
        edges = []
        for level in (True, False, True):
            sensor_rig.put(level)
            edges.append(await next_edge(sensor))
        assert [edge.active for edge in edges] == [True, False, True]
        instants = [before_ns, *(edge.read_ns for edge in edges), time.monotonic_ns()]
        assert instants == sorted(instants)


async def test_a_sensor_keeps_changes_until_somebody_asks(sensor_rig: SensorRig) -> None:
    async with sensor_rig.open_sensor() as sensor:
        for level in (True, False, True):
            sensor_rig.put(level)
            await asyncio.sleep(0.01)
        async with asyncio.timeout(TIMEOUT_S):
            edges = sensor.edges()
            assert [(await anext(edges)).active for _ in range(3)] == [True, False, True]


async def test_a_sensor_says_that_its_device_is_lost(sensor_rig: SensorRig) -> None:
    async with sensor_rig.open_sensor() as sensor:
        waiting = asyncio.create_task(next_edge(sensor))
        await asyncio.sleep(0)
        sensor_rig.lose()
        with pytest.raises(OperatingError):
            await waiting
        with pytest.raises(OperatingError):
            _ = sensor.active


async def test_bounces_are_one_change(wired_rig: GpioSensorRig | MockRig) -> None:
    async with wired_rig.open_sensor(debounce_ms=100) as sensor:
        edges = sensor.edges()
        bursts = ((True, False, True, False, True), (False, True, False), (True,))
        for burst in bursts:
            wired_rig.put(*burst)
            async with asyncio.timeout(TIMEOUT_S):
                assert (await anext(edges)).active is burst[-1]
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(edges), 0.2)


async def test_bounces_that_the_loop_sees_one_by_one_are_one_change(
    wired_rig: GpioSensorRig | MockRig,
) -> None:
    async with wired_rig.open_sensor(debounce_ms=400) as sensor:
        for level in (True, False, True, False, True):
            wired_rig.put(level)
            await asyncio.sleep(0.001)
        edges = sensor.edges()
        assert (await asyncio.wait_for(anext(edges), TIMEOUT_S)).active
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(edges), 0.1)


async def test_a_change_without_its_edge_is_found(wired_rig: GpioSensorRig | MockRig) -> None:
    async with wired_rig.open_sensor() as sensor:
        wired_rig.mute()
        wired_rig.put(True)
        assert (await next_edge(sensor)).active
