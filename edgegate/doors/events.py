"""What a door reports: one record for each thing that happened, named as the ledger names it."""

from enum import StrEnum

import msgspec


class DoorEventKind(StrEnum):
    """What happened at a door; the ledger's type is `edgegate.door.` and this word."""

    UNLOCKED = "unlocked"
    OPENED = "opened"
    CLOSED = "closed"
    HELD = "held"
    FORCED = "forced"
    EXIT = "exit"
    LOCKDOWN = "lockdown"
    FIRE = "fire"


class Cause(StrEnum):
    """Why a door was unlocked, or who asked to leave."""

    GRANT = "grant"
    KEEP_OPEN = "keep_open"
    EXIT_BUTTON = "exit_button"
    EXIT_READER = "exit_reader"


class DoorEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that happened at a door; fields that do not apply are None and not recorded."""

    kind: DoorEventKind
    at_s: float
    """When, in the seconds of the monotonic clock that the door runs by."""
    cause: Cause | None = None
    for_s: float | None = None
    """For how long the strike was released, from `at_s` on."""
    cleared: bool | None = None
    """For held, forced, lockdown and fire: False when it began, True when it ended."""
    found: bool | None = None
    """For opened and closed: the leaf was found so when its contact came (back), not seen to move.
    """
    strike_answered: bool | None = None
    """For unlocked, exit and fire: False if the strike did not take it and may still be locked."""

    @property
    def ledger_type(self) -> str:
        """The CloudEvents type of the entry (PROTOCOL.md, Ledger)."""
        return f"edgegate.door.{self.kind.value}"

    def data(self) -> dict[str, str | int | bool]:
        """The data of the ledger entry: whole milliseconds, words and flags, nothing personal."""
        fields: dict[str, str | int | bool | None] = {
            "cause": None if self.cause is None else self.cause.value,
            "for_ms": None if self.for_s is None else round(self.for_s * 1000),
            "cleared": self.cleared,
            "found": self.found,
            "strike_answered": self.strike_answered,
        }
        return {name: value for name, value in fields.items() if value is not None}
