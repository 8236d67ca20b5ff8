"""A pass put in the cloud opens a door: by the broker, without it by long poll, and after both."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from edgegate.passes.model import Customer, Door, Location, Pass, Per
from rig.audit import audited
from rig.campaign import START
from rig.processes import Box, nursery
from rig.proxy import Fault
from rig.sites import Rig, Site, code_of, rig

CHANGES = 5
LOFT = {"loft": ["gate"]}
HALL = Location(id="hall")


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    with nursery() as made:
        yield made


@pytest.fixture
async def made(tmp_path: Path, place: Path) -> AsyncIterator[Rig]:
    """A site with dynamic security whose appliance hardly ever asks of its own accord."""
    url = f"sqlite:///{tmp_path}/cloud.db"
    async with rig(
        url, tmp_path / "rig", LOFT, place, security=True, pull_s=3600, wait_s=20
    ) as running:
        (site,) = running.sites
        await site.admin.put("location", HALL)
        await site.admin.put("door", Door(id="door-gate", location="hall"))
        for number in range(3 * CHANGES):
            await site.admin.put("customer", Customer(id=f"c{number}"))
            await site.admin.put("credential", code_of(f"c{number}"))
        await site.boxes[0].start(START)
        yield running


def lot(number: int) -> Pass:
    return Pass(id=f"p{number}", holder=f"c{number}", amount=3, per=Per.VISIT)


async def opens(site: Site, number: int) -> None:
    """Refused before the change, let in after it."""
    (box,) = site.boxes
    assert not (await box.ask("tap", code=f"c{number}"))["opened"]
    head = await site.admin.put("pass", lot(number))
    async with asyncio.timeout(30):
        assert (await box.ask("open", code=f"c{number}", head=head))["opened"]


async def link_is(box: Box, *, up: bool) -> None:
    await box.until(lambda found: found["linked"] is up and found["head"])


async def test_by_the_broker_and_when_it_is_away_by_long_poll(made: Rig) -> None:
    (site,) = made.sites
    (box,) = site.boxes
    await link_is(box, up=True)
    for number in range(CHANGES):
        await opens(site, number)
    assert made.broker is not None
    await asyncio.to_thread(made.broker.kill)
    await link_is(box, up=False)
    for number in range(CHANGES, 2 * CHANGES):
        await opens(site, number)
    await audited(site, made.url)


async def test_without_both_doors_go_on_and_afterwards_all_is_counted_once(made: Rig) -> None:
    (site,) = made.sites
    (box,) = site.boxes
    await link_is(box, up=True)
    for number in range(CHANGES):
        await opens(site, number)
    assert made.broker is not None
    await asyncio.to_thread(made.broker.kill)
    site.https["gate"].begin(Fault.REFUSE)
    await link_is(box, up=False)
    for number in range(CHANGES):
        at = START + timedelta(days=1, minutes=number)
        await box.ask("exit", code=f"c{number}", at=at)
        again = await box.ask("tap", code=f"c{number}", at=at + timedelta(seconds=30))
        assert again["opened"]
    # What the cloud learns meanwhile waits there.
    head = await site.admin.put("pass", lot(CHANGES))
    sent = (await box.ask("look"))["cursor"]
    assert sent[1] < again["sequence"]
    site.https["gate"].heal()
    await asyncio.to_thread(made.broker.start)
    assert (await box.ask("open", code=f"c{CHANGES}", head=head))["opened"]
    await audited(site, made.url)
