"""The worker's connection to the broker: publishes, hears states and replies, and locks out.

The cloud works without it; devices then poll. A client is used for one connection only.
"""

import asyncio
import logging
import random
import secrets
import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import aiomqtt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec import Struct
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from edgegate_sync.cancelling import apart
from edgegate_sync.cloud import devices, dynsec, leases
from edgegate_sync.cloud.publisher import Publisher
from edgegate_sync.mqtt import Client
from edgegate_sync.wire.commands import (
    LIFETIME_S,
    Command,
    CommandName,
    Reply,
    decode_reply,
    sign,
)
from edgegate_sync.wire.errors import MalformedError, encode
from edgegate_sync.wire.state import DeviceState, decode_state
from edgegate_sync.wire.topics import Topics

if TYPE_CHECKING:
    from edgegate_sync.cloud.cloud import Cloud

STATES = "$share/cloud/edgegate/1/+/devices/+/state"
"""Each state is kept by one worker."""

REPLIES = "edgegate/1/+/devices/+/reply"
"""Every worker hears all replies: only one knows the command."""

QUEUE_MAX = 2000
"""Messages that wait here; beyond it the newest are lost. A state comes again within a minute."""

COMMANDS_MAX = 64
"""Commands of this worker that are under way at once."""

KEEPALIVE_S = 15
CALL_S_MAX = 10
BACKOFF_FIRST_S = 0.5
BACKOFF_MAX_S = 20
RECONCILE_EVERY_S = 20
LEASE = timedelta(seconds=45)

log = logging.getLogger(__name__)


class BrokerAwayError(RuntimeError):
    """There is no connection to the broker."""


class NoReplyError(TimeoutError):
    """The device did not answer while the command was fresh."""


class BrokerAddress(Struct, frozen=True, kw_only=True):
    """Where the cloud finds the broker, and as whom it comes."""

    host: str
    port: int = 8883
    username: str | None = None
    password: str | None = None
    security: bool = True
    """Whether the broker's clients are kept in its dynamic security plugin."""


class BrokerLink:
    """Connects, and connects again."""

    def __init__(
        self, cloud: "Cloud", address: BrokerAddress, tls: Callable[[], ssl.SSLContext | None]
    ) -> None:
        self._cloud = cloud
        self._address = address
        self._tls = tls
        self._publisher = Publisher(cloud.database, cloud.worker)
        self._client: aiomqtt.Client | None = None
        self._replies: dict[str, asyncio.Future[Reply]] = {}
        self._response: asyncio.Future[bytes] | None = None
        self._access = asyncio.Event()
        self.connected = asyncio.Event()

    def access_changed(self) -> None:
        """A device was let in or locked out."""
        self._access.set()

    async def run(self) -> None:
        """Stay connected until it is cancelled."""
        failures = 0
        while True:
            try:
                await apart(self._connected())
            except* (aiomqtt.MqttError, OSError, DBAPIError, PoolTimeoutError) as group:
                failures = 0 if self.connected.is_set() else failures + 1
                error = _first(group)[:300]
                log.warning("broker away", extra={"fields": {"error": error, "try": failures}})
                self._cloud.counters.count("broker_lost")
            self.connected.clear()
            cap_s = min(BACKOFF_MAX_S, BACKOFF_FIRST_S * 2 ** min(failures, 10))
            await asyncio.sleep(random.uniform(0, cap_s))  # noqa: S311 - jitter is no secret

    async def command(
        self,
        site: str,
        device: str,
        boot: str,
        name: CommandName,
        args: dict[str, Any],
        key: Ed25519PrivateKey,
    ) -> Reply:
        """Give a command and wait for what the device says of it.

        Raises:
            BrokerAwayError: if there is no connection, or too many commands are under way.
            NoReplyError: if the device said nothing while the command was fresh.
        """
        client = self._client
        if client is None or not self.connected.is_set() or len(self._replies) >= COMMANDS_MAX:
            raise BrokerAwayError("the broker is away")
        command = Command(
            id=secrets.token_urlsafe(16),
            device=device,
            name=name,
            args=args,
            expires_at=datetime.now(UTC) + timedelta(seconds=LIFETIME_S),
            boot=boot,
        )
        properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]  # paho's is untyped
        properties.MessageExpiryInterval = LIFETIME_S
        properties.ResponseTopic = Topics(site).reply(device)
        properties.CorrelationData = command.id.encode()
        reply: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._replies[command.id] = reply
        try:
            async with asyncio.timeout(LIFETIME_S):
                topic = Topics(site).command(device)
                await client.publish(topic, sign(command, key), qos=1, properties=properties)
                return await reply
        except TimeoutError:
            raise NoReplyError(f"{device} did not answer within {LIFETIME_S} s") from None
        except aiomqtt.MqttError as error:
            raise BrokerAwayError(str(error)) from error
        finally:
            del self._replies[command.id]

    async def _connected(self) -> None:
        tls = await asyncio.to_thread(self._tls)
        async with Client(
            self._address.host,
            self._address.port,
            username=self._address.username,
            password=self._address.password,
            identifier=f"cloud-{self._cloud.worker}",
            protocol=aiomqtt.ProtocolVersion.V5,
            timeout=CALL_S_MAX,
            keepalive=KEEPALIVE_S,
            max_queued_incoming_messages=QUEUE_MAX,
            tls_context=tls,
        ) as client:
            for topic in (STATES, REPLIES):
                await client.subscribe(topic, qos=1)
            if self._address.security:
                await client.subscribe(dynsec.RESPONSE, qos=1)
            self._client = client
            self.connected.set()
            log.info("broker connected")
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._hear(client), name="broker: hear")
                    group.create_task(self._publisher.run(self._publish), name="broker: publish")
                    if self._address.security:
                        group.create_task(self._guard(client), name="broker: guard")
            finally:
                self._client = None

    async def _publish(self, topic: str, payload: bytes) -> None:
        if self._client is None:
            raise aiomqtt.MqttError("not connected")
        await self._client.publish(topic, payload, qos=1)
        self._cloud.counters.count("feed_messages")

    async def _hear(self, client: aiomqtt.Client) -> None:
        async for message in client.messages:
            payload = message.payload if isinstance(message.payload, bytes) else b""
            topic = str(message.topic)
            if topic == dynsec.RESPONSE:
                if self._response is not None and not self._response.done():
                    self._response.set_result(payload)
                continue
            try:
                await self._take(topic, payload)
            except (MalformedError, ValueError):
                self._cloud.counters.count("messages_malformed")

    async def _take(self, topic: str, payload: bytes) -> None:
        site = topic.split("/")[2]
        name = Topics(site).device_of(topic)
        if topic.endswith("/reply"):
            reply = decode_reply(payload)
            waiting = self._replies.get(reply.id)
            if waiting is not None and not waiting.done():
                waiting.set_result(reply)
        elif name is not None:
            state = decode_state(payload)
            text = encode(state) if isinstance(state, DeviceState) else None
            async with self._cloud.database.writing() as writing:
                await devices.note_state(writing, site, name, text, online=text is not None)

    async def _guard(self, client: aiomqtt.Client) -> None:
        """Keep the broker's clients right; one worker at a time."""
        while True:
            self._access.clear()
            if await leases.take(self._cloud.database, "dynsec", self._cloud.worker, LEASE):
                try:
                    told = await dynsec.reconcile(self._cloud.database, partial(self._call, client))
                    self._cloud.counters.count("broker_commands", by=told)
                except dynsec.DynsecError as error:
                    log.warning("broker refuses", extra={"fields": {"error": str(error)[:300]}})
                    self._cloud.counters.count("broker_refused")
            try:
                async with asyncio.timeout(RECONCILE_EVERY_S):
                    await self._access.wait()
            except TimeoutError:
                continue

    async def _call(self, client: aiomqtt.Client, text: bytes) -> bytes:
        self._response = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(CALL_S_MAX):
                await client.publish(dynsec.REQUEST, text, qos=1)
                return await self._response
        except TimeoutError:
            raise dynsec.DynsecError("the broker has no dynamic security, or refuses it") from None
        finally:
            self._response = None


def _first(fault: BaseException) -> str:
    """What one of the faults in a group says, however deep it lies."""
    while isinstance(fault, BaseExceptionGroup):
        fault = fault.exceptions[0]
    return str(fault) or type(fault).__name__
