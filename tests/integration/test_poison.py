"""What cannot be used is put aside by name on both sides, and holds up nothing."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edgegate.passes.model import Customer, Location
from edgegate_sync.cloud.database import open_database
from rig.campaign import START
from rig.processes import nursery
from rig.sites import Site, rig

WAIT_S = 60
HALL = Location(id="hall")


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    with nursery() as made:
        yield made


async def told(site: Site, holds: Any) -> dict[str, Any]:
    """What the cloud tells of the appliance's state, once it does."""
    async with asyncio.timeout(WAIT_S):
        while True:
            found: dict[str, Any] = await site.admin.ask("GET", "/devices/gate")
            if found.get("state") and holds(found["state"]):
                return dict(found["state"])
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("mqtt", [True, False])
async def test_both_kinds_of_poison_are_named_and_pass_by(
    mqtt: bool, tmp_path: Path, place: Path
) -> None:
    url = f"sqlite:///{tmp_path}/cloud.db"
    async with rig(url, tmp_path / "rig", {"loft": ["gate"]}, place, mqtt=mqtt) as made:
        (site,) = made.sites
        (box,) = site.boxes
        await site.admin.put("location", HALL)
        await box.start(START)
        await box.until(lambda f: f["head"] == 1 and f["linked"] is mqtt)
        await put_raw(url, "pass", "bad", b'{"id":"bad","holder":"ana","unit":"bananas"}')
        head = await site.admin.put("customer", Customer(id="ana"))
        found = await box.until(lambda f: f["head"] >= head)
        ((kind, record_id, error),) = found["feed_quarantined"]
        assert (kind, record_id) == ("pass", "bad")
        assert "bananas" in error
        state = await told(site, lambda s: s.get("quarantined_count") == 1)
        assert [(q["kind"], q["id"]) for q in state["quarantined"]] == [("pass", "bad")]

        before = await box.ask("write", count=3)
        poison = await box.ask("poison")
        after = await box.ask("write", count=3)
        found = await box.until(lambda f: f["cursor"][1] == after["sequence"])
        assert poison["sequence"] == before["sequence"] + 1
        ((epoch, sequence, outcome, why),) = found["parked"]
        assert (epoch, sequence) == (poison["epoch"], poison["sequence"])
        assert outcome == "quarantined"
        assert why
        (aside,) = (await site.admin.ask("GET", "/quarantine"))["parked"]
        assert (aside["device"], aside["epoch"], aside["sequence"]) == ("gate", epoch, sequence)
        ledgers = await site.admin.ask("GET", "/ledgers")
        assert [h["sequence"] for h in ledgers["heads"]] == [after["sequence"]]
        assert ledgers["faults"] == []
        assert found["faults"] == []

        await site.admin.put("pass", {"id": "bad", "holder": "ana", "amount": 2})
        await box.until(lambda f: not f["feed_quarantined"])
        assert (await box.ask("remaining"))["remaining"] == {"bad": 2}


async def put_raw(url: str, kind: str, record_id: str, body: bytes) -> None:
    """Write what the admin API would refuse, as another version might."""
    database = await open_database(url)
    try:
        async with database.site("loft") as tx:
            await tx.put(kind, record_id, body)
    finally:
        await database.close()
