"""Entering and leaving: the one plain function from facts to record.

Everything here runs inside one job of the database thread: nothing is awaited between reading the
facts and recording the decision, so two readers can never spend the same use.
"""

from collections.abc import Callable
from datetime import datetime, timedelta

from msgspec import Struct

from edgegate.deadlines import close, refresh, refresh_on_spent, schedule, settle
from edgegate.passes import visits
from edgegate.passes.decide import credential_fault, decide, lease_fault
from edgegate.passes.dues import over_to, segment_end, spent
from edgegate.passes.facts import Facts, Request, day_of
from edgegate.passes.happenings import Denied, Granted, Happening, Left, Opened, WifiStopped
from edgegate.passes.model import (
    Channel,
    Credential,
    Customer,
    Direction,
    Door,
    LeaseRule,
    Location,
    Pass,
)
from edgegate.passes.payment import Decision, Payment, admit, refuse
from edgegate.passes.reasons import ClosingReason, Reason
from edgegate.passes.state import Session
from edgegate.store.books import Books
from edgegate.store.cache import PASS


class Outcome(Struct, frozen=True, kw_only=True):
    """What came of a request, with what a sentence about it needs."""

    at: datetime
    decision: Decision
    channel: Channel = Channel.DOOR
    door: str | None = None
    customer: Customer | None = None
    location: Location | None = None
    pass_: Pass | None = None
    remaining: int | None = None
    """Of the pass, after this entry."""
    ends_at: datetime | None = None
    """The end of the coverage, booking or walk-up that the visit rides on."""
    is_scheduled: bool = False
    """Whether this entry set the visit's next deadline: it began it, or its way of paying."""


class Answer(Struct, frozen=True, kw_only=True):
    """What a toggle reader answered a credential; None: that its holder leaves."""

    at: datetime
    outcome: Outcome | None


REPEAT = timedelta(seconds=5)
"""So long the same credential gets a toggle reader's first answer again (D-10)."""

VISITING = (Reason.COVERED, Reason.FLAGGED)
"""Grants that belong to the open visit and change nothing of it."""


def present(books: Books, door_id: str, lookup: str, at: datetime) -> Outcome | None:
    """Somebody showed a credential at a reader: identify, decide, record; None: they leave."""
    settle(books, at)
    door = books.door(door_id)
    location = books.location(door.location) if door is not None else None
    credential = books.credential(lookup)
    if door is None or location is None:
        # The cache knows nothing of this place, so no pass can be checked here.
        unknown = credential is None
        reason = Reason.UNKNOWN_CREDENTIAL if unknown else Reason.LEASE_EXPIRED
        return _unplaced(books, at, door_id, reason, lookup)
    request = Request(at=at, location=location, channel=Channel.DOOR, door=door)
    if credential is None:
        return unidentified(books, request, door, lookup)
    return at_reader(books, request, credential)


def at_reader(books: Books, request: Request, credential: Credential) -> Outcome | None:
    """Decide and record for whoever a known credential names; None: they leave (D-10)."""
    door = request.door
    if door is None or door.direction is not Direction.TOGGLE:
        return enter_with(books, request, credential)
    known = books.answers.get((door.id, credential.id))
    if isinstance(known, Answer) and request.at - known.at < REPEAT:
        return known.outcome
    outcome = None
    if _leaves(books, request, credential.customer):
        leave(books, credential.customer, request.location.id, request.at)
    else:
        outcome = enter_with(books, request, credential)
    books.remember_answer(door.id, credential.id, Answer(at=request.at, outcome=outcome))
    return outcome


def _leaves(books: Books, request: Request, customer_id: str) -> bool:
    """Whether a toggle reader lets somebody out: a session is open, or a rule closed it (D-10)."""
    if books.session_of(customer_id, request.location.id) is not None:
        return True
    move = books.last_move(customer_id, request.location.id)
    today = day_of(request.location, request.at)
    return move is not None and move[0] == "rule" and move[1] >= today.starts


Refusing = Callable[[Denied], None]
"""Takes a refusal in place of the ledger: on the Wi-Fi those of one source are counted."""


def enter_with(
    books: Books, request: Request, credential: Credential, refusing: Refusing | None = None
) -> Outcome:
    """Decide and record for whoever a known credential names (F-12)."""
    customer = books.customer(credential.customer)
    fault = credential_fault(credential, request.at)
    if fault is None and customer is None:
        fault = Reason.UNKNOWN_CREDENTIAL
    if fault is not None or customer is None:
        decision = refuse(fault or Reason.NO_PASS)
        return _refused(books, request, decision, credential, customer, refusing)
    return enter(books, request, customer, credential, refusing)


def enter(
    books: Books,
    request: Request,
    customer: Customer,
    credential: Credential | None = None,
    refusing: Refusing | None = None,
) -> Outcome:
    """Decide for a known customer and record what came of it."""
    facts = books.facts(customer, request.location, request.at, request.door)
    decision = decide(facts, request)
    if not decision.opens:
        return _refused(books, request, decision, credential, customer, refusing)
    if decision.payment is None and (facts.session is not None or not decision.opens_session):
        session = facts.session if decision.reason in VISITING else None
        books.record([_granted(request, decision, customer, credential, session)], request.at)
        return _outcome(request, decision, facts, session)
    return _go_in(books, facts, request, decision, credential)


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
    if session is not None and at < session.opened_at:
        # They came back before it could be recorded that they had left.
        session = None
    if session is not None:
        close(books, session, at, reason)
        settle(books, at)
    elif reason is ClosingReason.EXIT and books.customer(customer_id) is not None:
        books.record([Left(customer=customer_id, location=location_id, at=at)], at)
    return session


def wifi_stopped(
    books: Books,
    customer_id: str,
    location_id: str,
    at: datetime,
    told_at: datetime | None = None,
) -> None:
    """The Wi-Fi's accounting says, maybe later, that a customer is off it as of `at` (S-06)."""
    told = told_at or at
    settle(books, told)
    session = books.session_of(customer_id, location_id)
    if session is not None and session.wifi:
        stopped = WifiStopped(session=session.id, customer=customer_id, location=location_id, at=at)
        books.record([stopped], told)
        after = books.session(session.id)
        if after is not None:
            refresh(books, after, told)


def _go_in(
    books: Books,
    facts: Facts,
    request: Request,
    decision: Decision,
    credential: Credential | None,
) -> Outcome:
    """Record an entry with which a session opens, or goes over to another payment (S-12)."""
    before, payment = facts.session, decision.payment
    head = books.head()
    session = before or _new_session(books.name_after(head), facts.customer, request, payment)
    entry: list[Happening] = [_granted(request, decision, facts.customer, credential, session)]
    if before is None:
        entry += spent(payment, session, request) if payment is not None else []
        entry.append(Opened(session=session))
    elif payment is not None:
        entry = segment_end(before, facts, request, None) + entry
        entry += over_to(before, payment, facts, request)
    books.record(entry, request.at, head)
    if payment is not None:
        refresh_on_spent(books, payment, request.at)
    if before is not None:
        session = books.session(session.id) or session
    schedule(books, session, facts, request, before)
    settle(books, request.at)
    return _outcome(request, decision, facts, session, is_scheduled=True)


def _new_session(
    session_id: str, customer: Customer, request: Request, payment: Payment | None
) -> Session:
    closing = visits.closing(request.location, request.at)
    segment = payment.segment if payment is not None else None
    passes = (segment.pass_, *segment.lots) if segment is not None else ()
    return Session(
        id=session_id,
        customer=customer.id,
        location=request.location.id,
        opened_at=request.at,
        segment=segment,
        channel=request.channel,
        door=request.door.id if request.door is not None else None,
        closes_at=closing.at,
        closes_for=closing.reason,
        paid_by=tuple(pass_id for pass_id in passes if pass_id is not None),
        door_entry=request.channel is Channel.DOOR,
        kiosk_entry=request.channel is Channel.KIOSK,
        wifi=request.channel is Channel.WIFI,
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
        because=decision.because,
        day=request.day.name,
        door=request.door.id if request.door is not None else None,
        resource=request.door.resource if request.door is not None else None,
        credential=credential.id if credential is not None else None,
        pass_=decision.pass_,
        offer=decision.offer,
        session=session.id if session is not None else None,
    )


def _refused(
    books: Books,
    request: Request,
    decision: Decision,
    credential: Credential | None,
    customer: Customer | None,
    refusing: Refusing | None = None,
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
    if refusing is None:
        books.record([denied], request.at)
    else:
        refusing(denied)
    return Outcome(
        at=request.at,
        decision=decision,
        channel=request.channel,
        door=denied.door,
        customer=customer,
        location=request.location,
        pass_=books.record_of(PASS, decision.stopped_pass) if decision.stopped_pass else None,
    )


def unidentified(books: Books, request: Request, door: Door, lookup: str) -> Outcome:
    """Answer somebody nobody can name: what is logged of the credential is its keyed hash."""
    age = books.cache_age(request.at)
    lease = lease_fault(door, age, clock_trusted=books.clock_trusted)
    locked = books.is_locked_down(door.id)
    if lease is None or door.lease_rule is not LeaseRule.ALLOW_ALL or locked:
        denied = Denied(
            location=request.location.id,
            channel=request.channel,
            reason=Reason.UNKNOWN_CREDENTIAL,
            door=door.id,
            lookup=lookup,
        )
        books.record([denied], request.at)
        decision = refuse(Reason.UNKNOWN_CREDENTIAL)
    else:
        granted = Granted(
            location=request.location.id,
            channel=request.channel,
            customer=None,
            reason=Reason.LEASE,
            day=request.day.name,
            door=door.id,
            lookup=lookup,
        )
        books.record([granted], request.at)
        decision = admit(Reason.LEASE)
    return Outcome(at=request.at, decision=decision, door=door.id, location=request.location)


def _unplaced(books: Books, at: datetime, door_id: str, reason: Reason, lookup: str) -> Outcome:
    """Refuse at a door that the cache does not know."""
    denied = Denied(location="", channel=Channel.DOOR, reason=reason, door=door_id, lookup=lookup)
    books.record([denied], at)
    return Outcome(at=at, decision=refuse(reason), door=door_id)


def _outcome(
    request: Request,
    decision: Decision,
    facts: Facts,
    session: Session | None,
    *,
    is_scheduled: bool = False,
) -> Outcome:
    p = facts.pass_of(decision.pass_) if decision.pass_ is not None else None
    takes = decision.payment.spending.takes if decision.payment is not None else ()
    cost = sum(take.amount for take in takes if take.pass_ == decision.pass_)
    segment = session.segment if session is not None else None
    return Outcome(
        at=request.at,
        decision=decision,
        channel=request.channel,
        door=request.door.id if request.door is not None else None,
        customer=facts.customer,
        location=request.location,
        pass_=p,
        remaining=facts.remaining[p.id] - cost if p is not None else None,
        ends_at=segment.until if segment is not None else None,
        is_scheduled=is_scheduled,
    )
