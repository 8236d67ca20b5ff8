"""What a decision or a deadline writes down: the data of the ledger's entries about visits.

These structs are all that is ever recorded of a visit, so whoever replays them in order has its
state again. They hold ids, never names.
"""

from datetime import date, datetime

from msgspec import Struct, field

from edgegate.passes.model import Channel, Segment, Session
from edgegate.passes.reasons import ClosingReason, Reason


class Granted(Struct, frozen=True, kw_only=True):
    """Somebody may enter; `session` is the visit that the entry belongs to, if it has one."""

    location: str
    channel: Channel
    customer: str
    reason: Reason
    door: str | None = None
    resource: str | None = None
    credential: str | None = None
    pass_: str | None = field(name="pass", default=None)
    session: str | None = None


class Denied(Struct, frozen=True, kw_only=True):
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


class Debited(Struct, frozen=True, kw_only=True):
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


class Opened(Struct, frozen=True, kw_only=True):
    """A session began (S-01)."""

    session: Session


class SegmentEnded(Struct, frozen=True, kw_only=True):
    """A session's segment came to its end; `minutes` is what was debited for it (S-02)."""

    session: str
    customer: str
    pass_: str = field(name="pass")
    at: datetime
    reason: ClosingReason | None
    """None where another pass took over at an entry (S-12)."""
    minutes: int = 0


class SegmentBegan(Struct, frozen=True, kw_only=True):
    """A session goes on, on this pass from here."""

    session: str
    customer: str
    segment: Segment


class Closed(Struct, frozen=True, kw_only=True):
    """A session ended; `minutes` is what was debited in all of it."""

    session: str
    customer: str
    location: str
    at: datetime
    reason: ClosingReason
    minutes: int = 0


Happening = Granted | Denied | Debited | Opened | SegmentEnded | SegmentBegan | Closed
