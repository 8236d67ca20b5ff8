"""Ledger entries as CloudEvents 1.0, one at a time and in batches, and the cloud's answer to them.

An event is byte for byte what `edgegate ledger export` writes. Its attributes are what the chain
hashes; the entry's own hash is not sent but computed, so that nobody need be believed.
"""

from collections.abc import Iterable
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from edgegate.store import chain
from edgegate.store.chain import Entry
from edgegate_sync.wire.errors import MalformedError, read

BATCH_TYPE = "application/cloudevents-batch+json"

BATCH_ENTRIES_MAX = 500
BATCH_BYTES_MAX = 1_048_576

EVENT_BYTES_MAX = 100_000
"""Longer than any entry: 65,536 bytes of data, in base64 at worst, and its attributes."""

NUMBER_MAX = 2**31 - 1
"""CloudEvents 1.0 integers have 32 bits and a sign."""

SETTLED_MAX = BATCH_ENTRIES_MAX * 8
"""How many settlements one answer tells; further ones come with later answers."""

STORED_MAX = 100
"""How many ranges of entries one answer names: the newest, where there are more."""

ANSWER_BYTES_MAX = 4 * 1_048_576

Epoch = Annotated[int, Meta(ge=0, le=NUMBER_MAX)]
Sequence = Annotated[int, Meta(ge=0, le=NUMBER_MAX)]
Sha256 = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]


class Event(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An entry of a ledger as a CloudEvents 1.0 event."""

    # They are written in this order, which must stay that of their names.

    clock: Annotated[str, Meta(pattern=r"^[a-z_]{1,32}\Z")]
    """trusted, holdover or untrusted: how far `time` can be believed."""
    data: Raw | UnsetType = UNSET
    """Absent when it was erased."""
    data_base64: Annotated[bytes, Meta(max_length=65_536)] | UnsetType = UNSET
    """In place of `data` where what is stored is no JSON any more: it still has its hash."""
    datahash: Sha256
    epoch: Annotated[int, Meta(ge=1, le=NUMBER_MAX)]
    id: Annotated[str, Meta(min_length=1, max_length=128)]
    """`<device>-<epoch>-<sequence>`."""
    monotonic: Annotated[str, Meta(pattern=r"^[!-~]{1,128}\Z")]
    """`<boot id>:<seconds since that boot>`."""
    prevhash: Sha256
    salt: Annotated[str, Meta(pattern=r"^([0-9a-f]{2}){1,64}\Z")] | UnsetType = UNSET
    sequence: Annotated[int, Meta(ge=1, le=NUMBER_MAX)]
    source: Annotated[
        str,
        Meta(
            pattern=r"^edgegate/[A-Za-z0-9][A-Za-z0-9._-]{0,63}/[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z"
        ),
    ]
    specversion: Literal["1.0"]
    subject: Annotated[str, Meta(pattern=r"^[^\x00]{1,512}\Z")] | UnsetType = UNSET
    time: Annotated[
        str, Meta(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z\Z")
    ]
    """RFC 3339 in UTC with six digits of the second: the one spelling that is hashed."""
    type: Annotated[str, Meta(pattern=r"^edgegate(\.[a-z_]{1,32}){2,4}\Z")]

    def __post_init__(self) -> None:
        """Refuse an id that is another entry's, and two kinds of data."""
        due = chain.entry_id(self.source, self.epoch, self.sequence)
        if self.id != due:
            raise ValueError(f'id must be "{due}"')
        if self.data is not UNSET and self.data_base64 is not UNSET:
            raise ValueError("has both data and data_base64")


class Poisoned(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An element of a batch that is no event, named as well as it can be; the others count."""

    index: int
    problem: str
    field: str = ""
    source: str | None = None
    epoch: int | None = None
    sequence: int | None = None


class Outcome(StrEnum):
    """What became of an entry (M-03)."""

    ACCEPTED = "accepted"
    MOVED = "moved"
    CHARGED = "charged"
    FORGIVEN = "forgiven"
    QUARANTINED = "quarantined"


class Settled(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What became of one entry; those of which nothing is said were accepted."""

    epoch: Epoch
    sequence: Sequence
    outcome: Outcome
    why: Annotated[str, Meta(max_length=500)] = ""


class Stored(Struct, frozen=True, kw_only=True):
    """Entries of one epoch that the cloud has without a gap, both ends included."""

    epoch: Epoch
    first: Sequence
    last: Sequence


class LedgerAnswer(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Up to where the cloud has a device's ledger; the device moves its cursor there."""

    epoch: Epoch
    """0: the cloud has nothing of this device."""
    counted: Sequence
    """The last sequence of that epoch that the cloud has stored."""
    head_hash: Sha256 | None = None
    """The hash of that entry: if the device's differs, or it has no such entry, its tail was lost
    or exchanged."""
    begin_epoch: bool = False
    """A key came with two hashes (a restored backup): the device begins a new epoch."""
    settled: Annotated[tuple[Settled, ...], Meta(max_length=SETTLED_MAX)] = ()
    stored: Annotated[tuple[Stored, ...], Meta(max_length=STORED_MAX)] | None = None
    """All that the cloud has of this device, in quarantine too, oldest first: what it lacks of what
    it had before, the device sends again. Absent where the cloud does not say; with `STORED_MAX`
    ranges it says nothing of what lies before the first."""


class Batch(Struct, frozen=True, kw_only=True):
    """The body of a request, and how many of the entries it was made of it carries."""

    body: bytes
    count: int


class _Glimpse(Struct, frozen=True):
    source: Annotated[str, Meta(max_length=256)] | None = None
    epoch: Epoch | None = None
    sequence: Sequence | None = None


class _Numbers(Struct, frozen=True):
    epoch: Epoch | None = None
    sequence: Sequence | None = None


_encoder = msgspec.json.Encoder()
_event = msgspec.json.Decoder(Event)
_array = msgspec.json.Decoder(list[Raw])
_answer = msgspec.json.Decoder(LedgerAnswer)
_glimpse = msgspec.json.Decoder(_Glimpse)
_numbers = msgspec.json.Decoder(_Numbers)
_json = msgspec.json.Decoder()


def encode_event(entry: Entry) -> bytes:
    """An entry as one event, as `edgegate.store.ledger.cloud_event` writes it."""
    return _encoder.encode(event_of(entry))


def event_of(entry: Entry) -> Event:
    """An entry as an event that is not yet a text."""
    envelope = chain.envelope(entry)
    there = entry.data is not None and entry.salt is not None
    is_json = there and _is_json(entry.data or b"")
    return Event(
        clock=envelope.clock,
        data=Raw(entry.data or b"") if is_json else UNSET,
        data_base64=UNSET if is_json or not there else entry.data or b"",
        datahash=entry.data_hash.hex(),
        epoch=envelope.epoch,
        id=envelope.id,
        monotonic=envelope.monotonic,
        prevhash=envelope.prevhash,
        salt=(entry.salt or b"").hex() if there else UNSET,
        sequence=envelope.sequence,
        source=envelope.source,
        specversion="1.0",
        subject=envelope.subject,
        time=envelope.time,
        type=envelope.type,
    )


def _is_json(data: bytes) -> bool:
    """Whether it is JSON that comes out of another text as it went in: without spaces around it."""
    try:
        _json.decode(data)
    except (ValueError, RecursionError):
        return False
    return data == data.strip()


def decode_event(text: bytes | Raw) -> Entry:
    """The entry that an event is of; its hash is the computed one.

    Whether its data is what was recorded, `chain.is_intact` says, and `chain.verify` whether it
    follows the one before: both are stored and flagged, not refused.

    Raises:
        MalformedError: if it is no event of a ledger.
    """
    event = read(_event, text, "event", EVENT_BYTES_MAX)
    try:
        at = datetime.fromisoformat(event.time).astimezone(UTC)
    except ValueError as error:
        raise MalformedError("event", str(error), "time") from error
    # Newer Pythons take 24:00 too; an entry is hashed by its one spelling.
    if chain.time_text(at) != event.time:
        raise MalformedError("event", f"is another spelling of {chain.time_text(at)}", "time")
    digest = bytes.fromhex(event.datahash)
    return Entry(
        epoch=event.epoch,
        sequence=event.sequence,
        source=event.source,
        type=event.type,
        at=at,
        subject=None if event.subject is UNSET else event.subject,
        clock=event.clock,
        monotonic=event.monotonic,
        salt=None if event.salt is UNSET else bytes.fromhex(event.salt),
        data=_data(event),
        data_hash=digest,
        prevhash=bytes.fromhex(event.prevhash),
        hash=chain.envelope_hash(_envelope(event), digest),
    )


def _data(event: Event) -> bytes | None:
    if event.data is not UNSET:
        return bytes(event.data)
    return None if event.data_base64 is UNSET else event.data_base64


def _envelope(event: Event) -> chain.Envelope:
    return chain.Envelope(
        clock=event.clock,
        epoch=event.epoch,
        id=event.id,
        monotonic=event.monotonic,
        prevhash=event.prevhash,
        sequence=event.sequence,
        source=event.source,
        subject=event.subject,
        time=event.time,
        type=event.type,
    )


def encode_batch(entries: Iterable[Entry]) -> Batch:
    """As many of `entries`, from the first on, as one batch may carry; one always fits."""
    texts: list[bytes] = []
    size_bytes = 2
    for entry in entries:
        text = encode_event(entry)
        size_bytes += len(text) + 1
        if len(texts) == BATCH_ENTRIES_MAX or (texts and size_bytes > BATCH_BYTES_MAX):
            break
        texts.append(text)
    return Batch(body=b"[" + b",".join(texts) + b"]", count=len(texts))


def decode_batch(body: bytes) -> list[Entry | Poisoned]:
    """The entries of a batch in their order, and in their places what is none.

    Raises:
        TooLargeError: if it has more than `BATCH_BYTES_MAX` bytes.
        MalformedError: if it is no JSON array, or has more than `BATCH_ENTRIES_MAX` elements.
    """
    texts = read(_array, body, "batch", BATCH_BYTES_MAX)
    if len(texts) > BATCH_ENTRIES_MAX:
        raise MalformedError("batch", f"has {len(texts)} events, {BATCH_ENTRIES_MAX} at most")
    return [_entry_or_poison(index, text) for index, text in enumerate(texts)]


def _entry_or_poison(index: int, text: Raw) -> Entry | Poisoned:
    try:
        return decode_event(text)
    except MalformedError as error:
        seen = _look(text)
        return Poisoned(
            index=index,
            problem=error.problem,
            field=error.field,
            source=seen.source,
            epoch=seen.epoch,
            sequence=seen.sequence,
        )


def _look(text: Raw) -> _Glimpse:
    """As much of a broken event as names it."""
    try:
        return _glimpse.decode(text)
    except (ValueError, RecursionError):
        pass
    try:
        numbers = _numbers.decode(text)
    except (ValueError, RecursionError):
        return _Glimpse()
    return _Glimpse(epoch=numbers.epoch, sequence=numbers.sequence)


def decode_answer(body: bytes) -> LedgerAnswer:
    """The cloud's answer to a batch.

    Raises:
        MalformedError: if it is none.
    """
    return read(_answer, body, "answer", ANSWER_BYTES_MAX)
