"""Why a door opened or not: one closed list for door, kiosk, ledger and cloud (PASSES §11)."""

from enum import StrEnum


class Reason(StrEnum):
    """The outcome of a request. The first twelve open, all others refuse."""

    COVERED = "covered"
    RESERVATION = "reservation"
    PASS = "pass"  # noqa: S105 - the rule's own word
    CREDIT = "credit"
    PAYG = "payg"
    UNLIMITED = "unlimited"
    MEMBERSHIP = "membership"
    FREE = "free"
    STAFF = "staff"
    SCHEDULE = "schedule"
    FLAGGED = "flagged"
    LEASE = "lease"

    UNKNOWN_CREDENTIAL = "unknown_credential"
    CREDENTIAL_BLOCKED = "credential_blocked"
    CREDENTIAL_NOT_VALID = "credential_not_valid"
    CREDENTIAL_FORGED = "credential_forged"
    CREDENTIAL_REPLAYED = "credential_replayed"
    CUSTOMER_DISABLED = "customer_disabled"
    CUSTOMER_PAUSED = "customer_paused"
    NO_PASS = "no_pass"  # noqa: S105 - the rule's own word
    NOT_APPROVED = "not_approved"
    PAYMENT_HOLD = "payment_hold"
    NOT_STARTED = "not_started"
    EXPIRED = "expired"
    CONTRACT_ENDED = "contract_ended"
    OTHER_DATE = "other_date"
    OTHER_LOCATION = "other_location"
    OTHER_AUDIENCE = "other_audience"
    DOOR_NOT_INCLUDED = "door_not_included"
    WIFI_NOT_INCLUDED = "wifi_not_included"
    OUTSIDE_HOURS = "outside_hours"
    USED_UP = "used_up"
    PAYG_CEILING = "payg_ceiling"
    CHECK_IN_FIRST = "check_in_first"
    NOT_BOOKED = "not_booked"
    ANTI_PASSBACK = "anti_passback"
    LOCATION_FULL = "location_full"
    LOCKDOWN = "lockdown"
    LEASE_EXPIRED = "lease_expired"
    CLOCK_UNTRUSTED = "clock_untrusted"
    STAFF_ONLY = "staff_only"
    INTERNAL_ERROR = "internal_error"
    STORAGE_FAILED = "storage_failed"


class ClosingReason(StrEnum):
    """Why a session ended (S-10)."""

    EXIT = "exit"
    CHECKOUT = "checkout"
    WINDOW_ENDED = "window_ended"
    USED_UP = "used_up"
    EXPIRED = "expired"
    CONTRACT_ENDED = "contract_ended"
    AUTO_CHECKOUT = "auto_checkout"
    CUTOFF = "cutoff"
    WIFI_IDLE = "wifi_idle"
    REVOKED = "revoked"
