"""The gpio driver finds its chip and line, and says why where it cannot."""

import asyncio
import builtins
import inspect
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import gpiod
import msgspec
import pytest

from edgegate.ports import (
    DeviceAbsentError,
    DeviceBusyError,
    DeviceFaultError,
    Driver,
    LibraryMissingError,
    OperatingError,
)
from edgegate_drivers import gpio, gpiozero, virtual
from fakes.fake_gpiod import FakeChip, FakeKernel, FakeRequest

TIMEOUT_S = 30.0


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeKernel:
    kernel = FakeKernel(tmp_path)
    kernel.install(monkeypatch)
    monkeypatch.setattr(gpio, "DEVICES", tmp_path)
    return kernel


async def open_and_close(**settings: Any) -> None:
    async with gpio.open_strike(gpio.StrikeSettings(**settings)):
        pass


def test_the_fake_has_the_signatures_of_the_real_library() -> None:
    pairs = [(FakeChip, gpiod.Chip), (FakeRequest, gpiod.LineRequest)]
    names = {
        FakeChip: ("close", "get_info", "get_line_info", "request_lines"),
        FakeRequest: ("get_value", "set_value", "read_edge_events", "release"),
    }
    for fake, real in pairs:
        for name in names[fake]:
            ours = inspect.signature(getattr(fake, name)).parameters
            theirs = inspect.signature(getattr(real, name)).parameters
            assert [(p.name, p.default) for p in ours.values()] == [
                (p.name, p.default) for p in theirs.values()
            ]
    assert isinstance(inspect.getattr_static(gpiod.LineRequest, "fd"), property)


async def test_auto_takes_the_header_of_a_raspberry_pi_whatever_its_number(
    kernel: FakeKernel,
) -> None:
    kernel.add_chip(0, "gpio-brcmstb@107d508500")
    path = kernel.add_chip(10, "pinctrl-rp1", lines=54)
    async with gpio.open_strike(gpio.StrikeSettings(line=17)):
        assert kernel.chips[path].lines[17].holder == "edgegate"
    assert kernel.chips[path].lines[17].holder is None


async def test_a_chip_is_found_by_its_label_or_taken_by_its_device(kernel: FakeKernel) -> None:
    kernel.add_chip(0, "pinctrl-bcm2711")
    path = kernel.add_chip(1, "gpio-sim.0-node0")
    async with gpio.open_strike(gpio.StrikeSettings(chip="gpio-sim.0-node0", line=3)):
        assert kernel.chips[path].lines[3].holder == "edgegate"
    assert gpio._chip_path(gpiod, "/dev/gpiochip7") == Path("/dev/gpiochip7")


async def test_a_missing_chip_is_absent_and_the_others_are_named(kernel: FakeKernel) -> None:
    kernel.add_chip(0, "gpio-mockup-A")
    with pytest.raises(DeviceAbsentError, match="'auto'; this machine has gpio-mockup-A"):
        await open_and_close(line=1)
    with pytest.raises(DeviceAbsentError, match="'pinctrl-rp1'"):
        await open_and_close(chip="pinctrl-rp1", line=1)


async def test_a_chip_that_may_not_be_opened_does_not_hide_the_wanted_one(
    kernel: FakeKernel,
) -> None:
    kernel.chips[kernel.add_chip(0, "private")].gone = True
    kernel.add_chip(1, "pinctrl-rp1")
    await open_and_close(line=1)
    with pytest.raises(DeviceAbsentError, match=r"gpiochip0: .*No such file"):
        await open_and_close(chip="private", line=1)


async def test_a_line_in_use_names_its_holder(kernel: FakeKernel) -> None:
    path = kernel.add_chip(0, "pinctrl-rp1")
    kernel.chips[path].lines[4].holder = "onewire@4"
    with pytest.raises(DeviceBusyError, match="line 4 is held by 'onewire@4'"):
        await open_and_close(line=4)


async def test_a_line_that_the_chip_does_not_have_is_a_fault(kernel: FakeKernel) -> None:
    kernel.add_chip(0, "pinctrl-rp1", lines=28)
    with pytest.raises(DeviceFaultError, match="lines 0 to 27, not 28"):
        await open_and_close(line=28)


async def test_a_relock_outlives_a_line_that_fails_for_a_while(kernel: FakeKernel) -> None:
    path = kernel.add_chip(0, "pinctrl-rp1")
    line = kernel.chips[path].lines[17]
    async with gpio.open_strike(gpio.StrikeSettings(line=17)) as strike:
        strike.release(9)
        line.write_errors = 3
        strike.lock()
        kernel.wait_high(path, 17, False)
    assert line.write_errors == 0


async def test_a_strike_asks_for_its_level_and_direction_in_one_call(kernel: FakeKernel) -> None:
    path = kernel.add_chip(0, "pinctrl-rp1")
    line = kernel.chips[path].lines[17]
    line.wired = True
    async with gpio.open_strike(gpio.StrikeSettings(line=17, active_high=False)):
        assert [level for _, level in line.history] == [True]
        assert line.settings.output_value is gpiod.line.Value.INACTIVE
        assert line.settings.active_low


async def test_a_sensor_asks_the_kernel_to_pull_and_debounce(kernel: FakeKernel) -> None:
    path = kernel.add_chip(0, "pinctrl-rp1")
    settings = gpio.SensorSettings(line=5, bias="pull-down", debounce_ms=35)
    async with gpio.open_sensor(settings):
        asked = kernel.chips[path].lines[5].settings
        assert asked.bias is gpiod.line.Bias.PULL_DOWN
        assert asked.debounce_period.total_seconds() == 0.035
        assert asked.event_clock is gpiod.line.Clock.MONOTONIC


async def test_more_changes_than_may_wait_leave_the_newest(kernel: FakeKernel) -> None:
    path = kernel.add_chip(0, "pinctrl-rp1")
    async with gpio.open_sensor(gpio.SensorSettings(line=5, debounce_ms=0)) as sensor:
        for _ in range(30):
            kernel.wire(path, 5, True, False, True, False)
            await asyncio.sleep(0)
        kernel.wire(path, 5, True)
        await asyncio.sleep(0.05)
        edges = sensor.edges()
        first = await anext(edges)
        seen = [first.active]
        while sum(1 for _ in seen) < 64:
            seen.append((await anext(edges)).active)
        assert seen[-1] is True


async def test_the_real_library_on_a_machine_without_chips(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpio, "DEVICES", tmp_path)
    (tmp_path / "gpiochip0").touch()
    with pytest.raises(DeviceAbsentError, match="this machine has none"):
        await open_and_close(line=17)
    with pytest.raises(DeviceAbsentError, match="gpiochip999"):
        await open_and_close(chip="/dev/gpiochip999", line=17)


@pytest.mark.parametrize(
    ("driver", "library", "settings"),
    [
        (gpio.DRIVER, "gpiod", {"line": 17}),
        (gpiozero.DRIVER, "gpiozero", {"line": 17, "factory": "mock"}),
    ],
)
async def test_a_library_that_is_missing_is_named(
    driver: Driver, library: str, settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in list(sys.modules):
        if name.split(".")[0] == library:
            monkeypatch.delitem(sys.modules, name)
    real_import = builtins.__import__

    def without(name: str, *rest: Any, **more: Any) -> ModuleType:
        if name.split(".", maxsplit=1)[0] == library:
            raise ModuleNotFoundError(f"No module named {library!r}", name=library)
        return real_import(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    for part in (driver.strike, driver.sensor):
        assert part is not None
        with pytest.raises(LibraryMissingError, match=f"needs {library}.*pip install"):
            async with part.open(msgspec.convert(settings, part.settings)):
                pass


def test_importing_the_drivers_imports_no_library() -> None:
    names = "edgegate_drivers.gpio, edgegate_drivers.gpiozero, edgegate_drivers.virtual"
    program = f"import sys, {names}; print(*{{'gpiod', 'gpiozero', 'lgpio'}} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == ""


def test_lgpio_puts_its_pipe_where_systemd_says_and_the_process_stays_where_it_is(
    tmp_path: Path,
) -> None:
    program = (
        "import os, edgegate_drivers._pin_factories as f; f._choose_work_directory();"
        "print(os.getcwd())"
    )
    environment = {**os.environ, "RUNTIME_DIRECTORY": str(tmp_path)}
    environment.pop("LG_WD", None)
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        cwd="/proc",
        env=environment,
    )
    assert done.stdout.strip() == "/proc"
    assert [path.name for path in tmp_path.iterdir()] == [".lgd-nfy0"]


async def test_gpiozero_does_not_fall_back_to_another_factory() -> None:
    with pytest.raises(LibraryMissingError, match="no pin factory 'nonesuch'"):
        async with gpiozero.open_strike(gpiozero.StrikeSettings(line=17, factory="nonesuch")):
            pass
    with pytest.raises(LibraryMissingError, match="needs RPi"):
        async with gpiozero.open_strike(gpiozero.StrikeSettings(line=17, factory="rpigpio")):
            pass


async def test_a_pigpiod_that_does_not_answer_is_absent() -> None:
    settings = gpiozero.StrikeSettings(line=17, factory="pigpio", host="127.0.0.1", port=1)
    with pytest.raises(DeviceAbsentError, match=r"127\.0\.0\.1 port 1"):
        async with gpiozero.open_strike(settings):
            pass


async def test_gpiozero_names_who_has_a_pin_already() -> None:
    settings = gpiozero.StrikeSettings(line=17, factory="mock")
    async with gpiozero.open_strike(settings):
        with pytest.raises(DeviceBusyError, match="GPIO17 is already in use by"):
            async with gpiozero.open_strike(settings):
                pass


async def test_closing_a_contact_does_not_let_go_of_a_strike() -> None:
    strike_settings = gpiozero.StrikeSettings(line=17, factory="mock", fail="safe")
    sensor_settings = gpiozero.SensorSettings(line=18, factory="mock")
    async with gpiozero.open_strike(strike_settings) as strike:
        async with gpiozero.open_sensor(sensor_settings):
            pass
        pin = strike._line._pin  # type: ignore[attr-defined] # a PinLine
        assert (pin.function, pin.state) == ("output", True)
    assert pin.function == "input"


def test_claims_name_what_the_device_needs_alone() -> None:
    assert gpio.StrikeSettings(line=17).claims() == ("gpio auto 17",)
    assert gpio.SensorSettings(chip="pinctrl-rp1", line=4).claims() == ("gpio pinctrl-rp1 4",)
    assert gpiozero.StrikeSettings(factory="lgpio", line=17).claims() == ("gpio auto 17",)
    assert gpiozero.SensorSettings(factory="pigpio", host="pi", line=17).claims() == (
        "gpio pi:8888 17",
    )
    assert virtual.ReaderSettings(socket="/tmp/b", channel="r").claims() == (  # noqa: S108 - a name
        "virtual /tmp/b r",
    )


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [
        (gpio.StrikeSettings, {"line": 17, "pin": 1}),
        (gpio.StrikeSettings, {"line": -1}),
        (gpio.StrikeSettings, {"line": 17, "chip": "../gpiochip0"}),
        (gpio.StrikeSettings, {"line": 17, "fail": "open"}),
        (gpio.StrikeSettings, {"line": 17, "release_s_max": 0}),
        (gpio.SensorSettings, {"line": 17, "debounce_ms": 5000}),
        (gpiozero.StrikeSettings, {"line": 17}),
        (gpiozero.SensorSettings, {"line": 17, "factory": "mock", "bias": "as-is"}),
        (virtual.StrikeSettings, {"socket": "b", "channel": "two words"}),
    ],
)
def test_wrong_settings_are_refused(kind: type[Any], wrong: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(wrong, kind)


async def test_a_sensor_that_is_closed_ends_its_changes(kernel: FakeKernel) -> None:
    kernel.add_chip(0, "pinctrl-rp1")
    async with gpio.open_sensor(gpio.SensorSettings(line=5)) as sensor:
        waiting = asyncio.ensure_future(anext(aiter(sensor.edges())))
        await asyncio.sleep(0)
    with pytest.raises(OperatingError, match="closed"):
        await asyncio.wait_for(waiting, TIMEOUT_S)
