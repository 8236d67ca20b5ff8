"""Who gets between: repeats messages, shakes the broker, and answers in the cloud's place."""

import asyncio
import ssl
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

import aiomqtt
import msgspec
from aiohttp import web

from edgegate_sync.cancelling import apart
from edgegate_sync.mqtt import Client
from edgegate_sync.wire.events import LedgerAnswer
from rig.authority import Authority
from rig.sites import Rig, SiteBroker


class Gremlin:
    """Repeats what the broker carried, late and out of order."""

    def __init__(self, rig: Rig, chance: Random) -> None:
        self._rig = rig
        self._chance = chance
        self._heard: list[tuple[str, bytes]] = []
        self.repeated = 0

    async def run(self) -> None:
        """Until it is cancelled; the broker may go away meanwhile."""
        broker = self._rig.broker
        assert broker is not None
        while True:
            try:
                await apart(self._connected(broker))
            except* (aiomqtt.MqttError, OSError):
                await asyncio.sleep(0.1)

    async def _connected(self, broker: SiteBroker) -> None:
        async with Client(
            broker.host,
            broker.port,
            identifier="gremlin",
            protocol=aiomqtt.ProtocolVersion.V5,
            tls_context=broker.context(),
        ) as client:
            await self._haunt(client)

    async def _haunt(self, client: aiomqtt.Client) -> None:
        await client.subscribe("edgegate/1/+/feed", qos=1)
        await client.subscribe("edgegate/1/+/ledger/+", qos=1)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._repeat(client))
            async for message in client.messages:
                assert isinstance(message.payload, bytes)
                self._heard.append((str(message.topic), message.payload))
                del self._heard[:-200]

    async def _repeat(self, client: aiomqtt.Client) -> None:
        while True:
            await asyncio.sleep(self._chance.uniform(0.05, 0.4))
            for topic, payload in self._chance.sample(self._heard, min(3, len(self._heard))):
                self.repeated += 1
                await client.publish(topic, payload, qos=1)


async def shake_broker(rig: Rig, chance: Random, done: Counter[str]) -> None:
    """Restart the broker, which then knows nothing any more, or let it hang; now and then."""
    broker = rig.broker
    assert broker is not None
    while True:
        await asyncio.sleep(chance.uniform(1.0, 5.0))
        if chance.random() < 0.5:
            done["broker restarted"] += 1
            # Shielded: a broker that is half stopped would be left behind.
            await asyncio.shield(asyncio.to_thread(broker.restart))
        else:
            done["broker hung"] += 1
            broker.pause()
            try:
                await asyncio.sleep(chance.uniform(0.2, 2.0))
            finally:
                broker.resume()


@asynccontextmanager
async def stranger(directory: Path) -> AsyncIterator[tuple[int, list[str]]]:
    """A server that is not the cloud, and whatever is asked says that everything was counted."""
    heard: list[str] = []

    async def lie(request: web.Request) -> web.Response:
        heard.append(request.path)
        counted = LedgerAnswer(epoch=2**31 - 1, counted=10**6)
        return web.Response(body=msgspec.json.encode(counted), content_type="application/json")

    identity = Authority(directory).issue("localhost")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(identity.certificate, identity.key)
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", lie)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
        yield runner.addresses[0][1], heard
    finally:
        await runner.cleanup()
