#!/usr/bin/env python3
"""Changes the rules in edgegate/passes in every small way and demands that a test notices.

    scripts/mutants.py                    all mutants; those judged before are not judged again
    scripts/mutants.py --module visits    only those of a module; --function closing: of a function
    scripts/mutants.py --survivors        only those that survived last time, with today's tests
    scripts/mutants.py --fresh            begin anew

What may survive stands in scripts/mutants.toml with its reason. Exit 1 if another mutant survives,
if an explanation speaks of one that does not, or if fewer than 90 % are noticed. The state of a run
lies in build/mutants; a run that is broken off goes on where it was, as long as no code changes.
"""

import argparse
import hashlib
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(TOP), *(str(TOP / name) for name in ("drivers", "sync", "emulators", "tests"))]

from mutation.campaign import (  # noqa: E402 - found by the paths above
    BROKEN,
    SURVIVED,
    Fates,
    Outcome,
    Pool,
    baseline,
    cold,
    collected,
    read_baseline,
    warm,
)
from mutation.changes import Mutant, members_of, mutants_of  # noqa: E402 - the same
from mutation.report import read_explained, score, survivor, table  # noqa: E402 - the same

RULES = TOP / "edgegate" / "passes"
STATE = TOP / "build" / "mutants"
EXPLAINED = TOP / "scripts" / "mutants.toml"
SCORE_MIN = 90.0

TESTS = (
    "tests/unit/test_scenarios.py",
    "tests/unit/test_windows.py",
    "tests/unit/test_localtime.py",
    "tests/unit/test_explain.py",
    "tests/unit/test_explain_visits.py",
    "tests/property/test_last_use_property.py",
    "tests/property/test_time_property.py",
    "tests/property/test_oracle_property.py::test_a_credential_is_refused_as_by_the_oracle_f12",
)
"""The tests of the rules whose seeds are fixed; with them go tests/unit/test_passes_*.py."""

RECORDS = ("tests/unit/test_passes_words.py", "tests/unit/test_passes_records.py")
"""Those of them that are asked first about a mutant outside of functions: few, and quick."""


def all_mutants() -> list[Mutant]:
    """Every mutant of the rules, module by module."""
    sources = {file.stem: file.read_text(encoding="utf-8") for file in sorted(RULES.glob("*.py"))}
    members = members_of(sources)
    return [m for name, source in sources.items() for m in mutants_of(name, source, members)]


def fingerprint(folder: str) -> str:
    """Changes when the product (`edgegate`) or its tests (`tests`) do."""
    digest = hashlib.sha256()
    for file in sorted((TOP / folder).rglob("*")):
        if file.suffix in (".py", ".toml") and "integration" not in file.parts:
            digest.update(f"{file.relative_to(TOP)}\n".encode())
            digest.update(file.read_bytes())
    return digest.hexdigest()


class State:
    """What is known of the mutants: a line for each in a file that only grows during a run."""

    def __init__(self, folder: Path) -> None:
        self.baseline = folder / "baseline.json"
        self._fates = folder / "fates.jsonl"
        self._stamp = folder / "stamp.json"
        folder.mkdir(parents=True, exist_ok=True)

    def begin(self, stamp: dict[str, str], *, fresh: bool, again: set[str] | None) -> None:
        """Forget what was found out about other code.

        `again` are mutants that are judged again if they survived; all else stays as it was found
        though the tests have changed, which is right where tests were only added.
        """
        old = json.loads(self._stamp.read_text("utf-8")) if self._stamp.exists() else {}
        if fresh or old.get("edgegate") != stamp["edgegate"] or (again is None and old != stamp):
            self._keep({})
        elif again is not None:
            fates = self.fates()
            alive = {key for key in again if key in fates and fates[key].fate == "survived"}
            self._keep({key: fate for key, fate in fates.items() if key not in alive})
        if fresh or (old != stamp and again is None):
            self.baseline.unlink(missing_ok=True)
        self._stamp.write_text(json.dumps(stamp), encoding="utf-8")

    def _keep(self, fates: Fates) -> None:
        rows = [[key, outcome.fate, outcome.killer] for key, outcome in fates.items()]
        self._fates.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")

    def note(self, mutant: Mutant, outcome: Outcome) -> None:
        """Write down what became of a mutant."""
        line = json.dumps([mutant.key, outcome.fate, outcome.killer])
        with self._fates.open("a", encoding="utf-8") as file:
            file.write(f"{line}\n")
        mark = {"killed": ".", "timeout": "t", "survived": "S"}.get(outcome.fate, "?")
        print(mark, end="", flush=True, file=sys.stderr)

    def fates(self) -> Fates:
        """What became of each mutant so far."""
        if not self._fates.exists():
            return {}
        lines = self._fates.read_text(encoding="utf-8").splitlines()
        return {key: Outcome(fate, killer) for key, fate, killer in map(json.loads, lines)}


def forked(work: Callable[[], int]) -> int:
    """Call something in a fork, so that this process stays without the rules; its exit code."""
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if not pid:
        code = BROKEN
        try:
            silent = os.open(os.devnull, os.O_WRONLY)
            os.dup2(silent, 1)
            code = work()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def judge(mutants: list[Mutant], state: State, processes: int) -> None:
    """Run the tests against each of the mutants."""
    paths = [*TESTS, *(str(f) for f in sorted(Path("tests/unit").glob("test_passes_*.py")))]
    print("the code as it is …", file=sys.stderr)
    if forked(lambda: collected(paths, lambda s: baseline(s, state.baseline))) != SURVIVED:
        sys.exit("a test fails in the code as it is")
    seen = read_baseline(state.baseline)
    pool = Pool(processes, state.note)
    inside = [m for m in mutants if m.inside]
    if (
        inside
        and forked(lambda: collected(paths, lambda s: warm(s, inside, seen, pool))) != SURVIVED
    ):
        sys.exit("the run broke")
    outside = [m for m in mutants if not m.inside]
    left: list[Mutant] = []

    def first(mutant: Mutant, outcome: Outcome) -> None:
        if outcome.fate == "survived":
            left.append(mutant)
        else:
            state.note(mutant, outcome)

    quick = Pool(processes, first)
    quick.run(outside, lambda m: cold(RECORDS, m, RULES / f"{m.module}.py", seen))
    pool.run(left, lambda m: cold(paths, m, RULES / f"{m.module}.py", seen))


def chosen(mutants: list[Mutant], options: argparse.Namespace) -> list[Mutant]:
    """The mutants that the command line asks for."""
    return [
        m
        for m in mutants
        if not options.module or m.module in options.module
        if not options.function or m.function in options.function
    ]


def main(arguments: list[str] | None = None) -> int:
    """Judge the mutants and report; the result is the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--module", action="append", help="only mutants of this module")
    parser.add_argument("--function", action="append", help="only mutants of this function")
    parser.add_argument("--survivors", action="store_true", help="only the last run's survivors")
    parser.add_argument("--fresh", action="store_true", help="forget what is known")
    parser.add_argument("--list", action="store_true", help="list the mutants, and judge none")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args(arguments)
    if os.environ.get("PYTHONHASHSEED") != "0":
        os.execve(  # noqa: S606 - this script again, with a fixed order of sets
            sys.executable, [sys.executable, *sys.argv], {**os.environ, "PYTHONHASHSEED": "0"}
        )
    os.chdir(TOP)
    every = all_mutants()
    state = State(STATE)
    mutants = chosen(every, options)
    if options.list:
        print("\n".join(f"{m.line:4} {m.key}" for m in mutants))
        print(f"{len(mutants)} mutants")
        return 0
    started = time.monotonic()
    stamp = {folder: fingerprint(folder) for folder in ("edgegate", "tests")}
    again = {m.key for m in mutants} if options.survivors else None
    state.begin(stamp, fresh=options.fresh, again=again)
    known = state.fates()
    todo = [m for m in mutants if m.key not in known or known[m.key].fate == "broken"]
    print(f"{len(mutants)} mutants, {len(todo)} to judge", file=sys.stderr)
    if todo:
        judge(todo, state, options.processes)
        print(f"\n{time.monotonic() - started:.0f} s", file=sys.stderr)
    return told(mutants, state.fates(), whole=len(mutants) == len(every))


def told(mutants: list[Mutant], fates: Fates, *, whole: bool) -> int:
    """Print the report; the result is the exit code."""
    explained = read_explained(EXPLAINED)
    living = [m for m in mutants if fates[m.key].fate == "survived"]
    for mutant in living:
        print(survivor(mutant, explained.get(mutant.key)))
    print("\n".join(table(mutants, fates)))
    keys = {m.key for m in living}
    judged = {m.key for m in mutants}
    wrong = [f"survives and is not explained: {m.key}" for m in living if m.key not in explained]
    wrong += [f"explained, and does not survive: {k}" for k in explained if k in judged - keys]
    wrong += [f"explained, and does not exist: {k}" for k in explained if whole and k not in judged]
    wrong += [
        f"could not be judged: {m.key}\n{fates[m.key].killer}"
        for m in mutants
        if fates[m.key].fate == "broken"
    ]
    reached = score(Counter(fates[m.key].fate for m in mutants))
    if whole and reached < SCORE_MIN:
        wrong.append(f"{reached:.1f} % are noticed, {SCORE_MIN} % must be")
    kinds = Counter(explained[k].kind for k in keys if k in explained)
    print("explained:", ", ".join(f"{number} {kind}" for kind, number in kinds.items()) or "none")
    print("\n".join(wrong))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
