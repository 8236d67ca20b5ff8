"""What tests ask of a cloud's books, and put into its records."""

from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import select

from edgegate.passes.model import Balance, Customer, Location, Pass, Record
from edgegate.store import chain
from edgegate.store.chain import Entry
from edgegate_sync.cloud import balances, feed, ingest
from edgegate_sync.cloud.database import Database, fetch
from edgegate_sync.cloud.history import Transaction, history, ledger_state, parked
from edgegate_sync.cloud.ledger_tables import ledger_entry
from edgegate_sync.cloud.rows import entry_of
from edgegate_sync.wire.events import LedgerAnswer
from rig.ledgers import SITE, Device, at, batch

HALL = Location(id="hall")
NOW = at(9999)


async def add_site(cloud: Database, site: str = SITE) -> None:
    """A site with a hall, Ana, and her ten days."""
    async with cloud.writing() as writing:
        await feed.create_site(writing, site, "North")
    known = Customer(id="ana"), Pass(id="days", holder="ana", amount=10)
    await put(cloud, HALL, *known, site=site)


async def put(cloud: Database, *records: Record, site: str = SITE) -> None:
    """Write records; a type's name is its kind."""
    async with cloud.site(site) as tx:
        for record in records:
            await tx.put(type(record).__name__.lower(), record.id, record)


async def send(
    cloud: Database, device: Device, body: bytes | None = None, now: datetime = NOW
) -> LedgerAnswer:
    """Send a batch of a device, by default all of its ledger."""
    site = device.source.split("/")[1]
    body = batch(device.entries) if body is None else body
    return await ingest.send_ledger(cloud, site, device.name, body, now)


async def balance(cloud: Database, pass_id: str, site: str = SITE) -> Balance | None:
    """A pass's balance record, once the books were audited."""
    async with cloud.site(site) as tx:
        assert await balances.audit(tx) == {}
        body = await tx.get("balance", pass_id)
    return None if body is None else msgspec.json.decode(body, type=Balance)


async def left(cloud: Database, pass_id: str, site: str = SITE) -> int | None:
    """What a pass's balance record says."""
    known = await balance(cloud, pass_id, site)
    return None if known is None else known.remaining


async def record(cloud: Database, kind: str, record_id: str, type_: type[Any]) -> Any:
    """A record, or None."""
    async with cloud.site(SITE) as tx:
        body = await tx.get(kind, record_id)
    return None if body is None else msgspec.json.decode(body, type=type_)


async def stored(cloud: Database, site: str = SITE) -> list[Entry]:
    """Every stored entry, in order."""
    ordered = select(ledger_entry).where(ledger_entry.c.site == site)
    ordered = ordered.order_by(ledger_entry.c.device, ledger_entry.c.epoch, ledger_entry.c.sequence)
    async with cloud.reading() as connection:
        return [entry_of(site, row) for row in await fetch(connection, ordered)]


async def chain_faults(cloud: Database) -> list[chain.Fault]:
    """What is wrong with the stored chain of the one device that wrote."""
    return chain.verify(await stored(cloud))


async def flags(cloud: Database) -> list[tuple[str, int, int]]:
    """What the cloud noticed of chains."""
    async with cloud.reading() as connection:
        state = await ledger_state(connection, SITE, 100)
    return [(f.kind, f.epoch, f.sequence) for f in state.faults]


async def quarantined(cloud: Database) -> dict[int | None, str]:
    """By sequence, why something is in quarantine."""
    async with cloud.reading() as connection:
        return {p.sequence: p.fault for p in await parked(connection, SITE, "", 100)}


async def lines(cloud: Database, customer: str) -> tuple[Transaction, ...]:
    """A customer's history."""
    async with cloud.reading() as connection:
        return (await history(connection, SITE, customer, "", 500)).transactions
