"""Appliances without wires, each a process that can be killed: real store, line and exchange.

Run as a script it is a nursery: it has imported everything, and becomes a new appliance for each
connection to its socket, by fork, in a few milliseconds. Commands and replies are lines of JSON.
"""

import asyncio
import json
import logging
import os
import select
import signal
import socket
import sys
import time
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, cast

import msgspec

from edgegate.bookkeeper import Afterwards, Bookkeeper
from edgegate.config import BrokerSection, CloudSection
from edgegate.deadlines import settle
from edgegate.doors.runner import DoorRunner
from edgegate.line import Line, Passage, Place
from edgegate.passes.happenings import Closed, Debited, Granted, Happening, Opened
from edgegate.passes.model import Channel, CredentialKind, Direction
from edgegate.passes.reasons import ClosingReason, Reason
from edgegate.passes.state import Session
from edgegate.ports import ClockTrust, Scan
from edgegate.store import cache, ledger, sync_state
from edgegate.store.books import Books
from edgegate.store.files import Store
from edgegate.store.ledger import Stamp
from edgegate.store.projection import rebuild
from edgegate.store.thread import DatabaseThread
from edgegate.supervisor import StatusBoard
from edgegate_sync.appliance import uplink as uplink_module
from edgegate_sync.appliance import upload as upload_module
from edgegate_sync.appliance.backoff import Backoff
from edgegate_sync.appliance.client import Timing
from edgegate_sync.appliance.identity import Identity
from edgegate_sync.appliance.link import Link
from edgegate_sync.appliance.link import Timing as LinkTiming
from edgegate_sync.appliance.uplink import Parts
from edgegate_sync.cancelling import EndlessError, ended, unfinished
from rig.broken import DEVICES
from rig.devices import Hands
from rig.meddled import MeddledClient, MeddledUplink

log = logging.getLogger(__name__)

LINE_BYTES_MAX = 64 * 1024 * 1024

ENDED = b"ended\n"
"""The last line of one that was stopped."""

END_S_MAX = 60

QUICK = Timing(connect_s=2, silence_s=2, total_s=6, stream_s=20)
QUICK_LINK = LinkTiming(
    keepalive_s=5, timeout_s=3.0, heartbeat_s=0.5, retry_first_s=0.05, retry_max_s=0.5
)
RETRY_S_MAX = 0.4


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """What to be; the first line."""

    state: str
    site: str
    device: str
    url: str
    key: str
    at: datetime
    broker_port: int = 0
    wait_s: int = 1
    pull_s: int = 2
    quick: bool = True
    mutant: str = ""


class MovedClock:
    """Goes as time does, from wherever it was set last."""

    def __init__(self, at: datetime) -> None:
        self.set(at)

    def set(self, at: datetime) -> None:
        self._at, self._since_s = at, time.monotonic()

    def now(self) -> datetime:
        return self._at + timedelta(seconds=time.monotonic() - self._since_s)

    def trust(self) -> ClockTrust:
        return ClockTrust.TRUSTED


class Door:
    """A door that always does as it is told."""

    def open(self, _release_s: float) -> bool:
        return True

    def exit(self) -> bool:
        return True


class Box:
    """One appliance."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.state_dir = Path(task.state)
        self.clock = MovedClock(task.at)
        self.faults: list[str] = []
        self.thread: DatabaseThread[Store] = DatabaseThread(lambda e: self.faults.append(repr(e)))
        self.keeper = Bookkeeper(self.thread, self.stamp)
        self.afterwards = Afterwards(self.keeper, 10_000)
        doors = {f"door-{task.device}": cast("DoorRunner", Door())}
        self.line = Line(
            self.keeper,
            self.afterwards,
            doors,
            self.clock,
            bytes.fromhex(task.key),
            self._on_passage,
        )
        self.passage: Passage | None = None
        self.board = StatusBoard()
        self.hands = Hands()
        broker = BrokerSection(host="localhost", port=task.broker_port)
        self.uplink = MeddledUplink(
            Parts(
                site=task.site,
                device=task.device,
                state_dir=self.state_dir,
                settings=CloudSection(
                    url=task.url,
                    pull_s=task.pull_s,
                    wait_s=task.wait_s,
                    broker=broker if task.broker_port else None,
                ),
                identity=Identity.load(self.state_dir),
                keeper=self.keeper,
                thread=self.thread,
                clock=self.clock,
                stamp=self.stamp,
                board=self.board,
                acts=self.hands,
                note_reached=lambda _at: None,
            )
        )
        self.keeper.on_entries = self.uplink.note_entries

    def stamp(self) -> Stamp:
        return Stamp(
            source=f"edgegate/{self.task.site}/{self.task.device}",
            clock=ClockTrust.TRUSTED,
            boot_id=f"boot-{os.getpid()}",
            monotonic_s=time.monotonic(),
        )

    def _on_passage(self, passage: Passage) -> None:
        self.passage = passage

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Obey until the connection ends; then end like a daemon that is stopped."""
        await self.keeper.open(partial(Store.open, self.state_dir, rebuild=rebuild))
        tasks = [
            asyncio.create_task(self.uplink.run(), name="uplink"),
            asyncio.create_task(self.afterwards.run(), name="afterwards"),
        ]
        self._say(writer, {"pid": os.getpid()})
        while line := await reader.readline():
            asked = json.loads(line)
            if "at" in asked:
                self.clock.set(datetime.fromisoformat(asked.pop("at")))
            try:
                done = await getattr(self, "do_" + asked.pop("do"))(**asked)
            except Exception as error:  # noqa: BLE001 - whatever it is, the test shall see it
                done = {"error": repr(error)}
            self._say(writer, done)
        try:
            for task in tasks:
                await ended(task, END_S_MAX)
        except EndlessError:
            log.exception("it does not end")
            return
        await self.thread.close()
        writer.write(ENDED)
        await writer.drain()

    @staticmethod
    def _say(writer: asyncio.StreamWriter, what: dict[str, Any]) -> None:
        writer.write(json.dumps(what).encode() + b"\n")

    async def _standing(self) -> dict[str, Any]:
        head = await self.thread.run(lambda store: ledger.head(store.ledger))
        return {"epoch": head.epoch, "sequence": head.sequence, "hash": head.hash.hex()}

    async def _scan(self, code: str, direction: Direction) -> dict[str, Any]:
        door = f"door-{self.task.device}"
        place = Place(reader="reader", door=door, direction=direction, release_s=1.0)
        scan = Scan(
            kind=CredentialKind.QR_STATIC, number=code.encode(), read_ns=time.monotonic_ns()
        )
        self.passage = None
        await self.line.scan(place, scan, lambda _signal: None)
        if direction is Direction.EXIT:
            await self.afterwards.drain(5)
        passage = cast("Passage | None", self.passage)
        outcome = passage.outcome if passage is not None else None
        reason = outcome.decision.reason.value if outcome is not None else None
        opened = passage is not None and passage.opened
        return {"opened": opened, "reason": reason, **await self._standing()}

    async def do_tap(self, code: str) -> dict[str, Any]:
        return await self._scan(code, Direction.ENTRY)

    async def do_open(self, code: str, head: int) -> dict[str, Any]:
        """Scan as soon as the feed has come as far as `head`."""
        while self.uplink.feed.head < head:  # noqa: ASYNC110 - as somebody at the door would
            await asyncio.sleep(0.001)
        return await self._scan(code, Direction.ENTRY)

    async def do_poison(self) -> dict[str, Any]:
        """Write an entry whose data is not what its type says."""
        draft = ledger.Draft(
            type=ledger.EntryType("edgegate.pass.debited"),
            at=self.clock.now(),
            subject="location/hall",
            data={"pass": 5, "amount": "much"},
        )
        await self._append([draft])
        return await self._standing()

    async def do_exit(self, code: str) -> dict[str, Any]:
        return await self._scan(code, Direction.EXIT)

    async def do_tick(self) -> dict[str, Any]:
        await self.keeper.do(lambda books: settle(books, self.clock.now()))
        return await self._standing()

    async def do_write(self, count: int, size: int = 40) -> dict[str, Any]:
        """Append so many entries of doors."""
        draft = ledger.Draft(
            type=ledger.EntryType.DOOR_OPENED,
            at=self.clock.now(),
            subject="door/front",
            data={"x": "x" * size},
        )
        for begun in range(0, count, 500):
            await self._append([draft] * min(500, count - begun))
        return await self._standing()

    async def _append(self, drafts: list[ledger.Draft]) -> None:
        def work(store: Store) -> None:
            ledger.append(store.ledger, drafts, self.stamp())

        await self.thread.run(work)
        self.uplink.note_entries()

    async def do_month(self, visits: int, passes: int) -> dict[str, Any]:
        """Write the visits of a month, five entries each, ending at the instant that it is."""
        step = timedelta(days=30) / visits
        first = self.clock.now() - step * visits

        def work(numbers: range, books: Books) -> None:
            for number in numbers:
                at = first + step * number
                books.record(visit(self.task.device, number, passes, at), at)

        for begun in range(0, visits, 50):
            numbers = range(begun, min(visits, begun + 50))
            await self.keeper.do(partial(work, numbers))
            await self.do_write(len(numbers))
        return await self._standing()

    async def do_snapshot(self) -> dict[str, Any]:
        self.uplink.feed.wants_snapshot = True
        self.uplink.pull_now()
        return {}

    async def do_meddle(self, share: float, seed: int) -> dict[str, Any]:
        MeddledClient.share, MeddledClient.chance = share, Random(seed)
        return {}

    async def do_look(self) -> dict[str, Any]:
        def work(store: Store) -> dict[str, Any]:
            return {
                "cursor": list(sync_state.uploaded(store.ledger)),
                "parked": [
                    [*q.place, q.outcome, q.why] for q in sync_state.quarantined(store.ledger)
                ],
            }

        found = await self.thread.run(work)
        link = self.uplink.link
        return {
            **found,
            **await self._standing(),
            "head": self.uplink.feed.head,
            "snapshot": self.uplink.feed.in_snapshot,
            "linked": link is not None and link.is_up,
            "reached": self.uplink.reach.is_reached,
            "faults": [*self.faults, *(["uplink"] * self.uplink.faults)],
            "feed_quarantined": [
                [q.kind, q.id, q.error] for q in self.uplink.feed.standing.quarantined
            ],
            "devices": {
                name: [s.status.value, s.detail] for name, s in self.board.devices().items()
            },
            "uploading": self.uplink.uploader.detail if self.uplink.uploader else "",
            "boot": self.uplink.boot,
            "heard": self.uplink.peers.applied,
        }

    async def do_account(self) -> dict[str, Any]:
        """What every part waits for, for somebody who waited in vain."""
        link = self.uplink.link
        return {
            **await self.do_look(),
            "pulls": self.uplink.pulls,
            "link": "" if link is None else link.detail,
            "waiting": unfinished(),
        }

    async def do_remaining(self) -> dict[str, Any]:
        """What the line would find left of every pass."""

        def work(store: Store) -> dict[str, int]:
            books = Books(store, self.stamp)
            return books.remaining(list(cache.every(store.cache, cache.PASS)))

        return {"remaining": await self.thread.run(work)}


def visit(device: str, number: int, passes: int, at: datetime) -> list[Happening]:
    """What a visit writes that is paid from a pass of its customer."""
    pass_id, customer = f"m{number % passes}", f"m{number % passes}"
    session, leaves = f"{device}-{number}", at + timedelta(seconds=20)
    granted = Granted(
        location="hall",
        channel=Channel.DOOR,
        customer=customer,
        reason=Reason.PASS,
        day=at.date(),
        door=f"door-{device}",
        pass_=pass_id,
        session=session,
    )
    spent = Debited(
        pass_=pass_id,
        customer=customer,
        location="hall",
        session=session,
        amount=1,
        day=at.date(),
        from_=at,
        covers=True,
        visit_only=True,
    )
    begun = Session(
        id=session,
        customer=customer,
        location="hall",
        opened_at=at,
        channel=Channel.DOOR,
        closes_at=at + timedelta(hours=10),
        closes_for=ClosingReason.CUTOFF,
    )
    ended = Closed(
        session=session, customer=customer, location="hall", at=leaves, reason=ClosingReason.EXIT
    )
    return [granted, spent, Opened(session=begun), ended]


def be_quick() -> None:
    """Let every wait be short: a campaign has no minutes."""
    uplink: Any = uplink_module
    upload: Any = upload_module
    uplink.CloudClient = partial(MeddledClient, timing=QUICK)
    uplink.Link = partial(Link, timing=QUICK_LINK)
    uplink.Backoff = upload.Backoff = partial(Backoff, max_s=RETRY_S_MAX)
    uplink.EMPTY_PAUSE_S = 0.2


async def _live(connection: socket.socket) -> None:
    reader, writer = await asyncio.open_connection(sock=connection, limit=LINE_BYTES_MAX)
    task = msgspec.json.decode(await reader.readline(), type=Task)
    logging.basicConfig(
        filename=Path(task.state).with_suffix(".log"),
        level=logging.INFO,
        format="%(asctime)s %(process)d %(name)s %(message)s",
    )
    if task.quick:
        be_quick()
    if task.mutant in DEVICES:
        DEVICES[task.mutant]()
    await Box(task).serve(reader, writer)


def main() -> None:
    """Have children until the standard input ends."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(sys.argv[1])
    listener.listen(64)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    print("ready", flush=True)
    while listener in select.select([listener, sys.stdin], [], [])[0]:
        connection, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            asyncio.run(_live(connection))
            os._exit(0)
        connection.close()


if __name__ == "__main__":
    main()
