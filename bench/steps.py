"""The daemon with marks along the line, for the split of a tap by step: `python -m bench.steps`.

It is `edgegate run` in which the functions at the borders of the steps also note the time. What
that costs is some microseconds a tap; no figure is taken from it.
"""

import atexit
import json
import os
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

from edgegate import line
from edgegate.cli import main
from edgegate.doors.runner import DoorRunner
from edgegate.ports import Scan
from edgegate.store.worker import Worker

STEPS = (
    "wire to scan",
    "scan to job",
    "job",
    "commit",
    "commit to line",
    "line to relay",
)
"""The stretches between `MARKS`, of which the first is the wire's and the last the relay's."""

FILE_VARIABLE = "BENCH_STEPS_FILE"

_marks: list[dict[str, int]] = []


def _noted(function: Callable[..., Any], before: str, after: str) -> Callable[..., Any]:
    def wrapper(*args: Any) -> Any:
        _note(before)
        try:
            return function(*args)
        finally:
            _note(after)

    return wrapper


def _note(name: str) -> None:
    if name and _marks:
        _marks[-1].setdefault(name, time.monotonic_ns())


def _scanned(function: Callable[..., Any]) -> Callable[..., Any]:
    def wrapper(self: line.Line, place: line.Place, scan: Scan, show: Any) -> Any:
        _marks.append({"scan": scan.read_ns})
        return function(self, place, scan, show)

    return wrapper


def _write() -> None:
    Path(os.environ[FILE_VARIABLE]).write_text(json.dumps(_marks), encoding="ascii")


def split(marks: dict[str, int], wire_ns: int, relay_ns: int) -> list[float]:
    """The milliseconds of each step of one tap that opened."""
    names = ("scan", "job", "decided", "committed", "line")
    at_ns = [wire_ns, *(marks[name] for name in names), relay_ns]
    return [(later - earlier) / 1e6 for earlier, later in pairwise(at_ns)]


def _mark(owner: object, name: str, wrap: Callable[[Any], Any]) -> None:
    setattr(owner, name, wrap(getattr(owner, name)))


def _run() -> None:
    _mark(line.Line, "scan", _scanned)
    _mark(line, "present", lambda function: _noted(function, "job", "decided"))
    _mark(Worker, "_answer", lambda function: _noted(function, "committed", ""))
    _mark(DoorRunner, "open", lambda function: _noted(function, "line", ""))
    atexit.register(_write)
    main()


if __name__ == "__main__":
    _run()
