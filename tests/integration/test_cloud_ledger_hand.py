"""What staff, plans and losses do to the books, on both databases."""

from datetime import UTC, date, datetime, timedelta

import msgspec
import pytest

from edgegate.passes.happenings import Left
from edgegate.passes.model import (
    Contract,
    Customer,
    Location,
    Pass,
    PassState,
    Reservation,
    ReservationState,
    Unit,
)
from edgegate.passes.state import MinuteTerms, Segment
from edgegate.records import Grant, Plan
from edgegate_sync.cloud import abandon, adjust, erasure, forget, plan_renewal, reckon, schedule
from edgegate_sync.cloud.adjust import By
from edgegate_sync.cloud.database import Database
from edgegate_sync.cloud.known import every_record
from edgegate_sync.cloud.problems import ProblemError
from rig.books import (
    balance,
    chain_faults,
    left,
    lines,
    put,
    record,
    send,
    stored,
)
from rig.ledgers import SITE, Device, at, closed, minutes, opened, use

pytest_plugins = ("rig.further_fixtures",)

assert forget.forget in erasure.erasers
BERLIN = Location(id="berlin", timezone="Europe/Berlin", day_cutoff="02:30")
DAY_MINUTES = 1440


def by(minute: float = 0, memo: str = "because") -> By:
    return By(name="desk", now=at(minute), memo=memo)


async def adjusted(books: Database, amount: int, minute: float = 0, name: str | None = None) -> int:
    async with books.site(SITE) as tx:
        return await adjust.adjust(tx, "days", amount, by(minute), name)


async def test_adding_and_deducting_with_a_memo(books: Database) -> None:
    assert await adjusted(books, 5) == 15
    assert await adjusted(books, -3, 1) == 12
    assert await left(books, "days") == 12
    told = await lines(books, "ana")
    assert [(t.kind, t.amount, t.by, t.memo) for t in told] == [
        ("adjustment", -3, "desk", "because"),
        ("adjustment", 5, "desk", "because"),
    ]


async def test_no_more_is_deducted_than_is_left(books: Database) -> None:
    with pytest.raises(ProblemError, match="less than 11"):
        await adjusted(books, -11)
    assert await left(books, "days") is None
    assert await lines(books, "ana") == ()


async def test_an_adjustment_of_one_name_counts_once(books: Database) -> None:
    assert [await adjusted(books, 2, name="invoice-7") for _ in range(3)] == [12, 12, 12]


async def test_what_is_added_on_tuesday_does_not_undo_mondays_settlement(books: Database) -> None:
    device = Device("box-1")
    for day in range(11):
        device.write(use("ana", "days", at(day * DAY_MINUTES)), at(day * DAY_MINUTES))
    await send(books, device)
    assert await left(books, "days") == 0
    assert await adjusted(books, 5, 12 * DAY_MINUTES) == 5
    # A device that comes late with something from before takes from those days.
    late = Device("box-2")
    late.write(use("ana", "days", at(20 * DAY_MINUTES)), at(20 * DAY_MINUTES))
    await send(books, late)
    assert await left(books, "days") == 4


async def test_an_edited_amount_reaches_the_balance(books: Database) -> None:
    device = Device("box-1")
    device.write(use("ana", "days", at(0)))
    await send(books, device)
    async with books.site(SITE) as tx:
        await tx.put("pass", "days", Pass(id="days", holder="ana", amount=20))
        await reckon.refresh(tx, ["days"], 0)
    assert await left(books, "days") == 19


async def test_giving_a_lot(books: Database) -> None:
    lot = Pass(id="gift", holder="ana", amount=2)
    for _ in range(2):
        async with books.site(SITE) as tx:
            await adjust.give(tx, lot, by())
    assert await record(books, "pass", "gift", Pass) == lot
    assert [(t.kind, t.pass_) for t in await lines(books, "ana")] == [("granted", "gift")]
    with pytest.raises(ProblemError, match="another pass"):
        async with books.site(SITE) as tx:
            await adjust.give(tx, msgspec.structs.replace(lot, amount=9), by())


async def test_approving_and_rejecting(books: Database) -> None:
    waiting = PassState.AWAITING_APPROVAL
    await put(
        books,
        Pass(id="yes", holder="ana", state=waiting),
        Pass(id="no", holder="ana", state=waiting),
    )
    async with books.site(SITE) as tx:
        await adjust.approve(tx, "yes", by(), approved=True)
        await adjust.approve(tx, "no", by(), approved=False)
        await adjust.approve(tx, "no", by(), approved=False)
        with pytest.raises(ProblemError, match="awaits no approval"):
            await adjust.approve(tx, "yes", by(), approved=False)
        with pytest.raises(ProblemError, match="no pass"):
            await adjust.approve(tx, "none", by(), approved=True)
    assert (await record(books, "pass", "yes", Pass)).state is PassState.ACTIVE
    assert (await record(books, "pass", "no", Pass)).state is PassState.REJECTED
    assert {t.memo for t in await lines(books, "ana")} == {"approved: because", "rejected: because"}


def booking(name: str, day: int, **more: object) -> Reservation:
    known = {"customer": "ana", "pass_": "days", "location": "hall"}
    from_ = at(day * DAY_MINUTES)
    return Reservation(
        **{"id": name, "from_": from_, "until": from_ + timedelta(hours=8)} | known | more  # type: ignore[arg-type]  # as the caller says
    )


async def test_a_scheduled_use_is_paid_when_made_and_given_back_when_cancelled(
    books: Database,
) -> None:
    async with books.site(SITE) as tx:
        assert await schedule.schedule(tx, booking("r", 3), by()) == 9
        assert await schedule.schedule(tx, booking("r", 3), by()) == 9
    assert await left(books, "days") == 9
    async with books.site(SITE) as tx:
        assert await schedule.cancel(tx, "r", by(1)) == 10
        assert await schedule.cancel(tx, "r", by(2)) == 10
    found = await record(books, "reservation", "r", Reservation)
    assert found.state is ReservationState.CANCELLED
    assert [(t.kind, t.amount) for t in await lines(books, "ana")] == [
        ("booking_refund", 1),
        ("booking", -1),
    ]


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (booking("r", -2), "over already"),
        (booking("r", 40), "expired"),
        (booking("r", 3, until=at(0)), "end after it begins"),
        (booking("r", 3, customer="ben"), "not ben's"),
        (booking("r", 3, location="nowhere"), "at which location"),
        (booking("r", 1), "on 2026-03-03 already"),
    ],
)
async def test_what_may_not_be_scheduled_is_refused_with_the_reason(
    books: Database, wrong: Reservation, says: str
) -> None:
    expires = Pass(id="days", holder="ana", amount=10, expires_at=at(30 * DAY_MINUTES))
    await put(books, Customer(id="ben"), expires)
    async with books.site(SITE) as tx:
        await schedule.schedule(tx, booking("known", 1), by())
    with pytest.raises(ProblemError, match=says):
        async with books.site(SITE) as tx:
            await schedule.schedule(tx, wrong, by())
    assert await left(books, "days") == 9


async def test_what_is_over_or_arrived_is_not_cancelled(books: Database) -> None:
    came = booking("came", 5, state=ReservationState.ARRIVED)
    async with books.site(SITE) as tx:
        await schedule.schedule(tx, booking("r", 3), by())
        await tx.put("reservation", "came", came)
        with pytest.raises(ProblemError, match="over"):
            await schedule.cancel(tx, "r", by(30 * DAY_MINUTES))
        with pytest.raises(ProblemError, match="came for it"):
            await schedule.cancel(tx, "came", by())


def plan(**more: object) -> Plan:
    known = {"id": "flex", "location": "berlin", "grants": (Grant(id="days", amount=4),)}
    return Plan(**known | more)  # type: ignore[arg-type]  # as the caller says


async def renewed(books: Database, now: datetime) -> list[tuple[datetime, datetime]]:
    while (await plan_renewal.renew_some(books, SITE, now))[0]:
        if not (await plan_renewal.renew_some(books, SITE, now))[1]:
            break
    async with books.site(SITE) as tx:
        passes = (await every_record(tx, "pass", Pass)).values()
    lots = [p for p in passes if p.contract == "c"]
    return sorted((p.valid_from, p.expires_at) for p in lots if p.valid_from and p.expires_at)


def berlin(month: int, day: int, hour: int, minute: int) -> datetime:
    return datetime(2026, month, day, hour, minute, tzinfo=UTC)


async def test_lots_renew_at_the_cutoff_over_ends_of_months_and_changes_of_the_clocks(
    books: Database,
) -> None:
    starts = berlin(1, 31, 10, 0)
    await put(books, BERLIN, plan(), Contract(id="c", holder="ana", plan="flex", starts_at=starts))
    first = (starts, berlin(2, 28, 1, 30))
    assert await renewed(books, berlin(2, 1, 0, 0)) == [first]
    # Two days before it is due the next lot is there, and not sooner.
    assert await renewed(books, berlin(2, 26, 1, 29)) == [first]
    second = (berlin(2, 28, 1, 30), berlin(3, 31, 0, 30))
    assert await renewed(books, berlin(2, 26, 1, 30)) == [first, second]
    assert await renewed(books, berlin(2, 26, 1, 30)) == [first, second]
    told = [(t.kind, t.by) for t in await lines(books, "ana")]
    assert told == [("granted", "plan"), ("expired", "plan"), ("granted", "plan")]


def test_the_cutoff_in_the_gap_of_a_clock_change() -> None:
    contract = Contract(id="c", holder="ana", plan="flex", starts_at=berlin(1, 29, 12, 0))
    r = plan_renewal.renewal_of(contract, plan(), BERLIN, 2)
    # 02:30 on 29 March 2026 does not exist in Berlin: the first instant after the gap.
    assert (r.at, r.day) == (berlin(3, 29, 1, 0), date(2026, 3, 29))


async def test_after_a_down_time_what_runs_is_made_up_for_and_nothing_else(
    books: Database,
) -> None:
    contract = Contract(id="c", holder="ana", plan="flex", starts_at=berlin(1, 1, 12, 0))
    await put(books, BERLIN, plan(), contract)
    assert len(await renewed(books, berlin(1, 5, 0, 0))) == 1
    later = await renewed(books, berlin(5, 10, 0, 0))
    assert [since for since, _ in later] == [contract.starts_at, berlin(5, 1, 0, 30)]


async def test_a_contract_that_ends_renews_no_more(books: Database) -> None:
    contract = Contract(
        id="c",
        holder="ana",
        plan="flex",
        starts_at=berlin(1, 1, 12, 0),
        ends_at=berlin(1, 20, 12, 0),
    )
    await put(books, BERLIN, plan(), contract)
    assert len(await renewed(books, berlin(1, 5, 0, 0))) == 1
    assert len(await renewed(books, berlin(2, 5, 0, 0))) == 1
    await put(books, msgspec.structs.replace(contract, ends_at=None))
    assert len(await renewed(books, berlin(2, 5, 0, 0))) == 2


async def test_one_worker_renews_while_another_has_the_lease(books: Database) -> None:
    contract = Contract(id="c", holder="ana", plan="flex", starts_at=berlin(1, 1, 12, 0))
    await put(books, BERLIN, plan(), contract)
    now = berlin(1, 5, 0, 0)
    assert await plan_renewal.renew_all(books, "one", now) == 1
    await put(books, msgspec.structs.replace(contract, id="d"))
    assert await plan_renewal.renew_all(books, "other", now) == 0
    assert await plan_renewal.renew_all(books, "one", now) == 1


async def test_an_erased_person_leaves_sums_and_a_chain_that_verifies(books: Database) -> None:
    device = Device("box-1")
    for day in range(12):
        device.write(use("ana", "days", at(day * DAY_MINUTES)), at(day * DAY_MINUTES))
    device.append("edgegate.wifi.started", b'{"who":{"customer":"ana"}}')
    device.append("edgegate.door.opened", b'{"door":"front"}')
    await send(books, device)
    await adjusted(books, 3, 90 * DAY_MINUTES)
    before = await left(books, "days")
    async with books.site(SITE) as tx:
        await erasure.erase(tx, "customer", "ana")
    entries = await stored(books)
    assert [e.data for e in entries] == [None] * 13 + [b'{"door":"front"}']
    assert await chain_faults(books) == []
    assert await lines(books, "ana") == ()
    assert before == 3
    assert await balance(books, "days") is None
    # Nothing of it comes back with what the device sends again.
    await send(books, device)
    assert await stored(books) == entries


async def test_the_visits_of_a_lost_device_are_settled_as_of_the_last_observation(
    books: Database,
) -> None:
    await put(books, Pass(id="min", holder="ana", unit=Unit.MINUTE, amount=100))
    terms = MinuteTerms(increment_minutes=1, minimum_minutes=0)
    segment = Segment(from_=at(0), pass_="min", counts=terms)  # noqa: S106 - a pass's id
    lost, other = Device("box-1"), Device("box-2")
    lost.write(opened("ana", at(0), "s", segment=segment), at(0))
    other.write(Left(customer="ana", location="hall", at=at(40)), at(40))
    await send(books, lost)
    await send(books, other)
    async with books.site(SITE) as tx:
        assert await abandon.abandon(tx, "box-1", by(500)) == 1
        assert await abandon.abandon(tx, "box-1", by(501)) == 0
    assert await left(books, "min") == 60
    # It comes back after all: what it counted itself stands.
    lost.write(minutes("ana", "min", at(0), at(30), session="s"), at(30))
    lost.write(closed("ana", at(30), "s"), at(30))
    await send(books, lost)
    assert await left(books, "min") == 70
