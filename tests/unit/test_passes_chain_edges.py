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
