"""What a visit goes on with when its segment ends (S-04), and whether a segment goes on (C-11)."""

from datetime import UTC, date, datetime, timedelta

import pytest
from msgspec.structs import replace

from edgegate.passes.facts import Facts, Request, Running
from edgegate.passes.model import (
    Audience,
    Channel,
    Customer,
    Door,
    Hours,
    Kind,
    Location,
    Offer,
    Pass,
    PassState,
    Per,
    Reservation,
    Unit,
)
from edgegate.passes.payment import by_passes, hand_over, still_covers
from edgegate.passes.reasons import ClosingReason, Reason
from edgegate.passes.state import Coverage, MinuteTerms, Scope, Segment, Session

AT = datetime(2026, 3, 2, 9, tzinfo=UTC)
END = datetime(2026, 3, 3, tzinfo=UTC)
HOUR, TICK = timedelta(hours=1), timedelta(microseconds=1)
HQ = Location(id="hq", payg=(Kind.CONTACTS,), payg_hand_over=True, credit_price=80)
KIOSK = Request(at=AT, location=HQ, channel=Channel.KIOSK)
ON_WIFI = Request(at=AT, location=HQ, channel=Channel.WIFI)
P, Q, OFFER = "p", "q", "o"
USES = Pass(id=P, holder="ana", per=Per.SLOT)
OFFERED = Offer(
    id=OFFER, price=2000, currency="EUR", unit=Unit.MINUTE, amount=60, sold_to=(Kind.CONTACTS,)
)
MINE = Reservation(id="r", customer="ana", location="hq", from_=AT - HOUR, until=AT + HOUR)
ON_PASS = Segment(from_=AT - HOUR, pass_=P)


def visit(segment: Segment | None, *paid_by: str) -> Session:
    return Session(
        id="s",
        customer="ana",
        location="hq",
        opened_at=AT - HOUR,
        segment=segment,
        channel=Channel.KIOSK,
        closes_at=END,
        closes_for=ClosingReason.CUTOFF,
        paid_by=paid_by,
    )


def known(*passes: Pass, **said: object) -> Facts:
    remaining = said.pop("remaining", {p.id: 5 for p in passes})
    return Facts(
        customer=Customer(id="ana"),
        ancestry=("hq",),
        passes=passes,
        remaining=remaining,  # type: ignore[arg-type] # as said
        **said,  # type: ignore[arg-type] # as said
    )


def bought(pass_: str | None = P, **said: object) -> Coverage:
    return Coverage(
        pass_=pass_,
        customer="ana",
        day=date(2026, 3, 2),
        from_=AT - HOUR,
        until=AT + HOUR,
        **said,  # type: ignore[arg-type] # as said
    )


def goes_on_with(facts: Facts, request: Request = KIOSK) -> str | None:
    """What takes over: the pass, reservation or offer."""
    decision = hand_over(facts, request)
    if decision is None:
        return None
    assert decision.opens
    assert decision.payment is not None
    segment = decision.payment.segment
    return segment.pass_ or segment.reservation or segment.offer


def test_no_use_is_spent_of_a_pass_that_covered_the_visit_s04() -> None:
    assert goes_on_with(known(USES, session=visit(ON_PASS))) == P
    assert goes_on_with(known(USES, session=visit(ON_PASS, P))) is None
    assert goes_on_with(known(USES, session=visit(ON_PASS, Q))) == P
    covered = known(USES, session=visit(ON_PASS, P), coverages=(bought(),))
    assert goes_on_with(covered) == P
    assert goes_on_with(known(USES)) == P


def test_a_recorded_day_goes_on_at_no_cost_s04_c02() -> None:
    day = replace(USES, per=Per.DAY)
    over = replace(bought(), until=AT)
    assert goes_on_with(known(day, session=visit(ON_PASS, P), coverages=(over,))) == P


@pytest.mark.parametrize("unit", [Unit.MINUTE, Unit.UNLIMITED])
def test_what_is_not_counted_in_uses_may_take_over_again_s04(unit: Unit) -> None:
    assert goes_on_with(known(replace(USES, unit=unit), session=visit(ON_PASS, P))) == P


def test_the_order_in_which_things_take_over_s04() -> None:
    """A coverage, a reservation, a pass, a sale."""
    facts = known(
        USES,
        replace(USES, id=Q),
        session=visit(ON_PASS, P),
        coverages=(bought(),),
        reservations=(MINE,),
        offers=(OFFERED,),
    )
    assert goes_on_with(facts) == P
    facts = replace(facts, coverages=())
    assert goes_on_with(facts) == "r"
    facts = replace(facts, reservations=())
    assert goes_on_with(facts) == Q
    facts = replace(facts, passes=())
    assert goes_on_with(facts) == OFFER
    assert goes_on_with(facts, replace(KIOSK, location=replace(HQ, payg_hand_over=False))) is None
    assert goes_on_with(replace(facts, offers=())) is None


def test_a_sale_that_is_refused_takes_nothing_over_o05() -> None:
    """The visit closes; it is no refusal that anybody is told."""
    place = replace(HQ, payg_offline_ceiling=100)
    facts = known(session=visit(ON_PASS), offers=(OFFERED,), charged_offline=0)
    assert by_passes(facts, replace(KIOSK, location=place)).reason is Reason.PAYG_CEILING
    assert hand_over(facts, replace(KIOSK, location=place)) is None


UNLIMITED = replace(USES, unit=Unit.UNLIMITED)
MINUTES = replace(USES, unit=Unit.MINUTE)
CREDITS = replace(USES, unit=Unit.CREDIT, resources=("room",))
BY_MINUTE = replace(ON_PASS, counts=MinuteTerms(increment_minutes=1, minimum_minutes=0))
BY_HOUR = replace(
    ON_PASS,
    counts=MinuteTerms(increment_minutes=1, minimum_minutes=0, credit_price_hour=600),
    lots=(Q,),
)
RUNS = Running(session="s", customer="ana", pass_=P, from_=AT - HOUR, closes_at=END)
MORNING = (Hours(to="09:00"),)


@pytest.mark.parametrize(
    ("segment", "facts", "goes_on"),
    [
        (ON_PASS, known(UNLIMITED), True),
        (ON_PASS, known(), False),
        (ON_PASS, known(replace(UNLIMITED, id=Q)), False),
        (ON_PASS, known(replace(UNLIMITED, hours=MORNING)), False),
        (ON_PASS, known(replace(UNLIMITED, state=PassState.REJECTED)), False),
        (replace(ON_PASS, until=AT), known(UNLIMITED), False),
        (replace(ON_PASS, until=AT + TICK), known(UNLIMITED), True),
        # A use: while its coverage runs.
        (ON_PASS, known(USES), False),
        (ON_PASS, known(USES, coverages=(bought(),)), True),
        (ON_PASS, known(USES, coverages=(bought(Q),)), False),
        (ON_PASS, known(USES, coverages=(replace(bought(), until=AT),)), False),
        # Minutes: while some are left after those that run.
        (BY_MINUTE, known(MINUTES, running=(RUNS,), remaining={P: 61}), True),
        (BY_MINUTE, known(MINUTES, running=(RUNS,), remaining={P: 60}), False),
        # Credits by the hour: while all lots together last. An hour costs 600.
        (BY_HOUR, known(CREDITS, replace(CREDITS, id=Q), remaining={P: 1, Q: 0}), True),
        (BY_HOUR, known(CREDITS, replace(CREDITS, id=Q), remaining={P: 0, Q: 0}), False),
        (
            BY_HOUR,
            known(CREDITS, replace(CREDITS, id=Q), running=(RUNS,), remaining={P: 300, Q: 301}),
            True,
        ),
        (
            BY_HOUR,
            known(CREDITS, replace(CREDITS, id=Q), running=(RUNS,), remaining={P: 300, Q: 300}),
            False,
        ),
        (
            BY_HOUR,
            known(CREDITS, replace(CREDITS, id="x"), running=(RUNS,), remaining={P: 300, "x": 400}),
            False,
        ),
        # A reservation, an offer.
        (Segment(from_=AT, reservation="r"), known(reservations=(MINE,)), True),
        (
            Segment(from_=AT, reservation="r"),
            known(reservations=(replace(MINE, id="other"), MINE)),
            True,
        ),
        (Segment(from_=AT, reservation="r"), known(reservations=(replace(MINE, id="x"),)), False),
        (
            Segment(from_=AT, reservation="r"),
            known(reservations=(replace(MINE, until=AT), replace(MINE, id="x"))),
            False,
        ),
        (Segment(from_=AT, offer=OFFER), known(offers=(OFFERED,)), True),
        (Segment(from_=AT, offer=OFFER), known(offers=(replace(OFFERED, id="x"),)), False),
        (
            Segment(from_=AT, offer=OFFER),
            known(offers=(replace(OFFERED, hours=MORNING), replace(OFFERED, id="x"))),
            False,
        ),
        # The kind of customer is that of the sale (O-04).
        (
            Segment(from_=AT, offer=OFFER),
            known(offers=(replace(OFFERED, audience=Audience.MEMBERS),)),
            True,
        ),
        # What credits paid for stays, whatever became of the lots (C-07).
        (replace(ON_PASS, scope=Scope(home="hq")), known(), True),
        (replace(ON_PASS, scope=Scope(locations=("annex",))), known(), False),
        (replace(ON_PASS, scope=Scope(home="hq"), until=AT), known(), False),
    ],
)
def test_whether_a_segment_goes_on_s04_c11(
    segment: Segment, facts: Facts, *, goes_on: bool
) -> None:
    assert still_covers(segment, facts, KIOSK) is goes_on
    # O-01: an entry that the segment allows changes nothing.
    entry = by_passes(replace(facts, session=visit(segment)), KIOSK)
    assert (entry.reason is Reason.COVERED and entry.payment is None) is goes_on


def test_the_way_of_an_entry_must_be_part_of_what_was_paid_for_f07() -> None:
    scoped = replace(ON_PASS, scope=Scope(home="hq"))
    assert not still_covers(scoped, known(), ON_WIFI)
    assert still_covers(replace(scoped, scope=Scope(wifi=True)), known(), ON_WIFI)
    on_offer = Segment(from_=AT, offer=OFFER)
    assert not still_covers(on_offer, known(offers=(OFFERED,)), ON_WIFI)


def test_an_entry_during_a_visit_tells_what_it_rides_on_o01() -> None:
    reserved = known(
        session=visit(Segment(from_=AT, reservation="r")),
        reservations=(replace(MINE, pass_=Q), replace(MINE, id="other", pass_=P)),
    )
    assert by_passes(reserved, KIOSK).pass_ == Q
    on_pass = known(UNLIMITED, session=visit(ON_PASS), reservations=(MINE,))
    assert by_passes(on_pass, KIOSK).pass_ == P
    on_offer = known(session=visit(Segment(from_=AT, offer=OFFER)), offers=(OFFERED,))
    told = by_passes(on_offer, KIOSK)
    assert (told.pass_, told.offer) == (None, OFFER)


def test_a_coverage_counts_where_its_pass_offer_or_scope_still_allows_c11() -> None:
    def pays(facts: Facts, request: Request = KIOSK) -> bool:
        decision = by_passes(facts, request)
        return decision.reason is Reason.COVERED

    by_offer = bought(None, offer=OFFER)
    assert pays(known(USES, coverages=(bought(),), remaining={P: 0}))
    assert not pays(known(coverages=(bought(),)))
    assert not pays(known(replace(USES, hours=MORNING), coverages=(bought(),)))
    assert pays(known(coverages=(by_offer,), offers=(OFFERED,)))
    assert pays(known(coverages=(by_offer,), offers=(replace(OFFERED, id="a"), OFFERED)))
    assert not pays(known(coverages=(by_offer,)))
    assert not pays(known(coverages=(by_offer,), offers=(replace(OFFERED, hours=MORNING),)))
    assert pays(known(coverages=(bought(scope=Scope()),)))
    assert not pays(known(coverages=(bought(scope=Scope()),)), ON_WIFI)
    assert not pays(known(coverages=(bought(scope=Scope(home="annex")),)))


def test_a_door_of_a_room_opens_for_its_own_reservation_c09() -> None:
    def at(resource: str | None) -> Request:
        door = Door(id="d", location="hq", resource=resource)
        return Request(at=AT, location=HQ, channel=Channel.DOOR, door=door)

    facts = known(reservations=(replace(MINE, resource="room"),))
    assert by_passes(facts, at("room")).opens
    assert by_passes(facts, at(None)).opens
    assert not by_passes(facts, at("desk")).opens
    assert not by_passes(facts, Request(at=AT, location=HQ, channel=Channel.DOOR)).opens
