"""`edgegate cloud serve`: listens, until it is told to stop."""

import asyncio
import signal
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aiohttp import web

from edgegate_sync.cancelling import ended
from edgegate_sync.cloud import (
    admin_api,
    csv_import_api,
    device_api,
    ledger_api,
    metrics,
    page,
    record_api,
    usage_api,
    webhook_api,
    wifi_api,
)
from edgegate_sync.cloud.cloud import Cloud, Settings, has_token, opened
from edgegate_sync.cloud.operations import ADMIN_OPERATIONS
from edgegate_sync.cloud.server import Handler, Server
from edgegate_sync.wire.operations import DEVICE_OPERATIONS

HANDLERS: dict[str, Handler] = {
    **device_api.HANDLERS,
    **admin_api.HANDLERS,
    **record_api.HANDLERS,
    **ledger_api.HANDLERS,
    **usage_api.HANDLERS,
    **csv_import_api.HANDLERS,
    **webhook_api.HANDLERS,
    **wifi_api.HANDLERS,
    **metrics.HANDLERS,
}
"""Who answers each operation."""

OPERATIONS = (*DEVICE_OPERATIONS, *ADMIN_OPERATIONS)

SHUTDOWN_S_MAX = 5
"""How long answers that are under way may take when it ends; polls are let go at once."""

END_S_MAX = 30
"""How long what goes on beside the requests may take to end; the process then ends without it.

A statement that is begun is ended, waits for locks included, and the broker is taken leave of.
"""

HEADER_BYTES_MAX = 8190


def application(cloud: Cloud) -> web.Application:
    """All routes of a cloud."""
    made = Server(cloud, OPERATIONS, HANDLERS).application
    made.router.add_get("/admin/v1/openapi.json", page.get_description)
    made.router.add_get("/admin/v1/docs", page.get_page)
    return made


@asynccontextmanager
async def serving(
    cloud: Cloud, host: str, port: int, context: ssl.SSLContext | None = None
) -> AsyncIterator[int]:
    """Serve until the end of the block; yields the port, which matters where 0 was asked for."""
    secure = context or await cloud.set_up_tls()
    runner = web.AppRunner(
        application(cloud),
        access_log=None,
        shutdown_timeout=SHUTDOWN_S_MAX,
        max_line_size=HEADER_BYTES_MAX,
        max_field_size=HEADER_BYTES_MAX,
    )
    await runner.setup()
    try:
        listener = web.TCPSite(runner, host, port, ssl_context=secure, reuse_port=None)
        await listener.start()
        yield runner.addresses[0][1]
        cloud.heads.release()
    finally:
        await runner.cleanup()


@asynccontextmanager
async def working(cloud: Cloud) -> AsyncIterator[asyncio.Task[None]]:
    """Do what goes on beside the requests until the end of the block.

    Raises:
        EndlessError: some of it does not end; whatever else ended it is raised too.
    """
    beside = asyncio.create_task(cloud.run(), name="cloud")
    try:
        yield beside
    finally:
        await ended(beside, END_S_MAX)


async def serve(settings: Settings, host: str, port: int, say: Callable[[str], None]) -> None:
    """Serve until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with opened(settings) as cloud:
        if not await has_token(cloud):
            # None is made here: what is said goes to the journal, which many may read.
            say("There is no API token yet: make one with edgegate cloud token --help")
        async with working(cloud) as beside, serving(cloud, host, port) as bound:
            say(f"Serving on https://{host}:{bound}")
            stopped = asyncio.create_task(stop.wait(), name="stop")
            # What ends it, if it is not the signal, ends the process.
            await asyncio.wait((beside, stopped), return_when=asyncio.FIRST_COMPLETED)
            stopped.cancel()
