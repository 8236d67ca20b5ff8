"""A cloud that streams a feed: it keeps what it was asked, and fails in every way it is told to."""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import msgspec
from aiohttp import web

from edgegate.store import cache

KIND_OF = {kind.type: kind for kind in cache.KINDS.values()}


def line_of(seq: int, record: Any, **others: Any) -> bytes:
    """A `put` of a record."""
    kind = KIND_OF[type(record)]
    change = {
        "seq": seq,
        "kind": kind.name,
        "id": getattr(record, kind.id_field),
        "op": "put",
        "body": record,
    }
    return msgspec.json.encode(change | others)


def gone(seq: int, kind: str, id_: str, op: str = "delete") -> bytes:
    """A record that is gone."""
    return msgspec.json.encode({"seq": seq, "kind": kind, "id": id_, "op": op})


def raw(seq: int, kind: str, id_: str, body: Any, **others: Any) -> bytes:
    """A `put` of anything."""
    return msgspec.json.encode(
        {"seq": seq, "kind": kind, "id": id_, "op": "put", "body": body} | others
    )


def trailer(head: int) -> bytes:
    """The last line."""
    return msgspec.json.encode({"head": head, "complete": True})


def newest(lines: list[bytes]) -> list[bytes]:
    """A snapshot: of each record the last change, unless it was deleted."""
    last: dict[object, bytes] = {}
    for number, line in enumerate(lines):
        try:
            change = json.loads(line)
        except ValueError:
            last[number] = line
            continue
        last.pop((change.get("kind"), change.get("id")), None)
        if change.get("op") != "delete":
            last[change.get("kind"), change.get("id")] = line
    return list(last.values())


@dataclass
class FeedServer:
    """What the cloud has, what it was asked, and what goes wrong with its next answers."""

    lines: list[bytes] = field(default_factory=list)
    """All changes, the oldest first."""
    floor: int = 0
    """History up to here is compacted."""
    asked: list[tuple[int, int]] = field(default_factory=list)
    """`after` and `wait` of each request."""
    answers: list[Callable[[web.Request], Any]] = field(default_factory=list)
    """What answers the next requests in place of the feed."""
    cut_at: int | None = None
    """The next answer breaks off after so many bytes."""
    zipped: bool = False
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    url: str = ""

    @property
    def head(self) -> int:
        """The number of the newest change."""
        numbers = [self._seq(line) for line in self.lines]
        return max((n for n in numbers if n), default=0)

    def put(self, *records: Any) -> None:
        """Change records."""
        for seq, record in enumerate(records, start=self.head + 1):
            self.lines.append(line_of(seq, record))
        self.changed.set()

    def body(self, after: int) -> bytes:
        """What a complete answer says."""
        lines = [line for line in self.lines if (self._seq(line) or after + 1) > after]
        if after == 0:
            lines = newest(lines)
        return b"".join(line + b"\n" for line in [*lines, trailer(self.head)])

    @staticmethod
    def _seq(line: bytes) -> int | None:
        try:
            seq = json.loads(line)["seq"]
        except (ValueError, KeyError, TypeError):
            return None
        return seq if isinstance(seq, int) else None

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """The feed, or what is told to go wrong."""
        after, wait = int(request.query["after"]), int(request.query.get("wait", "0"))
        self.asked.append((after, wait))
        if self.answers:
            answer: web.StreamResponse = await self.answers.pop(0)(request)
            return answer
        if after > self.head or 0 < after < self.floor:
            problem = {"title": "Gone", "status": 410, "type": "urn:edgegate:compacted"}
            return web.json_response(problem, status=410, content_type="application/problem+json")
        if wait and after == self.head:
            self.changed.clear()
            await self.changed.wait()
        return await self._stream(request, self.body(after))

    async def _stream(self, request: web.Request, body: bytes) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        if self.zipped:
            response.headers["Content-Encoding"] = "gzip"
            body = gzip.compress(body)
        cut, self.cut_at = self.cut_at, None
        await response.prepare(request)
        await response.write(body[:cut])
        if cut is not None:
            assert request.transport is not None
            request.transport.abort()
        else:
            await response.write_eof()
        return response


@asynccontextmanager
async def serving(lines: Iterable[bytes] = (), *, ssl: Any = None) -> AsyncIterator[FeedServer]:
    """A cloud on a free port of this machine."""
    server = FeedServer(list(lines))
    app = web.Application()
    app.router.add_get("/v1/feed", server.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=ssl)
    await site.start()
    try:
        host, port = runner.addresses[0][:2]
        server.url = f"{'https' if ssl else 'http'}://{host}:{port}"
        yield server
    finally:
        await runner.cleanup()
