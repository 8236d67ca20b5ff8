"""An account kept beside the ledger: what passes should have left, and what visits should cost."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from fractions import Fraction
from itertools import pairwise

from edgegate.passes.happenings import (
    Charged,
    Closed,
    Debited,
    Denied,
    Happening,
    Opened,
    Refunded,
    SegmentBegan,
    SegmentEnded,
    Sold,
)
from edgegate.passes.model import Pass, Per, Record, Reservation, ReservationState, Unit
from edgegate.passes.reasons import Reason
from edgegate.passes.state import MinuteTerms, Sale, Segment
from edgegate.store import cache
from edgegate.store.books import Books
from simulator.steps import Step

SECOND = timedelta(seconds=1)


@dataclass
class Visit:
    """An open session as the account sees it."""

    customer: str
    location: str
    opened_at: datetime
    segment: Segment | None
    minutes: int = 0
    """What was debited by time in all, less refunds; credits by the hour are no minutes."""
    counted: int = 0
    """What was debited by time for the segment that ends now."""
    shared: bool = False
    """Whether another visit of the customer ran on the same pass meanwhile (C-06)."""
    paid: set[str] = field(default_factory=set)
    """Passes that covered it so far (S-04)."""
    handed_over: bool = False
    """Whether its segment ended by itself, and nothing took over yet."""
    sold: dict[str, Sale] = field(default_factory=dict)
    sold_at: dict[str, datetime] = field(default_factory=dict)
    rides: list[tuple[str, datetime, datetime, int]] = field(default_factory=list)
    """Each stretch on an offer: which, from when until when, and its real time in seconds."""
    charges: list[Charged] = field(default_factory=list)

    def goes_on(self, segment: Segment | None) -> None:
        """A segment begins."""
        self.segment = segment
        self.handed_over = False
        if segment is not None:
            self.paid |= {p for p in (segment.pass_, *segment.lots) if p is not None}


@dataclass
class Account:
    """What the entries of one ledger amount to, reckoned as the page says."""

    left: dict[str, int] = field(default_factory=dict)
    visits: dict[str, Visit] = field(default_factory=dict)
    days: Counter[tuple[str, str, date]] = field(default_factory=Counter)
    """Uses of day passes, less refunds: by pass, customer and business day."""
    days_of: dict[tuple[str, str], list[tuple[str, str, date]]] = field(default_factory=dict)
    """Which of them a visit spent, by visit and pass, newest last."""
    sold: set[tuple[str, str, date]] = field(default_factory=set)
    """Days of offers: by offer, customer and business day."""
    sales: dict[str, list[Sold]] = field(default_factory=dict)
    """By visit, as some are sold before it is opened."""
    spans: dict[tuple[str, str], list[Debited]] = field(default_factory=dict)
    """What was debited by time, by customer and pass."""
    paid: dict[str, list[Debited]] = field(default_factory=dict)
    back: Counter[str] = field(default_factory=Counter)
    """What was debited, and how much of it came back, by visit."""

    def told(self, step: Step) -> None:
        """A change from the cloud, before it is acted on."""
        record: Record | None = step.record
        if not isinstance(record, Pass):
            return
        if step.action == "delete":
            self.left.pop(record.id, None)
        elif step.action == "put":
            self.stock(record, step.remaining)

    def stock(self, p: Pass, remaining: int | None) -> None:
        """A pass arrives: it keeps what it has left, unless that is said."""
        if remaining is not None or p.id not in self.left:
            self.left[p.id] = p.amount if remaining is None else remaining

    def post(self, h: Happening, at: datetime, books: Books) -> Iterator[str]:
        """Take an entry into the account; what is wrong with it is told."""
        match h:
            case Opened():
                s = h.session
                visit = Visit(s.customer, s.location, s.opened_at, None)
                self.visits[s.id] = visit
                self._begins(visit, s.segment)
                for sold in self.sales.pop(s.id, ()):
                    self._sold_in(visit, sold)
            case SegmentBegan():
                self._begins(self.visits[h.session], h.segment)
            case SegmentEnded():
                visit = self.visits[h.session]
                yield from self._settled(visit, h.at, books)
                visit.segment, visit.handed_over = None, h.reason is not None
            case Closed():
                yield from self._closed(h, books)
            case Debited():
                yield from self._debited(h, books)
            case Refunded():
                self._refunded(h)
            case Sold() | Charged():
                yield from self._sold(h)
            case Denied() if h.reason is Reason.INTERNAL_ERROR:
                yield f"a fault in the rules: at {at}, {h.fault}"

    def _begins(self, visit: Visit, segment: Segment | None) -> None:
        visit.goes_on(segment)
        self._note_shared(visit)

    def _note_shared(self, visit: Visit) -> None:
        segment = visit.segment
        visit.shared = False
        for other in self.visits.values():
            same = other is not visit and other.customer == visit.customer
            on = other.segment.pass_ if other.segment is not None else None
            if same and segment is not None and on is not None and on == segment.pass_:
                visit.shared = other.shared = True

    def _debited(self, h: Debited, books: Books) -> Iterator[str]:
        if h.pass_ in self.left:
            self.left[h.pass_] -= h.amount
            if h.amount and self.left[h.pass_] < 0:
                yield f"overdrawn: {h.pass_} has {self.left[h.pass_]} after {h}"
        visit = self.visits.get(h.session)
        self.paid.setdefault(h.session, []).append(h)
        if h.counts is not None and visit is not None:
            visit.counted += h.amount
            if h.counts.credit_price_hour is None:
                visit.minutes += h.amount
                yield from self._counted_once(h)
        p = books.record_of(cache.PASS, h.pass_)
        if p is None or p.unit is not Unit.USE or not h.covers:
            return
        if visit is not None and visit.handed_over and h.amount and h.pass_ in visit.paid:
            yield f"a hand-over spent a pass again: {h}"
        if p.per is Per.DAY:
            yield from self._day(h)

    def _day(self, h: Debited) -> Iterator[str]:
        key = (h.pass_, h.customer, h.day)
        self.days[key] += h.amount
        if h.amount:
            self.days_of.setdefault((h.session, h.pass_), []).append(key)
        if self.days[key] > 1:
            yield f"a day spent twice: {key}"

    def _counted_once(self, h: Debited) -> Iterator[str]:
        """C-06: one customer's time at several locations counts once, but for the rounding."""
        spans = self.spans.setdefault((h.customer, h.pass_), [])
        spans.append(h)
        beside = [s for s in spans if s.from_ < until_of(h) and h.from_ < until_of(s)]
        if len(beside) > 1:
            union = max(map(until_of, beside)) - min(s.from_ for s in beside)
            most = union / timedelta(minutes=1) + sum(map(rounding_of, beside))
            if sum(s.amount for s in beside) > most:
                yield f"time counted twice: {beside}"

    def _refunded(self, h: Refunded) -> None:
        if h.pass_ in self.left:
            self.left[h.pass_] += h.amount
        spent = self.days_of.get((h.session, h.pass_))
        if spent:
            self.days[spent.pop()] -= h.amount
        self.back[h.session] += h.amount
        timed = [s for s in self.spans.get((h.customer, h.pass_), ()) if s.session == h.session]
        if timed:
            self.visits[h.session].minutes -= h.amount

    def _sold(self, h: Sold | Charged) -> Iterator[str]:
        visit = self.visits.get(h.session)
        if isinstance(h, Charged):
            self.visits[h.session].charges.append(h)
            return
        if visit is None:
            self.sales.setdefault(h.session, []).append(h)
        else:
            self._sold_in(visit, h)
        if h.sale.amount is None:
            key = (h.sale.offer, h.customer, h.day)
            if key in self.sold:
                yield f"a day sold twice: {key}"
            self.sold.add(key)

    def _sold_in(self, visit: Visit, h: Sold) -> None:
        visit.sold.setdefault(h.sale.offer, h.sale)
        visit.sold_at.setdefault(h.sale.offer, h.from_)

    def _closed(self, h: Closed, books: Books) -> Iterator[str]:
        visit = self.visits.pop(h.session)
        if visit.segment is not None:
            yield from self._settled(visit, h.at, books)
        back, wanted = self.back.pop(h.session, 0), self._late(visit, h, books)
        if back != wanted:
            yield f"given back wrong: {back}, not {wanted}, of a visit that ends with {h}"
        if h.minutes != visit.minutes:
            yield f"minutes told wrong: {visit.minutes} were debited, {h}"
        if sorted(c.offer for c in visit.charges) != sorted(visit.sold):
            yield f"sold and not charged, or the other way: {visit.sold}, {visit.charges}"
            return
        for charged in visit.charges:
            yield from self._charged(visit, charged, h, books)

    def _late(self, visit: Visit, h: Closed, books: Books) -> int:
        """S-06: what a visit was debited for the time after the instant as of which it closes."""
        stretches: dict[datetime, list[Debited]] = {}
        for debited in self.paid.pop(h.session, ()):
            stretches.setdefault(debited.from_, []).append(debited)
        late = 0
        for from_, debits in stretches.items():
            timed = [d for d in debits if d.counts is not None and until_of(d) > h.at]
            total = sum(d.amount for d in timed)
            if from_ > h.at:
                late += sum(d.amount for d in debits)
            elif timed and timed[0].counts is not None:
                due = cost_of(timed[0].counts, time_between(visit, from_, h.at, books))
                late += total - min(total, due)
        return late

    def _charged(self, visit: Visit, h: Charged, closed: Closed, books: Books) -> Iterator[str]:
        """P-01, P-02, P-04, and nothing for what came after the end (S-06)."""
        sale, since = visit.sold[h.offer], visit.sold_at[h.offer]
        came_late = since > closed.at
        used_s = 0
        for offer, from_, until, whole_s in visit.rides:
            if offer == h.offer and until <= closed.at:
                used_s += whole_s
            elif offer == h.offer and from_ < closed.at:
                used = time_between(visit, from_, closed.at, books)
                used_s += min(whole_s, (used + SECOND / 2) // SECOND)
        if h.used_s != used_s:
            yield f"time charged wrong: {used_s} seconds were used, {h}, closed {closed.at}"
        due = 0 if came_late else price_of(sale, h.used_s)
        if h.amount != due:
            yield f"charged wrong: {due} are due, {h}, sold {since}, closed {closed.at}"
        if came_late:
            self.sold = {k for k in self.sold if k[:2] != (h.offer, h.customer)}

    def _settled(self, visit: Visit, at: datetime, books: Books) -> Iterator[str]:
        """Whether what a segment was debited is its time, rounded, as far as it was there."""
        segment, counted = visit.segment, visit.counted
        visit.counted = 0
        if segment is not None and segment.sale is not None:
            used = time_of(visit, segment, at, books)
            whole_s = (used + SECOND / 2) // SECOND
            visit.rides.append((segment.sale.offer, segment.from_, at, whole_s))
        if segment is None or segment.counts is None or segment.pass_ is None:
            return
        if segment.counts.credit_price_hour is not None or segment.pass_ not in self.left:
            return
        due = minutes_of(segment.counts, time_of(visit, segment, at, books))
        before = max(0, self.left[segment.pass_] + counted)
        wanted = min(due, before)
        if counted > wanted or (counted < wanted and not visit.shared):
            yield (
                f"time debited wrong: {visit.customer} {counted} minutes of {segment.pass_}"
                f" from {segment.from_} to {at}, not {wanted} (of {before} left)"
            )


def time_of(visit: Visit, segment: Segment, at: datetime, books: Books) -> timedelta:
    return time_between(visit, segment.from_, at, books)


def time_between(visit: Visit, since: datetime, at: datetime, books: Books) -> timedelta:
    """T-06, S-07: real time, less the customer's own reservations where these do not count."""
    place = books.location(visit.location)
    spans = []
    if place is not None and place.exclude_booked_minutes:
        spans = [(r.from_, r.until) for r in own_reservations(visit.customer, books)]
    edges = sorted({since, at, *(e for span in spans for e in span)})
    total = timedelta(0)
    for begins, ends in pairwise(edges):
        inside = since <= begins and ends <= at
        booked = any(from_ <= begins < until for from_, until in spans)
        total += ends - begins if inside and not booked else timedelta(0)
    return total


def own_reservations(customer: str, books: Books) -> list[Reservation]:
    found = cache.find(books._store.cache, cache.RESERVATION, "customer", customer)
    return [r for r in found if r.state is not ReservationState.CANCELLED]


def minutes_of(counts: MinuteTerms, used: timedelta) -> int:
    """C-06, P-07: seconds are whole, rounded half-up, before minutes are rounded up."""
    seconds = (used + SECOND / 2) // SECOND
    if seconds <= 0:
        return 0
    minutes = 1
    while minutes * 60 < seconds or minutes % counts.increment_minutes:
        minutes += 1
    return max(minutes, counts.minimum_minutes)


def cost_of(counts: MinuteTerms, used: timedelta) -> int:
    """C-06, C-07: minutes, or what a resource's hours cost in credits, rounded once and half-up."""
    minutes, hourly = minutes_of(counts, used), counts.credit_price_hour
    return minutes if hourly is None else int(Fraction(minutes * hourly, 60) + Fraction(1, 2))


def until_of(h: Debited) -> datetime:
    return h.until or h.from_


def rounding_of(h: Debited) -> int:
    """By how much a segment may cost more than its time."""
    terms = h.counts
    return 1 + max(terms.increment_minutes, terms.minimum_minutes) if terms is not None else 0


def price_of(sale: Sale, used_s: int) -> int:
    """P-01, P-02, P-07: exact, and rounded once, half-up."""
    if sale.amount is None:
        return sale.price
    if used_s <= 0:
        return 0
    minutes = max(-(-used_s // 60), sale.minimum_minutes)
    return int(Fraction(minutes * sale.price, sale.amount) + Fraction(1, 2))
