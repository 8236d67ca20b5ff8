"""The clock says how far it can be believed, and asks the kernel no more than it must."""

import time

import pytest

from edgegate import clock
from edgegate.clock import ASK_S, HOLDOVER_S_MAX, SystemClock
from edgegate.ports import ClockTrust


class Kernel:
    """A kernel that can be told whether its clock is in step, and what time it is."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.in_step = False
        self.asked = 0
        self.now_s = 1000.0
        monkeypatch.setattr(clock, "_synchronised", self._answer)
        monkeypatch.setattr(time, "monotonic", lambda: self.now_s)

    def _answer(self) -> bool:
        self.asked += 1
        return self.in_step


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    return Kernel(monkeypatch)


def test_a_clock_that_was_never_in_step_is_not_trusted(kernel: Kernel) -> None:
    assert SystemClock().trust() is ClockTrust.UNTRUSTED
    assert kernel.asked == 1


def test_a_clock_that_was_in_step_is_believed_for_seven_days(kernel: Kernel) -> None:
    system = SystemClock()
    kernel.in_step = True
    assert system.trust() is ClockTrust.TRUSTED
    kernel.in_step = False
    kernel.now_s += ASK_S
    assert system.trust() is ClockTrust.HOLDOVER
    kernel.now_s += HOLDOVER_S_MAX - 2 * ASK_S
    assert system.trust() is ClockTrust.HOLDOVER
    kernel.now_s += 2 * ASK_S
    assert system.trust() is ClockTrust.UNTRUSTED


def test_a_tap_does_not_ask_the_kernel_anew(kernel: Kernel) -> None:
    system = SystemClock()
    for _ in range(10):
        system.trust()
    assert kernel.asked == 1


def test_the_real_kernel_answers() -> None:
    assert clock._synchronised() in (True, False)
    assert len(clock.boot_id()) == 36
