"""What a decision may look at: a request, and the facts about one customer at one location."""

from collections import defaultdict
from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import cached_property

from msgspec import Struct

from edgegate.passes.localtime import BusinessDay, business_day
from edgegate.passes.model import (
    Channel,
    Contract,
    Customer,
    Door,
    Kind,
    Location,
    Offer,
    Pass,
    Reservation,
    Resource,
)
from edgegate.passes.state import Coverage, MinuteTerms, Session

ZERO = timedelta(0)


class Request(Struct, frozen=True, kw_only=True, dict=True):
    """Somebody wants in, at one instant, by one way."""

    at: datetime
    location: Location
    channel: Channel
    door: Door | None = None

    @cached_property
    def day(self) -> BusinessDay:
        """The location's business day that the instant lies in (T-01)."""
        return day_of(self.location, self.at)

    def moved(self, at: datetime) -> "Request":
        """The same request at another instant."""
        return Request(at=at, location=self.location, channel=self.channel, door=self.door)


class Span(Struct, frozen=True):
    """A stretch of time, its first instant included, its last not."""

    from_: datetime
    until: datetime


class Running(Struct, frozen=True, kw_only=True):
    """An open segment on a pass that is paid by time, whoever's it is."""

    session: str
    customer: str
    pass_: str
    from_: datetime
    closes_at: datetime
    """When its session closes at the latest (S-05)."""
    booked: tuple[Span, ...] = ()
    """The customer's own reservations meanwhile, where such time is not counted (S-07)."""
    counts: MinuteTerms | None = None
    lots: tuple[str, ...] = ()
    """Further passes that pay in turn (C-07)."""


class Facts(Struct, frozen=True, kw_only=True, dict=True):
    """All that is known of one customer at one location, gathered once.

    `passes` and `contracts` are the customer's and the team's, cancelled passes left out (F-10);
    `remaining` is by pass (M-01), whole uses or minutes, also of the further passes that `running`
    segments draw on; `coverages` are those that still run and those of the current business day;
    `running` are the open segments that draw by time on any pass among `passes`. What is looked up
    for each of many passes is sorted by its id the first time.
    """

    customer: Customer
    ancestry: tuple[str, ...]
    """The location's id and those of all that it lies in, nearest first."""
    contracts: tuple[Contract, ...] = ()
    others_contracts: tuple[Contract, ...] = ()
    """Those of other holders that a pass hangs on: they make nobody here a member."""
    passes: tuple[Pass, ...] = ()
    remaining: Mapping[str, int] = {}
    coverages: tuple[Coverage, ...] = ()
    session: Session | None = None
    running: tuple[Running, ...] = ()
    lockdown: bool = False
    reservations: tuple[Reservation, ...] = ()
    """The customer's own that are not cancelled and not long over, as far as they got here."""
    taken: tuple[Reservation, ...] = ()
    """Other people's reservations of the door's resource that are not over, by their beginning."""
    resource: Resource | None = None
    """The door's."""
    offers: tuple[Offer, ...] = ()
    charged_offline: int | None = None
    """What was charged to the customer since the cloud was last reached, in minor units (O-05);
    None while it is in reach."""
    inside: int = 0
    """Open sessions at the location (D-05)."""
    day_begun: bool = False
    """Whether anybody was let in at the location this business day (D-03)."""
    cache_age: timedelta = ZERO
    """How long ago the cloud was last reached (D-08)."""
    seen_at: datetime | None = None
    """When the customer was last let in here."""
    clock_trusted: bool = True

    def pass_of(self, pass_id: str) -> Pass | None:
        """The pass of that id, if the customer has it."""
        return self._passes_by_id.get(pass_id)

    def contract_of(self, p: Pass) -> Contract | None:
        """The contract that a pass hangs on, if it is known."""
        return self._contracts_by_id.get(p.contract) if p.contract is not None else None

    def coverages_on(self, pass_id: str) -> list[Coverage]:
        """The customer's coverages that stand on a pass."""
        return self._coverages_by_pass.get(pass_id, [])

    def active_contracts(self, at: datetime) -> tuple[Contract, ...]:
        """The contracts that run at the instant."""
        if at not in self._active_contracts:
            self._active_contracts[at] = tuple(c for c in self.contracts if runs(c, at))
        return self._active_contracts[at]

    def kind(self, at: datetime) -> Kind:
        """Member or contact, as of the instant (§1)."""
        return Kind.MEMBERS if self.active_contracts(at) else Kind.CONTACTS

    def running_time(self, p: Pass, at: datetime) -> timedelta:
        """What open segments have used of a minute pass and not yet debited (C-06).

        One customer's time at several locations counts once, several customers' time adds up.
        """
        return sum((used for _, used in self.times_on(p.id, at)), ZERO)

    def times_on(self, pass_id: str, at: datetime) -> list[tuple[Running, timedelta]]:
        """Who uses up a pass by time, first of all passes, and for how long until the instant."""
        running = self._running_by_pass.get(pass_id)
        if running is None:
            return []
        closes: dict[str, datetime] = {}
        for r in running:
            closes[r.customer] = max(r.closes_at, closes.get(r.customer, r.closes_at))
        return [
            (r, counted(r.from_, min(at, closes[r.customer]), r.booked))
            for r in self.runners(pass_id).values()
        ]

    def runners(self, pass_id: str) -> dict[str, Running]:
        """Who uses up a pass by time now, each by the earliest of their open segments on it."""
        first: dict[str, Running] = {}
        for r in self._running_by_pass.get(pass_id, ()):
            if r.customer not in first or r.from_ < first[r.customer].from_:
                first[r.customer] = r
        return first

    def plans(self, at: datetime) -> frozenset[str]:
        """The plans that the customer is on at the instant."""
        return frozenset(c.plan for c in self.active_contracts(at))

    @cached_property
    def credits_by_instant(self) -> dict[datetime, Mapping[str, int]]:
        """What `coverage.credits_left` found out."""
        return {}

    @cached_property
    def lots_by_request(self) -> dict[tuple[datetime, Channel, str | None], list[Pass]]:
        """What `chain.lots_for` found out."""
        return {}

    @cached_property
    def _passes_by_id(self) -> dict[str, Pass]:
        return {p.id: p for p in self.passes}

    @cached_property
    def _contracts_by_id(self) -> dict[str, Contract]:
        return {c.id: c for c in (*self.others_contracts, *self.contracts)}

    @cached_property
    def _coverages_by_pass(self) -> dict[str | None, list[Coverage]]:
        found = defaultdict(list)
        for c in self.coverages:
            found[c.pass_].append(c)
        return dict(found)

    @cached_property
    def _running_by_pass(self) -> dict[str, list[Running]]:
        found = defaultdict(list)
        for r in self.running:
            found[r.pass_].append(r)
        return dict(found)

    @cached_property
    def _active_contracts(self) -> dict[datetime, tuple[Contract, ...]]:
        return {}


def running_of(session: Session, booked: tuple[Span, ...]) -> Running | None:
    """A visit as one that uses something up by time; None: its segment does not."""
    segment = session.segment
    if segment is None or segment.counts is None or segment.pass_ is None:
        return None
    return Running(
        session=session.id,
        customer=session.customer,
        pass_=segment.pass_,
        from_=segment.counted_from or segment.from_,
        closes_at=session.closes_at,
        booked=booked,
        counts=segment.counts,
        lots=segment.lots,
    )


def counted(from_: datetime, until: datetime, booked: tuple[Span, ...]) -> timedelta:
    """Real elapsed time (T-06) less what lies in reservations that do not count (S-07)."""
    total = max(ZERO, until - from_)
    reached = from_
    for span in sorted(booked, key=lambda b: b.from_):
        begins, ends = max(reached, span.from_), min(until, span.until)
        if begins < ends:
            total -= ends - begins
            reached = ends
    return total


def runs(contract: Contract, at: datetime) -> bool:
    """Whether a contract is active at the instant: begun, and not ended."""
    begun = contract.starts_at is None or contract.starts_at <= at
    return begun and (contract.ends_at is None or at < contract.ends_at)


def day_of(location: Location, at: datetime) -> BusinessDay:
    """The location's business day that the instant lies in (T-01)."""
    return business_day(location.timezone, location.day_cutoff, at)
