"""What a visit goes on with, to the last field: the oracle looks at the costs, not at segments."""

from datetime import UTC, date, datetime, timedelta

import pytest
from msgspec.structs import replace

from edgegate.passes.coverage import NOTHING, Spending, Take
from edgegate.passes.facts import Facts, Request
from edgegate.passes.model import (
    Channel,
    Customer,
    Door,
    Kind,
    Location,
    Offer,
    Pass,
    Reservation,
    ReservationState,
    Resource,
    Unit,
)
from edgegate.passes.payment import Decision, Payment, by_passes, furthest, next_booking
from edgegate.passes.reasons import Reason
from edgegate.passes.state import Coverage, MinuteTerms, Sale, Scope, Segment

AT = datetime(2026, 3, 2, 9, tzinfo=UTC)
END = datetime(2026, 3, 3, tzinfo=UTC)
HOUR, MINUTE, TICK = timedelta(hours=1), timedelta(minutes=1), timedelta(microseconds=1)
TODAY = date(2026, 3, 2)
HQ = Location(
    id="hq",
    payg=(Kind.MEMBERS, Kind.CONTACTS),
    credit_price=80,
    reservation_lead_minutes=10,
)
FRONT = Door(id="front", location="hq")
ROOM = Resource(id="room", location="hq", credit_price_hour=600)
ROOM_DOOR = Door(id="room-door", location="hq", resource="room")
AT_FRONT = Request(at=AT, location=HQ, channel=Channel.DOOR, door=FRONT)
AT_ROOM = Request(at=AT, location=HQ, channel=Channel.DOOR, door=ROOM_DOOR)
AT_KIOSK = Request(at=AT, location=HQ, channel=Channel.KIOSK)
ON_WIFI = Request(at=AT, location=HQ, channel=Channel.WIFI)
P, OFFER = "p", "o"
USES = Pass(id=P, holder="ana", amount=10)
BY_HOUR = Offer(id=OFFER, price=2000, currency="EUR", unit=Unit.MINUTE, amount=60, sold_to=HQ.payg)
BY_DAY = Offer(id=OFFER, price=2000, currency="EUR", sold_to=HQ.payg)
SALE = Sale(offer=OFFER, price=2000, currency="EUR", amount=60, minimum_minutes=15)


def known(**said: object) -> Facts:
    return Facts(customer=Customer(id="ana"), ancestry=("hq",), **said)  # type: ignore[arg-type] # as said


def paid(decision: Decision, reason: Reason) -> Payment:
    assert decision.opens
    assert decision.reason is reason
    assert decision.payment is not None
    return decision.payment


def taken(from_: datetime) -> Reservation:
    """Somebody else's reservation of the room."""
    return Reservation(
        id="theirs", customer="bob", location="hq", resource="room", from_=from_, until=END
    )


WAYS = (
    (AT_FRONT, Channel.DOOR, "front"),
    (AT_KIOSK, Channel.KIOSK, None),
    (ON_WIFI, Channel.WIFI, None),
)
ways = pytest.mark.parametrize(("request_", "channel", "door"), WAYS)


@ways
def test_a_use_c02(request_: Request, channel: Channel, door: str | None) -> None:
    p = replace(USES, wifi=True)
    decision = by_passes(known(passes=(p,), remaining={P: 3}), request_)
    assert decision.pass_ == P
    assert paid(decision, Reason.PASS) == Payment(
        spending=Spending(takes=(Take(P, 1),), until=END),
        segment=Segment(from_=AT, channel=channel, door=door, pass_=P, until=END),
    )


@ways
def test_minutes_c06(request_: Request, channel: Channel, door: str | None) -> None:
    p = replace(USES, unit=Unit.MINUTE, wifi=True, increment_minutes=5, minimum_minutes=10)
    decision = by_passes(known(passes=(p,), remaining={P: 3}), request_)
    assert paid(decision, Reason.PASS) == Payment(
        spending=NOTHING,
        segment=Segment(
            from_=AT,
            channel=channel,
            door=door,
            pass_=P,
            counts=MinuteTerms(increment_minutes=5, minimum_minutes=10),
        ),
    )


@ways
def test_unlimited_c08(request_: Request, channel: Channel, door: str | None) -> None:
    p = replace(USES, unit=Unit.UNLIMITED, wifi=True)
    decision = by_passes(known(passes=(p,), remaining={P: 0}), request_)
    assert decision.pass_ == P
    assert paid(decision, Reason.UNLIMITED) == Payment(
        spending=NOTHING, segment=Segment(from_=AT, channel=channel, door=door, pass_=P)
    )


def credits_(**terms: object) -> tuple[Pass, ...]:
    lot = Pass(id="lot", holder="ana", unit=Unit.CREDIT, **terms)  # type: ignore[arg-type] # as said
    return tuple(replace(lot, id=name) for name in ("c", "a", "b"))


@ways
def test_credits_c07(request_: Request, channel: Channel, door: str | None) -> None:
    facts = known(passes=credits_(wifi=True), remaining={"a": 30, "b": 40, "c": 50})
    decision = by_passes(facts, request_)
    assert decision.pass_ == "a"  # noqa: S105 - a pass of the law
    scope = Scope(wifi=True)
    assert paid(decision, Reason.CREDIT) == Payment(
        spending=Spending(
            takes=(Take("a", 30), Take("b", 40), Take("c", 10)),
            until=END,
            scope=scope,
        ),
        segment=Segment(
            from_=AT,
            channel=channel,
            door=door,
            pass_="a",  # noqa: S106 - a pass of the law
            until=END,
            scope=scope,
        ),
    )


def test_a_check_in_that_costs_no_credits_c07() -> None:
    """It covers the day all the same, and stands on the lot that is spent first."""
    facts = known(passes=credits_(), remaining={"a": 30, "b": 40, "c": 50})
    free = replace(AT_FRONT, location=replace(HQ, credit_price=0))
    spending = paid(by_passes(facts, free), Reason.CREDIT).spending
    assert (spending.takes, spending.until) == ((Take("a", 0),), END)


def test_credits_do_not_help_to_pay_by_the_minute_c06() -> None:
    minutes = replace(USES, unit=Unit.MINUTE)
    facts = known(passes=(minutes, *credits_()), remaining={P: 9, "a": 90, "b": 90, "c": 90})
    assert paid(by_passes(facts, AT_FRONT), Reason.PASS).segment.lots == ()


def test_credits_by_the_hour_c07_c13() -> None:
    """The lots pay in their order; the walk-up ends a lead before the room is reserved."""
    lots = credits_(resources=("room",), increment_minutes=15, minimum_minutes=30)
    facts = known(
        passes=lots,
        remaining={"a": 30, "b": 40, "c": 50},
        resource=ROOM,
        taken=(taken(AT + 2 * HOUR), taken(AT + HOUR)),
    )
    decision = by_passes(facts, AT_ROOM)
    assert paid(decision, Reason.CREDIT) == Payment(
        spending=NOTHING,
        segment=Segment(
            from_=AT,
            channel=Channel.DOOR,
            door="room-door",
            pass_="a",  # noqa: S106 - a pass of the law
            until=AT + 50 * MINUTE,
            counts=MinuteTerms(increment_minutes=15, minimum_minutes=30, credit_price_hour=600),
            lots=("b", "c"),
        ),
    )


def bought(**said: object) -> Coverage:
    return Coverage(customer="ana", day=TODAY, from_=AT - HOUR, until=AT + HOUR, **said)  # type: ignore[arg-type] # as said


@ways
def test_a_coverage_by_a_pass_c01(request_: Request, channel: Channel, door: str | None) -> None:
    p = replace(USES, wifi=True)
    facts = known(passes=(p,), remaining={P: 0}, coverages=(bought(pass_=P),))
    decision = by_passes(facts, request_)
    assert (decision.pass_, decision.offer) == (P, None)
    assert paid(decision, Reason.COVERED) == Payment(
        spending=NOTHING,
        segment=Segment(from_=AT, channel=channel, door=door, pass_=P, until=AT + HOUR),
    )


@ways
def test_a_coverage_by_an_offer_p02(request_: Request, channel: Channel, door: str | None) -> None:
    offer = replace(BY_DAY, wifi=True)
    facts = known(offers=(offer,), coverages=(bought(offer=OFFER),))
    decision = by_passes(facts, request_)
    assert (decision.pass_, decision.offer) == (None, OFFER)
    assert paid(decision, Reason.COVERED) == Payment(
        spending=NOTHING,
        segment=Segment(from_=AT, channel=channel, door=door, offer=OFFER, until=AT + HOUR),
    )


def test_a_coverage_by_credits_c07() -> None:
    scope = Scope(home="hq")
    decision = by_passes(known(coverages=(bought(pass_=P, scope=scope),)), AT_FRONT)
    assert paid(decision, Reason.COVERED) == Payment(
        spending=NOTHING,
        segment=Segment(
            from_=AT,
            channel=Channel.DOOR,
            door="front",
            pass_=P,
            until=AT + HOUR,
            scope=scope,
        ),
    )


@pytest.mark.parametrize(
    ("request_", "room", "reason"),
    [
        (AT_ROOM, ROOM, Reason.NO_PASS),
        (AT_ROOM, replace(ROOM, credit_price_hour=0), Reason.NO_PASS),
        (AT_ROOM, replace(ROOM, credit_price_hour=None), Reason.COVERED),
        (AT_ROOM, None, Reason.COVERED),
        # As when the room's door wants a check-in first.
        (AT_KIOSK, ROOM, Reason.COVERED),
        (AT_FRONT, None, Reason.COVERED),
    ],
)
def test_a_day_for_credits_opens_what_has_no_price_of_its_own_c07(
    request_: Request, room: Resource | None, reason: Reason
) -> None:
    scope = Scope(door_groups=("street",), resources=("room",))
    facts = known(coverages=(bought(pass_=P, scope=scope),), resource=room)
    front = replace(FRONT, groups=("street",)) if request_.door is FRONT else request_.door
    assert by_passes(facts, replace(request_, door=front)).reason is reason


def test_of_several_coverages_that_of_the_pass_that_is_spent_first_is_told_o01() -> None:
    soon = replace(USES, id="soon", expires_at=AT + 9 * HOUR)
    facts = known(
        passes=(USES, soon),
        remaining={P: 0, "soon": 0},
        offers=(BY_DAY,),
        coverages=(bought(offer=OFFER), bought(pass_=P), bought(pass_="soon")),  # noqa: S106 - its id
    )
    assert by_passes(facts, AT_FRONT).pass_ == "soon"  # noqa: S105 - its id
    gone = replace(facts, passes=())
    assert by_passes(gone, AT_FRONT).offer == OFFER
    scoped = tuple(bought(pass_=id_, scope=Scope()) for id_ in ("z", "y"))
    assert by_passes(replace(gone, coverages=scoped), AT_FRONT).pass_ == "y"  # noqa: S105 - its id
    offers = (BY_DAY, replace(BY_DAY, id="n"))
    sold = replace(gone, offers=offers, coverages=(bought(offer=OFFER), bought(offer="n")))
    assert by_passes(sold, AT_FRONT).offer == "n"
    both = replace(facts, coverages=(*scoped, bought(pass_=P)))
    assert by_passes(both, AT_FRONT).pass_ == P


@pytest.mark.parametrize(
    ("state", "reason", "arrives"),
    [
        (ReservationState.SCHEDULED, Reason.RESERVATION, "r"),
        (ReservationState.ARRIVED, Reason.COVERED, None),
    ],
)
def test_a_reservation_c09(state: ReservationState, reason: Reason, arrives: str | None) -> None:
    mine = Reservation(
        id="r",
        customer="ana",
        location="hq",
        pass_=P,
        from_=AT + 10 * MINUTE,
        until=AT + HOUR,
        state=state,
    )
    facts = known(
        reservations=(replace(mine, id="s"), replace(mine, id="q", from_=AT + 11 * MINUTE), mine)
    )
    for request_, channel, door in WAYS[:2]:
        decision = by_passes(facts, request_)
        assert decision.pass_ == P
        assert paid(decision, reason) == Payment(
            spending=NOTHING,
            segment=Segment(from_=AT, channel=channel, door=door, reservation="r", until=AT + HOUR),
            arrives=arrives,
        )
    assert not by_passes(facts, ON_WIFI).opens
    assert not by_passes(replace(facts, passes=(USES,), remaining={P: 0}), ON_WIFI).opens
    with_wifi = replace(facts, passes=(replace(USES, wifi=True),), remaining={P: 0})
    assert paid(by_passes(with_wifi, ON_WIFI), reason).segment.channel is Channel.WIFI
    assert not by_passes(facts, AT_FRONT.moved(AT - TICK)).opens
    assert not by_passes(facts, AT_FRONT.moved(AT + HOUR)).opens
    assert not by_passes(facts, AT_ROOM).opens
    assert not by_passes(facts, replace(AT_FRONT, location=Location(id="annex"))).opens


@ways
def test_a_sale_by_the_minute_p01(request_: Request, channel: Channel, door: str | None) -> None:
    offer = replace(BY_HOUR, wifi=True)
    decision = by_passes(known(offers=(offer,)), request_)
    assert decision.offer == OFFER
    assert paid(decision, Reason.PAYG) == Payment(
        spending=NOTHING,
        segment=Segment(from_=AT, channel=channel, door=door, offer=OFFER, sale=SALE),
    )


@ways
def test_a_sale_by_the_day_p02(request_: Request, channel: Channel, door: str | None) -> None:
    offer = replace(BY_DAY, wifi=True)
    decision = by_passes(known(offers=(offer,)), request_)
    assert decision.offer == OFFER
    assert paid(decision, Reason.PAYG) == Payment(
        spending=Spending(until=END),
        segment=Segment(
            from_=AT,
            channel=channel,
            door=door,
            offer=OFFER,
            sale=replace(SALE, amount=None),
            until=END,
        ),
    )


@ways
def test_a_day_that_was_sold_already_p02(
    request_: Request, channel: Channel, door: str | None
) -> None:
    """At a location whose day ended sooner, so that nothing covers the customer any more."""
    offer = replace(BY_DAY, wifi=True)
    over = replace(bought(offer=OFFER), until=AT)
    facts = known(offers=(offer,), coverages=(over,))
    decision = by_passes(facts, request_)
    assert decision.offer == OFFER
    assert paid(decision, Reason.PAYG) == Payment(
        spending=NOTHING,
        segment=Segment(from_=AT, channel=channel, door=door, offer=OFFER, until=END),
    )
    yesterday = replace(over, day=date(2026, 3, 1))
    again = by_passes(replace(facts, coverages=(yesterday,)), request_)
    assert paid(again, Reason.PAYG).segment.sale is not None


def test_of_several_offers_the_cheapest_is_sold_then_the_lowest_id_o04() -> None:
    dear, cheap = replace(BY_DAY, id="a", price=3), replace(BY_DAY, id="c", price=2)
    facts = known(offers=(dear, cheap, replace(cheap, id="b")))
    assert by_passes(facts, AT_FRONT).offer == "b"


@pytest.mark.parametrize(
    ("ceiling", "charged", "sold"),
    [
        (None, 9_999, True),
        (1_000, None, True),
        (1_000, 500, True),
        (1_000, 501, False),
        (499, 0, False),
        (500, 0, True),
    ],
)
def test_what_is_sold_offline_has_a_ceiling_o05(
    ceiling: int | None, charged: int | None, *, sold: bool
) -> None:
    place = replace(HQ, payg_offline_ceiling=ceiling)
    facts = known(offers=(BY_HOUR,), charged_offline=charged)
    decision = by_passes(facts, replace(AT_FRONT, location=place))
    assert decision.opens is sold
    assert decision.reason is (Reason.PAYG if sold else Reason.PAYG_CEILING)


ROOM_PASSES = (
    known(passes=(replace(USES, resources=("room",)),), remaining={P: 3}),
    known(offers=(replace(BY_DAY, resources=("room",)),)),
    known(offers=(replace(BY_HOUR, resources=("room",)),)),
    known(
        offers=(replace(BY_DAY, resources=("room",)),),
        coverages=(replace(bought(offer=OFFER), until=AT),),
    ),
    known(
        passes=(replace(USES, resources=("room",)),), remaining={P: 0}, coverages=(bought(pass_=P),)
    ),
)


@pytest.mark.parametrize("facts", ROOM_PASSES)
def test_a_walk_up_ends_a_lead_before_the_room_is_reserved_c13(facts: Facts) -> None:
    soon = replace(facts, taken=(taken(AT + 40 * MINUTE), taken(AT + 30 * MINUTE)))
    decision = by_passes(soon, AT_ROOM)
    assert decision.payment is not None
    assert decision.payment.segment.until == AT + 20 * MINUTE
    assert decision.payment.segment.door == "room-door"
    now = replace(facts, taken=(taken(AT + 10 * MINUTE),))
    assert by_passes(now, AT_ROOM) == Decision(opens=False, reason=Reason.NOT_BOOKED)
    almost = replace(facts, taken=(taken(AT + 10 * MINUTE + TICK),))
    assert by_passes(almost, AT_ROOM).opens


def test_a_taken_room_says_when_the_customers_own_reservation_begins_f14() -> None:
    def mine(from_: datetime, resource: str = "room") -> Reservation:
        return Reservation(
            id="r", customer="ana", location="hq", resource=resource, from_=from_, until=END
        )

    facts = known(
        taken=(taken(AT),),
        reservations=(
            mine(AT + 3 * HOUR),
            mine(AT + 2 * HOUR),
            mine(AT + HOUR, "desk"),
            mine(AT + 10 * MINUTE),
        ),
    )
    assert next_booking(facts, AT_ROOM) == AT + 2 * HOUR - 10 * MINUTE
    told = furthest(facts, AT_ROOM)
    assert (told.reason, told.retry_at) == (Reason.NOT_BOOKED, AT + 2 * HOUR - 10 * MINUTE)
    assert next_booking(facts, AT_KIOSK) is None


def test_the_pass_that_got_furthest_is_told_f10() -> None:
    """Of those that got equally far the one that is spent first."""
    expired = replace(USES, id="e", expires_at=AT)
    empty = replace(USES, id="z")
    facts = known(
        passes=(expired, empty, replace(empty, id="y")), remaining={"z": 0, "y": 0, "e": 1}
    )
    told = furthest(facts, AT_FRONT)
    assert (told.opens, told.reason, told.stopped_pass) == (False, Reason.USED_UP, "y")
    assert furthest(known(), AT_FRONT) == Decision(opens=False, reason=Reason.NO_PASS)
