"""Running minutes (C-06, S-07): whose time counts on which pass, until when, and from when."""

from datetime import UTC, datetime, timedelta

import pytest

from edgegate.passes.facts import Facts, Running, Span, counted
from edgegate.passes.localtime import DATE_MAX, DATE_MIN, business_day
from edgegate.passes.model import Customer, HolidayRule, Hours, Location, Pass, Unit
from edgegate.passes.windows import SEARCH_DAYS_MAX, hours_contain, next_window_start

AT = datetime(2026, 3, 2, 9, tzinfo=UTC)
HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
OTHER = "other"
MINUTES = Pass(id="minutes", holder="crew", unit=Unit.MINUTE)


def running(
    session: str,
    began: float,
    closes: float,
    *,
    customer: str = "ana",
    pass_: str = MINUTES.id,
    booked: tuple[Span, ...] = (),
) -> Running:
    """A segment that began and closes so many hours after nine."""
    return Running(
        session=session,
        customer=customer,
        pass_=pass_,
        from_=AT + began * HOUR,
        closes_at=AT + closes * HOUR,
        booked=booked,
    )


def used(at: float, *segments: Running) -> float:
    """The hours that the segments have used of the pass so many hours after nine."""
    facts = Facts(customer=Customer(id="ana"), ancestry=("hq",), running=segments)
    return facts.running_time(MINUTES, AT + at * HOUR) / HOUR


def test_time_counts_until_the_visit_closes_s05() -> None:
    assert used(1, running("a", 0, 2)) == 1
    assert used(3, running("a", 0, 2)) == 2


def test_a_visit_on_another_pass_makes_this_one_no_longer_s05() -> None:
    here, elsewhere = running("a", 0, 1), running("b", 0, 5, pass_=OTHER)
    assert used(3, here, elsewhere) == 1
    assert used(3, elsewhere, here) == 1


def test_one_customers_time_at_two_locations_counts_once_c06() -> None:
    long, short = running("a", 0, 4), running("b", 1, 2)
    assert used(3, long, short) == used(3, short, long) == 3
    late, early = running("a", 1, 2), running("b", 0, 1)
    assert used(3, late, early) == used(3, early, late) == 2


def test_the_time_of_several_members_adds_up_c06() -> None:
    assert used(2, running("a", 0, 9), running("b", 1, 9, customer="bob")) == 3


@pytest.mark.parametrize(
    ("booked", "minutes"),
    [
        ([], 60),
        ([(0, 60)], 0),
        ([(-30, 30)], 30),
        ([(30, 90)], 30),
        ([(10, 20), (30, 40)], 40),
        ([(10, 30), (20, 40)], 30),
        ([(20, 40), (10, 30)], 30),
        ([(10, 40), (20, 30)], 30),
        ([(10, 40), (20, 30), (35, 50)], 20),
        ([(-20, -10), (70, 80)], 60),
        ([(20, 20)], 60),
    ],
)
def test_reserved_time_is_taken_off_once_s07(booked: list[tuple[int, int]], minutes: int) -> None:
    spans = tuple(Span(AT + a * MINUTE, AT + b * MINUTE) for a, b in booked)
    assert counted(AT, AT + HOUR, spans) == minutes * MINUTE


def test_time_that_runs_backwards_counts_nothing_t06() -> None:
    """As where the clock was set back after the visit began."""
    assert counted(AT, AT - HOUR, ()) == timedelta(0)


def test_the_first_and_last_days_stand_for_the_ends_of_time_t01() -> None:
    assert business_day("UTC", "03:00", datetime(1, 1, 2, tzinfo=UTC)).name == DATE_MIN
    assert business_day("UTC", "03:00", datetime(9999, 12, 31, tzinfo=UTC)).name >= DATE_MAX


@pytest.mark.parametrize(
    ("closed_days", "found"), [(0, True), (399, True), (400, True), (401, False)]
)
def test_the_next_window_is_looked_for_over_a_year_f14(closed_days: int, *, found: bool) -> None:
    assert SEARCH_DAYS_MAX == 400
    closed = tuple(AT.date() + timedelta(days=ahead) for ahead in range(closed_days))
    place = Location(id="hq", holidays=closed)
    p = Pass(id="p", holder="ana", holidays=HolidayRule.CLOSED)
    opens = next_window_start(p, place, datetime(2026, 3, 2, tzinfo=UTC))
    first = datetime(2026, 3, 2, tzinfo=UTC) + timedelta(days=closed_days)
    assert opens == (first if found else None)


def test_a_door_without_a_schedule_never_stands_open_d03() -> None:
    assert not hours_contain((), Location(id="hq"), AT)
    assert hours_contain((Hours(),), Location(id="hq"), AT)
