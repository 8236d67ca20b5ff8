"""Visits that a device moved with its clock, in the cloud: by the right time, in any order."""

from datetime import datetime, timedelta
from itertools import permutations
from typing import Any

import msgspec
import pytest
from sqlalchemy import select

from edgegate.passes.happenings import Bought, Granted, Moved, Refunded
from edgegate.passes.model import Channel, Pass, Unit
from edgegate.passes.reasons import ClosingReason, Reason
from edgegate.passes.state import MinuteTerms, Segment
from edgegate.store.projection import microseconds
from edgegate_sync.cloud import abandon
from edgegate_sync.cloud.adjust import By
from edgegate_sync.cloud.database import Database, fetch
from edgegate_sync.cloud.ledger_tables import movement, visit
from rig.books import left, lines, put, quarantined, send
from rig.ledgers import DAY, SITE, START, Device, at, batch, closed, minutes, opened, use

pytest_plugins = ("rig.further_fixtures",)

COVERED = Granted(
    location="hall", channel=Channel.KIOSK, customer="ana", reason=Reason.COVERED, day=DAY
)
BY = timedelta(hours=3)
DAY_MINUTES = 1440
MIDNIGHT = START.replace(hour=0) + timedelta(days=1)


def doubting(name: str = "box-1") -> Device:
    """A device whose clock nobody believes yet."""
    device = Device(name)
    device.clock = "untrusted"
    return device


def moved(was: datetime, by: timedelta = BY, session: str = "s", **more: Any) -> Moved:
    """A visit of Ana's that still runs, moved."""
    known: dict[str, Any] = {
        "closes_at": (was + by).replace(hour=0, minute=0) + timedelta(days=1),
        "closes_for": ClosingReason.CUTOFF,
    }
    return Moved(
        session=session,
        customer="ana",
        location="hall",
        was=was,
        opened_at=was + by,
        day=(was + by).date(),
        **(known | more),
    )


def set_right(device: Device, what: Moved, when: datetime) -> None:
    """The device's clock is set, and what it dated moves."""
    device.clock = "trusted"
    device.write(what, when)


async def rows(cloud: Database) -> tuple[list[Any], list[Any]]:
    """The books without when they were booked."""
    columns = [c for c in movement.c if c.name != "booked_us"]
    async with cloud.reading() as connection:
        moves = await fetch(connection, select(*columns).order_by(movement.c.id))
        visits = await fetch(connection, select(visit).order_by(visit.c.id))
    return [tuple(row) for row in moves], [tuple(row) for row in visits]


async def test_a_moved_visit_stands_in_the_history_at_the_right_time(books: Database) -> None:
    device = doubting()
    device.write(use("ana", "days", at(0), session="s"), at(0))
    device.write(opened("ana", at(0), "s"), at(0))
    bought = Bought(pass_="days", from_=at(0), until=MIDNIGHT)  # noqa: S106 - a pass's id
    set_right(device, moved(at(0), bought=(bought,)), at(190))
    device.write(closed("ana", at(200), "s"), at(200))
    await send(books, device)
    assert [(t.kind, t.at, t.amount) for t in await lines(books, "ana")] == [("debit", at(180), -1)]
    ((*_, opened_us, closes_us, closed_us, _),) = (await rows(books))[1]
    assert (opened_us, closes_us, closed_us) == tuple(
        map(microseconds, (at(180), MIDNIGHT, at(200)))
    )
    assert await left(books, "days") == 9


async def test_the_books_are_the_same_in_whatever_order_it_comes(books: Database) -> None:
    device = doubting()
    device.write(use("ana", "days", at(0), session="s"), at(0))
    device.write(opened("ana", at(0), "s"), at(0))
    refund = Refunded(
        pass_="days",  # noqa: S106 - a pass's id
        customer="ana",
        location="hall",
        session="s",
        amount=1,
        from_=at(0),
    )
    device.write(refund, at(5))
    device.write(closed("ana", at(5), "s"), at(5))
    set_right(device, moved(at(0), closes_at=None, closes_for=None), at(190))
    whole = None
    for number, order in enumerate(permutations(range(3))):
        # Each time it is another device and another day, so that nothing of before is there.
        name = f"box-{number}"
        other = Device(name)
        other.clock = "untrusted"
        shift = timedelta(days=7 * number)
        for entry in device.entries:
            other.clock = entry.clock
            text = _later(entry.data or b"", shift, f"s{number}")
            other.append(entry.type, text, entry.at + shift)
        parts = [other.entries[:1], other.entries[1:4], other.entries[4:]]
        for part in order:
            await send(books, other, batch(parts[part]))
            await send(books, other, batch(parts[part]))
        found = [
            (row[2], row[10], row[13] - microseconds(START + shift), _begins(row[-1]) - shift)
            for row in (await rows(books))[0]
            if row[3] == name
        ]
        visits = [
            tuple(us - microseconds(START + shift) for us in row[5:8])
            for row in (await rows(books))[1]
            if row[2] == name
        ]
        whole = whole or (found, visits)
        assert (found, visits) == whole, order
    assert whole is not None
    hours = 3_600_000_000
    assert {begins for *_, begins in whole[0]} == {at(180)}
    assert {at_us for _, _, at_us, _ in whole[0]} == {3 * hours, 3 * hours + hours // 12}
    assert whole[1] == [(3 * hours, 18 * hours, 3 * hours + hours // 12)]


def _begins(body: bytes) -> datetime:
    """When what was debited or refunded began."""
    return datetime.fromisoformat(msgspec.json.decode(body)["from"])


def _later(data: bytes, by: timedelta, session: str) -> bytes:
    """The data of an entry in which all is as much later, of a visit of that name."""

    def later(value: Any, key: str = "") -> Any:
        if isinstance(value, dict):
            return {k: later(v, k) for k, v in value.items()}
        if isinstance(value, list):
            return [later(v) for v in value]
        if isinstance(value, str) and value.startswith("2026-") and "T" in value:
            return (datetime.fromisoformat(value) + by).isoformat().replace("+00:00", "Z")
        return session if value == "s" and key in ("session", "id") else value

    return msgspec.json.encode(later(msgspec.json.decode(data)), order="sorted")


async def test_what_seemed_to_be_one_stay_is_spent_after_all(books: Database) -> None:
    """By the wrong time another device had covered her; by the right one that was a day ago."""
    other, device = Device("box-2"), doubting()
    other.write(use("ana", "days", at(-10)), at(-10))
    device.write(use("ana", "days", at(0), session="s"), at(0))
    device.write(opened("ana", at(0), "s"), at(0))
    await send(books, other)
    await send(books, device)
    assert await left(books, "days") == 9
    set_right(device, moved(at(0), timedelta(days=1)), at(DAY_MINUTES + 5))
    await send(books, device)
    assert await left(books, "days") == 8
    assert [t.kind for t in await lines(books, "ana")] == ["debit", "debit"]


async def test_what_was_one_stay_by_the_right_time_is_merged(books: Database) -> None:
    other, device = Device("box-2"), doubting()
    other.write(use("ana", "days", at(DAY_MINUTES - 10)), at(DAY_MINUTES - 10))
    device.write(use("ana", "days", at(0), session="s"), at(0))
    device.write(opened("ana", at(0), "s"), at(0))
    await send(books, other)
    await send(books, device)
    assert await left(books, "days") == 8
    set_right(device, moved(at(0), timedelta(days=1)), at(DAY_MINUTES + 5))
    await send(books, device)
    assert await left(books, "days") == 9


@pytest.mark.parametrize("minute", [180, -240])
async def test_a_lost_devices_minutes_are_those_that_passed(books: Database, minute: int) -> None:
    """Its clock had been behind, or ahead."""
    await put(books, Pass(id="min", holder="ana", unit=Unit.MINUTE, amount=300))
    terms = MinuteTerms(increment_minutes=1, minimum_minutes=0)
    segment = Segment(from_=at(0), pass_="min", counts=terms)  # noqa: S106 - a pass's id
    device, other = doubting(), Device("box-2")
    device.write(opened("ana", at(0), "s", segment=segment), at(0))
    device.write(COVERED, at(2))
    right = msgspec.structs.replace(segment, from_=at(minute))
    by = timedelta(minutes=minute)
    set_right(device, moved(at(0), by, segment=right), at(minute + 5))
    other.write(COVERED, at(minute + 40))
    await send(books, device)
    await send(books, other)
    async with books.site(SITE) as tx:
        await abandon.abandon(tx, "box-1", By(name="desk", now=at(900), memo="gone"))
    assert await left(books, "min") == 260


async def test_minutes_that_ended_before_the_move_lie_where_they_were_spent(
    books: Database,
) -> None:
    await put(books, Pass(id="min", holder="ana", unit=Unit.MINUTE, amount=300))
    device, other = doubting(), Device("box-2")
    device.write(opened("ana", at(0), "s"), at(0))
    device.write(minutes("ana", "min", at(0), at(30), session="s"), at(30))
    set_right(device, moved(at(0)), at(215))
    other.write(minutes("ana", "min", at(200), at(240)), at(240))
    await send(books, other)
    await send(books, device)
    # From 180 to 210 and from 200 to 240 are sixty minutes.
    assert await left(books, "min") == 240


@pytest.mark.parametrize("by", [timedelta(days=365 * 7900), -timedelta(days=365 * 50)])
async def test_a_move_that_is_made_up_holds_up_nothing(books: Database, by: timedelta) -> None:
    device = doubting()
    device.write(use("ana", "days", at(0), session="s"), at(0))
    device.write(opened("ana", at(0), "s"), at(0))
    far = datetime(9990, 1, 1, tzinfo=START.tzinfo)
    device.write(use("ana", "days", far, session="s"), far)
    set_right(device, moved(at(0), by), at(190))
    answer = await send(books, device)
    assert answer.counted == 4
    assert await left(books, "days") == 8


async def test_a_move_to_no_instant_is_put_into_quarantine(books: Database) -> None:
    device = doubting()
    device.write(opened("ana", at(0), "s"), at(0))
    set_right(device, moved(at(0), -timedelta(days=365 * 100)), at(190))
    assert (await send(books, device)).counted == 2
    assert list(await quarantined(books)) == [2]
