"""What time does to visits (S-04, S-05, S-08): deadlines fire in order, each as of its instant.

It does not matter how late it is looked at: a job first settles what fell due before it, so a
crash, a long commit or a slow timer change nothing of what is recorded.
"""

import logging
import traceback
from collections.abc import Callable, Collection
from datetime import datetime
from functools import partial

from msgspec.structs import replace

from edgegate.moving import follow
from edgegate.passes import visits
from edgegate.passes.decide import customer_fault
from edgegate.passes.dues import over_to, segment_end, visit_end
from edgegate.passes.facts import Facts, Request
from edgegate.passes.happenings import Debited, Denied
from edgegate.passes.model import Customer, CustomerStatus, Location
from edgegate.passes.payment import Payment, hand_over, still_covers
from edgegate.passes.reasons import ClosingReason, Reason
from edgegate.passes.state import Session
from edgegate.store.books import Books

log = logging.getLogger(__name__)

FAULT_CHARACTERS_MAX = 4000
"""How much of a trace is recorded: its end, which says what happened."""


def settle(books: Books, until: datetime) -> None:
    """Fire every deadline up to an instant, in order, each as of its own."""
    follow(books)
    while (at := books.next_deadline()) is not None and at <= until:
        if books.attempt(partial(_fire, books, at)) is None:
            continue
        for session in books.sessions_due(at):
            contained(books, session, partial(_fire, books, at, session.id), at)


def _fire(books: Books, at: datetime, only: str | None = None) -> None:
    """Fire what is due at an instant, for all or for one session."""
    for session_id, reason in _end_all(books, at, only).items():
        _go_over(books, session_id, at, reason)


def _end_all(books: Books, at: datetime, only: str | None) -> dict[str, ClosingReason]:
    """End every segment that is over at an instant, and say why, before any decision (S-04).

    What one of them is debited may empty the pass that others are on: they end here as well.
    """
    reasons: dict[str, ClosingReason] = {}
    while ended := [
        s
        for s in books.sessions_due(at)
        if s.id not in reasons and only in (None, s.id) and not _closed_or_goes_on(books, s, at)
    ]:
        reasons.update((s.id, _end(books, s, at)) for s in ended)
    return reasons


def contained(books: Books, session: Session, step: Callable[[], object], at: datetime) -> None:
    """Let one visit that the rules cannot judge rest until the next start, and say so.

    One poisonous member must not close every door: whoever taps settles everybody's deadlines.
    """
    fault = books.attempt(step)
    if fault is None:
        return
    log.error("the visit %s rests after a fault in the rules", session.id, exc_info=fault)
    books.set_deadline(session.id, None)
    denied = Denied(
        location=session.location,
        channel=session.channel,
        reason=Reason.INTERNAL_ERROR,
        customer=session.customer,
        fault="".join(traceback.format_exception(fault))[-FAULT_CHARACTERS_MAX:],
    )
    books.record([denied], at)


def resume(books: Books) -> None:
    """Set every session's deadline anew after a start, as of the beginning of its segment (S-08).

    What passed meanwhile is then settled in order by the first job that comes. Where the process
    ended before all visits were looked at after a change, that is done first, as of its arrival.
    """
    changed_at = books.changed_at()
    latest = changed_at
    for session in books.sessions():
        since = session.segment.from_ if session.segment is not None else session.opened_at
        # What a change from the cloud brought holds from its arrival on (S-11).
        since = since if changed_at is None else max(since, changed_at)
        latest = since if latest is None else max(since, latest)
        contained(books, session, partial(refresh, books, session, since), since)
    if latest is not None and books.is_unjudged():
        reconsider(books, latest)


def reconsider(books: Books, at: datetime) -> None:
    """Look at every open session after a change from the cloud (S-11)."""
    settle(books, at)
    books.note_change(at)
    look_again(books, at, [session.id for session in books.sessions()])


def look_again(books: Books, at: datetime, session_ids: Collection[str]) -> None:
    """Look at some of the sessions: all of those that share a pass, or none of them.

    So the segments that end together do so before any decision (S-04).
    """
    settle(books, at)
    ended: list[str] = []
    for session in filter(None, map(books.session, session_ids)):
        contained(books, session, partial(_look_at, books, session, at, ended), at)
    for session_id in ended:
        over = books.session(session_id)
        if over is not None:
            step = partial(_go_over, books, session_id, at, ClosingReason.REVOKED)
            contained(books, over, step, at)
    settle(books, at)


def _look_at(books: Books, session: Session, at: datetime, ended: list[str]) -> None:
    facts, request = view_of_segment(books, session, at)
    if books.customer(session.customer) is None or customer_fault(facts, request.location):
        close(books, session, at, ClosingReason.REVOKED)
    elif session.segment is None or still_covers(session.segment, facts, request):
        books.set_deadline(session.id, visits.deadline(session, facts, request))
    else:
        _end(books, session, at)
        ended.append(session.id)


def close(books: Books, session: Session, at: datetime, reason: ClosingReason) -> None:
    """Close a session as of an instant: debit what its last segment used, charge what it ran up."""
    session = books.session(session.id) or session
    facts, request = view(books, session, at)
    idle = reason is ClosingReason.WIFI_IDLE
    before = books.debits_of(session.id) if idle else []
    late = books.sold_after(session.id, at) if idle else frozenset()
    what = visit_end(session, facts, request, reason, before=before, late=late)
    books.record(what, at)
    refresh_all_on(books, {h.pass_ for h in what if isinstance(h, Debited)}, at)


def view(books: Books, session: Session, at: datetime) -> tuple[Facts, Request]:
    """A session as a request of its customer at an instant, by the way of the last entry (S-04).

    Who or what has left the cache is seen as the least that it can be.
    """
    location = books.location(session.location) or Location(id=session.location)
    gone = Customer(id=session.customer, status=CustomerStatus.DISABLED)
    customer = books.customer(session.customer) or gone
    door = books.door(session.door) if session.door is not None else None
    request = Request(at=at, location=location, channel=session.channel, door=door)
    return books.facts(customer, location, at, door), request


def view_of_segment(books: Books, session: Session, at: datetime) -> tuple[Facts, Request]:
    """The same by the way in which the open segment began: that is what it stands on (S-11)."""
    segment = session.segment
    if segment is None:
        return view(books, session, at)
    return view(books, replace(session, channel=segment.channel, door=segment.door), at)


def schedule(
    books: Books, session: Session, facts: Facts, request: Request, before: Session | None = None
) -> None:
    """Set a session's next deadline after an entry, and those of all who share its minutes."""
    shared = {
        pass_id
        for s in (session, before)
        if s is not None and s.segment is not None and s.segment.counts is not None
        for pass_id in s.segment.passes
    }
    if before is None:
        facts = visits.with_visit(facts, session, request.location)
        refresh_all_on(books, shared, request.at, but=session.id)
    else:
        refresh_all_on(books, shared, request.at)
        if session.segment is not None and session.segment.pass_ in shared:
            return
    books.set_deadline(session.id, visits.deadline(session, facts, request))


def refresh_all_on(
    books: Books, pass_ids: Collection[str], at: datetime, but: str | None = None
) -> None:
    """Set the deadlines of all sessions on passes anew: they draw on one balance."""
    for session in books.sessions_on(pass_ids) if pass_ids else ():
        if session.id == but:
            continue
        contained(books, session, partial(refresh, books, session, at), at)


def refresh_on_spent(books: Books, payment: Payment, at: datetime) -> None:
    """Set anew the deadlines of all whose hours run on credits of which a check-in took some."""
    if payment.spending.scope is not None:
        refresh_all_on(books, {take.pass_ for take in payment.spending.takes}, at)


def refresh(books: Books, session: Session, at: datetime) -> None:
    """Set a session's deadline anew."""
    facts, request = view_of_segment(books, session, at)
    books.set_deadline(session.id, visits.deadline(session, facts, request))


def _closed_or_goes_on(books: Books, session: Session, at: datetime) -> bool:
    """Close a session by S-05 or S-06, or let it go on if its segment may; else it has ended."""
    if session.closes_at <= at:
        close(books, session, at, session.closes_for)
        return True
    if books.location(session.location) is None:
        # A cache that is made again takes no right from anybody; once there, it is asked of all.
        books.set_deadline(session.id, session.closes_at)
        return True
    facts, request = view_of_segment(books, session, at)
    idle = visits.idle_at(session, request.location)
    if idle is not None and idle <= at:
        close(books, session, session.idle_since or at, ClosingReason.WIFI_IDLE)
        return True
    if session.segment is not None and not still_covers(session.segment, facts, request):
        return False
    following = visits.deadline(session, facts, request)
    if following <= at:
        raise RuntimeError("a deadline that has passed comes again, and would for ever")
    books.set_deadline(session.id, following)
    return True


def _end(books: Books, session: Session, at: datetime) -> ClosingReason:
    """End a session's segment by the clock, and say by which rule (S-10)."""
    session = books.session(session.id) or session
    facts, request = view_of_segment(books, session, at)
    segment = session.segment
    reason = visits.ending_reason(segment, facts, request)
    books.record(segment_end(session, facts, request, reason), at)
    if segment is not None and segment.counts is not None:
        refresh_all_on(books, segment.passes, at)
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
    books.record(over_to(session, decision.payment, facts, request), at)
    refresh_on_spent(books, decision.payment, at)
    after = books.session(session_id) or session
    schedule(books, after, facts, request)
