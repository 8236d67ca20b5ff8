"""Visits (§6): when a session's segment ends by time alone, and why."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from msgspec import Struct
from msgspec.structs import replace

from edgegate.passes import chain
from edgegate.passes.facts import Facts, Request, Running, Span, counted, day_of, running_of
from edgegate.passes.localtime import Edge, business_day_named, next_occurrence
from edgegate.passes.model import Audience, Location, Pass
from edgegate.passes.reasons import ClosingReason, Reason
from edgegate.passes.state import MinuteTerms, Segment, Session, Stretch, Tab
from edgegate.passes.windows import current_window

ENDLESS = timedelta(days=36_525)
"""What lasts a century is not waited for: its end might be no date at all."""

HALF_A_SECOND = timedelta(milliseconds=500)

CLOSING = {
    Reason.EXPIRED: ClosingReason.EXPIRED,
    Reason.CONTRACT_ENDED: ClosingReason.CONTRACT_ENDED,
    Reason.OTHER_DATE: ClosingReason.CUTOFF,
    Reason.OTHER_AUDIENCE: ClosingReason.CONTRACT_ENDED,
    Reason.OUTSIDE_HOURS: ClosingReason.WINDOW_ENDED,
}
"""The closing reason for each way but F-09 in which time alone can make a pass fail (S-10)."""


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

    The segment need not end there: of two windows that touch, the first still ends. A flagged visit
    has only the ends of S-05 (S-02).
    """
    ends = [session.closes_at]
    if session.segment is not None:
        ends += _ends(session.segment, facts, request)
    idle = idle_at(session, request.location)
    if idle is not None:
        ends.append(idle)
    return max(request.at, min(ends))


def with_visit(facts: Facts, session: Session, location: Location) -> Facts:
    """The facts of an entry once its visit has begun, which spent nothing that is counted by time.

    To gather them again would take as long as the entry did.
    """
    own = running_of(session, booked_by(facts, location))
    running = facts.running if own is None else (*facts.running, own)
    return replace(facts, session=session, running=running)


def idle_at(session: Session, location: Location) -> datetime | None:
    """When silence on the Wi-Fi ends a visit: by policy, or as nothing else opened it (S-06)."""
    counts = location.wifi_presence or not (session.door_entry or session.kiosk_entry)
    if session.idle_since is None or not counts:
        return None
    return session.idle_since + timedelta(minutes=location.wifi_idle_minutes)


def _ends(segment: Segment, facts: Facts, request: Request) -> Iterator[datetime]:
    if segment.until is not None:
        yield segment.until
    if segment.reservation is not None or segment.scope is not None:
        return
    if segment.offer is not None:
        yield from _offer_ends(segment.offer, facts, request)
        return
    p = facts.pass_of(segment.pass_) if segment.pass_ is not None else None
    if p is None:
        yield request.at
        return
    yield from _pass_ends(p, facts, request)
    if segment.counts is not None:
        lots = [p, *(lot for lot in facts.passes if lot.id in segment.lots)]
        yield from _exhaustion(lots, segment.counts, facts)


def _offer_ends(offer_id: str, facts: Facts, request: Request) -> Iterator[datetime]:
    offer = next((o for o in facts.offers if o.id == offer_id), None)
    window = current_window(offer, request.location, request.at) if offer is not None else None
    if offer is None:
        yield request.at
    elif window is not None:
        yield window.ends


def _pass_ends(p: Pass, facts: Facts, request: Request) -> Iterator[datetime]:
    if p.expires_at is not None:
        yield p.expires_at
    contract = facts.contract_of(p) if p.contract is not None else None
    if contract is not None and contract.ends_at is not None:
        yield contract.ends_at
    if p.audience is not Audience.ALL:
        yield from _membership_changes(facts, request.at)
    if p.on_date is not None:
        place = request.location
        yield business_day_named(place.timezone, place.day_cutoff, p.on_date).ends
    window = current_window(p, request.location, request.at)
    if window is not None:
        yield window.ends


def _membership_changes(facts: Facts, at: datetime) -> Iterator[datetime]:
    for contract in facts.contracts:
        for change in (contract.starts_at, contract.ends_at):
            if change is not None and change > at:
                yield change


def _exhaustion(lots: list[Pass], terms: MinuteTerms, facts: Facts) -> Iterator[datetime]:
    """When what pays by the minute runs out, if those who use it now all stay (C-06, C-07)."""
    amount = sum(facts.remaining[p.id] for p in lots)
    left = timedelta(minutes=amount)
    if terms.credit_price_hour is not None:
        left = (
            -(-timedelta(hours=amount) // terms.credit_price_hour)
            if terms.credit_price_hour
            else ENDLESS
        )
    runners = [r for p in lots for r in facts.runners(p.id).values()]
    if runners and left < ENDLESS:
        yield used_up_at(runners, left)


def used_up_at(runners: Sequence[Running], left: timedelta) -> datetime:
    """When so much time is used by all who run on it together, reservations left out (S-07).

    Between two instants at which somebody begins, or a reservation begins or ends, it is used at a
    constant rate.
    """
    edges = {r.from_ for r in runners}
    edges |= {at for r in runners for span in r.booked for at in (span.from_, span.until)}
    reached = min(r.from_ for r in runners)
    if left <= timedelta(0):
        return reached
    for edge in sorted(at for at in edges if at > reached):
        rate = _rate(runners, reached)
        if rate and reached - (-left // rate) <= edge:
            break
        left -= (edge - reached) * rate
        reached = edge
    return reached - (-left // _rate(runners, reached))


def _rate(runners: Sequence[Running], at: datetime) -> int:
    """How many of them use time up from an instant on."""
    return sum(
        r.from_ <= at and not any(span.from_ <= at < span.until for span in r.booked)
        for r in runners
    )


def ending_reason(segment: Segment | None, facts: Facts, request: Request) -> ClosingReason:
    """What a segment's pass fails at the instant, in the words of S-10.

    The end of a coverage comes before an empty balance: a use that is over was not used up.
    """
    if segment is None:
        return ClosingReason.REVOKED
    over = segment.until is not None and segment.until <= request.at
    p = facts.pass_of(segment.pass_) if segment.pass_ is not None else None
    if p is None or segment.scope is not None:
        closed = segment.offer is not None and _offer_known(segment.offer, facts)
        return ClosingReason.WINDOW_ENDED if over or closed else ClosingReason.REVOKED
    stop = chain.stopped(p, request, facts)
    if stop is not None and stop.reason is not Reason.USED_UP:
        return CLOSING.get(stop.reason, ClosingReason.REVOKED)
    if over:
        return ClosingReason.WINDOW_ENDED
    hourly = segment.counts is not None and segment.counts.credit_price_hour is not None
    return ClosingReason.USED_UP if stop is not None or hourly else ClosingReason.REVOKED


def _offer_known(offer_id: str, facts: Facts) -> bool:
    return any(o.id == offer_id for o in facts.offers)


def time_on(session: Session, facts: Facts, at: datetime) -> timedelta:
    """How long a segment has run that no other of the customer's segments counts (C-06).

    Where the customer has several open segments on one pass, each instant belongs to the one
    that began first; equal beginnings go by the session's id. Reserved time does not count (S-07).
    """
    segment = session.segment
    if segment is None:
        return timedelta(0)
    own = [r for r in facts.running if r.session == session.id]
    booked = own[0].booked if own else ()
    since = segment.counted_from or segment.from_
    mine = (since, session.id)
    others = [
        (r.from_, r.session)
        for r in facts.running
        if r.pass_ == segment.pass_ and r.customer == session.customer and r.session != session.id
    ]
    if any(other < mine for other in others):
        return timedelta(0)
    return counted(since, at, booked)


def with_tab(tabs: tuple[Tab, ...], tab: Tab | None) -> tuple[Tab, ...]:
    """What a visit has run up, with one more stretch: those on one offer are added (P-04)."""
    if tab is None:
        return tabs
    for place, known in enumerate(tabs):
        if known.sale.offer == tab.sale.offer:
            added = Tab(
                sale=known.sale,
                used_s=known.used_s + tab.used_s,
                stretches=(*known.stretches, *tab.stretches),
            )
            return (*tabs[:place], added, *tabs[place + 1 :])
    return (*tabs, tab)


def tab_of(session: Session, facts: Facts, request: Request) -> Tab | None:
    """What a visit's segment ran up on an offer until the instant."""
    segment = session.segment
    if segment is None or segment.sale is None:
        return None
    used_s = _used_s(segment.from_, request.at, booked_by(facts, request.location))
    stretch = Stretch(segment.from_, request.at, used_s)
    return Tab(sale=segment.sale, used_s=used_s, stretches=(stretch,))


def tab_until(tab: Tab, at: datetime, booked: tuple[Span, ...]) -> Tab:
    """A tab without the time after the instant as of which its visit closes (S-06)."""
    late_s = sum(
        stretch.used_s - min(stretch.used_s, _used_s(stretch.from_, at, booked))
        for stretch in tab.stretches
        if stretch.until > at
    )
    return replace(tab, used_s=tab.used_s - late_s)


def _used_s(from_: datetime, until_: datetime, booked: tuple[Span, ...]) -> int:
    """The real time that counts, in whole seconds, rounded half-up (T-06, S-07)."""
    return (counted(from_, until_, booked) + HALF_A_SECOND) // timedelta(seconds=1)


def booked_by(facts: Facts, location: Location) -> tuple[Span, ...]:
    """The customer's own reservations, where such time does not count (S-07)."""
    if not location.exclude_booked_minutes:
        return ()
    return tuple(Span(r.from_, r.until) for r in facts.reservations)
