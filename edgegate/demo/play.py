"""Plays the demo in one of its two forms, and tells how it went."""

import asyncio
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from logging.handlers import QueueHandler, QueueListener
from pathlib import Path
from queue import SimpleQueue

from edgegate.config import load_config
from edgegate.demo import screen
from edgegate.demo.script import UnexpectedError
from edgegate.demo.servers import Servers
from edgegate.demo.site import prepare
from edgegate.demo.stage import EndedError, Stage, devices, running
from edgegate.demo.tour import PACE, Tour
from edgegate.logs import LineFormatter

LOG_LINES_SHOWN = 12
FAILED = 1
STOPPED = 130
"""What shells call the end by Ctrl-C."""


def say(line: str) -> None:
    """Print a line at once, also into a pipe."""
    print(line, flush=True)


def play_in(directory: Path, servers: Servers, *, tour: bool, started_s: float) -> int:
    """Play in a directory, with servers that are starting; the exit code."""
    site = prepare(directory, servers.url, PACE if tour else screen.PACE)
    config = load_config(site.config)
    try:
        with _logging_to(site.log), devices(site) as hardware:
            stage = Stage(site, config, hardware, servers)
            if not tour:
                asyncio.run(_show(stage))
                return 0
            steps = asyncio.run(_play(Tour(stage, say)))
    except EndedError:
        if not tour:
            return 0
        say("Stopped.")
        return STOPPED
    except UnexpectedError as error:
        _say_failure(error, site.log)
        return FAILED
    say(f"\nAll {steps} steps went as they should, in {time.monotonic() - started_s:.1f} s.")
    say("In a terminal `edgegate demo` lets you tap cards yourself.")
    return 0


async def _show(stage: Stage) -> None:
    async with running(stage):
        await screen.show(stage)


async def _play(tour: Tour) -> int:
    """Play the tour; returns how many steps it had."""
    async with running(tour.stage):
        await tour.play()
    return len(tour.steps)


def _say_failure(error: UnexpectedError, log: Path) -> None:
    say(f"✗ {error.step}")
    say(f"    {error.what}")
    say(f"    expected: {error.expected}")
    say(f"    came:     {error.came}")
    say("The end of the appliance's log:")
    for line in log.read_text(encoding="utf-8", errors="replace").splitlines()[-LOG_LINES_SHOWN:]:
        say(f"    {line}")


@contextmanager
def _logging_to(path: Path) -> Iterator[None]:
    """Have everything logged go into a file, by a thread, so that the event loop never waits."""
    file = logging.FileHandler(path, encoding="utf-8")
    queue: SimpleQueue[logging.LogRecord] = SimpleQueue()
    handler = QueueHandler(queue)
    handler.setFormatter(LineFormatter(for_journal=False))
    listener = QueueListener(queue, file)
    root = logging.getLogger()
    level_before = root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    logging.captureWarnings(True)
    listener.start()
    try:
        yield
    finally:
        logging.captureWarnings(False)
        root.setLevel(level_before)
        root.removeHandler(handler)
        handler.close()
        listener.stop()
        file.close()
