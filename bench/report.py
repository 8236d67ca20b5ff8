"""What a benchmark reports: figures beside their bars, as a table to read or as JSON."""

import json
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Bar:
    """What a figure should keep to."""

    sense: Literal["<=", "<", ">="]
    limit: float

    def __str__(self) -> str:
        return f"{self.sense} {self.limit:g}"

    def holds(self, value: float) -> bool:
        """Whether a value keeps to it."""
        match self.sense:
            case "<=":
                return value <= self.limit
            case "<":
                return value < self.limit
            case ">=":
                return value >= self.limit


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured number, what it is held against, and its bar."""

    name: str
    value: float
    unit: str
    against: str
    bar: Bar

    @property
    def holds(self) -> bool:
        """Whether the figure, as it is shown, keeps to its bar."""
        return self.bar.holds(self.shown)

    @property
    def shown(self) -> float:
        """The value with the digits that mean something."""
        return round(self.value, 3)

    def as_json(self) -> dict[str, object]:
        """The figure as the JSON report holds it."""
        shown = {"value": self.shown, "bar": str(self.bar), "holds": self.holds}
        return {**asdict(self), **shown}


def print_json(bench: str, figures: Iterable[Figure]) -> None:
    """Print one line of JSON."""
    print(json.dumps({"bench": bench, "figures": [figure.as_json() for figure in figures]}))


def print_table(title: str, figures: Iterable[Figure]) -> None:
    """Print the figures under a title."""
    rows = [
        (
            f.name,
            f"{f.shown:g} {f.unit}".rstrip(),
            str(f.bar),
            "yes" if f.holds else "NO",
            f.against,
        )
        for f in figures
    ]
    print_rows(title, ("figure", "value", "bar", "holds", "against"), rows)


def print_rows(title: str, head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> None:
    """Print a table whose columns are as wide as what is in them."""
    lines = [head, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    print(f"\n{title}")
    for line in lines:
        cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        print("  " + "  ".join(cells).rstrip())


def quantile(values: Iterable[float], part: float) -> float:
    """The smallest value that at least that part of all does not exceed."""
    ordered = sorted(values)
    # Without rounding 0.99 of 100 would be a hair more than 99.
    place = math.ceil(round(part * len(ordered), 9))
    return ordered[max(0, place - 1)]
