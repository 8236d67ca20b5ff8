"""A month without the cloud: what it left behind goes up in one go, in order, in little memory."""

import asyncio
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from edgegate.passes.model import Customer, Location, Pass, Per
from edgegate_sync.appliance.upload import PROGRESS_ENTRIES
from rig.audit import ledger_of
from rig.campaign import START
from rig.processes import Box, nursery
from rig.proxy import Fault
from rig.sites import rig

VISITS = 4_000
"""Of five entries each; the whole month has five times as many."""

PASSES = 100
HALL = Location(id="hall")
GROWTH_MIB_MAX = 24
"""Beyond what the appliance had when the first thousands were up."""


@pytest.fixture
def place() -> Iterator[Path]:
    with nursery() as made:
        yield made


def peak_mib(pid: int) -> float:
    """The most memory that a process had (proc_pid_status(5))."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert found is not None
    return int(found[1]) / 1024


async def watched(box: Box) -> tuple[list[int], list[float]]:
    """The cursor and the peak memory again and again, until all is up."""
    cursors, peaks = [0], []
    while True:
        found = await box.ask("look")
        assert found["faults"] == []
        cursors.append(found["cursor"][1])
        if cursors[-1] >= 5_000:
            peaks.append(peak_mib(box.pid))
        if cursors[-1] == found["sequence"]:
            return cursors, peaks
        await asyncio.sleep(0.2)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("visits", [VISITS, pytest.param(5 * VISITS, marks=pytest.mark.soak)])
async def test_a_month_goes_up_in_one_go(visits: int, tmp_path: Path, place: Path) -> None:
    url = f"sqlite:///{tmp_path}/cloud.db"
    async with rig(url, tmp_path / "rig", {"loft": ["gate"]}, place, mqtt=False) as made:
        (site,) = made.sites
        (box,) = site.boxes
        await site.admin.put("location", HALL)
        for n in range(PASSES):
            await site.admin.put("customer", Customer(id=f"m{n}"))
            lot = Pass(id=f"m{n}", holder=f"m{n}", amount=visits, per=Per.VISIT)
            await site.admin.put("pass", lot)
        await box.start(START)
        await box.until(lambda found: found["head"])
        site.https["gate"].begin(Fault.REFUSE)
        at = START + timedelta(days=30)
        written = await box.ask("month", visits=visits, passes=PASSES, at=at)
        assert written["sequence"] == 5 * visits
        site.https["gate"].heal()
        cursors, peaks = await watched(box)
        assert cursors == sorted(cursors)
        assert len(set(cursors)) > 3
        assert max(peaks) - min(peaks) < GROWTH_MIB_MAX
        left = (await box.ask("remaining"))["remaining"]
        await box.stop()
        log = Path(box.task.state).with_suffix(".log").read_text()
        told = [int(n) for n in re.findall(r"uploaded (\d+) entries, \d+ are left", log)]
        assert told == sorted(told)
        assert len(told) >= 5 * visits // (2 * PROGRESS_ENTRIES)
        own = [(e.sequence, e.hash) for e in await asyncio.to_thread(ledger_of, box)]
        assert await asyncio.to_thread(taken_in, tmp_path / "cloud.db") == own
        assert left == {f"m{n}": visits - visits // PASSES for n in range(PASSES)}


def taken_in(cloud: Path) -> list[tuple[int, bytes]]:
    """What the cloud has, in the order in which it was taken in."""
    with closing(sqlite3.connect(cloud)) as connection:
        return connection.execute(
            "SELECT sequence, hash FROM ledger_entry ORDER BY taken_us, sequence"
        ).fetchall()
