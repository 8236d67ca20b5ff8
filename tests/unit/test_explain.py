"""An explanation says of every pass what the rules say, with the facts, and records nothing."""

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from edgegate.explain import UnknownIdError, explain
from edgegate.passes import chain
from edgegate.passes.decide import decide
from edgegate.passes.facts import Request
from edgegate.passes.model import (
    Audience,
    Channel,
    Contract,
    Customer,
    CustomerStatus,
    Day,
    Direction,
    Door,
    DoorPolicy,
    HolidayRule,
    Hours,
    Location,
    Pass,
    PassState,
    Priority,
    Unit,
)
from edgegate.passes.reasons import Reason
from edgegate.store.files import Store
from fakes.memory_world import EVENING, FRONT, JONAS, LATE, MILL, World, balance, plain, rule_of


@pytest.fixture
def world() -> Iterator[World]:
    store = Store.open(":memory:")
    with closing(store):
        yield World(store)


def why(world: World, p: Pass, rule: str, door: str | None = "front") -> tuple[bool, str]:
    world.put(p)
    (told,) = (v for v in world.explain(door=door).passes if v.id == p.id)
    found = rule_of(told, rule)
    return found.held, found.why


def test_a_pass_outside_its_hours_says_which_they_are_and_when_it_works(world: World) -> None:
    world.put(EVENING, balance("evening", 4))
    told = world.explain()
    assert (told.opens, told.reason) == (False, Reason.OUTSIDE_HOURS)
    assert told.retry_at == LATE + timedelta(minutes=1)
    assert told.member_reads == "Your pass starts at 18:00."
    assert told.staff_read == "Works in 1 min."
    (p,) = told.passes
    assert (p.place, p.part, p.stopped_at, p.retry_at) == (1, "refused", "F-08", told.retry_at)
    hours = rule_of(p, "F-08")
    assert (hours.name, hours.held, hours.reason) == ("hours", False, Reason.OUTSIDE_HOURS)
    assert hours.why == "Mon\u2013Fri 18:00\u201323:00, now Friday 17:59"
    assert [r.held for r in p.rules] == [True] * 7 + [False, True]
    assert rule_of(p, "F-09").why == "4 of 10 left"
    assert p.cost is not None
    assert (p.cost.amount, p.cost.until) == (1, datetime(2026, 11, 20, 23, tzinfo=UTC))


def test_the_rules_told_are_those_of_the_chain_in_its_order(world: World) -> None:
    world.put(EVENING)
    (p,) = world.explain().passes
    assert [r.id for r in p.rules] == [rule for rule, _ in chain.CHAIN]


CASES: list[tuple[dict[str, Any], str, bool, str]] = [
    ({}, "F-01", True, "active"),
    ({"state": PassState.REJECTED}, "F-01", False, "turned down"),
    ({"state": PassState.AWAITING_APPROVAL}, "F-01", False, "waits for approval"),
    ({"payment_hold": True}, "F-01", False, "active, payment on hold"),
    ({}, "F-02", True, "no start set"),
    (
        {"valid_from": datetime(2026, 12, 1, 8, tzinfo=UTC)},
        "F-02",
        False,
        "from Tuesday 1 December at 9:00",
    ),
    (
        {"contract": "pro"},
        "F-02",
        True,
        "no start set; its contract Pro: from Wednesday 1 July at 2:00",
    ),
    ({"contract": "lost"}, "F-03", False, "no end set; its contract is not known here"),
    ({"contract": "pro"}, "F-03", True, "no end set; its contract Pro: no end set"),
    (
        {"expires_at": datetime(2026, 10, 31, 23, tzinfo=UTC)},
        "F-03",
        False,
        "until Sunday 1 November at 0:00",
    ),
    ({}, "F-04", True, "for any date"),
    (
        {"on_date": date(2026, 11, 27)},
        "F-04",
        False,
        "for Friday 27 November only, today is Friday 20 November",
    ),
    ({"home": "mill"}, "F-05", True, "for Mill Lane and all that lies in it; this is Mill Lane"),
    ({"locations": ("dock",)}, "F-05", False, "for Dock 4; this is Mill Lane"),
    ({}, "F-05", True, "for every location"),
    (
        {"unit": Unit.CREDIT},
        "F-05",
        False,
        "a credit pass, and Mill Lane has no price in credits",
    ),
    ({}, "F-06", True, "for members and contacts"),
    ({"audience": Audience.CONTACTS}, "F-06", False, "for contacts; this is a member"),
    (
        {"audience": Audience.PLANS, "plans": ("Basic",)},
        "F-06",
        False,
        "for members on Basic; this is a member on Pro",
    ),
    (
        {"door_groups": ("back", "lab")},
        "F-07",
        False,
        "opens groups: back, lab; this door is in: street",
    ),
    ({"resources": ("room",)}, "F-07", False, "opens the doors of its resources only: room"),
    ({}, "F-07", True, "opens every door that is no resource's"),
    ({}, "F-08", True, "at any hour"),
    (
        {"holidays": HolidayRule.CLOSED},
        "F-08",
        False,
        "at any hour, not on holidays (today is one)",
    ),
    (
        {"hours": (Hours(days=(Day.SAT, Day.SUN, Day.TUE), from_="09:00", to="12:00"), Hours())},
        "F-08",
        True,
        "Tue, Sat, Sun 9:00\u201312:00, daily 0:00\u201324:00, now Friday 17:59",
    ),
    ({"unit": Unit.UNLIMITED}, "F-09", True, "no limit"),
    ({"unit": Unit.MINUTE, "amount": 90}, "F-09", True, "90 of 90 minutes left"),
    ({"amount": 0}, "F-09", False, "0 of 0 left"),
]


@pytest.mark.parametrize(("terms", "rule", "held", "clause"), CASES)
def test_each_rule_says_the_facts_that_it_goes_by(
    world: World, terms: dict[str, Any], rule: str, *, held: bool, clause: str
) -> None:
    world.put(
        Location(id="dock", name="Dock 4"),
        Location(
            id="mill", name="Mill Lane", timezone="Europe/Berlin", holidays=(date(2026, 11, 20),)
        ),
        Contract(id="pro", holder="acme", plan="Pro", starts_at=datetime(2026, 7, 1, tzinfo=UTC)),
    )
    p = Pass(**{"id": "p", "holder": "jonas", "amount": 10, **terms})
    assert why(world, p, rule) == (held, clause)


def test_held_and_failed_are_what_the_chain_says(world: World) -> None:
    """All terms above on passes of one customer: verdict and explanation never part."""
    for number, (terms, _, _, _) in enumerate(CASES):
        world.put(Pass(**{"id": f"p{number:02}", "holder": "jonas", "amount": 10, **terms}))
    for door in ("front", None):
        told = world.explain(door=door)
        channel = Channel.KIOSK if door is None else Channel.DOOR
        request = Request(
            at=LATE, location=MILL, channel=channel, door=FRONT if door is not None else None
        )
        facts = world.books.facts(JONAS, MILL, LATE)
        decision = decide(facts, request)
        assert (told.opens, told.reason) == (decision.opens, decision.reason)
        for view in told.passes:
            p = facts.pass_of(view.id)
            assert p is not None
            stop = chain.stopped(p, request, facts)
            assert view.stopped_at == (stop.rule if stop else None)
            assert [r.reason for r in view.rules] == [c(p, request, facts) for _, c in chain.CHAIN]
            assert all(r.held is (r.reason is None) for r in view.rules)
        assert [v.place for v in told.passes] == list(range(1, len(CASES) + 1))


def test_a_door_of_a_resource_asks_for_the_resource(world: World) -> None:
    world.put(Door(id="room", location="mill", resource="r2"))
    p = Pass(id="p", holder="jonas", amount=1, resources=("r1",))
    assert why(world, p, "F-07", "room") == (False, "opens resources: r1; this door is of r2")
    assert why(world, p, "F-07", None) == (True, "at the desk no door is asked for")


def test_passes_come_in_the_order_in_which_they_are_spent_cancelled_ones_last(
    world: World,
) -> None:
    low = Pass(id="a", holder="jonas", amount=5, priority=Priority.LOW)
    high = Pass(id="b", holder="jonas", amount=5, priority=Priority.HIGH)
    team = Pass(id="c", holder="acme", amount=5, priority=Priority.HIGH)
    gone = Pass(id="0", holder="acme", amount=5, state=PassState.CANCELLED)
    world.put(low, high, team, gone)
    told = world.explain()
    assert [(p.id, p.place) for p in told.passes] == [("b", 1), ("a", 2), ("c", 3), ("0", None)]
    assert [p.part for p in told.passes] == ["pays", None, None, None]
    assert told.passes[2].holder.name == "Acme"
    assert told.passes[3].rules == ()
    assert "[0], of Acme [acme]: cancelled, so it does not count" in plain(told)


def test_debits_not_yet_counted_are_told_apart_from_the_balance(world: World) -> None:
    world.put(Pass(id="p", holder="jonas", amount=10), balance("p", 6))
    world.enter(LATE - timedelta(hours=1))
    told = world.explain()
    left = told.passes[0].left
    assert left is not None
    assert (left.balance, left.debits_not_counted, left.remaining) == (6, 1, 5)
    assert (told.reason, told.passes[0].part) == (Reason.COVERED, "covers")
    assert told.member_reads == "Welcome back, Jonas. Covered until midnight, 5 of 10 left."
    cost = told.passes[0].cost
    assert cost is not None
    assert (cost.amount, cost.until) == (0, datetime(2026, 11, 20, 23, tzinfo=UTC))
    (covered,) = told.coverages
    assert (covered.pass_.id, covered.runs) == ("p", True)


def test_the_last_use_still_covers_and_says_so(world: World) -> None:
    world.put(Pass(id="p", holder="jonas", amount=1))
    world.enter(LATE - timedelta(hours=1))
    told = world.explain()
    assert told.opens
    assert rule_of(told.passes[0], "F-09").why == "0 of 1 left, and this entry is paid for"


def test_a_disabled_customer_is_refused_whatever_the_passes_say(world: World) -> None:
    world.put(Pass(id="u", holder="jonas", unit=Unit.UNLIMITED))
    world.put(Customer(id="jonas", name="Jonas Weber", status=CustomerStatus.DISABLED))
    told = world.explain()
    assert (told.opens, told.reason) == (False, Reason.CUSTOMER_DISABLED)
    assert told.member_reads == "Please see the desk."
    assert told.passes[0].stopped_at is None
    assert told.passes[0].part is None
    assert "customer  disabled" in plain(told)


def test_a_door_for_staff_refuses_though_a_pass_survives(world: World) -> None:
    world.put(Door(id="back", location="mill", policy=DoorPolicy.STAFF))
    world.put(Pass(id="u", holder="jonas", unit=Unit.UNLIMITED))
    told = world.explain(door="back")
    assert (told.opens, told.reason) == (False, Reason.STAFF_ONLY)


def test_a_door_that_leads_out_opens_for_everybody(world: World) -> None:
    world.put(Door(id="out", location="mill", direction=Direction.EXIT))
    told = world.explain(door="out")
    assert told.exit
    assert "OPENS: it leads out" in plain(told)


def test_who_has_no_pass_is_told_so(world: World) -> None:
    told = world.explain(door=None)
    assert (told.reason, told.passes) == (Reason.NO_PASS, ())
    assert "No passes." in plain(told)


def test_what_is_not_known_is_named(world: World) -> None:
    cases = [
        (("nobody", None, None), 'there is no customer "nobody"'),
        (("jonas", "side", None), 'there is no door "side"'),
        (("jonas", None, "pier"), 'there is no location "pier"'),
        (("jonas", "front", "dock"), 'door "front" is not at "dock" but "mill"'),
    ]
    for (customer, door, location), message in cases:
        with pytest.raises(UnknownIdError) as caught:
            explain(world.books, customer, door, location, LATE)
        assert caught.value.message == message
        assert caught.value.exit_code == 2


def test_without_a_door_the_location_must_be_clear(world: World) -> None:
    assert explain(world.books, "jonas", None, None, LATE).location.id == "mill"
    world.put(Location(id="dock", name="Dock 4"))
    with pytest.raises(UnknownIdError, match=r"which location is meant\? \(dock, mill\)"):
        explain(world.books, "jonas", None, None, LATE)
    assert explain(world.books, "jonas", None, "dock", LATE).location.name == "Dock 4"
