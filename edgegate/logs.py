"""Log lines: one line an event, `key=value` pairs behind it, on stderr for the journal to keep.

They hold ids and keyed hashes, never names or card numbers.
"""

import atexit
import json
import logging
import queue
import re
import sys
import time
from collections import deque
from logging.handlers import QueueHandler, QueueListener
from typing import Any

LINE_CHARACTERS_MAX = 8000
"""A longer line is cut; the journal would split it."""

LINES_WAITING_MAX = 1000
"""When whoever reads the log is so far behind, the newest line is dropped."""

LINES_KEPT = 200
KEPT_CHARACTERS_MAX = 500
"""So many of the newest lines, and so much of each, are kept in memory for who may not see the
journal."""

LAST_WORDS_S = 0.5
"""How long the end of the process waits for lines that are still to be written."""

_PRIORITY = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3}
_PRIORITY_MARK = re.compile(r"\A<\d>")
_PLAIN = re.compile(r"[^\s\"=]+\Z")


def set_up(level: str, *, for_journal: bool) -> None:
    """Send all logging to stderr; for the journal each line begins with its priority."""
    handler = logging.StreamHandler(sys.stderr)
    waiting: queue.Queue[logging.LogRecord] = queue.Queue(LINES_WAITING_MAX)
    # A log that hangs, as on a dying disk, must stop its own thread and not the doors'.
    hand_over = DroppingHandler(waiting)
    hand_over.setFormatter(LineFormatter(for_journal=for_journal))
    QueueListener(waiting, handler).start()
    atexit.register(_last_words, waiting)
    logging.basicConfig(level=level.upper(), handlers=[hand_over], force=True)


def event(log: logging.Logger, name: str, **fields: Any) -> None:
    """Log an event with its fields; fields that are None are left out."""
    log.info(name, extra={"fields": fields})


def recent() -> list[str]:
    """The newest lines of this process, each after its instant in UTC, the oldest of them first."""
    found = (h for h in logging.getLogger().handlers if isinstance(h, DroppingHandler))
    return [line for handler in found for line in handler.recent()]


def _last_words(waiting: "queue.Queue[logging.LogRecord]") -> None:
    """Let what waits be written when the process ends, but not for longer than a moment."""
    ends_s = time.monotonic() + LAST_WORDS_S
    while not waiting.empty() and time.monotonic() < ends_s:
        time.sleep(0.01)


class DroppingHandler(QueueHandler):
    """Hands finished lines to the thread that writes them; where that hangs they are dropped."""

    def __init__(self, waiting: "queue.Queue[logging.LogRecord]") -> None:
        super().__init__(waiting)
        self.dropped = 0
        self._kept: deque[str] = deque(maxlen=LINES_KEPT)

    def recent(self) -> list[str]:
        """The newest lines, whether they could be written or not."""
        # The lock under which `enqueue` is called.
        self.acquire()
        try:
            return list(self._kept)
        finally:
            self.release()

    def enqueue(self, record: logging.LogRecord) -> None:
        """Never wait."""
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record.created))
        line = _PRIORITY_MARK.sub("", record.getMessage())
        self._kept.append(f"{at} {line[:KEPT_CHARACTERS_MAX]}")
        try:
            self.queue.put_nowait(record)
        except queue.Full:
            self.dropped += 1


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
