"""A cloud that was restored from a backup is sent again what it lost: each entry, once."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest
from sqlalchemy import select

from edgegate.passes.model import Location, Pass
from edgegate.ports import OperatingError
from edgegate.store import ledger, sync_state
from edgegate_sync.appliance import upload
from edgegate_sync.appliance.backoff import Backoff
from edgegate_sync.appliance.errors import RefusedError, UnreachableError
from edgegate_sync.appliance.upload import Uploader, read_beside
from edgegate_sync.cloud import history, ingest
from edgegate_sync.cloud.database import Database, fetch
from edgegate_sync.cloud.ledger_tables import ledger_entry
from edgegate_sync.wire.errors import Problem
from edgegate_sync.wire.events import LedgerAnswer, Stored
from rig.books import add_site, left, put
from rig.brokers import running, until
from rig.cloud_fixtures import postgres_server
from rig.devices import AT, SITE, Device, debit
from rig.restoring import Rows

__all__ = ["postgres_server"]

pytest_plugins = ("rig.further_fixtures",)

USES = 1000


class Cloud:
    """A cloud without the network between, which a test may take away or restore."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.is_away = False
        self.refused = b"\0"
        """A batch with this in it is refused."""
        self.untold: set[int] = set()
        """Sequences that it does not say it has."""
        self.asked = 0
        self.posted = 0
        self.batches: list[bytes] = []
        self._serving = asyncio.Lock()

    async def restore(self, saved: Rows) -> None:
        """Be as it was; nothing is served meanwhile."""
        async with self._serving:
            await saved.restore(self.database)

    async def ask_ledger(self) -> LedgerAnswer:
        self.asked += 1
        self._reach()
        async with self._serving:
            return await ingest.ask_ledger(self.database, SITE, "front")

    async def post_ledger(self, body: bytes) -> LedgerAnswer:
        self.posted += 1
        self._reach()
        if self.refused in body:
            raise RefusedError(422, Problem(title="refused", status=422))
        self.batches.append(body)
        async with self._serving:
            answer = await ingest.send_ledger(self.database, SITE, "front", body, AT)
        return self._without_untold(answer) if self.untold else answer

    def _without_untold(self, answer: LedgerAnswer) -> LedgerAnswer:
        each = [
            Stored(epoch=s.epoch, first=n, last=n)
            for s in answer.stored or ()
            for n in range(s.first, s.last + 1)
            if n not in self.untold
        ]
        return msgspec.structs.replace(answer, stored=tuple(each))

    def _reach(self) -> None:
        if self.is_away:
            raise UnreachableError("it is away")


class Line:
    """A device that spends Ana's uses, its upload, and the cloud that counts them."""

    def __init__(self, device: Device, cloud: Cloud) -> None:
        self.device = device
        self.cloud = cloud
        self.spent = 0
        self.faults: list[str] = []
        self.missed = 0
        self.uploader = Uploader(
            device.thread,
            device.ledger,
            cloud,
            now_s=AT.timestamp,
            on_fault=self.faults.append,
            on_missing=self._on_missing,
            backoff=Backoff(first_s=0.01, max_s=0.02),
        )

    def _on_missing(self) -> None:
        self.missed += 1

    async def send(self, count: int) -> None:
        """Spend so many uses, and tell the cloud of all there is."""
        await self.spend(count)
        await self.uploader.upload_all()

    async def forget(self, epoch: int, until: int) -> None:
        """Forget all entries of an epoch up to one."""
        await self.device.thread.run(lambda store: ledger.forget(store.ledger, epoch, until))

    async def spend(self, count: int) -> None:
        for number in range(count):
            await self.device.happen(debit("days", f"v-{self.spent + number}"))
        self.spent += count
        self.uploader.wake()

    async def begin_epoch(self) -> None:
        await self.device.thread.run(
            lambda store: ledger.begin_epoch(store.ledger, AT.timestamp() + 9e7 + self.spent)
        )

    async def stored(self) -> list[tuple[int, int, bytes]]:
        columns = (ledger_entry.c.epoch, ledger_entry.c.sequence, ledger_entry.c.hash)
        statement = select(*columns).order_by(ledger_entry.c.epoch, ledger_entry.c.sequence)
        async with self.cloud.database.reading() as connection:
            return [tuple(row) for row in await fetch(connection, statement)]

    async def is_whole(self) -> bool:
        """Whether cloud and device have the same, and the upload is at its end."""
        written = [(e.epoch, e.sequence, e.hash) for e in await self.device.entries()]
        backlog = await read_beside(self.device.ledger, sync_state.backlog)
        return await self.stored() == written and backlog.entries == 0

    async def agree(self) -> None:
        """Wait until the cloud has everything, and see that it counted it once."""
        await until(self.is_whole)
        assert await left(self.cloud.database, "days", SITE) == USES - self.spent
        answer = await self.cloud.ask_ledger()
        assert answer.stored is not None
        assert [(s.first, s.epoch) for s in answer.stored] == [
            (1, epoch) for epoch in sorted({epoch for epoch, *_ in await self.stored()})
        ]
        assert await flags_of(self.cloud.database) == []
        assert self.faults == []

    async def quarantined(self) -> list[tuple[int, str]]:
        found = await read_beside(self.device.ledger, sync_state.quarantined)
        return [(q.place.sequence, q.outcome) for q in found]


async def flags_of(database: Database) -> list[tuple[str, int]]:
    async with database.reading() as connection:
        state = await history.ledger_state(connection, SITE, 100)
    return [(f.kind, f.sequence) for f in state.faults]


@asynccontextmanager
async def line(directory: Path, database: Database) -> AsyncIterator[Line]:
    await add_site(database, SITE)
    records = Location(id="mill"), Pass(id="days", holder="ana", amount=USES)
    await put(database, *records, site=SITE)
    async with Device(directory) as device:
        yield Line(device, Cloud(database))


@pytest.fixture
async def at(database: Database, tmp_path: Path) -> AsyncIterator[Line]:
    async with line(tmp_path, database) as made:
        yield made


async def test_an_idle_device_notices_by_itself(at: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upload, "COMPARE_S", 0.1)
    monkeypatch.setattr(upload, "IDLE_S", 0.05)
    async with running(at.uploader.run()):
        await at.spend(3)
        await until(at.is_whole)
        saved = await Rows.of(at.cloud.database)
        await at.spend(4)
        await until(at.is_whole)
        await at.cloud.restore(saved)
        await at.agree()
    assert at.missed == 1


async def test_a_device_that_is_told_of_a_restored_cloud_asks_it(at: Line) -> None:
    async with running(at.uploader.run()):
        await at.spend(3)
        await until(at.is_whole)
        saved = await Rows.of(at.cloud.database)
        await at.spend(4)
        await until(at.is_whole)
        await at.cloud.restore(saved)
        at.uploader.compare()
        await at.agree()


async def test_an_idle_device_asks_only_now_and_then(
    at: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upload, "GATHER_S", 0.0)
    async with running(at.uploader.run()):
        for _ in range(20):
            await at.spend(1)
            await until(at.is_whole)
    assert at.cloud.asked == 1


@pytest.mark.parametrize("kept", [0, 5, 600])
async def test_what_is_new_comes_first_and_then_what_the_cloud_lost(at: Line, kept: int) -> None:
    """The restored cloud would have 1 to 5, and 701, and nothing would notice."""
    await at.device.report(kept)
    await at.uploader.upload_all()
    saved = await Rows.of(at.cloud.database)
    await at.device.report(690 - kept)
    await at.send(10)
    await at.cloud.restore(saved)
    at.cloud.batches.clear()
    await at.send(1)
    assert at.missed == 1
    await at.agree()
    # The new one, and the lost ones in as few batches as they need: nothing else again.
    assert len(at.cloud.batches) == (3 if kept < 500 else 2)
    await at.send(1)
    await at.agree()


async def test_a_cloud_restored_while_the_device_posts_gets_the_rest(at: Line) -> None:
    saved = await Rows.of(at.cloud.database)
    restored = asyncio.Event()

    async def restore(at: Line) -> None:
        await until(lambda: len(at.cloud.batches) >= 2)
        await at.cloud.restore(saved)
        restored.set()

    await at.device.report(2500)
    async with running(at.uploader.run()), asyncio.TaskGroup() as group:
        group.create_task(restore(at))
        while not restored.is_set():
            await at.spend(1)
            await asyncio.sleep(0.01)
        await at.spend(1)
    async with running(at.uploader.run()):
        await at.agree()


async def test_a_cloud_restored_while_the_device_was_offline(at: Line) -> None:
    async with running(at.uploader.run()):
        await at.spend(3)
        await until(at.is_whole)
        saved = await Rows.of(at.cloud.database)
        await at.spend(3)
        await until(at.is_whole)
        at.cloud.is_away = True
        await at.spend(3)
        await until(lambda: at.uploader.detail)
        await at.cloud.restore(saved)
        at.cloud.is_away = False
        await at.agree()


@pytest.mark.parametrize("is_new", [False, True])
async def test_epochs_that_the_cloud_lost_come_again_and_follow_each_other(
    at: Line, *, is_new: bool
) -> None:
    await at.send(3)
    saved = await Rows.of(at.cloud.database)
    await at.spend(3)
    for _ in range(2):
        await at.begin_epoch()
        await at.send(2)
    await at.cloud.restore(saved)
    if is_new:
        # Its first entry comes before those that it follows.
        await at.begin_epoch()
    await at.send(1)
    await at.agree()


async def test_a_question_that_was_not_answered_is_asked_again(at: Line) -> None:
    """A tail that was cut off would be written over, if entries were sent before it is known."""
    await at.spend(1)
    at.cloud.is_away = True
    async with running(at.uploader.run()):
        await until(lambda: at.uploader.detail)
        asked = at.cloud.asked
        at.cloud.is_away = False
        await until(at.is_whole)
    assert at.cloud.asked > asked


async def test_an_entry_that_the_cloud_takes_and_has_not_holds_up_nothing(at: Line) -> None:
    at.cloud.untold = {3}
    await at.send(5)
    assert await at.quarantined() == [(3, "refused")]
    await at.send(1)
    assert at.missed == 0
    at.cloud.untold = set()
    at.uploader._retry_refused_at_s = 0.0
    await at.uploader.upload_all()
    assert await at.quarantined() == []
    # A batch that comes again lets a ledger look shorter, until something new comes.
    await at.send(1)
    await at.agree()


async def test_a_cloud_that_has_nothing_of_what_it_takes_is_not_asked_again_at_once(
    at: Line,
) -> None:
    at.cloud.untold = set(range(1, 10))
    await at.spend(5)
    with pytest.raises(OperatingError, match="took 5 entries"):
        await at.uploader.upload_all()
    assert at.cloud.posted <= 2
    at.cloud.untold = set()
    await at.uploader.upload_all()
    await at.agree()


async def test_it_may_be_restored_again_and_again(at: Line) -> None:
    saved = await Rows.of(at.cloud.database)
    for _ in range(3):
        await at.send(2)
        await at.agree()
        await at.cloud.restore(saved)
    await at.send(1)
    await at.agree()
    assert at.missed == 3


async def test_what_is_gone_from_the_ledger_too_is_said_and_counted(at: Line) -> None:
    """A cloud restored from a backup that is older than what its device keeps."""
    await at.send(4)
    saved = await Rows.of(at.cloud.database)
    await at.send(16)
    (epoch, _, _), *_ = await at.stored()
    await at.forget(epoch, 15)
    await at.cloud.restore(saved)
    for _ in range(2):
        await at.send(1)
    assert [sequence for _, sequence, _ in await at.stored()] == [*range(1, 5), *range(16, 23)]
    assert await at.quarantined() == [(5, "lost")]
    assert at.faults == [
        f"the cloud lacks 11 entries from {epoch}/5 to {epoch}/15, and this ledger has them no more"
    ]
    assert await flags_of(at.cloud.database) == [("gap", 16)]
    assert await left(at.cloud.database, "days", SITE) == USES - 4 - 7
    assert at.missed == 1


async def test_an_epoch_that_is_gone_to_its_end_is_counted_too(at: Line) -> None:
    await at.send(2)
    saved = await Rows.of(at.cloud.database)
    await at.send(3)
    (epoch, _, _), *_ = await at.stored()
    await at.begin_epoch()
    await at.send(2)
    await at.forget(epoch, 5)
    await at.cloud.restore(saved)
    await at.send(1)
    assert await at.quarantined() == [(3, "lost")]
    assert "3 entries" in at.faults[0]


async def test_what_was_lost_and_came_after_all_is_lost_no_more(at: Line) -> None:
    empty = await Rows.of(at.cloud.database)
    await at.send(5)
    full = await Rows.of(at.cloud.database)
    (epoch, _, _), *_ = await at.stored()
    await at.forget(epoch, 3)
    await at.cloud.restore(empty)
    await at.send(1)
    assert await at.quarantined() == [(1, "lost")]
    # Somebody finds a younger backup.
    await at.cloud.restore(full)
    await at.send(1)
    assert await at.quarantined() == []
    assert [sequence for _, sequence, _ in await at.stored()] == [*range(1, 8)]


async def test_what_is_refused_is_no_loss_and_is_not_sent_again_at_once(at: Line) -> None:
    at.cloud.refused = b"arsenic"
    await at.spend(2)
    await at.device.report(1, "arsenic")
    await at.send(2)
    assert await at.quarantined() == [(3, "refused")]
    saved = await Rows.of(at.cloud.database)
    await at.send(2)
    assert at.missed == 0
    await at.cloud.restore(saved)
    await at.spend(1)
    posted = at.cloud.posted
    await at.uploader.upload_all()
    assert at.missed == 1
    assert at.cloud.posted - posted == 2
    assert [sequence for _, sequence, _ in await at.stored()] == [1, 2, *range(4, 9)]
    assert await at.quarantined() == [(3, "refused")]
    at.cloud.refused = b"\0"
    at.uploader._retry_refused_at_s = 0.0
    await at.uploader.upload_all()
    await at.agree()


async def test_what_the_cloud_put_into_quarantine_is_sent_again_if_it_lost_that(at: Line) -> None:
    saved = await Rows.of(at.cloud.database)
    await at.spend(2)
    await at.device.happen(debit("days", "absurd", -5))
    await at.uploader.upload_all()
    before = await Rows.of(at.cloud.database)
    assert await at.quarantined() == [(3, "quarantined")]
    assert at.missed == 0
    await at.cloud.restore(saved)
    # What comes first now is quarantined, and behind a gap.
    await at.device.happen(debit("days", "absurd too", -5))
    await at.uploader.upload_all()
    await at.cloud.restore(before)
    at.uploader.compare()
    await at.uploader.upload_all()
    await at.cloud.restore(saved)
    await at.device.happen(debit("days", "absurd as well", -5))
    await at.send(1)
    assert await flags_of(at.cloud.database) == []
    assert [sequence for _, sequence, _ in await at.stored()] == [1, 2, 6]
    assert await at.quarantined() == [(3, "quarantined"), (4, "quarantined"), (5, "quarantined")]
    answer = await at.cloud.ask_ledger()
    assert [(s.first, s.last) for s in answer.stored or ()] == [(1, 6)]
