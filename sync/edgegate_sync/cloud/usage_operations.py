"""The table of what the admin API does with the books: adjusting, booking, history, faults."""

from typing import Annotated

from msgspec import Meta, Struct

from edgegate.passes.model import Id, Pass, Reservation
from edgegate_sync.cloud.history import History, LedgerState, Parked
from edgegate_sync.cloud.record_operations import LIMIT, part_of_site
from edgegate_sync.cloud.settle import POLICY, Outcome
from edgegate_sync.wire.enrolment import Name
from edgegate_sync.wire.operations import Body, Operation, Parameter, Place, Scope, done, told

Memo = Annotated[str, Meta(max_length=500, pattern=r"^[^\x00]*\Z")]
PlaceName = Annotated[str, Meta(min_length=1, max_length=128, pattern=r"^[^\x00]+\Z")]
Amount = Annotated[int, Meta(ge=-1_000_000, le=1_000_000)]

PASS = Parameter("pass", Id, "The pass's id.", place=Place.PATH)
CUSTOMER = Parameter("customer", Id, "The customer's id, or a team's.", place=Place.PATH)
RESERVATION = Parameter("reservation", Id, "The reservation's id.", place=Place.PATH)
DEVICE = Parameter("device", Name, "The device's name.", place=Place.PATH)
PARKED = Parameter(
    "parked", Annotated[str, Meta(max_length=128)], "Its name in the quarantine.", place=Place.PATH
)
CURSOR = Parameter(
    "cursor",
    Annotated[str, Meta(max_length=300)],
    "Where to go on: `next` of the page before.",
    default="",
)


class Adjustment(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is added to a pass, or deducted with a negative amount, in its unit."""

    amount: Amount
    memo: Memo = ""
    id: Annotated[str, Meta(min_length=1, max_length=100, pattern=r"^[^\x00]+\Z")] | None = None
    """A name of the caller's: an adjustment that is sent twice under one name counts once."""


class Gift(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A new lot, which expires with `expires_at` of the pass or never."""

    lot: Pass
    memo: Memo = ""


class Approval(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What becomes of a pass that awaits approval."""

    approved: bool
    memo: Memo = ""


class Booking(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A reservation that is to be made; what it costs is taken from its pass now."""

    reservation: Reservation
    memo: Memo = ""


class Reasoned(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Why something is done."""

    memo: Memo = ""


class Left(Struct, frozen=True, kw_only=True):
    """What is left of the pass afterwards."""

    remaining: int


class Done(Struct, frozen=True, kw_only=True):
    """How many were settled."""

    count: int


class Quarantine(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Some of what is in quarantine; `next` is the cursor if there may be more."""

    parked: tuple[Parked, ...]
    next: str | None = None


class Policy(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is tried, in this order, when a pass is overdrawn; what is left is forgiven."""

    outcomes: Annotated[tuple[Outcome, ...], Meta(max_length=3)] = POLICY
    location: Annotated[str, Meta(min_length=1, max_length=128, pattern=r"^[^\x00]+\Z")] | None = (
        None
    )
    """None: at every location that has none of its own."""


class Policies(Struct, frozen=True, kw_only=True):
    """The policies of a site."""

    policies: tuple[Policy, ...]


_USAGE = part_of_site("usage", Scope.WRITE, PASS, CUSTOMER, RESERVATION, DEVICE, PARKED)


def _post(name: str, path: str, says: str, body: type[Struct], answer: type[Struct]) -> Operation:
    """Something that changes the books."""
    return _USAGE.operation(
        name,
        f"POST {path}",
        says,
        told("It is done.", answer),
        body=Body(type=body),
        problems={
            404: "There is no such site or record.",
            409: "It may not be done; `detail` why.",
        },
    )


def _get(name: str, path: str, says: str, answer: type[Struct], *more: Parameter) -> Operation:
    """Something that is read page by page."""
    return _USAGE.operation(
        name, f"GET {path}", says, told("A page.", answer), *more, scope=Scope.READ
    )


USAGE_OPERATIONS: tuple[Operation, ...] = (
    _post(
        "adjust_pass",
        "/passes/{pass}/adjustments",
        "Add to a pass or deduct from it, with a memo.",
        Adjustment,
        Left,
    ),
    _post("give_lot", "/lots", "Give a new lot, expiring or for good, with a memo.", Gift, Left),
    _post(
        "decide_pass",
        "/passes/{pass}/approval",
        "Approve or reject a pass that awaits approval.",
        Approval,
        Left,
    ),
    _post(
        "schedule_use",
        "/bookings",
        "Make a reservation; its pass pays for it at once.",
        Booking,
        Left,
    ),
    _post(
        "cancel_use",
        "/bookings/{reservation}/cancel",
        "Cancel a reservation that nobody came for; its pass gets back what it paid.",
        Reasoned,
        Left,
    ),
    _post(
        "abandon_device",
        "/devices/{device}/abandon",
        "Settle the open visits of a device that is lost, as of when it was last seen.",
        Reasoned,
        Done,
    ),
    _get(
        "read_history",
        "/customers/{customer}/history",
        "Read what happened to a customer's passes and money, the newest first.",
        History,
        LIMIT,
        CURSOR,
    ),
    _get(
        "read_ledgers",
        "/ledgers",
        "Read how far the devices' ledgers were taken in, and what is wrong with them.",
        LedgerState,
        LIMIT,
    ),
    _get(
        "list_quarantine",
        "/quarantine",
        "List what devices sent that could not be taken for what it says it is.",
        Quarantine,
        LIMIT,
        CURSOR,
    ),
    _USAGE.operation(
        "read_quarantined",
        "GET /quarantine/{parked}",
        "Read something in quarantine as it came.",
        told("As it came.", Parked),
        scope=Scope.ADMIN,
        problems={404: "There is no such thing in quarantine."},
    ),
    _post(
        "dismiss_quarantined",
        "/quarantine/{parked}/dismiss",
        "Note that somebody has looked at something in quarantine, and what came of it.",
        Reasoned,
        Parked,
    ),
    _get("list_policies", "/settlement-policies", "Read what overdrawn uses become.", Policies),
    _USAGE.operation(
        "put_policy",
        "PUT /settlement-policies",
        "Say what overdrawn uses become, at a location or everywhere.",
        done("It holds for what is settled from now on."),
        scope=Scope.ADMIN,
        body=Body(type=Policy),
    ),
)
"""The books' part of the admin API; its tag is "usage"."""
