"""Random worlds to decide in: every kind of thing that the rules speak of, near their edges.

They are drawn from anything with the methods of `random.Random`: Hypothesis gives one that it can
shrink, a campaign takes the quick one of the standard library.
"""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from random import Random
from typing import TypeVar
from zoneinfo import ZoneInfo

from edgegate.passes.facts import Facts, Request, Running, Span
from edgegate.passes.model import (
    AntiPassback,
    Audience,
    Channel,
    Contract,
    Customer,
    CustomerStatus,
    Day,
    Door,
    DoorPolicy,
    HolderFirst,
    HolidayRule,
    Hours,
    Kind,
    LeaseRule,
    Location,
    Offer,
    OnNoPass,
    OrderKey,
    Pass,
    PassState,
    Per,
    Priority,
    Reservation,
    ReservationState,
    Resource,
    Source,
    Unit,
)
from edgegate.passes.reasons import ClosingReason
from edgegate.passes.state import Coverage, MinuteTerms, Scope, Segment, Session
from oracle.clock import business_day

T = TypeVar("T")

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
TICK = timedelta(microseconds=1)

CHANGES = {
    "UTC": datetime(2026, 6, 1, 12, tzinfo=UTC),
    "Europe/Berlin": datetime(2026, 3, 29, 1, tzinfo=UTC),
    "Europe/Dublin": datetime(2026, 10, 25, 1, tzinfo=UTC),
    "America/New_York": datetime(2026, 11, 1, 6, tzinfo=UTC),
    "Australia/Lord_Howe": datetime(2026, 4, 4, 15, tzinfo=UTC),
    "Africa/Cairo": datetime(2026, 4, 23, 22, tzinfo=UTC),
    "America/Santiago": datetime(2026, 9, 6, 4, tzinfo=UTC),
    "Asia/Kolkata": datetime(2026, 1, 1, tzinfo=UTC),
}
"""Zones, each with an instant at which its clocks change, where they do."""

HERE, ABOVE, BELOW, ELSEWHERE = "house", "root", "cellar", "elsewhere"
ME, YOU, TEAM = "me", "you", "team"
GROUPS, PLANS, RESOURCES, OFFERS = ("g1", "g2"), ("a", "b", "c"), ("r1", "r2"), ("o1", "o2", "o3")
ORDERS = (
    ("priority", "expires_at", "source", "remaining", "id"),
    ("expires_at", "id"),
    ("unit", "expires_at", "id"),
    ("remaining", "priority", "id"),
    ("remaining", "unit", "id"),
    ("source",),
    ("id",),
    (),
)
"""The presets' orders, and some that nobody would think of."""


class Draw:
    """Draws the parts of a world; all its instants lie near the one that is decided at."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self.zone = self.one(list(CHANGES))
        base = CHANGES[self.zone]
        if self.maybe(1, 3):
            base += self.number(-200, 200) * DAY
        self.at = base + self._step()
        self.wall = self.at.astimezone(ZoneInfo(self.zone))
        self.hurdles = self.one([1, 3, 9])
        """Every rule stands in a pass's way about once in so many passes."""

    def one(self, among: Sequence[T]) -> T:
        return among[self._random.randrange(len(among))]

    def some(self, among: Sequence[T], most: int = 3) -> tuple[T, ...]:
        picked = [self.one(among) for _ in range(self.number(0, most))]
        return tuple(dict.fromkeys(picked))

    def number(self, least: int, most: int) -> int:
        return self._random.randint(least, most)

    def maybe(self, times: int, of: int) -> bool:
        """True so many times of so many; what shrinks becomes False."""
        return self._random.randrange(of) >= of - times

    def rarely(self) -> bool:
        """Whether a rule shall stand in the way."""
        return self.maybe(1, 3 * self.hurdles)

    def _step(self) -> timedelta:
        unit = self.one([timedelta(0), TICK, MINUTE, HOUR])
        return self.number(-5, 5) * unit

    def near(self) -> datetime:
        """An instant at, just before or after, or some days from the one decided at."""
        unit = self.one([timedelta(0), TICK, MINUTE, HOUR, DAY])
        return self.at + self.number(-3, 3) * unit

    def perhaps_near(self) -> datetime | None:
        return self.near() if self.rarely() else None

    def wall_time(self) -> str:
        """A wall time near what a clock shows then."""
        shown = self.wall.hour * 60 + self.wall.minute
        minutes = shown + self.number(-2, 2) * self.one([0, 1, 30, 60, 300])
        return f"{minutes % 1440 // 60:02}:{minutes % 60:02}"

    def day(self) -> date:
        return self.wall.date() + self.number(-1, 2) * DAY

    def hours(self) -> tuple[Hours, ...]:
        if not self.maybe(1, 1 + self.hurdles):
            return ()
        return tuple(
            Hours(
                days=tuple(Day) if self.maybe(1, 2) else self.some(list(Day), 5),
                from_=self.wall_time(),
                to="24:00" if self.maybe(1, 5) else self.wall_time(),
            )
            for _ in range(self.number(1, 3))
        )


def place(draw: Draw) -> Location:
    return Location(
        id=HERE,
        parent=ABOVE,
        timezone=draw.zone,
        day_cutoff=draw.one(["00:00", "03:00", "04:00", draw.wall_time()]),
        holidays=tuple(draw.day() for _ in range(draw.number(0, 2))),
        order=tuple(OrderKey(key) for key in draw.one(ORDERS)),
        holder_first=HolderFirst.TEAM if draw.maybe(1, 3) else HolderFirst.PERSONAL,
        payg=draw.some(list(Kind), 2),
        payg_offline_ceiling=draw.number(0, 1500) if draw.maybe(1, 3) else None,
        paused_may_enter=draw.maybe(1, 2),
        reservation_lead_minutes=draw.one([0, 0, 1, 15, 60]),
        credit_price=draw.number(0, 300) if draw.maybe(2, 3) else None,
        credit_plan_prices={plan: draw.number(0, 200) for plan in draw.some(PLANS, 2)},
        capacity=draw.number(0, 3) if draw.maybe(1, 4) else None,
    )


def door(draw: Draw) -> Door:
    policy = draw.one([*[DoorPolicy.PASS] * 3, *DoorPolicy, DoorPolicy.CHECK_IN_FIRST])
    resourceful = policy is DoorPolicy.BOOKING or draw.maybe(1, 5)
    return Door(
        id="door",
        location=HERE,
        groups=draw.some(GROUPS, 2),
        resource=draw.one(RESOURCES) if resourceful else None,
        policy=policy,
        on_no_pass=OnNoPass.OPEN_AND_FLAG if draw.maybe(1, 5) else OnNoPass.DENY,
        schedule=draw.hours() if draw.maybe(1, 5) else (),
        schedule_after_first_entry=draw.maybe(1, 2),
        anti_passback=draw.one([AntiPassback.OFF, *AntiPassback]),
        lease_hours=draw.number(1, 3),
        lease_rule=draw.one(list(LeaseRule)),
    )


def terms(draw: Draw) -> dict[str, object]:
    """What a pass and an offer have in common, but for the unit."""
    return {
        "home": draw.one([BELOW, ELSEWHERE]) if draw.rarely() else draw.one([None, HERE, ABOVE]),
        "locations": draw.some([HERE, ABOVE, ELSEWHERE], 2) if draw.rarely() else (),
        "audience": draw.one(list(Audience)) if draw.rarely() else Audience.ALL,
        "plans": draw.some(PLANS, 2),
        "hours": draw.hours(),
        "holidays": HolidayRule.CLOSED if draw.maybe(1, 4) else HolidayRule.OPEN,
        "door_groups": draw.some(GROUPS, 2) if draw.rarely() else (),
        "wifi": not draw.rarely(),
        "resources": draw.some(RESOURCES, 2) if draw.maybe(1, 3) else (),
        "increment_minutes": draw.one([1, 15]),
    }


def a_pass(draw: Draw, number: int, contracts: Sequence[Contract]) -> Pass:
    per = draw.one(list(Per))
    known = [c.id for c in contracts]
    return Pass(
        id=f"p{number:02}",
        holder=draw.one([ME, ME, TEAM]),
        unit=draw.one([Unit.USE, Unit.MINUTE, Unit.CREDIT, *Unit, Unit.USE, Unit.CREDIT]),
        per=per,
        window_minutes=draw.one([1, 30, 600]) if per is Per.WINDOW or draw.maybe(1, 9) else None,
        priority=draw.one([Priority.NORMAL, *Priority]),
        source=draw.one([None, *Source]),
        valid_from=draw.perhaps_near(),
        expires_at=draw.perhaps_near(),
        contract=draw.one([*known, "gone"]) if draw.rarely() else None,
        on_date=draw.day() if draw.rarely() else None,
        state=draw.one(list(PassState)[:3]) if draw.rarely() else PassState.ACTIVE,
        payment_hold=draw.rarely(),
        minimum_minutes=draw.one([0, 30]),
        **terms(draw),  # type: ignore[arg-type]  # of the names above
    )


def an_offer(draw: Draw, offer_id: str) -> Offer:
    unit = draw.one([Unit.MINUTE, Unit.USE])
    return Offer(
        id=offer_id,
        unit=unit,
        amount=draw.one([1, 7, 60]) if unit is Unit.MINUTE else 1,
        price=draw.one([0, 100, 500, 501, 2000]),
        plan_prices={plan: draw.one([0, 100, 333]) for plan in draw.some(PLANS, 2)},
        sold_to=draw.some(list(Kind), 2),
        minimum_minutes=draw.one([0, 15, 17]),
        **terms(draw),  # type: ignore[arg-type]  # of the names above
    )


def contracts(draw: Draw) -> tuple[Contract, ...]:
    return tuple(
        Contract(
            id=f"k{number}",
            holder=draw.one([ME, ME, TEAM, TEAM, YOU]),
            plan=draw.one(PLANS),
            starts_at=draw.perhaps_near(),
            ends_at=draw.perhaps_near(),
        )
        for number in range(draw.number(0, 3))
    )


def reservation(draw: Draw, number: int, customer: str, resource: str | None) -> Reservation:
    from_ = draw.near()
    return Reservation(
        id=f"v{number}",
        customer=customer,
        location=ELSEWHERE if draw.maybe(1, 9) else HERE,
        pass_=f"p{draw.number(0, 12):02}" if draw.maybe(1, 2) else None,
        resource=resource,
        from_=from_,
        until=from_ + draw.one([MINUTE, HOUR, DAY]),
        # Whoever arrived did so once it let them in.
        state=ReservationState.ARRIVED
        if from_ <= draw.at and draw.maybe(1, 3)
        else ReservationState.SCHEDULED,
    )


def scope_of(p: Pass) -> Scope:
    return Scope(
        home=p.home,
        locations=p.locations,
        door_groups=p.door_groups,
        wifi=p.wifi,
        resources=p.resources,
    )


def coverage(
    draw: Draw, here: Location, passes: Sequence[Pass], offers: Sequence[Offer]
) -> Coverage:
    """One that was bought lately, perhaps at a place with another cutoff, or of a pass now gone."""
    from_ = min(draw.near(), draw.at)
    day = business_day(here, from_)[0]
    until = max(from_, draw.near())
    # Minutes and unlimited passes make no coverage (C-08).
    spent = [p for p in passes if p.unit in (Unit.USE, Unit.CREDIT)]
    p = draw.one(spent) if spent and not draw.maybe(1, 5) else None
    if p is None and offers and draw.maybe(1, 2):
        offer = draw.one(offers).id
        return Coverage(offer=offer, customer=ME, day=day, from_=from_, until=until)
    visit = p is not None and p.unit is Unit.USE and p.per is Per.VISIT
    return Coverage(
        pass_=p.id if p is not None else "sold",
        customer=ME,
        day=day,
        from_=from_,
        until=None if visit else until,
        session=draw.one(["now", "other"]) if visit else None,
        scope=scope_of(p) if p is not None and p.unit is Unit.CREDIT else None,
    )


def segment(
    draw: Draw,
    passes: Sequence[Pass],
    offers: Sequence[Offer],
    reservations: Sequence[Reservation],
    coverages: Sequence[Coverage],
) -> Segment | None:
    """What the open session goes on: nothing, a coverage, a reservation, minutes, or an offer."""
    from_ = min(draw.near(), draw.at)
    kind = draw.number(0, 4)
    timed = [p for p in passes if p.unit in (Unit.MINUTE, Unit.UNLIMITED)]
    bought = [c for c in coverages if c.session != "other"]
    if kind == 1 and bought:
        c = draw.one(bought)
        return Segment(from_=from_, pass_=c.pass_, offer=c.offer, until=c.until, scope=c.scope)
    if kind == 2 and reservations:
        r = draw.one(reservations)
        return Segment(from_=from_, reservation=r.id, until=r.until)
    if kind == 3 and timed:
        p = draw.one(timed)
        counts = MinuteTerms(increment_minutes=p.increment_minutes, minimum_minutes=0)
        return Segment(
            from_=from_,
            pass_=p.id,
            until=draw.perhaps_near(),
            counts=counts if p.unit is Unit.MINUTE else None,
        )
    if kind == 4 and offers:
        return Segment(from_=from_, offer=draw.one(offers).id, until=draw.perhaps_near())
    return None


def session(draw: Draw, on: Segment | None) -> Session:
    return Session(
        id="now",
        customer=ME,
        location=HERE,
        opened_at=draw.at - HOUR,
        segment=on,
        channel=Channel.DOOR,
        door_entry=draw.maybe(1, 2),
        closes_at=draw.at + DAY,
        closes_for=ClosingReason.CUTOFF,
    )


def running(draw: Draw, passes: Sequence[Pass], own: Session | None) -> tuple[Running, ...]:
    found = []
    if own is not None and own.segment is not None and own.segment.counts is not None:
        pass_id, from_ = own.segment.pass_ or "", own.segment.from_
        found.append(
            Running(
                session=own.id,
                customer=ME,
                pass_=pass_id,
                from_=from_,
                closes_at=own.closes_at,
            )
        )
    timed = [p for p in passes if p.unit is Unit.MINUTE]
    for number in range(draw.number(0, 3) if timed else 0):
        from_ = min(draw.near(), draw.at)
        booked = (Span(from_ + MINUTE, from_ + 2 * MINUTE),) if draw.maybe(1, 5) else ()
        found.append(
            Running(
                session=f"s{number}",
                customer=f"you{number}",
                pass_=draw.one(timed).id,
                from_=from_,
                closes_at=max(draw.near(), draw.at),
                booked=booked,
            )
        )
    return (*found, *credit_hours(draw, passes))


def credit_hours(draw: Draw, passes: Sequence[Pass]) -> tuple[Running, ...]:
    """Hours of rooms that somebody pays with credits now, perhaps from several lots in turn."""
    lots = [p.id for p in passes if p.unit is Unit.CREDIT]
    found = []
    for number in range(draw.number(0, 2) if lots else 0):
        terms = MinuteTerms(
            increment_minutes=draw.one([1, 15]),
            minimum_minutes=draw.one([0, 0, 60]),
            credit_price_hour=draw.one([0, 7, 100]),
        )
        first = draw.one(lots)
        found.append(
            Running(
                session=f"r{number}",
                customer=f"guest{number}",
                pass_=first,
                from_=min(draw.near(), draw.at),
                closes_at=max(draw.near(), draw.at),
                counts=terms,
                lots=tuple(lot for lot in lots if lot != first and draw.maybe(1, 2)),
            )
        )
    return tuple(found)


def remaining(draw: Draw, passes: Sequence[Pass], runs: Sequence[Running]) -> dict[str, int]:
    """What is left of each: often nothing, one, or just what runs now."""
    left = {}
    for p in passes:
        minutes = sum((draw.at - r.from_) // MINUTE for r in runs if r.pass_ == p.id)
        number = draw.one([0, 1, 1, 3, 50, 100, 200, minutes, minutes + 1])
        left[p.id] = 0 if p.unit is Unit.UNLIMITED else number
    return left


def world(random: Random) -> tuple[Facts, Request]:
    """A customer with all that is known of them, and what they ask for."""
    draw = Draw(random)
    here, at_door = place(draw), door(draw)
    channel = draw.one([Channel.DOOR, Channel.DOOR, *Channel])
    of_them = contracts(draw)
    passes = tuple(a_pass(draw, n, of_them) for n in range(draw.number(0, draw.one([2, 5, 12]))))
    offers = tuple(an_offer(draw, o) for o in OFFERS[: draw.number(0, 3)])
    asked = at_door.resource if channel is Channel.DOOR else None
    mine = tuple(
        reservation(draw, n, ME, draw.one([None, *RESOURCES]))
        for n in range(draw.number(0, draw.one([0, 0, 2])))
    )
    theirs = tuple(
        reservation(draw, 9, YOU, asked) for _ in range(draw.number(0, 1)) if asked is not None
    )
    coverages = tuple(
        coverage(draw, here, passes, offers) for _ in range(draw.number(0, draw.one([0, 1, 3])))
    )
    on = segment(draw, passes, offers, mine, coverages)
    own = session(draw, on) if draw.maybe(1, 3) else None
    runs = running(draw, passes, own)
    customer = Customer(
        id=ME,
        team=TEAM,
        status=draw.one(list(CustomerStatus)) if draw.maybe(1, 12) else CustomerStatus.ACTIVE,
        staff=draw.maybe(1, 40),
    )
    taken = [r for r in (*mine, *theirs) if asked is not None and r.resource == asked]
    facts = Facts(
        customer=customer,
        ancestry=(HERE, ABOVE),
        contracts=tuple(c for c in of_them if c.holder != YOU),
        others_contracts=tuple(c for c in of_them if c.holder == YOU),
        passes=passes,
        remaining=remaining(draw, passes, runs),
        coverages=coverages,
        session=own,
        running=runs,
        lockdown=draw.maybe(1, 30),
        reservations=mine,
        taken=tuple(sorted((r for r in taken if r.until > draw.at), key=lambda r: r.from_)),
        resource=a_resource(draw, asked),
        offers=offers,
        charged_offline=draw.number(0, 1000) if draw.maybe(1, 3) else None,
        inside=draw.number(0, 3),
        day_begun=draw.maybe(1, 2),
        cache_age=draw.one([*[timedelta(0)] * 4, HOUR, HOUR + TICK, 4 * HOUR]),
        seen_at=draw.at - draw.one([30 * DAY, 30 * DAY + TICK, HOUR]) if draw.maybe(1, 2) else None,
        clock_trusted=not draw.maybe(1, 20),
    )
    door_asked = at_door if channel is Channel.DOOR else None
    return facts, Request(at=draw.at, location=here, channel=channel, door=door_asked)


def a_resource(draw: Draw, resource_id: str | None) -> Resource | None:
    if resource_id is None:
        return None
    price = draw.one([None, 0, 100])
    return Resource(id=resource_id, location=HERE, credit_price_hour=price)
