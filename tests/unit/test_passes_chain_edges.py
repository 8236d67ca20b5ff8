"""The filter chain where scenarios seldom lead: unknown things, empty lots, instants ahead."""

from datetime import UTC, date, datetime, timedelta

import pytest

from edgegate.passes import chain
from edgegate.passes.facts import Facts, Request
from edgegate.passes.model import (
    Audience,
    Channel,
    Contract,
    Customer,
    Door,
    Location,
    Pass,
    Per,
    Resource,
    Unit,
)
from edgegate.passes.payment import by_payment
from edgegate.passes.reasons import Reason
from edgegate.passes.state import Coverage

AT = datetime(2026, 3, 2, 9, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
ANA = Customer(id="ana")
HQ = Location(id="hq", credit_price=80)
ROOM_DOOR = Door(id="door", location="hq", resource="room")
KIOSK = Request(at=AT, location=HQ, channel=Channel.KIOSK)
AT_ROOM = Request(at=AT, location=HQ, channel=Channel.DOOR, door=ROOM_DOOR)
ROOM = Resource(id="room", location="hq", credit_price_hour=60)


def lot(id_: str, **terms: object) -> Pass:
    return Pass(id=id_, holder="ana", unit=Unit.CREDIT, **terms)  # type: ignore[arg-type] # as said


def known(**said: object) -> Facts:
    return Facts(customer=ANA, ancestry=("hq",), **said)  # type: ignore[arg-type] # as said


def test_a_room_that_nobody_knows_has_no_price_f05() -> None:
    p = lot("p", resources=("room",))
    facts = known(passes=(p,), remaining={"p": 100})
    assert chain.credit_price(p, AT_ROOM, facts) is None
    assert chain.location(p, AT_ROOM, facts) is Reason.OTHER_LOCATION


def test_a_door_that_is_gone_lets_nobody_in_f07() -> None:
    """As when a hand-over comes due at a door that the cloud has taken away meanwhile."""
    gone = Request(at=AT, location=HQ, channel=Channel.DOOR)
    assert not chain.includes(lot("p"), gone)
    assert chain.channel(lot("p"), gone, known()) is Reason.DOOR_NOT_INCLUDED


@pytest.mark.parametrize("left", [0, -50])
def test_a_lot_with_nothing_left_does_not_pay_though_others_can_f09(left: int) -> None:
    lots = (lot("a"), lot("b"))
    facts = known(passes=lots, remaining={"a": left, "b": 100})
    assert chain.balance(lots[0], KIOSK, facts) is Reason.USED_UP
    decision = by_payment(facts, KIOSK)
    assert decision is not None
    assert decision.pass_ == "b"  # noqa: S105 - a pass of the law


def test_lots_that_may_pay_have_something_left_c07() -> None:
    lots = tuple(lot(name) for name in "abcd")
    facts = known(passes=lots, remaining={"a": -50, "b": 0, "c": 1, "d": 79})
    assert [p.id for p in chain.lots_for(KIOSK, facts)] == ["c", "d"]
    assert chain.balance(lots[3], KIOSK, facts) is None


def test_credits_that_do_not_add_up_to_the_price_are_used_up_c07() -> None:
    lots = (lot("a"), lot("b"))
    facts = known(passes=lots, remaining={"a": 40, "b": 39})
    assert chain.balance(lots[0], KIOSK, facts) is Reason.USED_UP


def test_a_hundredth_of_a_credit_opens_a_room_that_is_paid_by_the_hour_c07() -> None:
    p = lot("p", resources=("room",))
    facts = known(passes=(p,), remaining={"p": 1}, resource=ROOM)
    assert chain.stopped(p, AT_ROOM, facts) is None


def test_a_pass_of_no_audience_that_asks_serves_everybody_f06() -> None:
    for audience, at_all in ((Audience.ALL, True), (Audience.MEMBERS, False)):
        assert chain.serves(lot("p", audience=audience), known(), AT) is at_all


def test_a_pass_works_again_when_another_holders_contract_begins_f14() -> None:
    p = Pass(id="p", holder="ana", unit=Unit.UNLIMITED, contract="theirs")
    theirs = Contract(id="theirs", holder="bob", starts_at=AT + HOUR)
    facts = known(passes=(p,), others_contracts=(theirs,))
    assert chain.started(p, KIOSK, facts) is Reason.NOT_STARTED
    assert chain.retry_at(p, KIOSK, facts) == AT + HOUR


def test_a_used_up_pass_works_again_when_a_day_begins_that_is_paid_for_f14() -> None:
    """It was used ahead of here, at a location whose business day began before this one's."""
    tomorrow = Coverage(
        pass_="p",  # noqa: S106 - a pass of the law
        customer="ana",
        day=date(2026, 3, 3),
        from_=AT - HOUR,
        until=AT,
    )
    for per, again in ((Per.DAY, datetime(2026, 3, 3, tzinfo=UTC)), (Per.VISIT, None)):
        p = Pass(id="p", holder="ana", unit=Unit.USE, per=per)
        facts = known(passes=(p,), remaining={"p": 0}, coverages=(tomorrow,))
        assert chain.balance(p, KIOSK, facts) is Reason.USED_UP
        assert chain.retry_at(p, KIOSK, facts) == again


@pytest.mark.parametrize(("place", "named"), [(64, True), (65, False)])
def test_no_more_than_the_soonest_instants_are_tried_f14(place: int, *, named: bool) -> None:
    begins = {str(n): AT + n * HOUR for n in range(1, 70)}
    theirs = tuple(Contract(id=id_, holder="bob", starts_at=at) for id_, at in begins.items())
    p = Pass(id="p", holder="ana", unit=Unit.UNLIMITED, contract=str(place))
    facts = known(passes=(p,), others_contracts=theirs)
    assert chain.retry_at(p, KIOSK, facts) == (begins[str(place)] if named else None)


def test_the_last_hundredth_that_a_price_lacks_may_be_in_a_lot_that_begins_later_f14() -> None:
    p, later = lot("p"), lot("later", valid_from=AT + HOUR)
    facts = known(passes=(p, later), remaining={"p": 79, "later": 1})
    assert chain.stopped(p, KIOSK, facts) is not None
    assert chain.retry_at(p, KIOSK, facts) == AT + HOUR


def test_what_cannot_help_does_not_use_up_the_instants_that_are_tried_f14() -> None:
    """However many passes begin before the one lot that has what the price lacks."""
    begin = [AT + n * timedelta(minutes=1) for n in range(1, 70)]
    empty = tuple(lot(f"e{n}", valid_from=at) for n, at in enumerate(begin))
    minutes = tuple(
        Pass(id=f"m{n}", holder="ana", unit=Unit.MINUTE, valid_from=at + timedelta(seconds=1))
        for n, at in enumerate(begin)
    )
    lots = (lot("p"), lot("later", valid_from=AT + 2 * HOUR))
    left = {"p": 79, "later": 1, **{p.id: 0 for p in empty}, **{p.id: 9 for p in minutes}}
    facts = known(passes=(*empty, *minutes, *lots), remaining=left)
    assert chain.retry_at(lots[0], KIOSK, facts) == AT + 2 * HOUR


def test_a_pass_that_no_credits_can_help_waits_for_none_f14() -> None:
    lots = tuple(lot(f"c{n}", valid_from=AT + n * timedelta(minutes=1)) for n in range(1, 70))
    p = Pass(id="p", holder="ana", unit=Unit.MINUTE, valid_from=AT + 2 * HOUR)
    facts = known(passes=(*lots, p), remaining={"p": 9, **{q.id: 9 for q in lots}})
    assert chain.retry_at(p, KIOSK, facts) == AT + 2 * HOUR


def test_which_lots_may_pay_is_found_for_each_instant_way_and_door_c07() -> None:
    """Though all is asked of the same facts, as at a door that wants a check-in first."""
    front, back = (Door(id=name, location="hq", groups=(name,)) for name in ("front", "back"))
    lots = (
        lot("f", door_groups=("front",)),
        lot("b", door_groups=("back",), wifi=True),
        lot("t", door_groups=("front",), valid_from=AT + HOUR),
    )
    facts = known(passes=lots, remaining=dict.fromkeys("fbt", 80))
    at_front = Request(at=AT, location=HQ, channel=Channel.DOOR, door=front)
    at_back = Request(at=AT, location=HQ, channel=Channel.DOOR, door=back)
    on_wifi = Request(at=AT, location=HQ, channel=Channel.WIFI)
    for _again in range(2):
        for request, ids in (
            (at_front, "f"),
            (at_back, "b"),
            (on_wifi, "b"),
            (KIOSK, "fb"),
            (at_front.moved(AT + HOUR), "ft"),
        ):
            assert "".join(p.id for p in chain.lots_for(request, facts)) == ids
