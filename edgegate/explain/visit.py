"""When time alone ends the visit that is open."""

from datetime import datetime

from edgegate.deadlines import view
from edgegate.passes import visits
from edgegate.passes.payment import still_covers
from edgegate.passes.reasons import ClosingReason
from edgegate.passes.state import Session
from edgegate.store.books import Books

LOOKS_MAX = 100
"""How many deadlines at which the pass goes on are passed over before the closing is taken."""


def end_of(books: Books, session: Session) -> tuple[datetime, ClosingReason]:
    """When the session's segment ends if nobody does anything, and by which rule (S-04, S-05)."""
    closing = session.closes_at, session.closes_for
    if session.segment is None:
        return closing
    segment = session.segment
    facts, request = view(books, session, segment.from_)
    for _ in range(LOOKS_MAX):
        request = request.moved(visits.deadline(session, facts, request))
        if session.closes_at <= request.at:
            break
        if not still_covers(segment, facts, request):
            return request.at, visits.ending_reason(segment, facts, request)
    return closing
