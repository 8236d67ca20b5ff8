"""The second decision for requests of odd forms: a door without policy, a policy without a door."""

from datetime import UTC, datetime

from edgegate.passes.decide import decide
from edgegate.passes.facts import Facts, Request
from edgegate.passes.model import Channel, Customer, Door, DoorPolicy, Location, Pass, Unit
from edgegate.passes.reasons import Reason

AT = datetime(2026, 3, 2, 9, tzinfo=UTC)
HQ = Location(id="hq")
FREE_DOOR = Door(id="door", location="hq", policy=DoorPolicy.FREE)
FACTS = Facts(
    customer=Customer(id="ana"),
    ancestry=("hq",),
    passes=(Pass(id="p", holder="ana", unit=Unit.UNLIMITED, wifi=True),),
    remaining={"p": 0},
)


def test_a_request_at_no_door_is_answered_by_the_chain_f07() -> None:
    at_no_door = Request(at=AT, location=HQ, channel=Channel.DOOR)
    assert decide(FACTS, at_no_door).reason is Reason.DOOR_NOT_INCLUDED


def test_a_doors_policy_says_nothing_to_the_other_ways_in_d01() -> None:
    for channel in (Channel.WIFI, Channel.KIOSK):
        beside = Request(at=AT, location=HQ, channel=channel, door=FREE_DOOR)
        assert decide(FACTS, beside).reason is Reason.UNLIMITED
    at_door = Request(at=AT, location=HQ, channel=Channel.DOOR, door=FREE_DOOR)
    assert decide(FACTS, at_door).reason is Reason.FREE
