"""The decision: may this request pass, which pass pays, and if not, why and when it would work."""

from datetime import datetime

from msgspec import Struct

from edgegate.passes import chain, coverage
from edgegate.passes.coverage import Spending, costs_nothing, spending
from edgegate.passes.facts import Facts, Request
from edgegate.passes.model import (
    Credential,
    CredentialStatus,
    CustomerStatus,
    Door,
    DoorPolicy,
    Kind,
    Location,
    MinuteTerms,
    Pass,
    Segment,
    Unit,
)
from edgegate.passes.order import in_order, sort_key
from edgegate.passes.reasons import Reason


class Payment(Struct, frozen=True, kw_only=True):
    """What a visit goes on with: a pass, what it costs now, and until when its coverage lasts."""

    spending: Spending
    segment: Segment
    """The stretch that begins with it; its `until` is that of a coverage spent now or earlier."""


class Decision(Struct, frozen=True, kw_only=True):
    """What came of a request.

    `payment` is set where the visit begins or goes over to another pass; a request that the open
    session's own pass allows changes nothing and has none. `stopped_pass` is the pass that a
    refusal speaks of (F-10), `retry_at` when that would work (F-14).
    """

    opens: bool
    reason: Reason
    pass_: str | None = None
    payment: Payment | None = None
    stopped_pass: str | None = None
    retry_at: datetime | None = None


def refuse(reason: Reason) -> Decision:
    """A refusal that speaks of no pass."""
    return Decision(opens=False, reason=reason)


def admit(reason: Reason) -> Decision:
    """A grant that spends nothing and opens no session."""
    return Decision(opens=True, reason=reason)


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
    if facts.lockdown and request.door is not None:
        return refuse(Reason.LOCKDOWN)
    if request.door is not None and request.door.policy is not DoorPolicy.PASS:
        return _by_policy(request.door, request, facts)
    return by_passes(facts, request)


def _by_policy(door: Door, request: Request, facts: Facts) -> Decision:
    """The answer of a door that asks for no pass (D-01)."""
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


def by_passes(facts: Facts, request: Request) -> Decision:
    """The chain's answer: what is already paid for, then the pass that pays, then the refusal."""
    return (
        _by_open_session(facts, request)
        or _by_coverage(facts, request)
        or _by_payment(facts, request)
        or _furthest(facts, request)
    )


def hand_over(facts: Facts, request: Request) -> Decision | None:
    """What the visit goes on with when its segment's pass has come to its end (S-04).

    No use is spent of a pass that already covered this session; None: nothing takes over.
    """
    session = facts.session
    spent = session.paid_by if session is not None else ()
    fresh = [p for p in facts.passes if p.id not in spent or _free(p, request, facts)]
    return _by_coverage(facts, request) or _by_payment(facts, request, fresh)


def _free(p: Pass, request: Request, facts: Facts) -> bool:
    return p.unit is not Unit.USE or costs_nothing(p, request, facts)


def still_covers(p: Pass, facts: Facts, request: Request) -> bool:
    """Whether a segment's pass goes on at this instant: it survives, and what it rides on lasts."""
    if not chain.holds(p, request, facts):
        return False
    if p.unit is Unit.USE:
        return any(c.pass_ == p.id for c in coverage.covering(facts, request))
    return chain.balance(p, request, facts) is None


def _by_open_session(facts: Facts, request: Request) -> Decision | None:
    """O-01: the open session's own pass, where it allows this request (C-08)."""
    if facts.session is None or facts.session.segment is None:
        return None
    p = facts.pass_of(facts.session.segment.pass_)
    if p is None or not still_covers(p, facts, request):
        return None
    return Decision(opens=True, reason=Reason.COVERED, pass_=p.id)


def _by_coverage(facts: Facts, request: Request) -> Decision | None:
    """O-01: a coverage that runs, whose pass still allows this request (C-01, C-11)."""
    paid = [
        (p, c)
        for c in coverage.covering(facts, request)
        if (p := facts.pass_of(c.pass_)) is not None and chain.holds(p, request, facts)
    ]
    if not paid:
        return None
    p, c = min(paid, key=lambda pair: sort_key(pair[0], facts, request.location))
    payment = _payment(p, request, coverage.NOTHING, c.until)
    return Decision(opens=True, reason=Reason.COVERED, pass_=p.id, payment=payment)


def _by_payment(
    facts: Facts, request: Request, among: list[Pass] | None = None
) -> Decision | None:
    """O-02: of the passes that survive the whole chain, the first in order pays."""
    candidates = facts.passes if among is None else among
    surviving = [p for p in candidates if chain.stopped(p, request, facts) is None]
    if not surviving:
        return None
    p = min(surviving, key=lambda p: sort_key(p, facts, request.location))
    cost = spending(p, request, facts)
    reason = Reason.UNLIMITED if p.unit is Unit.UNLIMITED else Reason.PASS
    payment = _payment(p, request, cost, cost.until)
    return Decision(opens=True, reason=reason, pass_=p.id, payment=payment)


def _payment(p: Pass, request: Request, cost: Spending, until: datetime | None) -> Payment:
    counts = None
    if p.unit is Unit.MINUTE:
        counts = MinuteTerms(
            increment_minutes=p.increment_minutes, minimum_minutes=p.minimum_minutes
        )
    segment = Segment(from_=request.at, pass_=p.id, until=until, counts=counts)
    return Payment(spending=cost, segment=segment)


def _furthest(facts: Facts, request: Request) -> Decision:
    """F-10: refused for the reason of the pass that got furthest along the chain."""
    best: tuple[int, Pass, Reason] | None = None
    for p in in_order(facts.passes, facts, request.location):
        stop = chain.stopped(p, request, facts)
        if stop is not None and (best is None or stop.place > best[0]):
            best = (stop.place, p, stop.reason)
    if best is None:
        return refuse(Reason.NO_PASS)
    _, p, reason = best
    later = chain.retry_at(p, request, facts)
    return Decision(opens=False, reason=reason, stopped_pass=p.id, retry_at=later)
