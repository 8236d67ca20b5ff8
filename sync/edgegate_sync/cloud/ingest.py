"""Takes in what devices recorded: exactly once, whole or not at all, and nothing is ever refused.

One batch is one transaction, and a handful of statements whatever is in it. The site's row is
locked first, so that two workers who take in the same site's entries do it one after the other.

What an answer calls `counted` is the newest entry of the batch's last epoch that the cloud has
taken in, stored or in quarantine, also behind a gap: whatever the device has up to there it need
never send again. A gap is flagged, and mended if what was missing comes after all: what is there,
`stored` says, so that a device sees it when the cloud was restored from a backup and lacks what it
had.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import msgspec
from msgspec import Raw
from sqlalchemy import and_, delete, or_, select, update

from edgegate.passes.happenings import Debited
from edgegate.passes.model import Counted
from edgegate.store.chain import Entry
from edgegate.store.projection import microseconds
from edgegate_sync.cloud import reckon, webhook_events
from edgegate_sync.cloud.balances import Books
from edgegate_sync.cloud.database import Database, fetch
from edgegate_sync.cloud.feed import Transaction
from edgegate_sync.cloud.intake import (
    Fault,
    Fresh,
    Key,
    Poison,
    sort_out,
)
from edgegate_sync.cloud.ledger_tables import ledger_entry, movement, quarantine, visit
from edgegate_sync.cloud.projection import MovementKind, Touched, project
from edgegate_sync.cloud.shift import shift
from edgegate_sync.cloud.stored import stored_in, stored_query
from edgegate_sync.cloud.stow import (
    Head,
    Taken,
    erased_of,
    heads_in,
    heads_query,
    write_entries,
    write_flags,
    write_heads,
    write_movements,
)
from edgegate_sync.wire.events import LedgerAnswer, Outcome, Poisoned, Settled, Stored, decode_batch

PARTS_TOLD_MAX = 4
"""Of so many parts of one settled debit an answer tells; the books have them all."""

SPAN_MAX = 2_000
"""Up to so many sequences are looked up as one range; what is scattered wider, one by one."""

_raws = msgspec.json.Decoder(list[Raw]).decode
_TOLD = {
    MovementKind.MOVED: Outcome.MOVED,
    MovementKind.CHARGED: Outcome.CHARGED,
    MovementKind.FORGIVEN: Outcome.FORGIVEN,
    MovementKind.MERGE: Outcome.ACCEPTED,
}


async def send_ledger(
    database: Database, site: str, device: str, body: bytes, now: datetime
) -> LedgerAnswer:
    """Take in a batch that a device of a site sent, and say up to where its ledger counts.

    Raises:
        TooLargeError: if the batch has more than `BATCH_BYTES_MAX` bytes.
        MalformedError: if it is no array of at most `BATCH_ENTRIES_MAX` elements.
        SiteUnknownError: if there is no such site.
    """
    batch = decode_batch(body)
    raw = [bytes(text) for text in _raws(body)]
    async with database.site(site) as tx:
        await tx.lock()
        return await take_in(tx, device, batch, raw, microseconds(now))


async def ask_ledger(database: Database, site: str, device: str) -> LedgerAnswer:
    """Up to where a device's ledger counts."""
    async with database.reading() as connection:
        heads = heads_in(await fetch(connection, heads_query(site, device)))
        stored = stored_in(heads, await fetch(connection, stored_query(site, device)))
    return _answer(heads, max(heads, default=0), stored)


async def take_in(
    tx: Transaction,
    device: str,
    batch: Sequence[Entry | Poisoned],
    raw: Sequence[bytes],
    now_us: int,
) -> LedgerAnswer:
    """Take in a batch within a transaction that holds the site's lock."""
    taken = await _take(tx, device, batch, raw)
    forked = any(poison.fault == Fault.FORK for poison in taken.poison)
    touched = project(tx.site, taken.fresh, now_us)
    before = dict(taken.heads)
    _advance(taken)
    erased = await erased_of(tx, taken.fresh)
    await write_entries(tx, device, taken, erased, now_us)
    await write_flags(tx, device, taken, now_us)
    await write_heads(tx, device, taken, before, now_us)
    await write_movements(tx, touched, erased)
    await shift(tx, device, taken.fresh, touched, now_us)
    reckoned = await _count(tx, device, taken, touched, now_us)
    told = await _told(tx, device, taken, begin_epoch=forked, reckoned=reckoned)
    await webhook_events.note(tx, device, [one.entry for one in taken.fresh], told.settled)
    return told


async def _take(
    tx: Transaction, device: str, batch: Sequence[Entry | Poisoned], raw: Sequence[bytes]
) -> Taken:
    heads = heads_in(await tx.execute(heads_query(tx.site, device)))
    newest = max(heads, default=None)
    head = None if newest is None else (newest, heads[newest].sequence)
    found = sort_out(batch, raw, f"edgegate/{tx.site}/{device}", head)
    poison = list(found.poison)
    if poison and not found.fresh:
        poison = await _where_it_was(tx, device, poison)
    keys = [one.key for one in found.fresh] + [p.key for p in poison if p.key is not None]
    known = await _known(tx, device, keys)
    taken = Taken(fresh=[], repeated=[], poison=poison, known=known, heads=heads)
    for one, text in _with_text(found.fresh, batch, raw):
        stored = known.get(one.key)
        if stored is None:
            taken.fresh.append(one)
            known[one.key] = (one.entry.hash, one.entry.prevhash)
        elif stored[0] == one.entry.hash:
            taken.repeated.append(one)
        else:
            detail = f"{one.key[0]}/{one.key[1]} is known with the hash {stored[0].hex()}"
            fork = Poison(
                fault=Fault.FORK, detail=detail, raw=text, key=one.key, hash=one.entry.hash
            )
            taken.poison.append(fork)
    return taken


async def _where_it_was(tx: Transaction, device: str, poison: Sequence[Poison]) -> list[Poison]:
    """Poison among which is nothing good keeps the place that it was given the first time."""
    rows = await tx.execute(
        select(quarantine.c.epoch, quarantine.c.sequence, quarantine.c.raw).where(
            quarantine.c.site == tx.site,
            quarantine.c.device == device,
            quarantine.c.raw.in_([p.raw for p in poison]),
        )
    )
    places = {row.raw: (row.epoch, row.sequence) for row in rows if row.sequence is not None}
    return [msgspec.structs.replace(p, key=places.get(p.raw, p.key)) for p in poison]


def _with_text(
    fresh: Iterable[Fresh], batch: Sequence[Entry | Poisoned], raw: Sequence[bytes]
) -> Iterable[tuple[Fresh, bytes]]:
    texts = {id(element): text for element, text in zip(batch, raw, strict=True)}
    return ((one, texts[id(one.entry)]) for one in fresh)


async def _known(
    tx: Transaction, device: str, keys: Iterable[Key]
) -> dict[Key, tuple[bytes, bytes]]:
    """What is stored at and beside the places of a batch: hash, and hash before."""
    sequences: dict[int, list[int]] = {}
    for epoch, sequence in keys:
        sequences.setdefault(epoch, []).append(sequence)
    if not sequences:
        return {}
    rows = await tx.execute(
        select(
            ledger_entry.c.epoch,
            ledger_entry.c.sequence,
            ledger_entry.c.hash,
            ledger_entry.c.prevhash,
        ).where(
            ledger_entry.c.site == tx.site,
            ledger_entry.c.device == device,
            or_(*(_places(epoch, of) for epoch, of in sequences.items())),
        )
    )
    return {(row.epoch, row.sequence): (row.hash, row.prevhash) for row in rows}


def _places(epoch: int, sequences: Sequence[int]) -> Any:
    low, high = min(sequences) - 1, max(sequences) + 1
    if high - low <= SPAN_MAX:
        near = ledger_entry.c.sequence.between(low, high)
    else:
        around = {s + step for s in sequences for step in (-1, 0, 1)}
        near = ledger_entry.c.sequence.in_(sorted(around))
    return and_(ledger_entry.c.epoch == epoch, near)


def _advance(taken: Taken) -> None:
    """Let the heads follow what is taken in; quarantined entries count, forks are behind it."""
    places: list[tuple[Key, bytes]] = [(one.key, one.entry.hash) for one in taken.fresh]
    places += [(p.key, p.hash or b"") for p in taken.poison if p.key is not None]
    for (epoch, sequence), digest in places:
        head = taken.heads.get(epoch)
        if head is None or sequence > head.sequence:
            taken.heads[epoch] = Head(sequence=sequence, hash=digest)


async def _count(tx: Transaction, device: str, taken: Taken, touched: Touched, now_us: int) -> bool:
    """Carry the movements into the books, merge, settle, and put the balances on the feed.

    Returns whether anything may have been merged or settled.
    """
    gained: dict[str, int] = {}
    for row in touched.movements:
        if row["pass"] is not None:
            gained[row["pass"]] = gained.get(row["pass"], 0) + row["amount"]
    reopened = await _take_back_abandoned(tx, touched)
    merged = await reckon.merge(tx, touched.spans, now_us) if touched.spans else {}
    passes = gained.keys() | merged.keys() | reopened.keys()
    if not passes:
        return False
    books = Books(tx)
    await books.open(passes)
    for amounts in (gained, merged, reopened):
        books.move(amounts)
    newest = max(taken.heads)
    counted = Counted(epoch=newest, sequence=taken.heads[newest].sequence)
    books.count(gained.keys(), device, counted)
    settled = await reckon.settle(tx, books, now_us)
    await books.write()
    return settled or bool(merged)


async def _take_back_abandoned(tx: Transaction, touched: Touched) -> dict[str, int]:
    """A device that was given up came back and closed a visit itself: that counts (M-05)."""
    closed = sorted(v["id"] for v in touched.visits.values() if v["closed_us"] is not None)
    if not closed:
        return {}
    done = await tx.execute(
        update(visit)
        .where(visit.c.site == tx.site, visit.c.id.in_(closed), visit.c.abandoned_us.is_not(None))
        .values(abandoned_us=None)
        .returning(visit.c.id)
    )
    sessions = [row.id for row in done]
    if not sessions:
        return {}
    gone = await tx.execute(
        delete(movement)
        .where(
            movement.c.site == tx.site,
            movement.c.session.in_(sessions),
            movement.c.kind == MovementKind.ABANDONED,
        )
        .returning(movement.c["pass"], movement.c.amount)
    )
    back: dict[str, int] = {}
    for row in gone.mappings():
        if row["pass"] is not None:
            back[row["pass"]] = back.get(row["pass"], 0) - row["amount"]
    return back


async def _told(
    tx: Transaction, device: str, taken: Taken, *, begin_epoch: bool, reckoned: bool
) -> LedgerAnswer:
    """What became of a batch: the same however often it is sent."""
    parked = {p.key: p.detail for p in taken.poison if p.key is not None}
    settled = [
        Settled(epoch=key[0], sequence=key[1], outcome=Outcome.QUARANTINED, why=why)
        for key, why in parked.items()
    ]
    debits = [
        one.entry for one in (*taken.fresh, *taken.repeated) if isinstance(one.happening, Debited)
    ]
    if debits and (reckoned or taken.repeated):
        settled += await _settled(tx, debits)
    keys = [*parked, *(one.key for one in (*taken.fresh, *taken.repeated))]
    epoch = max((key[0] for key in keys), default=max(taken.heads, default=0))
    stored = stored_in(taken.heads, await tx.execute(stored_query(tx.site, device)))
    return msgspec.structs.replace(
        _answer(taken.heads, epoch, stored),
        begin_epoch=begin_epoch,
        settled=tuple(sorted(settled, key=lambda s: (s.epoch, s.sequence, s.outcome, s.why))),
    )


async def _settled(tx: Transaction, debits: Iterable[Entry]) -> list[Settled]:
    """How these debits were merged and settled, by the names that such movements have."""
    names: dict[str, Entry] = {}
    for entry in debits:
        names[f"merge:{entry.id}"] = entry
        names |= {f"settle:{entry.id}:{place}": entry for place in range(PARTS_TOLD_MAX)}
    rows = await tx.execute(
        select(movement.c.id, movement.c.kind, movement.c.memo).where(
            movement.c.site == tx.site, movement.c.id.in_(sorted(names))
        )
    )
    return [
        Settled(
            epoch=names[row.id].epoch,
            sequence=names[row.id].sequence,
            outcome=_TOLD[row.kind],
            why=row.memo or "",
        )
        for row in rows
    ]


def _answer(heads: dict[int, Head], epoch: int, stored: tuple[Stored, ...]) -> LedgerAnswer:
    head = heads.get(epoch)
    if head is None:
        return LedgerAnswer(epoch=0, counted=0, stored=stored)
    known = head.hash.hex() if head.hash else None
    return LedgerAnswer(epoch=epoch, counted=head.sequence, head_hash=known, stored=stored)
