"""The feed over HTTPS: lines, trailer, streaming, waiting, and what a cut answer looks like."""

import asyncio
import gzip
import json
import ssl
import tracemalloc
from datetime import UTC, datetime, timedelta

import pytest

from edgegate_sync.cloud import feed_api
from edgegate_sync.cloud.feed import changes, compact
from edgegate_sync.cloud.feed_api import accepts
from edgegate_sync.wire.changes import Change, Trailer, decode_line
from rig.clouds import DeviceFiles, RunningCloud, until

pytest_plugins = ("rig.cloud_fixtures",)


async def test_lines_in_order_and_last_the_trailer(cloud: RunningCloud) -> None:
    device = await cloud.caller(await cloud.enrol())
    admin = await cloud.admin()
    for name in "abc":
        assert (await admin.put("team", {"id": name, "name": "Team"})).status == 200
    path = "/admin/v1/sites/north/records/team/b"
    assert (await admin.ask("DELETE", path)).status == 200
    told = await device.ask("GET", "/v1/feed?after=1")
    assert told.headers["Content-Type"] == "application/x-ndjson"
    lines = [decode_line(line) for line in told.body.splitlines()]
    assert isinstance(lines[-1], Trailer)
    assert [(x.seq, x.op, x.id) for x in lines if isinstance(x, Change)] == [
        (3, "put", "c"),
        (4, "delete", "b"),
    ]
    nothing = await device.ask("GET", "/v1/feed?after=4")
    assert nothing.lines == [{"head": 4, "complete": True}]


async def test_it_is_compressed_for_whoever_can_read_that(cloud: RunningCloud) -> None:
    await (await cloud.admin()).put("team", {"id": "a"})
    device = await cloud.caller(await cloud.enrol())
    for header, coding in (("gzip", "gzip"), ("identity, gzip;q=0", "identity")):
        async with device.session.get(
            f"{cloud.base}/v1/feed?after=0", headers={"Accept-Encoding": header}
        ) as response:
            assert response.headers.get("Content-Encoding", "identity") == coding
            assert len((await response.read()).splitlines()) == 2


@pytest.mark.parametrize(
    ("header", "is_gzip"),
    [
        ("gzip", True),
        ("br, GZIP ; q=0.5", True),
        ("*", True),
        ("br;q=1, *;q=0.1", True),
        ("gzip;q=0", False),
        ("gzip; q=0.000, *", False),
        ("*;q=0", False),
        ("gzip;q=much", False),
        ("gzip;q=nan", False),
        ("identity, xgzip", False),
        ("", False),
    ],
)
def test_a_coding_is_allowed_as_rfc_9110_says(header: str, *, is_gzip: bool) -> None:
    assert accepts(header, "gzip") == is_gzip


async def test_a_poll_is_held_back_until_there_is_something(cloud: RunningCloud) -> None:
    device = await cloud.caller(await cloud.enrol())
    empty = await device.ask("GET", "/v1/feed?after=0&wait=1")
    assert empty.lines == [{"head": 0, "complete": True}]
    polls = [
        asyncio.create_task((await cloud.caller(await cloud.enrol(f"d{n}"))).ask("GET", path))
        for n, path in enumerate(["/v1/feed?after=0&wait=60"] * 3)
    ]
    await until(lambda: len(cloud.cloud.heads._waiting.get("north", ())) == 3)
    await (await cloud.admin()).put("team", {"id": "a"})
    for told in await asyncio.gather(*polls):
        assert [line.get("id") for line in told.lines] == ["a", None]
    assert not cloud.cloud.heads._waiting


async def test_whoever_missed_deletions_is_told_to_take_a_snapshot(cloud: RunningCloud) -> None:
    device = await cloud.caller(await cloud.enrol())
    admin = await cloud.admin()
    await admin.put("team", {"id": "a"})
    await admin.put("team", {"id": "b"})
    await admin.ask("DELETE", "/admin/v1/sites/north/records/team/a")
    async with cloud.cloud.database.site("north") as transaction:
        await compact(transaction, datetime.now(UTC) + timedelta(hours=1))
    for path in ("/v1/feed?after=1", "/v1/feed?after=99&wait=30"):
        gone = await device.ask("GET", path)
        assert (gone.status, gone.json["type"]) == (410, "urn:edgegate:compacted")


@pytest.mark.parametrize("query", ["", "?after=x", "?after=-1", "?after=0&wait=61"])
async def test_wrong_parameters_are_named(cloud: RunningCloud, query: str) -> None:
    device = await cloud.caller(await cloud.enrol())
    told = await device.ask("GET", f"/v1/feed{query}")
    assert told.status == 400
    assert told.json["faults"][0]["field"] == ("wait" if "wait" in query else "after")


async def fill(cloud: RunningCloud, count: int) -> None:
    padding = "x" * 200
    for start in range(0, count, 500):
        async with cloud.cloud.database.site("north") as transaction:
            for number in range(start, min(count, start + 500)):
                body = json.dumps({"id": str(number), "name": padding}).encode()
                await transaction.put("team", str(number), body)


async def test_a_snapshot_of_20000_records_never_stands_in_memory(cloud: RunningCloud) -> None:
    """It is read by a client that takes its time, so that the server has to wait for it."""
    await fill(cloud, 20_000)
    device = await cloud.caller(await cloud.enrol())
    await device.ask("GET", "/v1/feed?after=19990")
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        count, size, last = 0, 0, b""
        async with device.session.get(
            f"{cloud.base}/v1/feed?after=0", headers={"Accept-Encoding": "identity"}
        ) as response:
            async for line in response.content:
                count, size, last = count + 1, size + len(line), line
                if count % 5_000 == 0:
                    await asyncio.sleep(0.05)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (count, json.loads(last)) == (20_001, {"head": 20_000, "complete": True})
    assert size > 5_000_000
    assert peak - before < 2_500_000


async def test_an_answer_that_is_cut_has_no_trailer(
    cloud: RunningCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database breaks in the middle: the client sees a broken answer, never a short one."""
    await fill(cloud, 1000)
    files = await cloud.enrol()

    async def breaking(*arguments: object, **options: object) -> object:
        async for rows in changes(*arguments, **options):  # type: ignore[arg-type]  # passed on as they came
            yield rows
            raise ConnectionResetError("the database is gone")

    monkeypatch.setattr(feed_api, "changes", breaking)
    for coding in ("identity", "gzip"):
        raw = await exchange(cloud, files, coding)
        head, _, body = raw.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200")
        assert b"complete" not in body
        assert not body.endswith(b"0\r\n\r\n")
        assert b"HTTP/1.1" not in body
        if coding == "identity":
            assert b'"seq":256' in body


async def exchange(cloud: RunningCloud, files: DeviceFiles, coding: str) -> bytes:
    """All bytes of an answer, as they came."""
    port = int(cloud.base.rpartition(":")[2])
    reader, writer = await asyncio.open_connection(
        "localhost", port, ssl=cloud.context(files), server_hostname="localhost"
    )
    writer.write(
        f"GET /v1/feed?after=0 HTTP/1.1\r\nHost: localhost\r\nAccept-Encoding: {coding}\r\n"
        "Connection: close\r\n\r\n".encode()
    )
    parts = bytearray()
    try:
        while part := await reader.read(65536):
            parts += part
    except (ConnectionError, ssl.SSLError):
        # Cut without a goodbye, as it should be.
        pass
    writer.transport.abort()
    return bytes(parts)


async def test_a_whole_answer_ends_as_the_cut_one_does_not(cloud: RunningCloud) -> None:
    await fill(cloud, 300)
    raw = await exchange(cloud, await cloud.enrol(), "gzip")
    body = raw.partition(b"\r\n\r\n")[2]
    assert body.endswith(b"0\r\n\r\n")
    chunks = bytearray()
    while body:
        size, _, rest = body.partition(b"\r\n")
        chunks += rest[: int(size, 16)]
        body = rest[int(size, 16) + 2 :]
        if int(size, 16) == 0:
            break
    assert gzip.decompress(chunks).splitlines()[-1] == b'{"head":300,"complete":true}'
