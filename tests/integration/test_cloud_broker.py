"""The cloud with a real mosquitto: mutual TLS, dynamic security, feed, states, commands."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiomqtt
import pytest

from edgegate_sync.cloud.broker import BrokerAddress
from edgegate_sync.cloud.devices import note_state
from edgegate_sync.cloud.tls import client_context
from edgegate_sync.wire.changes import decode_message
from edgegate_sync.wire.commands import CommandOutcome, Reply, public_key, verify
from edgegate_sync.wire.enrolment import Broker
from edgegate_sync.wire.errors import encode
from rig.authority import Identity
from rig.clouds import Caller, RunningCloud, running, until
from rig.mosquitto import ADMIN, Mosquitto

pytest_plugins = ("rig.cloud_fixtures",)

FEED = "edgegate/1/north/feed"
STATE = {
    "at": "2026-11-22T12:00:00Z",
    "version": "0.4.0",
    "boot": "boot-1",
    "uptime_s": 5,
    "head": 0,
    "ledger": {"epoch": 1, "sequence": 0},
    "clock": "trusted",
}


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[Mosquitto]:
    with Mosquitto(tmp_path / "mosquitto") as broker:
        yield broker


@pytest.fixture
async def cloud(
    database_url: str, tmp_path: Path, mosquitto: Mosquitto
) -> AsyncIterator[RunningCloud]:
    me = mosquitto.authority.issue(ADMIN)
    async with running(
        database_url,
        tmp_path,
        broker=BrokerAddress(host=mosquitto.host, port=mosquitto.port),
        broker_ca=me.ca,
        broker_certificate=me.certificate,
        broker_key=me.key,
        broker_told=Broker(host="mqtt.test"),
    ) as made:
        link = made.cloud.broker
        assert link is not None
        async with asyncio.timeout(60):
            await link.connected.wait()
        yield made


@asynccontextmanager
async def joined(
    mosquitto: Mosquitto, identity: Identity, *topics: str
) -> AsyncIterator[aiomqtt.Client]:
    """A client of the broker with that certificate."""
    context = client_context(identity.ca, identity.certificate, identity.key)
    async with aiomqtt.Client(
        mosquitto.host,
        mosquitto.port,
        tls_context=context,
        protocol=aiomqtt.ProtocolVersion.V5,
        keepalive=10,
    ) as client:
        for topic in topics:
            await client.subscribe(topic, qos=1)
        yield client


async def refused(client: aiomqtt.Client, topic: str) -> bool:
    """Whether the broker refuses a subscription; its reason codes from 128 on say so (MQTT 5)."""
    (code,) = await client.subscribe(topic, qos=1)
    return (code if isinstance(code, int) else code.value) >= 128


async def heard(client: aiomqtt.Client) -> aiomqtt.Message:
    async with asyncio.timeout(60):
        return await anext(aiter(client.messages))


def payload(message: aiomqtt.Message) -> bytes:
    assert isinstance(message.payload, bytes)
    return message.payload


async def let_in(cloud: RunningCloud, mosquitto: Mosquitto, name: str) -> Identity:
    """Enrol a device, and wait until the broker has been told of it."""
    before = cloud.cloud.counters.counts["broker_commands", ""]
    await cloud.enrol(name)
    await until(lambda: cloud.cloud.counters.counts["broker_commands", ""] > before)
    # The rig's broker trusts its own authority; the name is what counts for its rights.
    return mosquitto.authority.issue(f"north/{name}")


async def test_what_is_written_comes_as_a_message_that_continues_the_last(
    cloud: RunningCloud, mosquitto: Mosquitto
) -> None:
    admin = await cloud.admin()
    device = await let_in(cloud, mosquitto, "door")
    async with joined(mosquitto, device, FEED) as client:
        head = 0
        for name in ("a", "b"):
            await admin.put("team", {"id": name})
            message = decode_message(payload(await heard(client)))
            assert (message.prev, message.head) == (head, head + 1)
            assert [change.id for change in message.changes] == [name]
            head = message.head
        path = "/admin/v1/sites/north/records"
        items = [{"kind": "team", "id": str(n), "body": {"id": str(n)}} for n in range(300)]
        await admin.ask("POST", f"{path}?all_or_nothing=1", json=items)
        hint = decode_message(payload(await heard(client)))
        assert (hint.prev, hint.head, hint.is_hint) == (2, 302, True)


async def test_what_was_written_while_the_broker_was_away_is_published_then(
    cloud: RunningCloud, mosquitto: Mosquitto
) -> None:
    admin = await cloud.admin()
    device = await let_in(cloud, mosquitto, "door")
    link = cloud.cloud.broker
    assert link is not None
    mosquitto.stop()
    await until(lambda: not link.connected.is_set())
    for name in ("a", "b", "c"):
        assert (await admin.put("team", {"id": name})).status == 200
    mosquitto.add_device("north", "door")
    mosquitto.start()
    async with joined(mosquitto, device, FEED) as client:
        message = decode_message(payload(await heard(client)))
        # It may be that the cloud was there before this listener.
        while message.head < 3:
            message = decode_message(payload(await heard(client)))
        assert message.head == 3


async def test_a_state_is_kept_and_a_last_will_keeps_the_state(
    cloud: RunningCloud, mosquitto: Mosquitto
) -> None:
    admin = await cloud.admin()
    device = await let_in(cloud, mosquitto, "door")
    topic = "edgegate/1/north/devices/door/state"

    async def shown(online: bool) -> dict[str, Any]:
        async with asyncio.timeout(60):
            while True:
                found: dict[str, Any] = (
                    await admin.ask("GET", "/admin/v1/sites/north/devices/door")
                ).json
                if found.get("online", False) is online and found["state"] is not None:
                    return found
                await asyncio.sleep(0.05)

    async with joined(mosquitto, device) as client:
        await client.publish(topic, b"{broken", qos=1)
        await client.publish(topic, json.dumps(STATE).encode(), qos=1, retain=True)
        assert (await shown(online=True))["state"]["boot"] == "boot-1"
        await client.publish(topic, b'{"online":false}', qos=1, retain=True)
        assert (await shown(online=False))["state"]["boot"] == "boot-1"


async def test_a_command_is_signed_and_its_reply_comes_back(
    cloud: RunningCloud, mosquitto: Mosquitto
) -> None:
    admin = await cloud.admin()
    device = await let_in(cloud, mosquitto, "door")
    link = cloud.cloud.broker
    assert link is not None
    async with cloud.cloud.database.writing() as writing:
        await note_state(writing, "north", "door", json.dumps(STATE).encode())
    public = public_key((await cloud.cloud.keys.command("north")).public)

    async def obey(client: aiomqtt.Client) -> None:
        message = await heard(client)
        assert not message.retain
        properties = message.properties
        assert properties is not None
        assert properties.MessageExpiryInterval <= 10  # type: ignore[attr-defined]  # paho sets them by name
        checked = verify(
            payload(message), public, device="door", boot="boot-1", now=datetime.now(UTC)
        )
        assert checked.refusal is None
        assert checked.command is not None
        reply = Reply(id=checked.command.id, outcome=CommandOutcome.DONE, detail="open")
        await client.publish(properties.ResponseTopic, encode(reply), qos=1)  # type: ignore[attr-defined]  # paho sets them by name

    path = "/admin/v1/sites/north/devices/door/commands"
    async with joined(mosquitto, device, "edgegate/1/north/devices/door/command") as client:
        obeying = asyncio.create_task(obey(client))
        told = await admin.ask("POST", path, json={"name": "unlock", "args": {"door": "front"}})
        await obeying
    assert told.status == 200, told.body
    assert (told.json["outcome"], told.json["detail"]) == ("done", "open")
    assert not link._replies


async def test_a_device_that_does_not_answer_is_said_so(
    cloud: RunningCloud, mosquitto: Mosquitto, monkeypatch: pytest.MonkeyPatch
) -> None:
    admin = await cloud.admin()
    await cloud.enrol("door")
    async with cloud.cloud.database.writing() as writing:
        await note_state(writing, "north", "door", json.dumps(STATE).encode())
    monkeypatch.setattr("edgegate_sync.cloud.broker.LIFETIME_S", 1)
    path = "/admin/v1/sites/north/devices/door/commands"
    assert (await admin.ask("POST", path, json={"name": "identify"})).status == 504
    mosquitto.kill()
    link = cloud.cloud.broker
    assert link is not None
    await until(lambda: not link.connected.is_set())
    assert (await admin.ask("POST", path, json={"name": "identify"})).status == 503


async def thrown_out(admin: Caller, mosquitto: Mosquitto, device: Identity) -> None:
    async with joined(mosquitto, device, FEED) as client:
        await admin.ask("POST", "/admin/v1/sites/north/devices/door/revoke")
        await heard(client)


async def test_a_revoked_device_is_thrown_out_and_has_no_rights_left(
    cloud: RunningCloud, mosquitto: Mosquitto
) -> None:
    admin = await cloud.admin()
    device = await let_in(cloud, mosquitto, "door")
    other = await let_in(cloud, mosquitto, "gate")
    async with joined(mosquitto, other, FEED) as staying:
        with pytest.raises(aiomqtt.MqttError):
            await thrown_out(admin, mosquitto, device)
        await admin.put("team", {"id": "a"})
        assert decode_message(payload(await heard(staying))).head == 1
        # It may connect again, as its certificate is still good for the broker: for nothing.
        async with joined(mosquitto, device) as client:
            assert await refused(client, FEED)
    # A new claim lets it in again.
    again = await let_in(cloud, mosquitto, "door")
    async with joined(mosquitto, again, FEED) as client:
        await admin.put("team", {"id": "b"})
        assert decode_message(payload(await heard(client))).head == 2


async def test_a_device_cannot_write_the_feed_or_hear_anothers_commands(
    cloud: RunningCloud, mosquitto: Mosquitto
) -> None:
    device = await let_in(cloud, mosquitto, "door")
    other = await let_in(cloud, mosquitto, "gate")
    async with joined(mosquitto, device) as client:
        for topic in ("edgegate/1/north/devices/gate/command", "edgegate/1/#", "$CONTROL/#"):
            assert await refused(client, topic)
    async with joined(mosquitto, other, FEED) as listening, joined(mosquitto, device) as client:
        await client.publish(FEED, b'{"prev":0,"head":9}', qos=0)
        await (await cloud.admin()).put("team", {"id": "a"})
        assert decode_message(payload(await heard(listening))).head == 1
