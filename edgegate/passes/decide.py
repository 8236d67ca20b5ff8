"""The second decision: may this door open, asked in the order of F-13 (§8)."""

from datetime import datetime, timedelta

from msgspec.structs import replace

from edgegate.passes.facts import Facts, Request
from edgegate.passes.model import (
    AntiPassback,
    Channel,
    Credential,
    CredentialStatus,
    CustomerStatus,
    Door,
    DoorPolicy,
    Kind,
    LeaseRule,
    Location,
    OnNoPass,
)
from edgegate.passes.payment import (
    Decision,
    admit,
    by_passes,
    by_payment,
    furthest,
    next_booking,
    paid_already,
    refuse,
)
from edgegate.passes.reasons import Reason
from edgegate.passes.windows import hours_contain

SEEN_LATELY = timedelta(days=30)
"""How long somebody counts as known to a door whose lease has run out (D-08)."""


def credential_fault(credential: Credential, at: datetime) -> Reason | None:
    """Why a known credential opens nothing now (F-12), or None."""
    if credential.status is not CredentialStatus.ACTIVE:
        return Reason.CREDENTIAL_BLOCKED
    early = credential.valid_from is not None and at < credential.valid_from
    late = credential.valid_until is not None and credential.valid_until <= at
    return Reason.CREDENTIAL_NOT_VALID if early or late else None


def customer_fault(facts: Facts, location: Location) -> Reason | None:
    """Why this customer may not come in whatever their passes say (F-11), or None."""
    match facts.customer.status:
        case CustomerStatus.ACTIVE:
            return None
        case CustomerStatus.DISABLED:
            return Reason.CUSTOMER_DISABLED
        case CustomerStatus.PAUSED:
            return None if location.paused_may_enter else Reason.CUSTOMER_PAUSED


def decide(facts: Facts, request: Request) -> Decision:
    """Answer a request of a known customer whose credential is good, in the order of F-13."""
    fault = customer_fault(facts, request.location)
    if fault is not None:
        return refuse(fault)
    if facts.customer.staff:
        return admit(Reason.STAFF)
    if facts.lockdown:
        return refuse(Reason.LOCKDOWN)
    if request.door is None or request.channel is not Channel.DOOR:
        return _if_room(by_passes(facts, request), facts, request)
    return _at_door(request.door, facts, request)


def _at_door(door: Door, facts: Facts, request: Request) -> Decision:
    if door.policy is DoorPolicy.STAFF:
        return refuse(Reason.STAFF_ONLY)
    lease = lease_fault(door, facts.cache_age, clock_trusted=facts.clock_trusted)
    if lease is not None and not _lease_admits(door, facts, request):
        return refuse(lease)
    passback = _is_passback(door, facts)
    if passback and door.anti_passback is AntiPassback.HARD:
        return refuse(Reason.ANTI_PASSBACK, request.day.ends)
    answer = _by_policy(door, facts, request)
    if not answer.opens:
        return _if_room(_in_spite(door, answer, facts, request, lease), facts, request)
    if passback:
        answer = replace(answer, reason=Reason.FLAGGED, because=Reason.ANTI_PASSBACK)
    return _if_room(answer, facts, request)


def lease_fault(door: Door, cache_age: timedelta, *, clock_trusted: bool) -> Reason | None:
    """Why nobody can say how passes stand: cache or clock is not to be believed (D-08, D-09)."""
    if not clock_trusted:
        return Reason.CLOCK_UNTRUSTED
    expired = cache_age > timedelta(hours=door.lease_hours)
    return Reason.LEASE_EXPIRED if expired else None


def _lease_admits(door: Door, facts: Facts, request: Request) -> bool:
    """Whether somebody may ask at all while the lease has run out (D-08)."""
    match door.lease_rule:
        case LeaseRule.DENY_ALL:
            return False
        case LeaseRule.DENY_NEW:
            return facts.seen_at is not None and request.at - facts.seen_at <= SEEN_LATELY
        case LeaseRule.ALLOW_KNOWN | LeaseRule.ALLOW_ALL:
            return True


def _is_passback(door: Door, facts: Facts) -> bool:
    """D-04: a tap at a door while a session that already has a door entry is open."""
    if door.anti_passback is AntiPassback.OFF:
        return False
    return facts.session is not None and facts.session.door_entry


def _by_policy(door: Door, facts: Facts, request: Request) -> Decision:
    """The answer of the door's own policy (D-01)."""
    match door.policy:
        case DoorPolicy.FREE:
            return admit(Reason.FREE)
        case DoorPolicy.MEMBERSHIP:
            member = facts.kind(request.at) is Kind.MEMBERS
            return admit(Reason.MEMBERSHIP) if member else refuse(Reason.OTHER_AUDIENCE)
        case DoorPolicy.STAFF:
            return refuse(Reason.STAFF_ONLY)
        case DoorPolicy.PASS:
            return by_passes(facts, request)
        case DoorPolicy.CHECK_IN_FIRST:
            return _checked_in(facts, request)
        case DoorPolicy.BOOKING:
            return _booked(facts, request)


def _checked_in(facts: Facts, request: Request) -> Decision:
    """A door that spends nothing: a coverage, an open session or a reservation opens it.

    On its date a dated pass opens it like a reservation, and the first entry spends it (C-12).
    """
    dated = [p for p in facts.passes if p.on_date is not None]
    answer = paid_already(facts, request) or by_payment(facts, request, dated)
    if answer is not None:
        return answer
    kiosk = Request(at=request.at, location=request.location, channel=Channel.KIOSK)
    at_kiosk = _if_room(by_passes(facts, kiosk), facts, kiosk)
    if at_kiosk.opens:
        return refuse(Reason.CHECK_IN_FIRST)
    # Where a pass would pay here, it is not the chain that refuses.
    return furthest(facts, request) if by_payment(facts, request) is None else at_kiosk


def _booked(facts: Facts, request: Request) -> Decision:
    """A resource's door: for its reservation, or for a walk-up while it is free (C-13)."""
    answer = paid_already(facts, request) or by_payment(facts, request)
    return answer or refuse(Reason.NOT_BOOKED, next_booking(facts, request))


def _in_spite(
    door: Door, refusal: Decision, facts: Facts, request: Request, lease: Reason | None
) -> Decision:
    """What opens a door that its policy and the chain have refused: D-03, D-08, D-02."""
    begun = facts.day_begun or not door.schedule_after_first_entry
    if begun and hours_contain(door.schedule, request.location, request.at):
        return admit(Reason.SCHEDULE)
    if lease is not None and door.lease_rule in (LeaseRule.ALLOW_KNOWN, LeaseRule.ALLOW_ALL):
        return admit(Reason.LEASE)
    if door.on_no_pass is OnNoPass.OPEN_AND_FLAG:
        return Decision(opens=True, reason=Reason.FLAGGED, because=refusal.reason)
    return refusal


def _if_room(answer: Decision, facts: Facts, request: Request) -> Decision:
    """D-05: a new session above the location's capacity is refused."""
    capacity = request.location.capacity
    new = answer.opens_session and facts.session is None
    if new and capacity is not None and facts.inside >= capacity:
        return refuse(Reason.LOCATION_FULL)
    return answer
