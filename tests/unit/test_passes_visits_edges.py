"""Deadlines, reasons and reckoning of visits (§6), each where only that one decides."""

from datetime import UTC, date, datetime, timedelta

import pytest
from msgspec.structs import replace

from edgegate.passes.facts import Facts, Request, Running, Span, running_of
from edgegate.passes.model import (
    Audience,
    Channel,
    Contract,
    Customer,
    Hours,
    Location,
    Offer,
    Pass,
    PassState,
    Reservation,
    Unit,
)
from edgegate.passes.reasons import ClosingReason
from edgegate.passes.state import MinuteTerms, Sale, Scope, Segment, Session, Stretch, Tab
from edgegate.passes.visits import (
    booked_by,
    closing,
    deadline,
    ending_reason,
    idle_at,
    tab_of,
    tab_until,
    time_on,
    used_up_at,
    with_tab,
    with_visit,
)

AT = datetime(2026, 3, 2, 9, tzinfo=UTC)
END = datetime(2026, 3, 3, tzinfo=UTC)
HOUR, MINUTE, TICK = timedelta(hours=1), timedelta(minutes=1), timedelta(microseconds=1)
HALF_SECOND = timedelta(milliseconds=500)
HQ = Location(id="hq")
KIOSK = Request(at=AT, location=HQ, channel=Channel.KIOSK)
P, OFFER = "p", "o"
PASS = Pass(id=P, holder="ana", unit=Unit.UNLIMITED)
ON_PASS = Segment(from_=AT - HOUR, pass_=P)
SALE = Sale(offer=OFFER, price=2000, currency="EUR", amount=60, minimum_minutes=15)


def visit(segment: Segment | None, **said: object) -> Session:
    return Session(
        id="s",
        customer="ana",
        location="hq",
        opened_at=AT - HOUR,
        segment=segment,
        channel=Channel.KIOSK,
        closes_at=END,
        closes_for=ClosingReason.CUTOFF,
        **said,  # type: ignore[arg-type] # as said
    )


def known(*passes: Pass, **said: object) -> Facts:
    remaining = said.pop("remaining", {p.id: 0 for p in passes})
    return Facts(
        customer=Customer(id="ana"),
        ancestry=("hq",),
        passes=passes,
        remaining=remaining,  # type: ignore[arg-type] # as said
        **said,  # type: ignore[arg-type] # as said
    )


@pytest.mark.parametrize(
    ("policy", "at", "reason"),
    [
        ({}, END, ClosingReason.CUTOFF),
        ({"auto_checkout_at": "18:00"}, AT + 9 * HOUR, ClosingReason.AUTO_CHECKOUT),
        ({"auto_checkout_at": "09:00"}, END, ClosingReason.CUTOFF),
        ({"auto_checkout_at": "00:00"}, END, ClosingReason.AUTO_CHECKOUT),
        ({"auto_checkout_after_minutes": 90}, AT + 90 * MINUTE, ClosingReason.AUTO_CHECKOUT),
        ({"auto_checkout_after_minutes": 900}, END, ClosingReason.AUTO_CHECKOUT),
        ({"auto_checkout_after_minutes": 901}, END, ClosingReason.CUTOFF),
        (
            {"auto_checkout_at": "10:00", "auto_checkout_after_minutes": 30},
            AT + 30 * MINUTE,
            ClosingReason.AUTO_CHECKOUT,
        ),
    ],
)
def test_a_visit_closes_at_the_first_of_its_ends_s05(
    policy: dict[str, object], at: datetime, reason: ClosingReason
) -> None:
    found = closing(Location(id="hq", **policy), AT)  # type: ignore[arg-type] # as said
    assert (found.at, found.reason) == (at, reason)


@pytest.mark.parametrize(
    ("wifi_presence", "door", "kiosk", "silent_from", "ends"),
    [
        (True, True, False, AT, AT + 15 * MINUTE),
        (False, True, False, AT, None),
        (False, False, True, AT, None),
        (False, False, False, AT, AT + 15 * MINUTE),
        (True, False, False, None, None),
    ],
)
def test_silence_on_the_wifi_s06(
    silent_from: datetime | None,
    ends: datetime | None,
    *,
    wifi_presence: bool,
    door: bool,
    kiosk: bool,
) -> None:
    place = replace(HQ, wifi_presence=wifi_presence)
    session = visit(ON_PASS, door_entry=door, kiosk_entry=kiosk, idle_since=silent_from)
    assert idle_at(session, place) == ends
    at_place = replace(KIOSK, location=place)
    assert deadline(session, known(PASS), at_place) == (ends or END)


MEMBER = Contract(id="c", holder="ana", starts_at=AT - 9 * HOUR, ends_at=AT + 3 * HOUR)
MORNING = (Hours(from_="08:00", to="12:00"),)
MINUTES = replace(PASS, unit=Unit.MINUTE)
BY_MINUTE = Segment(
    from_=AT - HOUR, pass_=P, counts=MinuteTerms(increment_minutes=1, minimum_minutes=0)
)
MINE = Running(session="s", customer="ana", pass_=P, from_=AT - HOUR, closes_at=END)


@pytest.mark.parametrize(
    ("segment", "facts", "at"),
    [
        (None, known(PASS), END),
        (ON_PASS, known(PASS), END),
        (ON_PASS, known(), AT),
        (replace(ON_PASS, until=AT + HOUR), known(PASS), AT + HOUR),
        (replace(ON_PASS, until=AT - HOUR), known(PASS), AT),
        (replace(ON_PASS, scope=Scope(), until=AT + HOUR), known(), AT + HOUR),
        (Segment(from_=AT, reservation="r", until=AT + HOUR), known(), AT + HOUR),
        (Segment(from_=AT, offer=OFFER), known(), AT),
        (ON_PASS, known(replace(PASS, expires_at=AT + 2 * HOUR)), AT + 2 * HOUR),
        (ON_PASS, known(replace(PASS, contract="c"), contracts=(MEMBER,)), AT + 3 * HOUR),
        (ON_PASS, known(replace(PASS, contract="c"), others_contracts=(MEMBER,)), AT + 3 * HOUR),
        (
            ON_PASS,
            known(replace(PASS, contract="c"), contracts=(replace(MEMBER, ends_at=None),)),
            END,
        ),
        (ON_PASS, known(PASS, contracts=(MEMBER,)), END),
        (
            ON_PASS,
            known(replace(PASS, audience=Audience.MEMBERS), contracts=(MEMBER,)),
            AT + 3 * HOUR,
        ),
        (
            ON_PASS,
            known(
                replace(PASS, audience=Audience.CONTACTS),
                contracts=(replace(MEMBER, starts_at=AT + 2 * HOUR),),
            ),
            AT + 2 * HOUR,
        ),
        (
            ON_PASS,
            known(
                replace(PASS, audience=Audience.MEMBERS),
                contracts=(replace(MEMBER, starts_at=AT, ends_at=AT),),
            ),
            END,
        ),
        (
            ON_PASS,
            known(replace(PASS, on_date=date(2026, 3, 1))),
            AT,
        ),
        (ON_PASS, known(replace(PASS, on_date=date(2026, 3, 2))), END),
        (ON_PASS, known(replace(PASS, hours=MORNING)), AT + 3 * HOUR),
        (ON_PASS, known(replace(PASS, hours=(Hours(from_="18:00"),))), END),
        (BY_MINUTE, known(MINUTES, remaining={P: 90}, running=(MINE,)), AT + 30 * MINUTE),
        (ON_PASS, known(MINUTES, remaining={P: 90}, running=(MINE,)), END),
        (BY_MINUTE, known(MINUTES, remaining={P: 90}), END),
        (BY_MINUTE, known(MINUTES, remaining={P: 30}, running=(MINE,)), AT),
    ],
)
def test_the_next_instant_at_which_time_alone_asks_for_a_look_s04(
    segment: Segment | None, facts: Facts, at: datetime
) -> None:
    assert deadline(visit(segment), facts, KIOSK) == at


def test_an_offer_ends_with_its_window_s04() -> None:
    on_offer = visit(Segment(from_=AT, offer=OFFER))
    offer = Offer(id=OFFER, price=1, hours=MORNING)
    others = (replace(offer, id="a", hours=(Hours(to="10:00"),)), offer)
    assert deadline(on_offer, known(offers=others), KIOSK) == AT + 3 * HOUR
    closed = replace(offer, hours=(Hours(from_="18:00"),))
    assert deadline(on_offer, known(offers=(closed,)), KIOSK) == END


@pytest.mark.parametrize(
    ("price_hour", "left", "at"),
    [
        (600, {"p": 600, "q": 300}, AT + 30 * MINUTE),
        (600, {"p": 600, "q": 0}, AT),
        (700, {"p": 701, "q": 0}, AT + timedelta(microseconds=5142858)),
        (0, {"p": 600, "q": 0}, END),
        # What would last longer than dates can say.
        (1, {"p": 1_000_000_000, "q": 0}, END),
    ],
)
def test_credits_by_the_hour_run_out_all_lots_together_c07(
    price_hour: int, left: dict[str, int], at: datetime
) -> None:
    lots = (replace(PASS, unit=Unit.CREDIT), Pass(id="q", holder="ana", unit=Unit.CREDIT))
    other = Pass(id="x", holder="ana", unit=Unit.CREDIT)
    segment = Segment(
        from_=AT - HOUR,
        pass_=P,
        counts=MinuteTerms(increment_minutes=1, minimum_minutes=0, credit_price_hour=price_hour),
        lots=("q",),
    )
    facts = known(*lots, other, remaining={**left, "x": 9_999}, running=(MINE,))
    assert deadline(visit(segment), facts, KIOSK) == at


def running(began: int, *booked: tuple[int, int], customer: str = "ana") -> Running:
    """A segment that began so many minutes after nine, with reservations given likewise."""
    return replace(
        MINE,
        customer=customer,
        from_=AT + began * MINUTE,
        booked=tuple(Span(AT + a * MINUTE, AT + b * MINUTE) for a, b in booked),
    )


@pytest.mark.parametrize(
    ("runners", "left", "minutes"),
    [
        ([running(0)], 60, 60),
        ([running(0), running(0, customer="bob")], 60, 30),
        ([running(0), running(20, customer="bob")], 60, 40),
        ([running(0), running(60, customer="bob")], 60, 60),
        ([running(0), running(61, customer="bob")], 60, 60),
        ([running(0), running(0, customer="bob"), running(50, customer="eve")], 60, 30),
        ([running(0, (10, 30))], 60, 80),
        ([running(0, (0, 30))], 60, 90),
        ([running(0, (60, 90))], 60, 60),
        ([running(0, (30, 60), (80, 90))], 60, 100),
        ([running(0, (-30, -10))], 60, 60),
        ([running(0, (10, 30)), running(0, customer="bob")], 60, 40),
        ([running(0)], 0, 0),
        # Nothing is left, and time that is booked gives nothing back.
        ([running(0, (0, 30))], 0, 0),
    ],
)
def test_when_time_is_used_up_by_all_who_run_on_it_c06_s07(
    runners: list[Running], left: int, minutes: int
) -> None:
    assert used_up_at(runners, left * MINUTE) == AT + minutes * MINUTE


def test_an_instant_that_is_no_microsecond_is_the_next_one_c06() -> None:
    runners = [running(0, customer=name) for name in "abc"]
    assert used_up_at(runners, timedelta(microseconds=10)) == AT + timedelta(microseconds=4)


CONTRACT_PASS = replace(PASS, contract="c")


@pytest.mark.parametrize(
    ("segment", "facts", "reason"),
    [
        (None, known(PASS), ClosingReason.REVOKED),
        (ON_PASS, known(), ClosingReason.REVOKED),
        (replace(ON_PASS, until=AT), known(), ClosingReason.WINDOW_ENDED),
        (replace(ON_PASS, until=AT + TICK), known(), ClosingReason.REVOKED),
        (replace(ON_PASS, scope=Scope(), until=AT), known(PASS), ClosingReason.WINDOW_ENDED),
        (replace(ON_PASS, scope=Scope()), known(PASS), ClosingReason.REVOKED),
        (
            replace(ON_PASS, scope=Scope()),
            known(replace(PASS, expires_at=AT)),
            ClosingReason.REVOKED,
        ),
        (Segment(from_=AT, offer=OFFER), known(), ClosingReason.REVOKED),
        (
            Segment(from_=AT, offer=OFFER),
            known(offers=(Offer(id=OFFER, price=1),)),
            ClosingReason.WINDOW_ENDED,
        ),
        (
            Segment(from_=AT, offer=OFFER),
            known(offers=(Offer(id="other", price=1),)),
            ClosingReason.REVOKED,
        ),
        (ON_PASS, known(replace(PASS, expires_at=AT)), ClosingReason.EXPIRED),
        (
            ON_PASS,
            known(CONTRACT_PASS, contracts=(replace(MEMBER, ends_at=AT),)),
            ClosingReason.CONTRACT_ENDED,
        ),
        (ON_PASS, known(replace(PASS, on_date=date(2026, 3, 1))), ClosingReason.CUTOFF),
        (
            ON_PASS,
            known(replace(PASS, audience=Audience.MEMBERS)),
            ClosingReason.CONTRACT_ENDED,
        ),
        (
            ON_PASS,
            known(replace(PASS, hours=(Hours(to="09:00"),))),
            ClosingReason.WINDOW_ENDED,
        ),
        (ON_PASS, known(replace(PASS, state=PassState.REJECTED)), ClosingReason.REVOKED),
        (ON_PASS, known(PASS), ClosingReason.REVOKED),
        (BY_MINUTE, known(MINUTES), ClosingReason.USED_UP),
        (BY_MINUTE, known(MINUTES, remaining={P: 1}), ClosingReason.REVOKED),
        (replace(BY_MINUTE, until=AT), known(MINUTES), ClosingReason.WINDOW_ENDED),
        (
            replace(
                BY_MINUTE,
                counts=MinuteTerms(increment_minutes=1, minimum_minutes=0, credit_price_hour=600),
            ),
            known(PASS),
            ClosingReason.USED_UP,
        ),
    ],
)
def test_why_a_segment_ends_s10(
    segment: Segment | None, facts: Facts, reason: ClosingReason
) -> None:
    assert ending_reason(segment, facts, KIOSK) is reason


def beside(session: str, from_: datetime, **said: object) -> Running:
    return replace(MINE, session=session, from_=from_, **said)


@pytest.mark.parametrize(
    ("others", "counts"),
    [
        ([], True),
        ([beside("t", AT - 2 * HOUR)], False),
        ([beside("t", AT)], True),
        ([beside("t", AT - HOUR)], True),
        ([beside("r", AT - HOUR)], False),
        ([beside("t", AT - 2 * HOUR, customer="bob")], True),
        ([beside("t", AT - 2 * HOUR, pass_="q")], True),  # noqa: S106 - its id
        ([beside("s", AT - 2 * HOUR)], True),
        ([beside("t", AT), beside("u", AT - 2 * HOUR)], False),
    ],
)
def test_each_instant_belongs_to_the_segment_that_began_first_c06(
    others: list[Running], *, counts: bool
) -> None:
    facts = known(MINUTES, running=(MINE, *others))
    assert time_on(visit(BY_MINUTE), facts, AT) == (HOUR if counts else timedelta(0))


def test_time_on_a_segment_s07() -> None:
    assert time_on(visit(None), known(), AT) == timedelta(0)
    later = replace(BY_MINUTE, counted_from=AT - 20 * MINUTE)
    assert time_on(visit(later), known(MINUTES, running=(MINE,)), AT) == 20 * MINUTE
    booked = replace(MINE, booked=(Span(AT - 30 * MINUTE, AT),))
    facts = known(MINUTES, running=(beside("a", AT + HOUR), booked))
    assert time_on(visit(BY_MINUTE), facts, AT) == 30 * MINUTE
    assert time_on(visit(BY_MINUTE), known(MINUTES), AT) == HOUR


def test_stretches_on_one_offer_are_added_p04() -> None:
    first, second = Stretch(AT, AT + MINUTE, 60), Stretch(AT + HOUR, AT + HOUR + MINUTE / 2, 30)
    tab = Tab(sale=SALE, used_s=60, stretches=(first,))
    other = Tab(sale=replace(SALE, offer="x"), used_s=5)
    third = Tab(sale=replace(SALE, offer="y"), used_s=7)
    assert with_tab((), None) == ()
    assert with_tab((tab,), None) == (tab,)
    assert with_tab((), tab) == (tab,)
    assert with_tab((other,), tab) == (other, tab)
    again = Tab(sale=replace(SALE, price=1), used_s=30, stretches=(second,))
    both = Tab(sale=SALE, used_s=90, stretches=(first, second))
    assert with_tab((other, tab, third), again) == (other, both, third)


@pytest.mark.parametrize(
    ("at", "booked", "used_s"),
    [
        (AT + 3 * HOUR, (), 7200),
        (AT + 2 * HOUR + 45 * MINUTE, (), 6300),
        (AT + 2 * HOUR, (), 3600),
        (AT + 90 * MINUTE, (), 3600),
        (AT + 30 * MINUTE, (), 1800),
        (AT + 30 * MINUTE + HALF_SECOND, (), 1801),
        (AT - MINUTE, (), 0),
        (AT + 30 * MINUTE, (Span(AT, AT + 10 * MINUTE),), 1200),
    ],
)
def test_a_tab_is_without_the_time_after_the_last_sign_of_life_s06(
    at: datetime, booked: tuple[Span, ...], used_s: int
) -> None:
    ridden = (Stretch(AT, AT + HOUR, 3600), Stretch(AT + 2 * HOUR, AT + 3 * HOUR, 3600))
    assert tab_until(Tab(sale=SALE, used_s=7200, stretches=ridden), at, booked).used_s == used_s


def test_reserved_time_is_not_taken_off_a_tab_twice_s06_s07() -> None:
    """It was left out when the stretch ended; the reservation may have been cancelled since."""
    ridden = (Stretch(AT, AT + HOUR, 600),)
    assert tab_until(Tab(sale=SALE, used_s=600, stretches=ridden), AT + MINUTE, ()).used_s == 60
    after = tab_until(Tab(sale=SALE, used_s=600, stretches=ridden), AT + HOUR / 2, ())
    assert after.used_s == 600


@pytest.mark.parametrize("at", [AT + HOUR, AT + HOUR + MINUTE])
def test_what_was_over_before_the_last_sign_of_life_stays_as_it_was_s06(at: datetime) -> None:
    """Though the time was reserved since."""
    tab = Tab(sale=SALE, used_s=3600, stretches=(Stretch(AT, AT + HOUR, 3600),))
    assert tab_until(tab, at, (Span(AT, AT + HOUR),)) == tab


@pytest.mark.parametrize(
    ("more", "used_s"), [(timedelta(0), 3600), (HALF_SECOND, 3601), (HALF_SECOND - TICK, 3600)]
)
def test_what_a_stretch_ran_up_is_in_whole_seconds_p04(more: timedelta, used_s: int) -> None:
    sold = visit(Segment(from_=AT - HOUR - more, offer=OFFER, sale=SALE))
    ridden = (Stretch(AT - HOUR - more, AT, used_s),)
    assert tab_of(sold, known(), KIOSK) == Tab(sale=SALE, used_s=used_s, stretches=ridden)
    assert tab_of(visit(None), known(), KIOSK) is None
    assert tab_of(visit(ON_PASS), known(PASS), KIOSK) is None


def test_reserved_time_is_left_out_where_the_policy_says_so_s07() -> None:
    mine = Reservation(
        id="r", customer="ana", location="hq", from_=AT - 30 * MINUTE, until=AT + HOUR
    )
    facts = known(reservations=(mine,))
    sold = visit(Segment(from_=AT - HOUR, offer=OFFER, sale=SALE))
    leaves_out = replace(HQ, exclude_booked_minutes=True)
    assert booked_by(facts, HQ) == ()
    assert booked_by(facts, leaves_out) == (Span(AT - 30 * MINUTE, AT + HOUR),)
    tab = tab_of(sold, facts, replace(KIOSK, location=leaves_out))
    assert tab is not None
    assert tab.used_s == 1800


THEIRS = replace(MINE, session="t", customer="bob")


def test_a_visit_that_begins_runs_beside_the_others_on_its_minutes_s04() -> None:
    facts = known(MINUTES, remaining={P: 90}, running=(THEIRS,))
    began = visit(BY_MINUTE)
    terms = BY_MINUTE.counts
    assert with_visit(facts, began, HQ) == replace(
        facts, session=began, running=(THEIRS, replace(MINE, counts=terms))
    )
    unlimited = visit(ON_PASS)
    assert with_visit(facts, unlimited, HQ) == replace(facts, session=unlimited)


def test_a_visit_runs_on_all_its_lots_since_it_is_counted_itself_c06_c07() -> None:
    reserved = (Span(AT, AT + HOUR),)
    on = replace(BY_MINUTE, counted_from=AT - MINUTE, lots=("q", "r"))
    assert running_of(visit(on), reserved) == replace(
        MINE, from_=AT - MINUTE, booked=reserved, counts=on.counts, lots=("q", "r")
    )
    assert running_of(visit(BY_MINUTE), ()) == replace(MINE, counts=BY_MINUTE.counts)
    assert running_of(visit(ON_PASS), ()) is None
    assert running_of(visit(None), ()) is None


def test_a_segment_draws_on_its_pass_and_then_on_its_lots_c07() -> None:
    assert replace(BY_MINUTE, lots=("q",)).passes == (P, "q")
    assert Segment(from_=AT, offer=OFFER).passes == ()
