"""The example names every key with its default, and what is changed in it is told with its line."""

import re
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgegate.config import (
    BrokerSection,
    CloudSection,
    Config,
    ConfigError,
    DeviceSection,
    DoorConfig,
    FireConfig,
    LogSection,
    MetricsSection,
    ReaderKeys,
    SiteSection,
    StoreSection,
    load_config,
)
from edgegate.configdump import dump
from edgegate.plugins import find, names
from edgegate.tomlfile import loads
from edgegate.wificonfig import CertificateFiles, NasConfig, VlanSection, WifiSection

pytest_plugins = ("fakes.configurations",)

EXAMPLE = Path(__file__).parents[2] / "config.example.toml"


def enabled(text: str) -> str:
    """The example with every key that it shows switched on; prose has a blank after its "#"."""
    return re.sub(r"(?m)^#(?=[a-z\[])", "", text)


def structs(data: dict[str, Any]) -> Iterator[tuple[tuple[str | int, ...], type[msgspec.Struct]]]:
    """The places of all tables in a configuration's data, each with the struct that reads it."""
    yield ("device",), DeviceSection
    yield ("site",), SiteSection
    yield ("store",), StoreSection
    yield ("cloud",), CloudSection
    yield ("cloud", "broker"), BrokerSection
    yield ("log",), LogSection
    yield ("metrics",), MetricsSection
    yield ("fire",), FireConfig
    yield ("wifi",), WifiSection
    yield ("wifi", "vlans"), VlanSection
    yield ("wifi", "certificate"), CertificateFiles
    for index in range(len(data["wifi"]["nas"])):
        yield ("wifi", "nas", index), NasConfig
    yield ("fire", "sensor"), part("sensor", data["fire"]["sensor"])
    for index, door in enumerate(data["door"]):
        yield ("door", index), DoorConfig
        for key, job in {"strike": "strike", "contact": "sensor", "exit_button": "sensor"}.items():
            if key in door:
                yield ("door", index, key), part(job, door[key])
    for index, reader in enumerate(data["reader"]):
        yield ("reader", index), ReaderKeys
        yield ("reader", index), part("reader", reader)


def part(job: str, table: dict[str, Any]) -> type[msgspec.Struct]:
    settings: type[msgspec.Struct] = getattr(find(table["driver"]), job).settings
    return settings


def test_the_example_loads_as_it_is_and_with_all_switched_on(
    read: Callable[[str], Config],
) -> None:
    text = EXAMPLE.read_text()
    assert len(read(text).doors) == 1
    config = read(enabled(text))
    assert config.fire is not None
    assert read(dump(config)) == config


def test_the_example_names_every_key_there_is() -> None:
    data = tomllib.loads(enabled(EXAMPLE.read_text()))
    shown: dict[type[msgspec.Struct], set[str]] = {}
    for path, kind in structs(data):
        table: Any = data
        for key in path:
            table = table[key]
        shown.setdefault(kind, set()).update(table)
    missing = {
        kind.__qualname__: keys
        for kind in shown
        if (keys := {f.encode_name for f in msgspec.structs.fields(kind)} - shown[kind])
    }
    assert missing == {}
    assert set(data) == {field.encode_name for field in msgspec.structs.fields(Config)}
    drivers = {table["driver"] for table in data["reader"]}
    for door in data["door"]:
        drivers |= {table["driver"] for table in door.values() if isinstance(table, dict)}
    assert drivers == set(names())


def test_the_example_shows_the_defaults() -> None:
    text = EXAMPLE.read_text()
    document = loads(enabled(text), "example")
    compared = 0
    for path, kind in structs(document.data):
        for field in msgspec.structs.fields(kind):
            place = (*path, field.encode_name)
            line = document.lines.get(place)
            if line is None or not text.splitlines()[line - 1].startswith("#"):
                continue
            value: Any = document.data
            for key in place:
                value = value[key]
            if field.default is not msgspec.NODEFAULT and field.default is not None:
                default = list(field.default) if isinstance(field.default, tuple) else field.default
                assert (place, value) == (place, default)
                compared += 1
    assert compared > 30


def test_no_driver_takes_a_key_that_is_the_readers_own() -> None:
    own = set(ReaderKeys.__struct_fields__) | {"driver"}
    readers = {name: find(name).reader for name in names()}
    taken = {
        name: keys
        for name, reader in readers.items()
        if reader and (keys := own & set(reader.settings.__struct_fields__))
    }
    assert taken == {}


def test_reading_imports_no_device_library_and_opens_nothing(write: Callable[[str], Path]) -> None:
    path = write(enabled(EXAMPLE.read_text()))
    script = f"""
import sys
from edgegate.config import load_config
load_config({str(path)!r})
libraries = {{"nfc", "usb1", "serial", "evdev", "gpiod", "gpiozero", "lgpio"}}
print(sorted(libraries & set(sys.modules)))
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert (done.stdout.strip(), done.stderr) == ("[]", "")


LINES = enabled(EXAMPLE.read_text()).splitlines()
KEY_LINES = [number for number, line in enumerate(LINES) if re.match(r"[a-z_]+ = ", line)]
WRONG = ["[[1]]", "{ x = { y = 1 } }", "1979-05-27", "-9e99", '"\\u0000"', "0x" + "f" * 40]


def _required_lines() -> Iterator[int]:
    """The lines, counted from nought, of the example's keys that must not be left out."""
    document = loads("\n".join(LINES), "example")
    for path, kind in structs(document.data):
        for field in msgspec.structs.fields(kind):
            place = (*path, field.encode_name)
            # A keyboard scanner needs its path where nothing else tells which one it is.
            wanted = field.required or (field.name == "path" and path[0] != "cloud")
            line = document.lines.get(place, 0) - 1
            # What an inline table must say goes together with all of it.
            if wanted and LINES[line].startswith(f"{field.encode_name} = "):
                yield line


REQUIRED_LINES = {*_required_lines()} | {
    number for number in KEY_LINES if LINES[number].startswith("driver = ")
}


def _table_line(number: int) -> int:
    """The line, counted from one, of the header that the line `number` stands under."""
    return next(n + 1 for n in range(number, -1, -1) if LINES[n].startswith("["))


@pytest.fixture(scope="module")
def lines_of(write: Callable[[str], Path]) -> Callable[[list[str]], list[int | None]]:
    """The lines that the faults of a configuration name; none if it is good."""

    def lines_of(lines: list[str]) -> list[int | None]:
        try:
            load_config(write("\n".join(lines)))
        except ConfigError as error:
            assert error.faults  # noqa: PT017 - whatever they are, there must be some
            return [fault.line for fault in error.faults]
        return []

    return lines_of


LinesOf = Callable[[list[str]], list[int | None]]
quick = settings(max_examples=40, deadline=None)


@quick
@given(number=st.sampled_from(KEY_LINES), wrong=st.sampled_from(WRONG))
def test_a_value_of_the_wrong_type_is_named_with_its_line(
    lines_of: LinesOf, number: int, wrong: str
) -> None:
    key = LINES[number].partition(" = ")[0]
    assert number + 1 in lines_of([*LINES[:number], f"{key} = {wrong}", *LINES[number + 1 :]])


@quick
@given(
    number=st.sampled_from(KEY_LINES),
    key=st.from_regex(r"[a-z]{12}", fullmatch=True),
    before=st.booleans(),
)
def test_a_key_too_many_is_named_with_its_line(
    lines_of: LinesOf, number: int, key: str, before: bool
) -> None:
    at = number if before else number + 1
    assert lines_of([*LINES[:at], f"{key} = 1", *LINES[at:]]) == [at + 1]


@quick
@given(number=st.sampled_from(KEY_LINES))
def test_a_key_too_few_is_named_with_the_line_of_its_table(lines_of: LinesOf, number: int) -> None:
    found = lines_of([*LINES[:number], "#", *LINES[number + 1 :]])
    assert (_table_line(number) in found) == (number in REQUIRED_LINES)
    assert bool(found) == (number in REQUIRED_LINES)


@quick
@given(
    moves=st.lists(
        st.tuples(st.sampled_from(KEY_LINES), st.sampled_from(["drop", "double", *WRONG])),
        max_size=8,
    )
)
def test_any_mutation_is_a_configuration_or_a_config_error(
    lines_of: LinesOf, moves: list[tuple[int, str]]
) -> None:
    lines = list(LINES)
    for number, move in moves:
        key, _, value = LINES[number].partition(" = ")
        text = {"drop": "", "double": f"{key} = {value}\n{key} = {value}"}
        lines[number] = text.get(move, f"{key} = {move}")
    assert all(1 <= (line or 1) <= len(lines) + len(moves) for line in lines_of(lines))
