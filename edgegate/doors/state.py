"""What is set for a door, what is remembered of it, and what can be done to it."""

from enum import StrEnum
from typing import Annotated

from msgspec import Meta, Struct

from edgegate.doors.events import DoorEvent

Seconds = Annotated[float, Meta(gt=0)]


class DoorSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How one door behaves."""

    exit_s: Seconds = 5.0
    """How long an exit request releases the strike."""
    held_open_s: Annotated[float, Meta(ge=0)] = 30.0
    """How long the leaf may stand open after the unlocking ended; 0: no such alarm."""
    forced_alarm: bool = True
    """False where people leave by a plain handle that no sensor reports."""
    forced_grace_s: Annotated[float, Meta(ge=0)] = 1.0
    """An opening this soon after the lock is still that visitor's: a leaf moves late."""
    relock_on_close: bool = True
    fail_safe: bool = False
    """The lock needs power to hold: without it the door is open."""
    release_s_max: Seconds = 60.0
    """A longer grant is cut to this."""
    keep_open_s_max: Seconds = 86_400.0
    """A door is kept open no longer than this by one order; a longer one is cut."""
    renew_every_s: Seconds = 1.0
    renew_for_s: Seconds = 3.0
    """Each short release of a door that is kept open: how long a hung caller leaves it so."""
    fire_for_s: Seconds = 60.0
    """The same under fire: here a hung caller must not lock people in."""


class Contact(StrEnum):
    """Where the leaf is, as far as its contact tells."""

    UNKNOWN = "unknown"
    CLOSED = "closed"
    OPEN = "open"


class Alarm(StrEnum):
    """What is wrong with an opening."""

    HELD = "held"
    FORCED = "forced"


class DoorState(Struct, frozen=True, kw_only=True):
    """Everything that is remembered of a door between two events."""

    granted_until_s: float | None = None
    exit_until_s: float | None = None
    exit_pressed: bool = False
    kept_open_until_s: float | None = None
    fire: bool = False
    lockdown: bool = False

    released: bool = False
    """The strike was last told to release, and not yet to lock."""
    released_until_s: float = float("-inf")
    """When the last release ends or ended."""

    contact: Contact = Contact.UNKNOWN
    opened: bool = False
    """An opening was reported that has not been reported closed."""
    opened_at_s: float = float("-inf")
    passed: bool = False
    """The leaf opened since the last grant or exit request: closing it ends them."""
    alarm: Alarm | None = None

    next_at_s: float | None = None
    """When the next `Tick` is due."""


class Release(Struct, frozen=True):
    """Tell the strike to unlock for so many seconds."""

    for_s: float


class Lock(Struct, frozen=True):
    """Tell the strike to lock."""


class Emit(Struct, frozen=True):
    """Report what happened."""

    event: DoorEvent


Action = Release | Lock | Emit
