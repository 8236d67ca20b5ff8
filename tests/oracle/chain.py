"""A second filter chain and order, from PASSES.md alone: slow and literal, a function a rule.

It shares nothing with the product but the types that go in: no time arithmetic, no ordering, no
chain. Where the page leaves something open, the comment says what was read into it.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from fractions import Fraction
from itertools import pairwise

from edgegate.passes.facts import Facts, Request
from edgegate.passes.model import (
    Audience,
    Channel,
    Contract,
    Kind,
    Offer,
    OrderKey,
    Pass,
    PassState,
    Per,
    Priority,
    Source,
    Unit,
)
from edgegate.passes.reasons import Reason
from edgegate.passes.state import Coverage, MinuteTerms, Scope
from oracle.clock import business_day, is_open

NEVER = float("inf")
ZERO = timedelta(0)

Terms = Pass | Offer | Scope
"""What F-05 and F-07 ask: a pass, an offer, or what credits bought (C-07)."""

Failure = tuple[int, Reason]
"""At which rule of the chain a pass failed, and what that is called."""


def contract_runs(contract: Contract, at: datetime) -> bool:
    if contract.starts_at is not None and at < contract.starts_at:
        return False
    return contract.ends_at is None or at < contract.ends_at


def plans_of(facts: Facts, at: datetime) -> list[str]:
    return [c.plan for c in facts.contracts if contract_runs(c, at)]


def kind_of(facts: Facts, at: datetime) -> Kind:
    """NX-07: evaluated at every decision."""
    member = any(contract_runs(c, at) for c in facts.contracts)
    return Kind.MEMBERS if member else Kind.CONTACTS


def contract_of(p: Pass, facts: Facts) -> Contract | None:
    found = [c for c in (*facts.contracts, *facts.others_contracts) if c.id == p.contract]
    return found[0] if found else None


def f01_state(p: Pass) -> Reason | None:
    if p.state is not PassState.ACTIVE:
        return Reason.NOT_APPROVED
    return Reason.PAYMENT_HOLD if p.payment_hold else None


def f02_started(p: Pass, facts: Facts, at: datetime) -> Reason | None:
    if p.valid_from is not None and at < p.valid_from:
        return Reason.NOT_STARTED
    contract = contract_of(p, facts)
    begins = contract.starts_at if contract is not None else None
    return Reason.NOT_STARTED if begins is not None and at < begins else None


def f03_not_ended(p: Pass, facts: Facts, at: datetime) -> Reason | None:
    ends = []
    if p.expires_at is not None and p.expires_at <= at:
        ends.append((p.expires_at, 0, Reason.EXPIRED))
    contract = contract_of(p, facts)
    if contract is not None and contract.ends_at is not None and contract.ends_at <= at:
        ends.append((contract.ends_at, 1, Reason.CONTRACT_ENDED))
    if ends:
        return min(ends)[2]
    # A contract that is not known is not active, and nothing says when it ended.
    return Reason.CONTRACT_ENDED if p.contract is not None and contract is None else None


def f04_date(p: Pass, request: Request) -> Reason | None:
    today = business_day(request.location, request.at)[0]
    return Reason.OTHER_DATE if p.on_date is not None and p.on_date != today else None


def f05_location(terms: Terms, facts: Facts, request: Request) -> Reason | None:
    if terms.locations:
        here = request.location.id in terms.locations
    else:
        here = terms.home is None or terms.home in facts.ancestry
    needs_price = isinstance(terms, Pass) and terms.unit is Unit.CREDIT
    # The page leaves open by which price a pass is judged at the door of a resource that it does
    # not name: by that of a check-in, so that the door is what it is told of.
    hourly = is_hourly(request) and f07_channel(terms, request) is None
    if here and not (needs_price and credit_price(facts, request, hourly=hourly) is None):
        return None
    return Reason.OTHER_LOCATION


def credit_price(facts: Facts, request: Request, *, hourly: bool) -> int | None:
    """C-07: of a check-in for the customer's plan, or of an hour of the door's resource."""
    if hourly:
        return facts.resource.credit_price_hour if facts.resource is not None else None
    location = request.location
    prices = [
        location.credit_plan_prices[plan]
        for plan in plans_of(facts, request.at)
        if plan in location.credit_plan_prices
    ]
    return min(prices) if prices else location.credit_price


def is_hourly(request: Request) -> bool:
    """Whether credits would pay for a resource here, and not for a check-in."""
    return request.door is not None and request.door.resource is not None


def f06_audience(terms: Pass | Offer, facts: Facts, at: datetime) -> Reason | None:
    kind = kind_of(facts, at)
    serves = {
        Audience.ALL: True,
        Audience.MEMBERS: kind is Kind.MEMBERS,
        Audience.CONTACTS: kind is Kind.CONTACTS,
        Audience.PLANS: any(plan in terms.plans for plan in plans_of(facts, at)),
    }
    return None if serves[terms.audience] else Reason.OTHER_AUDIENCE


def f07_channel(terms: Terms, request: Request) -> Reason | None:
    if request.channel is Channel.KIOSK:
        return None
    if request.channel is Channel.WIFI:
        return None if terms.wifi else Reason.WIFI_NOT_INCLUDED
    door = request.door
    assert door is not None
    if door.resource is not None:
        opens = door.resource in terms.resources
    elif terms.door_groups:
        opens = any(group in terms.door_groups for group in door.groups)
    else:
        opens = not terms.resources
    return None if opens else Reason.DOOR_NOT_INCLUDED


def f08_hours(terms: Pass | Offer, request: Request) -> Reason | None:
    inside = is_open(terms.hours, terms.holidays, request.location, request.at)
    return None if inside else Reason.OUTSIDE_HOURS


def fails_before_balance(p: Pass, facts: Facts, request: Request) -> Failure | None:
    """The first of F-01 to F-08 that a pass fails."""
    rules: list[Callable[[], Reason | None]] = [
        lambda: f01_state(p),
        lambda: f02_started(p, facts, request.at),
        lambda: f03_not_ended(p, facts, request.at),
        lambda: f04_date(p, request),
        lambda: f05_location(p, facts, request),
        lambda: f06_audience(p, facts, request.at),
        lambda: f07_channel(p, request),
        lambda: f08_hours(p, request),
    ]
    for number, rule in enumerate(rules, 1):
        reason = rule()
        if reason is not None:
            return number, reason
    return None


def fails(p: Pass, facts: Facts, request: Request) -> Failure | None:
    """The first of F-01 to F-09 that a pass fails; None: it survives."""
    failure = fails_before_balance(p, facts, request)
    if failure is not None:
        return failure
    if something_is_left(p, facts, request) or is_covered_by(p, facts, request):
        return None
    return 9, Reason.USED_UP


def running_time(p: Pass, facts: Facts, at: datetime) -> timedelta:
    """C-06: one customer's time counts once wherever it runs, several members' time adds up."""
    total = ZERO
    for customer in {r.customer for r in facts.running}:
        edges = {at}
        own = [r for r in facts.running if r.customer == customer and r.pass_ == p.id]
        for r in own:
            edges |= {r.from_, r.closes_at}
            edges |= {e for span in r.booked for e in (span.from_, span.until)}
        ordered = sorted(edges)
        for begins, ends in pairwise(ordered):
            counts = any(
                r.from_ <= begins < min(at, r.closes_at)
                and not any(span.from_ <= begins < span.until for span in r.booked)
                for r in own
            )
            total += ends - begins if counts else ZERO
    return total


def something_is_left(p: Pass, facts: Facts, request: Request) -> bool:
    left = facts.remaining[p.id]
    match p.unit:
        case Unit.UNLIMITED:
            return True
        case Unit.USE:
            return left > 0 or is_recorded(p, facts, request)
        case Unit.MINUTE:
            return timedelta(minutes=left) - running_time(p, facts, request.at) > ZERO
        case Unit.CREDIT:
            free = credits_after_hours(facts, request.at)[p.id]
            return free > 0 and lots_suffice(facts, request)


def credits_after_hours(facts: Facts, at: datetime) -> dict[str, int]:
    """F-09, C-07: what is left once all hours that run now are paid, each by its lots in turn."""
    free = dict(facts.remaining)
    for r in sorted(facts.running, key=lambda r: r.pass_):
        if r.counts is None or r.counts.credit_price_hour is None:
            continue
        due = price_of_time(min(at, r.closes_at) - r.from_, r.counts)
        for lot in (r.pass_, *r.lots):
            while due > 0 and free[lot] > 0:
                free[lot], due = free[lot] - 1, due - 1
    return free


def price_of_time(used: timedelta, terms: MinuteTerms) -> int:
    """C-06 and C-07: whole increments, at least the minimum, and nothing for no time (P-07)."""
    seconds = int(used / timedelta(seconds=1) + 0.5)
    if seconds <= 0:
        return 0
    minutes = terms.increment_minutes
    while minutes * 60 < seconds or minutes < terms.minimum_minutes:
        # The minimum need be no whole number of increments.
        if minutes * 60 >= seconds:
            minutes = terms.minimum_minutes
        else:
            minutes += terms.increment_minutes
    return int(Fraction(minutes * (terms.credit_price_hour or 0), 60) + Fraction(1, 2))


def is_recorded(p: Pass, facts: Facts, request: Request) -> bool:
    """C-02: the business day was spent already, and spending it again debits nothing."""
    today = business_day(request.location, request.at)[0]
    return p.per is Per.DAY and any(
        c.pass_ == p.id and c.customer == facts.customer.id and c.day == today
        for c in facts.coverages
    )


def lots_suffice(facts: Facts, request: Request) -> bool:
    """C-07: a price may be paid from several lots; an hourly one needs something in one of them."""
    hourly = is_hourly(request)
    price = credit_price(facts, request, hourly=hourly)
    free = credits_after_hours(facts, request.at)
    together = sum(free[lot.id] for lot in lots(facts, request))
    return price is not None and (together > 0 if hourly else together >= price)


def lots(facts: Facts, request: Request) -> list[Pass]:
    """The credit passes that could pay a part of a price here, in order."""
    able = [
        p
        for p in facts.passes
        if p.unit is Unit.CREDIT
        and credits_after_hours(facts, request.at)[p.id] > 0
        and fails_before_balance(p, facts, request) is None
    ]
    return sorted(able, key=lambda p: order_key(p, facts, request))


def is_covered_by(p: Pass, facts: Facts, request: Request) -> bool:
    return any(c.pass_ == p.id and covers(c, facts, request) for c in facts.coverages)


def covers(c: Coverage, facts: Facts, request: Request) -> bool:
    """C-01, C-05, C-07, C-11: whether a coverage covers a request."""
    if c.customer != facts.customer.id:
        return False
    if c.session is not None:
        its_own = facts.session is not None and facts.session.id == c.session
        if not its_own:
            return False
    elif request.at < c.from_ or (c.until is not None and request.at >= c.until):
        return False
    return still_allowed(c.pass_, c.offer, c.scope, facts, request)


def still_allowed(
    pass_id: str | None, offer_id: str | None, scope: Scope | None, facts: Facts, request: Request
) -> bool:
    """F-01 to F-08 of what a coverage or a segment is on."""
    if scope is not None:
        # "A resource costs its hourly credit price": a day is no hour of a room.
        by_door = request.channel is Channel.DOOR and is_hourly(request)
        if by_door and credit_price(facts, request, hourly=True) is not None:
            return False
        return f05_location(scope, facts, request) is None and f07_channel(scope, request) is None
    if offer_id is not None:
        offers = [o for o in facts.offers if o.id == offer_id]
        # "kind of customer and price are those of the sale": F-06 is not asked again.
        return any(
            f05_location(o, facts, request) is None
            and f07_channel(o, request) is None
            and f08_hours(o, request) is None
            for o in offers
        )
    passes = [p for p in facts.passes if p.id == pass_id]
    return any(fails_before_balance(p, facts, request) is None for p in passes)


def in_order(facts: Facts, request: Request) -> list[Pass]:
    return sorted(facts.passes, key=lambda p: order_key(p, facts, request))


def order_key(p: Pass, facts: Facts, request: Request) -> tuple[float | str, ...]:
    """O-02 and O-03 as one key."""
    order = [key for key in request.location.order if key is not OrderKey.ID]
    own_first = request.location.holder_first == "personal"
    personal = p.holder == facts.customer.id
    key: list[float | str] = []
    if OrderKey.UNIT not in order:
        key.append(0 if p.unit is Unit.UNLIMITED else 1)
    key.append(0 if personal == own_first else 1)
    credit_last = 1 if p.unit is Unit.CREDIT else 0
    if OrderKey.UNIT not in order and OrderKey.PRIORITY not in order:
        key.append(credit_last)
    for name in order:
        key.append(value_of(name, p, facts))
        if name is OrderKey.PRIORITY and OrderKey.UNIT not in order:
            key.append(credit_last)
    return (*key, p.id)


def value_of(name: OrderKey, p: Pass, facts: Facts) -> float | str:
    match name:
        case OrderKey.PRIORITY:
            return [Priority.HIGH, Priority.NORMAL, Priority.LOW].index(p.priority)
        case OrderKey.EXPIRES_AT:
            return NEVER if p.expires_at is None else p.expires_at.timestamp()
        case OrderKey.SOURCE:
            return len(Source) if p.source is None else list(Source).index(p.source)
        case OrderKey.REMAINING:
            return NEVER if p.unit is Unit.UNLIMITED else facts.remaining[p.id]
        case OrderKey.UNIT:
            return [Unit.CREDIT, Unit.MINUTE, Unit.USE, Unit.UNLIMITED].index(p.unit)
        case OrderKey.ID:
            return p.id
