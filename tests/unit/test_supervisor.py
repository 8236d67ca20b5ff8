"""The supervisor: what is waited out, what passes through, and how a close is bounded."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgegate.ports import (
    DeviceAbsentError,
    DeviceBusyError,
    DriverStatus,
    LibraryMissingError,
)
from edgegate.supervisor import DETAIL_MAX, NAMES_MAX, Backoff, DeviceStatus, StatusBoard, keep

BACKOFF = Backoff(close_s_max=0.01, open_s_max=0.01)


class Enough(BaseException):
    """Ends a `keep` from its own sleep, after so many waits."""


class Bench:
    """A device that fails as told, and the waits, statuses and closings that follow."""

    def __init__(self, *failures: Exception | None, in_open: bool = True) -> None:
        self.failures = list(failures)
        self.in_open = in_open
        self.now_s = 1000.0
        self.ran_s = 0.0
        self.waits_s: list[float] = []
        self.closed = 0
        self.close_failure: Exception | None = None
        self.close_hangs = False
        self.seen: list[DeviceStatus] = []
        self.board = StatusBoard(lambda _, status: self.seen.append(status))

    @asynccontextmanager
    async def open(self) -> AsyncIterator[str]:
        if self.in_open:
            self._fail()
        try:
            yield "device"
        finally:
            self.closed += 1
            if self.close_hangs:
                await asyncio.Event().wait()
            if self.close_failure is not None:
                raise self.close_failure

    async def use(self, device: str) -> None:
        assert device == "device"
        self.now_s += self.ran_s
        self._fail()

    async def sleep(self, delay_s: float) -> None:
        self.waits_s.append(delay_s)
        self.now_s += delay_s
        if not self.failures:
            raise Enough

    async def keep(
        self,
        *,
        backoff: Backoff = BACKOFF,
        open_device: Callable[[], AbstractAsyncContextManager[str]] | None = None,
    ) -> None:
        await keep(
            "reader front",
            open_device or self.open,
            self.use,
            self.board,
            backoff=backoff,
            chance=lambda: 0.0,
            sleep=self.sleep,
            clock_s=lambda: self.now_s,
        )

    def _fail(self) -> None:
        failure = self.failures.pop(0) if self.failures else None
        if failure is not None:
            raise failure


async def test_operating_errors_are_waited_out_ever_longer_up_to_the_cap() -> None:
    bench = Bench(*[DeviceAbsentError("no such port")] * 10)
    with pytest.raises(Enough):
        await bench.keep()
    assert bench.waits_s == pytest.approx([0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 15, 15, 15])
    assert [(seen.status, seen.detail) for seen in bench.seen] == [
        (DriverStatus.OFFLINE, "no such port")
    ]


async def test_a_device_that_ran_well_begins_again_with_the_shortest_wait() -> None:
    bench = Bench(*[DeviceBusyError("held by another")] * 4, in_open=False)
    bench.ran_s = BACKOFF.steady_s
    with pytest.raises(Enough):
        await bench.keep()
    assert bench.waits_s == [0.2] * 4
    assert bench.closed == 4
    assert [seen.status for seen in bench.seen] == [
        DriverStatus.ENABLED,
        DriverStatus.OFFLINE,
    ] * 4


async def test_a_device_that_fails_soon_after_opening_waits_longer_each_time() -> None:
    bench = Bench(*[DeviceBusyError("held by another")] * 3, in_open=False)
    with pytest.raises(Enough):
        await bench.keep()
    assert bench.waits_s == pytest.approx([0.2, 0.4, 0.8])


async def test_a_missing_library_is_a_load_error_and_tried_slowly() -> None:
    bench = Bench(LibraryMissingError("gpiod is not installed"))
    with pytest.raises(Enough):
        await bench.keep()
    assert bench.waits_s == [BACKOFF.library_s]
    assert bench.seen[-1].status is DriverStatus.LOAD_ERROR
    assert bench.seen[-1].detail == "gpiod is not installed"


@pytest.mark.parametrize("in_open", [True, False])
async def test_a_programming_error_passes_through_and_the_device_is_closed(in_open: bool) -> None:
    bench = Bench(ZeroDivisionError("a bug"), in_open=in_open)
    bench.close_failure = OSError("closing failed too")
    with pytest.raises(ZeroDivisionError, match="a bug"):
        await bench.keep()
    assert bench.waits_s == []
    assert bench.closed == (0 if in_open else 1)


async def test_a_time_out_of_the_driver_itself_is_no_operating_error() -> None:
    with pytest.raises(TimeoutError, match="inside"):
        await Bench(TimeoutError("inside")).keep()


async def test_a_use_that_just_returns_counts_as_the_device_having_gone() -> None:
    bench = Bench()
    with pytest.raises(Enough):
        await bench.keep()
    assert bench.seen[-1].status is DriverStatus.OFFLINE


@pytest.mark.parametrize("how", ["raises", "hangs"])
async def test_a_close_that_raises_or_hangs_is_logged_and_work_goes_on(
    how: str, caplog: pytest.LogCaptureFixture
) -> None:
    bench = Bench(*[DeviceAbsentError("pulled")] * 2, in_open=False)
    bench.close_hangs = how == "hangs"
    bench.close_failure = RuntimeError("chip error") if how == "raises" else None
    with pytest.raises(Enough):
        await bench.keep()
    assert bench.closed == 2
    assert bench.seen[-1].detail == "pulled"
    wanted = "did not close within" if how == "hangs" else "chip error"
    assert len([line for line in caplog.messages if wanted in line]) == 2


async def test_a_device_that_never_opens_is_given_up_and_tried_again() -> None:
    @asynccontextmanager
    async def open_never() -> AsyncIterator[str]:
        await asyncio.Event().wait()
        yield "device"

    bench = Bench()
    with pytest.raises(Enough):
        await bench.keep(open_device=open_never)
    assert bench.seen[-1].detail == "the device did not open within 0.01 s"


async def test_cancelling_closes_the_device() -> None:
    bench = Bench(in_open=False)
    using = asyncio.Event()

    async def use(_: str) -> None:
        using.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(keep("reader front", bench.open, use, bench.board))
    await using.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert bench.closed == 1


async def test_one_fault_is_logged_once_however_often_it_is_met(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bench = Bench(*[DeviceAbsentError("no such port")] * 5, DeviceBusyError("held by another"))
    with pytest.raises(Enough):
        await bench.keep()
    assert caplog.messages == [
        "reader front: offline: no such port",
        "reader front: offline: held by another",
    ]


@given(
    failures=st.integers(min_value=-5, max_value=10**9),
    chance=st.floats(min_value=0, max_value=1, exclude_max=True),
)
def test_every_wait_is_jittered_and_capped(failures: int, chance: float) -> None:
    delay_s = Backoff().delay_s(failures, chance)
    whole_s = Backoff().delay_s(failures, 0)
    assert 0.2 <= whole_s <= 15
    assert whole_s / 2 <= delay_s <= whole_s


def test_the_board_tells_changes_only_and_since_when() -> None:
    now_s = 5.0
    told: list[tuple[str, DeviceStatus]] = []
    board = StatusBoard(lambda name, status: told.append((name, status)), clock_s=lambda: now_s)
    assert board.note("front", DriverStatus.ENABLED)
    now_s = 9.0
    assert not board.note("front", DriverStatus.ENABLED)
    assert board.note("front", DriverStatus.OFFLINE, "x" * 1000)
    offline = DeviceStatus(status=DriverStatus.OFFLINE, detail="x" * DETAIL_MAX, since_s=9.0)
    enabled = DeviceStatus(status=DriverStatus.ENABLED, detail="", since_s=5.0)
    assert told == [("front", enabled), ("front", offline)]
    assert board.devices() == {"front": offline}


def test_the_board_is_bounded() -> None:
    board = StatusBoard()
    for number in range(NAMES_MAX):
        board.note(f"device {number}", DriverStatus.ENABLED)
    with pytest.raises(ValueError, match="more than"):
        board.note("one more", DriverStatus.ENABLED)
    assert board.note("device 0", DriverStatus.OFFLINE, "gone")
