"""How long a tap takes, from the wire of a reader to the relay of a door, beside a bare floor.

The daemon is the real one with its real serial driver. The floor (`floor.py`) and it take turns,
with the same codes on copies of the same records, so that what else the machine does meets both.
"""

import argparse
import json
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from bench import steps, world
from bench.report import Bar, Figure, print_json, print_rows, print_table, quantile
from bench.slow_disk import NoCompilerError, SlowDisk
from bench.strikes import Strikes
from bench.subjects import Daemon, Floor, Subject, make_directory, write_key
from bench.world import Taps
from bench.written import compare, written

DOORS = 20
BLOCK = 20
"""Taps before the other subject's turn."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured."""

    customers: int
    customers_few: int
    starts: int
    natural: int
    slow: int
    door: int
    split: int


FULL = Plan(
    customers=100_000, customers_few=10_000, starts=5, natural=1000, slow=200, door=150, split=200
)
QUICK = Plan(
    customers=20_000, customers_few=2_000, starts=2, natural=60, slow=40, door=30, split=40
)


@dataclass(slots=True)
class Measured:
    """What one subject showed, in seconds and MiB."""

    starts_s: list[float] = field(default_factory=list)
    peak_mib: float = 0.0
    taps_s: dict[str, list[float]] = field(default_factory=dict)

    def median_ms(self, stage: str) -> float:
        """The middle of its taps."""
        return statistics.median(self.taps_s[stage]) * 1000

    def p99_ms(self, stage: str) -> float:
        """What 99 of 100 of its taps did not exceed."""
        return quantile(self.taps_s[stage], 0.99) * 1000


class Side:
    """A subject, the codes it is tapped with, and what was measured of it."""

    def __init__(self, subject: Subject, taps: Taps) -> None:
        self.subject = subject
        self.taps = taps
        self.measured = Measured()

    def start(self, environment: dict[str, str]) -> None:
        """Start the subject, and note how long it took to the first door that opened."""
        code = next(code for code, opens in self.taps if opens)
        self.measured.starts_s.append(self.subject.start(code, environment))

    def stop(self) -> None:
        """End the subject, and note how much memory it had."""
        self.measured.peak_mib = max(self.measured.peak_mib, self.subject.peak_mib())
        self.subject.stop()

    def run_block(self, stage: str, count: int, pause_s: float) -> None:
        """Tap one at a time, each when what follows the one before is written too."""
        seen = self.measured.taps_s.setdefault(stage, [])
        for code, opens in self.taps.take(count):
            took_s = self.subject.tap(code, opens=opens)
            time.sleep(pause_s)
            if took_s is not None:
                seen.append(took_s)


class Bench:
    """One run, in a directory of its own."""

    def __init__(self, plan: Plan, directory: Path, stack: ExitStack) -> None:
        self._plan = plan
        self._directory = directory
        self._stack = stack
        self._disk = SlowDisk(directory)
        self._strikes = Strikes(directory / "strikes")
        stack.callback(self._strikes.close)
        self._key = make_directory(directory / "worlds")
        self.natural = "natural disk"
        self.rate_one = self.rate_all = 0.0
        self.split: list[list[float]] = []
        for customers in (plan.customers_few, plan.customers):
            world.build(self._world(customers), self._key, customers, DOORS)
        self.few = self._pair("few", plan.customers_few)
        self.many = self._pair("many", plan.customers)
        self.doors = self._side(Daemon("doors", self._home("doors"), self._strikes, DOORS))
        self.marked = self._side(_Marked("marked", self._home("marked"), self._strikes))

    def run(self) -> None:
        """Measure everything."""
        self._measure_starts()
        self._measure_one_at_a_time(self.natural, 0, self._plan.natural, self.few + self.many)
        for delay_ms in (5, 20):
            self._measure_one_at_a_time(f"+{delay_ms} ms", delay_ms, self._plan.slow, self.many)
        self._measure_doors()
        self._measure_split()
        for daemon, floor in (self.few, self.many):
            compare(written(daemon.subject.state), written(floor.subject.state))

    def _measure_starts(self) -> None:
        for _ in range(self._plan.starts - 1):
            for side in self.few + self.many:
                side.start({})
                side.stop()

    def _measure_one_at_a_time(
        self, stage: str, delay_ms: float, count: int, sides: Iterable[Side]
    ) -> None:
        sides = list(sides)
        environment = self._disk.environment(delay_ms)
        for side in sides:
            side.start(environment)
        for done in range(0, count, BLOCK):
            for side in sides:
                side.run_block(stage, min(BLOCK, count - done), delay_ms / 1000)
        for side in sides:
            side.stop()

    def _measure_doors(self) -> None:
        """Closed loops at one door and at all, with a slow commit: who got in taps again."""
        self.doors.start(self._disk.environment(20))
        channels = list(self.doors.subject.scanners)
        self.rate_one = self._closed_loop(channels[:1], self._plan.door)
        self.doors.subject.settle()
        self.rate_all = self._closed_loop(channels, self._plan.door * DOORS // 2)
        self.doors.stop()

    def _closed_loop(self, channels: Sequence[str], count: int) -> float:
        """Taps answered a second; one that is refused is followed at once by the next."""
        subject, taps = self.doors.subject, self.doors.taps
        answered = 0
        waiting = dict.fromkeys(channels, 0)

        def show(channel: str) -> None:
            for code, opens in taps:
                subject.scanners[channel].scan(code, end="\r")
                waiting[channel] += 1
                if opens:
                    return

        begun_s = time.monotonic()
        for channel in channels:
            show(channel)
        while answered < count:
            command = self._strikes.next(10)
            if command.released:
                answered += waiting[command.name]
                waiting[command.name] = 0
                show(command.name)
        took_s = time.monotonic() - begun_s
        subject.settle()
        return answered / took_s

    def _measure_split(self) -> None:
        file = self._directory / "steps.json"
        self.marked.start({steps.FILE_VARIABLE: str(file)})
        scanner = self.marked.subject.scanners[self.marked.subject.strike(0)]
        shown: list[tuple[int, int]] = []
        for code, opens in self.marked.taps.take(self._plan.split):
            if opens:
                wire_ns = scanner.scan(code, end="\r")
                name = self.marked.subject.strike(0)
                relay_ns = self._strikes.wait(name, released=True, timeout_s=5)
                shown.append((wire_ns, relay_ns))
                self._strikes.wait(name, released=False, timeout_s=5)
        self.marked.stop()
        marks = [m for m in json.loads(file.read_text()) if "line" in m][-len(shown) :]
        self.split = [
            steps.split(m, wire_ns, relay_ns)
            for m, (wire_ns, relay_ns) in zip(marks, shown, strict=True)
        ]

    def _pair(self, name: str, customers: int) -> tuple[Side, Side]:
        """A daemon and a floor with copies of the same records, and the same codes."""
        daemon = Daemon(f"daemon-{name}", self._home(f"daemon-{name}", customers), self._strikes)
        floor = Floor(f"floor-{name}", self._home(f"floor-{name}", customers), self._strikes)
        return self._side(daemon, customers), self._side(floor, customers)

    def _side(self, subject: Subject, customers: int = 0) -> Side:
        self._stack.enter_context(subject)
        return Side(subject, Taps(customers or self._plan.customers))

    def _home(self, name: str, customers: int = 0) -> Path:
        directory = self._directory / name
        directory.mkdir()
        write_key(directory, self._key)
        shutil.copytree(self._world(customers or self._plan.customers), directory / "state")
        return directory

    def _world(self, customers: int) -> Path:
        return self._directory / "worlds" / f"{customers}"


class _Marked(Daemon):
    module = "bench.steps"


def figures_of(bench: Bench) -> list[Figure]:
    """The figures and their bars."""
    daemon, floor = (side.measured for side in bench.many)
    slow, natural = "+20 ms", bench.natural
    floor_slow = f"{floor.median_ms(slow):.1f} ms, the floor with a commit of {slow}"
    over = daemon.median_ms(natural) - floor.median_ms(natural)
    over_p99 = daemon.p99_ms(natural) - floor.p99_ms(natural)
    growth, of = _growth(bench)
    peak = max(daemon.peak_mib, bench.doors.measured.peak_mib)
    return [
        Figure(
            "tap_sd20_vs_floor",
            daemon.median_ms(slow) / floor.median_ms(slow),
            "",
            floor_slow,
            Bar("<=", 1.15),
        ),
        Figure(
            "doors20_vs_one",
            bench.rate_all / bench.rate_one,
            "",
            f"{bench.rate_one:.1f} taps/s, one door in the same closed loop, {slow}",
            Bar(">=", 8),
        ),
        Figure(
            "tap_over_floor_ms",
            over,
            "ms",
            f"{floor.median_ms(natural):.2f} ms, the floor's median",
            Bar("<=", 1.5),
        ),
        Figure(
            "tap_p99_over_floor_ms",
            over_p99,
            "ms",
            f"{floor.p99_ms(natural):.2f} ms, the floor's 99th percentile",
            Bar("<=", 4),
        ),
        Figure("peak_mib", peak, "MiB", f"{floor.peak_mib:.0f} MiB, the floor's", Bar("<", 80)),
        Figure(
            "start_s",
            statistics.median(daemon.starts_s),
            "s",
            f"{statistics.median(floor.starts_s):.2f} s, the floor's",
            Bar("<", 1.5),
        ),
        Figure("growth_10k_100k", growth, "", of, Bar("<=", 1.2)),
    ]


def _growth(bench: Bench) -> tuple[float, str]:
    """The worst growth from few customers to many, and of what that is."""
    few, few_floor = (side.measured for side in bench.few)
    many, many_floor = (side.measured for side in bench.many)
    stage = bench.natural
    few_over = few.median_ms(stage) - few_floor.median_ms(stage)
    many_over = many.median_ms(stage) - many_floor.median_ms(stage)
    few_s, many_s = statistics.median(few.starts_s), statistics.median(many.starts_s)
    growths = [
        (many_over / few_over, f"tap over floor: {few_over:.3f} to {many_over:.3f} ms"),
        (many.peak_mib / few.peak_mib, f"memory: {few.peak_mib:.1f} to {many.peak_mib:.1f} MiB"),
        (many_s / few_s, f"start: {few_s:.2f} to {many_s:.2f} s"),
    ]
    return max(growths)


def print_details(bench: Bench, plan: Plan) -> None:
    """Print what the figures are made of."""
    print(f"{plan.customers:,} customers, {3 * plan.customers:,} passes; {world.MIX}")
    names = {"daemon": bench.many[0], "floor": bench.many[1]}
    names |= {
        f"{name}, {plan.customers_few:,}": s for name, s in zip(names, bench.few, strict=True)
    }
    rows = [
        (
            stage,
            name,
            f"{side.measured.median_ms(stage):.2f}",
            f"{side.measured.p99_ms(stage):.2f}",
            str(len(side.measured.taps_s[stage])),
        )
        for stage in bench.many[0].measured.taps_s
        for name, side in names.items()
        if stage in side.measured.taps_s
    ]
    print_rows("wire to relay", ("commit", "of", "median ms", "p99 ms", "taps"), rows)
    columns = zip(steps.STEPS, zip(*bench.split, strict=True), strict=True)
    split = [(s, f"{statistics.median(v):.3f}", f"{quantile(v, 0.99):.3f}") for s, v in columns]
    print_rows("split by step, natural disk", ("step", "median ms", "p99 ms"), split)
    alone = 1000 / bench.many[0].measured.median_ms("+20 ms")
    print(
        f"\n+20 ms, closed loop: one door {bench.rate_one:.1f} taps/s, {DOORS} doors"
        f" {bench.rate_all:.1f}; a door whose taps meet no record of the one before: {alone:.1f}"
    )


def main() -> int:
    """Measure, print, and say by the status whether it could be measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="fewer taps, a smaller world")
    parser.add_argument("--json", action="store_true", help="print JSON only")
    arguments = parser.parse_args()
    plan = QUICK if arguments.quick else FULL
    # Not /tmp, which may lie in memory, where a commit costs nothing.
    with (
        tempfile.TemporaryDirectory(prefix="bench-", dir="/var/tmp") as directory,
        ExitStack() as stack,
    ):
        try:
            bench = Bench(plan, Path(directory), stack)
        except NoCompilerError as error:
            print(error, file=sys.stderr)
            return 1
        bench.run()
    figures = figures_of(bench)
    if arguments.json:
        print_json("tap", figures)
    else:
        print_details(bench, plan)
        print_table("tap", figures)
    return 0


if __name__ == "__main__":
    sys.exit(main())
