"""The connection to the broker, with a real mosquitto: it comes back from whatever broke it."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from edgegate_sync.appliance.link import (
    Broker as Address,
)
from edgegate_sync.appliance.link import (
    Incoming,
    Link,
    LinkDownError,
    Message,
    Subscription,
    Timing,
)
from edgegate_sync.wire.topics import Topics
from rig.authority import Authority
from rig.brokers import SITE, Broker, broker, context_of, next_of, running, until

__all__ = ["broker"]

TOPICS = Topics(SITE)
QUICK = Timing(timeout_s=1.0, heartbeat_s=0.1, retry_first_s=0.05, retry_max_s=0.2)


class Heard:
    """What a link brought, and how often it came up."""

    def __init__(self) -> None:
        self.messages: list[Incoming] = []
        self.ups = 0
        self.faults: list[Exception] = []

    async def take(self, message: Incoming) -> None:
        self.messages.append(message)

    def up(self) -> None:
        self.ups += 1


def link_of(
    broker: Broker,
    heard: Heard,
    handle: Callable[[Incoming], Awaitable[None]] | None = None,
    *,
    device: str = "front",
    addresses: tuple[Address, ...] = (),
    timing: Timing = QUICK,
    waiting_max: int = 64,
) -> Link:
    identity = broker.identities[device]
    feed = Subscription(topic=TOPICS.feed, handle=handle or heard.take, waiting_max=waiting_max)
    return Link(
        addresses or (Address(host=broker.server.host, port=broker.server.port),),
        f"{SITE}/{device}",
        tls=lambda: context_of(identity),
        will=Message(TOPICS.state(device), b'{"online":false}', retain=True),
        heartbeat=lambda: Message(TOPICS.ledger_head(device), b"{}"),
        subscriptions=[feed],
        on_up=heard.up,
        on_fault=lambda _topic, error: heard.faults.append(error),
        timing=timing,
    )


async def test_a_message_of_the_cloud_arrives_and_one_of_ours_is_acknowledged(
    broker: Broker,
) -> None:
    heard = Heard()
    link = link_of(broker, heard)
    async with broker.cloud(TOPICS.state("+")) as cloud, running(link.run()):
        await until(lambda: link.is_up)
        await cloud.publish(TOPICS.feed, b"news", qos=1)
        await until(lambda: heard.messages)
        assert heard.messages[0].payload == b"news"
        assert not heard.messages[0].retained
        await link.publish(Message(TOPICS.state("front"), b"state", retain=True))
        assert (await next_of(cloud)).payload == b"state"


async def test_over_websocket_it_is_the_same(broker: Broker) -> None:
    heard = Heard()
    address = Address(
        host=broker.server.host, port=broker.server.websocket_port, transport="websockets"
    )
    link = link_of(broker, heard, addresses=(address,))
    async with broker.cloud() as cloud, running(link.run()):
        await until(lambda: link.is_up)
        await cloud.publish(TOPICS.feed, b"x" * 20_000, qos=1)
        await until(lambda: heard.messages)
        assert len(heard.messages[0].payload) == 20_000


async def test_where_one_way_is_blocked_the_other_is_taken(broker: Broker) -> None:
    heard = Heard()
    blocked = Address(host=broker.server.host, port=1)
    open_way = Address(
        host=broker.server.host, port=broker.server.websocket_port, transport="websockets"
    )
    link = link_of(broker, heard, addresses=(blocked, open_way))
    async with running(link.run()):
        await until(lambda: link.is_up)


async def test_a_broker_that_lost_all_sessions_is_subscribed_to_anew(broker: Broker) -> None:
    heard = Heard()
    link = link_of(broker, heard)
    async with running(link.run()):
        await until(lambda: heard.ups == 1)
        await asyncio.to_thread(broker.server.restart)
        await until(lambda: heard.ups == 2 and link.is_up)
        assert not link.session_present
        async with broker.cloud() as cloud:
            await cloud.publish(TOPICS.feed, b"again", qos=1)
            await until(lambda: heard.messages)


async def test_a_session_that_was_kept_brings_what_came_meanwhile(broker: Broker) -> None:
    heard = Heard()
    async with running(link_of(broker, heard).run()):
        await until(lambda: heard.ups == 1)
    async with broker.cloud() as cloud:
        await cloud.publish(TOPICS.feed, b"meanwhile", qos=1)
    again = link_of(broker, heard)
    async with running(again.run()):
        await until(lambda: heard.messages)
    assert again.session_present
    assert heard.messages[0].payload == b"meanwhile"


async def test_a_broker_that_hangs_is_given_up_and_found_again(broker: Broker) -> None:
    heard = Heard()
    link = link_of(broker, heard)
    async with running(link.run()):
        await until(lambda: link.is_up)
        broker.server.pause()
        try:
            await until(lambda: not link.is_up, "the half-open connection was not noticed: it")
            with pytest.raises(LinkDownError):
                await link.publish(Message(TOPICS.state("front"), b"lost"))
        finally:
            broker.server.resume()
        await until(lambda: link.is_up)


async def test_a_publish_that_is_not_acknowledged_ends_the_connection(broker: Broker) -> None:
    heard = Heard()
    slow_heart = Timing(timeout_s=0.5, heartbeat_s=600, retry_first_s=0.05, retry_max_s=0.2)
    link = link_of(broker, heard, timing=slow_heart)
    async with running(link.run()):
        await until(lambda: link.is_up)
        # Behind it the first heartbeat is acknowledged too.
        await link.publish(Message(TOPICS.state("front"), b"arrives"))
        broker.server.pause()
        try:
            with pytest.raises(LinkDownError):
                await link.publish(Message(TOPICS.state("front"), b"lost"))
            await until(lambda: not link.is_up)
        finally:
            broker.server.resume()
        await until(lambda: link.is_up)


async def test_the_will_is_told_when_the_device_vanishes_and_when_it_ends(broker: Broker) -> None:
    heard = Heard()
    async with broker.cloud(TOPICS.state("front")) as cloud:
        link = link_of(broker, heard)
        async with running(link.run()):
            await until(lambda: link.is_up)
        assert (await next_of(cloud)).payload == b'{"online":false}'
        again = link_of(broker, heard)
        async with running(again.run()):
            await until(lambda: again.is_up)
            assert again._client is not None
            again._client._client._sock_close()
            assert (await next_of(cloud)).payload == b'{"online":false}'


async def test_a_handler_that_fails_is_counted_and_the_next_message_is_taken(
    broker: Broker,
) -> None:
    heard = Heard()

    async def handle(message: Incoming) -> None:
        if message.payload == b"poison":
            raise ZeroDivisionError
        await heard.take(message)

    link = link_of(broker, heard, handle)
    async with broker.cloud() as cloud, running(link.run()):
        await until(lambda: link.is_up)
        await cloud.publish(TOPICS.feed, b"poison", qos=1)
        await cloud.publish(TOPICS.feed, b"good", qos=1)
        await until(lambda: heard.messages)
        assert link.faults == 1
        assert isinstance(heard.faults[0], ZeroDivisionError)
        assert link.connects == 1


async def test_what_finds_no_room_is_dropped_and_counted(broker: Broker) -> None:
    heard = Heard()
    may_go_on = asyncio.Event()

    async def handle(message: Incoming) -> None:
        await may_go_on.wait()
        await heard.take(message)

    link = link_of(broker, heard, handle, waiting_max=2)
    async with broker.cloud() as cloud, running(link.run()):
        await until(lambda: link.is_up)
        for number in range(5):
            await cloud.publish(TOPICS.feed, str(number), qos=1)
        await until(lambda: link.dropped == 2)
        may_go_on.set()
        await until(lambda: len(heard.messages) == 3)
        assert [m.payload for m in heard.messages] == [b"0", b"1", b"2"]


async def test_a_certificate_of_another_authority_is_refused(
    broker: Broker, tmp_path: Path
) -> None:
    heard = Heard()
    stranger = Authority(tmp_path / "other").issue(f"{SITE}/front")
    broker.identities["front"] = stranger._replace(ca=broker.admin.ca)
    link = link_of(broker, heard)
    async with running(link.run()):
        await until(lambda: link.detail not in ("", "not connected yet"))
        assert not link.is_up
        assert heard.ups == 0


async def test_a_device_cannot_publish_in_anothers_name(broker: Broker) -> None:
    heard = Heard()
    link = link_of(broker, heard)
    async with broker.cloud(TOPICS.state("+")) as cloud, running(link.run()):
        await until(lambda: link.is_up)
        await link.publish(Message(TOPICS.state("back"), b"forged"))
        await link.publish(Message(TOPICS.state("front"), b"own"))
        assert (await next_of(cloud)).payload == b"own"


async def test_a_broker_that_comes_late_is_found(broker: Broker) -> None:
    heard = Heard()
    broker.server.stop()
    link = link_of(broker, heard)
    async with running(link.run()):
        await until(lambda: "refused" in link.detail)
        await asyncio.to_thread(broker.server.start)
        await until(lambda: link.is_up)
        assert link.detail == ""
