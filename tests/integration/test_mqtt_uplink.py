"""The whole exchange of one appliance: cloud and broker real servers, each there or away."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from edgegate.bookkeeper import Bookkeeper
from edgegate.clock import SystemClock
from edgegate.config import BrokerSection, CloudSection
from edgegate.passes.model import Customer
from edgegate.ports import ClockTrust, DriverStatus
from edgegate.store import cache, ledger, sync_state
from edgegate.store.files import Store
from edgegate.store.ledger import EntryType, Stamp
from edgegate.store.projection import rebuild
from edgegate.store.thread import DatabaseThread
from edgegate.supervisor import StatusBoard
from edgegate_sync.appliance import uplink as uplink_module
from edgegate_sync.appliance.uplink import Parts, Uplink, brokers_of
from edgegate_sync.appliance.upload import read_beside
from edgegate_sync.wire import enrolment
from edgegate_sync.wire.changes import encode_message
from edgegate_sync.wire.commands import Command, CommandOutcome, decode_reply, sign
from edgegate_sync.wire.state import DeviceState, LastWill, decode_state
from edgegate_sync.wire.topics import Topics
from rig.brokers import SITE, Broker, broker, context_of, next_of, running, until
from rig.devices import AT, Hands
from rig.ledger_cloud import LedgerCloud

__all__ = ["broker"]

TOPICS = Topics(SITE)


class Papers:
    """An identity without an enrolment."""

    def __init__(self, context: ssl.SSLContext, key: Ed25519PublicKey) -> None:
        self._context = context
        self._key = key

    def tls(self) -> ssl.SSLContext:
        return self._context

    def command_key(self) -> Ed25519PublicKey | None:
        return self._key

    def broker(self) -> enrolment.Broker | None:
        return None

    def expires_at(self) -> datetime | None:
        return AT


class Trusted(SystemClock):
    """The machine's clock, whatever the kernel thinks of it."""

    def trust(self) -> ClockTrust:
        return ClockTrust.TRUSTED


class Box:
    """An appliance without doors."""

    def __init__(self, state_dir: Path, cloud: LedgerCloud, broker: Broker | None) -> None:
        self.state_dir = state_dir
        self.cloud = cloud
        self.key = Ed25519PrivateKey.generate()
        self.hands = Hands()
        self.reached: list[datetime | None] = []
        self.board = StatusBoard()
        self.thread: DatabaseThread[Store] = DatabaseThread(lambda _fault: None)
        self.clock = Trusted()
        self.keeper = Bookkeeper(self.thread, self.stamp)
        own = None
        context = ssl.create_default_context()
        if broker is not None:
            own = BrokerSection(host=broker.server.host, port=broker.server.port)
            context = context_of(broker.identities["front"])
        self.uplink = Uplink(
            Parts(
                site=SITE,
                device="front",
                state_dir=state_dir,
                settings=CloudSection(url=cloud.url, wait_s=10, broker=own),
                identity=Papers(context, self.key.public_key()),
                keeper=self.keeper,
                thread=self.thread,
                clock=self.clock,
                stamp=self.stamp,
                board=self.board,
                acts=self.hands,
                note_reached=self.reached.append,
            )
        )

    def stamp(self) -> Stamp:
        return Stamp(
            source=f"edgegate/{SITE}/front",
            clock=ClockTrust.TRUSTED,
            boot_id="b",
            monotonic_s=1.0,
        )

    async def report(self, count: int) -> None:
        draft = ledger.Draft(type=EntryType.DOOR_OPENED, at=AT, data={})
        await self.thread.run(
            lambda s: ledger.append(s.ledger, [draft] * count, self.stamp()) and None
        )
        self.uplink.note_entries()

    async def has_customer(self, customer_id: str) -> bool:
        found = await self.thread.run(lambda s: cache.get(s.cache, cache.CUSTOMER, customer_id))
        return found is not None

    def status(self, name: str) -> DriverStatus | None:
        found = self.board.devices().get(name)
        return None if found is None else found.status


@asynccontextmanager
async def box(
    directory: Path, broker: Broker | None, cloud: LedgerCloud | None = None
) -> AsyncIterator[Box]:
    cloud = cloud or LedgerCloud()
    async with cloud.serving():
        found = Box(directory / "box", cloud, broker)
        await found.keeper.open(partial(Store.open, found.state_dir, rebuild=rebuild))
        try:
            async with running(found.uplink.run()):
                yield found
        finally:
            await found.thread.close()


def with_records() -> LedgerCloud:
    cloud = LedgerCloud()
    cloud.put("customer", Customer(id="zoe"))
    return cloud


async def test_with_cloud_and_broker_all_of_it_flows(
    broker: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uplink_module, "COMMAND_ENTRY", EntryType.DEVICE_DRIVER)
    cloud = LedgerCloud()
    cloud.put("customer", Customer(id="ana"))
    async with broker.cloud(TOPICS.reply("front")) as client, box(tmp_path, broker, cloud) as b:
        await until(lambda: b.uplink.link is not None and b.uplink.link.is_up)
        await until(lambda: b.has_customer("ana"))
        await b.report(3)
        await until(lambda: len(cloud.order) == 3)
        change = cloud.put("customer", Customer(id="ben"))
        await client.publish(TOPICS.feed, encode_message(1, 2, [change]), qos=1)
        await until(lambda: b.has_customer("ben"))
        pulls = len(cloud.pulls)
        cloud.put("customer", Customer(id="cleo"))
        gap = cloud.put("customer", Customer(id="dora"))
        await client.publish(TOPICS.feed, encode_message(3, 4, [gap]), qos=1)
        await until(lambda: b.has_customer("dora"))
        assert await b.has_customer("cleo")
        assert len(cloud.pulls) > pulls
        command = Command(
            id="0123456789abcdef",
            device="front",
            name="unlock",
            args={"door": "front"},
            expires_at=datetime.now(UTC) + timedelta(seconds=10),
            boot=b.uplink.boot,
        )
        await client.publish(TOPICS.command("front"), sign(command, b.key), qos=1)
        reply = decode_reply((await next_of(client)).payload)
        assert reply.outcome is CommandOutcome.DONE
        assert b.hands.done == [("unlock", "front", None)]
        await until(lambda: len(cloud.order) == 4)
        assert b.uplink.faults == 0


async def test_the_state_is_retained_and_says_how_it_is(broker: Broker, tmp_path: Path) -> None:
    async with box(tmp_path, broker) as b:
        await until(lambda: b.uplink.link is not None and b.uplink.link.is_up)
        b.board.note("reader card", DriverStatus.OFFLINE, "unplugged")
        b.uplink.note_change()
        await b.report(2)
        state = await retained_state(
            broker, lambda s: len(s.drivers) == 3 and s.ledger.sequence == 2
        )
        assert state.boot == b.uplink.boot
        assert {d.name: d.status for d in state.drivers} == {
            "cloud": "enabled",
            "broker": "enabled",
            "reader card": "offline",
        }
        assert state.disk is not None
        assert state.certificate_expires_at == AT
    async with broker.cloud(TOPICS.state("front")) as client:
        assert decode_state((await next_of(client)).payload) == LastWill()


async def retained_state(broker: Broker, is_it: Any) -> DeviceState:
    async with broker.cloud(TOPICS.state("front")) as client:
        while True:
            state = decode_state((await next_of(client)).payload)
            if isinstance(state, DeviceState) and is_it(state):
                return state


async def test_without_a_broker_changes_come_by_long_poll_and_the_state_is_put(
    tmp_path: Path,
) -> None:
    async with box(tmp_path, None, with_records()) as b:
        await until(lambda: 10 in b.cloud.pulls)
        b.cloud.put("customer", Customer(id="ana"))
        await until(lambda: b.has_customer("ana"))
        await until(lambda: b.cloud.states)
        assert msgspec.json.decode(b.cloud.states[0])["boot"] == b.uplink.boot
        await b.report(1)
        await until(lambda: len(b.cloud.order) == 1)


async def test_while_the_broker_is_away_changes_come_by_long_poll(
    broker: Broker, tmp_path: Path
) -> None:
    broker.server.stop()
    async with box(tmp_path, broker, with_records()) as b:
        await until(lambda: 10 in b.cloud.pulls)
        assert b.status("broker") is DriverStatus.OFFLINE
        b.cloud.put("customer", Customer(id="ana"))
        await until(lambda: b.has_customer("ana"))


async def test_when_the_cloud_was_last_reached_is_kept_for_the_lease(tmp_path: Path) -> None:
    cloud = with_records()
    async with box(tmp_path, None, cloud) as b:
        await until(lambda: len(b.reached) == 2)
        first, now = b.reached
        assert first is not None
        assert now is None
        cloud.is_away = True
        cloud.changed.set()
        cloud.put("customer", Customer(id="ana"))
        await until(lambda: len(b.reached) == 3)
        away_since = b.reached[2]
        assert away_since is not None
        assert b.status("cloud") is DriverStatus.OFFLINE
    noted = await read_beside(b.state_dir / "ledger.db", sync_state.reached_at)
    async with box(tmp_path, None, cloud) as b:
        await until(lambda: b.reached)
        assert b.reached[0] == noted
        cloud.is_away = False
        await until(lambda: b.reached[-1] is None)


async def test_a_fault_in_one_part_is_told_and_that_part_begins_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with box(tmp_path, None, with_records()) as b:
        await until(lambda: b.uplink.reach.is_reached)
        pull = b.uplink.feed.pull
        failed: list[int] = []

        async def failing(*args: Any) -> Any:
            if not failed:
                failed.append(1)
                raise ZeroDivisionError
            return await pull(*args)

        monkeypatch.setattr(b.uplink.feed, "pull", failing)
        b.cloud.put("customer", Customer(id="ana"))
        await until(lambda: failed)
        await until(lambda: b.uplink.faults == 1)
        b.cloud.put("customer", Customer(id="ben"))
        await until(lambda: b.has_customer("ben"))
        await b.report(1)
        await until(lambda: len(b.cloud.order) == 1)
        assert b.status("uplink pull") is DriverStatus.SELF_CHECK_FAILED


async def test_a_renewed_certificate_is_taken_up(tmp_path: Path) -> None:
    async with box(tmp_path, None) as b:
        await until(lambda: b.uplink.reach.is_reached)
        before = b.uplink.uploader
        b.uplink.note_renewed()
        await until(lambda: b.uplink.uploader is not before)
        await b.report(1)
        await until(lambda: len(b.cloud.order) == 1)


def test_the_sites_own_broker_goes_before_the_one_of_the_cloud() -> None:
    named = enrolment.Broker(host="cloud.example", websocket_port=443)
    own = CloudSection(url="https://c.example", broker=BrokerSection(host="lan"))
    assert [b.host for b in brokers_of(own, named)] == ["lan"]
    plain = CloudSection(url="https://c.example")
    ways = brokers_of(plain, named)
    assert [(w.port, w.transport) for w in ways] == [(8883, "tcp"), (443, "websockets")]
    assert brokers_of(plain, None) == ()
