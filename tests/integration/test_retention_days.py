"""Old entries go after they were uploaded and counted, and nobody misses them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest

from edgegate.bookkeeper import Bookkeeper
from edgegate.passes.model import Balance, Counted, Location, Pass
from edgegate.ports import Correction
from edgegate.store import ledger, retention, standing, sync_state, wifi
from edgegate.store.books import Books
from edgegate.store.errors import StoreUnavailableError
from edgegate.store.files import Store
from edgegate.store.sync_state import Place
from edgegate_sync.appliance import backup, keep
from edgegate_sync.appliance.backoff import Backoff
from edgegate_sync.appliance.client import CloudClient
from edgegate_sync.appliance.keep import Keeping
from edgegate_sync.appliance.link import Incoming, Message
from edgegate_sync.appliance.peers import Peers
from edgegate_sync.appliance.upload import Uploader, read_beside
from edgegate_sync.wire.errors import encode
from edgegate_sync.wire.events import decode_batch
from edgegate_sync.wire.peers import PeerRequest
from edgegate_sync.wire.topics import Topics
from rig.brokers import running, until
from rig.devices import AT, SITE, Device, StillClock, debit
from rig.ledger_cloud import LedgerCloud

MILL = Location(id="mill", ledger_keep_days=30)
TEN = Pass(id="ten", holder="ana", amount=100)


class Box(Device):
    """A device with its upload and its retention, and a clock that a test moves."""

    def __init__(self, directory: Path, client: CloudClient) -> None:
        super().__init__(directory)
        self.clock = StillClock()
        self.correction: Correction | None = None
        self.keeper = Bookkeeper(self.thread, lambda: self.stamp, lambda: self.correction)
        self.keeping = Keeping(self.keeper, self.thread, self.state_dir, self.clock.now)
        self.uploader = Uploader(
            self.thread,
            self.ledger,
            client,
            now_s=AT.timestamp,
            backoff=Backoff(first_s=0.01, max_s=0.02),
        )

    async def open(self) -> None:
        await self.keeper.open(partial(Store.open, self.state_dir, rebuild=wifi.rebuild))
        await self.keeper.do(self._take)

    def _take(self, books: Books) -> None:
        self.books = books

    async def days(self, count: int, *, uses: int = 3, upload: bool = True) -> None:
        """Let days pass, each with so many uses of a pass."""
        for _ in range(count):
            self.clock.at += timedelta(days=1)
            await self.happen(*(debit("ten", f"v-{self.clock.at}-{n}") for n in range(uses)))
            if upload:
                await self.uploader.upload_all()
            await self.keeping.forget_counted()

    async def tables(self) -> dict[str, list[str]]:
        return await self.thread.run(
            lambda store: {
                table: sorted(map(repr, store.ledger.execute(f"SELECT * FROM {table}")))  # noqa: S608 - constants
                for table in standing.TABLES
            }
        )

    async def verify(self) -> list[object]:
        return [*await read_beside(self.ledger, ledger.verify)]

    async def sequences(self) -> list[int]:
        return [entry.sequence for entry in await self.entries()]


@asynccontextmanager
async def box(directory: Path, cloud: LedgerCloud | None = None) -> AsyncIterator[Box]:
    cloud = cloud or LedgerCloud()
    async with cloud.serving(), CloudClient(cloud.url) as client:
        found = Box(directory, client)
        await found.open()
        await found.put(MILL, TEN)
        try:
            yield found
        finally:
            await found.thread.close()


async def test_each_day_the_oldest_go_and_all_stays_as_it_was(tmp_path: Path) -> None:
    cloud = LedgerCloud()
    async with box(tmp_path, cloud) as at:
        await at.days(30)
        assert await at.sequences() == list(range(1, 91))
        assert not standing.path_of(at.state_dir).exists()
        await at.days(5)
        # Of the first day nothing was counted 30 days ago until the 31st.
        assert await at.sequences() == list(range(16, 106))
        assert cloud.order == [(cloud.order[0][0], n) for n in range(1, 106)]
        assert await at.remaining([TEN]) == {"ten": -5}
        assert await at.verify() == []
        epoch = cloud.order[0][0]
        balance = Balance(
            pass_="ten",  # noqa: S106 - a pass
            remaining=40,
            counted={"front": Counted(epoch=epoch, sequence=60)},
        )
        await at.put(balance)
        assert await at.remaining([TEN]) == {"ten": -5}
        backlog = await read_beside(at.ledger, sync_state.backlog)
        assert backlog.entries == 0


async def test_a_cloud_that_is_away_keeps_everything(tmp_path: Path) -> None:
    async with box(tmp_path) as at:
        await at.days(2)
        await at.days(60, uses=1, upload=False)
        # The newest that was counted stays, and all that was not.
        assert (await at.sequences())[0] == 6
        await at.uploader.upload_all()
        await at.keeping.forget_counted()
        assert (await at.sequences())[0] == 7
        assert await at.verify() == []


async def test_without_a_clock_that_is_believed_nothing_goes(tmp_path: Path) -> None:
    async with box(tmp_path) as at:
        await at.days(2)
        at.keeper.note_clock(trusted=False)
        at.clock.at += timedelta(days=90)
        assert await at.keeping.forget_counted() == 0
        at.keeper.note_clock(trusted=True)
        at.correction = Correction(at.clock.at, 0.5, timedelta(hours=1))
        assert await at.keeping.forget_counted() == 0
        at.correction = None
        assert await at.keeping.forget_counted() == 5


async def test_without_a_copy_of_the_tables_nothing_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_state: Path, _until: int) -> int:
        raise StoreUnavailableError("the disk is full")

    async with box(tmp_path) as at:
        await at.days(2)
        at.clock.at += timedelta(days=90)
        with monkeypatch.context() as patch:
            patch.setattr(standing, "write", full)
            with pytest.raises(StoreUnavailableError):
                await at.keeping.forget_counted()
        assert await at.sequences() == list(range(1, 7))
        assert await at.keeping.forget_counted() == 5


async def test_what_came_after_the_copy_waits_for_the_next_day(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A power cut between both leaves a copy that is younger than all that goes later."""
    async with box(tmp_path) as at:
        await at.days(2)
        at.clock.at += timedelta(days=90)
        (epoch, _), *_ = [(e.epoch, e.sequence) for e in await at.entries()]
        monkeypatch.setattr(standing, "write", lambda *_: ledger.key_of(epoch, 2))
        assert await at.keeping.forget_counted() == 2


async def test_a_long_neglected_ledger_is_cut_in_turns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keep, "PAUSE_S", 0.01)
    async with box(tmp_path) as at:
        await at.report(10 * retention.BITE_ENTRIES)
        await at.uploader.upload_all()
        async with running(at.keeping.run()):
            await until(lambda: at.keeping.has_run)
            at.clock.at += timedelta(days=31)
            await until(lambda: at.keeping.forgotten == 10 * retention.BITE_ENTRIES - 1)
        assert await at.verify() == []


async def test_a_damaged_ledger_is_as_it_was_but_for_what_is_gone(tmp_path: Path) -> None:
    async with box(tmp_path) as at:
        await at.days(40)
        await at.happen(debit("ten", "the last"))
        before, kept = await at.tables(), await at.sequences()
        remaining = await at.remaining([TEN])
    await asyncio.to_thread(_spoil, tmp_path / "front" / "ledger.db")
    async with box(tmp_path) as at:
        assert await at.tables() == before
        assert await at.sequences() == kept
        assert await at.remaining([TEN]) == remaining
        assert await at.verify() == []
        # The cursor is lost with the file: all that is left goes up again, and counts once.
        await at.days(2)
        assert await at.verify() == []


def _spoil(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(bytes(4096))


async def test_others_get_what_is_there_when_they_ask_for_what_is_gone(tmp_path: Path) -> None:
    answers: list[Message] = []

    async def publish(message: Message) -> None:
        answers.append(message)

    async with box(tmp_path) as at:
        await at.days(35)
        first = (await at.entries())[0]
        peers = Peers(SITE, "front", thread=at.thread, state_dir=at.state_dir, publish=publish)
        topics = Topics(SITE)
        request = PeerRequest(epoch=first.epoch, after=0, count=4)
        await peers._on_request(
            Incoming(
                topic=topics.ledger_request("front"),
                payload=encode(request),
                retained=False,
                response_topic=topics.ledger_answer("back"),
                correlation=b"1",
            )
        )
        (answer,) = answers
        assert [e.sequence for e in decode_batch(answer.payload) if hasattr(e, "sequence")] == [
            first.sequence + n for n in range(4)
        ]


async def test_a_backup_of_a_cut_ledger_is_restored_without_anothers_tables(
    tmp_path: Path,
) -> None:
    async with box(tmp_path) as at:
        await at.days(35)
        before = await at.tables()
        await asyncio.to_thread(
            backup.make, at.state_dir, tmp_path / "saved", "correct horse battery"
        )
        await at.days(3)
    await asyncio.to_thread(
        partial(
            backup.restore,
            *(tmp_path / "front", tmp_path / "saved", "correct horse battery"),
            replace=True,
        )
    )
    assert not standing.path_of(tmp_path / "front").exists()
    async with box(tmp_path) as at:
        assert await at.tables() == before
        assert await at.verify() == []
        at.clock.at += timedelta(days=40)
        assert await at.keeping.forget_counted() > 0
        assert await at.verify() == []


async def test_the_clouds_head_is_compared_with_what_is_left(tmp_path: Path) -> None:
    cloud = LedgerCloud()
    async with box(tmp_path, cloud) as at:
        await at.days(2)
        at.clock.at += timedelta(days=90)
        assert await at.keeping.forget_counted() == 5
    async with box(tmp_path, cloud) as at:
        # It begins with a question, and finds the entry that the cloud has last.
        await at.days(1)
        assert [e.sequence for e in await at.entries()] == [6, 7, 8, 9]
        head = await read_beside(at.ledger, ledger.head)
        assert await read_beside(at.ledger, sync_state.uploaded) == Place(head.epoch, 9)
