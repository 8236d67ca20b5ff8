"""What a decision or a deadline writes down: the data of the ledger's entries about visits.

These structs are all that is ever recorded of a visit, so whoever replays them in order has its
state again. They hold ids, never names.
"""

from datetime import date, datetime, timedelta

from msgspec import Struct, field

from edgegate.passes.model import Channel
from edgegate.passes.reasons import ClosingReason, Reason
from edgegate.passes.state import MinuteTerms, Sale, Scope, Segment, Session, Tab


class Granted(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Somebody may enter; `session` is the visit that the entry belongs to, if it has one.

    `customer` is None for an unknown credential that the offline rule lets in (D-08).
    """

    location: str
    channel: Channel
    customer: str | None
    reason: Reason
    day: date
    """The business day that the entry belongs to, fixed now (T-07)."""
    because: Reason | None = None
    door: str | None = None
    resource: str | None = None
    credential: str | None = None
    pass_: str | None = field(name="pass", default=None)
    offer: str | None = None
    reservation: str | None = None
    session: str | None = None
    lookup: str | None = None


class Denied(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Somebody may not; an unknown credential leaves its keyed hash and nothing else (F-12)."""

    location: str
    channel: Channel
    reason: Reason
    customer: str | None = None
    door: str | None = None
    credential: str | None = None
    lookup: str | None = None
    pass_: str | None = field(name="pass", default=None)
    retry_at: datetime | None = None
    fault: str | None = None
    """The trace of an unexpected fault, where that was the reason."""


class Debited(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Something left a pass: a use with the coverage it bought, or a segment's minutes."""

    pass_: str = field(name="pass")
    customer: str
    location: str
    session: str
    amount: int
    day: date
    """The business day it counts for, fixed now (T-07)."""
    from_: datetime = field(name="from")
    until: datetime | None = None
    covers: bool = False
    visit_only: bool = False
    """Whether the coverage lasts as long as the session and no longer (C-05)."""
    scope: Scope | None = None
    """Where credits paid: the coverage stays whatever becomes of the lots (C-07)."""
    counts: MinuteTerms | None = None
    """Where it was counted by time: the terms it was rounded by."""


class Refunded(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Something came back to a pass: it was spent after the customer had left (S-06)."""

    pass_: str = field(name="pass")
    customer: str
    location: str
    session: str
    amount: int
    from_: datetime | None = field(name="from", default=None)
    """Where a use came back: when the coverage began that is gone with it."""


class Sold(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A pay-as-you-go pass was sold at the door (O-04); `until` is set for a business day."""

    sale: Sale
    customer: str
    location: str
    session: str
    day: date
    from_: datetime = field(name="from")
    until: datetime | None = None


class Charged(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a visit costs on an offer, in minor units (P-05); the cloud invoices."""

    offer: str
    customer: str
    location: str
    session: str
    amount: int
    currency: str
    used_s: int
    taken_back: bool = False
    """Whether it was sold after the customer had left (S-06): what it bought is gone with it."""


class Arrived(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Somebody came for whom a reservation was made (C-09)."""

    reservation: str
    customer: str
    location: str


class Left(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Somebody went out who was in no open visit; one that is open ends with `Closed` (D-06)."""

    customer: str
    location: str
    at: datetime


class WifiStopped(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A customer's devices are off the Wi-Fi, as its accounting says (S-06)."""

    session: str
    customer: str
    location: str
    at: datetime


class WifiDisconnected(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A customer's right to be on the Wi-Fi ended: they are to be disconnected (S-09, S-13)."""

    session: str
    customer: str
    location: str


class Opened(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A session began (S-01)."""

    session: Session


class SegmentEnded(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A session's segment came to its end; `minutes` is what was debited for it (S-02)."""

    session: str
    customer: str
    pass_: str | None = field(name="pass", default=None)
    at: datetime
    reason: ClosingReason | None
    """None where another pass took over at an entry (S-12)."""
    minutes: int = 0
    tab: Tab | None = None
    """What it ran up on an offer."""


class SegmentBegan(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A session goes on, on this pass from here."""

    session: str
    customer: str
    segment: Segment


class Closed(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A session ended; `minutes` is what was debited in all of it."""

    session: str
    customer: str
    location: str
    at: datetime
    reason: ClosingReason
    minutes: int = 0


class Bought(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A coverage bought in a visit that was moved: `from` as it was recorded, `until` as is right.

    `until` is None where it lasts as long as the visit.
    """

    pass_: str | None = field(name="pass", default=None)
    offer: str | None = None
    from_: datetime = field(name="from")
    until: datetime | None = None


class Moved(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A visit began at another time than a clock said that nobody believed and that is set now.

    All that was recorded of it before lies as much later or earlier as its opening does.
    """

    session: str
    customer: str
    location: str
    was: datetime
    """When it had opened by that clock."""
    opened_at: datetime
    day: date
    """The business day that it opened on."""
    closes_at: datetime | None = None
    """The cutoff or automatic check-out of that day; None for a visit that has ended."""
    closes_for: ClosingReason | None = None
    segment: Segment | None = None
    """What runs now, as it is after the move."""
    bought: tuple[Bought, ...] = ()

    @property
    def by(self) -> timedelta:
        """How much later it began."""
        return self.opened_at - self.was


Happening = (
    Granted
    | Denied
    | Debited
    | Refunded
    | Sold
    | Charged
    | Arrived
    | Opened
    | SegmentEnded
    | SegmentBegan
    | Closed
    | Moved
    | Left
    | WifiStopped
    | WifiDisconnected
)
