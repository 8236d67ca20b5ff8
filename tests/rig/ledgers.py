"""Devices in memory that write chained entries, as an appliance does, and put them into batches."""

from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import msgspec
from msgspec import UNSET

from edgegate.passes.happenings import Closed, Debited, Happening, Opened
from edgegate.passes.model import Channel
from edgegate.passes.reasons import ClosingReason
from edgegate.passes.state import MinuteTerms, Session
from edgegate.store import chain
from edgegate.store.chain import Entry, Link
from edgegate.store.projection import TYPES
from edgegate_sync.wire.events import encode_event

START = datetime(2026, 3, 2, 9, tzinfo=UTC)
DAY = date(2026, 3, 2)
SITE = "north"


def at(minutes: float) -> datetime:
    """So many minutes after `START`."""
    return START + timedelta(minutes=minutes)


class Device:
    """One device's ledger: `write` appends, `entries` is all of it."""

    def __init__(self, name: str, site: str = SITE, epoch: int = 1) -> None:
        self.name = name
        self.source = f"edgegate/{site}/{name}"
        self.link = Link(epoch=epoch)
        self.entries: list[Entry] = []
        self.clock = "trusted"

    def write(self, happening: Happening, when: datetime = START) -> Entry:
        """Append what happened."""
        return self.append(TYPES[type(happening)].value, msgspec.json.encode(happening), when)

    def append(self, kind: str, data: bytes, when: datetime = START) -> Entry:
        """Append any data."""
        sequence = self.link.sequence + 1
        salt = sequence.to_bytes(4) * 4
        digest = chain.data_hash(salt, data)
        envelope = chain.Envelope(
            clock=self.clock,
            epoch=self.link.epoch,
            id=chain.entry_id(self.source, self.link.epoch, sequence),
            monotonic="boot:1.000000",
            prevhash=self.link.hash.hex(),
            sequence=sequence,
            source=self.source,
            subject=UNSET,
            time=chain.time_text(when),
            type=kind,
        )
        entry = Entry(
            epoch=self.link.epoch,
            sequence=sequence,
            source=self.source,
            type=kind,
            at=when,
            subject=None,
            clock=envelope.clock,
            monotonic=envelope.monotonic,
            salt=salt,
            data=data,
            data_hash=digest,
            prevhash=self.link.hash,
            hash=chain.envelope_hash(envelope, digest),
        )
        self.link = Link(epoch=entry.epoch, sequence=sequence, hash=entry.hash)
        self.entries.append(entry)
        return entry

    def begin_epoch(self, epoch: int) -> None:
        """Let further entries belong to a new epoch of the same chain."""
        self.link = Link(epoch=epoch, sequence=0, hash=self.link.hash)

    def restored(self, count: int) -> "Device":
        """The device as a backup of its first `count` entries makes it."""
        other = Device(self.name, epoch=self.link.epoch)
        other.source, other.entries = self.source, self.entries[:count]
        last = other.entries[-1]
        other.link = Link(epoch=last.epoch, sequence=last.sequence, hash=last.hash)
        return other


def batch(entries: Iterable[Entry | bytes]) -> bytes:
    """Entries, or texts that pretend to be some, as the body of a request."""
    texts = [e if isinstance(e, bytes) else encode_event(e) for e in entries]
    return b"[" + b",".join(texts) + b"]"


def batches(entries: Sequence[Entry], size: int) -> list[bytes]:
    """Entries in batches of a size."""
    return [batch(entries[i : i + size]) for i in range(0, len(entries), size)]


def use(
    customer: str, pass_: str, when: datetime, until: datetime | None = None, **more: Any
) -> Debited:
    """A use of a pass that covers until an instant (default: the next midnight)."""
    midnight = datetime(when.year, when.month, when.day, tzinfo=UTC) + timedelta(days=1)
    known: dict[str, Any] = {
        "session": f"{customer}@{when.isoformat()}",
        "location": "hall",
        "amount": 1,
        "day": when.date(),
        "covers": True,
    }
    return Debited(
        pass_=pass_, customer=customer, from_=when, until=until or midnight, **(known | more)
    )


def minutes(customer: str, pass_: str, from_: datetime, until: datetime, **more: Any) -> Debited:
    """The minutes of a stretch, rounded as the default terms do."""
    used_s = (until - from_) // timedelta(seconds=1)
    known: dict[str, Any] = {
        "session": f"{customer}@{from_.isoformat()}",
        "location": "hall",
        "amount": -(-used_s // 60),
        "day": from_.date(),
        "counts": MinuteTerms(increment_minutes=1, minimum_minutes=0),
    }
    return Debited(pass_=pass_, customer=customer, from_=from_, until=until, **(known | more))


def opened(customer: str, when: datetime, session: str, **more: Any) -> Opened:
    """A visit that closes at midnight at the latest."""
    midnight = datetime(when.year, when.month, when.day, tzinfo=UTC) + timedelta(days=1)
    known: dict[str, Any] = {
        "location": "hall",
        "channel": Channel.DOOR,
        "closes_at": midnight,
        "closes_for": ClosingReason.CUTOFF,
    }
    return Opened(session=Session(id=session, customer=customer, opened_at=when, **(known | more)))


def closed(customer: str, when: datetime, session: str) -> Closed:
    """The end of a visit."""
    return Closed(
        session=session, customer=customer, location="hall", at=when, reason=ClosingReason.EXIT
    )
