"""`GET /v1/feed`: the changes of the device's own site, as lines, streamed from one state."""

import asyncio
from contextlib import aclosing

import msgspec
from aiohttp import web

from edgegate_sync.cloud import devices, problems
from edgegate_sync.cloud.feed import HistoryGoneError, Row, changes, since
from edgegate_sync.cloud.server import Asked, begin
from edgegate_sync.wire.changes import FEED_TYPE, Change, Op, Trailer, encode_line
from edgegate_sync.wire.errors import ProblemType

ANSWER_S_MAX = 900
"""How long an answer may take; a device that reads slower is cut off, and asks again."""

SNAPSHOTS_MAX = 4
"""Snapshots that are being read at once; further devices wait."""

ANSWERS_MAX = 6
"""Other answers that are being read at once: a snapshot for a slow line holds none of them up."""

TURN_S_MAX = 20
"""How long a device waits for its turn before it is told to come again."""


async def pull_feed(asked: Asked) -> web.StreamResponse:
    """Answer with what is after a number; hold the answer back while there is nothing."""
    site, after = asked.device.site, asked.values["after"]
    wait_s = asked.values["wait"]
    if wait_s and not await _has_news(asked, after):
        await asked.cloud.heads.wait(site, after, wait_s)
        await _still_good(asked)
    turns = asked.cloud.answers if after else asked.cloud.snapshots
    try:
        async with asyncio.timeout(TURN_S_MAX):
            await turns.acquire()
    except TimeoutError:
        raise problems.busy("Too many devices read the feed", 10) from None
    try:
        async with asyncio.timeout(ANSWER_S_MAX):
            return await _answer(asked, site, after)
    finally:
        turns.release()


async def _has_news(asked: Asked, after: int) -> bool:
    async with asked.cloud.database.reading() as connection:
        try:
            return (await since(connection, asked.device.site, after)).head > after
        except HistoryGoneError:
            return True


async def _still_good(asked: Asked) -> None:
    """A device that was revoked while it waited gets nothing."""
    async with asked.cloud.database.reading() as connection:
        if await devices.revoked_among(connection, [asked.device.serial]):
            raise problems.forbidden("The certificate was revoked.", ProblemType.REVOKED)


async def _answer(asked: Asked, site: str, after: int) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": FEED_TYPE, "Cache-Control": "no-store"})
    if accepts(",".join(asked.request.headers.getall("Accept-Encoding", ())), "gzip"):
        response.enable_compression(web.ContentCoding.gzip)
    async with asked.cloud.database.reading() as connection:
        try:
            standing = await since(connection, site, after)
        except HistoryGoneError as error:
            raise problems.compacted(str(error)) from error
        await begin(asked.request, response)
        async with aclosing(changes(connection, site, after, standing.head)) as batches:
            async for rows in batches:
                await response.write(b"".join(encode_line(change_of(row)) for row in rows))
    await response.write(encode_line(Trailer(head=standing.head)))
    await response.write_eof()
    asked.cloud.counters.count("feed_answers")
    return response


def accepts(header: str, coding: str) -> bool:
    """Whether an `Accept-Encoding` allows a coding (RFC 9110 section 12.5.3); absent: it does not.

    A weight of 0 forbids it, and so does one that is no number.
    """
    weights = {}
    for choice in header.lower().split(","):
        name, *parameters = (part.strip() for part in choice.split(";"))
        weights[name] = next((p[2:] for p in parameters if p.startswith("q=")), "1")
    try:
        return float(weights.get(coding, weights.get("*", "0"))) > 0
    except ValueError:
        return False


def change_of(row: Row) -> Change:
    """A row as the wire has it."""
    if row.body is None or row.op is not Op.PUT:
        return Change(seq=row.seq, kind=row.kind, id=row.id, op=row.op)
    return Change(
        seq=row.seq, kind=row.kind, id=row.id, op=row.op, body=msgspec.Raw(row.body.encode())
    )
