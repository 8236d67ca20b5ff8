"""What a pull does to visits and persons, and what goes on while it works."""

import asyncio
import threading
from collections.abc import AsyncIterator, Collection
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from edgegate.checkin import Outcome, present
from edgegate.deadlines import look_again
from edgegate.passes.happenings import Closed, Denied, Happening
from edgegate.passes.model import (
    Channel,
    Credential,
    CredentialKind,
    Customer,
    Door,
    Location,
    Pass,
    Per,
    Unit,
)
from edgegate.passes.reasons import ClosingReason, Reason
from edgegate.store import ledger, standing, sync_state
from edgegate.store.books import Books
from edgegate.store.chain import Link
from edgegate.store.connections import connect_read_only
from edgegate.store.errors import StorageFailedError
from edgegate.store.files import Store
from edgegate.store.projection import happening_of
from edgegate_sync.appliance import erase
from edgegate_sync.appliance import feed as feed_module
from edgegate_sync.appliance.builder import build_beside
from edgegate_sync.appliance.errors import SnapshotFailedError, UnreachableError
from edgegate_sync.appliance.judging import VISITS_MAX
from edgegate_sync.appliance.snapshot import Built, Task
from fakes.feed_server import FeedServer, gone, serving
from fakes.feeding import AT, Fed, build_here, client_of, fed

HQ = Location(id="hq", timezone="Europe/Berlin")
RECORDS = (
    HQ,
    Door(id="front", location="hq"),
    Customer(id="ana"),
    Customer(id="ben"),
    Credential(id="ca", customer="ana", kind=CredentialKind.QR_STATIC, lookup="ana's"),
    Credential(id="cb", customer="ben", kind=CredentialKind.QR_STATIC, lookup="ben's"),
    Pass(id="pa", holder="ana", amount=10, unit=Unit.MINUTE, home="hq"),
    Pass(id="pb", holder="ben", amount=10, unit=Unit.USE, per=Per.VISIT, home="hq"),
)


@pytest.fixture
async def cloud() -> AsyncIterator[FeedServer]:
    async with serving() as server:
        server.put(*RECORDS)
        yield server


async def tap(it: Fed, lookup: str) -> Outcome | None:
    outcome: Outcome | None = await it.books(lambda books: present(books, "front", lookup, it.at))
    return outcome


async def pull(it: Fed, cloud: FeedServer) -> None:
    async with client_of(cloud.url) as client:
        await it.feed.pull(client)


async def entries(it: Fed) -> list[tuple[Happening | None, datetime]]:
    return await it.thread.run(
        lambda store: [(happening_of(entry), entry.at) for entry in ledger.entries(store.ledger)]
    )


def opens(outcome: Outcome | None) -> bool:
    return outcome is not None and outcome.decision.opens


@pytest.mark.parametrize("whole", [False, True])
async def test_a_change_ends_the_visits_that_it_concerns(
    cloud: FeedServer, tmp_path: Path, whole: bool
) -> None:
    async with fed(tmp_path) as it:
        await pull(it, cloud)
        assert opens(await tap(it, "ana's"))
        assert opens(await tap(it, "ben's"))
        it.at = AT + timedelta(minutes=3)
        cloud.lines.append(gone(9, "customer", "ana"))
        it.feed.wants_snapshot = whole
        await pull(it, cloud)
        closed = [(h, at) for h, at in await entries(it) if isinstance(h, Closed)]
        assert [(h.customer, h.reason, at) for h, at in closed] == [
            ("ana", ClosingReason.REVOKED, it.at)
        ]
        assert closed[0][0].minutes == 3
        assert not opens(await tap(it, "ana's"))


async def test_a_place_that_changed_is_read_afresh(cloud: FeedServer, tmp_path: Path) -> None:
    async with fed(tmp_path) as it:
        await pull(it, cloud)
        assert opens(await tap(it, "ana's"))
        cloud.lines.append(gone(9, "door", "front"))
        await pull(it, cloud)
        assert not opens(await tap(it, "ben's"))


async def test_a_crash_before_the_visits_are_judged_bills_up_to_the_change(
    cloud: FeedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with fed(tmp_path) as it:
        await pull(it, cloud)
        assert opens(await tap(it, "ana's"))
        it.at = AT + timedelta(minutes=3)
        cloud.lines.append(gone(9, "customer", "ana"))

        async def crash() -> None:
            raise SnapshotFailedError("the process ends here")

        monkeypatch.setattr(it.feed, "_judge", crash)
        with pytest.raises(SnapshotFailedError):
            await pull(it, cloud)
        assert it.feed.head == 9
    async with fed(tmp_path) as it:
        it.at = AT + timedelta(hours=5)
        await tap(it, "ben's")
        closed = [(h, at) for h, at in await entries(it) if isinstance(h, Closed)]
        assert [(h.customer, h.minutes, at) for h, at in closed] == [
            ("ana", 3, AT + timedelta(minutes=3))
        ]


async def test_what_was_not_judged_is_before_the_next_pull(
    cloud: FeedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with fed(tmp_path) as it:
        await pull(it, cloud)
        assert opens(await tap(it, "ana's"))
        cloud.lines.append(gone(9, "customer", "ana"))

        async def fail() -> None:
            raise SnapshotFailedError("the disk is full")

        with monkeypatch.context() as patch:
            patch.setattr(it.feed, "_judge", fail)
            with pytest.raises(SnapshotFailedError):
                await pull(it, cloud)
        async with client_of("http://127.0.0.1:1") as nobody:
            with pytest.raises(UnreachableError):
                await it.feed.pull(nobody)
        assert [h.customer for h, _ in await entries(it) if isinstance(h, Closed)] == ["ana"]


CROWD = 3 * VISITS_MAX


async def crowded(it: Fed, cloud: FeedServer) -> None:
    """Let many come in, each on minutes of their own."""
    names = [f"c{n:02}" for n in range(CROWD)]
    cloud.put(*(Customer(id=name) for name in names))
    cloud.put(*(Pass(id=n, holder=n, amount=60, unit=Unit.MINUTE, home="hq") for n in names))
    cloud.put(
        *(
            Credential(id=n, customer=n, kind=CredentialKind.QR_STATIC, lookup=f"{n}'s")
            for n in names
        )
    )
    await pull(it, cloud)
    for name in names:
        assert opens(await tap(it, f"{name}'s"))


async def test_taps_come_between_the_visits_that_are_judged(
    cloud: FeedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    asked = threading.Event()
    taps: list[asyncio.Task[None]] = []

    async with fed(tmp_path) as it:
        loop = asyncio.get_running_loop()
        await crowded(it, cloud)

        def come(books: Books) -> None:
            done.append("tap")
            present(books, "front", "ben's", it.at)

        async def tap_now() -> None:
            await it.books(come)

        def somebody_taps() -> None:
            taps.append(loop.create_task(tap_now()))
            loop.call_soon(asked.set)

        def judge(books: Books, at: datetime, visits: Collection[str]) -> None:
            done.append("judged")
            look_again(books, at, visits)
            loop.call_soon_threadsafe(somebody_taps)
            assert asked.wait(20)
            asked.clear()

        monkeypatch.setattr(feed_module, "look_again", judge)
        cloud.put(HQ)
        await pull(it, cloud)
        await asyncio.gather(*taps)
        assert done == ["judged", "tap"] * 3


async def test_a_crash_between_the_visits_that_are_judged_leaves_none_out(
    cloud: FeedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged: list[int] = []

    def crash(books: Books, at: datetime, visits: Collection[str]) -> None:
        judged.append(len(visits))
        if len(judged) == 2:
            raise StorageFailedError("the process ends here")
        look_again(books, at, visits)

    async with fed(tmp_path) as it:
        await crowded(it, cloud)
        it.at = AT + timedelta(minutes=3)
        cloud.lines += [gone(500 + n, "pass", f"c{n:02}") for n in range(CROWD)]
        monkeypatch.setattr(feed_module, "look_again", crash)
        with pytest.raises(StorageFailedError):
            await pull(it, cloud)
        assert await it.rows("SELECT value FROM meta WHERE name = 'unjudged'") == [(1,)]
        assert await it.books(lambda books: len(books.sessions())) == CROWD - VISITS_MAX
    monkeypatch.setattr(feed_module, "look_again", look_again)
    async with fed(tmp_path) as it:
        assert await it.rows("SELECT value FROM meta WHERE name = 'unjudged'") == []
        closed = [(h.reason, at) for h, at in await entries(it) if isinstance(h, Closed)]
        assert closed == [(ClosingReason.REVOKED, AT + timedelta(minutes=3))] * CROWD


async def test_decisions_go_on_while_a_snapshot_is_built(cloud: FeedServer, tmp_path: Path) -> None:
    building, go_on = asyncio.Event(), asyncio.Event()

    async def slowly(task: Task) -> Built:
        building.set()
        await go_on.wait()
        return await build_here(task)

    async with fed(tmp_path, build=slowly) as it:
        go_on.set()
        await pull(it, cloud)
        go_on.clear()
        building.clear()
        cloud.lines.append(gone(9, "customer", "ana"))
        it.feed.wants_snapshot = True
        pulling = asyncio.create_task(pull(it, cloud))
        await building.wait()
        during = it.feed.in_snapshot
        assert opens(await tap(it, "ana's")), "the cache before it decides"
        go_on.set()
        await pulling
        assert (during, it.feed.in_snapshot) == (True, False)
        assert not opens(await tap(it, "ana's"))


async def test_a_process_builds_it(cloud: FeedServer, tmp_path: Path) -> None:
    async with fed(tmp_path, build=build_beside) as it:
        await pull(it, cloud)
        assert it.feed.head == 8
        assert opens(await tap(it, "ana's"))


async def test_the_process_ends_with_whoever_waits(cloud: FeedServer, tmp_path: Path) -> None:
    async with fed(tmp_path, build=build_beside) as it:
        pulling = asyncio.create_task(pull(it, cloud))
        # Long enough for most runs to be in the midst of it; each outcome of it is a right one.
        await asyncio.sleep(0.1)
        pulling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await pulling
        assert not it.feed.in_snapshot
        await pull(it, cloud)
        assert it.feed.head == 8


def copied_moves(state: Path) -> list[tuple[str]]:
    with closing(connect_read_only(standing.path_of(state))) as copy:
        return copy.execute("SELECT customer FROM moved ORDER BY 1").fetchall()


async def test_erasing_leaves_the_chain_whole(
    cloud: FeedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(erase, "ENTRIES_MAX", 2)

    def put_upload(place: Link, store: Store) -> None:
        sync_state.set_uploaded(store.ledger, sync_state.Place(place.epoch, place.sequence))

    def told_of(name: str, store: Store) -> int:
        return sum(name.encode() in (e.data or b"") for e in ledger.entries(store.ledger))

    async with fed(tmp_path) as it:
        await pull(it, cloud)
        assert opens(await tap(it, "ana's"))
        assert opens(await tap(it, "ben's"))
        denied = Denied(
            location="hq", channel=Channel.DOOR, reason=Reason.UNKNOWN_CREDENTIAL, customer="ana"
        )
        await it.books(lambda books: books.record([denied], it.at))
        bens = await it.thread.run(lambda store: told_of('"ben"', store))
        cloud.lines.append(gone(9, "customer", "ana", "erase"))
        await pull(it, cloud)
        # Nothing is uploaded: what was used is not to be lost with the person.
        assert await it.thread.run(lambda store: told_of('"ana"', store)) > 0
        before = it.feed.standing
        half = await it.thread.run(lambda store: ledger.head(store.ledger))
        await it.thread.run(lambda store: put_upload(half, store))
        await asyncio.to_thread(standing.write, tmp_path)
        assert await asyncio.to_thread(copied_moves, tmp_path) == [("ana",), ("ben",)]
        await it.feed.erase_uploaded()
        assert await asyncio.to_thread(copied_moves, tmp_path) == [("ben",)]
        assert (before.erases, it.feed.standing.erases) == (True, False)
        assert await it.thread.run(lambda store: told_of('"ana"', store)) == 0
        assert await it.thread.run(lambda store: told_of('"ben"', store)) == bens
        assert await it.thread.run(lambda store: ledger.verify(store.ledger)) == []
        moved = await it.thread.run(
            lambda store: store.ledger.execute("SELECT customer FROM moved").fetchall()
        )
        assert moved == [("ben",)]


async def test_an_erasure_goes_on_after_a_start_and_with_the_upload(
    cloud: FeedServer, tmp_path: Path
) -> None:
    async with fed(tmp_path) as it:
        await pull(it, cloud)
        assert opens(await tap(it, "ana's"))
        cloud.lines.append(gone(9, "customer", "ana", "erase"))
        it.feed.wants_snapshot = True
        await pull(it, cloud)
        first = await it.thread.run(lambda store: next(ledger.entries(store.ledger)))
        await it.thread.run(
            lambda store: sync_state.set_uploaded(store.ledger, sync_state.Place(first.epoch, 1))
        )
        await it.feed.erase_uploaded()
        data = await it.thread.run(lambda s: [e.data is None for e in ledger.entries(s.ledger)])
        assert data[:2] == [True, False]
    async with fed(tmp_path) as it:
        assert it.feed.standing.erases
        head = await it.thread.run(lambda store: ledger.head(store.ledger))
        place = sync_state.Place(head.epoch, head.sequence)
        await it.thread.run(lambda store: sync_state.set_uploaded(store.ledger, place))
        await it.feed.erase_uploaded()
        data = await it.thread.run(lambda s: [e.data is None for e in ledger.entries(s.ledger)])
        assert all(data)
        assert await it.thread.run(lambda store: ledger.verify(store.ledger)) == []


async def test_taps_come_between_the_parts_of_a_long_pull(
    cloud: FeedServer, tmp_path: Path
) -> None:
    async with fed(tmp_path) as it:
        await pull(it, cloud)
        cloud.put(*(Customer(id=f"c{n}") for n in range(2000)))
        pulling = asyncio.create_task(pull(it, cloud))
        heads: set[int] = set()
        while not pulling.done():
            assert opens(await tap(it, "ana's"))
            heads.add((await it.rows("SELECT value FROM meta WHERE name = 'head'"))[0][0])
        await pulling
        assert it.feed.head == 2008
        assert heads <= {8, *range(264, 2008, 256), 2008}
