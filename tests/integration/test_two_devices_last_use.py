"""Two appliances and one last use, the cloud away: spent once by a broker, else settled."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from edgegate.passes.model import Customer, Door, Location, Pass, Per, Team
from edgegate_sync.cloud.database import open_database
from rig.audit import audited, drained
from rig.campaign import START
from rig.processes import nursery
from rig.proxy import Fault
from rig.sites import Rig, code_of, rig

WORLD = (
    Location(id="hall"),
    Team(id="team"),
    Customer(id="ana", team="team"),
    Customer(id="ben", team="team"),
    Pass(id="last", holder="team", amount=1, per=Per.VISIT),
    *(Door(id=f"door-{name}", location="hall") for name in ("east", "west")),
)


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    with nursery() as made:
        yield made


@asynccontextmanager
async def two(directory: Path, place: Path, *, mqtt: bool) -> AsyncIterator[Rig]:
    """Both know the pass, and then the cloud is away."""
    sites = {"loft": ["east", "west"]}
    url = f"sqlite:///{directory}/cloud.db"
    async with rig(url, directory / "rig", sites, place, mqtt=mqtt) as made:
        (site,) = made.sites
        for one in WORLD:
            head = await site.admin.put(type(one).__name__.lower(), one)
        for name in ("ana", "ben"):
            head = await site.admin.put("credential", code_of(name))
        for box in site.boxes:
            await box.start(START)
            await box.until(lambda f: f["head"] == head and f["linked"] is mqtt)
        for way in site.https.values():
            way.begin(Fault.REFUSE)
        yield made


async def back_and_audited(made: Rig) -> dict[str, Any]:
    """Let the cloud be there again; what the two customers are told of the pass."""
    (site,) = made.sites
    for way in site.https.values():
        way.heal()
    database = await open_database(made.url)
    try:
        await drained(site, database)
    finally:
        await database.close()
    told = {
        name: await site.admin.ask("GET", f"/customers/{name}/history") for name in ("ana", "ben")
    }
    balance = await site.admin.ask("GET", "/records/balance/last")
    assert balance["body"]["remaining"] == 0
    await audited(site, made.url)
    return told


async def test_with_a_broker_between_them_one_of_them_spends_it(
    tmp_path: Path, place: Path
) -> None:
    async with two(tmp_path, place, mqtt=True) as made:
        (site,) = made.sites
        east, west = site.boxes
        spent = await east.ask("tap", code="ana")
        assert spent["opened"]
        await west.until(lambda f: f["heard"] >= spent["sequence"])
        refused = await west.ask("tap", code="ben")
        assert not refused["opened"], refused
        told = await back_and_audited(made)
        assert [(t["kind"], t["amount"]) for t in told["ana"]["transactions"]] == [("debit", -1)]
        assert told["ben"]["transactions"] == []


async def test_without_one_both_do_and_the_overdraft_is_settled_and_shown(
    tmp_path: Path, place: Path
) -> None:
    async with two(tmp_path, place, mqtt=False) as made:
        (site,) = made.sites
        east, west = site.boxes
        assert (await east.ask("tap", code="ana"))["opened"]
        later = START + timedelta(minutes=5)
        assert (await west.ask("tap", code="ben", at=later))["opened"]
        told = await back_and_audited(made)
        assert [(t["kind"], t["amount"]) for t in told["ana"]["transactions"]] == [("debit", -1)]
        lines = told["ben"]["transactions"]
        assert sorted((t["kind"], t["amount"]) for t in lines) == [("debit", -1), ("forgiven", 1)]
        (settled,) = (t for t in lines if t["kind"] == "forgiven")
        assert settled["memo"] == "the pass last had nothing left, and nothing else could pay"
        assert settled["by"] == "cloud"
