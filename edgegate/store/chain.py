"""The hash chain over ledger entries: it shows tampering, and outlives the erasure of data.

    data_hash(n) = SHA-256(salt(n) || data(n))
    hash(n)      = SHA-256(envelope(n) || data_hash(n))
    prevhash(n)  = hash(n - 1)

An erased entry has lost salt and data and kept its data_hash, so that its hash can still be
computed, and the salt keeps a short text from being guessed by its hash. An envelope is a
CloudEvents 1.0 event without its data, as JSON in the canonical form of RFC 8785: sorted keys, no
spaces, UTF-8.
"""

from collections.abc import Iterable
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache
from hashlib import sha256

from msgspec import UNSET, Struct, UnsetType
from msgspec.json import Encoder

GENESIS = bytes(32)
"""What the first entry of all names as the hash before it."""


class Envelope(Struct, frozen=True, kw_only=True):
    """The attributes that the chain covers; msgspec writes them in this order, which is sorted."""

    clock: str
    epoch: int
    id: str
    monotonic: str
    prevhash: str
    sequence: int
    source: str
    specversion: str = "1.0"
    subject: str | UnsetType = UNSET
    time: str
    type: str


class Entry(Struct, frozen=True, kw_only=True):
    """One entry of the ledger, as it is stored."""

    epoch: int
    sequence: int
    source: str
    """Which device wrote it: "edgegate/<site>/<device>"."""
    type: str
    """An `EntryType` where this version knows it."""
    at: datetime
    subject: str | None
    clock: str
    monotonic: str
    salt: bytes | None
    data: bytes | None
    """JSON; None when it was erased."""
    data_hash: bytes
    prevhash: bytes
    hash: bytes

    @property
    def device(self) -> str:
        """The device that wrote it: the last part of `source`."""
        return self.source.rpartition("/")[2]

    @property
    def id(self) -> str:
        """The event's id, which is the same however often it is sent."""
        return entry_id(self.source, self.epoch, self.sequence)


class FaultKind(StrEnum):
    """How a chain can be broken."""

    GAP = "gap"
    PREVHASH = "prevhash"
    DATA_HASH = "data_hash"
    HASH = "hash"


class Fault(Struct, frozen=True, kw_only=True):
    """Where the chain is broken, and in what way."""

    epoch: int
    sequence: int
    kind: FaultKind
    detail: str


class Link(Struct, frozen=True, kw_only=True):
    """The place in the chain that the next entry joins."""

    epoch: int = 0
    sequence: int = 0
    hash: bytes = GENESIS


_encoder = Encoder()


def entry_id(source: str, epoch: int, sequence: int) -> str:
    """The id of an entry: "<device>-<epoch>-<sequence>"."""
    return f"{source.rpartition('/')[2]}-{epoch}-{sequence}"


def time_text(at: datetime) -> str:
    """An instant in RFC 3339, in UTC, always with six digits, so that it has one spelling."""
    return _utc_text(at.astimezone(UTC))


@lru_cache(maxsize=8)
def _utc_text(at: datetime) -> str:
    """It is written several times over: what one decision records is of one instant."""
    return at.isoformat(timespec="microseconds")[:-6] + "Z"


def data_hash(salt: bytes, data: bytes) -> bytes:
    """What the chain holds of an entry's data."""
    return sha256(salt + data).digest()


def envelope(entry: Entry) -> Envelope:
    """The attributes of an entry that the chain covers."""
    return Envelope(
        clock=entry.clock,
        epoch=entry.epoch,
        id=entry.id,
        monotonic=entry.monotonic,
        prevhash=entry.prevhash.hex(),
        sequence=entry.sequence,
        source=entry.source,
        subject=UNSET if entry.subject is None else entry.subject,
        time=time_text(entry.at),
        type=entry.type,
    )


def canonical(of: Envelope) -> bytes:
    """The one spelling of an envelope that is hashed."""
    return _encoder.encode(of)


def envelope_hash(of: Envelope, data_digest: bytes) -> bytes:
    """The hash of an entry: what the next one names as `prevhash`."""
    return sha256(canonical(of) + data_digest).digest()


def entry_hash(entry: Entry) -> bytes:
    """The hash that an entry should have."""
    return envelope_hash(envelope(entry), entry.data_hash)


def is_intact(entry: Entry) -> bool:
    """Whether an entry is as it was written, by its own hashes alone."""
    return not list(_own_faults(entry, entry_hash(entry)))


def verify(
    entries: Iterable[Entry], after: Link | None = None, faults_max: int = 100
) -> list[Fault]:
    """Follow the chain from `after` (None: from its beginning) and name what is wrong, in order.

    Each breakage is named once, where it is: what follows is judged by what the entry itself says.
    That the newest entries were cut off cannot be seen from here; the cloud's head hash shows it.
    Gives up after `faults_max` faults.
    """
    faults: list[Fault] = []
    last = after or Link()
    hashes = {last.hash}
    for entry in entries:
        computed = entry_hash(entry)
        faults.extend(_link_faults(last, hashes, entry))
        faults.extend(_own_faults(entry, computed))
        if len(faults) >= faults_max:
            return faults[:faults_max]
        last = Link(epoch=entry.epoch, sequence=entry.sequence, hash=entry.hash)
        # They differ only where a fault has just been named; the next entry may name either.
        hashes = {entry.hash, computed}
    return faults


def _link_faults(last: Link, hashes: set[bytes], entry: Entry) -> Iterable[Fault]:
    due = last.sequence + 1 if entry.epoch == last.epoch else 1
    if entry.epoch < last.epoch or entry.sequence != due:
        yield _fault(entry, FaultKind.GAP, f"after {last.epoch}/{last.sequence}")
    # Behind a gap the hash before is unknown, and to say so twice would help nobody.
    elif entry.prevhash not in hashes:
        yield _fault(
            entry,
            FaultKind.PREVHASH,
            f"names {entry.prevhash.hex()}, but {last.epoch}/{last.sequence} has {last.hash.hex()}",
        )


def _own_faults(entry: Entry, computed: bytes) -> Iterable[Fault]:
    if entry.data is None or entry.salt is None:
        if entry.data is not entry.salt:
            yield _fault(entry, FaultKind.DATA_HASH, "half erased")
    elif data_hash(entry.salt, entry.data) != entry.data_hash:
        yield _fault(entry, FaultKind.DATA_HASH, "the data is not what was recorded")
    if computed != entry.hash:
        yield _fault(entry, FaultKind.HASH, "the envelope is not what was recorded")


def _fault(entry: Entry, kind: FaultKind, detail: str) -> Fault:
    return Fault(epoch=entry.epoch, sequence=entry.sequence, kind=kind, detail=detail)
