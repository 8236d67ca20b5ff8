"""What a visit owes at its edges: what comes back of what was debited for later (S-06)."""

from datetime import UTC, date, datetime, timedelta

import pytest
from msgspec.structs import replace

from edgegate.passes.dues import segment_end, visit_end
from edgegate.passes.facts import Facts, Request
from edgegate.passes.happenings import (
    Charged,
    Closed,
    Debited,
    Happening,
    Refunded,
    SegmentEnded,
    WifiDisconnected,
)
from edgegate.passes.model import Channel, Customer, Location, Pass, Reservation, Unit
from edgegate.passes.reasons import ClosingReason
from edgegate.passes.state import MinuteTerms, Sale, Segment, Session, Tab

AT = datetime(2026, 3, 2, 9, tzinfo=UTC)
MINUTE, TICK = timedelta(minutes=1), timedelta(microseconds=1)
HQ = Location(id="hq", exclude_booked_minutes=True)
KIOSK = Request(at=AT, location=HQ, channel=Channel.KIOSK)
ANA = Customer(id="ana")
BY_MINUTE = MinuteTerms(increment_minutes=1, minimum_minutes=0)
BY_HOUR = replace(BY_MINUTE, credit_price_hour=600)
VISIT = Session(
    id="visit",
    customer="ana",
    location="hq",
    opened_at=AT - 60 * MINUTE,
    channel=Channel.KIOSK,
    closes_at=AT + 60 * MINUTE,
    closes_for=ClosingReason.CUTOFF,
    minutes=30,
)
SPENT = Debited(
    pass_="p",  # noqa: S106 - a pass of the law
    customer="ana",
    location="hq",
    session="visit",
    amount=30,
    day=date(2026, 3, 2),
    from_=AT - 20 * MINUTE,
    until=AT + 10 * MINUTE,
    counts=BY_MINUTE,
)


def end(*before: Debited, **known: object) -> list[Happening]:
    facts = Facts(customer=ANA, ancestry=("hq",), **known)  # type: ignore[arg-type] # as said
    return visit_end(VISIT, facts, KIOSK, ClosingReason.WIFI_IDLE, before=before)


def given_back(happened: list[Happening]) -> dict[str, int]:
    return {h.pass_: h.amount for h in happened if isinstance(h, Refunded)}


@pytest.mark.parametrize(
    ("from_", "until", "back"),
    [
        (AT - 30 * MINUTE, AT, 0),
        (AT - 30 * MINUTE + TICK, AT + TICK, 0),
        (AT - 20 * MINUTE, AT + 10 * MINUTE, 10),
        (AT, AT + 30 * MINUTE, 30),
        (AT + TICK, AT + 30 * MINUTE, 30),
    ],
)
def test_minutes_come_back_for_the_time_after_the_end_s06(
    from_: datetime, until: datetime, back: int
) -> None:
    happened = end(replace(SPENT, from_=from_, until=until))
    assert given_back(happened) == ({"p": back} if back else {})
    assert [h.minutes for h in happened if isinstance(h, Closed)] == [30 - back]


@pytest.mark.parametrize(("from_", "back"), [(AT, 0), (AT + TICK, 1)])
def test_a_use_comes_back_that_was_spent_after_the_end_s06(from_: datetime, back: int) -> None:
    use = replace(SPENT, amount=1, from_=from_, counts=None, covers=True)
    happened = end(use)
    assert given_back(happened) == ({"p": back} if back else {})
    assert [h.from_ for h in happened if isinstance(h, Refunded)] == [from_] * back
    assert [h.minutes for h in happened if isinstance(h, Closed)] == [30]


def test_lots_keep_in_their_turn_what_the_hours_cost_until_the_end_c07() -> None:
    """Of half an hour at 6.00 it was 20 minutes: 2.00 of 3.00, which are no minutes."""
    first = replace(SPENT, pass_="a", amount=150, counts=BY_HOUR)  # noqa: S106 - a pass of the law
    second = replace(first, pass_="b")  # noqa: S106 - a pass of the law
    happened = end(first, second)
    assert given_back(happened) == {"b": 100}
    assert [h.minutes for h in happened if isinstance(h, Closed)] == [30]


def test_booked_time_was_not_counted_and_does_not_come_back_s07() -> None:
    booked = Reservation(
        id="desk",
        customer="ana",
        location="hq",
        from_=AT - 15 * MINUTE,
        until=AT - 5 * MINUTE,
    )
    happened = end(replace(SPENT, amount=20), reservations=(booked,))
    assert given_back(happened) == {"p": 10}


def test_a_debit_says_since_when_it_counts_c06() -> None:
    """Another visit of the customer was debited for the first twenty minutes."""
    counted_from = AT - 10 * MINUTE
    on = Segment(
        from_=AT - 30 * MINUTE,
        pass_="p",  # noqa: S106 - a pass of the law
        counts=BY_MINUTE,
        counted_from=counted_from,
    )
    p = Pass(id="p", holder="ana", unit=Unit.MINUTE)
    facts = Facts(customer=ANA, ancestry=("hq",), passes=(p,), remaining={"p": 60})
    happened = visit_end(replace(VISIT, segment=on), facts, KIOSK, ClosingReason.CHECKOUT)
    debits = [h for h in happened if isinstance(h, Debited)]
    assert [(d.from_, d.until, d.amount) for d in debits] == [(counted_from, AT, 10)]


@pytest.mark.parametrize("until", [AT - TICK, AT])
def test_a_stretch_that_was_over_by_then_keeps_all_s06(until: datetime) -> None:
    """Whatever was booked since."""
    booked = Reservation(
        id="desk", customer="ana", location="hq", from_=AT - 15 * MINUTE, until=AT - 5 * MINUTE
    )
    assert given_back(end(replace(SPENT, until=until), reservations=(booked,))) == {}


def test_time_that_comes_back_takes_no_coverage_with_it_s06() -> None:
    happened = end(SPENT)
    assert [h.from_ for h in happened if isinstance(h, Refunded)] == [None]


@pytest.mark.parametrize(
    ("remaining", "counts", "debited"),
    [
        ({}, BY_MINUTE, {"p": 20}),
        ({"p": 60, "q": 0}, BY_MINUTE, {"p": 20}),
        ({"p": -5, "q": 0}, BY_MINUTE, {}),
        ({"p": 150, "q": 100}, BY_HOUR, {"p": 150, "q": 50}),
        ({"p": 150, "q": 20}, BY_HOUR, {"p": 150, "q": 20}),
    ],
)
def test_lots_pay_in_turn_and_what_is_gone_pays_what_is_due_c06_c07(
    remaining: dict[str, int], counts: MinuteTerms, debited: dict[str, int]
) -> None:
    on = Segment(
        from_=AT - 20 * MINUTE,
        pass_="p",  # noqa: S106 - a pass of the law
        counts=counts,
        lots=("q",),
    )
    facts = Facts(customer=ANA, ancestry=("hq",), remaining=remaining)
    happened = segment_end(replace(VISIT, segment=on), facts, KIOSK, ClosingReason.USED_UP)
    assert {h.pass_: h.amount for h in happened if isinstance(h, Debited)} == debited
    assert [h.pass_ for h in happened if isinstance(h, SegmentEnded)] == ["p"]


@pytest.mark.parametrize("late", [True, False])
def test_what_was_sold_after_the_end_is_not_charged_s06(*, late: bool) -> None:
    sale = Sale(offer="o", price=2000, currency="EUR", amount=60, minimum_minutes=15)
    visit = replace(VISIT, tabs=(Tab(sale=sale, used_s=1800),))
    facts = Facts(customer=ANA, ancestry=("hq",))
    sold_late = ("o",) if late else ()
    happened = visit_end(visit, facts, KIOSK, ClosingReason.WIFI_IDLE, late=sold_late)
    charged = [(h.amount, h.used_s, h.taken_back) for h in happened if isinstance(h, Charged)]
    assert charged == [(0, 0, True) if late else (1000, 1800, False)]


@pytest.mark.parametrize("on_wifi", [True, False])
def test_the_end_ends_the_wifi_of_who_was_on_it_s09(*, on_wifi: bool) -> None:
    facts = Facts(customer=ANA, ancestry=("hq",))
    happened = visit_end(replace(VISIT, wifi=on_wifi), facts, KIOSK, ClosingReason.EXIT)
    assert any(isinstance(h, WifiDisconnected) for h in happened) is on_wifi
