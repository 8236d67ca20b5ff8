"""A second `decide()`: F-10 to F-14 and §8, over the oracle's own chain and payers."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta

from edgegate.passes.facts import Facts, Request
from edgegate.passes.model import (
    AntiPassback,
    Channel,
    Credential,
    CredentialStatus,
    CustomerStatus,
    DoorPolicy,
    HolidayRule,
    Kind,
    LeaseRule,
    OnNoPass,
    Pass,
    ReservationState,
    Unit,
)
from edgegate.passes.reasons import Reason
from oracle.chain import Failure, fails, in_order, kind_of
from oracle.clock import DAY, business_day, instant, is_open, local_date, windows_of
from oracle.payers import Verdict, is_free, lead, paid_already, payer_of, sell, spend

SEEN_LATELY = timedelta(days=30)


def credential_verdict(credential: Credential, at: datetime) -> Reason | None:
    """F-12: why a known credential is refused, if it is."""
    if credential.status is CredentialStatus.BLOCKED:
        return Reason.CREDENTIAL_BLOCKED
    early = credential.valid_from is not None and at < credential.valid_from
    late = credential.valid_until is not None and at >= credential.valid_until
    return Reason.CREDENTIAL_NOT_VALID if early or late else None


def refused(reason: Reason, retry_at: datetime | None = None) -> Verdict:
    return Verdict(False, reason, retry_at=retry_at)


def decide(facts: Facts, request: Request) -> Verdict:
    """F-13: the first that refuses gives the reason, and nothing is spent before all agree."""
    first = next(answers_before_the_door(facts, request), None)
    if first is not None:
        return first
    verdict = by_policy_and_chain(facts, request)
    by_itself = verdict.opens
    if not by_itself:
        verdict = in_spite_of(verdict, facts, request)
    capacity = request.location.capacity
    full = capacity is not None and facts.inside >= capacity
    if verdict.opens and verdict.reason in OPEN_A_SESSION and facts.session is None and full:
        return refused(Reason.LOCATION_FULL)
    if by_itself and is_passback(facts, request):
        return replace(verdict, reason=Reason.FLAGGED, because=Reason.ANTI_PASSBACK)
    return verdict


def answers_before_the_door(facts: Facts, request: Request) -> Iterator[Verdict]:
    """F-13 as far as the door's own policy, in its order."""
    customer, door, location = facts.customer, request.door, request.location
    if customer.status is CustomerStatus.DISABLED:
        yield refused(Reason.CUSTOMER_DISABLED)
    if customer.status is CustomerStatus.PAUSED and not location.paused_may_enter:
        yield refused(Reason.CUSTOMER_PAUSED)
    if customer.staff:
        yield Verdict(True, Reason.STAFF)
    if facts.lockdown:
        # D-07 says "everyone", and F-13 names no channel.
        yield refused(Reason.LOCKDOWN)
    if door is not None and door.policy is DoorPolicy.STAFF:
        yield refused(Reason.STAFF_ONLY)
    lease = lease_verdict(facts, request)
    if lease is not None:
        yield refused(lease)
    hard = door is not None and door.anti_passback is AntiPassback.HARD
    if hard and is_passback(facts, request):
        yield refused(Reason.ANTI_PASSBACK, business_day(location, request.at)[2])


OPEN_A_SESSION = (
    *(Reason.PASS, Reason.COVERED, Reason.CREDIT, Reason.UNLIMITED, Reason.PAYG),
    *(Reason.RESERVATION, Reason.FLAGGED),
)
"""S-01."""


def lease_verdict(facts: Facts, request: Request) -> Reason | None:
    """D-08, D-09: the door's lease rule, where the cache is old or the clock is not trusted."""
    door = request.door
    if door is None or not lease_is_over(facts, request):
        return None
    # Where both are so the clock is named: by it nobody can say how old the cache is.
    reason = Reason.LEASE_EXPIRED if facts.clock_trusted else Reason.CLOCK_UNTRUSTED
    seen = facts.seen_at is not None and request.at - facts.seen_at <= SEEN_LATELY
    allowed = {
        LeaseRule.DENY_NEW: seen,
        LeaseRule.ALLOW_KNOWN: True,
        LeaseRule.ALLOW_ALL: True,
        LeaseRule.DENY_ALL: False,
    }
    return None if allowed[door.lease_rule] else reason


ALLOWING = (LeaseRule.ALLOW_KNOWN, LeaseRule.ALLOW_ALL)


def lease_is_over(facts: Facts, request: Request) -> bool:
    assert request.door is not None
    old = facts.cache_age > timedelta(hours=request.door.lease_hours)
    return old or not facts.clock_trusted


def is_passback(facts: Facts, request: Request) -> bool:
    """D-04: a tap at a door while a session that already has a door entry is open."""
    door = request.door
    if door is None or door.anti_passback is AntiPassback.OFF:
        return False
    return facts.session is not None and facts.session.door_entry


def in_spite_of(verdict: Verdict, facts: Facts, request: Request) -> Verdict:
    """D-02, D-03: a door that stands open, or opens for whom the policy and the chain refuse."""
    door, location = request.door, request.location
    if door is None:
        return verdict
    begun = facts.day_begun or not door.schedule_after_first_entry
    if door.schedule and begun and is_open(door.schedule, HolidayRule.OPEN, location, request.at):
        return Verdict(True, Reason.SCHEDULE)
    # "allow_known" and "allow_all" are read as written: whom the old cache refuses, they let in.
    if lease_is_over(facts, request) and door.lease_rule in ALLOWING:
        return Verdict(True, Reason.LEASE)
    if door.on_no_pass is OnNoPass.OPEN_AND_FLAG:
        return Verdict(True, Reason.FLAGGED, because=verdict.reason)
    return verdict


def by_policy_and_chain(facts: Facts, request: Request) -> Verdict:
    """D-01."""
    match request.door.policy if request.door is not None else DoorPolicy.PASS:
        case DoorPolicy.FREE:
            return Verdict(True, Reason.FREE)
        case DoorPolicy.MEMBERSHIP:
            if kind_of(facts, request.at) is Kind.MEMBERS:
                return Verdict(True, Reason.MEMBERSHIP)
            return refused(Reason.OTHER_AUDIENCE)
        case DoorPolicy.CHECK_IN_FIRST:
            return checked_in_first(facts, request)
        case DoorPolicy.BOOKING:
            return by_booking(facts, request)
        case _:
            return by_chain(facts, request, may_sell=True)


def by_chain(facts: Facts, request: Request, *, may_sell: bool) -> Verdict:
    paid = paid_already(facts, request)
    if paid is not None:
        return paid
    if not is_free(facts, request):
        # C-13: no walk-up of a resource that somebody has, whatever its door asks for.
        return refused(Reason.NOT_BOOKED, next_reservation(facts, request))
    payer = payer_of(facts, request)
    if payer is not None:
        return spend(payer, facts, request)
    sale = sell(facts, request) if may_sell else None
    return sale if sale is not None else refusal_of_chain(facts, request)


def refusal_of_chain(facts: Facts, request: Request) -> Verdict:
    """F-10: what stopped the pass that got furthest; ties go to the first in order."""
    best: tuple[Failure, Pass] | None = None
    for p in in_order(facts, request):
        failure = fails(p, facts, request)
        if failure is not None and (best is None or failure[0] > best[0][0]):
            best = failure, p
    if best is None:
        return refused(Reason.NO_PASS)
    (_, reason), p = best
    return Verdict(False, reason, stopped=p.id, retry_at=retry_at(p, facts, request))


def checked_in_first(facts: Facts, request: Request) -> Verdict:
    paid = paid_already(facts, request)
    if paid is not None:
        return paid
    # C-12: on its date a dated pass opens like a reservation; the first entry spends it.
    for p in in_order(facts, request):
        dated = p.on_date is not None and is_free(facts, request)
        if dated and fails(p, facts, request) is None:
            return spend(p, facts, request)
    kiosk = Request(at=request.at, location=request.location, channel=Channel.KIOSK)
    at_kiosk = decide(facts, kiosk)
    if at_kiosk.opens:
        return refused(Reason.CHECK_IN_FIRST)
    if not is_free(facts, request):
        return refused(Reason.NOT_BOOKED, next_reservation(facts, request))
    # Where the chain would let them in, it is no answer; then it is what the kiosk says.
    chain_grants = payer_of(facts, request) is not None
    return at_kiosk if chain_grants else refusal_of_chain(facts, request)


def by_booking(facts: Facts, request: Request) -> Verdict:
    """Any other refusal is `not_booked`, and nothing is sold."""
    verdict = by_chain(facts, request, may_sell=False)
    if verdict.opens:
        return verdict
    return refused(Reason.NOT_BOOKED, next_reservation(facts, request))


def next_reservation(facts: Facts, request: Request) -> datetime | None:
    """F-14: the customer's next reservation there, less the lead."""
    assert request.door is not None
    begins = [
        r.from_ - lead(request)
        for r in facts.reservations
        if r.customer == facts.customer.id
        and r.resource == request.door.resource
        and r.state is not ReservationState.CANCELLED
    ]
    return min((at for at in begins if at > request.at), default=None)


def retry_at(p: Pass, facts: Facts, request: Request) -> datetime | None:
    """The first later instant at which a pass would survive, if only time passed."""
    for at in candidates(p, facts, request):
        later = request.moved(at)
        if fails(p, facts, later) is None:
            return at
    return None


DAYS = range(-1, 24)
"""So many days are looked at after each turn: a week of hours, and holidays in the way."""


def candidates(p: Pass, facts: Facts, request: Request) -> list[datetime]:
    """Every instant at which the answer about a pass could change, soonest first."""
    location = request.location
    # What credits lack may be in another lot that begins or opens later (C-07).
    joint = [lot for lot in facts.passes if p.unit is lot.unit is Unit.CREDIT]
    known = (*facts.contracts, *facts.others_contracts)
    turns = [t for c in known for t in (c.starts_at, c.ends_at)]
    turns += [one.valid_from for one in (p, *joint)]
    turns += [
        instant(location.timezone, one.on_date, location.day_cutoff, is_end=False)
        for one in (p, *joint)
        if one.on_date is not None
    ]
    days_bought = {c.day for c in facts.coverages if c.pass_ == p.id}
    turns += [
        instant(location.timezone, day, location.day_cutoff, is_end=False) for day in days_bought
    ]
    marks = {t for t in turns if t is not None and t > request.at}
    days = {local_date(location.timezone, t) + n * DAY for t in (request.at, *marks) for n in DAYS}
    starts = {
        w[0]
        for day in days
        for one in (p, *joint)
        for w in windows_of(day, one.hours, one.holidays, location)
    }
    return sorted(at for at in marks | starts if at > request.at)
