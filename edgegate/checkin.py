"""Entering and leaving: the one plain function from facts to record.

Everything here runs inside one job of the database thread: nothing is awaited between reading the
facts and recording the decision, so two readers can never spend the same use.
"""

from datetime import datetime

from msgspec import Struct
from msgspec.structs import replace

from edgegate.deadlines import close, schedule, segment_end, settle, spent
from edgegate.passes import visits
from edgegate.passes.decide import Decision, Payment, credential_fault, decide, refuse
from edgegate.passes.facts import Facts, Request
from edgegate.passes.happenings import Denied, Granted, Happening, Opened, SegmentBegan
from edgegate.passes.model import Channel, Credential, Customer, Location, Pass, Session
from edgegate.passes.reasons import ClosingReason, Reason
from edgegate.store.books import Books
from edgegate.store.cache import PASS


class Outcome(Struct, frozen=True, kw_only=True):
    """What came of a request, with what a sentence about it needs."""

    at: datetime
    decision: Decision
    door: str | None = None
    customer: Customer | None = None
    location: Location | None = None
    pass_: Pass | None = None
    remaining: int | None = None
    """Of the pass, after this entry."""
    ends_at: datetime | None = None
    """When time alone would end the visit as it stands, or the end of the coverage."""


def present(books: Books, door_id: str, lookup: str, at: datetime) -> Outcome:
    """Somebody showed a credential at an entry reader: identify, decide, record."""
    settle(books, at)
    door = books.door(door_id)
    location = books.location(door.location) if door is not None else None
    credential = books.credential(lookup)
    if credential is None:
        return _unidentified(books, at, door_id, location, Reason.UNKNOWN_CREDENTIAL, lookup)
    if door is None or location is None:
        # The cache knows nothing of this place, so no pass can be checked here.
        return _unidentified(books, at, door_id, location, Reason.LEASE_EXPIRED, lookup)
    request = Request(at=at, location=location, channel=Channel.DOOR, door=door)
    return enter_with(books, request, credential)


def enter_with(books: Books, request: Request, credential: Credential) -> Outcome:
    """Decide and record for whoever a known credential names (F-12)."""
    customer = books.customer(credential.customer)
    fault = credential_fault(credential, request.at)
    if fault is None and customer is None:
        fault = Reason.UNKNOWN_CREDENTIAL
    if fault is not None or customer is None:
        return _refused(books, request, refuse(fault or Reason.NO_PASS), credential, customer)
    return enter(books, request, customer, credential)


def enter(
    books: Books, request: Request, customer: Customer, credential: Credential | None = None
) -> Outcome:
    """Decide for a known customer and record what came of it."""
    facts = books.facts(customer, request.location, request.at)
    decision = decide(facts, request)
    if not decision.opens:
        return _refused(books, request, decision, credential, customer)
    if decision.payment is None:
        session = facts.session if decision.reason is Reason.COVERED else None
        books.record([_granted(request, decision, customer, credential, session)], request.at)
        return _outcome(request, decision, facts, session)
    return _go_in(books, facts, request, decision, decision.payment, credential)


def leave(
    books: Books,
    customer_id: str,
    location_id: str,
    at: datetime,
    reason: ClosingReason = ClosingReason.EXIT,
) -> Session | None:
    """Close a customer's session at a location, if there is one; what it was is returned."""
    settle(books, at)
    session = books.session_of(customer_id, location_id)
    if session is not None:
        close(books, session, at, reason)
        settle(books, at)
    return session


def _go_in(
    books: Books,
    facts: Facts,
    request: Request,
    decision: Decision,
    payment: Payment,
    credential: Credential | None,
) -> Outcome:
    """Record an entry that something pays for: a session opens, or goes over to it (S-12)."""
    before = facts.session
    session = before or _new_session(books.next_name(), facts.customer, request, payment)
    entry: list[Happening] = [_granted(request, decision, facts.customer, credential, session)]
    entry += spent(payment, session, request)
    if before is None:
        entry.append(Opened(session=session))
    else:
        segment = payment.segment
        entry = segment_end(before, facts, request, None) + entry
        entry.append(SegmentBegan(session=before.id, customer=before.customer, segment=segment))
    books.record(entry, request.at)
    session = replace(session, segment=payment.segment)
    schedule(books, session, facts, request, before)
    settle(books, request.at)
    return _outcome(request, decision, facts, session)


def _new_session(
    session_id: str, customer: Customer, request: Request, payment: Payment
) -> Session:
    closing = visits.closing(request.location, request.at)
    return Session(
        id=session_id,
        customer=customer.id,
        location=request.location.id,
        opened_at=request.at,
        segment=payment.segment,
        channel=request.channel,
        door=request.door.id if request.door is not None else None,
        closes_at=closing.at,
        closes_for=closing.reason,
        paid_by=(payment.segment.pass_,),
    )


def _granted(
    request: Request,
    decision: Decision,
    customer: Customer,
    credential: Credential | None,
    session: Session | None,
) -> Granted:
    return Granted(
        location=request.location.id,
        channel=request.channel,
        customer=customer.id,
        reason=decision.reason,
        door=request.door.id if request.door is not None else None,
        resource=request.door.resource if request.door is not None else None,
        credential=credential.id if credential is not None else None,
        pass_=decision.pass_,
        session=session.id if session is not None else None,
    )


def _refused(
    books: Books,
    request: Request,
    decision: Decision,
    credential: Credential | None,
    customer: Customer | None,
) -> Outcome:
    denied = Denied(
        location=request.location.id,
        channel=request.channel,
        reason=decision.reason,
        customer=customer.id if customer is not None else None,
        door=request.door.id if request.door is not None else None,
        credential=credential.id if credential is not None else None,
        pass_=decision.stopped_pass,
        retry_at=decision.retry_at,
    )
    books.record([denied], request.at)
    return Outcome(
        at=request.at,
        decision=decision,
        door=denied.door,
        customer=customer,
        location=request.location,
        pass_=books.record_of(PASS, decision.stopped_pass) if decision.stopped_pass else None,
    )


def _unidentified(
    books: Books,
    at: datetime,
    door_id: str,
    location: Location | None,
    reason: Reason,
    lookup: str,
) -> Outcome:
    """Refuse somebody nobody can name: what is logged of the credential is its keyed hash."""
    denied = Denied(
        location=location.id if location is not None else "",
        channel=Channel.DOOR,
        reason=reason,
        door=door_id,
        lookup=lookup,
    )
    books.record([denied], at)
    return Outcome(at=at, decision=refuse(reason), door=door_id, location=location)


def _outcome(
    request: Request, decision: Decision, facts: Facts, session: Session | None
) -> Outcome:
    p = facts.pass_of(decision.pass_) if decision.pass_ is not None else None
    cost = decision.payment.spending.amount if decision.payment is not None else 0
    segment = session.segment if session is not None else None
    return Outcome(
        at=request.at,
        decision=decision,
        door=request.door.id if request.door is not None else None,
        customer=facts.customer,
        location=request.location,
        pass_=p,
        remaining=facts.remaining[p.id] - cost if p is not None else None,
        ends_at=segment.until if segment is not None else None,
    )
