"""Ends tasks for sure: no cancelling is lost in what a loop does; what does not end is named."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")

CHAIN_MAX = 50


class EndlessError(RuntimeError):
    """Something goes on although it was cancelled; says what waits for what."""


async def apart(work: Awaitable[T]) -> T:
    """Do one round of a loop in a task of its own, so that the loop ends when it is cancelled.

    Within one task a cancelling is lost where an error comes in its way and the loop goes on after
    errors: a `finally` that raises, a task group, which tells of its tasks' errors instead.

    Raises:
        asyncio.CancelledError: this task was cancelled; the round has ended, whether well or not.
    """
    task = asyncio.ensure_future(work)
    return await _outcome(task, on_cancelled=task.cancel)


async def finished(step: Awaitable[T]) -> T:
    """Do a step that is finished once it is begun, whoever loses interest meanwhile.

    A statement that aiosqlite runs on its thread goes on after its task was cancelled: a cancelled
    INSERT is committed later, a cancelled BEGIN holds the file's lock for ever.

    Raises:
        asyncio.CancelledError: this task was cancelled; the step has ended, whether well or not.
    """
    return await _outcome(asyncio.ensure_future(step), on_cancelled=lambda: None)


async def _outcome(task: asyncio.Future[T], on_cancelled: Callable[[], object]) -> T:
    """Wait until a task is over, however often this one is cancelled; that is raised then."""
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait((task,))
        except asyncio.CancelledError as error:
            cancelled = error
            on_cancelled()
    if cancelled is not None:
        if not task.cancelled():
            # Its error is looked at, as nobody else will; that of who cancelled comes first.
            task.exception()
        raise cancelled
    return task.result()


async def ended(task: asyncio.Task[None], within_s: float) -> None:
    """Cancel a task and wait for its end; what else ended it is raised.

    Raises:
        EndlessError: it goes on after so long.
    """
    task.cancel()
    done, _ = await asyncio.wait((task,), timeout=within_s)
    if not done:
        raise EndlessError(f"{task.get_name()} does not end: {unfinished()}")
    if not task.cancelled():
        task.result()


def unfinished() -> str:
    """What every other task of this event loop waits for, one after the other."""
    tasks = sorted(asyncio.all_tasks() - {asyncio.current_task()}, key=lambda task: task.get_name())
    return "; ".join(f"{task.get_name()} at {_place(task.get_coro())}" for task in tasks)


def _place(waiting: Any) -> str:
    """The innermost place in sources at which a coroutine waits."""
    place = "its beginning"
    for _ in range(CHAIN_MAX):
        frame = getattr(waiting, "cr_frame", None) or getattr(waiting, "ag_frame", None)
        if frame is None:
            break
        code = frame.f_code
        place = f"{Path(code.co_filename).name}:{frame.f_lineno} {code.co_name}"
        waiting = getattr(waiting, "cr_await", None) or getattr(waiting, "ag_await", None)
    return place
