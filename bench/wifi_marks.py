"""The daemon that notes each transaction of its ledger: `python -m bench.wifi_marks run …`.

It is `edgegate run` in which two clocks are read around every transaction: what one takes, and for
how many jobs, is what a request's time is held against.
"""

import atexit
import json
import os
import time
from pathlib import Path
from typing import Any

from edgegate.cli import main
from edgegate.store.jobs import Group
from edgegate.store.worker import Worker

FILE_VARIABLE = "BENCH_MARKS_FILE"

_notes: list[tuple[float, float, float, int]] = []
"""Of each transaction: when it was over, by `time.monotonic()`, how long it took, what of that was
the commit, and how many jobs were in it."""

_run_ledger = Worker._run_ledger  # noqa: SLF001 - it is what is measured


def _noted(worker: "Worker[Any]", store: Any, group: "Group[Any]") -> None:
    begun_s = time.monotonic()
    _run_ledger(worker, store, group)
    ended_s = time.monotonic()
    _notes.append((ended_s, ended_s - begun_s, worker._commit_s, len(group)))  # noqa: SLF001 - so


def _write() -> None:
    Path(os.environ[FILE_VARIABLE]).write_text(json.dumps(_notes), encoding="ascii")


if __name__ == "__main__":
    setattr(Worker, "_run_ledger", _noted)  # noqa: B010 - mypy would have it a method
    atexit.register(_write)
    main()
