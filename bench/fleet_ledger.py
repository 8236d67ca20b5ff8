"""The ledgers that a fleet's devices send: visits of members who have a pass, chained as they are.

What a device writes depends on its name alone, so that one fleet can send the same twice.
"""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta

import msgspec
from msgspec import UNSET

from edgegate.passes.happenings import Closed, Debited, Granted, Happening, Opened
from edgegate.passes.model import Channel
from edgegate.passes.reasons import ClosingReason, Reason
from edgegate.passes.state import Session
from edgegate.store import chain
from edgegate.store.chain import Entry, Link
from edgegate.store.ledger import EntryType
from edgegate.store.projection import TYPES
from edgegate_sync.wire.events import encode_batch

LOCATION = "hall"
MEMBERS = 20
"""Who goes to one device alone, of each device."""

SHARED = 5
"""Of a site, who go to all of its devices: the books put together what each device wrote."""

SHARED_EVERY = 10
"""Of so many visits one is of somebody who is shared."""

USES, USES_SHORT = 10_000, 5
"""In a member's pass at the start; the first who is shared has too few, and is overdrawn."""

START = datetime(2026, 3, 2, 6, tzinfo=UTC)
VISIT_EVERY = timedelta(minutes=9)
STAY = timedelta(minutes=5)
EPOCH = 1
VISIT_ENTRIES = 5


def members(devices: Iterable[str]) -> Iterator[tuple[str, int]]:
    """A site's members, and what is in the pass of each; `pass_of` names it."""
    for number in range(SHARED):
        yield f"shared-{number}", USES if number else USES_SHORT
    for device in devices:
        for number in range(MEMBERS):
            yield f"{device}-{number}", USES


def pass_of(member: str) -> str:
    """The name of a member's pass."""
    return f"pass-{member}"


def _who(device: str, visit: int) -> str:
    if visit % SHARED_EVERY == 0:
        # One after the other to this device, and to two devices at once.
        return f"shared-{(visit // SHARED_EVERY + _place(device)) % SHARED}"
    return f"{device}-{visit % MEMBERS}"


def batches_of(site: str, device: str, entries: int, size: int) -> list[bytes]:
    """A device's ledger of so many entries, in bodies of requests."""
    written: list[Entry] = []
    for at, kind, data in _visits(device, -(-entries // VISIT_ENTRIES)):
        written.append(_entry(site, device, written, at, kind, data))
    written = written[:entries]
    bodies = []
    for begun in range(0, entries, size):
        batch = encode_batch(written[begun : begun + size])
        if batch.count != len(written[begun : begun + size]):
            raise ValueError("a batch is too large for the protocol")
        bodies.append(batch.body)
    return bodies


def _place(device: str) -> int:
    """A device's number at its site."""
    return int(device.rpartition("-")[2])


def _visits(device: str, count: int) -> Iterator[tuple[datetime, str, bytes]]:
    """What so many visits write: the tap, what it cost, the visit, the door, and its end."""
    for number in range(count):
        customer = _who(device, number)
        session = f"{device}-{number}"
        at = START + number * VISIT_EVERY + _place(device) * timedelta(seconds=10)
        for happening in _visit(customer, session, at):
            yield at, TYPES[type(happening)].value, msgspec.json.encode(happening)
        yield at, EntryType.DOOR_UNLOCKED.value, b'{"door":"front"}'
        closed = Closed(
            session=session,
            customer=customer,
            location=LOCATION,
            at=at + STAY,
            reason=ClosingReason.EXIT,
        )
        yield at + STAY, TYPES[Closed].value, msgspec.json.encode(closed)


def _visit(customer: str, session: str, at: datetime) -> Iterator[Happening]:
    yield Granted(
        location=LOCATION,
        channel=Channel.DOOR,
        customer=customer,
        reason=Reason.PASS,
        day=at.date(),
        door="front",
        pass_=pass_of(customer),
        session=session,
    )
    yield Debited(
        pass_=pass_of(customer),
        customer=customer,
        location=LOCATION,
        session=session,
        amount=1,
        day=at.date(),
        from_=at,
        covers=True,
        visit_only=True,
    )
    yield Opened(
        session=Session(
            id=session,
            customer=customer,
            location=LOCATION,
            opened_at=at,
            channel=Channel.DOOR,
            closes_at=at + timedelta(hours=10),
            closes_for=ClosingReason.CUTOFF,
        )
    )


def _entry(
    site: str, device: str, before: list[Entry], at: datetime, kind: str, data: bytes
) -> Entry:
    link = before[-1] if before else Link(epoch=EPOCH)
    source, sequence = f"edgegate/{site}/{device}", link.sequence + 1
    salt = sequence.to_bytes(16)
    digest = chain.data_hash(salt, data)
    envelope = chain.Envelope(
        clock="trusted",
        epoch=EPOCH,
        id=chain.entry_id(source, EPOCH, sequence),
        monotonic=f"boot:{sequence}.000000",
        prevhash=link.hash.hex(),
        sequence=sequence,
        source=source,
        subject=UNSET,
        time=chain.time_text(at),
        type=kind,
    )
    return Entry(
        epoch=EPOCH,
        sequence=sequence,
        source=source,
        type=kind,
        at=at,
        subject=None,
        clock=envelope.clock,
        monotonic=envelope.monotonic,
        salt=salt,
        data=data,
        data_hash=digest,
        prevhash=link.hash,
        hash=chain.envelope_hash(envelope, digest),
    )
