"""A connection to a broker ends when it is cancelled, at whatever moment that is."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import aiomqtt
import pytest

from edgegate_sync.mqtt import Client
from rig.brokers import WAIT_S, Broker, broker, context_of, until

__all__ = ["broker"]

TOPIC = "edgegate/1/mill/feed"


def client_of(broker: Broker, **more: Any) -> Client:
    return Client(
        broker.server.host,
        broker.server.port,
        protocol=aiomqtt.ProtocolVersion.V5,
        tls_context=context_of(broker.admin),
        **more,
    )


async def publish(client: Client) -> None:
    await client.publish(TOPIC, b"news", qos=1)


async def subscribe(client: Client) -> None:
    await client.subscribe(TOPIC, qos=1)


@pytest.mark.parametrize(("event", "ask"), [("on_publish", publish), ("on_subscribe", subscribe)])
async def test_a_cancelling_that_comes_with_the_answer_is_not_lost(
    broker: Broker, event: str, ask: Callable[[Client], Awaitable[None]]
) -> None:
    """As `asyncio.wait_for` loses it: then who publishes in a loop publishes for ever."""
    async with client_of(broker) as client:
        answered: Any = getattr(client._client, event)
        asked: asyncio.Task[None] | None = None

        def answer_and_cancel(*arguments: Any) -> None:
            answered(*arguments)
            assert asked is not None
            asked.cancel()

        setattr(client._client, event, answer_and_cancel)
        asked = asyncio.ensure_future(ask(client))
        await asyncio.wait((asked,), timeout=WAIT_S)
        assert asked.cancelled()


async def test_a_broker_that_does_not_answer_is_given_up(broker: Broker) -> None:
    async with client_of(broker, timeout=0.3) as client:
        broker.server.pause()
        try:
            with pytest.raises(aiomqtt.MqttError, match="timed out"):
                await publish(client)
        finally:
            broker.server.resume()


async def test_a_connection_that_is_just_being_made_can_be_cancelled(broker: Broker) -> None:
    async def connect() -> None:
        async with client_of(broker):
            raise AssertionError("the broker hangs")

    others = asyncio.all_tasks()
    broker.server.pause()
    try:
        connecting = asyncio.create_task(connect())
        await asyncio.sleep(0.1)
        connecting.cancel()
        await asyncio.wait((connecting,), timeout=WAIT_S)
        assert connecting.cancelled()
    finally:
        broker.server.resume()
    # Nothing of it is left when the broker answers after all.
    await until(lambda: asyncio.all_tasks() <= others)


async def fail_while_it_hangs(broker: Broker) -> None:
    async with client_of(broker, timeout=0.3):
        broker.server.pause()
        raise ZeroDivisionError


async def test_what_ended_the_block_is_told_also_where_the_broker_hangs(broker: Broker) -> None:
    try:
        with pytest.raises(ZeroDivisionError):
            await fail_while_it_hangs(broker)
    finally:
        broker.server.resume()
