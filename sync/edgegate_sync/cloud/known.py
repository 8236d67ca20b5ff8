"""The records that the books look at, read in sets within a transaction."""

import asyncio
from collections.abc import Collection, Iterable
from contextlib import suppress
from typing import TypeVar
from zoneinfo import ZoneInfo

import msgspec
from msgspec import Struct
from sqlalchemy import select

from edgegate.passes.localtime import is_zone
from edgegate.passes.model import Contract, Customer, Location, Offer, Pass
from edgegate_sync.cloud.feed import Transaction
from edgegate_sync.cloud.tables import record
from edgegate_sync.cloud.usage import Known
from edgegate_sync.wire.changes import Op
from edgegate_sync.wire.kinds import LOCATION

R = TypeVar("R", bound=Struct)


class _Zoned(Struct):
    timezone: str = "UTC"


_zone = msgspec.json.Decoder(_Zoned).decode
_zones: dict[str, ZoneInfo] = {}
"""The zones that were ever needed: there are some hundreds."""

IDS_MAX = 5_000
"""How many ids one statement names."""


async def records_of(
    tx: Transaction, kind: str, type_: type[R], ids: Iterable[str]
) -> dict[str, R]:
    """The records of a kind with these ids, as far as they are there."""
    wanted = sorted(set(ids))
    found: dict[str, R] = {}
    for start in range(0, len(wanted), IDS_MAX):
        some = wanted[start : start + IDS_MAX]
        found |= await _read(tx, kind, type_, record.c.id.in_(some))
    return found


async def records_owned(
    tx: Transaction, kind: str, type_: type[R], owners: Collection[str]
) -> dict[str, R]:
    """The records of a kind that belong to these customers or teams."""
    if not owners:
        return {}
    return await _read(tx, kind, type_, record.c.owner.in_(sorted(owners)))


async def every_record(tx: Transaction, kind: str, type_: type[R]) -> dict[str, R]:
    """All records of a kind: for kinds of which a site has few."""
    return await _read(tx, kind, type_)


async def _read(tx: Transaction, kind: str, type_: type[R], *where: object) -> dict[str, R]:
    await tx.flush()
    rows = await tx.execute(
        select(record.c.id, record.c.body).where(
            record.c.site == tx.site,
            record.c.kind == kind,
            record.c.op == Op.PUT.value,
            *where,  # type: ignore[arg-type]  # SQLAlchemy's own conditions
        )
    )
    bodies = {row.id: row.body for row in rows}
    if kind == LOCATION.name:
        await _load_zones(bodies.values())
    decoder = msgspec.json.Decoder(type_)
    found: dict[str, R] = {}
    for id_, body in bodies.items():
        # What this version cannot read is as good as unknown; it must not stop the books.
        with suppress(msgspec.ValidationError):
            found[id_] = decoder.decode(body)
    return found


async def _load_zones(bodies: Iterable[str]) -> None:
    """Read the files of time zones aside: whoever asks for one later finds it in memory."""
    named = set()
    for body in bodies:
        with suppress(msgspec.ValidationError):
            named.add(_zone(body).timezone)
    missing = named - _zones.keys()
    if missing:
        await asyncio.to_thread(_remember_zones, missing)


def _remember_zones(names: Iterable[str]) -> None:
    for name in names:
        if is_zone(name):
            # `ZoneInfo` finds one again for as long as somebody holds it.
            _zones[name] = ZoneInfo(name)


async def family_of(tx: Transaction, holder: str) -> Known:
    """All that the passes of a holder hang together with: those of a team and of its members.

    Whoever belongs to a team shares its passes, so that what one of them overdraws may be paid by
    what another one left.
    """
    own = await records_of(tx, "customer", Customer, [holder])
    team = own[holder].team if holder in own else holder
    customers = own
    if team is not None:
        members = await records_owned(tx, "customer", Customer, [team])
        customers = own | {c.id: c for c in members.values() if c.team == team}
    return await known_for(tx, customers.keys() | ({team} if team is not None else {holder}))


async def known_for(tx: Transaction, holders: Collection[str]) -> Known:
    """What is known of these customers and teams, with every location and offer."""
    passes = await records_owned(tx, "pass", Pass, holders)
    contracts = await records_owned(tx, "contract", Contract, holders)
    named = {p.contract for p in passes.values() if p.contract is not None}
    contracts |= await records_of(tx, "contract", Contract, named - contracts.keys())
    return Known(
        customers=await records_of(tx, "customer", Customer, holders),
        contracts=tuple(contracts.values()),
        passes={p.id: p for p in passes.values() if p.holder in holders},
        locations=await every_record(tx, "location", Location),
        offers=tuple((await every_record(tx, "offer", Offer)).values()),
    )
