"""The exchange under every fault at once: what was done at a door is counted once."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from rig.audit import Report
from rig.broken import CLOUDS, DEVICES
from rig.campaign import campaign
from rig.postgres import Postgres
from rig.processes import nursery

pytest_plugins = ("rig.cloud_fixtures",)

TOGETHER = 5
"""Seeds whose sites share a cloud."""

FIRST = int(os.environ.get("CAMPAIGN_SEED", "0"))
"""Where the seeds begin; a failure names the site, and its number is the seed."""

STEPS = 150
FAULTS_MIN = 12
"""So many kinds of faults five sites meet, of some twenty."""


@pytest.fixture(scope="session")
def place() -> Iterator[Path]:
    """Where appliances come from."""
    with nursery() as made:
        yield made


async def lived(url: str, directory: Path, place: Path, seeds: range) -> Report:
    print(f"seeds {seeds.start} to {seeds.stop - 1}, CAMPAIGN_SEED={FIRST}")
    report = await campaign(url, directory, place, seeds, steps=STEPS)
    print(report)
    assert len(report.faults) >= FAULTS_MIN
    assert report.opened
    assert report.entries
    return report


def seeds_of(number: int, together: int = TOGETHER) -> range:
    first = FIRST + number * together
    return range(first, first + together)


@pytest.mark.soak
@pytest.mark.timeout(900)
@pytest.mark.parametrize("number", range(5))
async def test_sites_that_live_through_faults_lose_nothing(
    number: int, tmp_path: Path, place: Path
) -> None:
    await lived(f"sqlite:///{tmp_path}/cloud.db", tmp_path, place, seeds_of(number))


@pytest.mark.soak
@pytest.mark.timeout(900)
async def test_sites_that_live_through_faults_lose_nothing_on_postgresql(
    tmp_path: Path, place: Path, postgres_server: Postgres
) -> None:
    await lived(postgres_server.database(), tmp_path, place, seeds_of(5))


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("number", range(30))
async def test_three_hundred_sites_lose_nothing(
    number: int, tmp_path: Path, place: Path, postgres_server: Postgres
) -> None:
    seeds = seeds_of(number + 3, together=10)
    url = postgres_server.database() if number % 3 == 0 else f"sqlite:///{tmp_path}/cloud.db"
    await lived(url, tmp_path, place, seeds)


@pytest.mark.soak
@pytest.mark.timeout(900)
@pytest.mark.parametrize("mutant", [*DEVICES, *CLOUDS])
async def test_it_would_be_noticed(mutant: str, tmp_path: Path, place: Path) -> None:
    """The audit finds what breaks a promise."""
    url = f"sqlite:///{tmp_path}/cloud.db"
    with pytest.raises(AssertionError, match=r"^s\d+"):
        await campaign(url, tmp_path, place, range(900, 904), steps=120, mutant=mutant)
