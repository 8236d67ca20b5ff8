"""The exchange under every fault at once: what was done at a door is counted once."""

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from rig.audit import Report
from rig.broken import CLOUDS, DEVICES, OVER_GAPS
from rig.campaign import campaign
from rig.postgres import Postgres
from rig.processes import nursery

pytest_plugins = ("rig.cloud_fixtures",)

FIRST = int(os.environ.get("CAMPAIGN_SEED", "0"))
"""Where the seeds begin; a failure names the site, and its number is the seed."""

TOGETHER = 5
"""Seeds whose sites share a cloud; each makes it fail for all, so that many would only wait."""

STEPS = 12
ILLS = 0.3
"""Short lives in which much goes wrong, for every build."""

STEPS_SOAKED = 150
ILLS_SOAKED = 0.09
"""Long ones, in which what went wrong has time to do harm."""

FAULTS_MIN = 5
FAULTS_MIN_SOAKED = 12
"""So many kinds of faults the sites of a cloud meet, of some twenty."""


@pytest.fixture(scope="session")
def place() -> Iterator[Path]:
    """Where appliances come from."""
    with nursery() as made:
        yield made


async def lived(
    server: Postgres | None, directory: Path, place: Path, seeds: range, *, steps: int, ills: float
) -> Report:
    url = f"sqlite:///{directory}/cloud.db"
    if server is not None:
        url = await asyncio.to_thread(server.database)
    print(f"seeds {seeds.start} to {seeds.stop - 1}, CAMPAIGN_SEED={FIRST}")
    report = await campaign(url, directory, place, seeds, steps=steps, ills=ills, server=server)
    print(report)
    assert len(report.faults) >= (FAULTS_MIN if steps == STEPS else FAULTS_MIN_SOAKED)
    assert report.faults["cloud restored"] == 1
    assert report.opened
    assert report.entries
    return report


def seeds_of(number: int, together: int = TOGETHER) -> range:
    first = FIRST + number * together
    return range(first, first + together)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("number", range(3))
async def test_sites_that_live_through_faults_lose_nothing(
    number: int, tmp_path: Path, place: Path
) -> None:
    await lived(None, tmp_path, place, seeds_of(number), steps=STEPS, ills=ILLS)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("number", range(3, 6))
async def test_sites_that_live_through_faults_lose_nothing_on_postgresql(
    number: int, tmp_path: Path, place: Path, postgres_server: Postgres
) -> None:
    await lived(postgres_server, tmp_path, place, seeds_of(number), steps=STEPS, ills=ILLS)


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("number", range(30))
async def test_three_hundred_sites_lose_nothing(
    number: int, tmp_path: Path, place: Path, postgres_server: Postgres
) -> None:
    seeds = seeds_of(number, together=10)
    server = postgres_server if number % 3 == 0 else None
    await lived(server, tmp_path, place, seeds, steps=STEPS_SOAKED, ills=ILLS_SOAKED)


@pytest.mark.soak
@pytest.mark.timeout(900)
@pytest.mark.parametrize("mutant", [m for m in (*DEVICES, *CLOUDS) if m != OVER_GAPS])
async def test_it_would_be_noticed(mutant: str, tmp_path: Path, place: Path) -> None:
    """The audit finds what breaks a promise; for pushes over gaps see `test_push_gaps`."""
    url = f"sqlite:///{tmp_path}/cloud.db"
    with pytest.raises(AssertionError, match=r"^s\d+"):
        await campaign(url, tmp_path, place, range(900, 904), steps=120, mutant=mutant)
