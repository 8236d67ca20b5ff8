"""Devices of one site, a real mosquitto between them, and no cloud (M-01)."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

from msgspec.structs import replace

from edgegate.checkin import enter
from edgegate.passes.facts import Request
from edgegate.passes.happenings import Closed, Granted
from edgegate.passes.model import Balance, Channel, Counted, Customer, Location, Pass
from edgegate.passes.model import Door as RecordOfDoor
from edgegate.passes.payment import Decision
from edgegate.passes.reasons import ClosingReason, Reason
from edgegate.store import ledger, sync_state
from edgegate.store.chain import Entry
from edgegate.store.ledger import Draft, EntryType
from edgegate.store.sync_state import Place
from edgegate_sync.appliance.link import Broker as Address
from edgegate_sync.appliance.link import Incoming, Link, Message, Timing
from edgegate_sync.appliance.peers import Peers
from edgegate_sync.appliance.upload import read_beside
from edgegate_sync.wire.errors import encode
from edgegate_sync.wire.events import encode_batch
from edgegate_sync.wire.peers import PeerHead, PeerRequest
from edgegate_sync.wire.topics import Topics
from rig.brokers import SITE, Broker, broker, context_of, running, until
from rig.devices import AT, Device, debit

__all__ = ["broker"]

TOPICS = Topics(SITE)
MILL = Location(id="mill")
TEN = Pass(id="ten", holder="ana", amount=10)
QUICK = Timing(timeout_s=2.0, heartbeat_s=0.1, retry_first_s=0.02, retry_max_s=0.1)


class Door:
    """A device among its peers."""

    def __init__(self, device: Device, broker: Broker) -> None:
        self.device = device
        self.peers = Peers(
            SITE,
            device.name,
            thread=device.thread,
            state_dir=device.state_dir,
            publish=self._publish,
        )
        self.link = Link(
            (Address(host=broker.server.host, port=broker.server.port),),
            f"{SITE}/{device.name}",
            tls=lambda: context_of(broker.identities[device.name]),
            will=Message(TOPICS.state(device.name), b"{}", retain=True),
            heartbeat=self.peers.heartbeat,
            subscriptions=self.peers.subscriptions(),
            on_up=self.peers.wake,
            timing=QUICK,
        )

    async def _publish(self, message: Message) -> None:
        await self.link.publish(message)

    async def spend(self, amount: int = 1, session: str = "") -> None:
        """Debit the pass, as a tap does."""
        name = session or f"{self.device.name}-visit"
        await self.device.happen(debit("ten", name, amount))
        self.peers.wake()

    async def left(self) -> int:
        return (await self.device.remaining([TEN]))["ten"]

    async def finds(self, left: int) -> bool:
        return await self.left() == left


@asynccontextmanager
async def door(
    broker: Broker, directory: Path, name: str, *records: Balance
) -> AsyncIterator[Door]:
    async with Device(directory, name) as device:
        await device.put(TEN, *records)
        found = Door(device, broker)
        await found.peers.load()
        async with running(found.link.run(), found.peers.run()):
            await until(lambda: found.link.is_up)
            yield found


async def test_what_one_spends_the_other_counts(broker: Broker, tmp_path: Path) -> None:
    async with door(broker, tmp_path, "front") as front, door(broker, tmp_path, "back") as back:
        await front.spend(9)
        await until(lambda: back.finds(1))
        await back.spend(1)
        await until(lambda: front.finds(0))
        assert await back.left() == 0
        assert front.peers.rejected == back.peers.rejected == 0


async def test_what_was_spent_while_one_was_away_is_fetched(broker: Broker, tmp_path: Path) -> None:
    async with door(broker, tmp_path, "front") as front:
        for _ in range(3):
            await front.spend()
        await front.device.report(200)
        await front.spend()
        async with door(broker, tmp_path, "back") as back:
            await until(lambda: back.finds(6))
            head = (await front.device.entries())[-1]
            place = Place(head.epoch, head.sequence)
            await until(lambda: has_all(back, "front", place))


async def has_all(door: Door, device: str, head: Place) -> bool:
    gap = partial(sync_state.first_gap, device=device, head=head)
    return await read_beside(door.device.ledger, gap) is None


async def test_a_broker_that_loses_everything_loses_no_debit(
    broker: Broker, tmp_path: Path
) -> None:
    async with door(broker, tmp_path, "front") as front, door(broker, tmp_path, "back") as back:
        await front.spend()
        await until(lambda: back.finds(9))
        broker.server.kill()
        await until(lambda: not front.link.is_up and not back.link.is_up)
        await front.spend(2)
        await back.spend(3)
        await asyncio.to_thread(broker.server.start)
        await until(lambda: front.finds(4))
        await until(lambda: back.finds(4))


async def test_what_the_cloud_has_counted_of_a_peer_is_not_counted_twice(
    broker: Broker, tmp_path: Path
) -> None:
    async with door(broker, tmp_path, "front") as front:
        await front.spend(1)
        await front.spend(2)
        first, _ = await front.device.entries()
        counted = Counted(epoch=first.epoch, sequence=first.sequence)
        balance = Balance(pass_=TEN.id, remaining=9, counted={"front": counted})
        async with door(broker, tmp_path, "back", balance) as back:
            await until(lambda: back.finds(7))
            assert back.peers.applied == 1


def batch_of(entries: list[Entry]) -> bytes:
    return encode_batch(entries).body


def incoming(payload: bytes, topic: str = "") -> Incoming:
    return Incoming(
        topic or TOPICS.ledger("front"),
        payload,
        retained=False,
        response_topic=None,
        correlation=None,
    )


@asynccontextmanager
async def pair(directory: Path) -> AsyncIterator[tuple[Device, Device, Peers, list[Message]]]:
    """The front's ledger, and the back's peers without a broker."""
    sent: list[Message] = []

    async def publish(message: Message) -> None:
        sent.append(message)

    async with Device(directory, "front") as front, Device(directory, "back") as back:
        await back.put(TEN)
        peers = Peers(SITE, "back", thread=back.thread, state_dir=back.state_dir, publish=publish)
        await peers.load()
        yield front, back, peers, sent


async def test_the_same_entries_in_any_order_count_once(tmp_path: Path) -> None:
    async with pair(tmp_path) as (front, back, peers, _):
        await front.happen(*(debit("ten", "front-visit") for _ in range(4)))
        entries = await front.entries()
        for some in ([entries[3]], entries[1:3], entries, entries[::-1]):
            await peers._on_entries(incoming(batch_of(some)))
        assert await back.remaining([TEN]) == {"ten": 6}
        assert (peers.applied, peers.rejected) == (4, 0)


async def test_entries_that_are_not_sound_or_not_its_own_count_for_nothing(tmp_path: Path) -> None:
    async with pair(tmp_path) as (front, back, peers, _):
        await front.happen(debit("ten", "front-visit"))
        (entry,) = await front.entries()
        data = (entry.data or b"").replace(b'"amount":1', b'"amount":9')
        assert data != entry.data
        for payload in (
            b"{",
            b"[{}]",
            b"[" * 5000,
            batch_of([replace(entry, data=data)]),
            batch_of([replace(entry, source="edgegate/mill/other")]),
            batch_of([replace(entry, source="edgegate/elsewhere/front")]),
        ):
            await peers._on_entries(incoming(payload))
        await peers._on_entries(incoming(batch_of([entry]), TOPICS.ledger("other")))
        await peers._on_entries(incoming(batch_of([entry]), TOPICS.ledger("back")))
        await peers._on_head(incoming(b"nonsense", TOPICS.ledger_head("front")))
        assert await back.remaining([TEN]) == {"ten": 10}
        assert peers.rejected == 7
        await peers._on_entries(incoming(batch_of([entry])))
        assert await back.remaining([TEN]) == {"ten": 9}


async def test_an_entry_that_cannot_be_carried_over_holds_up_none(tmp_path: Path) -> None:
    async with pair(tmp_path) as (front, back, peers, _):
        huge = Draft(type=EntryType.PASS_DEBITED, at=AT, data=debit("ten", "front-visit", 2**70))
        strange = Draft(type=EntryType.ACCESS_GRANTED, at=AT, data={"who": 7})
        await front.thread.run(
            lambda s: ledger.append(s.ledger, [huge, strange], front.stamp) and None
        )
        await front.happen(debit("ten", "front-visit"))
        await peers._on_entries(incoming(batch_of(await front.entries())))
        assert await back.remaining([TEN]) == {"ten": 9}
        assert (peers.applied, peers.rejected) == (1, 2)


async def test_a_request_is_answered_to_a_device_of_the_site_alone(tmp_path: Path) -> None:
    async with pair(tmp_path) as (_, back, peers, sent):
        await back.report(100)
        epoch = (await back.entries())[0].epoch
        request = encode(PeerRequest(epoch=epoch, after=90))
        topic = TOPICS.ledger_request("back")
        for whither in (None, "elsewhere", TOPICS.state("front"), TOPICS.command("front")):
            message = incoming(request, topic)._replace(response_topic=whither)
            await peers._on_request(message)
        assert sent == []
        good = incoming(request, topic)._replace(response_topic=TOPICS.ledger_answer("front"))
        await peers._on_request(good._replace(payload=b"?"))
        assert sent == []
        await peers._on_request(good._replace(correlation=b"7"))
        assert sent[0].topic == TOPICS.ledger_answer("front")
        assert sent[0].correlation == b"7"
        assert sent[0].payload == batch_of((await back.entries())[90:])


async def test_a_peers_visit_stays_its_own_and_tells_where_somebody_is(tmp_path: Path) -> None:
    async with pair(tmp_path) as (front, back, peers, _):
        granted = Granted(
            location="mill",
            channel=Channel.DOOR,
            customer="ana",
            reason=Reason.PASS,
            day=AT.date(),
            session="front-visit",
        )
        covering = replace(debit("ten", "front-visit"), covers=True, visit_only=True)
        closed = Closed(
            session="front-visit",
            customer="ana",
            location="mill",
            at=AT,
            reason=ClosingReason.EXIT,
        )
        await front.happen(covering, granted)
        await peers._on_entries(incoming(batch_of(await front.entries())))
        assert await back.thread.run(lambda _: back.books.sessions()) == []
        assert await back.thread.run(lambda _: back.books.last_move("ana", "mill")) == ("entry", AT)
        covers = "SELECT count(*) FROM coverage"
        assert await back.thread.run(lambda s: s.ledger.execute(covers).fetchone()) == (1,)
        await front.happen(closed)
        await peers._on_entries(incoming(batch_of((await front.entries())[2:])))
        assert await back.thread.run(lambda s: s.ledger.execute(covers).fetchone()) == (0,)
        assert await back.thread.run(lambda _: back.books.last_move("ana", "mill")) == ("exit", AT)


async def test_an_old_head_of_a_peer_asks_for_nothing(tmp_path: Path) -> None:
    async with pair(tmp_path) as (front, _, peers, sent):
        await front.report(3)
        entries = await front.entries()
        await peers._on_entries(incoming(batch_of(entries)))
        head = PeerHead(epoch=entries[0].epoch, sequence=1, hash="0" * 64)
        async with running(peers.run()):
            await peers._on_head(incoming(encode(head), TOPICS.ledger_head("front")))
            await until(lambda: not peers._gaps.is_set())
            await asyncio.sleep(0.05)
        assert sent == []


async def test_two_doors_with_the_cloud_away_spend_one_last_use_once(
    broker: Broker, tmp_path: Path
) -> None:
    """Whoever comes second is covered by what was spent, and another day nothing is left."""
    last = Pass(id="last", holder="eve", amount=1)
    eve = Customer(id="eve")

    async def tap(at: Door, on: datetime) -> Decision:
        door = RecordOfDoor(id=at.device.name, location="mill")
        request = Request(at=on, location=MILL, channel=Channel.DOOR, door=door)
        outcome = await at.device.thread.run(lambda _: enter(at.device.books, request, eve))
        at.peers.wake()
        return outcome.decision

    async def knows_of_it(at: Door) -> bool:
        return await at.device.remaining([last]) == {"last": 0}

    async with door(broker, tmp_path, "front") as front, door(broker, tmp_path, "back") as back:
        for each in (front, back):
            await each.device.put(last, eve, MILL)
        assert (await tap(front, AT)).opens
        await until(lambda: knows_of_it(back))
        assert (await tap(back, AT + timedelta(minutes=1))).opens
        spent = [
            entry
            for each in (front, back)
            for entry in await each.device.entries()
            if entry.type == EntryType.PASS_DEBITED
        ]
        assert [entry.device for entry in spent] == ["front"]
        assert not (await tap(back, AT + timedelta(days=1))).opens
        assert not (await tap(front, AT + timedelta(days=1))).opens
