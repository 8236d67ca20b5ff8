"""A TCP proxy that misbehaves as networks do, by a seeded chance: for what must not matter.

It sees TLS and no more, so it can cut, hold up and hold back bytes, but not repeat or swap
requests: that is done at their ends (`rig.box`, `rig.gremlin`).
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from enum import StrEnum
from random import Random

CHUNK_BYTES = 16_384


class Fault(StrEnum):
    """What is wrong with the network now."""

    NONE = "none"
    REFUSE = "refuse"
    """Whoever connects is reset."""
    DELAY = "delay"
    """Each piece waits for up to `delay_s`."""
    HALF_OPEN = "half-open"
    """Whoever connects is accepted and never answered."""
    STALL = "stall"
    """Nothing goes through any more, on old connections and new ones, and none is closed."""
    TRUNCATE = "truncate"
    """A connection is closed as soon as `bytes_max` came back on it."""


class Proxy:
    """Forwards connections to `target`, which may change; begin with `serving`."""

    def __init__(self, target: tuple[str, int], chance: Random) -> None:
        self.target = target
        self.fault = Fault.NONE
        self.delay_s = 0.0
        self.bytes_max = 0
        self.port = 0
        self.connections = 0
        """How many there were since the start."""
        self._chance = chance
        self._open: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def serving(self) -> AsyncIterator["Proxy"]:
        """Listen on a free port of this machine until the end of the block."""
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            self.cut()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def begin(self, fault: Fault, *, delay_s: float = 0.0, bytes_max: int = 0) -> None:
        """Let this be wrong from now on."""
        self.fault, self.delay_s, self.bytes_max = fault, delay_s, bytes_max
        if fault is Fault.REFUSE:
            self.cut()

    def heal(self) -> None:
        """Let all be well again; connections that hung are gone, as after a router's restart."""
        hung = self.fault in (Fault.HALF_OPEN, Fault.STALL)
        self.fault = Fault.NONE
        if hung:
            self.cut()

    def cut(self) -> None:
        """Break every connection now."""
        for writer in self._open:
            writer.transport.abort()
        self._open.clear()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.create_task(self._carry(reader, writer), name="proxy")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            await self._serve(reader, writer)
        except OSError:
            # Either end went away, which is what this is for.
            pass
        finally:
            self._close(writer)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.fault is Fault.REFUSE:
            return
        if self.fault in (Fault.HALF_OPEN, Fault.STALL):
            await self._hang(writer)
            return
        there, back = await asyncio.open_connection(*self.target)
        self._open.add(back)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pump(reader, back, is_answer=False))
                group.create_task(self._pump(there, writer, is_answer=True))
        except* OSError:
            # The same; the group ends both ways.
            pass
        finally:
            self._close(back)

    async def _pump(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, is_answer: bool
    ) -> None:
        passed = 0
        while data := await source.read(CHUNK_BYTES):
            if self.fault is Fault.DELAY:
                await asyncio.sleep(self._chance.uniform(0, self.delay_s))
            elif self.fault is Fault.STALL:
                await self._hang(sink)
            elif self.fault is Fault.TRUNCATE and is_answer:
                data = data[: max(0, self.bytes_max - passed)]
            passed += len(data)
            sink.write(data)
            await sink.drain()
            if self.fault is Fault.TRUNCATE and is_answer and passed >= self.bytes_max:
                break
        raise ConnectionResetError("one end has closed")

    async def _hang(self, writer: asyncio.StreamWriter) -> None:
        """Do nothing until the connection is cut."""
        while writer in self._open and not writer.is_closing():  # noqa: ASYNC110 - see `cut`
            await asyncio.sleep(0.02)
        raise ConnectionResetError("it was cut")

    def _close(self, writer: asyncio.StreamWriter) -> None:
        self._open.discard(writer)
        with suppress(RuntimeError):
            writer.close()
