"""The filter chain F-01 to F-09: how far a pass gets for a request, and what stopped it."""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

from msgspec import Struct

from edgegate.passes import coverage
from edgegate.passes.facts import Facts, Request
from edgegate.passes.localtime import business_day_named
from edgegate.passes.model import (
    Audience,
    Channel,
    Door,
    Kind,
    Offer,
    Pass,
    PassState,
    Per,
    Terms,
    Unit,
)
from edgegate.passes.order import NEVER
from edgegate.passes.prices import check_in_credits
from edgegate.passes.reasons import Reason
from edgegate.passes.state import Scope
from edgegate.passes.windows import is_open, next_window_start

LOOKS_MAX = 64
"""At so many instants it is tried whether a pass would survive, before none is named (F-14)."""

Check = Callable[[Pass, Request, Facts], Reason | None]

# Named once: in Python 3.11 to look a member up on its enum takes longer than a whole check.
_ACTIVE = PassState.ACTIVE
_USE, _MINUTE, _CREDIT = Unit.USE, Unit.MINUTE, Unit.CREDIT
_EVERYBODY = Audience.ALL
_BY_DOOR, _BY_KIOSK = Channel.DOOR, Channel.KIOSK


def state(p: Pass, _request: Request, _facts: Facts) -> Reason | None:
    """F-01: approved, and no payment hold."""
    if p.state is not _ACTIVE:
        return Reason.NOT_APPROVED
    return Reason.PAYMENT_HOLD if p.payment_hold else None


def started(p: Pass, request: Request, facts: Facts) -> Reason | None:
    """F-02: its time has come, and its contract, if any, has begun."""
    if p.valid_from is not None and request.at < p.valid_from:
        return Reason.NOT_STARTED
    if p.contract is None:
        return None
    contract = facts.contract_of(p)
    if contract and contract.starts_at is not None and request.at < contract.starts_at:
        return Reason.NOT_STARTED
    return None


def not_ended(p: Pass, request: Request, facts: Facts) -> Reason | None:
    """F-03: neither expired nor its contract over; the reason is what ended first.

    A pass whose contract is not known is over: what cannot be shown gives no right.
    """
    expires_at = p.expires_at or NEVER
    if p.contract is None:
        return Reason.EXPIRED if expires_at <= request.at else None
    contract = facts.contract_of(p)
    if contract is None:
        return Reason.EXPIRED if expires_at <= request.at else Reason.CONTRACT_ENDED
    ends_at = contract.ends_at or NEVER
    if request.at < min(expires_at, ends_at):
        return None
    return Reason.CONTRACT_ENDED if ends_at < expires_at else Reason.EXPIRED


def date(p: Pass, request: Request, _facts: Facts) -> Reason | None:
    """F-04: a dated pass works on that business day of the request's location only."""
    if p.on_date is None or request.day.name == p.on_date:
        return None
    return Reason.OTHER_DATE


def location(p: Pass, request: Request, facts: Facts) -> Reason | None:
    """F-05: within its locations; a credit pass also needs a price there."""
    if p.unit is _CREDIT and credit_price(p, request, facts) is None:
        return Reason.OTHER_LOCATION
    return None if within(p, request, facts) else Reason.OTHER_LOCATION


def within(terms: Terms | Scope, request: Request, facts: Facts) -> bool:
    """Whether exactly the locations listed, or else home and all that lies in it, are meant."""
    if terms.locations:
        return request.location.id in terms.locations
    return terms.home is None or terms.home in facts.ancestry


def credit_price(p: Pass, request: Request, facts: Facts) -> int | None:
    """What credits cost here: by the hour for a resource's door, else for a check-in (C-07)."""
    if by_the_hour(p, request):
        return facts.resource.credit_price_hour if facts.resource is not None else None
    return check_in_credits(request.location, facts, request.at)


def by_the_hour(p: Pass, request: Request) -> bool:
    """Whether a credit pass would pay for the use of a resource, and not for a check-in."""
    return request.door is not None and request.door.resource in p.resources


def audience(p: Pass, request: Request, facts: Facts) -> Reason | None:
    """F-06: for all, for members, for contacts, or for members on one of its plans."""
    if p.audience is _EVERYBODY or serves(p, facts, request.at):
        return None
    return Reason.OTHER_AUDIENCE


def serves(p: Terms, facts: Facts, at: datetime) -> bool:
    """Whether the customer belongs to the pass's audience at the instant."""
    match p.audience:
        case Audience.ALL:
            return True
        case Audience.MEMBERS:
            return facts.kind(at) is Kind.MEMBERS
        case Audience.CONTACTS:
            return facts.kind(at) is Kind.CONTACTS
        case Audience.PLANS:
            return any(c.plan in p.plans for c in facts.active_contracts(at))


def channel(p: Pass, request: Request, _facts: Facts) -> Reason | None:
    """F-07: this door, or Wi-Fi, is part of the pass; the kiosk always is."""
    if includes(p, request):
        return None
    by_wifi = request.channel is Channel.WIFI
    return Reason.WIFI_NOT_INCLUDED if by_wifi else Reason.DOOR_NOT_INCLUDED


def includes(terms: Terms | Scope, request: Request) -> bool:
    """Whether the way of a request is part of the terms (F-07)."""
    if request.channel is _BY_DOOR:
        return request.door is not None and admits(terms, request.door)
    return request.channel is _BY_KIOSK or terms.wifi


def admits(terms: Terms | Scope, door: Door) -> bool:
    """Whether terms include a door: by its resource, else by a group they share."""
    if door.resource is not None:
        return door.resource in terms.resources
    if terms.door_groups:
        return any(group in terms.door_groups for group in door.groups)
    return not terms.resources


def hours(p: Pass, request: Request, _facts: Facts) -> Reason | None:
    """F-08: one of its windows is open at the request's location."""
    return None if is_open(p, request.location, request.at) else Reason.OUTSIDE_HOURS


def balance(p: Pass, request: Request, facts: Facts) -> Reason | None:
    """F-09: something is left after the minutes that run now, or the request is covered (§4)."""
    enough = True
    if p.unit is _USE:
        enough = facts.remaining[p.id] > 0 or coverage.costs_nothing(p, request, facts)
    elif p.unit is _MINUTE:
        minutes = timedelta(minutes=facts.remaining[p.id])
        enough = minutes > facts.running_time(p, request.at)
    elif p.unit is _CREDIT:
        left = coverage.credits_left(facts, request.at)[p.id]
        enough = left > 0 and _credits_suffice(p, request, facts)
    return None if enough else Reason.USED_UP


def _credits_suffice(p: Pass, request: Request, facts: Facts) -> bool:
    """Whether the lots that could pay together have the price (C-07); by the hour any rest will."""
    price = 1 if by_the_hour(p, request) else credit_price(p, request, facts) or 0
    lots = lots_for(request, facts)
    left = coverage.credits_left(facts, request.at)
    return sum(left[lot.id] for lot in lots) >= price


def lots_for(request: Request, facts: Facts) -> list[Pass]:
    """The credit passes that may pay a part of this request's price, in no order."""
    asked = (request.at, request.channel, request.door.id if request.door is not None else None)
    if asked not in facts.lots_by_request:
        left = coverage.credits_left(facts, request.at)
        facts.lots_by_request[asked] = [
            p
            for p in facts.passes
            if p.unit is _CREDIT and left[p.id] > 0 and holds(p, request, facts)
        ]
    return facts.lots_by_request[asked]


def offered(offer: Offer, request: Request, facts: Facts) -> bool:
    """Whether an offer is for this request: F-05 to F-08, as for a pass (O-04)."""
    return serves(offer, facts, request.at) and goes_on(offer, request, facts)


def goes_on(offer: Offer, request: Request, facts: Facts) -> bool:
    """Whether what was sold still counts: the kind of customer is that of the sale (O-04)."""
    return (
        within(offer, request, facts)
        and includes(offer, request)
        and is_open(offer, request.location, request.at)
    )


TERMS: tuple[tuple[str, Check], ...] = (
    ("F-01", state),
    ("F-02", started),
    ("F-03", not_ended),
    ("F-04", date),
    ("F-05", location),
    ("F-06", audience),
    ("F-07", channel),
    ("F-08", hours),
)
"""What a pass must pass whether or not it has to pay (C-01, C-11)."""

CHAIN = (*TERMS, ("F-09", balance))
"""What a pass must pass in order to pay."""

_CHECKS = tuple(check for _, check in CHAIN)


class Stop(Struct, frozen=True):
    """Where a pass fell out of the chain: the rule's place in it, its id and its reason."""

    place: int
    rule: str
    reason: Reason


def stopped(p: Pass, request: Request, facts: Facts) -> Stop | None:
    """The first rule of the chain that a pass fails, or None if it survives."""
    for check in _CHECKS:
        reason = check(p, request, facts)
        if reason is not None:
            place = _CHECKS.index(check)
            return Stop(place, CHAIN[place][0], reason)
    return None


def holds(p: Pass, request: Request, facts: Facts) -> bool:
    """Whether a pass survives F-01 to F-08, so that what is already paid for still counts."""
    return all(check(p, request, facts) is None for _, check in TERMS)


def retry_at(p: Pass, request: Request, facts: Facts) -> datetime | None:
    """The first later instant at which a pass would survive if only time passed (F-14).

    Each rule holds over spans of time, so the instant sought is the beginning of one of them. What
    credits lack may be in another lot that begins or opens later (C-07). No more than the
    `LOOKS_MAX` soonest beginnings are tried.
    """
    waiting = [p]
    if p.unit is _CREDIT:
        waiting += [q for q in facts.passes if q.unit is _CREDIT and facts.remaining[q.id] > 0]
    beginnings = {at for q in waiting for at in _beginnings(q, request, facts) if at > request.at}
    for at in sorted(beginnings)[:LOOKS_MAX]:
        if stopped(p, request.moved(at), facts) is None:
            return at
    return None


def _beginnings(p: Pass, request: Request, facts: Facts) -> Iterator[datetime]:
    for at in (request.at, *_starts(p, request, facts)):
        yield at
        opens = next_window_start(p, request.location, at)
        if opens is not None:
            yield opens


def _starts(p: Pass, request: Request, facts: Facts) -> Iterator[datetime]:
    """Every later instant at which a rule other than the hours begins to hold."""
    place = request.location
    instants = [p.valid_from]
    for contract in (*facts.contracts, *facts.others_contracts):
        instants += [contract.starts_at, contract.ends_at]
    if p.on_date is not None:
        instants.append(business_day_named(place.timezone, place.day_cutoff, p.on_date).starts)
    if p.per is Per.DAY:
        # A day that is recorded at a location ahead of this one costs nothing here when it begins.
        for day in {c.day for c in facts.coverages_on(p.id)}:
            instants.append(business_day_named(place.timezone, place.day_cutoff, day).starts)
    yield from (at for at in instants if at is not None and at > request.at)
