"""A loop that is cancelled ends, whatever comes in the way; what does not end is named."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from edgegate_sync.cancelling import EndlessError, apart, ended, unfinished


async def loop_of(work: Callable[[], Awaitable[None]]) -> None:
    """What the exchange's loops are: after an error they go on."""
    while True:
        try:
            await apart(work())
        except* OSError:
            await asyncio.sleep(0)


async def is_there(begun: asyncio.Event) -> None:
    async with asyncio.timeout(20):
        await begun.wait()


async def test_a_round_gives_what_it_gives() -> None:
    async def seven() -> int:
        return 7

    async def fail() -> int:
        raise ZeroDivisionError

    assert await apart(seven()) == 7
    with pytest.raises(ZeroDivisionError):
        await apart(fail())


async def test_a_clean_up_that_fails_does_not_keep_a_loop_going() -> None:
    begun = asyncio.Event()

    async def work() -> None:
        try:
            begun.set()
            await asyncio.Event().wait()
        finally:
            raise OSError("the disk is full")

    task = asyncio.create_task(loop_of(work))
    await is_there(begun)
    await ended(task, 20)


async def test_the_errors_of_a_group_do_not_keep_a_loop_going() -> None:
    begun = asyncio.Event()

    async def member() -> None:
        try:
            begun.set()
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise OSError("gone at the same moment") from None

    async def work() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(member())

    task = asyncio.create_task(loop_of(work))
    await is_there(begun)
    await ended(task, 20)


async def test_a_round_has_ended_before_its_loop_does() -> None:
    begun, cleaned = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        try:
            begun.set()
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.01)
            cleaned.set()

    task = asyncio.create_task(loop_of(work))
    await is_there(begun)
    await ended(task, 20)
    assert cleaned.is_set()


async def test_what_ends_something_otherwise_is_raised() -> None:
    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            raise ZeroDivisionError

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    with pytest.raises(ZeroDivisionError):
        await ended(task, 20)


async def test_what_does_not_end_is_named_with_where_it_waits() -> None:
    released = asyncio.Event()

    async def deep_down() -> None:
        await released.wait()

    async def deaf() -> None:
        while not released.is_set():
            try:
                await deep_down()
            except asyncio.CancelledError:
                continue

    task = asyncio.create_task(deaf(), name="deaf one")
    await asyncio.sleep(0)
    with pytest.raises(EndlessError, match=r"deaf one does not end: .*deaf one at locks\.py:\d+"):
        await ended(task, 0.01)
    assert "deaf one at " in unfinished()
    released.set()
    await task
