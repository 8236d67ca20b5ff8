"""Pushes get lost without a word, and none that comes after is applied over the gap."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from edgegate.passes.model import Team
from rig.audit import audited
from rig.broken import OVER_GAPS
from rig.campaign import START
from rig.processes import nursery
from rig.sites import Rig, rig

PUSHES = 40


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """Where appliances come from."""
    with nursery() as made:
        yield made


@asynccontextmanager
async def half_of_it_lost(tmp_path: Path, place: Path, mutant: str) -> AsyncIterator[Rig]:
    """A site whose appliance hears of every second change, as chance has it."""
    url = f"sqlite:///{tmp_path}/cloud.db"
    async with rig(url, tmp_path / "rig", {"mill": ["east"]}, place, mutant=mutant) as made:
        (site,) = made.sites
        (box,) = site.boxes
        await site.admin.put("team", Team(id="first"))
        await box.start(START)
        await box.until(lambda found: found["linked"] and found["head"])
        await box.ask("meddle", share=1.0, seed=1)
        for number in range(PUSHES):
            head = await site.admin.put("team", Team(id=f"t{number}"))
        await box.ask("meddle", share=0.0, seed=1)
        await box.until(lambda found: found["head"] >= head)
        yield made


async def test_what_was_lost_comes_with_the_next_pull(tmp_path: Path, place: Path) -> None:
    async with half_of_it_lost(tmp_path, place, "") as made:
        await audited(made.sites[0], made.url)


async def test_a_device_that_did_otherwise_would_be_noticed(tmp_path: Path, place: Path) -> None:
    async with half_of_it_lost(tmp_path, place, OVER_GAPS) as made:
        with pytest.raises(AssertionError, match=r"mill: the records team of east"):
            await audited(made.sites[0], made.url)
