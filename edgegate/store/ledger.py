"""The ledger of what the appliance did: append-only, gapless within an epoch, chained by hashes.

Every function takes the connection and works inside the caller's transaction. The sequence starts
again at 1 with each epoch; the chain does not: the first entry of an epoch names the hash of the
last entry before it that this ledger holds (`chain.GENESIS` if it holds none), so that what was
salvaged cannot be exchanged afterwards.
"""

import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, BinaryIO

import msgspec
from msgspec import UNSET, Struct

from edgegate.ports import ClockTrust
from edgegate.store import chain
from edgegate.store.chain import Entry, Fault, Link

DATA_BYTES_MAX = 65_536
"""The largest data of one entry; a longer one is a mistake of its writer."""

EPOCH_MAX = 2**31 - 1
"""CloudEvents 1.0 integers have 32 bits and a sign."""

_SALT_BYTES = 16
_BATCH = 500
_LOW = 0xFFFFFFFF
_EPOCH_START = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_COLUMNS = "source, type, at, subject, clock, monotonic, salt, data, data_hash, prevhash, hash"
# S608: only constants of this module are put into these.
INSERT_ENTRY = f"INSERT INTO entry (key, {_COLUMNS}) VALUES (?{', ?' * 11})"  # noqa: S608 - see above
_SELECT_SINCE = f"SELECT key, {_COLUMNS} FROM entry WHERE key > ? ORDER BY key LIMIT ?"  # noqa: S608 - see above
_SELECT_TAIL = f"SELECT key, {_COLUMNS} FROM entry ORDER BY key DESC LIMIT ?"  # noqa: S608 - see above
_SELECT_HEAD = """
    SELECT (SELECT value FROM meta WHERE name = 'epoch'), key, hash
    FROM entry ORDER BY key DESC LIMIT 1
"""
# With no entry to be read: either none was written yet, or all were forgotten.
_SELECT_ANCHOR = """
    SELECT (SELECT value FROM meta WHERE name = 'epoch'),
           (SELECT value FROM meta WHERE name = 'anchor_key'),
           (SELECT value FROM meta WHERE name = 'anchor_hash')
"""


class EntryType(StrEnum):
    """What can be recorded (PROTOCOL.md, "Ledger"); what lies behind a later issue is not here."""

    ACCESS_GRANTED = "edgegate.access.granted"
    ACCESS_DENIED = "edgegate.access.denied"
    SESSION_OPENED = "edgegate.session.opened"
    SESSION_SEGMENT = "edgegate.session.segment"
    SESSION_CLOSED = "edgegate.session.closed"
    SESSION_MOVED = "edgegate.session.moved"
    PASS_DEBITED = "edgegate.pass.debited"  # noqa: S105 - the protocol's own word
    PASS_REFUNDED = "edgegate.pass.refunded"  # noqa: S105 - the protocol's own word
    PAYG_SOLD = "edgegate.payg.sold"
    PAYG_CHARGED = "edgegate.payg.charged"
    RESERVATION_ARRIVED = "edgegate.reservation.arrived"
    WIFI_ACCEPTED = "edgegate.wifi.accepted"
    WIFI_REJECTED = "edgegate.wifi.rejected"
    WIFI_STARTED = "edgegate.wifi.started"
    WIFI_STOPPED = "edgegate.wifi.stopped"
    WIFI_DISCONNECTED = "edgegate.wifi.disconnected"
    DOOR_UNLOCKED = "edgegate.door.unlocked"
    DOOR_OPENED = "edgegate.door.opened"
    DOOR_CLOSED = "edgegate.door.closed"
    DOOR_HELD = "edgegate.door.held"
    DOOR_FORCED = "edgegate.door.forced"
    DOOR_EXIT = "edgegate.door.exit"
    DOOR_LOCKDOWN = "edgegate.door.lockdown"
    DOOR_FIRE = "edgegate.door.fire"
    DEVICE_COMMAND = "edgegate.device.command"
    DEVICE_BOOTED = "edgegate.device.booted"
    DEVICE_CLOCK = "edgegate.device.clock"
    DEVICE_DRIVER = "edgegate.device.driver"
    DEVICE_UPDATE = "edgegate.device.update"


class Draft(Struct, frozen=True, kw_only=True):
    """What shall be recorded; `subject` is part of the envelope and so must be no personal data."""

    type: EntryType
    at: datetime
    subject: str | None = None
    data: Any
    """A struct or a dict; it is recorded as JSON with sorted keys."""


class Stamp(Struct, frozen=True, kw_only=True):
    """Who records, and by which clocks."""

    source: str
    """ "edgegate/<site>/<device>"."""
    clock: ClockTrust
    boot_id: str
    monotonic_s: float
    """Seconds since that boot."""


_TYPES: dict[str, str] = {kind.value: kind for kind in EntryType}
_data_encoder = msgspec.json.Encoder(order="sorted")


def append(
    connection: sqlite3.Connection,
    drafts: Sequence[Draft],
    stamp: Stamp,
    after: Link | None = None,
) -> list[Entry]:
    """Record `drafts` in their order as the newest entries of the current epoch.

    `after` is what `head` gave in this transaction, where nothing was appended since.

    Raises:
        ValueError: if a type is not one of `EntryType`, an instant has no offset, or the data is
            longer than `DATA_BYTES_MAX`.
        sqlite3.Error: if it could not be written.
    """
    link = after or head(connection)
    monotonic = f"{stamp.boot_id}:{stamp.monotonic_s:.6f}"
    salts = os.urandom(_SALT_BYTES * len(drafts))
    written = []
    for number, draft in enumerate(drafts):
        salt = salts[number * _SALT_BYTES : (number + 1) * _SALT_BYTES]
        entry = _entry(link, draft, stamp, monotonic, salt)
        link = Link(epoch=entry.epoch, sequence=entry.sequence, hash=entry.hash)
        written.append(entry)
    connection.executemany(INSERT_ENTRY, map(row, written))
    return written


def _entry(link: Link, draft: Draft, stamp: Stamp, monotonic: str, salt: bytes) -> Entry:
    if draft.at.tzinfo is None:
        raise ValueError("an entry's instant needs an offset")
    data = _data_encoder.encode(draft.data)
    if len(data) > DATA_BYTES_MAX:
        raise ValueError(f"{draft.type} has {len(data)} bytes of data, {DATA_BYTES_MAX} at most")
    at = draft.at.astimezone(UTC)
    kind = EntryType(draft.type)
    sequence = link.sequence + 1
    digest = chain.data_hash(salt, data)
    envelope = chain.Envelope(
        clock=stamp.clock.value,
        epoch=link.epoch,
        id=chain.entry_id(stamp.source, link.epoch, sequence),
        monotonic=monotonic,
        prevhash=link.hash.hex(),
        sequence=sequence,
        source=stamp.source,
        subject=UNSET if draft.subject is None else draft.subject,
        time=chain.time_text(at),
        type=kind.value,
    )
    return Entry(
        epoch=link.epoch,
        sequence=sequence,
        source=stamp.source,
        type=kind,
        at=at,
        subject=draft.subject,
        clock=envelope.clock,
        monotonic=monotonic,
        salt=salt,
        data=data,
        data_hash=digest,
        prevhash=link.hash,
        hash=chain.envelope_hash(envelope, digest),
    )


def key_of(epoch: int, sequence: int) -> int:
    """The row's key of an entry."""
    return epoch << 32 | sequence


def row(entry: Entry) -> tuple[Any, ...]:
    """An entry as the values of `INSERT_ENTRY`."""
    return (
        key_of(entry.epoch, entry.sequence),
        entry.source,
        str(entry.type),
        (entry.at - _EPOCH_START) // _MICROSECOND,
        entry.subject,
        entry.clock,
        entry.monotonic,
        entry.salt,
        entry.data,
        entry.data_hash,
        entry.prevhash,
        entry.hash,
    )


def entry_of_row(values: Sequence[Any]) -> Entry:
    """The inverse of `row`."""
    key, source, kind, at_us, subject, clock, monotonic, salt, data, *hashes = values
    digest, prevhash, own = hashes
    return Entry(
        epoch=key >> 32,
        sequence=key & _LOW,
        source=source,
        type=_TYPES.get(kind, kind),
        at=_EPOCH_START + timedelta(microseconds=at_us),
        subject=subject,
        clock=clock,
        monotonic=monotonic,
        salt=salt,
        data=data,
        data_hash=digest,
        prevhash=prevhash,
        hash=own,
    )


def head(connection: sqlite3.Connection) -> Link:
    """Where the ledger stands: its epoch, the last sequence in it, the hash the next entry names.

    In an epoch without entries the sequence is 0 and the hash that of the epoch before.

    Raises:
        RuntimeError: if the ledger never began an epoch.
    """
    epoch, key, digest = _last(connection)
    if epoch is None:
        raise RuntimeError("the ledger has no epoch")
    if key is None:
        return Link(epoch=epoch)
    return Link(epoch=epoch, sequence=key & _LOW if key >> 32 == epoch else 0, hash=digest)


def _last(connection: sqlite3.Connection) -> tuple[int | None, int | None, bytes]:
    """The current epoch, and key and hash of the newest entry, forgotten ones included."""
    found = connection.execute(_SELECT_HEAD).fetchone()
    found = found or connection.execute(_SELECT_ANCHOR).fetchone()
    return found[0], found[1], found[2]


def begin_epoch(connection: sqlite3.Connection, now_s: float) -> int:
    """Let further entries belong to a new epoch: the second it is now, or the last one plus 1.

    Raises:
        OverflowError: if no 32-bit number is left, which is so from 2038 on only after 2^31 epochs.
    """
    current, key, _ = _last(connection)
    before = max(current or 0, (key or 0) >> 32)
    epoch = max(before + 1, min(int(now_s), EPOCH_MAX))
    if epoch > EPOCH_MAX:
        raise OverflowError("no epoch is left")
    connection.execute("INSERT OR REPLACE INTO meta VALUES ('epoch', ?)", (epoch,))
    return epoch


def tail(connection: sqlite3.Connection, count: int) -> list[Entry]:
    """The newest `count` entries, oldest of them first."""
    return [entry_of_row(r) for r in connection.execute(_SELECT_TAIL, (count,))][::-1]


def since(
    connection: sqlite3.Connection, epoch: int, sequence: int, limit: int = _BATCH
) -> list[Entry]:
    """Up to `limit` entries that follow `epoch`/`sequence`, across epochs; 0/0 is the beginning."""
    rows = connection.execute(_SELECT_SINCE, (key_of(epoch, sequence), limit))
    return [entry_of_row(values) for values in rows]


def entries(connection: sqlite3.Connection, after: int = 0) -> Iterator[Entry]:
    """All entries behind a key, read a batch at a time: no reader stays open between batches."""
    epoch, sequence = after >> 32, after & _LOW
    while batch := since(connection, epoch, sequence):
        yield from batch
        epoch, sequence = batch[-1].epoch, batch[-1].sequence


def verify(connection: sqlite3.Connection, faults_max: int = 100) -> list[Fault]:
    """Check the whole chain; an empty list says that it is sound."""
    while True:
        anchor = _anchor(connection)
        faults = chain.verify(entries(connection), after=anchor, faults_max=faults_max)
        # Where retention forgot entries meanwhile, they were missed for no reason.
        if not faults or _anchor(connection) == anchor:
            return faults


def cloud_event(entry: Entry) -> bytes:
    """An entry as a CloudEvents 1.0 JSON event on one line.

    Besides the envelope it carries `datahash`, and unless erased `data` and `salt` (hexadecimal),
    so that whoever has it can check the chain.
    """
    event = msgspec.to_builtins(chain.envelope(entry))
    event["datahash"] = entry.data_hash.hex()
    if entry.data is not None and entry.salt is not None:
        event["salt"] = entry.salt.hex()
        event["data"] = msgspec.Raw(entry.data)
    return _data_encoder.encode(event)


def export(connection: sqlite3.Connection, stream: BinaryIO) -> int:
    """Write every entry as newline-delimited CloudEvents; return how many there were."""
    count = 0
    for count, entry in enumerate(entries(connection), start=1):  # noqa: B007 - it is the result
        stream.write(cloud_event(entry) + b"\n")
    return count


def erase(connection: sqlite3.Connection, entries: Iterable[tuple[int, int]]) -> int:
    """Remove salt and data of the entries named by (epoch, sequence); the chain still verifies.

    Returns how many of them had data.
    """
    return sum(
        connection.execute(
            "UPDATE entry SET salt = NULL, data = NULL WHERE key = ? AND data IS NOT NULL",
            (key_of(*entry),),
        ).rowcount
        for entry in entries
    )


def forget(connection: sqlite3.Connection, epoch: int, sequence: int) -> int:
    """Remove the entries up to and including `epoch`/`sequence`, as retention may (M-04).

    The newest of them stays in `meta` by its hash, and the chain verifies from there.
    """
    until = key_of(epoch, sequence)
    anchor = connection.execute(
        "SELECT key, hash FROM entry WHERE key <= ? ORDER BY key DESC LIMIT 1", (until,)
    ).fetchone()
    if anchor is None:
        return 0
    connection.executemany(
        "INSERT OR REPLACE INTO meta VALUES (?, ?)",
        (("anchor_key", anchor[0]), ("anchor_hash", anchor[1])),
    )
    connection.execute("UPDATE retention SET until = ?", (until,))
    return connection.execute("DELETE FROM entry WHERE key <= ?", (until,)).rowcount


def _anchor(connection: sqlite3.Connection) -> Link | None:
    meta = dict(connection.execute("SELECT name, value FROM meta WHERE name LIKE 'anchor_%'"))
    if not meta:
        return None
    key = meta["anchor_key"]
    return Link(epoch=key >> 32, sequence=key & _LOW, hash=meta["anchor_hash"])
