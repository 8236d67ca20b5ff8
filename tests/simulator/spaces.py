"""Random spaces to simulate: places with their policies, doors, members, and what these hold."""

from collections.abc import Callable
from datetime import timedelta

from msgspec.structs import replace

from edgegate.passes.model import (
    AntiPassback,
    Contract,
    Customer,
    CustomerStatus,
    Direction,
    Door,
    DoorPolicy,
    Kind,
    LeaseRule,
    Location,
    Offer,
    OnNoPass,
    Pass,
    PassState,
    Per,
    Record,
    Reservation,
    ReservationState,
    Resource,
    Unit,
)
from oracle import worlds
from oracle.worlds import GROUPS, MINUTE, OFFERS, PLANS, RESOURCES, Draw

PLACES = ("house", "annex")
TEAMS = ("team1", "team1", "team2")
CUSTOMERS = ("ana", "ben", "cem")
DOORS = {
    "house": ("front", "side", "out", "turnstile", "room"),
    "annex": ("annex-front", "annex-out"),
}
"""The last letters tell what a door is, in `door` below."""


COUNTED = (
    *((Unit.USE, Per.DAY), (Unit.MINUTE, Per.DAY), (Unit.USE, Per.SLOT), (Unit.CREDIT, Per.DAY)),
    *((Unit.USE, Per.WINDOW), (Unit.MINUTE, Per.DAY), (Unit.USE, Per.VISIT), (Unit.USE, Per.DAY)),
    *((Unit.UNLIMITED, Per.DAY), (Unit.CREDIT, Per.DAY), (Unit.MINUTE, Per.DAY)),
)
"""What a pass of that number is counted in: nobody changes that of a pass that was sold."""


def space(draw: Draw) -> list[Record]:
    """All that the cloud knows at the beginning."""
    draw.hurdles = draw.one([3, 9, 30])
    records: list[Record] = [Location(id="root", timezone=draw.zone)]
    records += [location(draw, place) for place in PLACES]
    records += [door(draw, place, name) for place, names in DOORS.items() for name in names]
    records += [resource(draw, name) for name in RESOURCES]
    records += [customer(draw, name) for name in CUSTOMERS]
    records += [contract(draw, f"k{number}") for number in range(draw.number(0, 4))]
    records += [a_pass(draw, f"p{number}") for number in range(draw.number(3, 12))]
    records += [offer(draw, name) for name in OFFERS[: draw.number(0, 3)]]
    records += [reservation(draw, f"v{number}") for number in range(draw.number(0, 3))]
    return records


def location(draw: Draw, place: str) -> Location:
    return replace(
        worlds.place(draw),
        id=place,
        parent="root",
        payg_hand_over=draw.maybe(1, 2),
        auto_checkout_at=draw.wall_time() if draw.maybe(1, 8) else None,
        auto_checkout_after_minutes=draw.one([5, 240, 600]) if draw.maybe(1, 6) else None,
        wifi_presence=draw.maybe(2, 3),
        wifi_idle_minutes=draw.one([1, 15, 120, 240]),
        exclude_booked_minutes=draw.maybe(1, 3),
        payg=draw.one([(), (), (), tuple(Kind), (Kind.CONTACTS,)]),
        capacity=draw.number(1, 3) if draw.maybe(1, 5) else None,
    )


def door(draw: Draw, place: str, name: str) -> Door:
    direction = {"out": Direction.EXIT, "annex-out": Direction.EXIT}.get(name, Direction.ENTRY)
    policies = [DoorPolicy.PASS] * 6 + list(DoorPolicy)
    drawn = draw.one(policies)
    is_room = name == "room"
    policy = DoorPolicy.PASS if drawn is DoorPolicy.BOOKING and not is_room else drawn
    return Door(
        id=name,
        location=place,
        groups=draw.some(GROUPS, 2),
        resource=draw.one(RESOURCES) if is_room else None,
        direction=Direction.TOGGLE if name == "turnstile" else direction,
        policy=policy,
        on_no_pass=OnNoPass.OPEN_AND_FLAG if draw.maybe(1, 6) else OnNoPass.DENY,
        schedule=draw.hours() if draw.maybe(1, 8) else (),
        schedule_after_first_entry=draw.maybe(1, 2),
        anti_passback=draw.one([*[AntiPassback.OFF] * 5, *AntiPassback]),
        lease_hours=draw.one([1, 72]),
        lease_rule=draw.one(list(LeaseRule)),
    )


def resource(draw: Draw, name: str) -> Resource:
    return Resource(id=name, location="house", credit_price_hour=draw.one([None, 0, 60, 100]))


def customer(draw: Draw, name: str) -> Customer:
    return Customer(
        id=name,
        team=draw.one([None, *TEAMS, *TEAMS]),
        status=draw.one(list(CustomerStatus)) if draw.maybe(1, 15) else CustomerStatus.ACTIVE,
        staff=draw.maybe(1, 30),
    )


def contract(draw: Draw, name: str) -> Contract:
    return Contract(
        id=name,
        holder=draw.one([*CUSTOMERS, *TEAMS]),
        plan=draw.one(PLANS),
        starts_at=draw.perhaps_near(),
        ends_at=draw.near() if draw.maybe(1, 3) else None,
    )


def a_pass(draw: Draw, name: str) -> Pass:
    number = int(name[1:])
    p = worlds.a_pass(draw, number, [])
    unit, per = COUNTED[number % len(COUNTED)]
    return replace(
        p,
        id=name,
        unit=unit,
        per=per,
        window_minutes=draw.one([1, 30, 600]),
        holder=draw.one([*CUSTOMERS, *TEAMS, *TEAMS]),
        contract=draw.one(["k0", "k1", "gone"]) if draw.rarely() else None,
        home=draw.one(["root", "house", "annex", None, None]),
        locations=draw.some(PLACES, 2) if draw.rarely() else (),
        amount=draw.one([0, 1, 3, 10, 100, 480]) * (5 if unit is Unit.CREDIT else 1),
        expires_at=draw.near() + draw.number(0, 9) * worlds.DAY if draw.maybe(1, 4) else None,
        state=PassState.CANCELLED if draw.maybe(1, 40) else p.state,
    )


def offer(draw: Draw, name: str) -> Offer:
    drawn = worlds.an_offer(draw, name)
    home = draw.one(["root", "house", None])
    return replace(drawn, home=home, locations=(), sold_to=tuple(Kind))


def reservation(draw: Draw, name: str) -> Reservation:
    from_ = draw.at + draw.number(-2, 40) * draw.one([MINUTE, 30 * MINUTE, timedelta(hours=3)])
    return Reservation(
        id=name,
        customer=CUSTOMERS[int(name[1:]) % len(CUSTOMERS)],
        location=draw.one(PLACES),
        pass_=f"p{draw.number(0, 12)}" if draw.maybe(1, 2) else None,
        resource=draw.one([None, *RESOURCES]),
        from_=from_,
        until=from_ + draw.one([MINUTE, 45 * MINUTE, timedelta(hours=8)]),
        state=ReservationState.CANCELLED if draw.maybe(1, 8) else ReservationState.SCHEDULED,
    )


def change(draw: Draw) -> Record:
    """A record that the cloud sends: a new one, or one that is known, otherwise than before."""
    makers: list[Callable[[], Record]] = [
        *[lambda: a_pass(draw, f"p{draw.number(0, 12)}")] * 5,
        *[lambda: contract(draw, f"k{draw.number(0, 3)}")] * 2,
        *[lambda: customer(draw, draw.one(CUSTOMERS))] * 2,
        *[lambda: reservation(draw, f"v{draw.number(0, 5)}")] * 3,
        lambda: offer(draw, draw.one(OFFERS)),
        lambda: location(draw, draw.one(PLACES)),
        lambda: door(draw, "house", draw.one(DOORS["house"])),
    ]
    return draw.one(makers)()
