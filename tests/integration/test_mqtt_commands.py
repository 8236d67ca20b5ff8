"""Commands over a real mosquitto: a fresh one acts once, all others are refused and recorded."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiomqtt
import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from edgegate.ports import ClockTrust
from edgegate.store import ledger
from edgegate.store.files import Store
from edgegate.store.ledger import Draft, EntryType
from edgegate_sync.appliance.commands import CommandRecord, Commands
from edgegate_sync.appliance.link import Broker as Address
from edgegate_sync.appliance.link import Incoming, Link, Message
from edgegate_sync.wire.commands import (
    Command,
    CommandOutcome,
    Refusal,
    Reply,
    decode_reply,
    sign,
)
from edgegate_sync.wire.topics import Topics
from rig.brokers import SITE, Broker, broker, context_of, next_of, running, until
from rig.devices import AT, Device, Hands, StillClock

__all__ = ["broker"]

TOPICS = Topics(SITE)
TOPIC = TOPICS.command("front")
BOOT = "this-boot"


def record_command(device: Device, record: CommandRecord, store: Store) -> None:
    draft = Draft(type=EntryType.DEVICE_DRIVER, at=AT, data=record)
    ledger.append(store.ledger, [draft], device.stamp)


class Bench:
    """A device that takes commands, and the cloud's client that gives them."""

    def __init__(self, device: Device) -> None:
        self.device = device
        self.key = Ed25519PrivateKey.generate()
        self.hands = Hands()
        self.clock = StillClock()
        self.sent: list[Message] = []
        self.publish: Any = self._keep
        self.commands = Commands(
            SITE,
            "front",
            boot=BOOT,
            key=self.key.public_key,
            clock=self.clock,
            thread=device.thread,
            acts=self.hands,
            publish=self._publish,
            write=lambda record, store: record_command(device, record, store),
            record_every_s=0.05,
        )

    async def has_refused(self, count: int) -> bool:
        return sum(r.count for r in await self.recorded()) == count

    async def _publish(self, message: Message) -> None:
        await self.publish(message)

    async def _keep(self, message: Message) -> None:
        self.sent.append(message)

    def command(self, number: int = 1, **changes: Any) -> Command:
        fields: dict[str, Any] = {
            "id": f"command-{number:010}",
            "device": "front",
            "name": "unlock",
            "args": {"door": "front"},
            "expires_at": AT + timedelta(seconds=10),
            "boot": BOOT,
        }
        return Command(**(fields | changes))

    def signed(self, number: int = 1, **changes: Any) -> bytes:
        return sign(self.command(number, **changes), self.key)

    async def recorded(self) -> list[CommandRecord]:
        return [
            msgspec.json.decode(entry.data, type=CommandRecord)
            for entry in await self.device.entries()
            if entry.data is not None
        ]


class Wired:
    """The bench with its link, and the cloud's client."""

    def __init__(self, bench: Bench, link: Link, cloud: aiomqtt.Client) -> None:
        self.bench = bench
        self.link = link
        self.cloud = cloud

    async def give(self, payload: bytes, *, retain: bool = False) -> Reply:
        properties: Any = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]  # paho's is untyped
        properties.ResponseTopic = TOPICS.reply("front")
        properties.CorrelationData = b"17"
        await self.cloud.publish(TOPIC, payload, qos=1, retain=retain, properties=properties)
        message = await next_of(self.cloud)
        assert getattr(message.properties, "CorrelationData", None) == b"17"
        return decode_reply(message.payload)


@asynccontextmanager
async def wired(broker: Broker, directory: Path) -> AsyncIterator[Wired]:
    async with Device(directory) as device, broker.cloud(TOPICS.reply("front")) as cloud:
        bench = Bench(device)
        link = Link(
            (Address(host=broker.server.host, port=broker.server.port),),
            f"{SITE}/front",
            tls=lambda: context_of(broker.identities["front"]),
            will=Message(TOPICS.state("front"), b"{}", retain=True),
            heartbeat=lambda: Message(TOPICS.ledger_head("front"), b"{}"),
            subscriptions=[bench.commands.subscription()],
        )
        bench.publish = link.publish
        async with running(link.run(), bench.commands.run()):
            await until(lambda: link.is_up)
            yield Wired(bench, link, cloud)


async def test_a_fresh_command_opens_and_its_id_was_on_disk_before(
    broker: Broker, tmp_path: Path
) -> None:
    async with wired(broker, tmp_path) as w:
        before: list[int] = []
        unlock = w.bench.hands.unlock

        async def looking(door: str, for_s: float | None) -> str:
            before.append(len(await w.bench.recorded()))
            return await unlock(door, for_s)

        w.bench.hands.unlock = looking  # type: ignore[method-assign]  # one act of the fake
        reply = await w.give(w.bench.signed(args={"door": "front", "for_s": 7}))
        assert reply == Reply(
            id="command-0000000001", outcome=CommandOutcome.DONE, detail="front is open"
        )
        assert w.bench.hands.done == [("unlock", "front", 7.0)]
        assert before == [1]
        assert [r.outcome for r in await w.bench.recorded()] == ["accepted"]


async def test_what_must_not_act_is_refused_and_recorded(broker: Broker, tmp_path: Path) -> None:
    async with wired(broker, tmp_path) as w:
        bench = w.bench
        stranger = Ed25519PrivateKey.generate()
        tampered = json.loads(bench.signed(9))
        tampered["command"] = tampered["command"].replace("front", "back")
        refused = {
            bench.signed(2, expires_at=AT): Refusal.EXPIRED,
            bench.signed(3, expires_at=AT + timedelta(seconds=16)): Refusal.TOO_FAR_AHEAD,
            bench.signed(4, boot="the boot before"): Refusal.WRONG_BOOT,
            bench.signed(5, device="back"): Refusal.FOREIGN,
            sign(bench.command(6), stranger): Refusal.FOREIGN,
            json.dumps(tampered).encode(): Refusal.FOREIGN,
            b"{": Refusal.MALFORMED,
            b"": Refusal.MALFORMED,
            b" " * 16_385: Refusal.MALFORMED,
            bench.signed(7, name="dance"): Refusal.UNKNOWN,
        }
        for payload, refusal in refused.items():
            reply = await w.give(payload)
            assert (reply.outcome, reply.refusal) == (CommandOutcome.REFUSED, refusal)
        assert bench.hands.done == []
        assert bench.commands.refused == len(refused)
        await until(lambda: bench.has_refused(len(refused)))
        assert {r.refusal for r in await bench.recorded()} == {r.value for r in refused.values()}
        assert (await w.give(bench.signed(8))).outcome is CommandOutcome.DONE


async def test_a_repeated_command_acts_once_even_after_a_restart(
    broker: Broker, tmp_path: Path
) -> None:
    async with wired(broker, tmp_path) as w:
        payload = w.bench.signed()
        assert (await w.give(payload)).outcome is CommandOutcome.DONE
        assert (await w.give(payload)).refusal is Refusal.REPEATED
        assert len(w.bench.hands.done) == 1
    async with Device(tmp_path) as device:
        bench = Bench(device)
        # The boot nonce would refuse it; the id alone does as well.
        assert not await device.thread.run(
            lambda store: bench.commands._claim(bench.command(), AT, store)
        )


@pytest.mark.parametrize("is_there_before", [True, False])
async def test_a_retained_command_is_refused(
    broker: Broker, tmp_path: Path, is_there_before: bool
) -> None:
    async with wired(broker, tmp_path) as w:
        payload = w.bench.signed()
        if not is_there_before:
            assert (await w.give(payload, retain=True)).refusal is Refusal.RETAINED
        else:
            await w.link.publish(Message(TOPICS.state("front"), b"{}"))
            w.link._client.broken.set()  # type: ignore[union-attr]  # it is up
            await until(lambda: not w.link.is_up)
            assert (await w.give(payload, retain=True)).refusal is Refusal.RETAINED
        assert w.bench.hands.done == []
        await until(lambda: w.bench.has_refused(1))
        assert [r.refusal for r in await w.bench.recorded()] == ["retained"]


async def test_a_long_act_does_not_let_an_unlock_wait(broker: Broker, tmp_path: Path) -> None:
    async with wired(broker, tmp_path) as w:
        may_end = asyncio.Event()

        async def logs() -> str:
            await may_end.wait()
            return "at last"

        w.bench.hands.logs = logs  # type: ignore[method-assign]  # one act of the fake
        await w.cloud.publish(TOPIC, w.bench.signed(1, name="logs", args={}), qos=1)
        assert (await w.give(w.bench.signed(2))).detail == "front is open"
        may_end.set()
        assert decode_reply((await next_of(w.cloud)).payload).detail == "at last"


async def test_every_name_reaches_its_act_or_is_said_to_be_unsupported(tmp_path: Path) -> None:
    async with Device(tmp_path) as device:
        bench = Bench(device)
        names = ("pull", "identify", "self_test", "logs", "reload", "reboot", "update")
        for number, name in enumerate(names):
            await bench.commands.handle(incoming(bench.signed(number, name=name, args={})))
        await bench.commands.handle(incoming(bench.signed(20, name="lockdown", args={})))
        doors = {"doors": "front, back"}
        await bench.commands.handle(incoming(bench.signed(21, name="release", args=doors)))
        assert bench.hands.done == [
            *((name,) for name in names[:5]),
            ("lockdown", ()),
            ("release", ("front", "back")),
        ]
        replies = [decode_reply(message.payload) for message in bench.sent]
        assert [r.detail for r in replies if r.refusal] == [
            "unsupported: reboot",
            "unsupported: update",
        ]


@pytest.mark.parametrize(
    ("args", "detail"),
    [
        ({}, "unlock needs the name of a door"),
        ({"door": 3}, "unlock needs the name of a door"),
        ({"door": "front", "for_s": 0}, "for_s must be 1 to 3600 seconds"),
        ({"door": "front", "for_s": True}, "for_s must be 1 to 3600 seconds"),
        ({"door": "absent"}, "there is no door absent"),
        ({"door": "broken"}, "the strike is gone"),
        ({"door": "poison"}, "internal error: ZeroDivisionError()"),
    ],
)
async def test_what_cannot_be_done_fails_with_its_reason(
    tmp_path: Path, args: dict[str, Any], detail: str
) -> None:
    async with Device(tmp_path) as device:
        bench = Bench(device)
        await bench.commands.handle(incoming(bench.signed(args=args)))
        reply = decode_reply(bench.sent[0].payload)
        assert (reply.outcome, reply.detail) == (CommandOutcome.FAILED, detail)
        assert [r.outcome for r in await bench.recorded()] == ["accepted", "failed"]


async def test_an_untrusted_clock_leaves_boot_and_once(tmp_path: Path) -> None:
    async with Device(tmp_path) as device:
        bench = Bench(device)
        bench.clock.at = AT.replace(year=1970)
        bench.clock.trusted = ClockTrust.UNTRUSTED
        for payload in (bench.signed(), bench.signed(), bench.signed(2, boot="other")):
            await bench.commands.handle(incoming(payload))
        refusals = [decode_reply(message.payload).refusal for message in bench.sent]
        assert refusals == [None, Refusal.REPEATED, Refusal.WRONG_BOOT]


async def test_without_its_record_nothing_is_done(tmp_path: Path) -> None:
    async with Device(tmp_path) as device:
        bench = Bench(device)
        await device.thread.close()
        await bench.commands.handle(incoming(bench.signed()))
        assert decode_reply(bench.sent[0].payload).refusal is Refusal.BUSY
        assert bench.hands.done == []


async def test_a_flood_of_refusals_is_few_entries_that_say_how_many(tmp_path: Path) -> None:
    async with Device(tmp_path) as device:
        bench = Bench(device)
        async with running(bench.commands.run()):
            await bench.commands.handle(incoming(b"{"))
            await until(bench.recorded)
            for _ in range(300):
                await bench.commands.handle(incoming(b"{"))
            await until(lambda: bench.has_refused(301))
        assert len(await bench.recorded()) < 60


def incoming(payload: bytes) -> Incoming:
    return Incoming(TOPIC, payload, retained=False, response_topic=None, correlation=None)
