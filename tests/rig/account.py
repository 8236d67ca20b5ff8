"""Says of a rig that came to a standstill what is unfinished, and what everybody waits for."""

import asyncio
import json
from typing import Any

from sqlalchemy import select

from edgegate_sync.cancelling import unfinished
from edgegate_sync.cloud.database import Database, fetch, open_database
from edgegate_sync.cloud.tables import outbox, site
from rig.processes import Box, BoxGoneError, Worker
from rig.sites import Rig

ASK_S_MAX = 10
"""How long anybody is asked: what hangs does not answer."""

TELL_S = 1.0


async def account(made: Rig) -> str:
    """All of it, as lines: cloud, workers, appliances and this process."""
    boxes = [(one.name, box) for one in made.sites for box in one.boxes]
    told = await asyncio.gather(*(_of_box(name, box) for name, box in boxes))
    workers = [await _of_worker(worker) for worker in made.workers]
    return "\n".join([await _of_cloud(made.url), *told, *workers, f"here: {unfinished()}"])


async def _of_box(name: str, box: Box) -> str:
    asking = asyncio.create_task(_asked(box))
    await asyncio.wait((asking,), timeout=ASK_S_MAX)
    if not asking.done():
        asking.cancel()
        return f"{name}/{box.name} does not answer; its log ends:\n{box.tail()}"
    return f"{name}/{box.name}: {asking.result()}"


async def _asked(box: Box) -> str:
    try:
        # What was asked before it came to a standstill is answered first.
        return json.dumps(await box.ask("account"))
    except (BoxGoneError, AssertionError) as error:
        return repr(error)


async def _of_worker(worker: Worker) -> str:
    worker.say("account")
    await asyncio.sleep(TELL_S)
    log = await asyncio.to_thread(worker.tail)
    return f"the worker at {worker.port}, start {worker.starts}; its log ends:\n{log}"


async def _of_cloud(url: str) -> str:
    asking = asyncio.create_task(_heads(url))
    await asyncio.wait((asking,), timeout=ASK_S_MAX)
    if not asking.done():
        asking.cancel()
        return "the database does not answer"
    return f"the cloud: {asking.result()}"


async def _heads(url: str) -> list[Any]:
    columns = (site.c.id, site.c.head, outbox.c.published, outbox.c.worker, outbox.c.leased_until)
    statement = select(*columns).join(outbox, outbox.c.site == site.c.id, isouter=True)
    database: Database = await open_database(url)
    try:
        async with database.reading() as connection:
            return [tuple(map(str, row)) for row in await fetch(connection, statement)]
    finally:
        await database.close()
