"""What happened to the store's files, for staff and the cloud to know."""

from enum import StrEnum

from msgspec import Struct


class ReportKind(StrEnum):
    """What was done about a file."""

    LEDGER_SALVAGED = "ledger_salvaged"
    CACHE_RESTORED = "cache_restored"
    CACHE_EMPTIED = "cache_emptied"


class Report(Struct, frozen=True, kw_only=True):
    """A file that was replaced."""

    kind: ReportKind
    file: str
    """Where the file that was replaced is now."""
    detail: str
    """What was wrong with it, and what was saved."""
