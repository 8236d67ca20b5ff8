"""What is recorded afterwards: together, in order, without loss, and no record holds up another."""

import asyncio
from collections.abc import Callable
from typing import Any, cast

import pytest

from edgegate import bookkeeper
from edgegate.bookkeeper import Afterwards, Bookkeeper
from edgegate.store.books import Books
from edgegate.store.errors import StorageFailedError

Job = Callable[[Books], Any]

LAST = -1


class Keeper:
    """A bookkeeper whose jobs write into a list, and that undoes a job which raises."""

    def __init__(self) -> None:
        self.written: list[int] = []
        self.transactions = 0
        self.refusals = 0
        self.has_last = asyncio.Event()

    async def do(self, job: Job) -> None:
        await asyncio.sleep(0)
        if self.refusals:
            self.refusals -= 1
            raise StorageFailedError("the disk is full")
        before = list(self.written)
        try:
            job(cast("Books", self))
        except ValueError:
            self.written = before
            raise
        self.transactions += 1
        if self.written[-1:] == [LAST]:
            self.has_last.set()


def _number(number: int) -> Job:
    return lambda books: cast("Keeper", books).written.append(number)


def _raises(_: Books) -> None:
    raise ValueError("a fault in the rules")


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bookkeeper, "RETRY_S", 0.001)


def _afterwards(keeper: Keeper, waiting_max: int = 1000) -> Afterwards:
    return Afterwards(cast("Bookkeeper", keeper), waiting_max)


async def test_what_waits_is_recorded_in_order_and_together() -> None:
    keeper = Keeper()
    afterwards = _afterwards(keeper)
    for number in range(200):
        afterwards.note(_number(number))
    await afterwards.drain(10)
    assert keeper.written == list(range(200))
    assert keeper.transactions == 4


async def test_while_storage_fails_all_is_kept_in_order() -> None:
    keeper = Keeper()
    afterwards = _afterwards(keeper)
    keeper.refusals = 3
    for number in range(100):
        afterwards.note(_number(number))
    await afterwards.drain(10)
    assert keeper.written == list(range(100))
    assert afterwards.dropped == 0


async def test_a_record_that_raises_is_dropped_alone() -> None:
    keeper = Keeper()
    afterwards = _afterwards(keeper)
    for number in range(10):
        afterwards.note(_raises if number == 4 else _number(number))
    await afterwards.drain(10)
    assert keeper.written == [0, 1, 2, 3, 5, 6, 7, 8, 9]
    assert afterwards.dropped == 1


async def test_after_a_record_that_raised_the_next_are_together_again() -> None:
    keeper = Keeper()
    afterwards = _afterwards(keeper)
    for job in (_number(0), _raises):
        afterwards.note(job)
    await afterwards.drain(10)
    keeper.transactions = 0
    for number in range(50):
        afterwards.note(_number(number))
    await afterwards.drain(10)
    assert keeper.transactions == 1


@pytest.mark.parametrize("refusals", [0, 1])
async def test_the_oldest_goes_when_too_many_wait(refusals: int) -> None:
    keeper = Keeper()
    afterwards = _afterwards(keeper, waiting_max=5)
    keeper.refusals = refusals
    for number in range(8):
        afterwards.note(_number(number))
    assert afterwards.dropped == 3
    await afterwards.drain(10)
    assert keeper.written == [3, 4, 5, 6, 7]
    assert afterwards.dropped == 3


async def test_it_records_what_comes_while_it_runs() -> None:
    keeper = Keeper()
    afterwards = _afterwards(keeper)
    task = asyncio.create_task(afterwards.run())
    for number in (0, 1, 2, 3, LAST):
        afterwards.note(_number(number))
        await asyncio.sleep(0)
    await asyncio.wait_for(keeper.has_last.wait(), 10)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert keeper.written == [0, 1, 2, 3, LAST]
