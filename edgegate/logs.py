"""Log lines: one line an event, `key=value` pairs behind it, on stderr for the journal to keep.

They hold ids and keyed hashes, never names or card numbers.
"""

import json
import logging
import re
import sys
from typing import Any

LINE_CHARACTERS_MAX = 8000
"""A longer line is cut; the journal would split it."""

_PRIORITY = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3}
_PLAIN = re.compile(r"[^\s\"=]+\Z")


def set_up(level: str, *, for_journal: bool) -> None:
    """Send all logging to stderr; for the journal each line begins with its priority."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LineFormatter(for_journal=for_journal))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)


def event(log: logging.Logger, name: str, **fields: Any) -> None:
    """Log an event with its fields; fields that are None are left out."""
    log.info(name, extra={"fields": fields})


class LineFormatter(logging.Formatter):
    """Formats a record as `[<6>]event key=value …`, a trace as one more value."""

    def __init__(self, *, for_journal: bool) -> None:
        super().__init__()
        self._for_journal = for_journal

    def format(self, record: logging.LogRecord) -> str:
        """The line of a record."""
        fields: dict[str, Any] = {}
        if not self._for_journal:
            fields["at"] = self.formatTime(record)
        fields["level"] = record.levelname.lower()
        fields |= getattr(record, "fields", {"from": record.name})
        if record.exc_info:
            fields["trace"] = self.formatException(record.exc_info)
        pairs = (f"{key}={_shown(value)}" for key, value in fields.items() if value is not None)
        line = " ".join((record.getMessage().replace("\n", " "), *pairs))[:LINE_CHARACTERS_MAX]
        return f"<{_PRIORITY.get(record.levelno, 6)}>{line}" if self._for_journal else line


def _shown(value: object) -> str:
    text = str(value)
    return text if _PLAIN.match(text) else json.dumps(text, ensure_ascii=False)
