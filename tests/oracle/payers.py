"""What pays for a request and what that costs, read from PASSES §4 and §5 a second time."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from fractions import Fraction

from edgegate.passes.facts import Facts, Request
from edgegate.passes.model import Channel, Offer, Pass, Per, Reservation, ReservationState, Unit
from edgegate.passes.reasons import Reason
from edgegate.passes.state import Segment
from oracle.chain import (
    covers,
    credit_price,
    credits_after_hours,
    f05_location,
    f06_audience,
    f07_channel,
    f08_hours,
    fails,
    in_order,
    is_covered_by,
    is_hourly,
    is_recorded,
    kind_of,
    lots,
    plans_of,
    running_time,
    something_is_left,
    still_allowed,
)
from oracle.clock import business_day, current_window, is_always


@dataclass(frozen=True)
class Verdict:
    """What the page says of a request; `takes` is what each pass loses now."""

    opens: bool
    reason: Reason
    because: Reason | None = None
    pass_: str | None = None
    offer: str | None = None
    stopped: str | None = None
    """The pass that a refusal speaks of."""
    retry_at: datetime | None = None
    takes: tuple[tuple[str, int], ...] = ()
    covers_until: datetime | None = None
    """The end of the coverage that was bought now; None: none, or for this visit."""
    lasts_until: datetime | None = None
    """The end of what a visit goes on with now, and which is no window, expiry or balance."""
    sold_for: int | None = None
    arrives: str | None = None


HOUR_US = 3_600_000_000


def session_allows(facts: Facts, request: Request) -> bool:
    """C-08, S-12: whether the open session's segment allows a further entry."""
    segment = facts.session.segment if facts.session is not None else None
    if segment is None or (segment.until is not None and request.at >= segment.until):
        return False
    if segment.reservation is not None:
        own = [r for r in facts.reservations if r.id == segment.reservation]
        return any(opens_by_reservation(r, facts, request) for r in own)
    if not still_allowed(segment.pass_, segment.offer, segment.scope, facts, request):
        return False
    p = next((p for p in facts.passes if p.id == segment.pass_), None)
    return p is None or segment.scope is not None or pays_on(p, segment, facts, request)


def pays_on(p: Pass, segment: Segment, facts: Facts, request: Request) -> bool:
    """F-09, for the pass that an open session goes on."""
    if p.unit is Unit.USE:
        return is_covered_by(p, facts, request)
    if segment.counts is not None and segment.counts.credit_price_hour is not None:
        return credits_last(p, segment, segment.counts.credit_price_hour, facts, request)
    return something_is_left(p, facts, request)


def credits_last(
    p: Pass, segment: Segment, price_hour: int, facts: Facts, request: Request
) -> bool:
    """F-09, C-07: whether a resource's hours so far cost less than what its lots have left."""
    paying = [p, *(lot for lot in facts.passes if lot.id in segment.lots)]
    left = sum(facts.remaining[lot.id] for lot in paying)
    used = sum((running_time(lot, facts, request.at) for lot in paying), timedelta(0))
    return left > 0 and Fraction(used / timedelta(microseconds=1)) * price_hour < left * HOUR_US


def opens_by_reservation(r: Reservation, facts: Facts, request: Request) -> bool:
    """C-09, for one reservation."""
    if r.state is ReservationState.CANCELLED or r.customer != facts.customer.id:
        return False
    if r.location != request.location.id or request.at >= r.until:
        return False
    if request.at < r.from_ - lead(request):
        return False
    match request.channel:
        case Channel.KIOSK:
            return True
        case Channel.WIFI:
            return any(p.id == r.pass_ and p.wifi for p in facts.passes)
        case Channel.DOOR:
            assert request.door is not None
            return request.door.resource in (None, r.resource)


def lead(request: Request) -> timedelta:
    return timedelta(minutes=request.location.reservation_lead_minutes)


def paid_already(facts: Facts, request: Request) -> Verdict | None:
    """O-01: the open session's pass, then coverages, then a reservation."""
    if session_allows(facts, request):
        assert facts.session is not None
        assert facts.session.segment is not None
        segment = facts.session.segment
        of = [r.pass_ for r in facts.reservations if r.id == segment.reservation]
        pass_id = of[0] if of else segment.pass_
        return Verdict(True, Reason.COVERED, pass_=pass_id, offer=segment.offer)
    covering = [c for c in facts.coverages if covers(c, facts, request)]
    if covering and is_free(facts, request):
        ranks = {p.id: n for n, p in enumerate(in_order(facts, request))}
        # The page does not say which of several that one pass bought, nor of those of offers and of
        # passes that are gone: the one that ends last (T-09), then an offer's, then the lowest id.
        by_id = sorted(covering, key=lambda c: (c.offer is None, c.pass_ or c.offer or ""))
        by_end = sorted(by_id, key=lambda c: (c.until is None, c.until), reverse=True)
        first = min(by_end, key=lambda c: ranks.get(c.pass_ or "", len(ranks)))
        until = until_taken(facts, request, first.until)
        return Verdict(
            True, Reason.COVERED, pass_=first.pass_, offer=first.offer, lasts_until=until
        )
    booked = [r for r in facts.reservations if opens_by_reservation(r, facts, request)]
    if booked:
        r = min(booked, key=lambda r: (r.from_, r.id))
        if r.state is ReservationState.SCHEDULED:
            return Verdict(
                True, Reason.RESERVATION, pass_=r.pass_, arrives=r.id, lasts_until=r.until
            )
        return Verdict(True, Reason.COVERED, pass_=r.pass_, lasts_until=r.until)
    return None


def payer_of(facts: Facts, request: Request) -> Pass | None:
    surviving = [p for p in in_order(facts, request) if fails(p, facts, request) is None]
    return surviving[0] if surviving else None


def spend(p: Pass, facts: Facts, request: Request) -> Verdict:
    """C-02 to C-08, C-13: what an entry on a pass costs and buys, and how long it lasts."""
    verdict = spent(p, facts, request)
    return replace(verdict, lasts_until=until_taken(facts, request, verdict.covers_until))


def spent(p: Pass, facts: Facts, request: Request) -> Verdict:
    match p.unit:
        case Unit.UNLIMITED:
            return Verdict(True, Reason.UNLIMITED, pass_=p.id)
        case Unit.MINUTE:
            return Verdict(True, Reason.PASS, pass_=p.id)
        case Unit.USE:
            cost = 0 if is_recorded(p, facts, request) else 1
            until = bought_until(p, request)
            return Verdict(True, Reason.PASS, pass_=p.id, takes=((p.id, cost),), covers_until=until)
        case Unit.CREDIT:
            return spend_credits(p, facts, request)


def bought_until(p: Pass, request: Request) -> datetime | None:
    cutoff = business_day(request.location, request.at)[2]
    match p.per:
        case Per.DAY:
            return cutoff
        case Per.SLOT:
            if is_always(p.hours, p.holidays):
                return cutoff
            window = current_window(p.hours, p.holidays, request.location, request.at)
            assert window is not None
            return window[1]
        case Per.WINDOW:
            assert p.window_minutes is not None
            return request.at + timedelta(minutes=p.window_minutes)
        case Per.VISIT:
            return None


def spend_credits(p: Pass, facts: Facts, request: Request) -> Verdict:
    if is_hourly(request):
        return Verdict(True, Reason.CREDIT, pass_=p.id)
    due = credit_price(facts, request, hourly=False)
    assert due is not None
    takes: list[tuple[str, int]] = []
    for lot in sorted(lots(facts, request), key=lambda lot: lot.id != p.id):
        part = min(due, credits_after_hours(facts, request.at)[lot.id])
        if part or not takes:
            takes.append((lot.id, part))
        due -= part
    until = business_day(request.location, request.at)[2]
    return Verdict(True, Reason.CREDIT, pass_=p.id, takes=tuple(takes), covers_until=until)


def sell(facts: Facts, request: Request) -> Verdict | None:
    """O-04 and O-05: a pay-as-you-go pass on the spot, or what forbids it; None: none is sold."""
    kind = kind_of(facts, request.at)
    if kind not in request.location.payg:
        return None
    sold_here = [
        o
        for o in facts.offers
        if kind in o.sold_to
        and f05_location(o, facts, request) is None
        and f06_audience(o, facts, request.at) is None
        and f07_channel(o, request) is None
        and f08_hours(o, request) is None
    ]
    if not sold_here:
        return None
    offer = min(sold_here, key=lambda o: (price_for(o, facts, request.at), o.id))
    today, _, cutoff = business_day(request.location, request.at)
    if offer.unit is Unit.USE and any(
        c.offer == offer.id and c.customer == facts.customer.id and c.day == today
        for c in facts.coverages
    ):
        # P-02: a day offer costs its price once per business day.
        return Verdict(
            True, Reason.PAYG, offer=offer.id, lasts_until=until_taken(facts, request, cutoff)
        )
    ceiling = request.location.payg_offline_ceiling
    price = price_for(offer, facts, request.at)
    charged = facts.charged_offline
    if charged is not None and ceiling is not None:
        above = charged + least_charge(offer, price) > ceiling
        if above:
            return Verdict(False, Reason.PAYG_CEILING)
    until = cutoff if offer.unit is Unit.USE else None
    return Verdict(
        True,
        Reason.PAYG,
        offer=offer.id,
        sold_for=price,
        covers_until=until,
        lasts_until=until_taken(facts, request, until),
    )


def price_for(offer: Offer, facts: Facts, at: datetime) -> int:
    """P-03: the lowest of the customer's plans, else the offer's."""
    own = [offer.plan_prices[p] for p in plans_of(facts, at) if p in offer.plan_prices]
    return min(own) if own else offer.price


def least_charge(offer: Offer, price: int) -> int:
    """P-01, P-02: the day's price, or that of the fewest minutes, rounded once and half-up."""
    if offer.unit is Unit.USE:
        return price
    exact = Fraction(offer.minimum_minutes * price, offer.amount)
    return int(exact + Fraction(1, 2))


def is_free(facts: Facts, request: Request) -> bool:
    """C-13: nobody has the door's resource, nor may come for it yet."""
    if request.door is None or request.door.resource is None:
        return True
    return not any(
        r.from_ - lead(request) <= request.at < r.until
        for r in facts.taken
        if r.state is not ReservationState.CANCELLED
    )


def until_taken(facts: Facts, request: Request, until: datetime | None) -> datetime | None:
    """C-13: that end, or the next reservation of the door's resource less the lead, if sooner."""
    begins = [
        r.from_ - lead(request) for r in facts.taken if r.state is not ReservationState.CANCELLED
    ]
    ends = begins if until is None else [until, *begins]
    return min(ends) if ends else None
