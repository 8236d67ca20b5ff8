"""The clock says how far it can be believed, and asks the kernel no more than it must."""

import pytest

from edgegate import clock
from edgegate.clock import ASK_S, HOLDOVER_S_MAX, SystemClock
from edgegate.ports import ClockTrust
from fakes.fake_time import Computer


@pytest.fixture
def computer(monkeypatch: pytest.MonkeyPatch) -> Computer:
    return Computer(monkeypatch)


def test_a_clock_that_was_never_in_step_is_not_trusted(computer: Computer) -> None:
    assert SystemClock().trust() is ClockTrust.UNTRUSTED
    assert computer.asked == 1


def test_a_clock_that_was_in_step_is_believed_for_seven_days(computer: Computer) -> None:
    system = SystemClock()
    computer.in_step = True
    assert system.trust() is ClockTrust.TRUSTED
    computer.in_step = False
    computer.passes(ASK_S)
    assert system.trust() is ClockTrust.HOLDOVER
    computer.passes(HOLDOVER_S_MAX - 2 * ASK_S)
    assert system.trust() is ClockTrust.HOLDOVER
    computer.passes(2 * ASK_S)
    assert system.trust() is ClockTrust.UNTRUSTED


def test_a_tap_does_not_ask_the_kernel_anew(computer: Computer) -> None:
    system = SystemClock()
    for _ in range(10):
        system.trust()
        system.now()
    assert computer.asked == 1


def test_the_real_kernel_answers() -> None:
    assert clock._synchronised() in (True, False)
    assert len(clock.boot_id()) == 36
    assert clock.since_boot_s() > 0
