"""Settling what was overdrawn (M-03): moved to another pass, charged, or forgiven.

An entry that was granted stays granted. What the passes of a holder come to is played through in
the order in which it happened, grants and uses alike, so that it does not matter when a device
uploaded: the earlier use has the pass, the later one is settled.
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import date, datetime
from enum import StrEnum

from msgspec import Struct
from msgspec.structs import replace

from edgegate.passes import chain, prices
from edgegate.passes.facts import Facts, Request
from edgegate.passes.happenings import Debited
from edgegate.passes.model import Channel, Location, Offer, Pass, Per, Unit
from edgegate.passes.order import in_order
from edgegate.passes.state import Sale, Tab
from edgegate_sync.cloud.usage import Known, Use


class Outcome(StrEnum):
    """How an overdrawn use was settled."""

    MOVED = "moved"
    CHARGED = "charged"
    FORGIVEN = "forgiven"


POLICY: tuple[Outcome, ...] = tuple(Outcome)
"""What is tried, in this order, where a site says nothing; what is left is always forgiven."""


class Grant(Struct, frozen=True, kw_only=True):
    """Something that came to a pass or left it otherwise than by a use, with its instant."""

    pass_: str
    at: datetime
    amount: int
    """Negative for what was taken."""


class Settlement(Struct, frozen=True, kw_only=True):
    """How a part of a use was settled, in the unit of its pass."""

    use: Use
    place: int = 0
    """Of the parts of one use, from 0."""
    outcome: Outcome
    amount: int
    to_pass: str | None = None
    to_amount: int = 0
    """What the other pass pays: nothing where it is unlimited or its day is recorded."""
    offer: str | None = None
    money: int = 0
    currency: str = ""

    @property
    def why(self) -> str:
        """One sentence for the books."""
        overdrawn = f"the pass {self.use.spent.pass_} had nothing left"
        match self.outcome:
            case Outcome.MOVED:
                return f"{overdrawn}; {self.to_pass} paid"
            case Outcome.CHARGED:
                return f"{overdrawn}; charged as {self.offer}"
            case Outcome.FORGIVEN:
                return f"{overdrawn}, and nothing else could pay"


class Case(Struct, frozen=True, kw_only=True):
    """All that belongs to the passes of one holder."""

    known: Known
    uses: tuple[Use, ...]
    net: Mapping[str, int]
    """What each use comes to after what was given back of it."""
    grants: tuple[Grant, ...] = ()
    sold: frozenset[tuple[str, str, date]] = frozenset()
    """Customer, offer and business day of every day that a device sold."""
    policies: Mapping[str, tuple[Outcome, ...]] = {}
    """By location; "" is the site's own."""


def settled(case: Case) -> list[Settlement]:
    """Every settlement that a holder's uses need, in the order in which they happened."""
    return list(_Run(case).settlements())


class _Run:
    """One pass through a case: what is left of each pass at the instant reached."""

    def __init__(self, case: Case) -> None:
        self._case = case
        self._left = {p.id: p.amount for p in case.known.passes.values()}
        self._days: set[tuple[str, str, date]] = set()
        self._sold = set(case.sold)

    def settlements(self) -> Iterator[Settlement]:
        events: list[Grant | Use] = [*self._case.grants, *self._case.uses]
        for event in sorted(events, key=_when):
            if isinstance(event, Grant):
                if event.pass_ in self._left:
                    self._left[event.pass_] += event.amount
            elif event.spent.pass_ in self._left:
                yield from self._spend(event)

    def _spend(self, use: Use) -> Iterator[Settlement]:
        spent, due = use.spent, self._case.net[use.id]
        paid = max(0, min(due, self._left[spent.pass_]))
        self._left[spent.pass_] -= paid
        if paid or not spent.amount:
            self._days.add((spent.customer, spent.pass_, spent.day))
        if due > paid:
            yield from self._settle(use, due - paid)

    def _settle(self, use: Use, due: int) -> Iterator[Settlement]:
        spent = use.spent
        location = self._case.known.location(spent.location)
        request = Request(at=spent.from_, location=location, channel=Channel.KIOSK)
        facts = self._case.known.facts(spent.customer, spent.location, self._left)
        place = 0
        for outcome in (*self._policy(location), Outcome.FORGIVEN):
            for part in self._try(outcome, use, due, request, facts):
                yield replace(part, place=place)
                place += 1
                due -= part.amount

    def _try(
        self, outcome: Outcome, use: Use, due: int, request: Request, facts: Facts
    ) -> Iterator[Settlement]:
        if not due:
            return
        match outcome:
            case Outcome.MOVED:
                yield from self._moved(use, due, request, facts)
            case Outcome.CHARGED:
                yield from self._charged(use, due, request, facts)
            case Outcome.FORGIVEN:
                yield Settlement(use=use, outcome=outcome, amount=due)

    def _moved(self, use: Use, due: int, request: Request, facts: Facts) -> Iterator[Settlement]:
        spent = use.spent
        for p in in_order(self._payers(use, request, facts), facts, request.location):
            part, cost = self._cost(p, spent, due)
            if part:
                due -= part
                self._left[p.id] -= cost
                self._days.add((spent.customer, p.id, spent.day))
                yield Settlement(
                    use=use, outcome=Outcome.MOVED, amount=part, to_pass=p.id, to_amount=cost
                )

    def _charged(self, use: Use, due: int, request: Request, facts: Facts) -> Iterator[Settlement]:
        sale = _sale(use.spent, request, facts)
        if sale is not None:
            yield Settlement(
                use=use,
                outcome=Outcome.CHARGED,
                amount=due,
                offer=sale.offer,
                money=self._money(sale, use.spent, due),
                currency=sale.currency,
            )

    def _policy(self, location: Location) -> tuple[Outcome, ...]:
        policies = self._case.policies
        return policies.get(location.id, policies.get("", POLICY))

    def _payers(self, use: Use, request: Request, facts: Facts) -> list[Pass]:
        """The holder's other passes that would have let them in then, and have something left."""
        own = self._case.known.passes[use.spent.pass_]
        return [
            p
            for p in facts.passes
            if p.id != own.id
            and p.unit in (own.unit, Unit.UNLIMITED)
            and self._cost(p, use.spent, 1)[0]
            and chain.holds(p, request, facts)
        ]

    def _cost(self, p: Pass, spent: Debited, due: int) -> tuple[int, int]:
        """How much of what is due a pass can pay, and what that takes from it."""
        recorded = (spent.customer, p.id, spent.day) in self._days
        free = p.unit is Unit.UNLIMITED
        if free or (p.unit is Unit.USE and p.per is Per.DAY and recorded):
            return due, 0
        part = max(0, min(due, self._left[p.id]))
        return part, part

    def _money(self, sale: Sale, spent: Debited, due: int) -> int:
        """What the part costs; a business day is charged once (P-02)."""
        if sale.amount is not None:
            return prices.charge(Tab(sale=sale, used_s=due * 60))
        day = (spent.customer, sale.offer, spent.day)
        if day in self._sold:
            return 0
        self._sold.add(day)
        return sale.price


def _when(event: Grant | Use) -> tuple[datetime, int, tuple[str, int, int]]:
    if isinstance(event, Grant):
        return event.at, 0, ("", 0, 0)
    return event.at, 1, event.position


def _sale(spent: Debited, request: Request, facts: Facts) -> Sale | None:
    """What the location would have sold instead (O-04): time by the minute, else the day.

    What credits pay by the hour has no price in money.
    """
    kind = facts.kind(request.at)
    counts = spent.counts
    if kind not in request.location.payg or (counts and counts.credit_price_hour is not None):
        return None
    offers = [o for o in facts.offers if kind in o.sold_to and chain.offered(o, request, facts)]
    by_day = [o for o in offers if o.unit is Unit.USE]
    by_minute = [o for o in offers if o.unit is Unit.MINUTE] if counts else []
    return min(
        _sales(by_minute or by_day, facts, request), key=lambda s: (s.price, s.offer), default=None
    )


def _sales(offers: Iterable[Offer], facts: Facts, request: Request) -> list[Sale]:
    return [prices.sale_of(o, facts, request.at) for o in offers]
