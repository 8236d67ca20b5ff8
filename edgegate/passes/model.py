"""The things that the rules speak of: records from the cloud, and what visits leave behind.

Instants are timezone-aware and normalised to UTC; wall times are "HH:MM" in the location's zone;
money is integer minor units, credits are integer hundredths, minutes are integers.
"""

from datetime import date, datetime
from enum import StrEnum
from typing import Annotated

from msgspec import Meta, Struct, field

from edgegate.passes.localtime import is_zone

Instant = Annotated[datetime, Meta(tz=True)]
"""A point in time, always with an offset."""

Id = Annotated[str, Meta(min_length=1, max_length=128)]
"""The cloud's name for a record; compared by code point."""

WallTime = Annotated[
    str,
    Meta(
        pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]\Z",
        description='a time of day from "00:00" to "23:59"',
    ),
]
WallEnd = Annotated[
    str,
    Meta(
        pattern=r"^(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)\Z",
        description='a time of day from "00:00" to "24:00"',
    ),
]
Count = Annotated[int, Meta(ge=0, le=1_000_000_000)]
Positive = Annotated[int, Meta(ge=1, le=1_000_000)]
"""A length in minutes or hours that a date can still be moved by."""

Length = Annotated[int, Meta(ge=0, le=1_000_000)]
"""Like `Positive`, or nothing at all."""

Days = Annotated[int, Meta(ge=0, le=36_500)]
Number = Annotated[int, Meta(ge=0, le=2**31 - 1)]
"""An epoch or a sequence: CloudEvents 1.0 integers have 32 bits and a sign."""


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
    """Which way a door's reader lets people through (D-06, D-10)."""

    ENTRY = "entry"
    EXIT = "exit"
    TOGGLE = "toggle"


class DoorPolicy(StrEnum):
    """What a door asks for (D-01)."""

    PASS = "pass"  # noqa: S105 - the rule's own word
    CHECK_IN_FIRST = "check_in_first"
    BOOKING = "booking"
    MEMBERSHIP = "membership"
    STAFF = "staff"
    FREE = "free"


class OnNoPass(StrEnum):
    """What a door does for somebody whom its policy and the chain refuse (D-02)."""

    DENY = "deny"
    OPEN_AND_FLAG = "open_and_flag"


class AntiPassback(StrEnum):
    """What a second entry without an exit comes to (D-04)."""

    OFF = "off"
    SOFT = "soft"
    HARD = "hard"


class LeaseRule(StrEnum):
    """Who may come in while nobody knows how the passes stand now (D-08, D-09)."""

    DENY_NEW = "deny_new"
    ALLOW_KNOWN = "allow_known"
    ALLOW_ALL = "allow_all"
    DENY_ALL = "deny_all"


class ReservationState(StrEnum):
    """How far a reservation got (C-09)."""

    SCHEDULED = "scheduled"
    ARRIVED = "arrived"
    CANCELLED = "cancelled"


class Channel(StrEnum):
    """How a request came: F-07 asks a door for its groups and Wi-Fi for `wifi`."""

    DOOR = "door"
    WIFI = "wifi"
    KIOSK = "kiosk"


class HolderFirst(StrEnum):
    """Whose passes are spent first (O-02)."""

    PERSONAL = "personal"
    TEAM = "team"


class OrderKey(StrEnum):
    """A key by which O-02 sorts the passes that could pay."""

    PRIORITY = "priority"
    EXPIRES_AT = "expires_at"
    SOURCE = "source"
    REMAINING = "remaining"
    UNIT = "unit"
    ID = "id"


class Record(Struct, frozen=True, kw_only=True, omit_defaults=True):
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
    holder_first: HolderFirst = HolderFirst.PERSONAL
    payg: tuple[Kind, ...] = ()
    payg_offline_ceiling: Count | None = None
    payg_hand_over: bool = False
    paused_may_enter: bool = False
    reservation_lead_minutes: Length = 0
    auto_checkout_at: WallTime | None = None
    auto_checkout_after_minutes: Positive | None = None
    wifi_presence: bool = False
    wifi_idle_minutes: Positive = 15
    exclude_booked_minutes: bool = False
    credit_price: Count | None = None
    """What a check-in costs, in hundredths of a credit."""
    credit_plan_prices: dict[str, Count] = {}
    capacity: Count | None = None
    keep_expired_days: Days = 30
    ledger_keep_days: Days = 90

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
    verifier: Annotated[str, Meta(max_length=1024)] = ""
    """What proves possession: for a `wifi_login` its password's hash (edgegate/wifi/verifiers.py);
    empty: no password fits."""
    status: CredentialStatus = CredentialStatus.ACTIVE
    valid_from: Instant | None = None
    valid_until: Instant | None = None


class Terms(Record, frozen=True):
    """What a pass and an offer have in common: what it buys, and where, when and for whom."""

    name: str = ""
    unit: Unit = Unit.USE
    per: Per = Per.DAY
    window_minutes: Positive | None = None
    amount: Count = 0
    home: Id | None = None
    locations: tuple[Id, ...] = ()
    audience: Audience = Audience.ALL
    plans: tuple[str, ...] = ()
    hours: tuple[Hours, ...] = ()
    holidays: HolidayRule = HolidayRule.OPEN
    door_groups: tuple[str, ...] = ()
    wifi: bool = False
    resources: tuple[Id, ...] = ()
    increment_minutes: Positive = 1
    minimum_minutes: Length = 0

    def __post_init__(self) -> None:
        """Refuse terms that say nothing definite."""
        if self.per is Per.WINDOW and self.window_minutes is None:
            raise ValueError('per = "window" needs window_minutes')


class Pass(Terms, frozen=True, kw_only=True):
    """One issue of a pass type to a customer or team, with its terms as sold: a lot."""

    holder: Id
    priority: Priority = Priority.NORMAL
    source: Source | None = None
    valid_from: Instant | None = None
    expires_at: Instant | None = None
    contract: Id | None = None
    on_date: date | None = None
    state: PassState = PassState.ACTIVE
    payment_hold: bool = False


class Offer(Terms, frozen=True, kw_only=True):
    """A pay-as-you-go pass type: sold at the door to whoever has no pass (O-04)."""

    price: Count
    """In minor units: for `amount` minutes (P-01), or for a business day (P-02)."""
    currency: str = ""
    plan_prices: dict[str, Count] = {}
    sold_to: tuple[Kind, ...] = ()
    minimum_minutes: Length = 15

    def __post_init__(self) -> None:
        """Refuse an offer that could not be charged."""
        super().__post_init__()
        if self.unit not in (Unit.USE, Unit.MINUTE) or self.per is not Per.DAY:
            raise ValueError("an offer is sold by the minute or by the day")
        if self.unit is Unit.MINUTE and self.amount == 0:
            raise ValueError("amount must say for how many minutes the price is")


class Resource(Record, frozen=True):
    """A room or a desk that can be reserved."""

    location: Id
    name: str = ""
    credit_price_hour: Count | None = None


class Reservation(Record, frozen=True, kw_only=True):
    """Somebody has a day, a room or a desk for a while; it was paid for when made (C-09)."""

    customer: Id
    location: Id | None = None
    pass_: Id | None = field(name="pass", default=None)
    resource: Id | None = None
    from_: Instant = field(name="from")
    until: Instant
    state: ReservationState = ReservationState.SCHEDULED


class Counted(Struct, frozen=True, kw_only=True):
    """Up to which entry of a device the cloud has already counted."""

    epoch: Number
    sequence: Number


class Balance(Struct, frozen=True, kw_only=True):
    """What the cloud knows to be left of a pass (M-01)."""

    pass_: Id = field(name="pass")
    remaining: Annotated[int, Meta(ge=-1_000_000_000, le=1_000_000_000)]
    counted: dict[str, Counted] = {}


class Door(Record, frozen=True):
    """A door with its reader, and what it asks for (D-01)."""

    location: Id
    name: str = ""
    groups: tuple[str, ...] = ()
    resource: Id | None = None
    direction: Direction = Direction.ENTRY
    policy: DoorPolicy = DoorPolicy.PASS
    on_no_pass: OnNoPass = OnNoPass.DENY
    schedule: tuple[Hours, ...] = ()
    schedule_after_first_entry: bool = False
    anti_passback: AntiPassback = AntiPassback.OFF
    lease_hours: Positive = 72
    lease_rule: LeaseRule = LeaseRule.DENY_NEW
    device: Id | None = None
