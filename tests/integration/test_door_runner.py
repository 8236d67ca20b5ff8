"""The door runner on working fakes: what the strike is told, and when a fault ends what."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import pytest

from edgegate.doors import runner
from edgegate.doors.events import Cause, DoorEvent
from edgegate.doors.runner import DoorRunner
from edgegate.doors.state import Contact, DoorSettings
from edgegate.doors.status import DoorWord, SensorPresence
from edgegate.ports import DeviceAbsentError, DeviceFaultError
from edgegate.supervisor import Backoff, StatusBoard, keep
from fakes.fake_door_ports import FakeClock, FakeSensor, FakeStrike

SETTINGS = DoorSettings(renew_every_s=0.02)
PATIENCE_S = 30


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something that must become so; how soon is nobody's claim."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110 - conditions over many objects, none of them waitable
            await asyncio.sleep(0.002)


class Bench:
    """One door on fakes, with everything that it reported."""

    def __init__(
        self,
        settings: DoorSettings = SETTINGS,
        *,
        strike: bool = True,
        contact_open: bool | None = False,
    ) -> None:
        self.clock = FakeClock()
        self.strike = FakeStrike(self.clock)
        self.contact = FakeSensor(self.clock, active=bool(contact_open))
        self.button = FakeSensor(self.clock)
        self.events: list[DoorEvent] = []
        self.door = DoorRunner(
            settings,
            self.strike if strike else None,
            self.contact if contact_open is not None else None,
            self.button,
            self.events.append,
            self.clock,
        )

    @property
    def reported(self) -> list[str]:
        return [event.kind.value + ("-" if event.cleared else "") for event in self.events]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.door.run())
        await asyncio.wait(
            [task, asyncio.ensure_future(self.button.followed.wait())],
            return_when=asyncio.FIRST_COMPLETED,
        )
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


def test_a_command_drives_the_strike_before_it_returns() -> None:
    bench = Bench()
    assert bench.strike.commands == [0]
    assert bench.door.open(3)
    assert bench.strike.commands == [0, 3]
    bench.door.lock()
    assert bench.strike.commands == [0, 3, 0]
    assert bench.door.exit()
    assert bench.strike.left_s == SETTINGS.exit_s
    assert [event.data() for event in bench.events] == [
        {"cause": "grant", "for_ms": 3000, "strike_answered": True},
        {"cause": "exit_reader", "for_ms": 5000, "strike_answered": True},
    ]


def test_fire_lockdown_and_keeping_open_act_at_once() -> None:
    bench = Bench()
    assert bench.door.keep_open(bench.clock() + 600)
    assert bench.door.status().word is DoorWord.KEPT_OPEN
    bench.door.lockdown(True)
    assert not bench.strike.released
    assert bench.door.status().word is DoorWord.LOCKDOWN
    assert not bench.door.keep_open(bench.clock() + 600)
    bench.door.fire(True)
    assert bench.strike.left_s == SETTINGS.fire_for_s
    assert bench.door.status().word is DoorWord.FIRE
    bench.door.fire(False)
    assert not bench.strike.released
    bench.door.lockdown(False)
    assert bench.reported == ["unlocked", "lockdown", "fire", "fire-", "lockdown-"]


def test_the_strike_is_driven_before_anybody_hears_of_it() -> None:
    clock = FakeClock()
    strike = FakeStrike(clock)
    released: list[bool] = []
    door = DoorRunner(
        SETTINGS, strike, None, None, lambda _: released.append(strike.released), clock
    )
    door.open(3)
    door.exit()
    door.fire(True)
    assert released == [True, True, True]


def test_a_door_without_a_strike_says_so_and_remembers_what_it_should_be() -> None:
    bench = Bench(strike=False)
    assert not bench.door.open(4)
    assert bench.door.status().word is DoorWord.NOT_ANSWERING
    assert bench.events[0].data()["strike_answered"] is False
    bench.clock.now_s += 1
    bench.door.attach_strike(bench.strike)
    assert bench.strike.commands == [3]
    assert bench.door.status().word is DoorWord.UNLOCKED
    bench.door.detach_strike(bench.strike)
    assert bench.strike.commands == [3, 0]
    assert bench.door.status().word is DoorWord.NOT_ANSWERING


async def test_keeping_open_is_renewed_and_a_hung_caller_leaves_it_locked() -> None:
    bench = Bench()
    async with bench.running():
        bench.door.keep_open(bench.clock() + 600)
        for _ in range(3):
            bench.clock.now_s += 1
            renewed = len(bench.strike.commands)
            await until(lambda count=renewed: len(bench.strike.commands) > count)  # type: ignore[misc] # mypy cannot infer a lambda with a default
            assert bench.strike.left_s == SETTINGS.renew_for_s
        bench.clock.now_s += SETTINGS.renew_for_s
        assert not bench.strike.released


async def test_the_end_of_a_grant_locks() -> None:
    bench = Bench(DoorSettings())
    async with bench.running():
        bench.door.open(0.01)
        bench.clock.now_s += 1
        await until(lambda: bench.strike.commands[-1] == 0)
    assert bench.door.status().word is DoorWord.LOCKED


async def test_contact_and_button_are_followed() -> None:
    bench = Bench()
    async with bench.running():
        bench.button.set(active=True)
        await until(lambda: bench.strike.released)
        bench.button.set(active=False)
        await until(lambda: not bench.door.status().exit_pressed)
        bench.contact.set(active=True)
        await until(lambda: bench.door.status().contact is Contact.OPEN)
        bench.contact.set(active=False)
        await until(lambda: not bench.strike.released)
    assert bench.reported == ["exit", "opened", "closed"]
    assert bench.events[0].cause is Cause.EXIT_BUTTON


async def test_a_button_that_is_pressed_at_the_start_lets_people_out() -> None:
    bench = Bench()
    bench.button.set(active=True)
    async with bench.running():
        await until(lambda: bench.strike.released)
    assert bench.reported == ["exit"]


async def test_an_opening_heard_of_late_is_judged_by_its_own_instant() -> None:
    bench = Bench(DoorSettings(renew_every_s=0.02))
    async with bench.running():
        bench.door.open(3)
        opened_at_s = bench.clock.now_s + 2
        bench.clock.now_s += 60
        bench.door.tick()
        bench.contact.set(active=True, at_s=opened_at_s)
        await until(lambda: "opened" in bench.reported)
    assert "forced" not in bench.reported


async def test_a_lost_sensor_ends_nothing_but_itself() -> None:
    bench = Bench()
    async with bench.running():
        bench.button.set(active=True)
        await until(lambda: bench.door.status().exit_pressed)
        bench.contact.lose(DeviceAbsentError("pulled"))
        bench.button.lose(DeviceAbsentError("pulled"))
        await until(lambda: bench.door.status().exit_button is SensorPresence.LOST)
        await until(lambda: bench.door.status().contact_sensor is SensorPresence.LOST)
        status = bench.door.status()
        assert (status.contact, status.exit_pressed) == (Contact.UNKNOWN, False)
        assert bench.door.open(3)


async def test_a_contact_that_cannot_be_read_at_first_is_lost_and_the_door_runs() -> None:
    bench = Bench()
    bench.contact.failure = DeviceFaultError("no answer")
    async with bench.running():
        await until(lambda: bench.door.status().contact_sensor is SensorPresence.LOST)
        assert bench.door.open(3)


async def test_a_strike_that_does_not_answer_is_told_again_until_it_does() -> None:
    bench = Bench()
    async with bench.running():
        bench.strike.fail("relay board is silent")
        assert not bench.door.open(50)
        status = bench.door.status()
        assert (status.word, status.fault) == (DoorWord.NOT_ANSWERING, "relay board is silent")
        bench.strike.failure = None
        await until(lambda: bench.strike.released)
        assert bench.door.status().word is DoorWord.UNLOCKED


async def test_a_lock_that_failed_is_tried_again_though_nothing_else_happens(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(runner, "RETRY_S", 0.01)
    bench = Bench(contact_open=None)
    async with bench.running():
        bench.door.open(50)
        bench.strike.fail("relay board is silent")
        bench.door.lock()
        assert bench.strike.released
        bench.strike.failure = None
        await until(lambda: not bench.strike.released)
        assert bench.door.status().word is DoorWord.LOCKED


@pytest.mark.parametrize("how", ["a command fails", "the device goes away"])
async def test_a_supervised_strike_is_reopened(how: str) -> None:
    clock = FakeClock()
    door = DoorRunner(SETTINGS, None, None, None, lambda _: None, clock)
    opened: list[FakeStrike] = []

    @asynccontextmanager
    async def open_strike() -> AsyncIterator[FakeStrike]:
        opened.append(FakeStrike(clock))
        yield opened[-1]

    told: list[str] = []
    board = StatusBoard(lambda _, status: told.append(status.detail))
    task = asyncio.create_task(
        keep("strike", open_strike, door.use_strike, board, backoff=Backoff(first_s=0.001))
    )
    await until(lambda: len(opened) == 1 and opened[0].commands == [0])
    if how == "a command fails":
        opened[0].fail("relay board is silent")
        assert not door.open(50)
    else:
        assert door.open(50)
        opened[0].lose("relay board is gone")
    await until(lambda: len(opened) == 2 and opened[1].released)
    assert not opened[0].commands[-1], "what is let go of is told to lock"
    assert door.status().word is DoorWord.UNLOCKED
    details = [detail for detail in told if detail]
    assert details in (["relay board is silent"], ["relay board is gone"])
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    assert not opened[1].released
    assert opened[1].commands[-1] == 0


@pytest.mark.parametrize("how", ["cancelled", "broken"])
async def test_the_strike_is_locked_however_the_runner_ends(how: str) -> None:
    bench = Bench()
    task = asyncio.create_task(bench.door.run())
    bench.door.keep_open(bench.clock() + 600)
    await asyncio.sleep(0)
    assert bench.strike.left_s > 0
    if how == "cancelled":
        task.cancel()
    else:
        bench.strike.failure = ZeroDivisionError("a programming error")
        with pytest.raises(ZeroDivisionError):
            bench.door.open(40)
        bench.strike.failure = None
    await asyncio.wait([task], timeout=PATIENCE_S)
    assert task.done()
    assert bench.strike.commands[-1] == 0
    assert not bench.door.open(50), "nothing releases a door that has been left"
    assert bench.strike.commands[-1] == 0
    if how == "broken":
        assert isinstance(task.exception(), ExceptionGroup)


@pytest.mark.parametrize(
    ("fail_safe", "fire", "released"),
    [
        (True, True, True),
        (True, False, False),
        (False, True, False),
    ],
)
async def test_leaving_a_fail_safe_door_leaves_it_released_under_fire(
    fail_safe: bool, fire: bool, released: bool
) -> None:
    bench = Bench(DoorSettings(fail_safe=fail_safe))
    async with bench.running():
        bench.door.keep_open(bench.clock() + 600)
        bench.door.fire(fire)
    assert bench.strike.released is released


async def test_a_strike_that_cannot_even_be_left_locked_does_not_stop_the_stop() -> None:
    bench = Bench()
    async with bench.running():
        bench.strike.fail("gone")
    assert bench.strike.commands[-1] == 0
