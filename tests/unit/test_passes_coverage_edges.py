"""Coverage and prices at their edges: what covers, what it costs, what is rounded how."""

from datetime import UTC, date, datetime, timedelta

import pytest

from edgegate.passes import chain, coverage, prices
from edgegate.passes.facts import Facts, Request, Running
from edgegate.passes.model import Channel, Customer, Location, Pass, Per, Unit
from edgegate.passes.state import Coverage, MinuteTerms, Sale, Scope, Tab

AT = datetime(2026, 3, 2, 9, tzinfo=UTC)
HOUR, TICK = timedelta(hours=1), timedelta(microseconds=1)
KIOSK = Request(at=AT, location=Location(id="hq"), channel=Channel.KIOSK)
SLOT_PASS = Pass(id="p", holder="ana", per=Per.SLOT)


def covered(from_: datetime, until: datetime) -> Facts:
    bought = Coverage(
        pass_=SLOT_PASS.id, customer="ana", day=date(2026, 3, 2), from_=from_, until=until
    )
    return Facts(
        customer=Customer(id="ana"),
        ancestry=("hq",),
        passes=(SLOT_PASS,),
        remaining={SLOT_PASS.id: 0},
        coverages=(bought,),
    )


@pytest.mark.parametrize(
    ("from_", "until", "covers"),
    [
        (AT - HOUR, AT + HOUR, True),
        (AT, AT + TICK, True),
        (AT - HOUR, AT, False),
        (AT + TICK, AT + HOUR, False),
    ],
)
def test_a_coverage_includes_its_first_instant_and_excludes_its_last_c01(
    from_: datetime, until: datetime, *, covers: bool
) -> None:
    facts = covered(from_, until)
    assert bool(coverage.covering(facts, KIOSK)) is covers
    assert coverage.costs_nothing(SLOT_PASS, KIOSK, facts) is covers
    assert (chain.balance(SLOT_PASS, KIOSK, facts) is None) is covers


@pytest.mark.parametrize(
    ("price", "takes"),
    [
        (0, [("a", 0)]),
        (30, [("a", 30)]),
        (31, [("a", 30), ("b", 1)]),
        (60, [("a", 30), ("b", 20), ("c", 10)]),
    ],
)
def test_credits_are_taken_from_the_lots_in_their_order_c07(
    price: int, takes: list[tuple[str, int]]
) -> None:
    """What costs nothing is taken from a lot all the same, for it covers the day."""
    first = Pass(
        id="a",
        holder="ana",
        unit=Unit.CREDIT,
        home="hq",
        locations=("hq", "annex"),
        door_groups=("street",),
        wifi=True,
        resources=("room",),
    )
    lots = (first, *(Pass(id=name, holder="ana", unit=Unit.CREDIT) for name in "bc"))
    facts = Facts(
        customer=Customer(id="ana"),
        ancestry=("hq",),
        passes=lots,
        remaining={"a": 30, "b": 20, "c": 40},
    )
    spending = coverage.credit_spending(lots, price, KIOSK, facts)
    assert [(take.pass_, take.amount) for take in spending.takes] == takes
    assert spending.amount == price
    assert spending.until == datetime(2026, 3, 3, tzinfo=UTC)
    assert spending.scope == Scope(
        home="hq",
        locations=("hq", "annex"),
        door_groups=("street",),
        wifi=True,
        resources=("room",),
    )


def sale(amount: int | None) -> Sale:
    return Sale(offer="o", price=2000, currency="EUR", amount=amount, minimum_minutes=15)


@pytest.mark.parametrize(
    ("used_s", "minor"), [(0, 0), (-1, 0), (1, 500), (900, 500), (901, 533), (3600, 2000)]
)
def test_minutes_are_charged_from_the_first_second_on_p01_p07(used_s: int, minor: int) -> None:
    assert prices.charge(Tab(sale=sale(60), used_s=used_s)) == minor
    assert prices.charge(Tab(sale=sale(None), used_s=used_s)) == 2000


def test_a_sale_counts_with_its_day_price_or_its_minimum_charge_o05() -> None:
    assert prices.least_charge(sale(None)) == 2000
    assert prices.least_charge(sale(60)) == 500
    assert prices.least_charge(sale(7)) == 4286


@pytest.mark.parametrize(
    ("used", "due", "priced"),
    [
        (timedelta(0), 0, 0),
        (timedelta(milliseconds=499), 0, 0),
        (timedelta(milliseconds=500), 10, 50),
        (timedelta(minutes=10), 10, 50),
        (timedelta(minutes=10, milliseconds=500), 15, 75),
        (timedelta(minutes=16), 20, 100),
        (timedelta(minutes=-16), 0, 0),
    ],
)
def test_time_is_rounded_up_before_it_is_priced_c06_c07(
    used: timedelta, due: int, priced: int
) -> None:
    terms = MinuteTerms(increment_minutes=5, minimum_minutes=10)
    hourly = MinuteTerms(increment_minutes=5, minimum_minutes=10, credit_price_hour=300)
    assert coverage.minutes_due(terms, used) == due
    assert coverage.cost(terms, used) == due
    assert coverage.cost(hourly, used) == priced


@pytest.mark.parametrize(
    ("numerator", "denominator", "up", "rounded"),
    [(0, 2, 0, 0), (1, 2, 1, 1), (1, 3, 1, 0), (2, 3, 1, 1), (4, 2, 2, 2), (5, 2, 3, 3)],
)
def test_quotients_are_rounded(numerator: int, denominator: int, up: int, rounded: int) -> None:
    assert prices.ceiling(numerator, denominator) == up
    assert prices.half_up(numerator, denominator) == rounded


BY_HOUR = MinuteTerms(increment_minutes=1, minimum_minutes=0, credit_price_hour=100)


def in_a_room(lots: str, hours: int, terms: MinuteTerms = BY_HOUR) -> Running:
    """Somebody's stretch that began so many hours ago and draws on these lots in turn."""
    return Running(
        session=f"on-{lots}",
        customer=f"of-{lots}",
        pass_=lots[0],
        from_=AT - hours * HOUR,
        closes_at=AT + HOUR,
        counts=terms,
        lots=tuple(lots[1:]),
    )


def left_after(*running: Running, **remaining: int) -> dict[str, int]:
    facts = Facts(
        customer=Customer(id="ana"), ancestry=("hq",), remaining=remaining, running=running
    )
    return dict(coverage.credits_left(facts, AT))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"a": 100, "b": 50}, {"a": 0, "b": 50}),
        ({"a": 60, "b": 50}, {"a": 0, "b": 10}),
        ({"a": 60, "b": 30}, {"a": 0, "b": 0}),
        ({"a": 0, "b": 150}, {"a": 0, "b": 50}),
        # What is below nothing pays nothing, and what nobody knows any more neither.
        ({"a": -20, "b": 150}, {"a": -20, "b": 50}),
        ({"b": 150}, {"b": 50}),
    ],
)
def test_an_hour_that_runs_is_taken_from_its_lots_in_turn_f09(
    before: dict[str, int], after: dict[str, int]
) -> None:
    assert left_after(in_a_room("ab", 1), **before) == after


def test_minutes_that_run_take_nothing_of_credits_f09() -> None:
    by_minute = MinuteTerms(increment_minutes=1, minimum_minutes=0)
    assert left_after(in_a_room("m", 1, by_minute), m=90, a=100) == {"m": 90, "a": 100}


@pytest.mark.parametrize("ids", ["abc", "xyz", "klm", "pqr"])
def test_of_several_hours_that_run_those_on_the_lowest_lot_are_taken_first_f09(ids: str) -> None:
    """Whatever was read first, so that every device sees the same left (O-02)."""
    a, b, c = tuple(ids)
    rooms = (in_a_room(a + b, 1), in_a_room(b + c, 1), in_a_room(c, 1))
    for running in (rooms, rooms[::-1]):
        left = left_after(*running, **{a: 50, b: 60, c: 500})
        assert left == {a: 0, b: 0, c: 310}
