"""What the devices of a site tell each other while the cloud is away (M-01).

Each publishes its new entries, and every ten seconds where its ledger stands. What one hears of
another it carries into its own tables at once, in whatever order it comes; what it missed it asks
for. So two doors cannot spend the same last use once a message has had the time to pass.
"""

import asyncio
import logging
import secrets
import sqlite3
from collections.abc import Awaitable, Callable, Iterable
from contextlib import closing
from functools import partial
from pathlib import Path

import msgspec

from edgegate.ports import OperatingError
from edgegate.store import ledger, sync_state
from edgegate.store.chain import Entry, is_intact
from edgegate.store.connections import connect_read_only
from edgegate.store.counted import Sweep, sweep
from edgegate.store.files import Store
from edgegate.store.sync_state import Place, Range
from edgegate.store.thread import DatabaseThread, Urgency
from edgegate_sync.appliance.link import Incoming, LinkDownError, Message, Subscription
from edgegate_sync.appliance.upload import read_beside
from edgegate_sync.wire.errors import MalformedError, encode
from edgegate_sync.wire.events import decode_batch, encode_batch
from edgegate_sync.wire.peers import (
    HEAD_EVERY_S,
    REQUEST_EXPIRY_S,
    PeerHead,
    PeerRequest,
    decode_head,
    decode_request,
)
from edgegate_sync.wire.topics import Topics

log = logging.getLogger(__name__)

PEERS_MAX = 256
"""So many devices of a site are listened to; one more is not, and that is said."""

ANSWER_S = 10.0
"""How long an answer is waited for; the owner's next head asks again."""

FORGET_EVERY_S = 3600.0
"""How often it is looked what of others' spending the cloud has counted since."""

BITE_ENTRIES = 64
"""So many entries of others one transaction takes, and one message carries: larger ones would
hold up acknowledgements on a slow connection."""

BEHIND_MAX = 2000
"""Who was away for more than this publishes no more of it: others ask for what they lack."""


class Peers:
    """One device among those of its site."""

    def __init__(
        self,
        site: str,
        device: str,
        *,
        thread: DatabaseThread[Store],
        state_dir: Path,
        publish: Callable[[Message], Awaitable[None]],
    ) -> None:
        """Prepare; `publish` raises `LinkDownError` while there is no broker."""
        self._topics = Topics(site)
        self._device = device
        self._thread = thread
        self._ledger = state_dir / "ledger.db"
        self._cache = state_dir / "cache.db"
        self._publish = publish
        self._came = asyncio.Event()
        self._gaps = asyncio.Event()
        self._head = PeerHead(epoch=1, sequence=0, hash="0" * 64)
        self._published = Place(0, 0)
        self._heads: dict[str, Place] = {}
        self._asked: tuple[bytes, asyncio.Future[bytes]] | None = None
        self._sweep = Sweep(own=device)
        self.applied = 0
        """How many entries of others were carried into the tables since the start."""
        self.rejected = 0
        """How many were not what they should be, and count for nothing."""

    def subscriptions(self) -> list[Subscription]:
        """What the link is to listen to for this."""
        topics = self._topics
        return [
            Subscription(topic=topics.ledger("+"), handle=self._on_entries, on_lost=self._gaps.set),
            Subscription(topic=topics.ledger_head("+"), handle=self._on_head),
            Subscription(
                topic=topics.ledger_request(self._device), handle=self._on_request, own_too=True
            ),
            Subscription(
                topic=topics.ledger_answer(self._device), handle=self._on_answer, own_too=True
            ),
        ]

    def heartbeat(self) -> Message:
        """Where this ledger stands."""
        topic = self._topics.ledger_head(self._device)
        return Message(topic, encode(self._head), expires_s=HEAD_EVERY_S)

    def wake(self) -> None:
        """There are new entries, or the broker is back; returns at once."""
        self._came.set()

    async def load(self) -> None:
        """Find where the ledger stands now, before the link is made.

        Raises:
            OperatingError: it cannot be read.
        """
        await self._look()
        self._published = Place(self._head.epoch, self._head.sequence)

    async def run(self) -> None:
        """Publish what comes, and ask for what was missed, for ever."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._publish_what_comes(), name="peers publish")
            group.create_task(self._ask_for_gaps(), name="peers gaps")
            group.create_task(self._forget_counted(), name="peers forget")

    async def _forget_counted(self) -> None:
        while True:
            try:
                await self.forget_counted()
            except OperatingError as error:
                log.warning("what others spent is kept although it is counted: %s", error)
            await asyncio.sleep(FORGET_EVERY_S)

    async def forget_counted(self) -> int:
        """Forget what others spent and balances have in them by now; how many debits went.

        Raises:
            OperatingError: the store is not to be had now.
        """
        before = self._sweep.forgotten
        while True:
            await self._thread.run(partial(sweep, self._sweep), Urgency.BACKGROUND)
            if not self._sweep.after:
                return self._sweep.forgotten - before

    # Telling.

    async def _look(self) -> None:
        head = await read_beside(self._ledger, ledger.head)
        self._head = PeerHead(epoch=head.epoch, sequence=head.sequence, hash=head.hash.hex())

    async def _publish_what_comes(self) -> None:
        while True:
            await self._came.wait()
            self._came.clear()
            try:
                await self._publish_new()
            except LinkDownError:
                # The link says when it is up again.
                continue
            except OperatingError as error:
                log.warning("new entries cannot be told to other devices: %s", error)

    async def _publish_new(self) -> None:
        await self._look()
        epoch, sequence = self._published
        if epoch == self._head.epoch and self._head.sequence - sequence > BEHIND_MAX:
            self._published = Place(epoch, self._head.sequence)
            return
        while entries := await read_beside(self._ledger, partial(_after, self._published)):
            batch = await asyncio.to_thread(encode_batch, entries)
            await self._publish(Message(self._topics.ledger(self._device), batch.body))
            last = entries[batch.count - 1]
            self._published = Place(last.epoch, last.sequence)

    async def _on_request(self, message: Incoming) -> None:
        """Answer with the entries that somebody lacks."""
        whom = self._topics.device_of(message.response_topic or "")
        if whom is None or message.response_topic != self._topics.ledger_answer(whom):
            return
        try:
            request = decode_request(message.payload)
        except MalformedError as error:
            log.warning("a request for entries is no request: %s", error)
            return
        entries = await read_beside(self._ledger, partial(_requested, request))
        batch = await asyncio.to_thread(encode_batch, entries)
        answer = Message(
            message.response_topic,
            batch.body,
            correlation=message.correlation,
            expires_s=REQUEST_EXPIRY_S,
        )
        await self._publish(answer)

    # Hearing.

    async def _on_entries(self, message: Incoming) -> None:
        device = self._peer_of(message)
        if device is None:
            return
        entries = self._entries_of(device, message.payload)
        await self._apply(entries, Urgency.WIFI)
        if entries:
            last = entries[-1]
            self._note_head(device, Place(last.epoch, last.sequence))

    async def _on_head(self, message: Incoming) -> None:
        device = self._peer_of(message)
        if device is None:
            return
        try:
            head = decode_head(message.payload)
        except MalformedError as error:
            log.warning("the head of %s is none: %s", device, error)
            return
        self._note_head(device, Place(head.epoch, head.sequence))

    def _peer_of(self, message: Incoming) -> str | None:
        device = self._topics.device_of(message.topic)
        return None if device == self._device or message.retained else device

    def _note_head(self, device: str, head: Place) -> None:
        if device not in self._heads and len(self._heads) >= PEERS_MAX:
            log.error("more than %d devices: %s is not listened to", PEERS_MAX, device)
            return
        self._heads[device] = max(head, self._heads.get(device, head))
        self._gaps.set()

    def _entries_of(self, device: str, payload: bytes) -> list[Entry]:
        """The sound entries of that device out of a batch; the others are counted."""
        try:
            batch = decode_batch(payload)
        except MalformedError as error:
            log.warning("%s sent no batch of entries: %s", device, error)
            self.rejected += 1
            return []
        source = f"edgegate/{self._topics.site}/{device}"
        sound = [e for e in batch if isinstance(e, Entry) and e.source == source and is_intact(e)]
        if len(sound) < len(batch):
            log.warning("%d entries of %s are not sound", len(batch) - len(sound), device)
            self.rejected += len(batch) - len(sound)
        return sound

    async def _apply(self, entries: list[Entry], urgency: Urgency) -> None:
        for start in range(0, len(entries), BITE_ENTRIES):
            bite = entries[start : start + BITE_ENTRIES]
            applied, rejected = await self._thread.run(partial(_apply, bite), urgency)
            self.applied += applied
            self.rejected += rejected

    # What was missed.

    async def _ask_for_gaps(self) -> None:
        while True:
            await self._gaps.wait()
            self._gaps.clear()
            for device, head in list(self._heads.items()):
                try:
                    await self._ask(device, head)
                except (OperatingError, TimeoutError) as error:
                    # Its next head comes within seconds.
                    log.info("what %s recorded meanwhile is not to be had: %r", device, error)

    async def _ask(self, device: str, head: Place) -> None:
        """Ask a device until nothing up to its head is missing."""
        if not await read_beside(self._ledger, partial(_knows, device, head.epoch)):
            await self._begin_at_counted(device, head)
        while gap := await read_beside(self._ledger, partial(_gap, device, head)):
            count = min(BITE_ENTRIES, gap.last - gap.first + 1)
            request = PeerRequest(epoch=head.epoch, after=gap.first - 1, count=count)
            entries = self._entries_of(device, await self._answer_of(device, request))
            entries = [e for e in entries if e.epoch == head.epoch]
            await self._apply(entries, Urgency.BACKGROUND)
            # What lies before the last that came, or was not there at all, is gone for good.
            until = max((e.sequence for e in entries), default=gap.last)
            covered = Range(gap.first, min(max(until, gap.first), gap.last))
            await self._thread.run(partial(_cover, device, head.epoch, covered), Urgency.BACKGROUND)

    async def _begin_at_counted(self, device: str, head: Place) -> None:
        """What the cloud has counted stands in the balances: it need not be heard."""
        counted = await asyncio.to_thread(_counted_of, self._cache, device, head.epoch)
        if counted:
            await self._thread.run(
                partial(_cover, device, head.epoch, Range(1, counted)), Urgency.BACKGROUND
            )

    async def _answer_of(self, device: str, request: PeerRequest) -> bytes:
        correlation = secrets.token_bytes(16)
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._asked = (correlation, answer)
        try:
            async with asyncio.timeout(ANSWER_S):
                await self._publish(
                    Message(
                        self._topics.ledger_request(device),
                        encode(request),
                        response_topic=self._topics.ledger_answer(self._device),
                        correlation=correlation,
                        expires_s=REQUEST_EXPIRY_S,
                    )
                )
                return await answer
        finally:
            self._asked = None

    async def _on_answer(self, message: Incoming) -> None:
        """Take the answer to what was asked; nobody else knows the correlation."""
        if self._asked is not None and message.correlation == self._asked[0]:
            answer = self._asked[1]
            if not answer.done():
                answer.set_result(message.payload)


def _after(place: Place, connection: sqlite3.Connection) -> list[Entry]:
    return ledger.since(connection, place.epoch, place.sequence, BITE_ENTRIES)


def _requested(request: PeerRequest, connection: sqlite3.Connection) -> list[Entry]:
    found = ledger.since(connection, request.epoch, request.after, min(request.count, BITE_ENTRIES))
    return [entry for entry in found if entry.epoch == request.epoch]


def _knows(device: str, epoch: int, connection: sqlite3.Connection) -> bool:
    return sync_state.knows(connection, device, epoch)


def _gap(device: str, head: Place, connection: sqlite3.Connection) -> Range | None:
    return sync_state.first_gap(connection, device, head)


def _cover(device: str, epoch: int, covered: Range, store: Store) -> None:
    sync_state.hear(store.ledger, device, epoch, covered)


def _apply(entries: Iterable[Entry], store: Store) -> tuple[int, int]:
    """Carry entries of others into the tables; how many were new, and how many were not usable."""
    applied = rejected = 0
    for entry in entries:
        store.ledger.execute("SAVEPOINT heard")
        try:
            applied += sync_state.apply_heard(store.ledger, entry)
        except (msgspec.MsgspecError, sqlite3.IntegrityError, ValueError, OverflowError) as error:
            log.warning("the entry %s counts for nothing here: %s", entry.id, error)
            store.ledger.execute("ROLLBACK TO heard")
            place = Range(entry.sequence, entry.sequence)
            sync_state.hear(store.ledger, entry.device, entry.epoch, place)
            rejected += 1
        store.ledger.execute("RELEASE heard")
    return applied, rejected


def _counted_of(cache: Path, device: str, epoch: int) -> int:
    """Up to which entry of a device's epoch the balances of this cache count."""
    try:
        with closing(connect_read_only(cache)) as connection:
            (counted,) = connection.execute(
                "SELECT max(each.value ->> 'sequence')"
                " FROM balance, json_each(balance.body, '$.counted') AS each"
                " WHERE each.key = ? AND each.value ->> 'epoch' = ?",
                (device, epoch),
            ).fetchone()
    except sqlite3.Error as error:
        log.warning("the balances cannot be read: %s", error)
        return 0
    return counted or 0
