"""The computer's sources of time, as programs and files that say what the real ones do."""

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from edgegate import timesources
from edgegate.clock import RTC
from edgegate.timesources import Answer, Paths, ask

IN_STEP = (
    "C0A80001,ntp.example,3,1790000000.123,0.000012,0.000010,0.000020,"
    "-5.123,0.001,0.030,0.010000,0.001000,64.2,Normal"
)


class Machine:
    """What is installed, and what it answers."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.programs = directory / "bin"
        self.programs.mkdir()
        self.rtc = directory / "since_epoch"
        monkeypatch.setenv("PATH", str(self.programs))

    def install(self, name: str, script: str) -> None:
        program = self.programs / name
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)

    def chrony(self, tracking: str) -> None:
        self.install("chronyc", f"[ \"$*\" = '-c -n tracking' ] && printf '%s\\n' '{tracking}'")

    def ask(self, floor: datetime | None = None) -> Answer:
        return ask(floor, Paths(rtc=self.rtc))

    def battery(self, at: datetime) -> None:
        self.rtc.write_text(f"{int(at.timestamp())}\n")


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(tmp_path, monkeypatch)


def test_where_there_is_nothing_nobody_vouches(machine: Machine) -> None:
    assert machine.ask() == Answer(None, "")


def test_chrony_vouches_for_the_wall_clock(machine: Machine) -> None:
    machine.chrony(IN_STEP)
    word = machine.ask().word
    assert word is not None
    assert (word.source, word.is_confirmed) == ("chrony", True)
    assert abs(word.at - datetime.now(UTC)) < timedelta(minutes=1)


@pytest.mark.parametrize(
    "tracking",
    [
        IN_STEP.replace("Normal", "Not synchronised"),
        IN_STEP.replace("C0A80001", "00000000"),
        IN_STEP.replace("C0A80001", "7F7F0101"),
        IN_STEP.replace("0.000012", "nan"),
        IN_STEP.replace("0.000012", "soon"),
        IN_STEP.rpartition(",")[0],
        "506 Cannot talk to daemon",
        "",
    ],
)
def test_chrony_without_a_source_vouches_for_nothing(machine: Machine, tracking: str) -> None:
    machine.chrony(tracking)
    machine.battery(datetime.now(UTC))
    assert machine.ask().word is None


def test_chrony_that_is_still_on_its_way_denies(machine: Machine) -> None:
    machine.chrony(IN_STEP.replace("0.000012", "-3600.5"))
    answer = machine.ask()
    assert answer.word is None
    assert "-3600 s away" in answer.denial


def test_systemd_is_asked_where_chrony_does_not_answer(machine: Machine) -> None:
    machine.install("chronyc", "echo '506 Cannot talk to daemon'; exit 1")
    machine.install(
        "timedatectl", '[ "$*" = "show --property=NTPSynchronized --value" ] && echo yes'
    )
    word = machine.ask().word
    assert word is not None
    assert (word.source, word.is_confirmed) == ("systemd", False)
    machine.install("timedatectl", "echo no")
    assert machine.ask().word is None


def test_a_program_that_hangs_said_nothing(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timesources, "PROGRAM_S_MAX", 0.2)
    machine.install("chronyc", "while :; do :; done")
    machine.battery(datetime.now(UTC))
    word = machine.ask().word
    assert word is not None
    assert word.source == RTC


def test_a_program_that_cannot_be_run_said_nothing(machine: Machine) -> None:
    machine.install("chronyc", "")
    (machine.programs / "chronyc").write_bytes(b"\x00\x01")
    assert machine.ask() == Answer(None, "")


def test_a_battery_clock_vouches_where_it_agrees(machine: Machine) -> None:
    machine.battery(datetime.now(UTC) + timedelta(seconds=20))
    word = machine.ask(datetime.now(UTC) - timedelta(days=1)).word
    assert word is not None
    assert (word.source, word.is_confirmed) == (RTC, False)


@pytest.mark.parametrize(
    ("ahead", "floor"),
    [
        (timedelta(minutes=5), None),
        (-timedelta(minutes=5), None),
        (timedelta(0), timedelta(days=1)),
        (timedelta(days=40 * 365), None),
    ],
)
def test_a_battery_clock_that_is_not_plausible_is_not_believed(
    machine: Machine, ahead: timedelta, floor: timedelta | None
) -> None:
    machine.battery(datetime.now(UTC) + ahead)
    assert machine.ask(None if floor is None else datetime.now(UTC) + floor).word is None


@pytest.mark.parametrize("year", [1970, 2100])
def test_a_battery_clock_that_lost_its_battery_is_not_believed_by_a_wall_clock_set_from_it(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, year: int
) -> None:
    at = datetime(year, 1, 1, tzinfo=UTC)

    class Wall(datetime):
        @classmethod
        def now(cls, tz: object = None) -> datetime:  # type: ignore[override]  # only ever asked for UTC
            assert tz is UTC
            return at

    monkeypatch.setattr(timesources, "datetime", Wall)
    machine.battery(at)
    assert machine.ask().word is None


@pytest.mark.parametrize("text", ["", "soon", "9" * 40, "\xff"])
def test_a_battery_clock_that_says_nonsense_said_nothing(machine: Machine, text: str) -> None:
    machine.rtc.write_bytes(text.encode("latin-1"))
    assert machine.ask() == Answer(None, "")


def test_a_word_is_of_now(machine: Machine) -> None:
    machine.chrony(IN_STEP)
    word = machine.ask().word
    assert word is not None
    assert abs(word.since_boot_s - time.clock_gettime(time.CLOCK_BOOTTIME)) < 60
