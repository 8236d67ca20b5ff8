"""How soon a pass that is put in the cloud opens a door; how long a month offline takes to go up.

All of it is real: PostgreSQL, a worker, mosquitto with mutual TLS and dynamic security, and the
appliance with its own store, each a process of its own. The clock starts before the request to the
admin API is sent, and stops when the door has opened.
"""

import argparse
import asyncio
import re
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from bench import rig_path  # noqa: F401 - so that `rig` is found
from bench.report import Bar, Figure, print_json, print_rows, print_table, quantile
from edgegate.passes.model import Customer, Door, Location, Pass, Per
from rig.postgres import Postgres, postgres
from rig.processes import Box, nursery
from rig.proxy import Fault
from rig.sites import Rig, Site, code_of, rig

PULL_S = 3600
"""So that what comes was pushed, or polled for, and not pulled by and by."""

START = datetime.fromisoformat("2026-03-02T08:00:00+00:00")
MONTH_PASSES = 100
ENTRIES_A_VISIT = 5


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured."""

    pushed: int
    polled: int
    visits: int


FULL = Plan(pushed=500, polled=500, visits=20_000)
QUICK = Plan(pushed=100, polled=100, visits=2_000)


@dataclass(slots=True)
class Measured:
    """Seconds and MiB."""

    pushed_s: list[float] = field(default_factory=list)
    polled_s: list[float] = field(default_factory=list)
    month_s: float = 0.0
    month_mib: float = 0.0
    entries: int = 0


@asynccontextmanager
async def site_of(
    directory: Path, server: Postgres, place: Path, *, mqtt: bool
) -> AsyncIterator[tuple[Rig, Site, Box]]:
    """A site with one appliance that knows its door."""
    async with rig(
        server.database(),
        directory,
        {"loft": ["gate"]},
        place,
        mqtt=mqtt,
        security=True,
        pull_s=PULL_S,
        wait_s=30,
        quick=False,
    ) as made:
        (site,) = made.sites
        (box,) = site.boxes
        await site.admin.put("location", Location(id="hall"))
        await site.admin.put("door", Door(id="door-gate", location="hall"))
        await box.start(START)
        await box.until(lambda found: found["linked"] is mqtt and found["head"] == 2)
        yield made, site, box


async def changes(site: Site, box: Box, count: int, mqtt: bool) -> list[float]:
    """From the request to the door, for so many passes one after the other."""
    for number in range(count):
        await site.admin.put("customer", Customer(id=f"c{number}"))
        await site.admin.put("credential", code_of(f"c{number}"))
    await box.until(lambda found: found["head"] >= 2 + 2 * count)
    seen = []
    for number in range(count):
        lot = Pass(id=f"p{number}", holder=f"c{number}", amount=1, per=Per.VISIT)
        begun_s = time.monotonic()
        head = await site.admin.put("pass", lot)
        opened = await box.ask("open", code=f"c{number}", head=head)
        seen.append(time.monotonic() - begun_s)
        if not opened["opened"]:
            raise SystemExit(f"the door stayed shut: {opened}")
    found = await box.ask("look")
    if found["linked"] is not mqtt:
        raise SystemExit("the broker was lost, and the figures are not what they say")
    return seen


async def month(site: Site, box: Box, plan: Plan, measured: Measured) -> None:
    """The upload of everything that a month without a cloud left behind."""
    for number in range(MONTH_PASSES):
        await site.admin.put("customer", Customer(id=f"m{number}"))
        lot = Pass(id=f"m{number}", holder=f"m{number}", amount=plan.visits, per=Per.VISIT)
        await site.admin.put("pass", lot)
    site.https["gate"].begin(Fault.REFUSE)
    at = START + timedelta(days=30)
    before = (await box.ask("look"))["sequence"]
    written = await box.ask("month", visits=plan.visits, passes=MONTH_PASSES, at=at)
    measured.entries = written["sequence"] - before
    idle_mib = _memory_mib(box.pid, "VmRSS", anew=True)
    site.https["gate"].heal()
    begun_s = time.monotonic()
    while True:
        found = await box.ask("look")
        if found["cursor"][1] == found["sequence"]:
            break
        await asyncio.sleep(0.05)
    measured.month_s = time.monotonic() - begun_s
    measured.month_mib = _memory_mib(box.pid, "VmHWM") - idle_mib


def _memory_mib(pid: int, name: str, *, anew: bool = False) -> float:
    """A line of proc_pid_status(5) in MiB; `anew` lets the peak begin here."""
    if anew:
        Path(f"/proc/{pid}/clear_refs").write_text("5", encoding="ascii")
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    found = re.search(rf"{name}:\s+(\d+) kB", status)
    return int(found[1]) / 1024 if found else 0.0


async def measure(plan: Plan, directory: Path) -> Measured:
    """Everything, one thing after the other."""
    measured = Measured()
    with postgres() as server, nursery() as place:
        async with site_of(directory / "push", server, place, mqtt=True) as (_, site, box):
            measured.pushed_s = await changes(site, box, plan.pushed, mqtt=True)
        async with site_of(directory / "poll", server, place, mqtt=False) as (_, site, box):
            measured.polled_s = await changes(site, box, plan.polled, mqtt=False)
            await month(site, box, plan, measured)
    return measured


def figures_of(measured: Measured) -> list[Figure]:
    """The figures and their bars."""
    pushed, polled = measured.pushed_s, measured.polled_s
    return [
        Figure(
            "push_p99_s",
            quantile(pushed, 0.99),
            "s",
            f"{statistics.median(pushed):.3f} s, the median of {len(pushed)} by the broker",
            Bar("<", 1),
        ),
        Figure(
            "poll_p99_s",
            quantile(polled, 0.99),
            "s",
            f"{statistics.median(polled):.3f} s, the median of {len(polled)} by long poll",
            Bar("<", 1),
        ),
        Figure(
            "month_upload_s",
            measured.month_s * 100_000 / measured.entries,
            "s",
            f"100,000 entries; {measured.entries:,} took {measured.month_s:.1f} s",
            Bar("<", 60),
        ),
        Figure(
            "month_extra_mib", measured.month_mib, "MiB", "the same appliance idle", Bar("<=", 30)
        ),
    ]


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="fewer changes, a shorter month")
    parser.add_argument("--json", action="store_true", help="print JSON only")
    arguments = parser.parse_args()
    plan = QUICK if arguments.quick else FULL
    # Not /tmp, which may lie in memory, where a commit costs nothing.
    with tempfile.TemporaryDirectory(prefix="bench-", dir="/var/tmp") as directory:
        measured = asyncio.run(measure(plan, Path(directory)))
    figures = figures_of(measured)
    if arguments.json:
        print_json("push", figures)
    else:
        rows = [
            (name, f"{statistics.median(seen):.3f}", f"{quantile(seen, 0.99):.3f}", str(len(seen)))
            for name, seen in (("broker", measured.pushed_s), ("long poll", measured.polled_s))
        ]
        print_rows("from the admin API to the door", ("by", "median s", "p99 s", "changes"), rows)
        print_table("push", figures)
    return 0


if __name__ == "__main__":
    sys.exit(main())
