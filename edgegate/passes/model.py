"""The things that the rules speak of: records from the cloud, and what visits leave behind.

Instants are timezone-aware and normalised to UTC; wall times are "HH:MM" in the location's zone;
money is integer minor units, credits are integer hundredths, minutes are integers.
"""

from datetime import date, datetime
from enum import StrEnum
from typing import Annotated

from msgspec import Meta, Struct, field

from edgegate.passes.localtime import is_zone
from edgegate.passes.reasons import ClosingReason

Instant = Annotated[datetime, Meta(tz=True)]
"""A point in time, always with an offset."""

Id = Annotated[str, Meta(min_length=1, max_length=128)]
"""The cloud's name for a record; compared by code point."""

WallTime = Annotated[str, Meta(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]\Z")]
WallEnd = Annotated[str, Meta(pattern=r"^(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)\Z")]
Count = Annotated[int, Meta(ge=0)]


class Day(StrEnum):
    """A weekday, as `hours` names it; the order is that of `date.weekday()`."""

    MON = "mon"
    TUE = "tue"
    WED = "wed"
    THU = "thu"
    FRI = "fri"
    SAT = "sat"
    SUN = "sun"


class CustomerStatus(StrEnum):
    """Whether a customer may come in at all (F-11)."""

    ACTIVE = "active"
    PAUSED = "paused"
    DISABLED = "disabled"


class CredentialKind(StrEnum):
    """What a member shows, and so how it is proved."""

    NFC_UID = "nfc_uid"
    NFC_NTAG424 = "nfc_ntag424"
    QR_STATIC = "qr_static"
    QR_SIGNED = "qr_signed"
    QR_ROTATING = "qr_rotating"
    MAC = "mac"
    WIFI_LOGIN = "wifi_login"
    PIN = "pin"


class CredentialStatus(StrEnum):
    """A blocked credential names its customer and opens nothing (F-12)."""

    ACTIVE = "active"
    BLOCKED = "blocked"


class Unit(StrEnum):
    """What a pass is counted in."""

    USE = "use"
    MINUTE = "minute"
    CREDIT = "credit"
    UNLIMITED = "unlimited"


class Per(StrEnum):
    """What one use buys (C-02 to C-05)."""

    DAY = "day"
    SLOT = "slot"
    WINDOW = "window"
    VISIT = "visit"


class Priority(StrEnum):
    """Which passes are spent first (O-02)."""

    HIGH = "high"
    NORMAL = "normal"
    LOW = "low"


class Source(StrEnum):
    """Where a pass came from, in the order in which O-02 spends them."""

    PLAN = "plan"
    PROMO = "promo"
    MANUAL = "manual"
    REFUND = "refund"
    PURCHASE = "purchase"
    PAYG = "payg"


class Audience(StrEnum):
    """Whom a pass serves (F-06)."""

    ALL = "all"
    MEMBERS = "members"
    CONTACTS = "contacts"
    PLANS = "plans"


class Kind(StrEnum):
    """A member has a contract that runs at the instant; everybody else is a contact (§1)."""

    MEMBERS = "members"
    CONTACTS = "contacts"


class HolidayRule(StrEnum):
    """Whether a pass's hours run on the location's holidays (T-05)."""

    OPEN = "open"
    CLOSED = "closed"


class PassState(StrEnum):
    """Only an active pass survives F-01; a cancelled one counts as absent (F-10)."""

    ACTIVE = "active"
    AWAITING_APPROVAL = "awaiting_approval"
    REJECTED = "rejected"
    CANCELLED = "cancelled"


class Direction(StrEnum):
    """Which way a door's reader lets people through (D-06)."""

    ENTRY = "entry"
    EXIT = "exit"


class DoorPolicy(StrEnum):
    """What a door asks for (D-01)."""

    PASS = "pass"  # noqa: S105 - the rule's own word
    MEMBERSHIP = "membership"
    STAFF = "staff"
    FREE = "free"


class Channel(StrEnum):
    """How a request came: F-07 asks a door for its groups and Wi-Fi for `wifi`."""

    DOOR = "door"
    WIFI = "wifi"
    KIOSK = "kiosk"


class OrderKey(StrEnum):
    """A key by which O-02 sorts the passes that could pay."""

    PRIORITY = "priority"
    EXPIRES_AT = "expires_at"
    SOURCE = "source"
    REMAINING = "remaining"
    UNIT = "unit"
    ID = "id"


class Record(Struct, frozen=True, kw_only=True):
    """A thing the cloud knows by its id; the wire and the scenario files name the same fields."""

    id: Id


class Hours(Struct, frozen=True, kw_only=True):
    """One entry of `hours`: local wall times on some weekdays; `to` ≤ `from` ends the day after."""

    days: tuple[Day, ...] = tuple(Day)
    from_: WallTime = field(name="from", default="00:00")
    to: WallEnd = "24:00"


class Location(Record, frozen=True):
    """A space, with the policy that holds in it (PASSES §10)."""

    name: str = ""
    parent: Id | None = None
    timezone: str = "UTC"
    day_cutoff: WallTime = "00:00"
    holidays: tuple[date, ...] = ()
    preset: str | None = None
    order: tuple[OrderKey, ...] = (
        OrderKey.PRIORITY,
        OrderKey.EXPIRES_AT,
        OrderKey.SOURCE,
        OrderKey.REMAINING,
        OrderKey.ID,
    )
    holder_first: Annotated[str, Meta(pattern=r"^(personal|team)\Z")] = "personal"
    paused_may_enter: bool = False
    auto_checkout_at: WallTime | None = None
    auto_checkout_after_minutes: Annotated[int, Meta(ge=1)] | None = None

    def __post_init__(self) -> None:
        """Refuse a zone that nobody knows: every decision there would fail."""
        if not is_zone(self.timezone):
            raise ValueError(f'"{self.timezone}" is no time zone, like "Europe/Berlin"')


class Customer(Record, frozen=True):
    """A person."""

    name: str = ""
    team: Id | None = None
    language: str = ""
    status: CustomerStatus = CustomerStatus.ACTIVE
    staff: bool = False


class Team(Record, frozen=True):
    """Customers who share passes and contracts."""

    name: str = ""


class Contract(Record, frozen=True):
    """A membership: while it runs its holder is a member."""

    holder: Id
    plan: str = ""
    starts_at: Instant | None = None
    ends_at: Instant | None = None


class Credential(Record, frozen=True):
    """A card, tag or code of a customer; `lookup` is HMAC(site key, kind ‖ canonical number)."""

    customer: Id
    kind: CredentialKind
    lookup: str = ""
    status: CredentialStatus = CredentialStatus.ACTIVE
    valid_from: Instant | None = None
    valid_until: Instant | None = None


class Pass(Record, frozen=True):
    """One issue of a pass type to a customer or team, with its terms as sold: a lot."""

    holder: Id
    name: str = ""
    unit: Unit = Unit.USE
    per: Per = Per.DAY
    window_minutes: Annotated[int, Meta(ge=1)] | None = None
    amount: Count = 0
    priority: Priority = Priority.NORMAL
    source: Source | None = None
    home: Id | None = None
    locations: tuple[Id, ...] = ()
    audience: Audience = Audience.ALL
    plans: tuple[str, ...] = ()
    hours: tuple[Hours, ...] = ()
    holidays: HolidayRule = HolidayRule.OPEN
    door_groups: tuple[str, ...] = ()
    wifi: bool = False
    resources: tuple[Id, ...] = ()
    valid_from: Instant | None = None
    expires_at: Instant | None = None
    contract: Id | None = None
    on_date: date | None = None
    state: PassState = PassState.ACTIVE
    payment_hold: bool = False
    increment_minutes: Annotated[int, Meta(ge=1)] = 1
    minimum_minutes: Count = 0

    def __post_init__(self) -> None:
        """Refuse terms that say nothing definite."""
        if self.per is Per.WINDOW and self.window_minutes is None:
            raise ValueError('per = "window" needs window_minutes')


class Counted(Struct, frozen=True, kw_only=True):
    """Up to which entry of a device the cloud has already counted."""

    epoch: Count
    sequence: Count


class Balance(Struct, frozen=True, kw_only=True):
    """What the cloud knows to be left of a pass (M-01)."""

    pass_: Id = field(name="pass")
    remaining: int
    counted: dict[str, Counted] = {}


class Door(Record, frozen=True):
    """A door with its reader, and what it asks for (D-01)."""

    location: Id
    name: str = ""
    groups: tuple[str, ...] = ()
    resource: Id | None = None
    direction: Direction = Direction.ENTRY
    policy: DoorPolicy = DoorPolicy.PASS


class Coverage(Struct, frozen=True, kw_only=True):
    """What a spent use bought: free entry for one customer between two instants (C-01).

    `session` is set where the use covers that visit only (`per = visit`, C-05).
    """

    pass_: Id = field(name="pass")
    customer: Id
    day: date
    from_: Instant = field(name="from")
    until: Instant | None = None
    session: str | None = None


class MinuteTerms(Struct, frozen=True, kw_only=True):
    """How a minute segment is rounded when it ends (C-06)."""

    increment_minutes: int
    minimum_minutes: int


class Segment(Struct, frozen=True, kw_only=True):
    """A stretch of a session on one pass (S-02); `until` is the end of the coverage it rides on.

    `counts` is set where the stretch is paid by the minute, with the terms it began under, so
    that it can be settled even if the pass is taken away meanwhile.
    """

    from_: Instant = field(name="from")
    pass_: Id = field(name="pass")
    until: Instant | None = None
    counts: MinuteTerms | None = None


class Session(Struct, frozen=True, kw_only=True):
    """A visit: one open session per customer and location (S-01)."""

    id: str
    customer: Id
    location: Id
    opened_at: Instant
    segment: Segment | None = None
    """None while no pass pays: between the end of one segment and what follows it."""
    channel: Channel
    """Of the last granted entry at a door without resource, by Wi-Fi or at the kiosk (S-04)."""
    door: Id | None = None
    closes_at: Instant
    """The cutoff or automatic check-out, as it was given at the opening (T-08, S-05)."""
    closes_for: ClosingReason
    paid_by: tuple[Id, ...] = ()
    """Every pass that covered this session so far: a hand-over spends no use of them (S-04)."""
    minutes: Count = 0
    """Debited in all by the segments that have ended."""
