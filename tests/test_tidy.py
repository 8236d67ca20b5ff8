"""The tree keeps its rules, and the checker that says so notices when it does not."""

import importlib
from pathlib import Path

import pytest

import tidy
from edgegate.ports import Driver

TOP = Path(__file__).parent.parent


def test_the_tree_is_tidy() -> None:
    assert tidy.complaints(TOP) == []


def test_every_driver_can_be_imported_and_is_whole() -> None:
    found = [m.name.partition("edgegate_drivers.")[2] for m in tidy.modules(TOP)]
    drivers = [name for name in found if name and not name.startswith("_")]
    assert {"nfc", "scanner_serial", "scanner_hid", "gpio", "gpiozero", "virtual"} <= set(drivers)
    for name in drivers:
        driver = importlib.import_module(f"edgegate_drivers.{name}").DRIVER
        assert isinstance(driver, Driver)
        assert driver.reader or driver.strike or driver.sensor


def test_no_two_test_files_share_a_name() -> None:
    files = [p.name for folder in ("tests", "hil-tests") for p in (TOP / folder).rglob("test_*.py")]
    assert len(files) == len(set(files))


MUTANTS = {
    "the rules read a clock": (
        "edgegate/passes/order.py",
        "import time\n",
        "the rules are pure: no time",
    ),
    "the rules ask what time it is": (
        "edgegate/passes/order.py",
        "NOW = datetime.now(UTC)\n",
        "no now()",
    ),
    "the rules await": ("edgegate/passes/order.py", "async def f() -> None: ...\n", "awaited"),
    "the rules import the store": (
        "edgegate/passes/order.py",
        "from edgegate.store import cache\n",
        "passes must not import store",
    ),
    "a driver looks into the line": (
        "drivers/edgegate_drivers/virtual.py",
        "import edgegate.line\n",
        "drivers must not import line",
    ),
    "the store knows the line": (
        "edgegate/store/books.py",
        "from edgegate import checkin\n",
        "store must not import line",
    ),
    "the daemon imports an emulator": (
        "edgegate/app.py",
        "import edgegate_emulators.board\n",
        "app must not import emulators",
    ),
    "the editable folder is imported": (
        "edgegate/app.py",
        "import drivers\n",
        "drivers exists in an editable install only",
    ),
    "a driver without its constant": (
        "drivers/edgegate_drivers/half.py",
        '"""Half a driver."""\n',
        "exactly one DRIVER",
    ),
    "a driver without a part": (
        "drivers/edgegate_drivers/half.py",
        '"""Half a driver."""\nDRIVER = Driver()\n',
        "at least one part",
    ),
    "a module that nobody placed": ("edgegate/odd.py", '"""Odd."""\n', "lies in no room"),
    "a module without its sentence": ("edgegate/store/odd.py", "X = 1\n", "opens with"),
    "a function too long to read": (
        "edgegate/line.py",
        "def f() -> None:\n" + "    pass\n" * 60,
        "f has 61 lines",
    ),
}


@pytest.fixture(scope="module")
def names() -> set[str]:
    return {module.name for module in tidy.modules(TOP)}


@pytest.mark.parametrize("mutant", MUTANTS)
def test_the_checker_notices(mutant: str, names: set[str]) -> None:
    file, addition, complaint = MUTANTS[mutant]
    path = TOP / file
    name = file.removeprefix("drivers/").removesuffix(".py").replace("/", ".")
    text = path.read_text() if path.exists() else ""
    try:
        found = tidy.complaints_of(tidy.module_of(name, path, text + addition), names)
    except LookupError as error:
        found = [str(error)]
    assert any(complaint in one for one in found), found


def test_an_empty_tree_is_a_complaint(tmp_path: Path) -> None:
    assert tidy.complaints(tmp_path) == ["no sources were found"]
