"""The clock that decisions are taken by: it runs on by itself, and is set only on good word.

Effective time is the last trusted instant and what has passed since by the monotonic clock. The
computer's wall clock is followed while somebody vouches for it, in small steps as NTP makes them;
a step of it that nobody vouches for changes nothing here, in either direction.

What happens when:

- The kernel says that NTP keeps the wall clock, and it is where this clock is: it is followed.
- The wall clock is stepped by hand: the kernel no longer vouches, and this clock runs on
  (holdover). Visits are neither drained nor prolonged.
- NTP then corrects it: both agree again, and nothing moved.
- The kernel vouches for a wall clock that is elsewhere: while this clock is believed, that takes
  the confirmation of `edgegate.timesources`; while it is not, it is set at once, either way.
- The computer starts without a battery clock: this clock begins at the last trusted instant on
  record, or at the wall clock if that is later, and is not trusted. The first good word sets it.
  Time spent switched off then counts for visits that were open, as it should.
- The process starts again without the computer: it goes on as if it had not ended.
- An administrator sets the wall clock of a computer that has no source of time at all: it is
  followed from the next start of the process on, unless it lies before the last trusted instant.
"""

import ctypes
import threading
import time
from collections import deque
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import NamedTuple

from edgegate.ports import ClockTrust, Correction

HOLDOVER_S_MAX = 7 * 24 * 3600
"""How long a clock that was once in step is still believed without a source of time."""

ASK_S = 1.0
"""How old the kernel's answer may be: a tap need not ask anew."""

STEP_S = 2.0
"""What differs by less is drift, which a source of time corrects without ado."""

STEPS_MAX = 16
"""So many steps wait to be recorded; then the oldest goes."""

_TIME_ERROR = 5
"""What adjtimex(2) returns while the kernel's clock is not synchronised."""

_TIMEX_BYTES = 512
"""Room for `struct timex`, which has 208 bytes on 64-bit Linux; zeroes only ask."""

KERNEL = "kernel"
CLOUD = "cloud"
RTC = "rtc"
_RANKS = {RTC: 1, CLOUD: 2}
"""Whose word yields to whose; NTP, by whatever program, yields to nobody."""
_RANK_NTP = 3


class Word(NamedTuple):
    """Somebody's word for the time."""

    source: str
    at: datetime
    since_boot_s: float
    """`since_boot_s()` when it was `at`."""
    good_for_s: float
    """How long it counts as trusted; then it is holdover."""
    is_confirmed: bool = True
    """Whether it may move a clock that is believed by more than `STEP_S`."""

    @property
    def rank(self) -> int:
        """The higher one is believed where two differ."""
        return _RANKS.get(self.source, _RANK_NTP)


class Kept(NamedTuple):
    """The last trusted instant, as it is kept over restarts."""

    at: datetime
    boot_id: str
    since_boot_s: float


class Step(NamedTuple):
    """The clock was set."""

    before: datetime
    """What it said then."""
    by_s: float
    source: str
    since: datetime | None
    """From when on what it said was not to be believed; None if it was believed."""


class SystemClock:
    """This computer's effective time, for any thread; to ask it takes a microsecond or two."""

    def __init__(self) -> None:
        """Begin at the wall clock, believed by nobody yet."""
        self._looking = threading.Lock()
        begun_s = since_boot_s()
        self._line = (datetime.now(UTC), begun_s)
        self._looked_s = float("-inf")
        self._word: Word | None = None
        self._trusted_s: float | None = None
        self._doubted_since: datetime | None = self._line[0]
        self._steps: deque[Step] = deque(maxlen=STEPS_MAX)
        self.correction: Correction | None = None
        """How it was set when it was last believed anew, if it had been wrong until then."""
        self.is_in_doubt = False
        """Whether the kernel vouches for a wall clock that is elsewhere than this one."""
        self.dispute_s = 0.0
        """By how much the cloud's clock was ahead of NTP when last heard; 0 if they agree."""

    def now(self) -> datetime:
        """The instant, in UTC."""
        now_s = self._look()
        at, at_s = self._line
        return at + timedelta(seconds=now_s - at_s)

    def trust(self) -> ClockTrust:
        """Trusted while a source of time vouches, holdover for seven days after."""
        now_s = self._look()
        if self._is_vouched(now_s):
            return ClockTrust.TRUSTED
        return ClockTrust.HOLDOVER if self._is_believed(now_s) else ClockTrust.UNTRUSTED

    @property
    def source(self) -> str:
        """Who vouches, or vouched last; empty if nobody did since the start of the process."""
        return "" if self._word is None else self._word.source

    def hear(self, word: Word) -> bool:
        """Take somebody's word for the time; False if a better one stands against it."""
        self._look()
        with self._looking:
            ahead_s = (word.at - self._at(word.since_boot_s)).total_seconds()
            if self._is_outranked(word):
                if word.source == CLOUD:
                    self.dispute_s = ahead_s if abs(ahead_s) > STEP_S else 0.0
                return False
            if not self._may_move(word, ahead_s):
                self.is_in_doubt = True
                return False
            self._take(word, ahead_s)
            return True

    def restore(self, kept: Kept | None, boot: str) -> None:
        """Go on from what was kept before; `boot` is this boot's `boot_id()`.

        Of the same boot it is as if the process had not ended; of an earlier one it is a floor.
        Whoever vouched since the start knows better than both.
        """
        self._look()
        if kept is None or self._word is not None:
            return
        with self._looking:
            if kept.boot_id == boot:
                self._line = (kept.at, kept.since_boot_s)
                self._trusted_s = kept.since_boot_s
                self._doubted_since = None
            elif kept.at > self._at(since_boot_s()):
                self._line = (kept.at, since_boot_s())
                self._doubted_since = kept.at

    def kept(self, boot: str) -> Kept | None:
        """What is to be kept; None if nobody vouched since the start of the process."""
        word = self._word
        return None if word is None else Kept(word.at, boot, word.since_boot_s)

    def take_steps(self) -> list[Step]:
        """The steps that were not taken yet, in their order."""
        found = []
        while self._steps:
            found.append(self._steps.popleft())
        return found

    def _look(self) -> float:
        """Ask the kernel, if that was not done lately; the seconds since boot."""
        now_s = since_boot_s()
        # Whoever comes while another thread looks is content with what was known before.
        if now_s - self._looked_s >= ASK_S and self._looking.acquire(blocking=False):
            try:
                self._looked_s = now_s
                # In this order: a step in between takes the kernel's word back.
                wall = datetime.now(UTC)
                self._ask_kernel(wall, since_boot_s())
            finally:
                self._looking.release()
        return now_s

    def _ask_kernel(self, wall: datetime, at_s: float) -> None:
        standing = self._word
        if not _synchronised():
            self.is_in_doubt = False
            if standing is not None and standing.source == KERNEL:
                self._word = standing._replace(good_for_s=0.0)
            return
        word = Word(KERNEL, wall, at_s, 2 * ASK_S, is_confirmed=False)
        ahead_s = (wall - self._at(at_s)).total_seconds()
        self.is_in_doubt = not self._may_move(word, ahead_s)
        if not self.is_in_doubt:
            self._take(word, ahead_s)
        elif standing is not None and standing.source == KERNEL:
            self._word = standing._replace(good_for_s=0.0)

    def _is_outranked(self, word: Word) -> bool:
        standing = self._word
        is_vouched = standing is not None and self._is_vouched(word.since_boot_s)
        return is_vouched and standing is not None and word.rank < standing.rank

    def _may_move(self, word: Word, ahead_s: float) -> bool:
        is_small = abs(ahead_s) <= STEP_S
        return word.is_confirmed or is_small or not self._is_believed(word.since_boot_s)

    def _take(self, word: Word, ahead_s: float) -> None:
        if abs(ahead_s) > STEP_S:
            since = self._doubted_since
            before = self._at(word.since_boot_s)
            self._steps.append(Step(before, ahead_s, word.source, since))
            if not self._is_believed(word.since_boot_s):
                self._correct(word, before)
        self._line = (word.at, word.since_boot_s)
        self._word = word
        self._trusted_s = word.since_boot_s
        self._doubted_since = None
        self.is_in_doubt = False

    def _correct(self, word: Word, before: datetime) -> None:
        """Note how wrong it was; before it is set: whoever hears the right time can tell."""
        made_s = since_boot_s()
        at = word.at + timedelta(seconds=made_s - word.since_boot_s)
        self.correction = Correction(at, made_s, word.at - before)

    def _at(self, at_s: float) -> datetime:
        at, line_s = self._line
        return at + timedelta(seconds=at_s - line_s)

    def _is_vouched(self, now_s: float) -> bool:
        word = self._word
        return word is not None and now_s - word.since_boot_s < word.good_for_s

    def _is_believed(self, now_s: float) -> bool:
        return self._trusted_s is not None and now_s - self._trusted_s < HOLDOVER_S_MAX


def since_boot_s() -> float:
    """Seconds since the computer's start, those included in which it slept (CLOCK_BOOTTIME)."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def boot_id() -> str:
    """The kernel's name for this boot: instants of the monotonic clock compare within one."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None)


def _synchronised() -> bool:
    state: int = _libc().adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES))
    return 0 <= state < _TIME_ERROR
