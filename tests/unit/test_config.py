from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from edgegate import device
from edgegate.config import (
    BrokerSection,
    CloudSection,
    Config,
    ConfigError,
    DeviceSection,
    LogSection,
    StoreSection,
    load_config,
)
from edgegate.configdump import dump
from edgegate.passes.model import Direction
from edgegate.plugins import find
from edgegate.ports import Driver, DriverSettings, LibraryMissingError, Part, Reader
from edgegate.secret import Secret
from fakes.configurations import SECRET, SITE_KEY

pytest_plugins = ("fakes.configurations",)

MINIMAL = """\
[device]
id = "box"
[site]
id = "space"
key = { file = "/etc/edgegate/site.key" }
[[door]]
id = "front"
strike = { driver = "gpio", line = 17 }
[[reader]]
name = "card"
door = "front"
driver = "nfc"
port = "/dev/ttyUSB0"
"""


def test_the_least_configuration_is_filled_up_with_defaults(read: Callable[[str], Config]) -> None:
    config = read(MINIMAL)
    assert config.device == DeviceSection(id="box")
    assert config.site.key.reveal() == SECRET.encode()
    assert (config.store, config.log, config.fire) == (StoreSection(), LogSection(), None)
    (door,) = config.doors
    assert (door.release_s, door.held_open_s, door.forced_alarm) == (5.0, 30.0, True)
    assert door.contact is None
    (reader,) = config.readers
    assert (reader.name, reader.door, reader.direction) == ("card", "front", Direction.ENTRY)
    assert reader.device.driver == "nfc"
    assert reader.device.part is find("nfc").reader
    assert [name for name, _ in config.devices()] == ["reader card", "door front strike"]


def test_the_show_of_the_issue_is_named_in_one_run(faults_of: Callable[[str], list[str]]) -> None:
    text = """\
[device]
id = "box"
colour = "red"
[site]
id = "space"
key = { file = "/etc/edgegate/site.key" }
[[door]]
id = "front"
release_s = "5"
strike = { driver = "gpio", line = 17 }
contact = { driver = "gpio", line = 17, lin = 3 }
[[door]]
id = "front"
strike = { driver = "gpoi", line = 18 }
[[reader]]
name = "card"
door = "fornt"
driver = "nfc"
port = "/dev/ttyUSB0"
[[reader]]
name = "card"
door = "front"
direction = "in"
driver = "scanner_serial"
port = "/dev/ttyUSB0"
boud = 1
[fire]
sensor = { driver = "nfc", port = "/dev/x" }
releases = ["front", "side", "front"]
"""
    directions = ", ".join(f'"{direction}"' for direction in Direction)
    assert faults_of(text) == [
        (
            "3: device.colour: is not a known key; "
            "keys that may stand here: state_dir, language, clock"
        ),
        (
            '9: door[0].release_s: must be a number above 0 and of at most 3600 (got "5"); '
            "did you mean 5.0, without quotes?"
        ),
        (
            "11: door[0].contact.lin: is not a known key; keys that may stand here: "
            "chip, active_high, bias, debounce_ms, driver"
        ),
        (
            "11: door[0].contact: needs gpio auto 17 for itself, "
            "which door[0].strike (line 10) has already"
        ),
        '13: door[1].id: must differ from door[0].id (line 8): both are "front"',
        '14: door[1].strike.driver: there is no "gpoi"; did you mean "gpio"?',
        '17: reader[0].door: there is no door "fornt"; did you mean "front"?',
        "20: reader[1]: needs port /dev/ttyUSB0 for itself, which reader[0] (line 15) has already",
        '21: reader[1].name: must differ from reader[0].name (line 16): both are "card"',
        f'23: reader[1].direction: must be one of {directions} (got "in")',
        '26: reader[1].boud: is not a known key; did you mean "baud"?',
        '28: fire.sensor.driver: "nfc" cannot be a sensor, only a reader',
        '29: fire.releases[2]: must differ from fire.releases[0] (line 29): both are "front"',
        '29: fire.releases[1]: there is no door "side"; there are: front',
    ]


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ('id = "box"', "", "1: device.id: is missing"),
        ('id = "box"', 'id = "a/b"', "2: device.id: must be 1 to 64 letters, digits, dots, dashes"),
        ('id = "box"', 'id = "box\\n"', "2: device.id: must be 1 to 64 letters, digits"),
        (
            'id = "box"',
            'id = "b"\nstate_dir = "x"',
            "3: device.state_dir: must be an absolute path",
        ),
        ('id = "box"', 'id = "b"\nlanguage = "x"', "3: device.language: must be a language, like"),
        (
            "[site]",
            "[store]\njobs_max = 0\n[site]",
            "4: store.jobs_max: must be a whole number from",
        ),
        ("[site]", "[log]\nlevel = 'inf'\n[site]", '4: log.level: must be one of "debug", '),
        ("{ file", "{ fil", 'site.key.fil: is not a known key; did you mean "file"?'),
        ("[[door]]", "[door]", "6: door: must be an array (got a table); did you mean [[door]]?"),
        (
            "strike = { driver = ",
            "strike = { drive = ",
            "8: door[0].strike.driver: is missing; there",
        ),
        (
            '"gpio", line',
            "7, line",
            "8: door[0].strike.driver: must be a driver's name; there are: ",
        ),
        ('"gpio", line', '"_edges", line', '8: door[0].strike.driver: there is no "_edges"; '),
        ("line = 17", "line = -1", "8: door[0].strike.line: must be a whole number from 0 to 1023"),
        (", line = 17", "", "8: door[0].strike.line: is missing"),
        ("strike = {", "contact = {", "6: door[0].strike: is missing"),
        (
            'strike = { driver = "gpio", line = 17 }',
            "strike = 'gpio'",
            "8: door[0].strike: must be a",
        ),
        (
            "strike = {",
            "release_s = 11\nstrike = {",
            "8: door[0].release_s: must be at most 10.0, the",
        ),
        ("strike = {", "exit_s = inf\nstrike = {", "8: door[0].exit_s: must be a number above 0"),
        ("strike = {", "held_open_s = -1\nstrike = {", "8: door[0].held_open_s: must be a number"),
        ("[[reader]]", "[fire]\n[[reader]]", "9: fire.sensor: is missing"),
        ('driver = "nfc"', "", "9: reader[0].driver: is missing; there are: "),
        ("port = ", "device = 1\nport = ", "13: reader[0].device: is not a known key; keys that"),
        ("port = ", "directoin = 'exit'\nport = ", 'is not a known key; did you mean "direction"?'),
        ('port = "/dev', "reader = 1\n#", "9: reader[0].port: is missing"),
    ],
)
def test_a_fault_is_named_with_its_line(
    faults_of: Callable[[str], list[str]], old: str, new: str, fault: str
) -> None:
    assert old in MINIMAL
    lines = faults_of(MINIMAL.replace(old, new, 1))
    assert any(fault in line for line in lines), lines


def test_a_configuration_without_door_or_reader_is_refused_with_a_hint(
    faults_of: Callable[[str], list[str]],
) -> None:
    lines = faults_of(MINIMAL.partition("[[door]]")[0] + "door = []")
    assert any("door: there is no door; begin one with [[door]]" in line for line in lines)
    assert any("reader: there is no reader; begin one with [[reader]]" in line for line in lines)
    assert faults_of("")[0] == " device: is missing"


def test_a_syntax_error_and_a_missing_file_are_config_errors(
    write: Callable[[str], Path], tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=r"config\.toml:2: is not valid TOML"):
        load_config(write("a = 1\na = = 2"))
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        load_config(tmp_path / "none.toml")


def test_a_site_key_that_is_too_short_is_refused(
    faults_of: Callable[[str], list[str]], tmp_path: Path
) -> None:
    short = tmp_path / "short.key"
    short.write_text("x" * 31)
    short.chmod(0o600)
    (line,) = faults_of(MINIMAL.replace(SITE_KEY, str(short)))
    assert line.startswith("5: site.key: must be at least 32 bytes long (got 31); make one with:")


def test_an_inline_secret_is_refused_and_repeated_nowhere(
    faults_of: Callable[[str], list[str]],
) -> None:
    text = MINIMAL.replace('{ file = "/etc/edgegate/site.key" }', f'"{SECRET}"')
    (line,) = faults_of(text)
    assert line.startswith("5: site.key: must not stand in the configuration itself; write { file")
    assert SECRET not in line


class Drivers:
    """Drivers that exist for one test only."""

    def __init__(self) -> None:
        self.known: dict[str, Driver | Exception] = {}

    def find(self, name: str) -> Driver:
        driver = self.known.get(name)
        if driver is None:
            return find(name)
        if isinstance(driver, Exception):
            raise driver
        return driver


@pytest.fixture
def drivers(monkeypatch: pytest.MonkeyPatch) -> Drivers:
    drivers = Drivers()
    monkeypatch.setattr(device, "find", drivers.find)
    return drivers


def test_a_missing_library_is_no_fault_of_the_configuration(
    read: Callable[[str], Config], drivers: Drivers
) -> None:
    drivers.known["nfc"] = LibraryMissingError("needs nfc")
    config = read(MINIMAL)
    (reader,) = config.readers
    assert (reader.device.part, reader.device.load_error) == (None, "needs nfc")
    with pytest.raises(LibraryMissingError, match="needs nfc"):
        reader.device.open()
    assert 'driver = "nfc"' in dump(config)


def test_a_driver_gets_its_own_keys_checked_and_opened_with_them(
    read: Callable[[str], Config], faults_of: Callable[[str], list[str]], drivers: Drivers
) -> None:
    class Settings(DriverSettings, frozen=True, kw_only=True):
        secret: Secret
        first: int = 0
        last: int = 9

        def __post_init__(self) -> None:
            if self.first > self.last:
                raise ValueError("first must not be after last")

    opened: list[Settings] = []

    def open_reader(settings: Settings) -> AbstractAsyncContextManager[Reader]:
        opened.append(settings)
        raise AssertionError("tests open nothing")

    drivers.known["nfc"] = Driver(reader=Part(Settings, open_reader))
    own = f'secret = {{ file = "{SITE_KEY}" }}\n'
    text = MINIMAL.replace('port = "/dev/ttyUSB0"\n', own)
    config = read(text)
    assert opened == []
    with pytest.raises(AssertionError):
        config.readers[0].device.open()
    assert opened[0].secret.reveal() == SECRET.encode()
    assert SECRET not in dump(config) + repr(config)
    assert faults_of(text + "first = 10") == ["9: reader[0]: first must not be after last"]


def test_claims_count_although_other_keys_of_the_device_are_wrong(
    faults_of: Callable[[str], list[str]],
) -> None:
    more = '[[reader]]\nname = "b"\ndriver = "nfc"\nport = "/dev/ttyUSB0"\npoll_ms = "x"\n'
    lines = faults_of(MINIMAL + more)
    assert any("reader[1]: needs port /dev/ttyUSB0" in line for line in lines), lines


def test_fire_releases_all_doors_or_some(read: Callable[[str], Config]) -> None:
    fire = '[fire]\nsensor = { driver = "gpio", line = 5 }\n'
    config = read(MINIMAL + fire)
    assert config.fire is not None
    assert config.fire.releases == "all"
    config = read(MINIMAL + fire + 'releases = ["front"]')
    assert config.fire is not None
    assert config.fire.releases == ("front",)
    assert [name for name, _ in config.devices()][-1] == "fire sensor"


def test_without_a_cloud_section_there_is_no_cloud(read: Callable[[str], Config]) -> None:
    assert read(MINIMAL).cloud is None
    config = read(MINIMAL + '[cloud]\nurl = "https://cloud.example:8443"\n')
    assert config.cloud == CloudSection(url="https://cloud.example:8443")
    with_broker = MINIMAL + '[cloud]\nurl = "https://[::1]/"\nbroker = { host = "10.0.0.2" }\n'
    assert read(with_broker).cloud == CloudSection(
        url="https://[::1]/", broker=BrokerSection(host="10.0.0.2", port=8883)
    )


@pytest.mark.parametrize(
    ("section", "fault"),
    [
        ("", "cloud.url: is missing"),
        ('url = "http://cloud.example"', "cloud.url: must be an address without a path"),
        ('url = "https://cloud.example/v1"', "cloud.url: must be an address without a path"),
        ('url = "https://c.example"\npull_s = 1', "cloud.pull_s: must be"),
        ('url = "https://c.example"\nbroker = {}', "cloud.broker.host: is missing"),
        ('url = "https://c.example"\nuser = "a"', "cloud.user: "),
    ],
)
def test_a_wrong_cloud_section_is_named(
    faults_of: Callable[[str], list[str]], section: str, fault: str
) -> None:
    (found,) = faults_of(f"{MINIMAL}[cloud]\n{section}\n")
    assert fault in found


def test_a_dump_is_the_configuration_with_its_defaults_and_without_secrets(
    read: Callable[[str], Config],
) -> None:
    text = MINIMAL.replace('id = "box"', 'id = "box"\nlanguage = "de"')
    text = text.replace("/dev/ttyUSB0", '/dev/a\\u007f\\u0001\\"ü')
    config = read(text)
    written = dump(config)
    assert "poll_ms = 50" in written
    assert "********" in written
    assert SECRET not in written
    assert read(written) == config
    assert dump(read(written)) == written
    assert SECRET not in repr(config)
