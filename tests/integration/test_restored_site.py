"""Whole clouds and appliances, with backup and restoration as the manual has them."""

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from edgegate.passes.model import Customer, Door, Location, Pass
from edgegate_sync.cloud import backup
from rig.audit import audited
from rig.campaign import START
from rig.cloud_fixtures import postgres_server
from rig.postgres import Postgres
from rig.processes import Box, nursery
from rig.restoring import Saved
from rig.sites import Site, code_of, rig

__all__ = ["postgres_server"]

pytest_plugins = ("rig.further_fixtures",)


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """Where appliances come from."""
    with nursery() as made:
        yield made


async def visit(box: Box, customer: str, hour: int) -> None:
    """Come and go."""
    at_ = START + timedelta(hours=hour)
    await box.ask("tap", code=customer, at=at_)
    await box.ask("exit", code=customer, at=at_ + timedelta(minutes=20))


async def open_doors(site: Site) -> None:
    """Three customers with passes, and the appliances at work."""
    await site.admin.put("location", Location(id="hall"))
    head = 0
    for number in range(3):
        await site.admin.put("customer", Customer(id=f"c{number}"))
        await site.admin.put("credential", code_of(f"c{number}"))
        await site.admin.put("pass", Pass(id=f"p{number}", holder=f"c{number}", amount=100))
    for box in site.boxes:
        head = await site.admin.put("door", Door(id=f"door-{box.name}", location="hall"))
        await box.start(START)
    for box in site.boxes:
        await box.until(lambda f: f["head"] >= head)


async def live(site: Site, boxes: list[Box], hours: range) -> None:
    """Somebody comes to each of these doors, staff change something, and all know of it."""
    head = 0
    for hour in hours:
        for box in boxes:
            await visit(box, f"c{hour % 3}", hour)
        head = await site.admin.put("customer", Customer(id=f"new-{hour}"))
    for box in site.boxes:
        await box.until(lambda f: f["cursor"] == [f["epoch"], f["sequence"]] and f["head"] >= head)


async def overtake(site: Site) -> None:
    """Let staff do so much that the restored feed has more numbers than it had before."""
    for number in range(20):
        await site.admin.put("customer", Customer(id=f"other-{number}"))


@pytest.mark.timeout(300)
@pytest.mark.parametrize("on", ["sqlite, mqtt", "postgresql, polling"])
async def test_a_site_agrees_after_its_cloud_was_restored(
    on: str, tmp_path: Path, place: Path, request: pytest.FixtureRequest
) -> None:
    """One appliance idle, one at work, and two off: of one the cloud lost nothing but the feed."""
    server: Postgres | None = None
    url = f"sqlite:///{tmp_path}/cloud.db"
    if "postgresql" in on:
        server = request.getfixturevalue("postgres_server")
        url = await asyncio.to_thread(server.database)
    sites = {"mill": ["idle", "busy", "away", "quiet"]}
    async with rig(url, tmp_path / "rig", sites, place, mqtt="mqtt" in on) as made:
        (site,) = made.sites
        idle, busy, away, quiet = site.boxes
        saved = Saved(made.settings, tmp_path, made.workers, server)
        await open_doors(site)
        await live(site, site.boxes, range(1))
        await saved.make()
        await live(site, [idle, busy, away], range(1, 4))
        await away.stop()
        await quiet.stop()
        await saved.restore()
        await visit(busy, "c1", 5)
        await overtake(site)
        for box in (away, quiet):
            await box.start(START + timedelta(hours=20))
        await audited(site, url)


async def test_who_has_to_send_again_takes_a_snapshot(
    tmp_path: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also of a cloud that was restored otherwise, and whose feed gives its numbers again."""
    monkeypatch.setattr(backup, "_begin_feeds", lambda _path: None)
    url = f"sqlite:///{tmp_path}/cloud.db"
    async with rig(url, tmp_path / "rig", {"mill": ["away"]}, place, mqtt=False) as made:
        (site,) = made.sites
        saved = Saved(made.settings, tmp_path, made.workers, None)
        await open_doors(site)
        await saved.make()
        await live(site, site.boxes, range(1, 3))
        await site.boxes[0].stop()
        await saved.restore()
        await overtake(site)
        await site.boxes[0].start(START + timedelta(hours=20))
        await audited(site, url)
