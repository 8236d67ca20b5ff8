"""What devices spent, as the cloud sees it: values for merging (M-02) and settling (M-03)."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from msgspec import Struct

from edgegate.passes.facts import Facts
from edgegate.passes.happenings import Debited, Refunded
from edgegate.passes.model import Contract, Customer, Location, Offer, Pass

ANCESTORS_MAX = 16
"""How deep locations may lie in each other; a deeper or circular tree is cut there."""

Position = tuple[str, int, int]
"""Device, epoch and sequence of an entry."""


class Use(Struct, frozen=True, kw_only=True):
    """A debit that a device recorded."""

    id: str
    """Of the entry."""
    position: Position
    at: datetime
    """When it was recorded: for time, the end of the stretch."""
    spent: Debited

    @property
    def device(self) -> str:
        """The device that spent it."""
        return self.position[0]


class Return(Struct, frozen=True, kw_only=True):
    """A refund that a device recorded (S-06)."""

    position: Position
    at: datetime
    refund: Refunded

    @property
    def device(self) -> str:
        """The device that gave it back."""
        return self.position[0]


class Visit(Struct, frozen=True, kw_only=True):
    """What of a session bounds its debits: when it ends, or at the latest would (S-05)."""

    id: str
    customer: str
    location: str
    device: str
    opened_at: datetime
    closes_at: datetime
    closed_at: datetime | None = None

    @property
    def ends_at(self) -> datetime:
        """When it ended, as far as anybody knows."""
        return self.closes_at if self.closed_at is None else min(self.closed_at, self.closes_at)


class Known(Struct, frozen=True, kw_only=True):
    """The records that merging and settling look at, by id; what is missing is unknown."""

    customers: Mapping[str, Customer] = {}
    contracts: tuple[Contract, ...] = ()
    passes: Mapping[str, Pass] = {}
    locations: Mapping[str, Location] = {}
    offers: tuple[Offer, ...] = ()

    def ancestry(self, location_id: str) -> tuple[str, ...]:
        """A location's id and those of all that it lies in, nearest first."""
        ids = [location_id]
        while len(ids) < ANCESTORS_MAX:
            known = self.locations.get(ids[-1])
            if known is None or known.parent is None or known.parent in ids:
                break
            ids.append(known.parent)
        return tuple(ids)

    def location(self, location_id: str) -> Location:
        """A location; one that is unknown has the default policy."""
        return self.locations.get(location_id) or Location(id=location_id)

    def facts(self, customer_id: str, location_id: str, remaining: Mapping[str, int]) -> Facts:
        """What the chain asks about a customer at a location: their own and their team's."""
        customer = self.customers.get(customer_id) or Customer(id=customer_id)
        holders = {customer.id, customer.team}
        held = tuple(c for c in self.contracts if c.holder in holders)
        return Facts(
            customer=customer,
            ancestry=self.ancestry(location_id),
            contracts=held,
            others_contracts=tuple(c for c in self.contracts if c.holder not in holders),
            passes=tuple(p for p in self.passes.values() if p.holder in holders),
            remaining=remaining,
            offers=self.offers,
        )


def given_back(
    uses: Sequence[Use], returns: Iterable[Return]
) -> tuple[dict[str, int], list[tuple[Return, int]]]:
    """What devices gave back of each use, and of each return what belongs to no known use.

    A refund names its visit and its pass; one of a coverage also the instant at which that began.
    The newest uses of the visit get it first.
    """
    back: dict[str, int] = {}
    unmatched = []
    for r in sorted(returns, key=lambda r: r.position):
        rest = r.refund.amount
        for use in sorted(uses, key=_newest_first):
            part = min(rest, use.spent.amount - back.get(use.id, 0)) if _belongs(r, use) else 0
            if part > 0:
                back[use.id] = back.get(use.id, 0) + part
                rest -= part
        if rest:
            unmatched.append((r, rest))
    return back, unmatched


def _newest_first(use: Use) -> tuple[float, int, int]:
    _, epoch, sequence = use.position
    return (-use.spent.from_.timestamp(), -epoch, -sequence)


def _belongs(r: Return, use: Use) -> bool:
    refund, spent = r.refund, use.spent
    return (
        r.device == use.device
        and refund.session == spent.session
        and refund.pass_ == spent.pass_
        and (refund.from_ is None or refund.from_ == spent.from_)
    )


def elapsed(
    spans: Iterable[tuple[datetime, datetime]], from_: datetime, until: datetime
) -> timedelta:
    """How much of the time between two instants lies in any of the spans."""
    total = timedelta(0)
    reached = from_
    for begins, ends in sorted(spans):
        start, stop = max(begins, reached), min(ends, until)
        if start < stop:
            total += stop - start
            reached = stop
    return total
