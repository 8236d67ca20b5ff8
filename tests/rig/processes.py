"""Appliances and workers of the cloud as processes, from outside: started, asked, killed."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from rig.box import ENDED, LINE_BYTES_MAX, Task
from rig.mortal_cloud import Plan
from rig.proxy import Proxy

TESTS = Path(__file__).parent.parent
WAIT_S_MAX = 240
STOP_S_MAX = 90
LOG_CHARACTERS = 4000


class BoxGoneError(ConnectionError):
    """The appliance was killed meanwhile."""


@contextmanager
def nursery() -> Iterator[Path]:
    """Where appliances are born."""
    with tempfile.TemporaryDirectory(prefix="eg-boxes-") as top:
        path = Path(top) / "nursery"
        process = subprocess.Popen(
            [sys.executable, str(TESTS / "rig/box.py"), str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=_environment(),
        )
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == b"ready\n"
            yield path
        finally:
            process.kill()
            process.communicate()


def _environment() -> dict[str, str]:
    paths = [str(TESTS), *(path for path in sys.path if path)]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PYTHONUNBUFFERED": "1"}


class Worker:
    """A worker of the cloud; what ends it starts it again, on another port."""

    def __init__(self, plan: Plan, directory: Path) -> None:
        self.plan = plan
        self.log = directory / "cloud.log"
        self.port = 0
        self.starts = 0
        self._wanted = asyncio.Event()
        self._wanted.set()
        self._halted = asyncio.Event()
        self._up = asyncio.Event()
        self._failure: Exception | None = None
        self.proxies: list[Proxy] = []
        self._process: subprocess.Popen[bytes] | None = None

    async def run(self) -> None:
        """Keep it running; that it cannot be started is told to whoever waits for it."""
        try:
            while True:
                await self._live()
        except AssertionError as error:
            self._failure = error
            self._up.set()

    async def _live(self) -> None:
        if not self._wanted.is_set():
            self._halted.set()
            await self._wanted.wait()
            self._halted.clear()
        if not await asyncio.to_thread(self._start):
            return
        for proxy in self.proxies:
            proxy.target = ("127.0.0.1", self.port)
        self._up.set()
        process = self._process
        assert process is not None
        await asyncio.to_thread(process.wait)
        self._up.clear()
        self._close(process)

    async def ready(self) -> None:
        """Wait until it serves.

        Raises:
            AssertionError: it cannot be started.
        """
        async with asyncio.timeout(WAIT_S_MAX):
            await self._up.wait()
        if self._failure is not None:
            raise self._failure

    async def halt(self) -> None:
        """Let it be off until it is told to `go_on`; `run` must be under way."""
        self._wanted.clear()
        while not self._halted.is_set():
            self.kill()
            await asyncio.sleep(0.02)

    def go_on(self) -> None:
        """Run again."""
        self._wanted.set()

    def follow(self, proxy: Proxy) -> None:
        """Let a proxy lead here, wherever that is."""
        proxy.target = ("127.0.0.1", self.port)
        self.proxies.append(proxy)

    def say(self, words: str) -> None:
        """See `rig.mortal_cloud`."""
        process = self._process
        if process is None or process.stdin is None:
            return
        try:
            process.stdin.write(words.encode() + b"\n")
            process.stdin.flush()
        except (OSError, ValueError):
            # It has just died.
            return

    def kill(self) -> None:
        """As a power cut does."""
        if self._process is not None:
            self._process.kill()

    def end(self) -> None:
        """Kill it for good; `run` must be over."""
        process = self._process
        if process is not None:
            process.kill()
            process.wait()
            self._close(process)

    @staticmethod
    def _close(process: "subprocess.Popen[bytes]") -> None:
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()

    def _start(self) -> bool:
        """Start it; False if it was killed before it served.

        Raises:
            AssertionError: it ended by itself.
        """
        with self.log.open("ab") as log:
            process = self._process = subprocess.Popen(
                [
                    sys.executable,
                    str(TESTS / "rig/mortal_cloud.py"),
                    msgspec.json.encode(self.plan).decode(),
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=_environment(),
            )
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith(b"Serving on"):
                self.port = int(line.rpartition(b":")[2])
                self.starts += 1
                return True
        self._close(process)
        if process.wait() == -signal.SIGKILL:
            return False
        raise AssertionError(f"the cloud does not start:\n{self.tail()}")

    def tail(self) -> str:
        """The end of its log."""
        return self.log.read_text(errors="replace")[-LOG_CHARACTERS:]


class Box:
    """One appliance, from outside."""

    def __init__(self, place: Path, task: Task) -> None:
        self.task = task
        self.pid = 0
        self.starts = 0
        self._nursery = place
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    @property
    def name(self) -> str:
        return self.task.device

    @property
    def ledger(self) -> Path:
        return Path(self.task.state) / "ledger.db"

    @property
    def cache(self) -> Path:
        return Path(self.task.state) / "cache.db"

    async def start(self, at: datetime) -> None:
        """Be born, unless it lives."""
        if self._writer is not None:
            return
        while is_alive(self.pid):  # noqa: ASYNC110 - it is nobody's child here
            await asyncio.sleep(0.002)
        reader, writer = await asyncio.open_unix_connection(
            str(self._nursery), limit=LINE_BYTES_MAX
        )
        writer.write(msgspec.json.encode(msgspec.structs.replace(self.task, at=at)) + b"\n")
        line = await reader.readline()
        if not line:
            raise AssertionError(f"an appliance was not born:\n{self.tail()}")
        self.pid = json.loads(line)["pid"]
        self._reader, self._writer = reader, writer
        self.starts += 1

    async def ask(self, do: str, **more: Any) -> dict[str, Any]:
        """Let it do something.

        Raises:
            BoxGoneError: it was killed, or is dead.
        """
        if self._writer is None or self._reader is None:
            raise BoxGoneError(self.name)
        try:
            self._writer.write(json.dumps({"do": do, **more}, default=str).encode() + b"\n")
            line = await self._reader.readline()
        except OSError:
            line = b""
        if not line:
            self._drop()
            raise BoxGoneError(self.name)
        found: dict[str, Any] = json.loads(line)
        assert "error" not in found, found
        return found

    async def until(self, holds: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
        """How it stands, once that is as it should be."""
        async with asyncio.timeout(WAIT_S_MAX):
            while True:
                found = await self.ask("look")
                if holds(found):
                    return found
                await asyncio.sleep(0.02)

    def kill(self) -> None:
        """As a power cut does."""
        if self._writer is not None:
            os.kill(self.pid, signal.SIGKILL)
            self._drop()

    async def stop(self) -> None:
        """As systemd does.

        Raises:
            AssertionError: it does not end, or not in an orderly way.
        """
        if self._writer is None or self._reader is None:
            return
        self._writer.write_eof()
        try:
            async with asyncio.timeout(STOP_S_MAX):
                line = await self._reader.read()
        except TimeoutError:
            line = b""
        self._drop()
        if line != ENDED:
            raise AssertionError(f"{self.name} did not end as it should:\n{self.tail()}")

    def tail(self) -> str:
        """The end of its log."""
        log = Path(self.task.state).with_suffix(".log")
        return log.read_text(errors="replace")[-LOG_CHARACTERS:]

    def _drop(self) -> None:
        if self._writer is not None:
            self._writer.transport.abort()
        self._reader = self._writer = None


def is_alive(pid: int) -> bool:
    """Whether a process is still there."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return pid != 0
