"""What other devices spent is forgotten when the cloud has counted it, and what is left stays."""

from pathlib import Path

import pytest

from edgegate.passes.model import Balance, Counted, Pass
from edgegate.store import counted, sync_state
from edgegate.store.chain import Entry
from edgegate_sync.appliance.link import Message
from edgegate_sync.appliance.peers import Peers
from rig.devices import SITE, Device, debit

TEN = Pass(id="ten", holder="ana", amount=10)


def peers_of(device: Device) -> Peers:
    async def publish(_message: Message) -> None:
        raise AssertionError("nothing is to be told")

    return Peers(
        SITE, device.name, thread=device.thread, state_dir=device.state_dir, publish=publish
    )


async def spent(device: Device, *passes: str) -> list[Entry]:
    """What a device writes of so many uses."""
    await device.happen(*(debit(name, f"{device.name}-{n}") for n, name in enumerate(passes)))
    return await device.entries()


async def hear(device: Device, entries: list[Entry]) -> None:
    await device.thread.run(
        lambda store: [sync_state.apply_heard(store.ledger, entry) for entry in entries] and None
    )


async def debits(device: Device) -> list[tuple[str, str, int]]:
    return await device.thread.run(
        lambda store: store.ledger.execute(
            "SELECT pass, device, sequence FROM debit ORDER BY 1, 2, 3"
        ).fetchall()
    )


def upto(entry: Entry) -> Counted:
    return Counted(epoch=entry.epoch, sequence=entry.sequence)


async def test_what_is_counted_goes_and_what_is_left_stays_the_same(tmp_path: Path) -> None:
    async with Device(tmp_path, "front") as front, Device(tmp_path, "back") as back:
        await front.put(TEN)
        await front.happen(debit("ten", "own"))
        theirs = await spent(back, "ten", "ten", "ten")
        await hear(front, theirs)
        assert await front.remaining([TEN]) == {"ten": 6}
        peers = peers_of(front)
        assert await peers.forget_counted() == 0
        (own,) = await front.entries()
        now = {"front": upto(own), "back": upto(theirs[1])}
        await front.put(Balance(pass_="ten", remaining=7, counted=now))  # noqa: S106 - a pass
        assert await front.remaining([TEN]) == {"ten": 6}
        assert await peers.forget_counted() == 2
        assert await front.remaining([TEN]) == {"ten": 6}
        assert await debits(front) == [("ten", "back", 3), ("ten", "front", 1)]
        # What is heard once more is known, and not spent again.
        await hear(front, theirs)
        assert await front.remaining([TEN]) == {"ten": 6}


async def test_what_was_spent_of_a_pass_that_is_not_here_goes_when_the_cloud_has_it(
    tmp_path: Path,
) -> None:
    async with Device(tmp_path, "front") as front, Device(tmp_path, "back") as back:
        await front.put(TEN)
        theirs = await spent(back, "gone", "ten", "gone", "yet-to-come")
        await hear(front, theirs)
        peers = peers_of(front)
        assert await peers.forget_counted() == 0
        known = Balance(pass_="ten", remaining=9, counted={"back": upto(theirs[2])})  # noqa: S106 - a pass
        await front.put(known)
        await peers.forget_counted()
        await peers.forget_counted()
        assert await debits(front) == [("yet-to-come", "back", 4)]


async def test_the_table_does_not_grow_with_the_years(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(counted, "PASSES_MAX", 3)
    names = [f"p{number}" for number in range(10)]
    async with Device(tmp_path, "front") as front, Device(tmp_path, "back") as back:
        await front.put(*(Pass(id=name, holder="ana", amount=100) for name in names))
        peers = peers_of(front)
        for year in range(1, 6):
            theirs = await spent(back, *names)
            await hear(front, theirs)
            now = {"back": upto(theirs[-1])}
            await front.put(
                *(Balance(pass_=name, remaining=100 - year, counted=now) for name in names)
            )
            assert await peers.forget_counted() == len(names)
            assert await debits(front) == []
