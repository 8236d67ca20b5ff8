"""However devices upload, the books come to the same: merged, settled, and counted once."""

import asyncio
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from edgegate.passes.happenings import Debited
from edgegate.passes.model import Balance, Customer, Kind, Location, Offer, Pass, Per, Team, Unit
from edgegate_sync.cloud import balances
from edgegate_sync.cloud.database import Database, fetch, open_database
from edgegate_sync.cloud.ledger_tables import movement
from edgegate_sync.cloud.merge import merged
from edgegate_sync.cloud.migrate import migrate
from edgegate_sync.cloud.settle import Case, settled
from edgegate_sync.cloud.usage import Known, Use
from rig.books import add_site, put, send
from rig.ledgers import Device, at, batch, closed, minutes, opened, use

HALL = Location(id="hall", payg=(Kind.MEMBERS, Kind.CONTACTS))
RECORDS = (
    HALL,
    Team(id="team"),
    Customer(id="ana", team="team"),
    Customer(id="ben", team="team"),
    Pass(id="few", holder="ana", amount=2),
    Pass(id="shared", holder="team", amount=3),
    Pass(id="visits", holder="ben", amount=2, per=Per.VISIT),
    Pass(id="min", holder="ben", unit=Unit.MINUTE, amount=100),
    Offer(id="day", price=2000, currency="EUR", sold_to=(Kind.CONTACTS,)),
)
CUSTOMERS = {"few": ("ana",), "shared": ("ana", "ben"), "visits": ("ben",), "min": ("ben",)}

_sites = count(1)


@st.composite
def spendings(draw: st.DrawFn) -> list[tuple[str, str, str, int, int]]:
    """Device, pass, customer, minute and length of what was spent."""
    found = []
    for _ in range(draw(st.integers(1, 12))):
        pass_id = draw(st.sampled_from(sorted(CUSTOMERS)))
        found.append(
            (
                draw(st.sampled_from(("box-1", "box-2", "box-3"))),
                pass_id,
                draw(st.sampled_from(CUSTOMERS[pass_id])),
                draw(st.integers(0, 60)) * 30 + draw(st.integers(0, 2)) * 1440,
                draw(st.integers(1, 90)),
            )
        )
    return sorted(found, key=lambda s: s[3])


def ledgers(spent: Sequence[tuple[str, str, str, int, int]], site: str) -> list[Device]:
    """The devices' ledgers after all that."""
    devices: dict[str, Device] = {}
    for place, (name, pass_id, customer, minute, length) in enumerate(spent):
        device = devices.setdefault(name, Device(name, site))
        from_, until = at(minute), at(minute + length)
        if pass_id == "min":  # noqa: S105 - a pass's id
            device.write(minutes(customer, pass_id, from_, until), until)
        elif pass_id == "visits":  # noqa: S105 - a pass's id
            session = f"v{place}"
            visit = use(customer, pass_id, from_, session=session, visit_only=True)
            device.write(msgspec.structs.replace(visit, until=None), from_)
            device.write(opened(customer, from_, session), from_)
            device.write(closed(customer, until, session), until)
        else:
            ends = at(minute + 5 * length) if pass_id == "shared" else None  # noqa: S105 - its id
            device.write(use(customer, pass_id, from_, until=ends), from_)
    return list(devices.values())


async def outcome(cloud: Database, site: str) -> Any:
    """All that the books say of a site, instants of booking apart."""
    async with cloud.site(site) as tx:
        assert await balances.audit(tx) == {}
        bodies = [await tx.get("balance", p) for p in sorted(CUSTOMERS)]
        left = [None if b is None else _balance(b).remaining for b in bodies]
    # Until when a use may cover at most is looked up by, and known better by and by.
    columns = [c for c in movement.c if c.name not in ("site", "booked_us", "body", "ends_us")]
    async with cloud.reading() as connection:
        rows = await fetch(
            connection, select(*columns).where(movement.c.site == site).order_by(movement.c.id)
        )
        return left, [tuple(row) for row in rows]


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> str:
    directory: Path = tmp_path_factory.mktemp("settlement")
    made = f"sqlite:///{directory}/cloud.db"
    asyncio.run(_migrated(made))
    return made


async def _migrated(url: str) -> None:
    database = await open_database(url)
    await migrate(database)
    await database.close()


async def _sent(url: str, site: str, bodies: Sequence[tuple[Device, bytes]]) -> Any:
    """What the books say of a new site after these batches."""
    cloud = await open_database(url)
    try:
        await add_site(cloud, site)
        await put(cloud, *RECORDS, site=site)
        for device, body in bodies:
            await send(cloud, device, body)
        return await outcome(cloud, site)
    finally:
        await cloud.close()


@given(spent=spendings(), data=st.data())
@settings(
    max_examples=10,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_any_batching_repetition_and_order_comes_to_the_same_books(
    url: str, spent: list[tuple[str, str, str, int, int]], data: st.DataObject
) -> None:
    site, other = (f"s{next(_sites)}" for _ in range(2))
    at_once = [(device, batch(device.entries)) for device in ledgers(spent, site)]
    bodies = []
    for device in ledgers(spent, other):
        size = data.draw(st.integers(1, 4))
        parts = [device.entries[i : i + size] for i in range(0, len(device.entries), size)]
        bodies += [(device, batch(part)) for part in parts]
    again = data.draw(st.lists(st.sampled_from(bodies), max_size=3))
    bodies = data.draw(st.permutations(bodies + again))
    expected = asyncio.run(_sent(url, site, at_once))
    assert asyncio.run(_sent(url, other, bodies)) == expected


def uses_of(spent: Sequence[tuple[str, str, str, int, int]]) -> list[Use]:
    """The debits of those ledgers, as the cloud sees them."""
    found = []
    for device in ledgers(spent, "s"):
        for entry in device.entries:
            if entry.type.endswith("debited"):
                position = (device.name, entry.epoch, entry.sequence)
                happening = _decode(entry.data or b"")
                found.append(Use(id=entry.id, position=position, at=entry.at, spent=happening))
    return found


_balance = msgspec.json.Decoder(Balance).decode
_decode = msgspec.json.Decoder(Debited).decode


KNOWN = Known(
    customers={r.id: r for r in RECORDS if isinstance(r, Customer)},
    passes={r.id: r for r in RECORDS if isinstance(r, Pass)},
    locations={"hall": HALL},
    offers=tuple(r for r in RECORDS if isinstance(r, Offer)),
)


@given(spent=spendings(), data=st.data())
@settings(max_examples=200, deadline=None)
def test_merging_gives_back_no_more_than_was_spent_and_never_the_earliest(
    spent: list[tuple[str, str, str, int, int]], data: st.DataObject
) -> None:
    uses = uses_of(spent)
    back = merged(uses, {}, {}, KNOWN)
    assert merged(data.draw(st.permutations(uses)), {}, {}, KNOWN) == back
    by_id = {use.id: use for use in uses}
    assert all(0 < amount <= by_id[use_id].spent.amount for use_id, amount in back.items())
    if uses:
        first = min(uses, key=lambda u: (u.spent.from_, u.position))
        assert first.id not in back


@given(spent=spendings(), data=st.data())
@settings(max_examples=200, deadline=None)
def test_settling_leaves_nothing_overdrawn_and_settles_no_more_than_that(
    spent: list[tuple[str, str, str, int, int]], data: st.DataObject
) -> None:
    uses = uses_of(spent)
    net = {use.id: use.spent.amount for use in uses}
    case = Case(known=KNOWN, uses=tuple(uses), net=net)
    found = settled(case)
    again = Case(known=KNOWN, uses=tuple(data.draw(st.permutations(uses))), net=net)
    assert settled(again) == found
    remaining = {p.id: p.amount for p in KNOWN.passes.values()}
    for one in uses:
        remaining[one.spent.pass_] -= one.spent.amount
    for s in found:
        assert 0 < s.amount <= s.use.spent.amount
        remaining[s.use.spent.pass_] += s.amount
        if s.to_pass is not None:
            remaining[s.to_pass] -= s.to_amount
    assert all(amount >= 0 for amount in remaining.values())


@given(spans=st.lists(st.tuples(st.integers(0, 90), st.integers(1, 60)), min_size=1, max_size=6))
def test_minutes_of_devices_at_one_place_are_the_union(spans: list[tuple[int, int]]) -> None:
    spent = [
        (f"box-{place}", "min", "ben", from_, length) for place, (from_, length) in enumerate(spans)
    ]
    uses = uses_of(sorted(spent, key=lambda s: s[3]))
    back = merged(uses, {}, {}, KNOWN)
    covered = {m for from_, length in spans for m in range(from_, from_ + length)}
    assert sum(u.spent.amount for u in uses) - sum(back.values()) == len(covered)
