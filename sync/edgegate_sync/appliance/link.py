"""The connection to the MQTT broker: made again and again, watched, and never relied upon.

What goes through it are hints and short-lived requests: whatever is lost with a connection is asked
for by whoever needs it when the next one is up. Each connection is a new client (an aiomqtt client
is used once), subscribes anew whether or not the broker kept a session, and is given up as soon as
a heartbeat is not acknowledged: a peer that vanished without a word would else go unnoticed.
"""

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from functools import partial
from typing import Any, Literal, NamedTuple

import aiomqtt
from msgspec import Struct
from paho.mqtt.client import ConnectFlags
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from edgegate.ports import OperatingError
from edgegate_sync.appliance.backoff import Backoff
from edgegate_sync.cancelling import apart
from edgegate_sync.mqtt import Client

log = logging.getLogger(__name__)

PACKET_BYTES_MAX = 1_310_720
"""The largest message the broker may send: a batch of 1 MiB, and what goes around it."""

INBOX_MAX = 256
INBOX_BYTES_MAX = 4 * 1_048_576
"""What may wait to be shared out; a message beyond that is dropped and counted."""

SESSION_S = 3600
"""How long the broker is asked to keep what comes while the connection is down."""

WEBSOCKET_PATIENCE = 3.0
"""mosquitto 2.0 sends 4 KiB every 100 ms over WebSocket, and an acknowledgement waits its turn."""

GOODBYE_S = 1.0
"""How long the end waits to say that the device is off."""


class LinkDownError(OperatingError):
    """There is no connection to the broker, or it broke before the message was acknowledged."""


class Broker(Struct, frozen=True, kw_only=True):
    """Where the broker is; WebSocket goes where a network lets nothing but 443 out."""

    host: str
    port: int = 8883
    transport: Literal["tcp", "websockets"] = "tcp"
    path: str = "/mqtt"


class Timing(Struct, frozen=True, kw_only=True):
    """How soon a broken connection is noticed and made again."""

    keepalive_s: int = 30
    timeout_s: float = 10.0
    """How long connecting, subscribing and an acknowledgement may take."""
    heartbeat_s: float = 10.0
    retry_first_s: float = 0.5
    retry_max_s: float = 60.0


class Incoming(NamedTuple):
    """A message from the broker."""

    topic: str
    payload: bytes
    retained: bool
    response_topic: str | None
    correlation: bytes | None


class Subscription(Struct, frozen=True, kw_only=True):
    """A topic filter, and who takes its messages.

    At most `waiting_max` wait; one more is dropped, counted, and told by `on_lost`.
    """

    topic: str
    handle: Callable[[Incoming], Awaitable[None]]
    own_too: bool = False
    """Whether what this client itself published comes back."""
    workers: int = 1
    waiting_max: int = 64
    on_lost: Callable[[], object] = lambda: None


class Message(NamedTuple):
    """What is published."""

    topic: str
    payload: bytes
    retain: bool = False
    response_topic: str | None = None
    correlation: bytes | None = None
    expires_s: int | None = None


class Link:
    """One device's connection to its broker. `run` keeps it up; everything else may be called."""

    def __init__(  # noqa: PLR0913 - its parts, each by name
        self,
        brokers: tuple[Broker, ...],
        identifier: str,
        *,
        tls: Callable[[], ssl.SSLContext],
        will: Message,
        heartbeat: Callable[[], Message],
        subscriptions: Iterable[Subscription],
        on_up: Callable[[], object] = lambda: None,
        on_down: Callable[[str], object] = lambda _why: None,
        on_fault: Callable[[str, Exception], object] = lambda _topic, _error: None,
        timing: Timing = Timing(),  # noqa: B008 - a frozen value
    ) -> None:
        """Prepare a connection that `run` makes.

        Args:
            brokers: the ways to it; when one fails, the next is tried.
            identifier: the MQTT client identifier, the same each time.
            tls: makes the TLS context, on a thread, for each connection: certificates are renewed.
            will: what the broker publishes when the connection breaks.
            heartbeat: what to publish every so often; its acknowledgement shows life.
            subscriptions: what to listen to.
            on_up: called each time a connection is there and subscribed.
            on_down: called with the reason when there is none, and when the reason changes.
            on_fault: called with the topic and what a handler unexpectedly raised.
            timing: how soon what is noticed.
        """
        self._brokers, self._way = brokers, 0
        self._identifier = identifier
        self._tls = tls
        self._will = will
        self._heartbeat = heartbeat
        self._on_up = on_up
        self._on_down = on_down
        self._on_fault = on_fault
        self._timing = timing
        self._desks = [_Desk(subscription) for subscription in subscriptions]
        self._client: _Client | None = None
        self._backoff = Backoff(timing.retry_first_s, timing.retry_max_s)
        self.connects = 0
        """How often a connection came about, since the start."""
        self.session_present = False
        """Whether the broker had kept the session of the connection before."""
        self.dropped = 0
        """Messages that found no room; `faults`: those whose handler failed unexpectedly."""
        self.faults = 0
        self.detail = "not connected yet"

    @property
    def _broker(self) -> Broker:
        return self._brokers[self._way % len(self._brokers)]

    @property
    def is_up(self) -> bool:
        """Whether there is a connection, subscribed and ready."""
        return self._client is not None

    async def run(self) -> None:
        """Keep the connection up, for ever."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._keep_up(), name="link connection")
            for desk in self._desks:
                for number in range(desk.subscription.workers):
                    name = f"link {desk.subscription.topic} {number}"
                    group.create_task(self._serve(desk), name=name)

    async def publish(self, message: Message) -> None:
        """Publish a message and return once the broker has acknowledged it.

        Raises:
            LinkDownError: it is not known to have arrived; the connection is given up.
        """
        client = self._client
        if client is None:
            raise LinkDownError(f"no connection to the broker: {self.detail}")
        try:
            await client.send(message)
        except aiomqtt.MqttError as error:
            client.broken.set()
            raise LinkDownError(f"the broker did not take a message: {error}") from error

    async def _keep_up(self) -> None:
        while True:
            connects = self.connects
            try:
                await apart(self._connect_and_listen())
            except* (aiomqtt.MqttError, OSError) as errors:
                # Certificate and key are read anew for each connection, and may be missing.
                self._note_down(errors.exceptions[0])
            if self.connects == connects:
                self._way += 1
            await asyncio.sleep(self._backoff.delay_s())

    def _note_down(self, error: BaseException) -> None:
        detail = str(error) or type(error).__name__
        if detail != self.detail:
            log.warning("no connection to the broker %s: %s", self._broker.host, detail)
            self.detail = detail
            self._on_down(detail)

    async def _connect_and_listen(self) -> None:
        async with self._new_client(await asyncio.to_thread(self._tls)) as client:
            try:
                await self._subscribe(client)
                self._began(client)
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._receive(client), name="link receive")
                    group.create_task(self._beat(client), name="link heartbeat")
                    group.create_task(_until_broken(client), name="link watch")
            except asyncio.CancelledError:
                await _say_goodbye(client, self._will)
                raise
            finally:
                self._client = None

    def _began(self, client: "_Client") -> None:
        self._client = client
        self.connects += 1
        self.session_present = client.session_present
        self.detail = ""
        self._backoff.reset()
        kept = "kept" if client.session_present else "did not keep"
        log.info("connected to the broker %s, which %s the session", self._broker.host, kept)
        self._on_up()

    def _new_client(self, context: ssl.SSLContext) -> "_Client":
        will = self._will
        is_websocket = self._broker.transport == "websockets"
        return _Client(
            self._broker.host,
            self._broker.port,
            identifier=self._identifier,
            protocol=aiomqtt.ProtocolVersion.V5,
            clean_start=False,
            properties=_connect_properties(),
            will=aiomqtt.Will(will.topic, will.payload, qos=1, retain=will.retain),
            transport=self._broker.transport,
            websocket_path=self._broker.path if is_websocket else None,
            tls_context=context,
            keepalive=self._timing.keepalive_s,
            timeout=self._timing.timeout_s * (WEBSOCKET_PATIENCE if is_websocket else 1.0),
            queue_type=partial(_Inbox, on_full=self._note_dropped),
            max_queued_incoming_messages=INBOX_MAX,
        )

    async def _subscribe(self, client: "_Client") -> None:
        for desk in self._desks:
            options = SubscribeOptions(
                qos=1,
                noLocal=not desk.subscription.own_too,
                # Else a message retained by mistake would look fresh to whoever listens already.
                retainAsPublished=True,
            )
            codes = await client.subscribe(desk.subscription.topic, options=options)
            if any(isinstance(code, ReasonCode) and code.is_failure for code in codes):
                # Up but deaf it would keep the long poll away; the cloud may not have told it yet.
                raise aiomqtt.MqttError(f"the broker refuses the topic {desk.subscription.topic}")

    async def _receive(self, client: "_Client") -> None:
        async for message in client.messages:
            incoming = _incoming(message)
            for desk in self._desks:
                if message.topic.matches(desk.subscription.topic):
                    desk.take(incoming, self._note_dropped)

    async def _beat(self, client: "_Client") -> None:
        while True:
            await client.send(self._heartbeat())
            await asyncio.sleep(self._timing.heartbeat_s)

    def _note_dropped(self) -> None:
        self.dropped += 1

    async def _serve(self, desk: "_Desk") -> None:
        while True:
            message = await desk.waiting.get()
            try:
                await desk.subscription.handle(message)
            except OperatingError as error:
                log.warning("a message on %s could not be handled: %s", message.topic, error)
            except Exception as error:  # the boundary of one message: the connection stays up
                self.faults += 1
                log.exception("a message on %s broke its handler", message.topic)
                self._on_fault(message.topic, error)


class _Desk:
    """A subscription with what waits for it."""

    def __init__(self, subscription: Subscription) -> None:
        self.subscription = subscription
        self.waiting: asyncio.Queue[Incoming] = asyncio.Queue(subscription.waiting_max)

    def take(self, message: Incoming, on_dropped: Callable[[], object]) -> None:
        try:
            self.waiting.put_nowait(message)
        except asyncio.QueueFull:
            on_dropped()
            self.subscription.on_lost()


class _Inbox(asyncio.Queue[aiomqtt.Message]):
    """aiomqtt's queue, limited in bytes too; what it drops is counted, not only logged."""

    def __init__(self, maxsize: int, *, on_full: Callable[[], object]) -> None:
        super().__init__(maxsize)
        self._on_full = on_full
        self._bytes = 0

    def put_nowait(self, item: aiomqtt.Message) -> None:
        if self.full() or self._bytes + len(item.payload) > INBOX_BYTES_MAX:
            self._on_full()
            raise asyncio.QueueFull
        self._bytes += len(item.payload)
        super().put_nowait(item)

    def get_nowait(self) -> aiomqtt.Message:
        item = super().get_nowait()
        self._bytes -= len(item.payload)
        return item


class _Client(Client):
    """A client that says whether the session was kept, and hears that it is broken."""

    session_present = False

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.broken = asyncio.Event()

    def _on_connect(
        self,
        client: Any,
        userdata: Any,
        flags: ConnectFlags,
        reason_code: ReasonCode,
        properties: Properties | None = None,
    ) -> None:
        self.session_present = flags.session_present
        super()._on_connect(client, userdata, flags, reason_code, properties)

    async def send(self, message: Message) -> None:
        """Publish with QoS 1; returns once acknowledged."""
        properties = _publish_properties(message)
        await self.publish(message.topic, message.payload, 1, message.retain, properties)


async def _until_broken(client: _Client) -> None:
    await client.broken.wait()
    raise aiomqtt.MqttError("the broker does not acknowledge what is sent")


async def _say_goodbye(client: _Client, will: Message) -> None:
    """Say what the broker says of a broken connection: a proper end makes it forget that."""
    with suppress(aiomqtt.MqttError, TimeoutError):
        async with asyncio.timeout(GOODBYE_S):
            await client.send(will)


def _connect_properties() -> Properties:
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho's is untyped
    properties.SessionExpiryInterval = SESSION_S
    properties.MaximumPacketSize = PACKET_BYTES_MAX
    return properties


def _publish_properties(message: Message) -> Properties | None:
    properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]  # paho's is untyped
    if message.response_topic is not None:
        properties.ResponseTopic = message.response_topic
    if message.correlation is not None:
        properties.CorrelationData = message.correlation
    if message.expires_s is not None:
        properties.MessageExpiryInterval = message.expires_s
    return properties


def _incoming(message: aiomqtt.Message) -> Incoming:
    properties = message.properties
    return Incoming(
        topic=str(message.topic),
        payload=message.payload,
        retained=message.retain,
        response_topic=getattr(properties, "ResponseTopic", None),
        correlation=getattr(properties, "CorrelationData", None),
    )
