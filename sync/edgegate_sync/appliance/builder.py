"""Runs the process that builds a snapshot, and ends it when nobody waits for it any more."""

import asyncio
import logging
import subprocess
import sys
import threading
from contextlib import suppress

import msgspec

from edgegate_sync.appliance.snapshot import Built, Task

log = logging.getLogger(__name__)

BUILD_S_MAX = 1800.0
"""A snapshot that is not built by then never will be."""

_ANSWER_BYTES_MAX = 65_536


class _Building:
    """One such process, from a thread that waits for it."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._given_up = False

    def run(self) -> Built:
        """Build; blocking."""
        command = [sys.executable, "-P", "-m", "edgegate_sync.appliance.snapshot"]
        argument = msgspec.json.encode(self._task).decode()
        with self._lock:
            if self._given_up:
                return Built(error="it was given up")
            # S603: the interpreter that runs this, and a module of this package.
            self._process = subprocess.Popen(  # noqa: S603 - see above
                [*command, argument], stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
        overdue = threading.Timer(BUILD_S_MAX, self.give_up)
        overdue.start()
        # The process ends when its input does: whoever started it is gone then.
        with self._process as process:
            answer = process.stdout.read(_ANSWER_BYTES_MAX) if process.stdout is not None else b""
            overdue.cancel()
        try:
            return msgspec.json.decode(answer, type=Built)
        except msgspec.DecodeError:
            return Built(error=f"the process that builds it ended with {process.returncode}")

    def give_up(self) -> None:
        """Let it end now; safe to call again."""
        with self._lock:
            self._given_up = True
            if self._process is not None:
                with suppress(OSError):
                    self._process.kill()


async def build_beside(task: Task) -> Built:
    """Build the next cache in a process of its own; whoever is cancelled takes it along."""
    building = _Building(task)
    done = asyncio.get_running_loop().run_in_executor(None, building.run)
    try:
        return await asyncio.shield(done)
    except asyncio.CancelledError:
        building.give_up()
        await asyncio.wait((done,))
        raise
