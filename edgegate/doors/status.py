"""A door as it is at one instant, for kiosk, command line and cloud."""

from enum import StrEnum

from msgspec import Struct

from edgegate.doors.state import Alarm, Contact, DoorState


class DoorWord(StrEnum):
    """A door in one word, as the kiosk's row shows it; the first that is so, in this order."""

    FIRE = "fire"
    NOT_ANSWERING = "not_answering"
    FORCED = "forced"
    HELD = "held"
    LOCKDOWN = "lockdown"
    KEPT_OPEN = "kept_open"
    UNLOCKED = "unlocked"
    LOCKED = "locked"


class SensorPresence(StrEnum):
    """Whether a sensor of the door can be believed."""

    NONE = "none"
    """No such sensor has come yet."""
    ANSWERING = "answering"
    LOST = "lost"


class DoorStatus(Struct, frozen=True, kw_only=True):
    """A door at one instant; instants are seconds of the runner's clock."""

    at_s: float
    word: DoorWord
    released: bool
    until_s: float | None
    """When the strike locks if nothing else happens; None while locked and under fire."""
    alarm: Alarm | None
    contact: Contact
    fire: bool
    lockdown: bool
    exit_pressed: bool
    fault: str | None
    """Why the strike does not answer."""
    contact_sensor: SensorPresence
    exit_button: SensorPresence


def status_of(
    state: DoorState,
    *,
    at_s: float,
    fault: str | None,
    contact_sensor: SensorPresence,
    exit_button: SensorPresence,
) -> DoorStatus:
    """What a state and the condition of its devices come to."""
    return DoorStatus(
        at_s=at_s,
        word=_word(state, fault),
        released=state.released,
        until_s=_locks_at_s(state),
        alarm=state.alarm,
        contact=state.contact,
        fire=state.fire,
        lockdown=state.lockdown,
        exit_pressed=state.exit_pressed,
        fault=fault,
        contact_sensor=contact_sensor,
        exit_button=exit_button,
    )


def _word(state: DoorState, fault: str | None) -> DoorWord:
    words = (
        (state.fire, DoorWord.FIRE),
        (fault is not None, DoorWord.NOT_ANSWERING),
        (state.alarm is Alarm.FORCED, DoorWord.FORCED),
        (state.alarm is Alarm.HELD, DoorWord.HELD),
        (state.lockdown, DoorWord.LOCKDOWN),
        (state.kept_open_until_s is not None, DoorWord.KEPT_OPEN),
        (state.released, DoorWord.UNLOCKED),
    )
    return next((word for so, word in words if so), DoorWord.LOCKED)


def _locks_at_s(state: DoorState) -> float | None:
    """When the longest of what is in force ends; fire and a pressed button have no end yet."""
    if state.fire or state.exit_pressed:
        return None
    ends_s = (state.granted_until_s, state.exit_until_s, state.kept_open_until_s)
    return max((end_s for end_s in ends_s if end_s is not None), default=None)
