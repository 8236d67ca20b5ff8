"""Notes what webhooks are to tell, in the transaction in which it happened.

An event is noted only where somebody of its site wants it. Its name comes of what it is about, so
that what is taken in twice is told once.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256

import msgspec
from msgspec import Raw, Struct
from sqlalchemy import delete, func, select, update
from sqlalchemy.dialects import postgresql, sqlite

from edgegate.store.chain import Entry
from edgegate_sync.cloud import erasure
from edgegate_sync.cloud.database import Database, Writing, fetch
from edgegate_sync.cloud.feed import Transaction
from edgegate_sync.cloud.tables import device, record
from edgegate_sync.cloud.webhook_tables import webhook, webhook_delivery, webhook_event
from edgegate_sync.wire.changes import Op
from edgegate_sync.wire.events import Outcome, Settled

PREFIX = "edgegate."

EVENT_TYPES = (
    *("access.granted", "access.denied"),
    *("session.opened", "session.segment", "session.moved", "session.closed"),
    *("pass.debited", "pass.refunded", "payg.sold", "payg.charged", "reservation.arrived"),
    *("door.held", "door.forced", "door.lockdown", "door.fire"),
    *("settlement.moved", "settlement.charged", "settlement.forgiven", "device.offline"),
)
"""The events one may most likely want; entries of every other type can be asked for too."""

KEEP = timedelta(days=7)
"""How long events and deliveries are kept."""

OFFLINE_AFTER = timedelta(minutes=5)
"""A device that was silent for so long is offline."""

OFFLINE_TOLD_FOR = timedelta(days=1)
"""A device that is away for longer was told of, and is not looked at again."""

_told = (Outcome.MOVED, Outcome.CHARGED, Outcome.FORGIVEN)


class Told(Struct, frozen=True, kw_only=True):
    """The body of a webhook, as Standard Webhooks has it."""

    type: str
    timestamp: datetime
    data: dict[str, object]


class Noted(Struct, frozen=True, kw_only=True):
    """An event before it is numbered."""

    id: str
    type: str
    at: datetime
    data: dict[str, object]
    customer: str | None = None


def wants(events: str, kind: str) -> bool:
    """Whether an endpoint that asked for `session.*`, `*` or a type by its name wants a type."""
    return any(
        word in ("*", kind) or (word.endswith(".*") and kind.startswith(word[:-1]))
        for word in events.split()
    )


async def note(
    tx: Transaction, device_id: str, entries: Sequence[Entry], settled: Iterable[Settled]
) -> None:
    """Note what a batch brought; the caller holds the site's lock."""
    asked = await _asked(tx)
    if not asked:
        return
    found = [_of_entry(device_id, entry) for entry in entries if _wanted(asked, _kind(entry))]
    found += [
        _of_settled(device_id, one)
        for one in settled
        if one.outcome in _told and _wanted(asked, f"settlement.{one.outcome.value}")
    ]
    await write(tx, await _without_erased(tx, found))


async def write(tx: Transaction, noted: Sequence[Noted]) -> None:
    """Number events and write them, those already known apart; the site must be locked."""
    if not noted:
        return
    number = await head(tx.writing, tx.site)
    now = datetime.now(UTC)
    rows = [
        {
            "site": tx.site,
            "id": one.id,
            "number": place,
            "type": one.type,
            "noted_at": now,
            "customer": one.customer,
            "body": msgspec.json.encode(
                Told(type=one.type, timestamp=one.at, data={"site": tx.site} | one.data)
            ),
        }
        for place, one in enumerate(noted, start=number + 1)
    ]
    insert = (sqlite if tx.writing.is_sqlite else postgresql).insert(webhook_event)
    known = insert.on_conflict_do_nothing(index_elements=["site", "id"])
    await tx.execute(known, rows)


async def head(writing: Writing, site: str) -> int:
    """The highest number that a site's events ever had, as far as it matters to anybody."""
    events = await writing.execute(
        select(func.max(webhook_event.c.number)).where(webhook_event.c.site == site)
    )
    sent = await writing.execute(select(func.max(webhook.c.sent)).where(webhook.c.site == site))
    return max(events.scalar_one() or 0, sent.scalar_one() or 0)


async def note_offline(database: Database, now: datetime) -> int:
    """Note each device that went silent, once for each silence; how many that were."""
    silent = (
        select(device.c.site, device.c.id, device.c.seen_at)
        .where(
            device.c.revoked_at.is_(None),
            device.c.online.is_(False),
            device.c.seen_at < now - OFFLINE_AFTER,
            device.c.seen_at > now - OFFLINE_TOLD_FOR,
        )
        .order_by(device.c.site)
    )
    by_site: dict[str, list[Noted]] = {}
    async with database.reading() as connection:
        for row in await fetch(connection, silent):
            one = Noted(
                id=_short(f"offline:{row.id}:{row.seen_at.isoformat()}"),
                type="device.offline",
                at=row.seen_at,
                data={"device": row.id, "seen_at": row.seen_at},
            )
            by_site.setdefault(row.site, []).append(one)
    for site, noted in by_site.items():
        async with database.site(site) as tx:
            await tx.lock()
            if _wanted(await _asked(tx), "device.offline"):
                await write(tx, noted)
    return sum(map(len, by_site.values()))


async def sweep(database: Database, now: datetime) -> None:
    """Forget events and deliveries that are older than `KEEP`; what was not told by then is lost.

    It shows as a jump of the endpoint's cursor, so that nothing waits for what is gone.
    """
    async with database.writing() as writing:
        await writing.execute(delete(webhook_delivery).where(webhook_delivery.c.at < now - KEEP))
        gone = select(func.max(webhook_event.c.number)).where(
            webhook_event.c.site == webhook.c.site, webhook_event.c.noted_at < now - KEEP
        )
        passed = gone.scalar_subquery()
        await writing.execute(update(webhook).where(webhook.c.sent < passed).values(sent=passed))
        await writing.execute(delete(webhook_event).where(webhook_event.c.noted_at < now - KEEP))


async def forget(tx: Transaction, kind: str, record_id: str) -> None:
    """Forget what is still kept of events about somebody who is erased."""
    if kind == "customer":
        await tx.execute(
            delete(webhook_event).where(
                webhook_event.c.site == tx.site, webhook_event.c.customer == record_id
            )
        )


async def _asked(tx: Transaction) -> list[str]:
    found = await tx.execute(select(webhook.c.events).where(webhook.c.site == tx.site))
    return list(found.scalars())


def _wanted(asked: Iterable[str], kind: str) -> bool:
    return any(wants(events, kind) for events in asked)


def _kind(entry: Entry) -> str:
    return entry.type.removeprefix(PREFIX)


def _of_entry(device_id: str, entry: Entry) -> Noted:
    said: dict[str, object] = {}
    if entry.data is not None:
        try:
            said = {"entry": Raw(entry.data)}
            named = msgspec.json.decode(entry.data, type=_Named)
        except msgspec.MsgspecError:
            named = _Named()
    else:
        named = _Named()
    data: dict[str, object] = {
        "device": device_id,
        "epoch": entry.epoch,
        "sequence": entry.sequence,
        "subject": entry.subject,
        "clock": entry.clock,
    }
    return Noted(
        id=_short(f"entry:{device_id}:{entry.epoch}:{entry.sequence}"),
        type=_kind(entry),
        at=entry.at,
        data=data | said,
        customer=named.name,
    )


class _Session(Struct):
    customer: str | None = None


class _Named(Struct):
    """Whom an entry is about, as far as it says so where entries usually do."""

    customer: str | None = None
    session: _Session | str | None = None

    @property
    def name(self) -> str | None:
        if self.customer is not None:
            return self.customer
        return self.session.customer if isinstance(self.session, _Session) else None


def _of_settled(device_id: str, one: Settled) -> Noted:
    place = f"{device_id}:{one.epoch}:{one.sequence}:{one.outcome.value}:{one.why}"
    return Noted(
        id=_short(f"settled:{place}"),
        type=f"settlement.{one.outcome.value}",
        at=datetime.now(UTC),
        data={
            "device": device_id,
            "epoch": one.epoch,
            "sequence": one.sequence,
            "outcome": one.outcome.value,
            "why": one.why,
        },
    )


async def _without_erased(tx: Transaction, noted: Sequence[Noted]) -> list[Noted]:
    customers = sorted({one.customer for one in noted if one.customer is not None})
    if not customers:
        return list(noted)
    rows = await tx.execute(
        select(record.c.id).where(
            record.c.site == tx.site,
            record.c.kind == "customer",
            record.c.id.in_(customers),
            record.c.op == Op.ERASE.value,
        )
    )
    erased = set(rows.scalars())
    return [one for one in noted if one.customer not in erased]


def _short(name: str) -> str:
    return "evt_" + sha256(name.encode()).hexdigest()[:32]


erasure.erasers.append(forget)
