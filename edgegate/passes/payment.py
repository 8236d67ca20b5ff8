"""What pays for a request: what is paid for already, then a pass, then pay-as-you-go (§5)."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime, timedelta

from msgspec import Struct
from msgspec.json import encode

from edgegate.passes import chain, coverage, prices
from edgegate.passes.coverage import NOTHING, Spending, costs_nothing
from edgegate.passes.facts import Facts, Request
from edgegate.passes.model import Channel, Pass, Reservation, ReservationState, Unit
from edgegate.passes.order import NEVER, first_in_order, in_order, order_of
from edgegate.passes.reasons import Reason
from edgegate.passes.state import Coverage, MinuteTerms, Sale, Scope, Segment


class Payment(Struct, frozen=True, kw_only=True):
    """What a visit goes on with, and what that costs now."""

    spending: Spending
    segment: Segment
    """The stretch that begins with it; its `until` is that of a coverage spent now or earlier."""
    arrives: str | None = None
    """The reservation that its customer comes for the first time (C-09)."""


class Decision(Struct, frozen=True, kw_only=True):
    """What came of a request.

    `payment` is set where the visit begins or goes over to something else; a request that the open
    session's own segment allows changes nothing and has none. `because` says what was missing where
    the reason is `flagged`. `stopped_pass` is the pass that a refusal speaks of (F-10), `retry_at`
    when that would work (F-14).
    """

    opens: bool
    reason: Reason
    because: Reason | None = None
    pass_: str | None = None
    offer: str | None = None
    payment: Payment | None = None
    stopped_pass: str | None = None
    retry_at: datetime | None = None

    @property
    def opens_session(self) -> bool:
        """Whether a visit begins with it, if none is open (S-01)."""
        return self.payment is not None or self.reason is Reason.FLAGGED


def refuse(reason: Reason, retry_at: datetime | None = None) -> Decision:
    """A refusal that speaks of no pass."""
    return Decision(opens=False, reason=reason, retry_at=retry_at)


def admit(reason: Reason) -> Decision:
    """A grant that spends nothing and opens no session."""
    return Decision(opens=True, reason=reason)


def by_passes(facts: Facts, request: Request) -> Decision:
    """The whole answer of the chain: what is paid for, a pass, a sale, or why not."""
    return (
        paid_already(facts, request)
        or by_payment(facts, request)
        or by_sale(facts, request)
        or furthest(facts, request)
    )


def paid_already(facts: Facts, request: Request) -> Decision | None:
    """O-01: the open session's own segment, then coverages, then a reservation."""
    return (
        _by_open_session(facts, request)
        or _by_coverage(facts, request)
        or by_reservation(facts, request)
    )


def hand_over(facts: Facts, request: Request) -> Decision | None:
    """What the visit goes on with when its segment has come to its end (S-04).

    No use is spent of a pass that already covered this session; None: nothing takes over.
    """
    session = facts.session
    spent = session.paid_by if session is not None else ()
    fresh = [p for p in facts.passes if p.id not in spent or _free(p, request, facts)]
    sale = by_sale(facts, request) if request.location.payg_hand_over else None
    decision = (
        _by_coverage(facts, request)
        or by_reservation(facts, request)
        or by_payment(facts, request, fresh)
        or sale
    )
    return decision if decision is not None and decision.opens else None


def _free(p: Pass, request: Request, facts: Facts) -> bool:
    return p.unit is not Unit.USE or costs_nothing(p, request, facts)


def still_covers(segment: Segment, facts: Facts, request: Request) -> bool:
    """Whether a segment goes on at this instant: what it stands on still counts, and lasts."""
    if segment.until is not None and segment.until <= request.at:
        return False
    if segment.reservation is not None:
        return any(
            r.id == segment.reservation and reserved(r, request, facts) for r in facts.reservations
        )
    if segment.offer is not None:
        return any(o.id == segment.offer and chain.goes_on(o, request, facts) for o in facts.offers)
    if segment.scope is not None:
        return _in_scope(segment.scope, facts, request)
    p = facts.pass_of(segment.pass_) if segment.pass_ is not None else None
    return p is not None and _pass_goes_on(p, segment, facts, request)


def _in_scope(scope: Scope, facts: Facts, request: Request) -> bool:
    """Whether a day that credits paid counts here: not for what has a price of its own (C-07)."""
    own_price = facts.resource.credit_price_hour if facts.resource is not None else None
    if request.channel is Channel.DOOR and own_price is not None:
        return False
    return chain.within(scope, request, facts) and chain.includes(scope, request)


def _pass_goes_on(p: Pass, segment: Segment, facts: Facts, request: Request) -> bool:
    if not chain.holds(p, request, facts):
        return False
    if p.unit is Unit.USE:
        return any(c.pass_ == p.id for c in coverage.covering(facts, request))
    if segment.counts is not None and segment.counts.credit_price_hour is not None:
        return _credits_last(
            segment.counts.credit_price_hour, (p, *_lots(segment, facts)), facts, request
        )
    return chain.balance(p, request, facts) is None


def _credits_last(price_hour: int, lots: Sequence[Pass], facts: Facts, request: Request) -> bool:
    left = sum(facts.remaining[lot.id] for lot in lots)
    used = sum((facts.running_time(lot, request.at) for lot in lots), timedelta(0))
    return used * price_hour < left * timedelta(hours=1)


def _lots(segment: Segment, facts: Facts) -> list[Pass]:
    return [p for p in facts.passes if p.id in segment.lots]


def _by_open_session(facts: Facts, request: Request) -> Decision | None:
    """The open session's own segment, where it allows this request (C-08)."""
    segment = facts.session.segment if facts.session is not None else None
    if segment is None or not still_covers(segment, facts, request):
        return None
    return Decision(
        opens=True, reason=Reason.COVERED, pass_=_pass_of(segment, facts), offer=segment.offer
    )


def _pass_of(segment: Segment, facts: Facts) -> str | None:
    r = next((r for r in facts.reservations if r.id == segment.reservation), None)
    return r.pass_ if r is not None else segment.pass_


def _by_coverage(facts: Facts, request: Request) -> Decision | None:
    """A coverage that runs, and that its pass, offer or scope still allows here (C-01, C-11)."""
    paid = [c for c in coverage.covering(facts, request) if _allows(c, facts, request)]
    if not paid or _room_taken(facts, request):
        return None
    c = min(paid, key=lambda c: _coverage_key(c, facts, request))
    segment = Segment(
        from_=request.at,
        channel=request.channel,
        door=request.door.id if request.door is not None else None,
        pass_=c.pass_,
        offer=c.offer,
        until=_earlier(c.until, free_until(facts, request)),
        scope=c.scope,
    )
    payment = Payment(spending=NOTHING, segment=segment)
    return Decision(
        opens=True, reason=Reason.COVERED, pass_=c.pass_, offer=c.offer, payment=payment
    )


def _allows(c: Coverage, facts: Facts, request: Request) -> bool:
    if c.scope is not None:
        return _in_scope(c.scope, facts, request)
    if c.offer is not None:
        offer = next((o for o in facts.offers if o.id == c.offer), None)
        return offer is not None and chain.goes_on(offer, request, facts)
    p = facts.pass_of(c.pass_) if c.pass_ is not None else None
    return p is not None and chain.holds(p, request, facts)


def _coverage_key(c: Coverage, facts: Facts, request: Request) -> tuple[object, ...]:
    """Coverages of passes in the passes' order, then those of passes that are gone and of offers.

    One pass may have bought several, each with its own end or scope: of those, and of the others,
    the one that ends last comes first, as of windows (T-09). Then all that it says settles it, so
    that every device that knows the same goes on with the same (O-02).
    """
    p = facts.pass_of(c.pass_) if c.pass_ is not None else None
    place = (0, order_of(facts, request.location)(p)) if p is not None else (1,)
    return *place, NEVER - (c.until or NEVER), encode(c)


def by_reservation(facts: Facts, request: Request) -> Decision | None:
    """A reservation that is for now (C-09): the first time it is `reservation`, then `covered`."""
    now = [r for r in facts.reservations if reserved(r, request, facts)]
    if not now:
        return None
    r = min(now, key=lambda r: (r.from_, r.id))
    fresh = r.state is ReservationState.SCHEDULED
    segment = Segment(
        from_=request.at,
        channel=request.channel,
        door=request.door.id if request.door is not None else None,
        reservation=r.id,
        until=r.until,
    )
    return Decision(
        opens=True,
        reason=Reason.RESERVATION if fresh else Reason.COVERED,
        pass_=r.pass_,
        payment=Payment(spending=NOTHING, segment=segment, arrives=r.id if fresh else None),
    )


def reserved(r: Reservation, request: Request, facts: Facts) -> bool:
    """Whether a reservation is for this instant, place and way."""
    if not begins(r, request) <= request.at < r.until or r.location != request.location.id:
        return False
    match request.channel:
        case Channel.KIOSK:
            return True
        case Channel.WIFI:
            p = facts.pass_of(r.pass_) if r.pass_ is not None else None
            return p is not None and p.wifi
        case Channel.DOOR:
            door = request.door
            return door is not None and door.resource in (None, r.resource)


def begins(r: Reservation, request: Request) -> datetime:
    """The instant from which a reservation lets its customer in: a lead before its own."""
    return r.from_ - timedelta(minutes=request.location.reservation_lead_minutes)


def free_until(facts: Facts, request: Request) -> datetime | None:
    """When a walk-up at this door's resource must end (C-13); None: nothing is reserved."""
    if request.door is None:
        return None
    return min((begins(r, request) for r in facts.taken), default=None)


def _room_taken(facts: Facts, request: Request) -> bool:
    until = free_until(facts, request)
    return until is not None and until <= request.at


def _earlier(one: datetime | None, other: datetime | None) -> datetime | None:
    return min((at for at in (one, other) if at is not None), default=None)


def by_payment(facts: Facts, request: Request, among: list[Pass] | None = None) -> Decision | None:
    """O-02: of the passes that survive the whole chain, the first in order pays."""
    if _room_taken(facts, request):
        return None
    candidates = facts.passes if among is None else among
    surviving = [p for p in candidates if chain.stopped(p, request, facts) is None]
    if not surviving:
        return None
    p = first_in_order(surviving, facts, request.location)
    reason = {Unit.UNLIMITED: Reason.UNLIMITED, Unit.CREDIT: Reason.CREDIT}.get(p.unit, Reason.PASS)
    lots = [p]
    if p.unit is Unit.CREDIT:
        others = [lot for lot in chain.lots_for(request, facts) if lot.id != p.id]
        lots += in_order(others, facts, request.location)
    payment = payment_by(lots, request, facts)
    return Decision(opens=True, reason=reason, pass_=p.id, payment=payment)


def payment_by(lots: list[Pass], request: Request, facts: Facts) -> Payment:
    """What an entry on a pass, or on several credit lots in their order, spends and begins."""
    p = lots[0]
    spending, counts = NOTHING, None
    if p.unit is Unit.USE:
        spending = coverage.spending(p, request, facts)
    elif p.unit is Unit.CREDIT and not chain.by_the_hour(p, request):
        price = chain.credit_price(p, request, facts) or 0
        spending = coverage.credit_spending(lots, price, request, facts)
    elif p.unit is not Unit.UNLIMITED:
        hourly = chain.credit_price(p, request, facts) if p.unit is Unit.CREDIT else None
        counts = MinuteTerms(
            increment_minutes=p.increment_minutes,
            minimum_minutes=p.minimum_minutes,
            credit_price_hour=hourly,
        )
    segment = Segment(
        from_=request.at,
        channel=request.channel,
        door=request.door.id if request.door is not None else None,
        pass_=p.id,
        until=_earlier(spending.until, free_until(facts, request)),
        counts=counts,
        lots=tuple(lot.id for lot in lots[1:]) if counts is not None else (),
        scope=spending.scope,
    )
    return Payment(spending=spending, segment=segment)


def by_sale(facts: Facts, request: Request) -> Decision | None:
    """O-04: sell pay-as-you-go, if location and offer allow it, up to the ceiling (O-05)."""
    kind = facts.kind(request.at)
    if kind not in request.location.payg or _room_taken(facts, request):
        return None
    offers = [o for o in facts.offers if kind in o.sold_to and chain.offered(o, request, facts)]
    if not offers:
        return None
    sales = [prices.sale_of(o, facts, request.at) for o in offers]
    sale = min(sales, key=lambda sale: (sale.price, sale.offer))
    if sale.amount is None and coverage.day_sold(sale.offer, request, facts):
        return _sold_before(sale, request, facts)
    if _above_ceiling(sale, request, facts):
        return refuse(Reason.PAYG_CEILING)
    return _sold(sale, request, facts)


def _above_ceiling(sale: Sale, request: Request, facts: Facts) -> bool:
    ceiling, charged = request.location.payg_offline_ceiling, facts.charged_offline
    if ceiling is None or charged is None:
        return False
    return charged + prices.least_charge(sale) > ceiling


def _sold_before(sale: Sale, request: Request, facts: Facts) -> Decision:
    """A business day that was sold already, perhaps where it ends sooner, costs no second price."""
    segment = Segment(
        from_=request.at,
        channel=request.channel,
        door=request.door.id if request.door is not None else None,
        offer=sale.offer,
        until=_earlier(request.day.ends, free_until(facts, request)),
    )
    payment = Payment(spending=NOTHING, segment=segment)
    return Decision(opens=True, reason=Reason.PAYG, offer=sale.offer, payment=payment)


def _sold(sale: Sale, request: Request, facts: Facts) -> Decision:
    until = request.day.ends if sale.amount is None else None
    segment = Segment(
        from_=request.at,
        channel=request.channel,
        door=request.door.id if request.door is not None else None,
        offer=sale.offer,
        sale=sale,
        until=_earlier(until, free_until(facts, request)),
    )
    return Decision(
        opens=True,
        reason=Reason.PAYG,
        offer=sale.offer,
        payment=Payment(spending=Spending(until=until), segment=segment),
    )


def furthest(facts: Facts, request: Request) -> Decision:
    """F-10: refused for the reason of the pass that got furthest along the chain."""
    if _room_taken(facts, request):
        return refuse(Reason.NOT_BOOKED, next_booking(facts, request))
    by_place: dict[int, list[tuple[Pass, Reason]]] = defaultdict(list)
    for p in facts.passes:
        stop = chain.stopped(p, request, facts)
        if stop is not None:
            by_place[stop.place].append((p, stop.reason))
    if not by_place:
        return refuse(Reason.NO_PASS)
    stopped = by_place[max(by_place)]
    p = first_in_order((p for p, _ in stopped), facts, request.location)
    reason = next(reason for other, reason in stopped if other is p)
    later = chain.retry_at(p, request, facts)
    return Decision(opens=False, reason=reason, stopped_pass=p.id, retry_at=later)


def next_booking(facts: Facts, request: Request) -> datetime | None:
    """When the customer's next reservation of this door's resource lets them in (F-14)."""
    door = request.door
    later = [
        begins(r, request)
        for r in facts.reservations
        if door is not None and r.resource == door.resource and begins(r, request) > request.at
    ]
    return min(later, default=None)
