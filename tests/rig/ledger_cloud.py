"""A small working cloud in memory, of one device, which can be told to misbehave."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import msgspec
from aiohttp import web
from aiohttp.test_utils import TestServer

from edgegate.passes.model import Record
from edgegate.store.chain import Entry
from edgegate_sync.wire.changes import FEED_TYPE, Change, Op, Trailer, encode_line
from edgegate_sync.wire.errors import PROBLEM_TYPE, Problem, encode
from edgegate_sync.wire.events import (
    STORED_MAX,
    LedgerAnswer,
    Outcome,
    Settled,
    Stored,
    decode_batch,
)


class LedgerCloud:
    """Keeps entries by (epoch, sequence); another hash under the same key is a fork."""

    def __init__(self) -> None:
        self.entries: dict[tuple[int, int], Entry] = {}
        self.order: list[tuple[int, int]] = []
        self.batches: list[int] = []
        """How many entries each batch had that was looked at."""
        self.posts = 0
        self.entries_max = 500
        self.poison: bytes | None = None
        """A batch with this in it is refused with 400."""
        self.put_aside: bytes | None = None
        """An entry with this in its data is stored and quarantined."""
        self.faults: deque[str] = deque()
        """What goes wrong with the next requests: "500", "404", "lost", "cut"."""
        self.answer: LedgerAnswer | None = None
        """Answered in place of the true one."""
        self.url = ""
        self.changes: list[Change] = []
        self.changed = asyncio.Event()
        self.pulls: list[int] = []
        """How long each pull was ready to wait."""
        self.states: list[bytes] = []
        self.is_away = False
        """Whether the feed answers 503."""

    def restore(self, kept: int) -> None:
        """Be as a backup had it that knew so many entries."""
        del self.order[kept:]
        self.entries = {key: self.entries[key] for key in self.order}

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Serve on a free port of this machine."""
        app = web.Application(client_max_size=2 * 1_048_576)
        app.router.add_post("/v1/ledger", self._post)
        app.router.add_get("/v1/ledger", self._get)
        app.router.add_get("/v1/feed", self._feed)
        app.router.add_put("/v1/state", self._state)
        async with TestServer(app) as server:
            self.url = str(server.make_url("")).rstrip("/")
            yield

    async def _get(self, _request: web.Request) -> web.Response:
        return self._answer(())

    async def _feed(self, request: web.Request) -> web.Response:
        """All changes after a number; with `wait`, once there is one or so long has passed."""
        after = int(request.query["after"])
        self.pulls.append(int(request.query.get("wait", "0")))
        if self.is_away:
            return web.Response(status=503)
        if "wait" in request.query:
            with suppress(TimeoutError):
                async with asyncio.timeout(int(request.query["wait"])):
                    while len(self.changes) <= after:
                        self.changed.clear()
                        await self.changed.wait()
        lines = [encode_line(change) for change in self.changes[after:]]
        lines.append(encode_line(Trailer(head=len(self.changes))))
        return web.Response(body=b"".join(lines), content_type=FEED_TYPE)

    def put(self, kind: str, record: Record) -> Change:
        """Change a record."""
        body = msgspec.Raw(encode(record))
        change = Change(seq=len(self.changes) + 1, kind=kind, id=record.id, op=Op.PUT, body=body)
        self.changes.append(change)
        self.changed.set()
        return change

    async def _state(self, request: web.Request) -> web.Response:
        self.states.append(await request.read())
        return web.Response(status=204)

    async def _post(self, request: web.Request) -> web.StreamResponse:
        self.posts += 1
        body = await request.read()
        fault = self.faults.popleft() if self.faults else ""
        if fault in ("500", "404"):
            return web.Response(status=int(fault), text="<html>")
        if fault == "cut":
            _cut(request)
            return web.Response()
        batch = decode_batch(body)
        if len(batch) > self.entries_max:
            return _problem(413, "too many entries")
        if self.poison is not None and self.poison in body:
            return _problem(400, "there is poison in it")
        settled, is_fork = self._store([e for e in batch if isinstance(e, Entry)])
        self.batches.append(len(batch))
        if fault == "lost":
            _cut(request)
        return self._answer(settled, begin_epoch=is_fork)

    def _store(self, batch: list[Entry]) -> tuple[tuple[Settled, ...], bool]:
        settled = []
        is_fork = False
        for entry in batch:
            key = (entry.epoch, entry.sequence)
            known = self.entries.setdefault(key, entry)
            if known.hash != entry.hash:
                is_fork = True
            elif known is entry:
                self.order.append(key)
            if known.hash != entry.hash or (
                self.put_aside is not None and self.put_aside in (entry.data or b"")
            ):
                settled.append(
                    Settled(
                        epoch=entry.epoch,
                        sequence=entry.sequence,
                        outcome=Outcome.QUARANTINED,
                        why="it cannot be counted",
                    )
                )
        return tuple(settled), is_fork

    def _answer(self, settled: tuple[Settled, ...], *, begin_epoch: bool = False) -> web.Response:
        answer = self.answer
        if answer is None and not self.entries:
            answer = LedgerAnswer(epoch=0, counted=0, stored=())
        if answer is None:
            last = max(self.entries)
            answer = LedgerAnswer(
                epoch=last[0],
                counted=last[1],
                head_hash=self.entries[last].hash.hex(),
                begin_epoch=begin_epoch,
                settled=settled,
                stored=self._stored(),
            )
        return web.Response(body=encode(answer), content_type="application/json")

    def _stored(self) -> tuple[Stored, ...]:
        found: list[Stored] = []
        for epoch, sequence in sorted(self.entries):
            follows = found and (found[-1].epoch, found[-1].last + 1) == (epoch, sequence)
            first = found.pop().first if follows else sequence
            found.append(Stored(epoch=epoch, first=first, last=sequence))
        return tuple(found[-STORED_MAX:])


def _cut(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.abort()


def _problem(status: int, detail: str) -> web.Response:
    problem = Problem(title="refused", status=status, detail=detail)
    return web.Response(status=status, body=encode(problem), content_type=PROBLEM_TYPE)
