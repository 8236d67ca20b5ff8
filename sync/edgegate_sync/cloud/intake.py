"""What a device sent, sorted: fresh entries, repeated ones, forks and poison (pure).

Nothing is ever refused: an entry is stored, or it is put into quarantine by name and holds up
nothing. An entry is poison if it does not decode, is not as it was written, is of a type that
nobody knows, is another device's, or says something absurd, which would poison what is made of it.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

import msgspec
from msgspec import Struct

from edgegate.passes.happenings import (
    Charged,
    Debited,
    Happening,
    Moved,
    Opened,
    Refunded,
    Sold,
)
from edgegate.store import chain
from edgegate.store.chain import Entry
from edgegate.store.ledger import EntryType
from edgegate.store.projection import happening_of
from edgegate_sync.wire.events import Poisoned

Key = tuple[int, int]
"""Epoch and sequence."""

ID_MAX = 128
AMOUNT_MAX = 1_000_000_000
MONEY_MAX = 1_000_000_000_000
RAW_BYTES_MAX = 65_536
"""How much of a poisoned element is kept to look at."""

JUMP_MAX = 100_000
"""How far ahead a poisoned entry's own number is believed."""

_anything = msgspec.json.Decoder().decode

EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
LATEST = datetime(9999, 1, 1, tzinfo=UTC)

FURTHER_TYPES = frozenset(
    f"edgegate.wifi.{name}" for name in ("accepted", "rejected", "started", "updated")
)
FURTHER_PREFIXES = ("edgegate.staff.",)
"""Types of the protocol that this version of the appliance does not write yet."""


class Fault:
    """Why something is in quarantine."""

    UNREADABLE = "unreadable"
    FOREIGN = "foreign"
    TAMPERED = "tampered"
    UNKNOWN_TYPE = "unknown_type"
    ABSURD = "absurd"
    FORK = "fork"


class FlagKind:
    """What is wrong with a chain at an entry."""

    GAP = "gap"
    PREVHASH = "prevhash"
    RESTARTED = "restarted"
    CUT_OFF = "cut_off"


class Fresh(Struct, frozen=True, kw_only=True):
    """An entry that can be taken for what it says, with the happening that it holds."""

    entry: Entry
    happening: Happening | None

    @property
    def key(self) -> Key:
        """Its place in its device's ledger."""
        return self.entry.epoch, self.entry.sequence


class Poison(Struct, frozen=True, kw_only=True):
    """Something for the quarantine; `key` is its place in the ledger as far as it can be told."""

    fault: str
    detail: str
    raw: bytes
    key: Key | None = None
    hash: bytes | None = None

    def id(self, device: str) -> str:
        """The same name however often it is sent."""
        place = f"{device}/{self.key}/{self.fault}/".encode()
        return sha256(place + (self.hash or self.raw)).hexdigest()


class Sorted(Struct, frozen=True, kw_only=True):
    """A batch as it came, before anybody looked what is known already."""

    fresh: tuple[Fresh, ...]
    poison: tuple[Poison, ...]


def sort_out(
    batch: Sequence[Entry | Poisoned], raw: Sequence[bytes], source: str, head: Key | None
) -> Sorted:
    """Tell a batch's good entries from its poison.

    `raw` are the elements as they came, `source` is whose they have to be, `head` how far that
    device's ledger was taken in; where a poisoned element does not say its place, its neighbours
    do.
    """
    fresh: list[Fresh] = []
    poison: list[Poison] = []
    last = _before(batch, source) or head
    for element, text in zip(batch, raw, strict=True):
        found = _judge(element, text, source, last)
        if isinstance(found, Fresh):
            fresh.append(found)
            last = found.key
        else:
            poison.append(found)
            last = found.key or last
    return Sorted(fresh=tuple(fresh), poison=tuple(poison))


def _before(batch: Sequence[Entry | Poisoned], source: str) -> Key | None:
    """The place before the first element, as the first good entry after it tells."""
    for place, element in enumerate(batch):
        if isinstance(element, Entry) and element.source == source:
            return (element.epoch, element.sequence - place - 1) if place else None
    return None


def _judge(element: Entry | Poisoned, text: bytes, source: str, last: Key | None) -> Fresh | Poison:
    raw = text[:RAW_BYTES_MAX]
    due = None if last is None else (last[0], max(1, last[1] + 1))
    if isinstance(element, Poisoned):
        where = f"{element.field}: " if element.field else ""
        key = due
        if element.epoch and element.sequence and element.source in (source, None):
            key = _believed((element.epoch, element.sequence), last)
        detail = f"{where}{element.problem}"[:500]
        return Poison(fault=Fault.UNREADABLE, detail=detail, raw=raw, key=key)
    if element.source != source:
        detail = f"it is of {element.source}, and came from {source}"
        return Poison(fault=Fault.FOREIGN, detail=detail, raw=raw, key=due)
    key = (element.epoch, element.sequence)
    fault, detail, happening = _look(element)
    if fault is None:
        return Fresh(entry=element, happening=happening)
    return Poison(fault=fault, detail=detail[:500], raw=raw, key=key, hash=element.hash)


def _believed(claimed: Key, last: Key | None) -> Key | None:
    """A place that somebody who cannot write an event says; a mad one would skip good entries."""
    if last is None or claimed[0] != last[0]:
        return claimed if claimed[1] <= JUMP_MAX else last
    return claimed if claimed[1] <= last[1] + JUMP_MAX else (last[0], last[1] + 1)


def _look(entry: Entry) -> tuple[str | None, str, Happening | None]:
    if entry.data is None or entry.salt is None:
        if entry.data is not entry.salt:
            return Fault.TAMPERED, "it is half erased", None
    elif chain.data_hash(entry.salt, entry.data) != entry.data_hash:
        return Fault.TAMPERED, "the data is not what was recorded", None
    if not _is_type(entry.type):
        return Fault.UNKNOWN_TYPE, f"nobody knows the type {entry.type}", None
    try:
        happening = happening_of(entry)
        if happening is None and entry.data is not None:
            _anything(entry.data)
    except (ValueError, RecursionError, OverflowError, msgspec.MsgspecError) as error:
        return Fault.ABSURD, f"the data is not that of a {entry.type}: {error}", None
    absurd = _absurd(entry, happening)
    return (None, "", happening) if absurd is None else (Fault.ABSURD, absurd, None)


def _is_type(name: str) -> bool:
    return name in _TYPES or name in FURTHER_TYPES or name.startswith(FURTHER_PREFIXES)


_TYPES = frozenset(kind.value for kind in EntryType)


def _absurd(entry: Entry, h: Happening | None) -> str | None:
    """What of an entry could not be stored, or would spoil a sum; None: nothing."""
    texts = [entry.subject, entry.clock, entry.monotonic]
    if any(text is not None and "\0" in text for text in texts):
        return "a text in it has the character U+0000"
    if h is None:
        return None
    for name in ("customer", "pass_", "location", "session", "offer", "reservation"):
        text = getattr(h, name, None)
        # An unknown place has no name (`Denied.location`).
        nameless = text == "" and name != "location"
        if isinstance(text, str) and (nameless or len(text) > ID_MAX or "\0" in text):
            return f"{name.rstrip('_')} is no id"
    instants = [entry.at, *(getattr(h, name, None) for name in ("from_", "until", "at"))]
    if isinstance(h, Opened):
        instants += [h.session.opened_at, h.session.closes_at]
        if len(h.session.id) > ID_MAX or "\0" in h.session.id + h.session.customer:
            return "session is no id"
    if isinstance(h, Moved):
        instants += [h.was, h.opened_at, h.closes_at]
        instants += [at for bought in h.bought for at in (bought.from_, bought.until)]
    if any(at is not None and not _is_instant(at) for at in instants):
        return "an instant in it is none"
    return _absurd_amount(h)


def _absurd_amount(h: Happening) -> str | None:
    if isinstance(h, Debited | Refunded) and not 0 <= h.amount <= AMOUNT_MAX:
        return f"the amount {h.amount} is none"
    if isinstance(h, Charged) and not 0 <= h.amount <= MONEY_MAX:
        return f"the charge {h.amount} is none"
    if isinstance(h, Debited) and h.until is not None and h.until < h.from_:
        return "it ends before it begins"
    counts = h.counts if isinstance(h, Debited) else None
    if counts is not None and (counts.increment_minutes < 1 or counts.minimum_minutes < 0):
        return "its terms are none"
    if isinstance(h, Sold) and not (0 <= h.sale.price <= MONEY_MAX and len(h.sale.offer) <= ID_MAX):
        return "the sale is none"
    return None


def _is_instant(at: datetime) -> bool:
    return at.tzinfo is not None and EARLIEST <= at < LATEST


def customer_of(one: Fresh) -> str | None:
    """Whom an entry is about: what has to be erased with them."""
    h = one.happening
    if isinstance(h, Opened):
        return h.session.customer
    if h is not None:
        return getattr(h, "customer", None)
    data = one.entry.data
    return _named(_anything(data)) if data is not None and b'"customer"' in data else None


def _named(value: Any) -> str | None:
    """The customer that a field names, at any depth."""
    if isinstance(value, dict):
        named = value.get("customer")
        if isinstance(named, str) and 0 < len(named) <= ID_MAX and "\0" not in named:
            return named
        value = list(value.values())
    if isinstance(value, list):
        return next((found for part in value if (found := _named(part)) is not None), None)
    return None


class Links(Struct, frozen=True, kw_only=True):
    """What the cloud knows around the entries of a batch, by place: hash and hash before."""

    known: Mapping[Key, tuple[bytes, bytes]]
    quarantined: frozenset[Key] = frozenset()
    heads: Mapping[int, tuple[int, bytes]] = {}
    """By epoch: how far it was taken in before, and the hash there."""


def flags(links: Links, keys: Iterable[Key]) -> dict[Key, tuple[str, str]]:
    """What is wrong with the chain at each of these entries: kind and detail; sound ones not."""
    found = {}
    for key in keys:
        flag = _flag(links, key)
        if flag is not None:
            found[key] = flag
    return found


def _flag(links: Links, key: Key) -> tuple[str, str] | None:
    epoch, sequence = key
    prevhash = links.known[key][1]
    if sequence == 1:
        return _flag_of_first(links, epoch, prevhash)
    before = links.known.get((epoch, sequence - 1))
    if before is None:
        # Behind what is in quarantine the hash before is not known.
        if (epoch, sequence - 1) in links.quarantined:
            return None
        return FlagKind.GAP, f"there is no {epoch}/{sequence - 1}"
    if prevhash != before[0]:
        return (
            FlagKind.PREVHASH,
            f"names {prevhash.hex()}, but the one before has {before[0].hex()}",
        )
    return None


def _flag_of_first(links: Links, epoch: int, prevhash: bytes) -> tuple[str, str] | None:
    """The first entry of an epoch names the last one before it that its ledger still had."""
    earlier = [known for known in links.heads if known < epoch]
    if not earlier:
        return None if prevhash == chain.GENESIS else (FlagKind.PREVHASH, "its ledger began before")
    before = max(earlier)
    sequence, digest = links.heads[before]
    if not digest or prevhash == digest:
        # Of what is in quarantine the hash may not be known.
        return None
    if prevhash == chain.GENESIS:
        detail = f"its ledger is new; {before}/{sequence} was the last of the old one"
        return FlagKind.RESTARTED, detail
    detail = f"does not follow {before}/{sequence}: entries after a restored one are lost"
    return FlagKind.CUT_OFF, detail
