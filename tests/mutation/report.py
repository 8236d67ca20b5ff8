"""Tells what became of the mutants, and holds the survivors against their explanations."""

import tomllib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from mutation.campaign import Fates
from mutation.changes import Mutant

KINDS = {
    "equivalent": "the code does the same for everything that can reach it",
    "unreachable": "no input brings the code there; it is there for the type checker",
    "speed": "only how fast or how often something is done differs",
}


@dataclass(frozen=True)
class Explained:
    """Why some mutants of a function may survive."""

    module: str
    function: str
    kind: str
    why: str
    mutants: tuple[str, ...]

    @property
    def keys(self) -> list[str]:
        """The keys of the mutants that it speaks of."""
        return [f"{self.module}:{self.function}: {text}" for text in self.mutants]


def read_explained(file: Path) -> dict[str, Explained]:
    """The explanations by the mutants' keys.

    Raises:
        ValueError: if a mutant is explained twice, or by a kind that does not exist.
    """
    found: dict[str, Explained] = {}
    for row in tomllib.loads(file.read_text(encoding="utf-8")).get("survivor", []):
        explained = Explained(**{**row, "mutants": tuple(row["mutants"])})
        if explained.kind not in KINDS or not explained.why:
            raise ValueError(f"{explained.module}:{explained.function}: explained by nothing")
        for key in explained.keys:
            if key in found:
                raise ValueError(f"explained twice: {key}")
            found[key] = explained
    return found


def table(mutants: Iterable[Mutant], fates: Fates) -> list[str]:
    """The numbers of each module and of all."""
    rows: dict[str, Counter[str]] = {}
    for mutant in mutants:
        if mutant.key in fates:
            rows.setdefault(mutant.module, Counter())[fates[mutant.key].fate] += 1
    rows["in all"] = sum(rows.values(), Counter())
    lines = [
        f"{'module':12} {'mutants':>7} {'killed':>7} {'timeout':>7} {'survived':>8} {'score':>7}"
    ]
    for name, row in rows.items():
        killed, late, number = row["killed"], row["timeout"], row.total()
        lines.append(
            f"{name:12} {number:7} {killed:7} {late:7} {row['survived']:8} {score(row):6.1f}%"
        )
    return lines


def score(row: Mapping[str, int]) -> float:
    """The part of the mutants, in percent, that a test notices; running for ever is noticed."""
    number = sum(row.values())
    return 100 * (row.get("killed", 0) + row.get("timeout", 0)) / number if number else 0.0


def survivor(mutant: Mutant, explained: Explained | None) -> str:
    """A survivor with its change, and why it may live."""
    place = f"edgegate/passes/{mutant.module}.py:{mutant.line}: {mutant.function}"
    times = f"   # the {mutant.ordinal}th of these" if mutant.ordinal > 1 else ""
    why = f"    {explained.kind}: {explained.why}" if explained else "    NOT EXPLAINED"
    return f"{place}\n  - {mutant.old}{times}\n  + {mutant.new}\n{why}"
