"""A whole appliance in the test's own process, and somebody who taps at it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from edgegate.app import App
from edgegate.line import Passage
from edgegate_emulators.board import Board

WAIT_S = 20.0


@asynccontextmanager
async def running(app: App) -> AsyncIterator[None]:
    """The appliance in this process."""
    work = asyncio.create_task(app.run())
    try:
        await asyncio.wait_for(app.ready.wait(), WAIT_S)
        yield
    finally:
        app.stop()
        await asyncio.wait_for(work, WAIT_S)


def tapper(board: Board, passages: "asyncio.Queue[Passage]") -> Callable[..., Awaitable[Passage]]:
    async def tap(code: str, door: str = "front") -> Passage:
        reader = f"{door}-reader"
        await asyncio.to_thread(board.wait_connected, reader, WAIT_S)
        board.scan(reader, "qr_static", code.encode().hex())
        return await asyncio.wait_for(passages.get(), WAIT_S)

    return tap
