"""Effective time: what it follows, what it does not, and what it makes of a start."""

import threading
from datetime import datetime, timedelta

import pytest

from edgegate.clock import CLOUD, HOLDOVER_S_MAX, KERNEL, RTC, STEPS_MAX, Kept, SystemClock, Word
from edgegate.ports import ClockTrust
from fakes.fake_time import START, Computer

BOOT = "this-boot"


@pytest.fixture
def computer(monkeypatch: pytest.MonkeyPatch) -> Computer:
    return Computer(monkeypatch)


@pytest.fixture
def trusted(computer: Computer) -> SystemClock:
    """A clock that was in step a second ago and now is not asked about."""
    computer.in_step = True
    system = SystemClock()
    assert system.trust() is ClockTrust.TRUSTED
    return system


def word(computer: Computer, source: str, seconds: float = 0.0, good_for_s: float = 60.0) -> Word:
    at = computer.wall + timedelta(seconds=seconds)
    return Word(source, at, computer.since_boot_s, good_for_s)


@pytest.mark.parametrize("seconds", [3600.0, -3600.0, 400 * 86400.0])
def test_a_step_that_nobody_vouches_for_is_not_followed(
    computer: Computer, trusted: SystemClock, seconds: float
) -> None:
    before = trusted.now()
    computer.passes(30).step(seconds)
    assert trusted.now() == before + timedelta(seconds=30)
    assert trusted.trust() is ClockTrust.HOLDOVER
    computer.passes(600)
    assert trusted.now() == before + timedelta(seconds=630)
    assert trusted.take_steps() == []


def test_ntp_that_corrects_such_a_step_moves_nothing(
    computer: Computer, trusted: SystemClock
) -> None:
    computer.passes(30).step(3600)
    trusted.now()
    computer.passes(30).step(-3600, in_step=True)
    assert trusted.now() == START + timedelta(seconds=60)
    assert trusted.trust() is ClockTrust.TRUSTED
    assert trusted.take_steps() == []


def test_drift_is_followed_while_the_kernel_vouches(
    computer: Computer, trusted: SystemClock
) -> None:
    computer.passes(5).step(0.4, in_step=True)
    assert trusted.now() == START + timedelta(seconds=5.4)
    assert trusted.take_steps() == []


def test_a_clock_that_is_believed_is_not_moved_by_the_kernels_word_alone(
    computer: Computer, trusted: SystemClock
) -> None:
    """Such as chrony gives it while it is still an hour away and slews."""
    computer.passes(5).step(3600, in_step=True)
    assert trusted.now() == START + timedelta(seconds=5)
    assert trusted.is_in_doubt
    assert trusted.trust() is ClockTrust.HOLDOVER
    assert trusted.hear(word(computer, "chrony"))
    assert trusted.now() == computer.wall
    assert trusted.source == "chrony"
    (step,) = trusted.take_steps()
    assert (step.by_s, step.source, step.since) == (3600, "chrony", None)
    assert step.before == START + timedelta(seconds=5)


@pytest.mark.parametrize("seconds", [7200.0, -7200.0])
def test_a_clock_that_nobody_believes_is_set_at_once(computer: Computer, seconds: float) -> None:
    system = SystemClock()
    assert system.trust() is ClockTrust.UNTRUSTED
    computer.passes(90).step(seconds, in_step=True)
    assert system.now() == computer.wall
    assert system.trust() is ClockTrust.TRUSTED
    (step,) = system.take_steps()
    assert (step.by_s, step.source, step.since) == (seconds, KERNEL, START)
    assert step.before == START + timedelta(seconds=90)


def test_after_seven_days_without_a_source_it_is_set_at_once(
    computer: Computer, trusted: SystemClock
) -> None:
    computer.in_step = False
    computer.passes(HOLDOVER_S_MAX + 1)
    assert trusted.trust() is ClockTrust.UNTRUSTED
    computer.passes(1).step(500, in_step=True)
    assert trusted.now() == computer.wall


def test_the_last_trusted_instant_is_a_floor_after_another_boot(computer: Computer) -> None:
    system = SystemClock()
    kept = Kept(START + timedelta(hours=5), "another-boot", 90_000.0)
    system.restore(kept, BOOT)
    computer.passes(10)
    assert system.now() == kept.at + timedelta(seconds=10)
    assert system.trust() is ClockTrust.UNTRUSTED
    computer.passes(5).step(6 * 3600, in_step=True)
    assert system.now() == computer.wall
    (step,) = system.take_steps()
    assert step.since == kept.at


@pytest.mark.usefixtures("computer")
def test_a_wall_clock_beyond_the_floor_is_taken_untrusted() -> None:
    system = SystemClock()
    system.restore(Kept(START - timedelta(hours=5), "another-boot", 5.0), BOOT)
    assert system.now() == START
    assert system.trust() is ClockTrust.UNTRUSTED


def test_within_a_boot_it_goes_on_as_if_the_process_had_not_ended(computer: Computer) -> None:
    kept = Kept(START, BOOT, computer.since_boot_s)
    computer.passes(120).step(-86_400)
    system = SystemClock()
    system.restore(kept, BOOT)
    assert system.now() == START + timedelta(seconds=120)
    assert system.trust() is ClockTrust.HOLDOVER
    computer.passes(HOLDOVER_S_MAX)
    assert system.trust() is ClockTrust.UNTRUSTED


def test_who_vouches_now_knows_better_than_what_was_kept(computer: Computer) -> None:
    """Else a device that once was told a wrong year would stay in it for ever."""
    computer.in_step = True
    system = SystemClock()
    system.restore(Kept(START + timedelta(days=4000), "another-boot", 5.0), BOOT)
    assert system.now() == START
    assert system.trust() is ClockTrust.TRUSTED


def test_it_is_kept_as_it_was_vouched_for(computer: Computer, trusted: SystemClock) -> None:
    computer.passes(5)
    computer.in_step = False
    trusted.now()
    assert trusted.kept(BOOT) == Kept(START, BOOT, 1000.0)
    assert SystemClock().kept(BOOT) is None


def test_ntp_yields_to_nobody_and_the_cloud_not_to_a_battery(computer: Computer) -> None:
    computer.in_step = True
    system = SystemClock()
    assert not system.hear(word(computer, CLOUD, 900))
    assert system.dispute_s == 900
    assert system.now() == computer.wall
    assert not system.hear(word(computer, CLOUD, 0.5))
    assert system.dispute_s == 0
    computer.in_step = False
    computer.passes(5)
    assert system.hear(word(computer, CLOUD, 900))
    computer.passes(5)
    assert not system.hear(word(computer, RTC, 0))
    assert system.now() == computer.wall + timedelta(seconds=900)
    assert (system.source, system.trust()) == (CLOUD, ClockTrust.TRUSTED)
    computer.passes(60)
    assert system.trust() is ClockTrust.HOLDOVER


def test_a_battery_clock_does_not_move_a_clock_that_is_believed(
    computer: Computer, trusted: SystemClock
) -> None:
    computer.passes(5).step(50)
    assert trusted.trust() is ClockTrust.HOLDOVER
    assert not trusted.hear(word(computer, RTC)._replace(is_confirmed=False))
    assert trusted.now() == START + timedelta(seconds=5)


def test_steps_that_nobody_takes_are_forgotten(computer: Computer) -> None:
    system = SystemClock()
    for number in range(STEPS_MAX + 5):
        system.hear(word(computer, "chrony", 10.0 * number + 10))
    steps = system.take_steps()
    assert len(steps) == STEPS_MAX
    assert system.take_steps() == []


def test_many_threads_may_ask(computer: Computer) -> None:
    computer.in_step = True
    system = SystemClock()
    found: list[datetime] = []

    def ask() -> None:
        found.extend(system.now() for _ in range(2000))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(50):
        computer.passes(0.5)
    for thread in threads:
        thread.join()
    assert len(found) == 8000
    assert min(found) >= START - timedelta(seconds=1)
    assert max(found) <= computer.wall + timedelta(seconds=1)
