"""What the cloud counts and measures, in names that `metrics` shows."""

from bisect import bisect_left
from collections import Counter

from msgspec import Struct

BOUNDS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class Histogram(Struct):
    """How many measurements were at most each of `BOUNDS_S`, and one more for the rest."""

    buckets: list[int]
    total_s: float = 0.0


class Counters:
    """Counts by name and label; the labels are few: operations, statuses, outcomes."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[str, str]] = Counter()
        self.histograms: dict[tuple[str, str], Histogram] = {}

    def count(self, name: str, label: str = "", by: int = 1) -> None:
        """Count something."""
        self.counts[name, label] += by

    def observe(self, name: str, label: str, took_s: float) -> None:
        """Measure how long something took."""
        one = self.histograms.setdefault(
            (name, label), Histogram(buckets=[0] * (len(BOUNDS_S) + 1))
        )
        one.buckets[bisect_left(BOUNDS_S, took_s)] += 1
        one.total_s += took_s
