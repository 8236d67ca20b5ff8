"""What the cloud merges and settles, case by case (M-02, M-03), and when plans renew."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

import pytest

from edgegate.passes.happenings import Debited, Refunded
from edgegate.passes.model import (
    Contract,
    Customer,
    Day,
    Hours,
    Kind,
    Location,
    Offer,
    Pass,
    Per,
    Unit,
)
from edgegate.passes.state import MinuteTerms, Scope
from edgegate.records import Grant as PlanGrant
from edgegate.records import Plan
from edgegate_sync.cloud.merge import merged
from edgegate_sync.cloud.plan_renewal import current, lot_of, months_after, renewal_of
from edgegate_sync.cloud.settle import Case, Grant, Outcome, Settlement, settled
from edgegate_sync.cloud.usage import Known, Return, Use, given_back
from rig.ledgers import START, at, minutes, use

HALL = Location(id="hall", payg=(Kind.CONTACTS,))
TOWN = Location(id="town")
ROOM = Location(id="room", parent="hall")
LOCATIONS = {"hall": HALL, "town": TOWN, "room": ROOM}
ANA = {"ana": Customer(id="ana")}
DAYS = Pass(id="days", holder="ana", amount=10)


def spent(device: str, debit: Debited, sequence: int = 1) -> Use:
    when = debit.until if debit.counts is not None and debit.until is not None else debit.from_
    position = (device, 1, sequence)
    return Use(id=f"{device}-1-{sequence}", position=position, at=when, spent=debit)


def known(*passes: Pass, offers: tuple[Offer, ...] = ()) -> Known:
    return Known(
        customers=ANA, passes={p.id: p for p in passes}, locations=LOCATIONS, offers=offers
    )


def back(*uses: Use, passes: Sequence[Pass] = (DAYS,)) -> dict[str, int]:
    return merged(uses, {}, {}, known(*passes))


def test_the_later_of_two_devices_gets_its_use_back() -> None:
    one, other = spent("a", use("ana", "days", at(5))), spent("b", use("ana", "days", at(0)))
    assert back(one, other) == {"a-1-1": 1}


def test_at_one_instant_the_device_of_the_lower_name_stands() -> None:
    one, other = spent("a", use("ana", "days", START)), spent("b", use("ana", "days", START))
    assert back(other, one) == {"b-1-1": 1}


def test_what_is_spent_when_a_coverage_has_ended_stands() -> None:
    one = spent("a", use("ana", "days", at(0), until=at(60)))
    assert back(one, spent("b", use("ana", "days", at(60)))) == {}
    assert back(one, spent("b", use("ana", "days", at(59)))) == {"b-1-1": 1}


def test_one_device_knows_what_it_does() -> None:
    assert (
        back(spent("a", use("ana", "days", at(0))), spent("a", use("ana", "days", at(5)), 2)) == {}
    )


def test_whichever_pass_paid() -> None:
    window = Pass(id="window", holder="ana", per=Per.WINDOW, window_minutes=60)
    uses = spent("a", use("ana", "days", at(0))), spent("b", use("ana", "window", at(5)))
    assert back(*uses, passes=(DAYS, window)) == {"b-1-1": 1}


def test_what_was_given_back_covers_nobody() -> None:
    uses = (
        spent("a", use("ana", "days", at(0), until=at(60))),
        spent("b", use("ana", "days", at(30), until=at(200))),
        spent("a", use("ana", "days", at(90)), 2),
    )
    assert back(*uses) == {"b-1-1": 1}
    assert merged(uses, {"a-1-1": 1}, {}, known(DAYS)) == {"a-1-2": 1}


def test_hours_that_are_over_cover_nobody() -> None:
    morning = Hours(days=(Day.MON,), from_="08:00", to="09:30")
    early = Pass(id="early", holder="ana", hours=(morning,))
    uses = spent("a", use("ana", "early", at(0))), spent("b", use("ana", "days", at(30)))
    assert back(*uses, passes=(DAYS, early)) == {}
    uses = spent("a", use("ana", "early", at(0))), spent("b", use("ana", "days", at(29)))
    assert back(*uses, passes=(DAYS, early)) == {"b-1-1": 1}


@pytest.mark.parametrize(
    ("home", "there", "covered"),
    [
        ("hall", "room", True),
        ("hall", "town", False),
        ("room", "hall", False),
        (None, "town", True),
    ],
)
def test_a_coverage_counts_where_its_pass_does(
    home: str | None, there: str, *, covered: bool
) -> None:
    homely = Pass(id="homely", holder="ana", home=home)
    uses = (
        spent("a", use("ana", "homely", at(0))),
        spent("b", use("ana", "days", at(5), location=there)),
    )
    assert back(*uses, passes=(DAYS, homely)) == ({"b-1-1": 1} if covered else {})


def test_credits_cover_where_they_did_when_they_were_spent() -> None:
    paid = use("ana", "credits", at(0), amount=250, scope=Scope(home="hall"))
    rest = use("ana", "more", at(0), amount=50, covers=False, session=paid.session)
    again = use("ana", "credits", at(9), amount=300, scope=Scope(home="hall"))
    assert back(spent("b", paid), spent("b", rest, 2), spent("a", again)) == {"a-1-1": 300}
    assert back(spent("b", again), spent("a", paid), spent("a", rest, 2)) == {"b-1-1": 300}
    far = use("ana", "credits", at(9), amount=300, scope=Scope(home="hall"), location="town")
    assert back(spent("b", paid), spent("a", far)) == {}


def test_time_is_rounded_again_when_a_part_of_it_is_given_back() -> None:
    terms = MinuteTerms(increment_minutes=15, minimum_minutes=30)
    one = minutes("ana", "min", at(0), at(60))
    other = minutes("ana", "min", at(50), at(110), amount=60, counts=terms)
    assert back(spent("a", one), spent("b", other)) == {}
    other = minutes("ana", "min", at(30), at(90), amount=60, counts=terms)
    assert back(spent("a", one), spent("b", other)) == {"b-1-1": 30}
    inside = minutes("ana", "min", at(10), at(50), amount=45, counts=terms)
    assert back(spent("a", one), spent("b", inside)) == {"b-1-1": 45}


def test_members_of_a_team_are_not_merged_with_each_other() -> None:
    known_ = known(DAYS)
    ana, ben = spent("a", use("ana", "days", at(0))), spent("b", use("ben", "days", at(5)))
    assert merged([ana], {}, {}, known_) | merged([ben], {}, {}, known_) == {}


def test_a_refund_finds_its_use() -> None:
    uses = (
        spent("a", use("ana", "days", at(0), session="s")),
        spent("a", use("ana", "days", at(9), session="s"), 2),
        spent("b", use("ana", "days", at(9), session="s")),
    )
    refund = Refunded(
        pass_=DAYS.id, customer="ana", location="hall", session="s", amount=1, from_=at(9)
    )
    found = Return(position=("a", 1, 3), at=at(20), refund=refund)
    assert given_back(uses, [found]) == ({"a-1-2": 1}, [])
    strange = Return(position=("c", 1, 3), at=at(20), refund=refund)
    assert given_back(uses, [strange]) == ({}, [(strange, 1)])


def outcomes(
    *uses: Use,
    passes: Sequence[Pass],
    grants: tuple[Grant, ...] = (),
    offers: tuple[Offer, ...] = (),
    policies: dict[str, tuple[Outcome, ...]] | None = None,
) -> list[tuple[str, str, int, str | int | None]]:
    found = settled(
        Case(
            known=known(*passes, offers=offers),
            uses=uses,
            net={u.id: u.spent.amount for u in uses},
            grants=grants,
            policies=policies or {},
        )
    )
    return [(s.use.id, s.outcome.value, s.amount, _paid_by(s)) for s in found]


def _paid_by(s: Settlement) -> str | int | None:
    return s.money if s.outcome is Outcome.CHARGED else s.to_pass


LAST = Pass(id="last", holder="ana", amount=1)
DAY = Offer(id="day", price=2000, currency="EUR", sold_to=(Kind.CONTACTS,))
HOUR = Offer(
    id="hour", unit=Unit.MINUTE, price=2000, amount=60, currency="EUR", sold_to=(Kind.CONTACTS,)
)


def test_the_earlier_use_has_the_pass_whoever_uploads_first() -> None:
    uses = spent("a", use("ana", "last", at(9))), spent("b", use("ana", "last", at(0)))
    assert outcomes(*uses, passes=(LAST,)) == [("a-1-1", "forgiven", 1, None)]


def test_it_is_moved_to_the_pass_that_would_have_paid() -> None:
    uses = spent("a", use("ana", "last", at(0))), spent("b", use("ana", "last", at(9)))
    soon = Pass(id="soon", holder="ana", amount=5, expires_at=at(9000))
    over = Pass(id="over", holder="ana", amount=5, expires_at=at(5))
    others = Pass(id="others", holder="ben", amount=5)
    assert outcomes(*uses, passes=(LAST, DAYS, soon, over, others)) == [
        ("b-1-1", "moved", 1, "soon")
    ]
    endless = Pass(id="endless", holder="ana", unit=Unit.UNLIMITED)
    assert outcomes(*uses, passes=(LAST, DAYS, endless)) == [("b-1-1", "moved", 1, "endless")]


def test_it_is_charged_where_the_location_sells_it_once_a_day() -> None:
    uses = [spent("a", use("ana", "last", at(n * 9)), n + 1) for n in range(3)]
    assert outcomes(*uses, passes=(LAST,), offers=(DAY, HOUR)) == [
        ("a-1-2", "charged", 1, 2000),
        ("a-1-3", "charged", 1, 0),
    ]
    elsewhere = [spent("a", use("ana", "last", at(n), location="town"), n + 1) for n in range(2)]
    assert outcomes(*elsewhere, passes=(LAST,), offers=(DAY,)) == [("a-1-2", "forgiven", 1, None)]


def test_minutes_are_moved_as_far_as_they_go_and_the_rest_is_charged() -> None:
    few = Pass(id="few", holder="ana", unit=Unit.MINUTE, amount=30)
    more = Pass(id="more", holder="ana", unit=Unit.MINUTE, amount=10)
    stay = spent("a", minutes("ana", "few", at(0), at(70)))
    assert outcomes(stay, passes=(few, more), offers=(DAY, HOUR)) == [
        ("a-1-1", "moved", 10, "more"),
        ("a-1-1", "charged", 30, 1000),
    ]


def test_a_site_may_forgive_at_once() -> None:
    uses = spent("a", use("ana", "last", at(0))), spent("b", use("ana", "last", at(9)))
    forgiven = [("b-1-1", "forgiven", 1, None)]
    policy = (Outcome.FORGIVEN,)
    assert outcomes(*uses, passes=(LAST, DAYS), policies={"": policy}) == forgiven
    assert outcomes(*uses, passes=(LAST, DAYS), policies={"hall": ()}) == forgiven


def test_what_was_added_later_pays_nothing_before() -> None:
    uses = [spent("a", use("ana", "last", at(n * 1440)), n + 1) for n in range(3)]
    added = Grant(pass_="last", at=at(2000), amount=5)  # noqa: S106 - a pass's id
    assert outcomes(*uses, passes=(LAST,), grants=(added,)) == [("a-1-2", "forgiven", 1, None)]


def test_the_same_day_of_a_later_month_or_its_last() -> None:
    january = date(2027, 1, 31)
    months = [months_after(january, n) for n in range(4)]
    assert months == [january, date(2027, 2, 28), date(2027, 3, 31), date(2027, 4, 30)]
    assert months_after(date(2028, 1, 30), 1) == date(2028, 2, 29)
    assert months_after(january, 120_000) == date(9999, 12, 24)


PLAN = Plan(id="flex", renew_months=1, grants=(PlanGrant(id="days", amount=4),))


def test_renewals_follow_each_other_without_a_gap() -> None:
    berlin = Location(id="berlin", timezone="Europe/Berlin", day_cutoff="04:00")
    contract = Contract(
        id="c", holder="ana", plan="flex", starts_at=datetime(2026, 1, 31, 1, tzinfo=UTC)
    )
    renewals = [renewal_of(contract, PLAN, berlin, n) for n in range(30)]
    # At 02:00 in Berlin the business day is still that of the 30th.
    assert renewals[0].day == date(2026, 1, 30)
    for one, following in pairwise(renewals):
        assert one.next_at == following.at
        assert current(contract, PLAN, berlin, following.at) == following.number
        just_before = following.at - timedelta(microseconds=1)
        assert current(contract, PLAN, berlin, just_before) == one.number
    assert current(contract, PLAN, berlin, datetime(2026, 1, 1, tzinfo=UTC)) == -1


def test_a_contract_without_a_beginning_renews_on_the_first() -> None:
    contract = Contract(id="c", holder="ana", plan="flex")
    number = current(contract, PLAN, TOWN, at(0))
    assert renewal_of(contract, PLAN, TOWN, number).day == date(2026, 3, 1)


def test_a_lot_has_the_terms_of_its_grant_and_ends_with_the_renewal_or_later() -> None:
    contract = Contract(id="c", holder="ana", plan="flex", starts_at=START)
    keeping = PlanGrant(id="kept", amount=2, keep_days=90, wifi=True)
    r = renewal_of(contract, PLAN, TOWN, 0)
    lot = lot_of(contract, PLAN, PLAN.grants[0], TOWN, r)
    assert (lot.holder, lot.contract, lot.amount, lot.source) == ("ana", "c", 4, "plan")
    assert (lot.valid_from, lot.expires_at) == (START, datetime(2026, 4, 2, tzinfo=UTC))
    kept = lot_of(contract, PLAN, keeping, TOWN, r)
    assert (kept.wifi, kept.expires_at) == (True, datetime(2026, 6, 1, tzinfo=UTC))
    assert lot.id != kept.id
