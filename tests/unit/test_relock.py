"""A strike locks by itself, whatever else happens."""

import asyncio
import logging
import math
import random
import threading
import time
from collections.abc import Iterator

import pytest

from edgegate.ports import DeviceAbsentError, DeviceFaultError
from edgegate_drivers import _relock
from edgegate_drivers._relock import Relock

TIMEOUT_S = 30.0


class FakeStrikeLine:
    """A line that remembers its levels and fails when it is told to."""

    def __init__(self) -> None:
        self.history = [False]
        self.writes = 0
        self.release_error: Exception | None = None
        self.lock_error: Exception | None = None
        self.check_error: Exception | None = None
        self.changed = threading.Condition()

    def release_line(self) -> None:
        self._drive(True, self.release_error)

    def lock_line(self) -> None:
        self._drive(False, self.lock_error)

    def check_line(self) -> None:
        if self.check_error is not None:
            raise self.check_error

    @property
    def released(self) -> bool:
        return self.history[-1]

    def wait(self, released: bool) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: self.released == released, TIMEOUT_S)

    def wait_writes(self, count: int) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: self.writes >= count, TIMEOUT_S)

    def _drive(self, released: bool, error: Exception | None) -> None:
        with self.changed:
            self.writes += 1
            self.changed.notify_all()
            if error is not None:
                raise error
            self.history.append(released)


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_relock, "WATCH_S", 0.02)
    monkeypatch.setattr(_relock, "RETRY_S", 0.02)


@pytest.fixture
def line() -> FakeStrikeLine:
    return FakeStrikeLine()


@pytest.fixture
def strike(line: FakeStrikeLine) -> Iterator[Relock]:
    strike = Relock(line, name="front")
    yield strike
    line.lock_error = None
    strike.close()


def test_it_locks_by_itself(line: FakeStrikeLine, strike: Relock) -> None:
    strike.release(0.05)
    line.wait(False)
    assert line.history == [False, True, False]


def test_a_later_call_moves_the_instant_to_a_later_one(
    line: FakeStrikeLine, strike: Relock
) -> None:
    strike.release(0.2)
    strike.release(8)
    time.sleep(0.5)
    assert line.released


def test_a_later_call_moves_the_instant_to_an_earlier_one(line: FakeStrikeLine) -> None:
    strike = Relock(line, name="front", release_s_max=600)
    strike.release(600)
    strike.release(0.05)
    line.wait(False)
    strike.close()


def test_a_longer_wish_is_cut(line: FakeStrikeLine) -> None:
    strike = Relock(line, name="front", release_s_max=0.05)
    strike.release(math.inf)
    line.wait(False)
    strike.close()


@pytest.mark.parametrize("for_s", [0, -1, math.nan])
def test_a_release_for_no_time_drives_nothing(
    line: FakeStrikeLine, strike: Relock, for_s: float
) -> None:
    with pytest.raises(ValueError, match="more than 0"):
        strike.release(for_s)
    assert line.writes == 0


def test_lock_locks_now_and_takes_the_instant_back(line: FakeStrikeLine, strike: Relock) -> None:
    strike.release(0.2)
    strike.lock()
    assert not line.released
    time.sleep(0.4)
    assert line.history == [False, True, False]


def test_close_locks_and_ends_the_thread(line: FakeStrikeLine) -> None:
    strike = Relock(line, name="front")
    strike.release(10)
    strike.close()
    assert not line.released
    strike._thread.join(TIMEOUT_S)
    assert not strike._thread.is_alive()
    with pytest.raises(DeviceAbsentError, match="closed"):
        strike.release(1)
    strike.lock()
    strike.close()
    assert line.history == [False, True, False]


async def test_it_locks_while_the_event_loop_hangs(line: FakeStrikeLine, strike: Relock) -> None:
    strike.release(0.05)
    line.wait(False)


def test_it_locks_while_others_keep_the_interpreter_busy(
    line: FakeStrikeLine, strike: Relock
) -> None:
    locked = threading.Event()

    def spin() -> None:
        while not locked.is_set():
            sum(range(1000))

    threads = [threading.Thread(target=spin) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(5):
            strike.release(0.02)
            line.wait(False)
    finally:
        locked.set()
        for thread in threads:
            thread.join()


@pytest.mark.parametrize("error", [DeviceFaultError("stuck"), AttributeError("a library's bug")])
def test_a_relock_that_fails_is_tried_until_it_works(
    line: FakeStrikeLine, strike: Relock, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    line.lock_error = error
    strike.release(0.05)
    line.wait_writes(5)
    assert line.released
    line.lock_error = None
    line.wait(False)
    # Once, not once for each try.
    assert [record.levelno for record in caplog.records].count(logging.ERROR) == 1
    strike.release(0.05)
    line.wait(False)


def test_a_release_that_fails_is_locked_at_once(line: FakeStrikeLine, strike: Relock) -> None:
    line.release_error = DeviceFaultError("half-way")
    with pytest.raises(DeviceFaultError, match="half-way"):
        strike.release(8)
    # It may have opened although it said no.
    line.wait_writes(2)
    assert line.history == [False, False]


def test_lock_does_not_raise_where_the_line_fails(line: FakeStrikeLine, strike: Relock) -> None:
    strike.release(8)
    line.lock_error = DeviceFaultError("stuck")
    strike.lock()
    line.lock_error = None
    line.wait(False)


def test_a_release_between_the_tries_wins(line: FakeStrikeLine, strike: Relock) -> None:
    line.lock_error = DeviceFaultError("stuck")
    strike.release(0.05)
    line.wait_writes(2)
    strike.release(8)
    line.lock_error = None
    time.sleep(4 * _relock.RETRY_S)
    assert line.released


def test_close_gives_a_dead_line_up(line: FakeStrikeLine, caplog: pytest.LogCaptureFixture) -> None:
    strike = Relock(line, name="front")
    strike.release(10)
    line.lock_error = DeviceAbsentError("gone")
    strike.close()
    assert line.writes == 1 + _relock.CLOSE_TRIES_MAX
    strike._thread.join(TIMEOUT_S)
    assert not strike._thread.is_alive()
    assert caplog.records[-1].levelno == logging.CRITICAL


async def test_watch_tells_of_a_device_that_went_away(line: FakeStrikeLine, strike: Relock) -> None:
    watching = asyncio.create_task(strike.watch())
    await asyncio.sleep(0)
    assert not watching.done()
    line.check_error = DeviceAbsentError("gone")
    with pytest.raises(DeviceAbsentError, match="gone"):
        await asyncio.wait_for(watching, TIMEOUT_S)


async def test_watch_tells_of_a_strike_that_does_not_lock(
    line: FakeStrikeLine, strike: Relock
) -> None:
    line.lock_error = ValueError("odd")
    strike.release(0.05)
    with pytest.raises(DeviceFaultError, match="does not lock: odd"):
        await asyncio.wait_for(strike.watch(), TIMEOUT_S)


async def test_watch_ends_with_the_strike(line: FakeStrikeLine) -> None:
    strike = Relock(line, name="front")
    watching = asyncio.create_task(strike.watch())
    await asyncio.sleep(0)
    strike.close()
    with pytest.raises(DeviceAbsentError, match="closed"):
        await asyncio.wait_for(watching, TIMEOUT_S)


class GuardedLine(FakeStrikeLine):
    """Fails now and then, and notes where a release found no pending instant."""

    strike: Relock

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.random = random.Random(seed)
        self.unguarded = 0

    def release_line(self) -> None:
        self.unguarded += self.strike._lock_at_s is None
        super().release_line()
        self._stumble()

    def lock_line(self) -> None:
        self._stumble()
        super().lock_line()

    def _stumble(self) -> None:
        if self.random.random() < 0.1:
            raise DeviceFaultError("stumbled")


@pytest.mark.parametrize("seed", range(4))
def test_no_interleaving_leaves_a_released_line_without_an_instant(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_relock, "RETRY_S", 0.001)
    line = GuardedLine(seed)
    strike = line.strike = Relock(line, name=f"seed {seed}")
    unguarded = 0

    def call(caller_seed: int) -> None:
        nonlocal unguarded
        choices = random.Random(caller_seed)
        for _ in range(150):
            try:
                if choices.random() < 0.7:
                    strike.release(choices.choice([1e-9, 1e-4, 1e-3, 2e-3]))
                else:
                    strike.lock()
            except DeviceFaultError:
                pass
            with strike._changed:
                unguarded += line.released and strike._lock_at_s is None
            time.sleep(choices.choice([0, 0, 1e-4, 1e-3]))

    threads = [threading.Thread(target=call, args=(seed * 100 + caller,)) for caller in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    line.wait(False)
    strike.close()
    assert line.history.count(True) > 50
    assert (unguarded, line.unguarded) == (0, 0)
    assert not line.released


def test_a_strike_left_released_is_locked_by_nothing(line: FakeStrikeLine) -> None:
    strike = Relock(line, name="front")
    strike.release(0.05)
    strike.leave_released()
    strike.lock()
    strike.close()
    strike._thread.join(TIMEOUT_S)
    assert not strike._thread.is_alive()
    assert line.released
    with pytest.raises(DeviceAbsentError):
        strike.release(1)


def test_a_strike_that_cannot_be_left_released_does_not_stop_the_stop(line: FakeStrikeLine) -> None:
    strike = Relock(line, name="front")
    line.release_error = DeviceFaultError("the wire is cut")
    strike.leave_released()
    assert not line.released
