"""When time alone ends the visit that is open."""

from datetime import datetime

from edgegate.deadlines import view
from edgegate.passes import visits
from edgegate.passes.decide import still_covers
from edgegate.passes.model import Session
from edgegate.passes.reasons import ClosingReason
from edgegate.store.books import Books

LOOKS_MAX = 100
"""How many deadlines at which the pass goes on are passed over before the closing is taken."""


def end_of(books: Books, session: Session) -> tuple[datetime, ClosingReason]:
    """When the session's segment ends if nobody does anything, and by which rule (S-04, S-05)."""
    closing = session.closes_at, session.closes_for
    if session.segment is None:
        return closing
    facts, request = view(books, session, session.segment.from_)
    p = facts.pass_of(session.segment.pass_)
    for _ in range(LOOKS_MAX):
        request = request.moved(visits.deadline(session, facts, request))
        if session.closes_at <= request.at:
            break
        if p is None or not still_covers(p, facts, request):
            return request.at, visits.ending_reason(p, session, facts, request)
    return closing
