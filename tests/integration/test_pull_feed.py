"""The pull, from a server's socket to the cache: complete or not at all, and never in the way."""

import asyncio
import os
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from edgegate.passes.model import Customer, CustomerStatus, Location, Pass
from edgegate.store import cache
from edgegate_sync.appliance import feed as feed_module
from edgegate_sync.appliance.errors import (
    GoneError,
    RefusedError,
    SnapshotFailedError,
    SpoolFullError,
    TruncatedError,
    UnreachableError,
)
from edgegate_sync.appliance.feed import Pulled
from edgegate_sync.appliance.spool import SpoolLimits
from edgegate_sync.wire.changes import decode_message
from fakes.feed_server import FeedServer, gone, line_of, raw, serving, trailer
from fakes.feeding import Fed, client_of, fed

HQ = Location(id="hq", timezone="Europe/Berlin")
ANA = Customer(id="ana", name="Ana")
BEN = Customer(id="ben", name="Ben")
TEN = Pass(id="ten", holder="ana", amount=10)


@pytest.fixture
async def cloud() -> AsyncIterator[FeedServer]:
    async with serving() as server:
        server.put(HQ, ANA)
        yield server


async def pull(it: Fed, cloud: FeedServer, wait_s: int = 0) -> Pulled:
    async with client_of(cloud.url) as client:
        return await it.feed.pull(client, wait_s)


async def test_first_a_snapshot_then_what_changed(cloud: FeedServer, tmp_path: Path) -> None:
    async with fed(tmp_path) as it:
        await pull(it, cloud)
        cloud.put(BEN, TEN)
        cloud.lines.append(gone(5, "customer", "ana"))
        await pull(it, cloud)
        assert cloud.asked == [(0, 0), (2, 0)]
        assert await it.get(cache.CUSTOMER, "ana") is None
        assert await it.get(cache.CUSTOMER, "ben") == BEN
        assert await it.get(cache.PASS, "ten") == TEN
        assert it.feed.head == 5
    async with fed(tmp_path) as it:
        assert it.feed.head == 5
        assert await it.get(cache.CUSTOMER, "ben") == BEN
    kept = sorted(await asyncio.to_thread(os.listdir, tmp_path))
    assert kept == ["cache.db", "cache.prev.db", "ledger.db", "lock"]


@pytest.mark.parametrize("zipped", [False, True])
async def test_long_answers_go_by_the_disk(cloud: FeedServer, tmp_path: Path, zipped: bool) -> None:
    cloud.zipped = zipped
    limits = SpoolLimits(memory_bytes_max=100)
    async with fed(tmp_path, limits) as it:
        await pull(it, cloud)
        cloud.put(*(Customer(id=f"c{n}", name="Somebody") for n in range(600)))
        await pull(it, cloud)
        assert (await it.rows("SELECT count(*) FROM customer"))[0][0] == 601
        assert it.feed.head == 602
        assert not (tmp_path / "feed.spool").exists()


async def test_nothing_changed(cloud: FeedServer, tmp_path: Path) -> None:
    async with fed(tmp_path) as it:
        await pull(it, cloud)
        pulled = await pull(it, cloud)
        assert (pulled.head, pulled.changes, pulled.snapshot) == (2, 0, False)


async def test_compacted_history_is_a_snapshot(cloud: FeedServer, tmp_path: Path) -> None:
    async with fed(tmp_path) as it:
        await pull(it, cloud)
        cloud.lines = [line_of(7, BEN)]
        cloud.floor = 6
        pulled = await pull(it, cloud)
        assert pulled.snapshot
        assert cloud.asked[1:] == [(2, 0), (0, 0)]
        assert await it.get(cache.CUSTOMER, "ana") is None
        assert await it.get(cache.CUSTOMER, "ben") == BEN


async def test_a_cloud_that_was_restored_is_believed(cloud: FeedServer, tmp_path: Path) -> None:
    async with fed(tmp_path) as it:
        cloud.put(BEN)
        await pull(it, cloud)
        del cloud.lines[2:]
        await pull(it, cloud)
        assert it.feed.head == 2
        assert await it.get(cache.CUSTOMER, "ben") is None


async def test_a_trailer_from_before_the_head_is_a_snapshot(
    cloud: FeedServer, tmp_path: Path
) -> None:
    async def older(_: web.Request) -> web.Response:
        return web.Response(body=trailer(1))

    async with fed(tmp_path) as it:
        await pull(it, cloud)
        cloud.answers.append(older)
        with pytest.raises(TruncatedError):
            await pull(it, cloud)
        assert it.feed.wants_snapshot
        assert (await pull(it, cloud)).snapshot


async def test_what_is_refused_says_why(cloud: FeedServer, tmp_path: Path) -> None:
    async def busy(_: web.Request) -> web.Response:
        problem = {"title": "Busy", "status": 503, "detail": "come back"}
        return web.json_response(
            problem,
            status=503,
            content_type="application/problem+json",
            headers={"Retry-After": "7"},
        )

    async def strange(_: web.Request) -> web.Response:
        return web.Response(status=302, headers={"Location": "http://elsewhere.invalid/"})

    async with fed(tmp_path) as it:
        cloud.answers = [busy, strange]
        with pytest.raises(RefusedError, match="503 Busy: come back") as refused:
            await pull(it, cloud)
        assert refused.value.retry_after_s == 7
        with pytest.raises(RefusedError, match="302"):
            await pull(it, cloud)
        assert it.feed.head == 0


async def test_no_cloud(tmp_path: Path) -> None:
    async with fed(tmp_path) as it, client_of("http://127.0.0.1:1") as client:
        with pytest.raises(UnreachableError):
            await it.feed.pull(client)


async def test_the_clouds_time_is_told(cloud: FeedServer, tmp_path: Path) -> None:
    async with fed(tmp_path) as it, client_of(cloud.url) as client:
        await it.feed.pull(client)
        told = client.time
        assert told is not None
        assert told.at.tzinfo is not None
        assert 0 <= told.round_trip_s < told.received_s


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("after", [0, 2])
async def test_a_broken_off_answer_counts_for_nothing(
    cloud: FeedServer, tmp_path: Path, after: int, zipped: bool
) -> None:
    async with fed(tmp_path) as it:
        if after:
            await pull(it, cloud)
        cloud.put(BEN)
        cloud.zipped = zipped
        cloud.cut_at = 60
        with pytest.raises(TruncatedError):
            await pull(it, cloud)
        assert it.feed.head == after
        assert await it.get(cache.CUSTOMER, "ben") is None
        await pull(it, cloud)
        assert await it.get(cache.CUSTOMER, "ben") == BEN


@pytest.mark.parametrize("after", [0, 2])
async def test_an_answer_without_its_trailer_counts_for_nothing(
    cloud: FeedServer, tmp_path: Path, after: int
) -> None:
    async def without(_: web.Request) -> web.Response:
        return web.Response(body=line_of(3, BEN) + b"\n")

    async def beyond(_: web.Request) -> web.Response:
        lines = (line_of(3, BEN), trailer(3), line_of(4, TEN))
        return web.Response(body=b"\n".join(lines))

    async with fed(tmp_path) as it:
        if after:
            await pull(it, cloud)
        cloud.answers = [without, beyond]
        for _ in range(2):
            with pytest.raises(TruncatedError):
                await pull(it, cloud)
        assert it.feed.head == after
        assert await it.get(cache.CUSTOMER, "ben") is None


async def test_too_long_an_answer_counts_for_nothing(cloud: FeedServer, tmp_path: Path) -> None:
    async with fed(tmp_path, SpoolLimits(bytes_max=2000)) as it:
        await pull(it, cloud)
        cloud.put(*(Customer(id=f"c{n}") for n in range(100)))
        with pytest.raises(SpoolFullError):
            await pull(it, cloud)
        cloud.zipped = True
        with pytest.raises(SpoolFullError):
            await pull(it, cloud)
        assert it.feed.head == 2


@pytest.mark.parametrize("after", [0, 2])
async def test_a_full_disk_leaves_the_cache_as_it_is(
    cloud: FeedServer, tmp_path: Path, after: int
) -> None:
    async with fed(tmp_path) as it:
        if after:
            await pull(it, cloud)
    full = SpoolLimits(memory_bytes_max=100, disk_free_bytes_min=2**60)
    async with fed(tmp_path, full) as it:
        cloud.put(BEN)
        with pytest.raises((SpoolFullError, SnapshotFailedError)):
            await pull(it, cloud)
        assert it.feed.head == after


async def test_a_poisoned_record_holds_up_nothing(cloud: FeedServer, tmp_path: Path) -> None:
    poison = raw(3, "customer", "ana", {"id": "ana", "name": 7, "status": "disabled"})
    cloud.lines += [poison, b'{"seq":4,"kind":', line_of(5, BEN)]
    for first in (True, False):
        state = tmp_path / str(first)
        async with fed(state) as it:
            if not first:
                poisoned, cloud.lines = cloud.lines[2:], cloud.lines[:2]
                await pull(it, cloud)
                cloud.lines += poisoned
            await pull(it, cloud)
            assert await it.get(cache.CUSTOMER, "ben") == BEN
            assert it.feed.head == 5
            assert it.feed.standing.counts.quarantined == 2
            named = {q.id: q for q in it.feed.standing.quarantined}
            assert named["ana"].error == "Expected `str`, got `int`"
            assert named["ana"].field == "name"
            ana = await it.get(cache.CUSTOMER, "ana")
            # In the first snapshot there is nothing yet that could be restricted.
            assert ana is None if first else ana.status is CustomerStatus.DISABLED


async def test_a_snapshot_keeps_what_a_broken_record_would_replace(
    cloud: FeedServer, tmp_path: Path
) -> None:
    async with fed(tmp_path) as it:
        await pull(it, cloud)
        broken = {"id": "ana", "name": 7, "status": "paused"}
        cloud.lines = [raw(9, "customer", "ana", broken)]
        cloud.floor = 9
        assert (await pull(it, cloud)).snapshot
        ana = await it.get(cache.CUSTOMER, "ana")
        assert (ana.name, ana.status) == ("Ana", CustomerStatus.PAUSED)
        assert it.feed.standing.quarantined[0].restricted == ("status",)
        cloud.put(ANA)
        await pull(it, cloud)
        assert it.feed.standing.counts.quarantined == 0
        assert await it.get(cache.CUSTOMER, "ana") == ANA


def message(prev: int, head: int, *lines: bytes) -> bytes:
    changes = b",".join(lines)
    return b'{"prev":%d,"head":%d,"changes":[%b]}' % (prev, head, changes)


async def test_pushes_that_follow_are_applied(cloud: FeedServer, tmp_path: Path) -> None:
    async with fed(tmp_path) as it:
        first = decode_message(message(0, 1, line_of(1, BEN)))
        assert not await it.feed.apply_push(first), "an empty cache needs a snapshot"
        await pull(it, cloud)
        pushed = decode_message(message(2, 4, line_of(3, BEN), line_of(4, TEN)))
        gap = decode_message(message(5, 6, line_of(6, Customer(id="cem"))))
        assert not await it.feed.apply_push(gap)
        assert await it.feed.apply_push(pushed)
        assert await it.get(cache.PASS, "ten") == TEN
        assert await it.feed.apply_push(pushed), "twice changes nothing"
        assert await it.feed.apply_push(first), "late changes nothing"
        overlap = message(3, 5, line_of(4, TEN), line_of(5, Customer(id="ben", name="Benno")))
        assert await it.feed.apply_push(decode_message(overlap))
        assert (await it.get(cache.CUSTOMER, "ben")).name == "Benno"
        hint = decode_message(message(5, 900))
        assert not await it.feed.apply_push(hint)
        assert it.feed.head == 5


async def test_a_long_poll_brings_what_changes(cloud: FeedServer, tmp_path: Path) -> None:
    async with fed(tmp_path) as it, client_of(cloud.url) as client:
        await it.feed.pull(client)

        async def late(_: web.Request) -> web.StreamResponse:
            # While it waits a push brings the change, and more.
            pushed = message(2, 4, line_of(3, BEN), line_of(4, TEN))
            assert await it.feed.apply_push(decode_message(pushed))
            cloud.put(BEN)
            return web.Response(body=cloud.body(2))

        cloud.answers = [late]
        pulled = await it.feed.pull(client, wait_s=30)
        assert cloud.asked[-1] == (2, 30)
        assert (pulled.changes, it.feed.head) == (0, 4)
        assert await it.get(cache.PASS, "ten") == TEN


async def test_a_reader_of_the_cache_only_delays_the_swap(
    cloud: FeedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with fed(tmp_path) as it:
        await pull(it, cloud)
        cloud.put(BEN)
        await pull(it, cloud)
        reading = sqlite3.connect(tmp_path / "cache.db", check_same_thread=False)
        await asyncio.to_thread(reading.execute, "BEGIN")
        await asyncio.to_thread(lambda: reading.execute("SELECT * FROM customer").fetchone())
        cloud.put(TEN)
        await pull(it, cloud)
        monkeypatch.setattr(feed_module, "SWAP_TRIES", 2)
        it.feed.wants_snapshot = True
        with pytest.raises(SnapshotFailedError):
            await pull(it, cloud)
        assert await it.get(cache.PASS, "ten") == TEN
        await asyncio.to_thread(reading.close)
        assert (await pull(it, cloud)).snapshot
        assert await it.get(cache.PASS, "ten") == TEN


async def test_gone_twice_is_told(cloud: FeedServer, tmp_path: Path) -> None:
    async def gone_for_good(_: web.Request) -> web.Response:
        return web.Response(status=410)

    async with fed(tmp_path) as it:
        await pull(it, cloud)
        cloud.answers = [gone_for_good, gone_for_good]
        with pytest.raises(GoneError):
            await pull(it, cloud)
        assert it.feed.head == 2
