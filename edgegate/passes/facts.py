"""What a decision may look at: a request, and the facts about one customer at one location."""

from collections.abc import Mapping
from datetime import datetime, timedelta

from msgspec import Struct

from edgegate.passes.localtime import BusinessDay, business_day
from edgegate.passes.model import (
    Channel,
    Contract,
    Coverage,
    Customer,
    Door,
    Kind,
    Location,
    Pass,
    Session,
)

ZERO = timedelta(0)


class Request(Struct, frozen=True, kw_only=True):
    """Somebody wants in, at one instant, by one way."""

    at: datetime
    location: Location
    channel: Channel
    door: Door | None = None

    def moved(self, at: datetime) -> "Request":
        """The same request at another instant."""
        return Request(at=at, location=self.location, channel=self.channel, door=self.door)


class Running(Struct, frozen=True, kw_only=True):
    """An open segment on a minute pass, whoever's it is."""

    session: str
    customer: str
    pass_: str
    from_: datetime


class Facts(Struct, frozen=True, kw_only=True):
    """All that is known of one customer at one location, gathered once.

    `passes` and `contracts` are the customer's and the team's, cancelled passes left out (F-10);
    `remaining` is by pass (M-01), whole uses or minutes; `coverages` are those that still run and
    those of the current business day; `running` are the open segments on any minute pass among
    `passes`.
    """

    customer: Customer
    ancestry: tuple[str, ...]
    """The location's id and those of all that it lies in, nearest first."""
    contracts: tuple[Contract, ...] = ()
    passes: tuple[Pass, ...] = ()
    remaining: Mapping[str, int] = {}
    coverages: tuple[Coverage, ...] = ()
    session: Session | None = None
    running: tuple[Running, ...] = ()
    lockdown: bool = False

    def pass_of(self, pass_id: str) -> Pass | None:
        """The pass of that id, if the customer has it."""
        return next((p for p in self.passes if p.id == pass_id), None)

    def contract_of(self, p: Pass) -> Contract | None:
        """The contract that a pass hangs on, if it is known."""
        return next((c for c in self.contracts if c.id == p.contract), None)

    def active_contracts(self, at: datetime) -> tuple[Contract, ...]:
        """The contracts that run at the instant."""
        return tuple(c for c in self.contracts if runs(c, at))

    def kind(self, at: datetime) -> Kind:
        """Member or contact, as of the instant (§1)."""
        return Kind.MEMBERS if any(runs(c, at) for c in self.contracts) else Kind.CONTACTS

    def running_time(self, p: Pass, at: datetime) -> timedelta:
        """What open segments have used of a minute pass and not yet debited (C-06).

        One customer's time at several locations counts once, several customers' time adds up.
        """
        return sum((at - started for started in self.runners(p).values()), ZERO)

    def runners(self, p: Pass) -> dict[str, datetime]:
        """Who uses up a minute pass now, each since the earliest of the open segments on it."""
        since: dict[str, datetime] = {}
        for r in self.running:
            if r.pass_ == p.id and (r.customer not in since or r.from_ < since[r.customer]):
                since[r.customer] = r.from_
        return since


def runs(contract: Contract, at: datetime) -> bool:
    """Whether a contract is active at the instant: begun, and not ended."""
    begun = contract.starts_at is None or contract.starts_at <= at
    return begun and (contract.ends_at is None or at < contract.ends_at)


def day_of(location: Location, at: datetime) -> BusinessDay:
    """The location's business day that the instant lies in (T-01)."""
    return business_day(location.timezone, location.day_cutoff, at)
