"""The shape of an explanation; all instants are in UTC, all times inside texts in its zone."""

from datetime import date, datetime

import msgspec
from msgspec import Struct

from edgegate.passes.model import Channel, CustomerStatus, Kind, PassState, Unit
from edgegate.passes.reasons import ClosingReason, Reason


class Named(Struct, frozen=True):
    """A record by its id, with the name that people know it by."""

    id: str
    name: str


class RuleView(Struct, frozen=True, kw_only=True):
    """What one rule of the chain says of a pass, whether or not an earlier one stopped it."""

    id: str
    name: str
    held: bool
    reason: Reason | None
    """Why not, where it did not hold."""
    why: str
    """The facts that it went by."""


class LeftView(Struct, frozen=True, kw_only=True):
    """What is left of a pass, in its unit (M-01): the balance less the debits not counted in it."""

    unit: Unit
    amount: int
    balance: int | None
    """As the cloud last said; None if it never did, and `amount` stands for it."""
    debits_not_counted: int
    remaining: int
    running_s: int
    """Of a minute pass: used by the segments that run now, and not debited yet."""


class CostView(Struct, frozen=True, kw_only=True):
    """What an entry would take from a pass at the first instant at which the pass would pay."""

    amount: int
    until: datetime | None
    """The end of the coverage that it buys; None: the visit, or no coverage at all."""


class PassView(Struct, frozen=True, kw_only=True):
    """How far one pass gets along the chain."""

    id: str
    name: str
    holder: Named
    state: PassState
    part: str | None
    """What it is in the decision: "pays", "covers" or "refused", if anything."""
    place: int | None
    """In the order in which passes are spent, from 1; None: cancelled, so it does not count."""
    rules: tuple[RuleView, ...] = ()
    stopped_at: str | None = None
    """The id of the first rule that does not hold."""
    left: LeftView | None = None
    cost: CostView | None = None
    retry_at: datetime | None = None
    """When it would survive the chain if only time passed (F-14)."""


class ContractView(Struct, frozen=True, kw_only=True):
    """A contract of the customer or the team."""

    id: str
    holder: Named
    plan: str
    starts_at: datetime | None
    ends_at: datetime | None
    runs: bool


class CoverageView(Struct, frozen=True, kw_only=True):
    """What a spent use bought."""

    pass_: Named = msgspec.field(name="pass")
    day: date
    from_: datetime = msgspec.field(name="from")
    until: datetime | None
    runs: bool


class VisitView(Struct, frozen=True, kw_only=True):
    """The open session at the location, and what time does to it next."""

    id: str
    opened_at: datetime
    pass_: Named | None = msgspec.field(name="pass")
    since: datetime | None
    """When that pass took over."""
    ends_at: datetime
    """When time alone ends what that pass pays for, or closes the visit."""
    ends_for: ClosingReason


class Explanation(Struct, frozen=True, kw_only=True):
    """Why a customer may enter at an instant by one way, or not."""

    at: datetime
    zone: str
    location: Named
    door: Named | None
    channel: Channel
    customer: Named
    status: CustomerStatus
    staff: bool
    kind: Kind
    team: Named | None
    exit: bool
    """The door leads out: it opens for everybody (D-06), and the rest is as at an entry."""
    opens: bool
    reason: Reason
    retry_at: datetime | None
    member_reads: str
    staff_read: str
    passes: tuple[PassView, ...]
    """In the order in which they are spent; cancelled ones last."""
    contracts: tuple[ContractView, ...]
    coverages: tuple[CoverageView, ...]
    visit: VisitView | None
    notes: tuple[str, ...]
    """What this answer does not know or was not asked."""


def to_json(explanation: Explanation) -> str:
    """The explanation as indented JSON; instants are RFC 3339."""
    return msgspec.json.format(msgspec.json.encode(explanation)).decode()
