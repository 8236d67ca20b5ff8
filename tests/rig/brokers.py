"""Fixtures and helpers of tests that speak MQTT: a broker of their own, and clients of it."""

import asyncio
import inspect
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiomqtt
import pytest

from edgegate_sync.cancelling import unfinished
from rig.authority import Identity
from rig.mosquitto import ADMIN, Mosquitto

WAIT_S = 20.0
END_S_MAX = 60
SITE = "mill"
DEVICES = ("front", "back")


class Broker:
    """A running mosquitto, its devices' certificates, and the cloud's one."""

    def __init__(self, directory: Path) -> None:
        self.server = Mosquitto(directory)
        self.identities = {name: self.server.add_device(SITE, name) for name in DEVICES}
        self.admin = self.server.authority.issue(ADMIN)

    @asynccontextmanager
    async def cloud(self, *topics: str) -> AsyncIterator[aiomqtt.Client]:
        """A client that may do everything, subscribed to `topics`."""
        client = aiomqtt.Client(
            self.server.host,
            self.server.port,
            identifier=ADMIN,
            protocol=aiomqtt.ProtocolVersion.V5,
            tls_context=context_of(self.admin),
        )
        async with client:
            for topic in topics:
                await client.subscribe(topic, qos=1)
            yield client


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    found = Broker(tmp_path / "mosquitto")
    with found.server:
        yield found


def context_of(identity: Identity) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=identity.ca)
    context.load_cert_chain(identity.certificate, identity.key)
    return context


async def until(is_so: Callable[[], Any], what: str = "it") -> None:
    """Wait until a condition holds, looking often."""
    try:
        async with asyncio.timeout(WAIT_S):
            while True:
                found = is_so()
                if await found if inspect.isawaitable(found) else found:
                    return
                await asyncio.sleep(0.005)
    except TimeoutError:
        raise AssertionError(f"{what} did not come about within {WAIT_S:g} s") from None


@asynccontextmanager
async def running(*tasks: Any) -> AsyncIterator[None]:
    """Run these beside the test, and end them with it; what one of them raises fails the test."""
    started = [asyncio.ensure_future(task) for task in tasks]
    try:
        yield
        for task in started:
            if task.done() and not task.cancelled():
                task.result()
    finally:
        for task in started:
            task.cancel()
        _, endless = await asyncio.wait(started, timeout=END_S_MAX)
        assert not endless, unfinished()


async def next_of(client: aiomqtt.Client) -> aiomqtt.Message:
    async with asyncio.timeout(WAIT_S):
        return await anext(aiter(client.messages))
