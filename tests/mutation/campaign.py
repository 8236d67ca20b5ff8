"""Runs the tests against every mutant of the rules, in forks of a process that is ready to run.

A mutant inside a function is put in place by exchanging the function's code in a fork of a process
that has collected all tests; only the tests that run the changed lines are asked, the quickest
and those that found its neighbours first. A mutant outside of functions (a default, a table, a
limit) needs a process that has not yet imported the rules, and may be found by every test.

All is repeatable: no test here draws its seed from the clock, and Hypothesis is derandomized.
"""

import ast
import functools
import gc
import importlib.abc
import importlib.machinery
import importlib.util
import json
import os
import random
import resource
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType, FrameType, FunctionType, ModuleType
from typing import Any, NoReturn

import pytest
from _pytest.runner import runtestprotocol

from mutation.changes import Mutant

PACKAGE = "edgegate.passes"
SECONDS_MIN = 5.0
SLOWER_MAX = 8
"""A test may take so many times as long as in the code as it is, and the seconds above."""
SECONDS_MAX = 300
"""How long a test may wait for something in real time."""
MEMORY_MAX = 4 * 2**30
SURVIVED, KILLED, BROKEN = 0, 1, 2


@dataclass
class Seen:
    """What a test runs: how long it takes, and which lines of which module."""

    seconds: float
    lines: dict[str, list[int]] = field(default_factory=dict)

    def reaches(self, mutant: Mutant) -> bool:
        """Whether it runs the statement that a mutant changes."""
        first, last = mutant.span
        return any(first <= line <= last for line in self.lines.get(mutant.module, ()))


@dataclass(frozen=True)
class Outcome:
    """What became of a mutant: `killer` is the test that noticed it."""

    fate: str
    killer: str = ""


Fates = dict[str, Outcome]


class Ready:
    """A pytest plugin that does something else than running all tests, once they are collected."""

    def __init__(self, work: Callable[[pytest.Session], int]) -> None:
        self._work = work
        self.code = -1

    def pytest_sessionstart(self) -> None:
        """Let Hypothesis try the same examples in every run."""
        from hypothesis import settings  # noqa: PLC0415 - pytest wants to import its plugin first

        settings.register_profile("mutants", derandomize=True, database=None, deadline=None)
        settings.load_profile("mutants")

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Do it."""
        if session.testsfailed:
            raise session.Interrupted("collection failed")
        self.code = self._work(session)
        return True


def collected(paths: Sequence[str], work: Callable[[pytest.Session], int]) -> int:
    """Collect the tests and do something with them; a fault in collecting is told as a failure."""
    ready = Ready(work)
    options = ["-q", "-p", "no:randomly", "-p", "no:cacheprovider", "-p", "no:xdist"]
    pytest.main([*options, "-o", "timeout=0", *paths], plugins=[ready])
    return KILLED if ready.code < 0 else ready.code


def runs(item: pytest.Item, following: pytest.Item | None) -> bool:
    """Run one test; whether it holds."""
    random.seed(0)
    reports = runtestprotocol(item, log=False, nextitem=following)
    return not any(report.failed for report in reports)


def baseline(session: pytest.Session, file: Path) -> int:
    """Run the tests in the code as it is, and note which lines of the rules each runs.

    What stands in the file already is not run again: should such a test run other lines by now, at
    worst it is not asked where it could have been.
    """
    seen = read_baseline(file) if file.exists() else {}
    items = [item for item in session.items if item.nodeid not in seen]
    for place, item in enumerate(items):
        forget()
        following = items[place + 1] if place + 1 < len(items) else None
        started = time.process_time()
        with traced() as lines:
            if not runs(item, following):
                print(f"fails in the code as it is: {item.nodeid}", file=sys.stderr)
                return KILLED
        found: dict[str, list[int]] = {}
        for module, line in sorted(lines):
            found.setdefault(module, []).append(line)
        seen[item.nodeid] = Seen(time.process_time() - started, found)
    table = {name: [s.seconds, s.lines] for name, s in seen.items()}
    file.write_text(json.dumps(table), encoding="utf-8")
    return SURVIVED


def read_baseline(file: Path) -> dict[str, Seen]:
    """What `baseline` wrote."""
    table = json.loads(file.read_text(encoding="utf-8"))
    return {name: Seen(seconds, lines) for name, (seconds, lines) in table.items()}


@contextmanager
def traced() -> Iterator[set[tuple[str, int]]]:
    """Collect the lines of the rules that are run meanwhile, as (module, line)."""
    lines: set[tuple[str, int]] = set()
    known: dict[CodeType, str | None] = {}

    def on_call(frame: FrameType, _event: str, _arg: object) -> Any:
        code = frame.f_code
        if code not in known:
            path = Path(code.co_filename)
            known[code] = path.stem if path.parent.name == "passes" else None
        module = known[code]
        if module is None:
            return None

        def on_line(frame: FrameType, _event: str, _arg: object) -> Any:
            lines.add((module, frame.f_lineno))
            return on_line

        lines.add((module, frame.f_lineno))
        return on_line

    threading.settrace(on_call)
    sys.settrace(on_call)
    try:
        yield lines
    finally:
        sys.settrace(None)
        threading.settrace(None)


def forget() -> None:
    """Empty the caches of the product: what they hold was made by other code."""
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] == "edgegate":
            for value in list(vars(module).values()):
                if isinstance(value, functools._lru_cache_wrapper):
                    value.cache_clear()


def put_in_place(mutant: Mutant) -> bool:
    """Give the function that a mutant lies in its changed code; whether that can be done."""
    module = sys.modules[f"{PACKAGE}.{mutant.module}"]
    function = _function(module, mutant.function)
    source = module.__file__ or ""
    code = _code(compile(mutant.apply(), source, "exec"), mutant.function)
    if code is None or code.co_freevars != function.__code__.co_freevars:
        return False
    function.__code__ = code
    forget()
    return True


def _function(module: ModuleType, qualified: str) -> FunctionType:
    found: object = module
    for name in qualified.split("."):
        found = vars(found)[name]
    if isinstance(found, property):
        found = found.fget
    if isinstance(found, functools.cached_property):
        found = found.func
    while not isinstance(found, FunctionType):
        found = vars(found)["__wrapped__"]
    return found


def _code(code: CodeType, qualified: str) -> CodeType | None:
    """The code of a function of that name, in a module's code."""
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            if constant.co_qualname == qualified:
                return constant
            if qualified.startswith(f"{constant.co_qualname}."):
                return _code(constant, qualified)
    return None


class Changed(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports one module of the rules with a mutant in it."""

    def __init__(self, mutant: Mutant, source: Path) -> None:
        self._name = f"{PACKAGE}.{mutant.module}"
        self._tree: ast.Module = mutant.apply()
        self._source = source

    def find_spec(
        self, fullname: str, _path: object = None, _target: object = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Find that module, and no other."""
        if fullname != self._name:
            return None
        return importlib.util.spec_from_file_location(fullname, self._source, loader=self)

    def exec_module(self, module: ModuleType) -> None:
        """Run its changed code."""
        exec(compile(self._tree, str(self._source), "exec"), vars(module))  # noqa: S102 - our own code, changed


def limit(seconds: float) -> None:
    """End this process if the test that now begins runs for ever, waits for ever or grows."""
    signal.setitimer(signal.ITIMER_PROF, SECONDS_MIN + SLOWER_MAX * seconds)
    signal.setitimer(signal.ITIMER_REAL, SECONDS_MAX)


def ask(items: Sequence[pytest.Item], seen: dict[str, Seen]) -> str | None:
    """Run tests until one fails; its name, or None."""
    for place, item in enumerate(items):
        limit(seen[item.nodeid].seconds)
        following = items[place + 1] if place + 1 < len(items) else None
        if not runs(item, following):
            return item.nodeid
    return None


@dataclass
class Pool:
    """Runs something for each mutant in a fork, several at a time."""

    processes: int
    told: Callable[[Mutant, Outcome], None]
    _open: dict[int, tuple[Mutant, int]] = field(default_factory=dict)

    def run(self, mutants: Sequence[Mutant], body: Callable[[Mutant], str | None]) -> None:
        """Run the body for each; it says which test failed, or None."""
        for mutant in mutants:
            while len(self._open) >= self.processes:
                self._reap()
            self._fork(mutant, body)
        while self._open:
            self._reap()

    def _fork(self, mutant: Mutant, body: Callable[[Mutant], str | None]) -> None:
        inlet, outlet = os.pipe()
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid:
            os.close(outlet)
            self._open[pid] = (mutant, inlet)
            return
        os.close(inlet)
        _child(mutant, body, outlet)

    def _reap(self) -> None:
        pid, status = os.waitpid(-1, 0)
        if pid not in self._open:
            return
        mutant, inlet = self._open.pop(pid)
        with os.fdopen(inlet, encoding="utf-8") as pipe:
            killer = pipe.read()
        if os.WIFSIGNALED(status):
            over = os.WTERMSIG(status) in (signal.SIGPROF, signal.SIGALRM)
            self.told(mutant, Outcome("timeout" if over else "killed", killer))
        else:
            fate = {SURVIVED: "survived", KILLED: "killed"}.get(os.WEXITSTATUS(status), "broken")
            self.told(mutant, Outcome(fate, killer))


def _child(mutant: Mutant, body: Callable[[Mutant], str | None], outlet: int) -> NoReturn:
    code = BROKEN
    try:
        silent = os.open(os.devnull, os.O_RDWR)
        os.dup2(silent, 1)
        os.dup2(silent, 2)
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_MAX, MEMORY_MAX))
        killer = body(mutant)
        if killer is not None:
            os.write(outlet, killer.encode())
        code = SURVIVED if killer is None else KILLED
    except MemoryError:
        code = KILLED
    except Exception:  # noqa: BLE001 - the run itself failed here: told as such, never as a kill
        os.write(outlet, traceback.format_exc()[-2000:].encode())
    finally:
        os._exit(code)


class Likely:
    """In which order tests are asked: what noticed most in the least time comes first."""

    def __init__(self, seen: dict[str, Seen]) -> None:
        self._seen = seen
        self._kills: dict[tuple[str, str], int] = {}
        self._last: dict[str, str] = {}

    def noted(self, mutant: Mutant, outcome: Outcome) -> None:
        """Learn which test noticed a mutant."""
        if outcome.killer in self._seen:
            place = mutant.module, outcome.killer
            self._kills[place] = self._kills.get(place, 0) + 1
            self._last[f"{mutant.module}:{mutant.function}"] = outcome.killer

    def names(self, mutant: Mutant) -> list[str]:
        """The tests that run the statement that a mutant changes, in that order."""
        last = self._last.get(f"{mutant.module}:{mutant.function}")

        def key(name: str) -> tuple[bool, float]:
            kills = self._kills.get((mutant.module, name), 0)
            return name != last, -(kills + 0.2) / (self._seen[name].seconds + 0.01)

        return sorted((n for n, s in self._seen.items() if s.reaches(mutant)), key=key)


def warm(
    session: pytest.Session, mutants: Sequence[Mutant], seen: dict[str, Seen], pool: Pool
) -> int:
    """Try mutants that lie in functions."""
    items = {item.nodeid: item for item in session.items}
    likely = Likely(seen)
    told = pool.told

    def noted(mutant: Mutant, outcome: Outcome) -> None:
        likely.noted(mutant, outcome)
        told(mutant, outcome)

    def body(mutant: Mutant) -> str | None:
        limit(60)
        if not put_in_place(mutant):
            raise LookupError(mutant.key)
        return ask([items[name] for name in likely.names(mutant) if name in items], seen)

    pool.told = noted
    gc.collect()
    gc.freeze()
    pool.run(mutants, body)
    pool.told = told
    return SURVIVED


def cold(paths: Sequence[str], mutant: Mutant, source: Path, seen: dict[str, Seen]) -> str | None:
    """Try a mutant in a process that has not imported the rules; the test that notices it."""
    if any(name.startswith(PACKAGE) for name in sys.modules):
        raise ImportError("the rules are imported already")
    sys.meta_path.insert(0, Changed(mutant, source))
    limit(60)
    killers: list[str] = []

    def work(session: pytest.Session) -> int:
        items = sorted(session.items, key=lambda item: seen[item.nodeid].seconds)
        killer = ask(items, seen)
        killers.extend([killer] if killer is not None else [])
        return KILLED if killers else SURVIVED

    code = collected(paths, work)
    return (killers[0] if killers else "as the tests are collected") if code else None
