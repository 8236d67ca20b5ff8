"""What time does to visits (S-04, S-05, S-08): deadlines fire in order, each as of its instant.

It does not matter how late it is looked at: a job first settles what fell due before it, so a
crash, a long commit or a slow timer change nothing of what is recorded.
"""

from datetime import datetime

from msgspec.structs import replace

from edgegate.passes import visits
from edgegate.passes.coverage import minutes_due
from edgegate.passes.decide import Payment, customer_fault, hand_over, still_covers
from edgegate.passes.facts import Facts, Request, day_of
from edgegate.passes.happenings import Closed, Debited, Happening, SegmentBegan, SegmentEnded
from edgegate.passes.model import Customer, CustomerStatus, Location, Session
from edgegate.passes.reasons import ClosingReason
from edgegate.store.books import Books


def settle(books: Books, until: datetime) -> None:
    """Fire every deadline up to an instant, in order, each as of its own."""
    while (at := books.next_deadline()) is not None and at <= until:
        ended = [s for s in books.sessions_due(at) if not _closed_or_goes_on(books, s, at)]
        # When a pass runs out all segments on it have ended by now, before any decision (S-04).
        reasons = {s.id: _end(books, s, at) for s in ended}
        for session in ended:
            _go_over(books, session.id, at, reasons[session.id])


def resume(books: Books) -> None:
    """Set every session's deadline anew after a start, as of the beginning of its segment (S-08).

    What passed meanwhile is then settled in order by the first job that comes.
    """
    for session in books.sessions():
        since = session.segment.from_ if session.segment is not None else session.opened_at
        refresh(books, session, since)


def reconsider(books: Books, at: datetime) -> None:
    """Look at every open session after a change from the cloud (S-11)."""
    settle(books, at)
    for session in books.sessions():
        facts, request = view(books, session, at)
        if books.customer(session.customer) is None or customer_fault(facts, request.location):
            close(books, session, at, ClosingReason.REVOKED)
        elif _allows(session, facts, request):
            books.set_deadline(session.id, visits.deadline(session, facts, request))
        else:
            _end(books, session, at)
            _go_over(books, session.id, at, ClosingReason.REVOKED)
    settle(books, at)


def close(books: Books, session: Session, at: datetime, reason: ClosingReason) -> None:
    """Close a session at an instant, and debit what its last segment used."""
    facts, request = view(books, session, at)
    debits = _debits(session, facts, request)
    minutes = session.minutes + sum(d.amount for d in debits)
    closed = Closed(
        session=session.id,
        customer=session.customer,
        location=session.location,
        at=at,
        reason=reason,
        minutes=minutes,
    )
    books.record([*debits, closed], at)
    if debits:
        refresh_all_on(books, debits[0].pass_, at)


def segment_end(
    session: Session, facts: Facts, request: Request, reason: ClosingReason | None
) -> list[Happening]:
    """What the end of a session's segment writes down; nothing where none runs."""
    if session.segment is None:
        return []
    debits = _debits(session, facts, request)
    ended = SegmentEnded(
        session=session.id,
        customer=session.customer,
        pass_=session.segment.pass_,
        at=request.at,
        reason=reason,
        minutes=sum(d.amount for d in debits),
    )
    return [*debits, ended]


def spent(payment: Payment, session: Session, request: Request) -> list[Happening]:
    """What a payment takes from its pass, and the coverage that it buys (§4)."""
    spending, segment = payment.spending, payment.segment
    if not spending.covers:
        return []
    debited = Debited(
        pass_=segment.pass_,
        customer=session.customer,
        location=session.location,
        session=session.id,
        amount=spending.amount,
        day=day_of(request.location, request.at).name,
        from_=request.at,
        until=spending.until,
        covers=True,
        visit_only=spending.until is None,
    )
    return [debited]


def view(books: Books, session: Session, at: datetime) -> tuple[Facts, Request]:
    """A session as a request of its customer at an instant, by the way of the last entry (S-04).

    Who or what has left the cache is seen as the least that it can be.
    """
    location = books.location(session.location) or Location(id=session.location)
    gone = Customer(id=session.customer, status=CustomerStatus.DISABLED)
    customer = books.customer(session.customer) or gone
    door = books.door(session.door) if session.door is not None else None
    request = Request(at=at, location=location, channel=session.channel, door=door)
    return books.facts(customer, location, at), request


def schedule(
    books: Books, session: Session, facts: Facts, request: Request, before: Session | None = None
) -> None:
    """Set a session's next deadline after an entry, and those of all who share its minutes."""
    shared = {
        s.segment.pass_
        for s in (session, before)
        if s is not None and s.segment is not None and s.segment.counts is not None
    }
    for pass_id in shared:
        refresh_all_on(books, pass_id, request.at)
    if session.segment is not None and session.segment.pass_ not in shared:
        books.set_deadline(session.id, visits.deadline(session, facts, request))


def refresh_all_on(books: Books, pass_id: str, at: datetime) -> None:
    """Set the deadlines of all sessions on a pass anew: they draw on one balance."""
    for session in books.sessions_on([pass_id]):
        refresh(books, session, at)


def refresh(books: Books, session: Session, at: datetime) -> None:
    """Set a session's deadline anew."""
    facts, request = view(books, session, at)
    books.set_deadline(session.id, visits.deadline(session, facts, request))


def _closed_or_goes_on(books: Books, session: Session, at: datetime) -> bool:
    """Close a session by S-05, or let it go on if its pass still covers; else it has ended."""
    if session.closes_at <= at:
        close(books, session, at, session.closes_for)
        return True
    facts, request = view(books, session, at)
    if not _allows(session, facts, request):
        return False
    books.set_deadline(session.id, visits.deadline(session, facts, request))
    return True


def _allows(session: Session, facts: Facts, request: Request) -> bool:
    p = facts.pass_of(session.segment.pass_) if session.segment is not None else None
    return p is not None and still_covers(p, facts, request)


def _end(books: Books, session: Session, at: datetime) -> ClosingReason:
    """End a session's segment by the clock, and say by which rule (S-10)."""
    facts, request = view(books, session, at)
    p = facts.pass_of(session.segment.pass_) if session.segment is not None else None
    reason = visits.ending_reason(p, session, facts, request)
    books.record(segment_end(session, facts, request, reason), at)
    return reason


def _go_over(books: Books, session_id: str, at: datetime, reason: ClosingReason) -> None:
    """Decide again for a session whose segment has ended; nothing takes over: it closes."""
    session = books.session(session_id)
    if session is None:
        return
    facts, request = view(books, session, at)
    decision = hand_over(facts, request)
    if decision is None or decision.payment is None:
        close(books, session, at, reason)
        return
    segment = decision.payment.segment
    began = SegmentBegan(session=session.id, customer=session.customer, segment=segment)
    books.record([*spent(decision.payment, session, request), began], at)
    schedule(books, replace(session, segment=segment), facts, request)


def _debits(session: Session, facts: Facts, request: Request) -> list[Debited]:
    segment = session.segment
    if segment is None or segment.counts is None:
        return []
    used = visits.time_on(session, facts, request.at)
    minutes = minutes_due(segment.counts, used, facts.remaining.get(segment.pass_))
    if minutes == 0:
        return []
    debited = Debited(
        pass_=segment.pass_,
        customer=session.customer,
        location=session.location,
        session=session.id,
        amount=minutes,
        day=day_of(request.location, session.opened_at).name,
        from_=segment.from_,
        until=request.at,
    )
    return [debited]
