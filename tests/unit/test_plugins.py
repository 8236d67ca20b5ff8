import subprocess
import sys
from pathlib import Path

import pytest

import edgegate_drivers
from edgegate.plugins import DriverInvalidError, DriverUnknownError, find, names
from edgegate.ports import Driver, LibraryMissingError

DEVICE_LIBRARIES = ["nfc", "usb1", "serial", "evdev", "gpiod", "gpiozero", "lgpio"]

GOOD = """
from contextlib import asynccontextmanager
from edgegate.ports import Driver, DriverSettings, Part

class Settings(DriverSettings, frozen=True, kw_only=True):
    port: str

@asynccontextmanager
async def open_reader(settings):
    yield None

DRIVER = Driver(reader=Part(Settings, open_reader))
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is looked into for drivers of our own, as one is dropped into the package."""
    monkeypatch.setattr(edgegate_drivers, "__path__", [*edgegate_drivers.__path__, str(tmp_path)])
    for name in list(sys.modules):
        if name.startswith("edgegate_drivers."):
            monkeypatch.delitem(sys.modules, name)
    return tmp_path


def announce(
    site: Path, monkeypatch: pytest.MonkeyPatch, name: str, target: str, text: str | None
) -> None:
    """Install a distribution that announces a driver by an entry point."""
    information = site / f"{name}-1.0.dist-info"
    information.mkdir(parents=True)
    (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text(f"[edgegate.drivers]\n{name} = {target}\n")
    if text is not None:
        (site / f"{target.partition(':')[0]}.py").write_text(text)
    monkeypatch.syspath_prepend(str(site))


def test_a_driver_is_added_as_one_file(folder: Path) -> None:
    (folder / "dropped_in.py").write_text(GOOD)
    assert "dropped_in" in names()
    assert isinstance(find("dropped_in"), Driver)


def test_names_are_listed_without_importing_and_without_helpers(folder: Path) -> None:
    (folder / "explosive.py").write_text("raise SystemExit('imported')")
    (folder / "_helper.py").write_text(GOOD)
    listed = names()
    assert "explosive" in listed
    assert {"gpio", "nfc", "scanner_hid", "scanner_serial", "virtual"} <= set(listed)
    assert not any(name.startswith("_") for name in listed)
    assert list(listed) == sorted(listed)


@pytest.mark.parametrize(
    "name",
    ["_helper", "", "nfc.x", "../nfc", "NFC", "n" * 65, "nfc\n", "é", "edgegate_drivers.nfc"],
)
def test_what_cannot_be_a_name_is_unknown(folder: Path, name: str) -> None:
    (folder / "_helper.py").write_text(GOOD)
    with pytest.raises(DriverUnknownError):
        find(name)


def test_a_misspelled_driver_brings_a_suggestion() -> None:
    with pytest.raises(DriverUnknownError, match=r'no driver "nfx"; did you mean "nfc"\?'):
        find("nfx")
    with pytest.raises(DriverUnknownError, match=r"there are: .*gpio, .*nfc"):
        find("zzzzzz")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "does not export a DRIVER"),
        ("DRIVER = object()", "does not export a DRIVER"),
        ("from edgegate.ports import Driver\nDRIVER = Driver()", "can open nothing"),
        ("from edgegate.ports import Nothing", "cannot be imported"),
        ("import edgegate.nothing_there", "cannot be imported"),
    ],
)
def test_a_module_that_is_no_driver_is_named(folder: Path, text: str, problem: str) -> None:
    (folder / "bad.py").write_text(text)
    with pytest.raises(DriverInvalidError, match=problem):
        find("bad")


@pytest.mark.parametrize("text", ["import libnothing", "from libnothing.deep import x"])
def test_a_missing_library_is_named_and_not_the_driver(folder: Path, text: str) -> None:
    (folder / "needy.py").write_text(text)
    with pytest.raises(LibraryMissingError, match='"needy" needs libnothing'):
        find("needy")


def test_an_error_of_the_drivers_own_is_not_hidden(folder: Path) -> None:
    (folder / "buggy.py").write_text("1 / 0")
    with pytest.raises(ZeroDivisionError):
        find("buggy")


def test_a_driver_of_another_distribution_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    announce(tmp_path / "a", monkeypatch, "foreign_good", "foreign_good_module", GOOD)
    assert "foreign_good" in names()
    assert find("foreign_good").reader is not None


def test_foreign_drivers_that_are_wrong_are_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    announce(tmp_path / "a", monkeypatch, "foreign_gone", "foreign_gone_module", None)
    announce(tmp_path / "b", monkeypatch, "foreign_object", "foreign_object_module:DRIVER", GOOD)
    announce(tmp_path / "c", monkeypatch, "foreign_needy", "foreign_needy_module", "import libno")
    with pytest.raises(DriverInvalidError, match="foreign_gone_module is announced but"):
        find("foreign_gone")
    with pytest.raises(DriverInvalidError, match="is not a module"):
        find("foreign_object")
    with pytest.raises(LibraryMissingError, match="needs libno"):
        find("foreign_needy")


def test_our_own_driver_goes_before_a_foreign_one_of_its_name(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "twice.py").write_text(GOOD)
    announce(tmp_path / "site", monkeypatch, "twice", "twice_foreign", "raise SystemExit")
    assert find("twice").reader is not None
    assert names().count("twice") == 1


def test_every_driver_imports_and_no_device_library_with_it() -> None:
    script = f"""
import sys
from edgegate.plugins import find, names
for name in names():
    find(name)
print(sorted(set({DEVICE_LIBRARIES}) & set(sys.modules)))
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert (done.stdout.strip(), done.stderr) == ("[]", "")
