"""Some devices of a fleet, thin and true to the protocol: run by `fleet.py`, as a process.

Each has its own certificate, an MQTT session that the broker keeps, a copy of its site's records
and a ledger of its own. It pulls what it missed, notes when it applied what, says its state, and
sends batches of a chained ledger. What it is to do it reads as lines of JSON, and answers each.
"""

import asyncio
import json
import ssl
import sys
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiomqtt
import msgspec
from aiohttp import ClientSession, ClientTimeout, TCPConnector
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from bench.fleet_ledger import batches_of
from edgegate.ports import ClockTrust
from edgegate_sync.wire.changes import Change, Op, Trailer, decode_line, decode_message
from edgegate_sync.wire.errors import encode
from edgegate_sync.wire.events import BATCH_TYPE, decode_answer
from edgegate_sync.wire.state import DeviceState, LastWill, LedgerState
from edgegate_sync.wire.topics import Topics

JOINING_AT_ONCE = 8
SENDING_AT_ONCE = 8
"""Per process: as many as would otherwise only wait for one another."""

SESSION_S = 3600
KEEPALIVE_S = 60
CALL_S_MAX = 120.0
STATE_EVERY_S = 60.0


class Fleet(msgspec.Struct, frozen=True, kw_only=True):
    """What a process of devices is told at its start."""

    directory: str
    """Where `<site>_<device>.pem` and `.key` of each are, and `ca.pem`."""
    devices: list[tuple[str, str]]
    """Site and name of each."""
    workers: list[str]
    """Where the cloud's workers are; a device stays with one."""
    broker: tuple[str, int]


@dataclass
class Device:
    """One thin device."""

    site: str
    name: str
    url: str
    context: ssl.SSLContext
    http: ClientSession
    head: int = 0
    records: dict[tuple[str, str], bytes] = field(default_factory=dict)
    applied: list[tuple[int, float]] = field(default_factory=list)
    """Each new head, and when it was applied (seconds of the machine's monotonic clock)."""
    pulls: int = 0
    link: asyncio.Task[None] | None = None
    begun_s: float = field(default_factory=time.monotonic)

    async def pull(self) -> None:
        """Take what is after the head; without the trailer nothing of it counts."""
        self.pulls += 1
        url = f"{self.url}/v1/feed?after={self.head}"
        async with self.http.get(url, ssl=self.context) as response:
            response.raise_for_status()
            lines = [decode_line(line) for line in (await response.read()).splitlines()]
        trailer = lines.pop()
        if not isinstance(trailer, Trailer):
            raise TypeError("a feed without its trailer")
        self._apply([line for line in lines if isinstance(line, Change)], trailer.head)

    async def send(self, body: bytes) -> int:
        """Send a batch; up to where the ledger counts then."""
        headers = {"Content-Type": BATCH_TYPE}
        url = f"{self.url}/v1/ledger"
        async with self.http.post(url, data=body, headers=headers, ssl=self.context) as response:
            response.raise_for_status()
            return decode_answer(await response.read()).counted

    async def listen(self, broker: tuple[str, int], listening: asyncio.Event) -> None:
        """Stay connected, apply what is pushed, and pull what was missed."""
        topics = Topics(self.site)
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho's is untyped
        properties.SessionExpiryInterval = SESSION_S
        async with aiomqtt.Client(
            *broker,
            identifier=f"{self.site}/{self.name}",
            protocol=aiomqtt.ProtocolVersion.V5,
            clean_start=False,
            properties=properties,
            will=aiomqtt.Will(topics.state(self.name), encode(LastWill()), qos=1, retain=True),
            tls_context=self.context,
            keepalive=KEEPALIVE_S,
            timeout=CALL_S_MAX,
        ) as client:
            await client.subscribe(topics.feed, qos=1)
            await client.publish(topics.state(self.name), self._state(), qos=1, retain=True)
            await self.pull()
            listening.set()
            async with asyncio.TaskGroup() as group:
                group.create_task(self._tell(client))
                async for message in client.messages:
                    await self._hear(bytes(message.payload))

    async def _hear(self, payload: bytes) -> None:
        message = decode_message(payload)
        if message.head <= self.head:
            return
        if message.prev == self.head and not message.is_hint:
            self._apply(message.changes, message.head)
        else:
            await self.pull()

    def _apply(self, changes: Any, head: int) -> None:
        for change in changes:
            if change.op is Op.PUT:
                self.records[change.kind, change.id] = change.raw
            else:
                self.records.pop((change.kind, change.id), None)
        self.head = head
        self.applied.append((head, time.monotonic()))

    async def _tell(self, client: aiomqtt.Client) -> None:
        while True:
            await asyncio.sleep(STATE_EVERY_S)
            topic = Topics(self.site).state(self.name)
            await client.publish(topic, self._state(), qos=1, retain=True)

    def _state(self) -> bytes:
        state = DeviceState(
            at=datetime.now(UTC),
            version="bench",
            boot="bench",
            uptime_s=int(time.monotonic() - self.begun_s),
            head=self.head,
            ledger=LedgerState(epoch=1, sequence=0),
            clock=ClockTrust.TRUSTED,
        )
        return encode(state)


class Process:
    """The devices of one process, and what they are told to do."""

    def __init__(self, fleet: Fleet, http: ClientSession) -> None:
        self._fleet = fleet
        self._devices = [
            Device(site, name, fleet.workers[number % len(fleet.workers)], context, http)
            for number, (site, name) in enumerate(fleet.devices)
            for context in [self._context(site, name)]
        ]
        self._batches: dict[int, list[bytes]] = {}

    def _context(self, site: str, name: str) -> ssl.SSLContext:
        top = Path(self._fleet.directory)
        context = ssl.create_default_context(cafile=top / "ca.pem")
        stem = top / f"{site}_{name}"
        context.load_cert_chain(stem.with_suffix(".pem"), stem.with_suffix(".key"))
        return context

    async def join(self) -> dict[str, Any]:
        """Connect all devices, and let each pull."""
        gate = asyncio.Semaphore(JOINING_AT_ONCE)
        async with asyncio.TaskGroup() as group:
            for device in self._devices:
                group.create_task(self._join(device, gate))
        return {"joined": len(self._devices)}

    async def _join(self, device: Device, gate: asyncio.Semaphore) -> None:
        async with gate:
            listening = asyncio.Event()
            device.link = asyncio.create_task(device.listen(self._fleet.broker, listening))
            waiting = asyncio.create_task(listening.wait())
            await asyncio.wait((device.link, waiting), return_when=asyncio.FIRST_COMPLETED)
            if device.link.done():
                device.link.result()

    async def applied(self, heads: dict[str, int]) -> dict[str, Any]:
        """Once every device is at its site's head: when each applied what."""
        async with asyncio.timeout(CALL_S_MAX):
            while any(device.head < heads.get(device.site, 0) for device in self._devices):
                for device in self._devices:
                    if device.link is not None and device.link.done():
                        device.link.result()
                await asyncio.sleep(0.05)
        told = [(device.site, device.applied) for device in self._devices]
        pulls = sum(device.pulls for device in self._devices)
        for device in self._devices:
            device.applied = []
        return {"applied": told, "pulls": pulls}

    async def write(self, entries: int, size: int, first: int, count: int) -> dict[str, Any]:
        """Write some devices' ledgers, in batches: so that sending is all that is timed."""
        self._batches = {}
        for number in range(first, first + count):
            device = self._devices[number]
            self._batches[number] = batches_of(device.site, device.name, entries, size)
        return {"bytes": sum(len(body) for each in self._batches.values() for body in each)}

    async def upload(self) -> dict[str, Any]:
        """Send all that was written, of each device in order."""
        gate = asyncio.Semaphore(SENDING_AT_ONCE)
        async with asyncio.TaskGroup() as group:
            sending = [
                group.create_task(self._upload(self._devices[number], bodies, gate))
                for number, bodies in self._batches.items()
            ]
        return {"counted": sum(task.result() for task in sending)}

    async def _upload(self, device: Device, bodies: list[bytes], gate: asyncio.Semaphore) -> int:
        counted = 0
        for body in bodies:
            async with gate:
                counted = await device.send(body)
        return counted

    async def leave(self) -> dict[str, Any]:
        """End all connections."""
        links = [device.link for device in self._devices if device.link is not None]
        for link in links:
            link.cancel()
        if links:
            await asyncio.wait(links)
        return {}


async def main() -> None:
    """Do what is asked until there is nothing more to read."""
    loop = asyncio.get_running_loop()
    fleet = msgspec.json.decode(await loop.run_in_executor(None, sys.stdin.readline), type=Fleet)
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(
            ClientSession(
                connector=TCPConnector(limit=SENDING_AT_ONCE, keepalive_timeout=60),
                timeout=ClientTimeout(total=CALL_S_MAX),
            )
        )
        process = Process(fleet, http)
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            asked = json.loads(line)
            told = await getattr(process, asked.pop("do"))(**asked)
            print(json.dumps(told), flush=True)
        await process.leave()


if __name__ == "__main__":
    asyncio.run(main())
