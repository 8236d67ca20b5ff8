"""Sets the demo up, runs it in one of its two forms, and takes it down without a trace."""

import asyncio
import logging
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from logging.handlers import QueueHandler, QueueListener
from pathlib import Path
from queue import SimpleQueue

from edgegate.config import load_config
from edgegate.demo import screen
from edgegate.demo.script import UnexpectedError
from edgegate.demo.site import prepare
from edgegate.demo.stage import EndedError, Stage, devices, running
from edgegate.demo.tour import PACE, Tour
from edgegate.logs import LineFormatter

DIRECTORY_CHARACTERS_MAX = 60
"""In a longer name a Unix socket finds no room (107 bytes, unix(7))."""

LOG_LINES_SHOWN = 12
FAILED = 1
STOPPED = 130
"""What shells call the end by Ctrl-C."""


def run(*, tour: bool) -> int:
    """Run in a directory that is gone afterwards, unless something failed: then it may tell why.

    Raises:
        BrokenPipeError: if nobody reads any more what is said.
        KeyboardInterrupt: if Ctrl-C came before or after the appliance ran.
    """
    directory = _new_directory()
    keep = False
    try:
        with _interrupted_by(signal.SIGTERM, signal.SIGHUP):
            code = _run_in(directory, tour=tour)
        keep = code == FAILED
    except Exception as error:
        keep = not isinstance(error, BrokenPipeError)
        raise
    finally:
        if keep:
            say(f"Its log, ledger and configuration are kept in {directory}.")
        else:
            shutil.rmtree(directory)
    return code


def say(line: str) -> None:
    """Print a line at once, also into a pipe."""
    print(line, flush=True)


def _new_directory() -> Path:
    usual = tempfile.gettempdir()
    # For everybody to write to, and mkdtemp makes one in it that is for its owner only.
    where = usual if len(usual) <= DIRECTORY_CHARACTERS_MAX else "/tmp"  # noqa: S108
    return Path(tempfile.mkdtemp(prefix="edgegate-", dir=where))


def _run_in(directory: Path, *, tour: bool) -> int:
    started_s = time.monotonic()
    site = prepare(directory, PACE if tour else screen.PACE)
    config = load_config(site.config)
    try:
        with _logging_to(site.log), devices(site) as hardware:
            stage = Stage(site, config, hardware)
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
def _interrupted_by(*numbers: signal.Signals) -> Iterator[None]:
    """Have these signals end the demo as Ctrl-C does, while the appliance does not see to them."""
    before = [(number, signal.signal(number, signal.default_int_handler)) for number in numbers]
    try:
        yield
    finally:
        for number, handler in before:
            signal.signal(number, handler)


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
