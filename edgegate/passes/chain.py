"""The filter chain F-01 to F-09: how far a pass gets for a request, and what stopped it."""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

from msgspec import Struct

from edgegate.passes import coverage
from edgegate.passes.facts import Facts, Request, day_of
from edgegate.passes.localtime import business_day_named
from edgegate.passes.model import Audience, Channel, Door, Kind, Pass, PassState, Unit
from edgegate.passes.reasons import Reason
from edgegate.passes.windows import is_open, next_window_start

Check = Callable[[Pass, Request, Facts], Reason | None]


def state(p: Pass, _request: Request, _facts: Facts) -> Reason | None:
    """F-01: approved, and no payment hold."""
    if p.state is not PassState.ACTIVE:
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
    expired = p.expires_at is not None and p.expires_at <= request.at
    if p.contract is None:
        return Reason.EXPIRED if expired else None
    contract = facts.contract_of(p)
    if contract is None:
        return Reason.EXPIRED if expired else Reason.CONTRACT_ENDED
    over = contract.ends_at is not None and contract.ends_at <= request.at
    if expired and over and contract.ends_at is not None and p.expires_at is not None:
        return Reason.CONTRACT_ENDED if contract.ends_at < p.expires_at else Reason.EXPIRED
    if expired:
        return Reason.EXPIRED
    return Reason.CONTRACT_ENDED if over else None


def date(p: Pass, request: Request, _facts: Facts) -> Reason | None:
    """F-04: a dated pass works on that business day of the request's location only."""
    if p.on_date is None or day_of(request.location, request.at).name == p.on_date:
        return None
    return Reason.OTHER_DATE


def location(p: Pass, request: Request, facts: Facts) -> Reason | None:
    """F-05: exactly the locations it lists; listing none, its home and all that lies in it.

    A credit pass needs a price, and no location has one yet.
    """
    if p.unit is Unit.CREDIT:
        return Reason.OTHER_LOCATION
    if p.locations:
        return None if request.location.id in p.locations else Reason.OTHER_LOCATION
    if p.home is None or p.home in facts.ancestry:
        return None
    return Reason.OTHER_LOCATION


def audience(p: Pass, request: Request, facts: Facts) -> Reason | None:
    """F-06: for all, for members, for contacts, or for members on one of its plans."""
    if p.audience is Audience.ALL or serves(p, facts, request.at):
        return None
    return Reason.OTHER_AUDIENCE


def serves(p: Pass, facts: Facts, at: datetime) -> bool:
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
    match request.channel:
        case Channel.KIOSK:
            return None
        case Channel.WIFI:
            return None if p.wifi else Reason.WIFI_NOT_INCLUDED
        case Channel.DOOR:
            included = request.door is not None and admits(p, request.door)
            return None if included else Reason.DOOR_NOT_INCLUDED


def admits(p: Pass, door: Door) -> bool:
    """Whether a pass includes a door: by its resource, else by a group they share."""
    if door.resource is not None:
        return door.resource in p.resources
    if p.door_groups:
        return any(group in p.door_groups for group in door.groups)
    return not p.resources


def hours(p: Pass, request: Request, _facts: Facts) -> Reason | None:
    """F-08: one of its windows is open at the request's location."""
    return None if is_open(p, request.location, request.at) else Reason.OUTSIDE_HOURS


def balance(p: Pass, request: Request, facts: Facts) -> Reason | None:
    """F-09: something is left after the minutes that run now, or the request is covered (§4)."""
    if p.unit is Unit.UNLIMITED:
        return None
    if p.unit is Unit.MINUTE:
        left = timedelta(minutes=facts.remaining[p.id]) - facts.running_time(p, request.at)
        return None if left > timedelta(0) else Reason.USED_UP
    if facts.remaining[p.id] > 0 or coverage.costs_nothing(p, request, facts):
        return None
    return Reason.USED_UP


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


class Stop(Struct, frozen=True):
    """Where a pass fell out of the chain: the rule's place in it, its id and its reason."""

    place: int
    rule: str
    reason: Reason


def stopped(p: Pass, request: Request, facts: Facts) -> Stop | None:
    """The first rule of the chain that a pass fails, or None if it survives."""
    for place, (rule, check) in enumerate(CHAIN):
        reason = check(p, request, facts)
        if reason is not None:
            return Stop(place, rule, reason)
    return None


def holds(p: Pass, request: Request, facts: Facts) -> bool:
    """Whether a pass survives F-01 to F-08, so that what is already paid for still counts."""
    return all(check(p, request, facts) is None for _, check in TERMS)


def retry_at(p: Pass, request: Request, facts: Facts) -> datetime | None:
    """The first later instant at which a pass would survive if only time passed (F-14).

    Each rule holds over spans of time, so the instant sought is the beginning of one of them.
    """
    for at in sorted(set(_beginnings(p, request, facts))):
        if at > request.at and stopped(p, request.moved(at), facts) is None:
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
    for contract in facts.contracts:
        instants += [contract.starts_at, contract.ends_at]
    if p.on_date is not None:
        instants.append(business_day_named(place.timezone, place.day_cutoff, p.on_date).starts)
    yield from (at for at in instants if at is not None and at > request.at)
