#!/usr/bin/env python3
"""Disables each pass rule in a copy of the code and demands that its scenarios notice.

The edits stand in scripts/rule-edits.toml, several for a rule with several sides. For each, the
scenarios that claim to prove the rule run against the edited copy, and at least one must differ;
an edit that only makes the code stop with a fault proves nothing. With `--strict` every claim must
be noticed by at least one of the rule's edits. With `--check` nothing runs, and it is only seen
whether each edit still fits the code. Exit 1 if a rule survives or an edit does not fit.
"""

import argparse
import ast
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import tomllib
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent
SECONDS_MAX = 30.0
"""How long the scenarios of one rule may run; an edit that makes them run for ever is no proof."""

RUN = """
import sys
from pathlib import Path
import edgegate.replay
from edgegate.replay import replay
from edgegate.scenario import read
assert Path(edgegate.replay.__file__).is_relative_to(Path.cwd()), edgegate.replay.__file__
for name in sys.argv[1:]:
    try:
        print(name, "holds" if replay(read(Path(name))).passed else "differs", flush=True)
    except Exception as error:  # a rule without its guard may raise anything; it is told
        print(name, "fault", repr(error), flush=True)
"""


@dataclass(frozen=True)
class Edit:
    """One way to disable one rule."""

    rule: str
    what: str
    file: str
    old: str
    new: str


@dataclass
class Result:
    """What the scenarios that claim to prove a rule made of one edit."""

    edit: Edit
    differs: set[str] = field(default_factory=set)
    faults: set[str] = field(default_factory=set)
    trouble: str | None = None

    @property
    def noticed(self) -> bool:
        """Whether a scenario came out otherwise."""
        return bool(self.differs) and self.trouble is None


class Copies:
    """A copy of the package for each thread, edited and put back."""

    def __init__(self, top: Path, folder: Path) -> None:
        self._top = top
        self._folder = folder
        self._mine = threading.local()

    def run(self, edit: Edit | None, scenarios: list[Path]) -> subprocess.CompletedProcess[str]:
        """Run scenarios against the package with an edit in it.

        Raises:
            ValueError: if the edit's text does not stand in its file exactly once.
            subprocess.TimeoutExpired: if they run for too long.
        """
        copy = self._copy()
        environment = {**os.environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
        command = [sys.executable, "-W", "error", "-c", RUN, *map(str, scenarios)]

        def run() -> subprocess.CompletedProcess[str]:
            return subprocess.run(  # noqa: S603 - this interpreter, on our own code
                command,
                cwd=copy,
                env=environment,
                capture_output=True,
                text=True,
                timeout=SECONDS_MAX,
                check=False,
            )

        return run() if edit is None else _edited(copy / edit.file, edit, run)

    def _copy(self) -> Path:
        found: Path | None = getattr(self._mine, "copy", None)
        if found is None:
            found = Path(tempfile.mkdtemp(dir=self._folder))
            shutil.copytree(self._top / "edgegate", found / "edgegate")
            self._mine.copy = found
        return found


def disabled(text: str, edit: Edit) -> str:
    """The source with an edit in it.

    Raises:
        ValueError: if the edit's text does not stand in it exactly once.
    """
    if text.count(edit.old) != 1:
        raise ValueError(f"its text stands {text.count(edit.old)} times in {edit.file}")
    return text.replace(edit.old, edit.new)


def _edited(
    file: Path, edit: Edit, run: Callable[[], subprocess.CompletedProcess[str]]
) -> subprocess.CompletedProcess[str]:
    text = file.read_text(encoding="utf-8")
    changed = disabled(text, edit)
    # Compiled code is found by whole seconds and size, which an edit may leave as they are.
    for compiled in (file.parent / "__pycache__").glob(f"{file.stem}.*.pyc"):
        compiled.unlink()
    file.write_text(changed, encoding="utf-8")
    try:
        return run()
    finally:
        file.write_text(text, encoding="utf-8")


def claims(top: Path) -> dict[str, list[Path]]:
    """The scenario files by the ids that they claim to prove."""
    found: dict[str, list[Path]] = defaultdict(list)
    for file in sorted((top / "tests/scenarios").glob("*.toml")):
        for id_ in tomllib.loads(file.read_text(encoding="utf-8"))["proves"]:
            found[id_].append(file)
    return found


def read_edits(top: Path) -> list[Edit]:
    """The edits of scripts/rule-edits.toml."""
    data = tomllib.loads((top / "scripts/rule-edits.toml").read_text(encoding="utf-8"))
    return [Edit(**row) for row in data["edit"]]


def misfits(top: Path, edits: list[Edit], known: list[str]) -> Iterator[str]:
    """The edits that disable nothing as the code is now, and the rules that have none."""
    for edit in edits:
        said = f"{edit.rule}, {edit.what}:"
        if edit.rule not in known:
            yield f"{said} there is no such rule that a scenario can prove"
        try:
            ast.parse(disabled((top / edit.file).read_text(encoding="utf-8"), edit))
        except (OSError, ValueError) as error:
            yield f"{said} {error}"
        except SyntaxError as error:
            yield f"{said} the code is no Python with it, {error.msg}"
    for rule in sorted(set(known) - {edit.rule for edit in edits}):
        yield f"{rule} has no edit"


def judge(copies: Copies, edit: Edit, scenarios: list[Path]) -> Result:
    """Run the scenarios that claim to prove an edit's rule against the edit."""
    result = Result(edit)
    if not scenarios:
        result.trouble = "no scenario claims to prove the rule"
        return result
    try:
        done = copies.run(edit, scenarios)
    except ValueError as error:
        result.trouble = str(error)
        return result
    except subprocess.TimeoutExpired:
        result.trouble = "runs for ever"
        return result
    for line in done.stdout.splitlines():
        name, outcome = line.split(" ", 2)[:2]
        if outcome == "differs":
            result.differs.add(Path(name).stem)
        elif outcome == "fault":
            result.faults.add(Path(name).stem)
    if done.returncode != 0:
        result.trouble = (done.stderr.strip().splitlines() or ["ends with a fault"])[-1]
    return result


def rules(top: Path) -> list[str]:
    """The rules of the law that scenarios can prove by now (docs/pass-rules.toml)."""
    data = tomllib.loads((top / "docs/pass-rules.toml").read_text(encoding="utf-8"))
    listed = [rule for part in data["part"] for rule in part["rule"]]
    return [rule["id"] for rule in listed if "waits_for" not in rule]


def report(results: list[Result], known: list[str], claimed: dict[str, list[Path]]) -> list[str]:
    """Print the table; the result is the rules that survived."""
    survived = [rule for rule in known if not any(r.edit.rule == rule for r in results)]
    for result in sorted(results, key=lambda r: r.edit.rule):
        edit, of = result.edit, len(claimed[result.edit.rule])
        mark = "noticed" if result.noticed else "SURVIVED"
        why = result.trouble or (f"{len(result.faults)} faults" if result.faults else "")
        print(
            f"{mark:9} {edit.rule}  {len(result.differs):2} of {of:2}  {edit.what}  {why}".rstrip()
        )
        if not result.noticed:
            survived.append(edit.rule)
    return survived


def unnoticed(results: list[Result], claimed: dict[str, list[Path]]) -> list[str]:
    """The claims that no edit of their rule makes fail."""
    noticed: dict[str, set[str]] = defaultdict(set)
    for result in results:
        noticed[result.edit.rule] |= result.differs
    return [
        f"{file.stem} claims {rule}, and notices no edit of it"
        for rule in sorted(noticed)
        for file in claimed[rule]
        if file.stem not in noticed[rule]
    ]


def main(arguments: list[str] | None = None) -> int:
    """Try every edit; the result is the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("rule", nargs="*", help="only these rules")
    parser.add_argument("--top", type=Path, default=TOP, help="the tree to look at")
    parser.add_argument("--strict", action="store_true", help="every claim must notice an edit")
    parser.add_argument("--check", action="store_true", help="run nothing, only see if edits fit")
    options = parser.parse_args(arguments)
    known, claimed, edits = rules(options.top), claims(options.top), read_edits(options.top)
    if options.check:
        unfit = list(misfits(options.top, edits, known))
        for line in unfit:
            print(line)
        return 1 if unfit else 0
    if options.rule:
        known = [rule for rule in known if rule in options.rule]
    edits = [edit for edit in edits if edit.rule in known]
    with (
        tempfile.TemporaryDirectory() as folder,
        ThreadPoolExecutor(max_workers=os.cpu_count()) as threads,
    ):
        copies = Copies(options.top, Path(folder))
        everything = sorted({file for rule in known for file in claimed[rule]})
        before = copies.run(None, everything).stdout.splitlines()
        held = {line.removesuffix(" holds") for line in before if line.endswith(" holds")}
        claimed = {rule: [f for f in claimed[rule] if str(f) in held] for rule in known}
        jobs = [threads.submit(judge, copies, edit, claimed[edit.rule]) for edit in edits]
        results = [job.result() for job in jobs]
    survived = report(results, known, claimed)
    wrong = [
        f"{file.stem} fails in the code as it is" for file in everything if str(file) not in held
    ]
    for line in (*wrong, *(loose := unnoticed(results, claimed))):
        print(line)
    print(f"{len(edits)} edits, {len(known)} rules, survived: {', '.join(survived) or 'none'}")
    return 1 if survived or wrong or (options.strict and loose) else 0


if __name__ == "__main__":
    sys.exit(main())
