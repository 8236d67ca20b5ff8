"""The cloud's records that no rule of the law reads: plans, door groups, staff and devices.

They are written as those of `edgegate.passes.model`: frozen, by id, with wire names.
"""

from enum import StrEnum
from hashlib import sha256
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from edgegate.passes.model import Id, Instant, Priority, Record, Terms

Months = Annotated[int, Meta(ge=1, le=120)]
Days = Annotated[int, Meta(ge=1, le=36_500)]
Text = Annotated[str, Meta(max_length=256)]


class Grant(Terms, frozen=True, kw_only=True):
    """A lot that a plan gives at each renewal; it becomes a pass with `source = "plan"`.

    Its id is its name within the plan, by which lots already granted are known again.

    The pass is valid from the renewal until the next one, when what is left of it expires and the
    new lot comes (SB-03, AC-03), or for `keep_days` where that is set (DK-04). Its contract ends
    it in either case (F-03).
    """

    priority: Priority = Priority.NORMAL
    keep_days: Days | None = None


class Plan(Record, frozen=True, kw_only=True):
    """What a contract is for; `Contract.plan`, `Terms.plans` and `plan_prices` name it by its id.

    It renews every `renew_months` from the contract's start, at its location's cutoff. An edit
    takes effect at the next renewal; lots already granted stay as they are (DK-02).
    """

    name: Text = ""
    location: Id | None = None
    """Where its lots have their home, and whose time zone and cutoff a renewal follows."""
    renew_months: Months = 1
    grants: Annotated[tuple[Grant, ...], Meta(max_length=64)] = ()
    sold: bool = True
    """Whether new contracts may name it; one that is withdrawn goes on for those who have it."""


class DoorGroup(Record, frozen=True):
    """A name by which doors (`Door.groups`) and passes (`Terms.door_groups`) find each other."""

    name: Text = ""
    location: Id | None = None


class StaffRole(StrEnum):
    """What somebody may do at the desk; each may do what those before it may."""

    DESK = "desk"
    MANAGER = "manager"


class StaffStatus(StrEnum):
    """Whether somebody may sign in."""

    ACTIVE = "active"
    DISABLED = "disabled"


class StaffAccount(Record, frozen=True, kw_only=True):
    """Somebody who works at the desk; entries name them by this id."""

    name: Text = ""
    language: Annotated[str, Meta(max_length=16)] = ""
    role: StaffRole = StaffRole.DESK
    status: StaffStatus = StaffStatus.ACTIVE
    locations: tuple[Id, ...] = ()
    """Where the account works; empty: everywhere at the site."""
    verifier: Annotated[str, Meta(max_length=512)] = ""
    """The PIN's hash in PHC string format (`$scrypt$…`); empty: no PIN was set, none fits."""
    valid_until: Instant | None = None


class LogLevel(StrEnum):
    """How much a device writes to its journal."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class DeviceConfig(Record, frozen=True, kw_only=True):
    """What the cloud tells an appliance; its id is the device's, its wiring stays in its own file.

    What is None is as the device's own configuration says.
    """

    name: Text = ""
    location: Id | None = None
    log_level: LogLevel | None = None
    poll_s: Annotated[int, Meta(ge=5, le=86_400)] | None = None
    """How long a device without a broker waits after a pull that failed or was answered at once."""
    state_s: Annotated[int, Meta(ge=10, le=3_600)] | None = None
    """How often it publishes its state where nothing changes."""


class RenewedLot(Struct, frozen=True, kw_only=True):
    """Which renewal a lot came from; its pass's id is made of it, so that no lot comes twice."""

    contract: Id
    grant: Id
    renewal: Annotated[int, Meta(ge=0, le=100_000)]
    """0 at the contract's start, then one more every `renew_months`."""

    @property
    def pass_id(self) -> str:
        """The id of the pass: the same however often the renewal is tried."""
        # Ids may contain anything, so only a hash of all three keeps two lots apart.
        whole = msgspec.json.encode((self.contract, self.grant, self.renewal))
        return f"{self.contract[:80]}-r{self.renewal}-{sha256(whole).hexdigest()[:24]}"
