"""What visits owe, as happenings: spent when they begin, debited, charged or refunded at an end."""

from collections.abc import Collection
from datetime import datetime

from edgegate.passes import visits
from edgegate.passes.coverage import cost
from edgegate.passes.facts import Facts, Request, Span, counted, day_of
from edgegate.passes.happenings import (
    Arrived,
    Charged,
    Closed,
    Debited,
    Happening,
    Refunded,
    SegmentBegan,
    SegmentEnded,
    Sold,
    WifiDisconnected,
)
from edgegate.passes.model import Channel
from edgegate.passes.payment import Payment, still_covers
from edgegate.passes.prices import charge
from edgegate.passes.reasons import ClosingReason
from edgegate.passes.state import MinuteTerms, Session, Tab


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
        minutes=_minutes_of(debits),
        tab=visits.tab_of(session, facts, request),
    )
    return [*debits, ended]


def visit_end(
    session: Session,
    facts: Facts,
    request: Request,
    reason: ClosingReason,
    *,
    before: Collection[Debited] = (),
    late: Collection[str] = (),
) -> list[Happening]:
    """What the end of a visit writes down, as of the instant of the request.

    Of the debits `before` that comes back which was for later, and the offers that were sold too
    `late` are not charged (S-06).
    """
    debits = _debits(session, facts, request)
    booked = visits.booked_by(facts, request.location)
    refunds = _refunds(before, session, request.at, booked)
    closed = Closed(
        session=session.id,
        customer=session.customer,
        location=session.location,
        at=request.at,
        reason=reason,
        minutes=session.minutes + _minutes_of(debits) - sum(m for _, m in refunds),
    )
    past = tuple(visits.tab_until(tab, request.at, booked) for tab in session.tabs)
    tabs = visits.with_tab(past, visits.tab_of(session, facts, request))
    back = [refund for refund, _ in refunds]
    return [*debits, *back, *_charges(session, tabs, late), *_off(session), closed]


def spent(payment: Payment, session: Session, request: Request) -> list[Happening]:
    """What a payment takes from its passes, and what it buys (§4, O-04)."""
    spending, segment = payment.spending, payment.segment
    day = request.day.name
    happened: list[Happening] = []
    for place, take in enumerate(spending.takes):
        debited = Debited(
            pass_=take.pass_,
            customer=session.customer,
            location=session.location,
            session=session.id,
            amount=take.amount,
            day=day,
            from_=request.at,
            until=spending.until,
            covers=place == 0,
            visit_only=spending.until is None,
            scope=spending.scope,
        )
        happened.append(debited)
    if segment.sale is not None:
        sold = Sold(
            sale=segment.sale,
            customer=session.customer,
            location=session.location,
            session=session.id,
            day=day,
            from_=request.at,
            until=spending.until,
        )
        happened.append(sold)
    if payment.arrives is not None:
        arrived = Arrived(
            reservation=payment.arrives, customer=session.customer, location=session.location
        )
        happened.append(arrived)
    return happened


def over_to(session: Session, payment: Payment, facts: Facts, request: Request) -> list[Happening]:
    """What it writes down that a session goes on by another payment, off the Wi-Fi if need be."""
    segment = payment.segment
    began = SegmentBegan(session=session.id, customer=session.customer, segment=segment)
    by_wifi = Request(at=request.at, location=request.location, channel=Channel.WIFI)
    off = [] if still_covers(segment, facts, by_wifi) else _off(session)
    return [*spent(payment, session, request), began, *off]


def _off(session: Session) -> list[Happening]:
    """Off the Wi-Fi, for a session that was on it (S-09, S-13)."""
    if not session.wifi:
        return []
    gone = WifiDisconnected(
        session=session.id, customer=session.customer, location=session.location
    )
    return [gone]


def _charges(session: Session, tabs: tuple[Tab, ...], late: Collection[str]) -> list[Happening]:
    """What the visit costs on each offer it ran up (P-05), nothing where it was sold too late."""
    return [
        Charged(
            offer=tab.sale.offer,
            customer=session.customer,
            location=session.location,
            session=session.id,
            amount=0 if tab.sale.offer in late else charge(tab),
            currency=tab.sale.currency,
            used_s=0 if tab.sale.offer in late else tab.used_s,
            taken_back=tab.sale.offer in late,
        )
        for tab in tabs
    ]


def _refunds(
    debits: Collection[Debited], session: Session, at: datetime, booked: tuple[Span, ...]
) -> list[tuple[Refunded, int]]:
    """What comes back of debits after the instant as of which a session closes (S-06).

    With each the minutes in it, for those that were counted by time. Where several lots paid for
    one stretch they keep what it costs until that instant in their turn.
    """
    refunds = []
    due: dict[datetime, int] = {}
    for d in debits:
        kept = d.amount if d.from_ <= at else 0
        if d.counts is not None and d.until is not None and d.from_ <= at < d.until:
            comes_to = due.get(d.from_, cost(d.counts, counted(d.from_, at, booked)))
            kept = min(d.amount, comes_to)
            due[d.from_] = comes_to - kept
        if kept < d.amount:
            back = d.amount - kept
            refund = Refunded(
                pass_=d.pass_,
                customer=d.customer,
                location=d.location,
                session=session.id,
                amount=back,
                from_=d.from_ if d.covers else None,
            )
            refunds.append((refund, _minutes(d.counts, back)))
    return refunds


def _minutes_of(debits: Collection[Debited]) -> int:
    return sum(_minutes(d.counts, d.amount) for d in debits)


def _minutes(counts: MinuteTerms | None, amount: int) -> int:
    """The minutes among what was debited; credits by the hour are none."""
    return 0 if counts is None or counts.credit_price_hour is not None else amount


def _debits(session: Session, facts: Facts, request: Request) -> list[Debited]:
    """What a segment that is counted by time costs at its end (C-06, C-07)."""
    segment = session.segment
    if segment is None or segment.counts is None or segment.pass_ is None:
        return []
    due = cost(segment.counts, visits.time_on(session, facts, request.at))
    debits = []
    for lot in segment.passes:
        left = facts.remaining.get(lot)
        part = due if left is None else max(0, min(due, left))
        due -= part
        if part:
            debited = Debited(
                pass_=lot,
                customer=session.customer,
                location=session.location,
                session=session.id,
                amount=part,
                day=day_of(request.location, session.opened_at).name,
                # What another of the customer's visits has debited is not in it.
                from_=segment.counted_from or segment.from_,
                until=request.at,
                counts=segment.counts,
            )
            debits.append(debited)
    return debits
