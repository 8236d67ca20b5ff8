"""The ledger's upload against a real HTTP server: everything arrives, once, whatever goes wrong."""

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from edgegate.ports import OperatingError
from edgegate.store import ledger, sync_state
from edgegate.store.sync_state import Place
from edgegate_sync.appliance import upload
from edgegate_sync.appliance.backoff import Backoff
from edgegate_sync.appliance.client import CloudClient
from edgegate_sync.appliance.errors import CloudError, RefusedError
from edgegate_sync.appliance.upload import Uploader, read_beside
from edgegate_sync.wire.events import LedgerAnswer
from rig.brokers import running, until
from rig.devices import AT, Device
from rig.ledger_cloud import LedgerCloud


class Line:
    """A device, its uploader, and the cloud it goes to."""

    def __init__(self, device: Device, cloud: LedgerCloud, client: CloudClient) -> None:
        self.device = device
        self.cloud = cloud
        self.faults: list[str] = []
        self.uploader = Uploader(
            device.thread,
            device.ledger,
            client,
            now_s=AT.timestamp,
            on_fault=self.faults.append,
            backoff=Backoff(first_s=0.01, max_s=0.02),
        )

    async def keys(self) -> list[tuple[int, int]]:
        return [(entry.epoch, entry.sequence) for entry in await self.device.entries()]

    async def cursor(self) -> Place:
        return await read_beside(self.device.ledger, sync_state.uploaded)

    async def quarantined(self) -> list[sync_state.Quarantined]:
        return await read_beside(self.device.ledger, sync_state.quarantined)

    async def has_all(self) -> bool:
        return self.cloud.order == await self.keys()

    async def forget_cursor(self) -> None:
        await self.device.thread.run(lambda s: s.ledger.execute("DELETE FROM sync_cursor") and None)


@asynccontextmanager
async def line(directory: Path, cloud: LedgerCloud | None = None) -> AsyncIterator[Line]:
    cloud = cloud or LedgerCloud()
    async with cloud.serving(), Device(directory) as device, CloudClient(cloud.url) as client:
        yield Line(device, cloud, client)


async def test_everything_goes_up_in_order_across_epochs(tmp_path: Path) -> None:
    async with line(tmp_path) as at:
        await at.device.report(1200)
        await at.device.thread.run(lambda s: ledger.begin_epoch(s.ledger, AT.timestamp() + 9e7))
        await at.device.report(30)
        await at.uploader.upload_all()
        assert await at.has_all()
        assert at.cloud.batches == [500, 500, 230]
        assert await at.cursor() == (await at.keys())[-1]
        backlog = await read_beside(at.device.ledger, sync_state.backlog)
        assert backlog == sync_state.Backlog(0, None)
        assert at.faults == []
        await at.uploader.upload_all()
        assert at.cloud.posts == 3


async def test_the_backlog_names_the_oldest_that_waits(tmp_path: Path) -> None:
    async with line(tmp_path) as at:
        await at.device.report(3)
        backlog = await read_beside(at.device.ledger, sync_state.backlog)
        assert backlog == sync_state.Backlog(3, AT)


async def test_new_entries_wake_it(tmp_path: Path) -> None:
    async with line(tmp_path) as at, running(at.uploader.run()):
        for _ in range(3):
            await at.device.report(2)
            at.uploader.wake()
            await until(at.has_all)


@pytest.mark.parametrize("faults", [["500"], ["404"], ["cut"], ["lost"], ["lost", "500", "cut"]])
async def test_whatever_breaks_each_entry_is_counted_once(
    tmp_path: Path, faults: list[str]
) -> None:
    async with line(tmp_path) as at:
        await at.device.report(700)
        at.cloud.faults.extend(faults)
        async with running(at.uploader.run()):
            await until(at.has_all)
            await until(lambda: at.uploader.detail == "")
        assert await at.quarantined() == []


async def test_a_lost_cursor_costs_traffic_and_nothing_else(tmp_path: Path) -> None:
    async with line(tmp_path) as at:
        await at.device.report(600)
        await at.uploader.upload_all()
        await at.forget_cursor()
        await at.device.report(1)
        await at.uploader.upload_all()
        assert await at.has_all()
        assert await at.cursor() == (await at.keys())[-1]


async def test_batches_that_are_too_large_are_halved(tmp_path: Path) -> None:
    async with line(tmp_path) as at:
        at.cloud.entries_max = 30
        await at.device.report(300)
        await at.uploader.upload_all()
        assert await at.has_all()
        assert max(at.cloud.batches) <= 30
        assert await at.quarantined() == []


async def test_one_poisoned_entry_is_named_and_holds_up_nothing(tmp_path: Path) -> None:
    async with line(tmp_path) as at:
        await at.device.report(210)
        await at.device.report(1, "arsenic")
        await at.device.report(300)
        at.cloud.poison = b"arsenic"
        await at.uploader.upload_all()
        poisoned = (await at.keys())[210]
        assert at.cloud.order == [key for key in await at.keys() if key != poisoned]
        assert await at.quarantined() == [
            sync_state.Quarantined(Place(*poisoned), "refused", "there is poison in it")
        ]
        assert len(await at.keys()) == 511

        at.cloud.poison = None
        at.uploader._retry_refused_at_s = 0.0
        await at.uploader.upload_all()
        assert sorted(at.cloud.order) == await at.keys()
        assert await at.quarantined() == []


async def test_a_cloud_that_refuses_everything_does_not_empty_the_backlog(tmp_path: Path) -> None:
    async with line(tmp_path) as at:
        await at.device.report(100)
        at.cloud.poison = b"["
        with pytest.raises(RefusedError):
            await at.uploader.upload_all()
        backlog = await read_beside(at.device.ledger, sync_state.backlog)
        assert backlog.entries == 100 - upload.REFUSED_IN_A_ROW_MAX
        at.cloud.poison = None
        at.uploader._retry_refused_at_s = 0.0
        await at.uploader.upload_all()
        assert sorted(at.cloud.order) == await at.keys()


async def test_what_is_no_answer_about_the_entries_drops_none(tmp_path: Path) -> None:
    async with line(tmp_path) as at:
        await at.device.report(3)
        at.cloud.faults.append("404")
        with pytest.raises(CloudError):
            await at.uploader.upload_all()
        assert await at.cursor() == (0, 0)
        assert await at.quarantined() == []


async def test_an_entry_that_the_cloud_puts_aside_is_remembered_by_name(tmp_path: Path) -> None:
    async with line(tmp_path) as at:
        await at.device.report(1)
        await at.device.report(1, "odd")
        at.cloud.put_aside = b"odd"
        await at.uploader.upload_all()
        assert [(q.place, q.outcome) for q in await at.quarantined()] == [
            ((await at.keys())[1], "quarantined")
        ]


async def restored(top: Path, cloud: LedgerCloud, count: int) -> None:
    """Report and upload, back up, do so once more, and go back to the backup."""
    for _ in range(2):
        async with line(top, cloud) as at:
            await at.device.report(count)
            await at.uploader.upload_all()
        if not (top / "backup").exists():
            shutil.copytree(top / "front", top / "backup")
    shutil.rmtree(top / "front")
    shutil.move(top / "backup", top / "front")


async def test_a_restored_backup_begins_a_new_epoch(tmp_path: Path) -> None:
    cloud = LedgerCloud()
    await restored(tmp_path, cloud, 10)
    async with line(tmp_path, cloud) as at:
        await at.uploader.upload_all()
        assert "it was cut off" in at.faults[0]
        await at.device.report(5, "after the restoration")
        await at.uploader.upload_all()
        keys = await at.keys()
        assert keys[-1][0] > keys[0][0]
        assert set(keys) <= set(cloud.order)
        assert len(cloud.order) == 25
        assert len(at.faults) == 1


async def test_entries_written_before_the_fork_was_known_are_put_aside(tmp_path: Path) -> None:
    cloud = LedgerCloud()
    await restored(tmp_path, cloud, 3)
    async with line(tmp_path, cloud) as at:
        await at.device.report(4, "in the dark")
        await at.uploader.upload_all()
        assert at.faults
        assert [q.place.sequence for q in await at.quarantined()] == [4, 5, 6]
        await at.device.report(2, "afterwards")
        await at.uploader.upload_all()
        keys = await at.keys()
        assert [key in cloud.entries for key in keys] == [True] * len(keys)
        assert keys[-1][0] > keys[0][0]
        assert await at.cursor() == keys[-1]


@pytest.mark.parametrize(
    "answer",
    [
        LedgerAnswer(epoch=0, counted=0),
        LedgerAnswer(epoch=2**31 - 1, counted=2**31 - 1),
        LedgerAnswer(epoch=2**31 - 1, counted=7, head_hash="0" * 64),
        LedgerAnswer(epoch=int(AT.timestamp()) + 10**7, counted=7, head_hash="0" * 64),
    ],
)
async def test_an_answer_that_cannot_be_true_loses_nothing(
    tmp_path: Path, answer: LedgerAnswer
) -> None:
    async with line(tmp_path) as at:
        await at.device.report(600)
        at.cloud.answer = answer
        async with running(at.uploader.run()):
            await until(lambda: at.cloud.posts > 1 or at.uploader.detail or at.faults)
            at.cloud.answer = None
            await at.device.report(1)
            at.uploader.wake()
            await until(at.has_all)


async def test_a_cloud_that_counts_nothing_is_not_asked_again_at_once(tmp_path: Path) -> None:
    async with line(tmp_path) as at:
        await at.device.report(2)
        at.cloud.answer = LedgerAnswer(epoch=0, counted=0)
        with pytest.raises(OperatingError, match="took 2 entries and counts up to 0/0"):
            await at.uploader.upload_all()
        assert at.cloud.posts == 1


async def test_the_cursor_never_moves_back_and_stands_after_a_restart(tmp_path: Path) -> None:
    async with line(tmp_path) as at:
        await at.device.report(2)
        await at.uploader.upload_all()
        await at.device.thread.run(lambda s: sync_state.set_uploaded(s.ledger, Place(1, 1)))
        before = await at.cursor()
    async with line(tmp_path) as at:
        assert await at.cursor() == before == (await at.keys())[-1]


async def test_when_the_cloud_was_reached_survives_a_restart(tmp_path: Path) -> None:
    async with Device(tmp_path) as device:
        await device.thread.run(lambda s: sync_state.set_reached(s.ledger, AT))
        await device.thread.run(
            lambda s: sync_state.set_reached(s.ledger, AT + timedelta(minutes=1))
        )
    async with Device(tmp_path) as device:
        reached = await read_beside(device.ledger, sync_state.reached_at)
        assert reached == AT + timedelta(minutes=1)
