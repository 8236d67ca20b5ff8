"""The clock that decisions are taken by, and how far it can be believed."""

import ctypes
import time
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from edgegate.ports import ClockTrust

HOLDOVER_S_MAX = 7 * 24 * 3600
"""How long a clock that was once in step is still believed without a source of time."""

ASK_S = 1.0
"""How old the kernel's answer may be: a tap need not ask anew."""

_TIME_ERROR = 5
"""What adjtimex(2) returns while the kernel's clock is not synchronised."""

_TIMEX_BYTES = 512
"""Room for `struct timex`, which has 208 bytes on 64-bit Linux; zeroes only ask."""


class SystemClock:
    """The computer's wall clock; chrony or systemd-timesyncd keep it, and the kernel says so."""

    def __init__(self) -> None:
        self._trusted_s: float | None = None
        self._asked_s = float("-inf")
        self._synchronised = False

    def now(self) -> datetime:
        """The instant, in UTC."""
        return datetime.now(UTC)

    def trust(self) -> ClockTrust:
        """Trusted while a source of time is followed, holdover for seven days after."""
        now_s = time.monotonic()
        if now_s - self._asked_s >= ASK_S:
            self._asked_s, self._synchronised = now_s, _synchronised()
        if self._synchronised:
            self._trusted_s = now_s
            return ClockTrust.TRUSTED
        if self._trusted_s is None:
            return ClockTrust.UNTRUSTED
        age_s = now_s - self._trusted_s
        return ClockTrust.HOLDOVER if age_s < HOLDOVER_S_MAX else ClockTrust.UNTRUSTED


def boot_id() -> str:
    """The kernel's name for this boot: instants of the monotonic clock compare within one."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None)


def _synchronised() -> bool:
    state: int = _libc().adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES))
    return 0 <= state < _TIME_ERROR
