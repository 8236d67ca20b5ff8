"""Steps that are finished once they are begun, whoever loses interest meanwhile.

A statement that aiosqlite runs on its thread goes on after its task was cancelled: a cancelled
INSERT is committed later, a cancelled BEGIN holds the file's lock for ever. So each step of a
writing transaction runs in a task of its own, and cancelling is passed on when the step is over.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def finished(step: Coroutine[Any, Any, T] | asyncio.Future[T]) -> T:
    """The result of a step; a cancellation that comes meanwhile is raised when it is done.

    Raises:
        asyncio.CancelledError: after the step has ended, whether well or not.
    """
    task = asyncio.ensure_future(step)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait((task,))
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        if not task.cancelled():
            # Its error is looked at, as nobody else will; that of who cancelled comes first.
            task.exception()
        raise cancelled
    return task.result()
