"""What visits leave behind: coverages, sessions and their segments, as the ledger tells them."""

from datetime import date

from msgspec import Struct, field

from edgegate.passes.model import Channel, Count, Id, Instant
from edgegate.passes.reasons import ClosingReason


class Scope(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Where and by which way something paid for counts, as it was when it was paid (C-07)."""

    home: Id | None = None
    locations: tuple[Id, ...] = ()
    door_groups: tuple[str, ...] = ()
    wifi: bool = False
    resources: tuple[Id, ...] = ()


class Coverage(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a spent use bought: free entry for one customer between two instants (C-01).

    It stands on a pass or on an offer. `session` is set where the use covers that visit only
    (`per = visit`, C-05), `scope` where credits paid, whatever becomes of their lots (C-07).
    """

    pass_: Id | None = field(name="pass", default=None)
    offer: Id | None = None
    customer: Id
    day: date
    from_: Instant = field(name="from")
    until: Instant | None = None
    session: str | None = None
    scope: Scope | None = None


class MinuteTerms(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How a minute segment is rounded when it ends (C-06), and what a minute of it costs.

    `credit_price_hour` is set where credits pay for a resource by the hour (C-07).
    """

    increment_minutes: int
    minimum_minutes: int
    credit_price_hour: int | None = None


class Sale(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a pay-as-you-go visit is charged by, as it was at the sale (O-04, P-01 to P-04).

    `amount` is the minutes that `price` is for; None: the price is for the business day.
    """

    offer: Id
    price: int
    currency: str
    amount: int | None
    minimum_minutes: int


class Segment(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A stretch of a session (S-02): on a pass, on a reservation, or on an offer.

    `until` is the end of the coverage, walk-up or reservation that it rides on. `counts` is set
    where the stretch is paid by the minute, with the terms it began under, so that it can be
    settled even if the pass is taken away meanwhile; `lots` are further passes that pay in turn.
    """

    from_: Instant = field(name="from")
    pass_: Id | None = field(name="pass", default=None)
    reservation: Id | None = None
    offer: Id | None = None
    sale: Sale | None = None
    """Set where this visit is charged for the offer: a day is not charged twice."""
    until: Instant | None = None
    channel: Channel = Channel.KIOSK
    door: Id | None = None
    """The way by which it began: F-07 is judged for that one when the cloud changes something."""
    counts: MinuteTerms | None = None
    counted_from: Instant | None = None
    """Set where another of the customer's segments has debited the time before (C-06)."""
    lots: tuple[Id, ...] = ()
    scope: Scope | None = None

    @property
    def passes(self) -> tuple[str, ...]:
        """The passes that it draws on, in their turn."""
        return self.lots if self.pass_ is None else (self.pass_, *self.lots)


class Stretch(Struct, frozen=True):
    """When a visit's segment rode on an offer, and the real time that counts, in seconds."""

    from_: Instant
    until: Instant
    used_s: int


class Tab(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a visit has run up on one offer: real time in seconds, over all its segments (P-04).

    It remembers its stretches for the visit that turns out to have ended before them (S-06).
    """

    sale: Sale
    used_s: int
    stretches: tuple[Stretch, ...] = ()


class Session(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A visit: one open session per customer and location (S-01)."""

    id: str
    customer: Id
    location: Id
    opened_at: Instant
    segment: Segment | None = None
    """None while no pass pays: a flagged visit (D-02), or between two segments."""
    channel: Channel
    """Of the last granted entry at a door without resource, by Wi-Fi or at the kiosk (S-04)."""
    door: Id | None = None
    door_entry: bool = False
    """Whether anybody came in by a door: then a second entry is a passback (D-04)."""
    kiosk_entry: bool = False
    closes_at: Instant
    """The cutoff or automatic check-out, as it was given at the opening (T-08, S-05)."""
    closes_for: ClosingReason
    paid_by: tuple[Id, ...] = ()
    """Every pass that covered this session so far: a hand-over spends no use of them (S-04)."""
    minutes: Count = 0
    """Debited in all by the segments that have ended."""
    tabs: tuple[Tab, ...] = ()
    wifi: bool = False
    """Whether the customer is on the Wi-Fi."""
    idle_since: Instant | None = None
    """When Wi-Fi last showed the customer, since they went off it (S-06)."""
