"""Visits (§6): when a session's segment ends by time alone, and why."""

from collections.abc import Iterator
from datetime import datetime, timedelta

from msgspec import Struct

from edgegate.passes import chain
from edgegate.passes.facts import Facts, Request, day_of
from edgegate.passes.localtime import Edge, next_occurrence
from edgegate.passes.model import Audience, Location, Pass, Session, Unit
from edgegate.passes.reasons import ClosingReason, Reason
from edgegate.passes.windows import current_window

CLOSING = {
    Reason.EXPIRED: ClosingReason.EXPIRED,
    Reason.CONTRACT_ENDED: ClosingReason.CONTRACT_ENDED,
    Reason.OTHER_AUDIENCE: ClosingReason.CONTRACT_ENDED,
    Reason.OUTSIDE_HOURS: ClosingReason.WINDOW_ENDED,
    Reason.USED_UP: ClosingReason.USED_UP,
}
"""The closing reason for each way in which time alone can make a pass fail (S-10)."""


class Closing(Struct, frozen=True):
    """The instant at which a session closes without a new decision, and which rule closes it."""

    at: datetime
    reason: ClosingReason


def closing(location: Location, opened_at: datetime) -> Closing:
    """The earliest of automatic check-out and cutoff after the opening (S-05)."""
    cutoff = Closing(day_of(location, opened_at).ends, ClosingReason.CUTOFF)
    # min() takes the first of equals, and auto_checkout goes before cutoff.
    return min((*_automatic(location, opened_at), cutoff), key=lambda c: c.at)


def _automatic(location: Location, opened_at: datetime) -> Iterator[Closing]:
    if location.auto_checkout_at is not None:
        wall = next_occurrence(location.timezone, location.auto_checkout_at, opened_at, Edge.END)
        yield Closing(wall, ClosingReason.AUTO_CHECKOUT)
    if location.auto_checkout_after_minutes is not None:
        length = timedelta(minutes=location.auto_checkout_after_minutes)
        yield Closing(opened_at + length, ClosingReason.AUTO_CHECKOUT)


def deadline(session: Session, facts: Facts, request: Request) -> datetime:
    """The next instant, from the request's on, at which time alone asks for a look (S-04, S-05).

    The segment's pass need not fail there: of two windows that touch, the first still ends.
    """
    p = facts.pass_of(session.segment.pass_) if session.segment is not None else None
    if p is None:
        return request.at
    return max(request.at, min((session.closes_at, *_ends(p, session, facts, request))))


def _ends(p: Pass, session: Session, facts: Facts, request: Request) -> Iterator[datetime]:
    if p.expires_at is not None:
        yield p.expires_at
    contract = facts.contract_of(p) if p.contract is not None else None
    if contract is not None and contract.ends_at is not None:
        yield contract.ends_at
    if p.audience is not Audience.ALL:
        yield from _membership_changes(facts, request.at)
    window = current_window(p, request.location, request.at)
    if window is not None:
        yield window.ends
    if session.segment is not None and session.segment.until is not None:
        yield session.segment.until
    if p.unit is Unit.MINUTE:
        yield from _exhaustion(p, facts)


def _membership_changes(facts: Facts, at: datetime) -> Iterator[datetime]:
    for contract in facts.contracts:
        for change in (contract.starts_at, contract.ends_at):
            if change is not None and change > at:
                yield change


def _exhaustion(p: Pass, facts: Facts) -> Iterator[datetime]:
    """When a minute pass runs out, if those who use it now all stay (C-06).

    With n customers on it, each since s, it is empty at the t for which n·t less the sum of all s
    is what remains.
    """
    since = sorted(facts.runners(p).values())
    if since:
        earlier = sum((s - since[0] for s in since), timedelta(0))
        left = timedelta(minutes=facts.remaining[p.id]) + earlier
        yield since[0] - (-left // len(since))


def ending_reason(
    p: Pass | None, session: Session, facts: Facts, request: Request
) -> ClosingReason:
    """What a segment's pass fails at the instant, in the words of S-10.

    The end of a coverage comes before an empty balance: a use that is over was not used up.
    """
    if p is None:
        return ClosingReason.REVOKED
    stop = chain.stopped(p, request, facts)
    if stop is not None and stop.reason is not Reason.USED_UP:
        return CLOSING.get(stop.reason, ClosingReason.REVOKED)
    until = session.segment.until if session.segment is not None else None
    if until is not None and until <= request.at:
        return ClosingReason.WINDOW_ENDED
    return ClosingReason.USED_UP if stop is not None else ClosingReason.REVOKED


def time_on(session: Session, facts: Facts, at: datetime) -> timedelta:
    """How long a minute segment has run that no other of the customer's segments counts (C-06).

    Where the customer has several open segments on one pass, each instant belongs to the one
    that began first; equal beginnings go by the session's id.
    """
    if session.segment is None:
        return timedelta(0)
    mine = (session.segment.from_, session.id)
    others = [
        (r.from_, r.session)
        for r in facts.running
        if r.pass_ == session.segment.pass_
        and r.customer == session.customer
        and r.session != session.id
    ]
    if any(other < mine for other in others):
        return timedelta(0)
    until = min([at, *(since for since, _ in others)])
    return max(timedelta(0), until - session.segment.from_)
