"""What the cloud's Date header says of the time: whole seconds, late, and genuine."""

import time
from datetime import timedelta

import pytest

from edgegate.clock import CLOUD, SystemClock
from edgegate.ports import ClockTrust
from edgegate_sync.appliance import clocktrust
from edgegate_sync.appliance.client import CloudTime
from edgegate_sync.appliance.clocktrust import ROUND_TRIP_S_MAX, word_of
from fakes.fake_time import START, Computer, wall_of


@pytest.fixture
def computer(monkeypatch: pytest.MonkeyPatch) -> Computer:
    found = Computer(monkeypatch)
    monkeypatch.setattr(clocktrust, "since_boot_s", lambda: found.since_boot_s)
    monkeypatch.setattr(clocktrust, "datetime", wall_of(found))
    monkeypatch.setattr(time, "monotonic", lambda: found.since_boot_s)
    return found


def told(computer: Computer, ahead_s: float = 0.0, round_trip_s: float = 0.1) -> CloudTime:
    at = (computer.wall + timedelta(seconds=ahead_s)).replace(microsecond=0)
    return CloudTime(at, computer.since_boot_s, round_trip_s)


@pytest.mark.parametrize("ahead_s", [-2.0, 0.0, 2.0])
def test_a_wall_clock_that_agrees_is_vouched_for_as_it_is(
    computer: Computer, ahead_s: float
) -> None:
    clock = SystemClock()
    word = word_of(told(computer, ahead_s), clock)
    assert word is not None
    assert word.at == computer.wall
    assert clock.hear(word)
    assert (clock.trust(), clock.source) == (ClockTrust.TRUSTED, CLOUD)
    assert clock.take_steps() == []


@pytest.mark.parametrize("ahead_s", [-7200.0, 7200.0])
def test_one_that_does_not_is_left_and_the_clock_set_by_the_header(
    computer: Computer, ahead_s: float
) -> None:
    clock = SystemClock()
    header = told(computer, ahead_s, round_trip_s=1.0)
    computer.passes(30)
    word = word_of(header, clock)
    assert word is not None
    assert clock.hear(word)
    assert clock.now() == START + timedelta(seconds=ahead_s + 30 + 0.5 + 0.5)
    # The next header does not make it jump by fractions of a second.
    computer.passes(60.7)
    before = clock.now()
    word = word_of(told(computer, ahead_s), clock)
    assert word is not None
    assert clock.hear(word)
    assert clock.now() == before
    assert len(clock.take_steps()) == 1


def test_an_answer_that_took_long_says_nothing(computer: Computer) -> None:
    header = told(computer, 0.0, ROUND_TRIP_S_MAX + 0.1)
    assert word_of(header, SystemClock()) is None


def test_it_is_trusted_for_ten_minutes_and_then_held_over(computer: Computer) -> None:
    clock = SystemClock()
    word = word_of(told(computer), clock)
    assert word is not None
    clock.hear(word)
    computer.passes(599)
    assert clock.trust() is ClockTrust.TRUSTED
    computer.passes(2)
    assert clock.trust() is ClockTrust.HOLDOVER
