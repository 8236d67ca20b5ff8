"""What devices ask of the books: `POST /v1/ledger` and `GET /v1/ledger`."""

from datetime import UTC, datetime

from aiohttp import web

from edgegate_sync.cloud import ingest, problems
from edgegate_sync.cloud.server import Asked, Handler, answer
from edgegate_sync.wire.errors import MalformedError


async def send_ledger(asked: Asked) -> web.StreamResponse:
    """Take in a batch of entries of the device's ledger."""
    who = asked.device
    try:
        done = await ingest.send_ledger(
            asked.cloud.database, who.site, who.device, asked.raw, datetime.now(UTC)
        )
    except MalformedError as error:
        raise problems.of_malformed(error) from error
    asked.cloud.counters.count("ledger_batches")
    for settled in done.settled:
        asked.cloud.counters.count("ledger_settled", settled.outcome.value)
    return answer(done)


async def ask_ledger(asked: Asked) -> web.StreamResponse:
    """Up to where the device's ledger counts."""
    who = asked.device
    return answer(await ingest.ask_ledger(asked.cloud.database, who.site, who.device))


HANDLERS: dict[str, Handler] = {"send_ledger": send_ledger, "ask_ledger": ask_ledger}
"""By operation."""
