"""Asks this computer's sources of time whether its wall clock is right; it blocks, so on a thread.

The kernel's own flag is asked by the clock itself. It is not enough: chrony leaves it unset unless
its configuration says `rtcsync`, and sets it while it is still an hour away and slews.
"""

import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from edgegate.clock import RTC, Word, since_boot_s

PROGRAM_S_MAX = 3.0
"""How long a program may take to answer; one that takes longer said nothing."""

GOOD_FOR_S = 60.0
"""How long an answer counts; it is asked more often."""

OFFSET_S_MAX = 2.0
"""chrony may know the time and still be slewing towards it."""

RTC_S_MAX = 60.0
"""How far a battery clock and the wall clock may be apart: both drift for weeks without NTP."""

RELEASED = datetime(2026, 1, 1, tzinfo=UTC)
"""A battery clock that says less lost its battery."""

RTC_YEARS_MAX = 20
"""One that says more than so many years after that is broken."""

_TRACKING_FIELDS = 14
_REFERENCE, _OFFSET, _LEAP = 0, 4, 13
_LOCAL = ("", "00000000", "7F7F0101")
"""No reference, and chrony's own "local" one (chronyc(1), tracking)."""


class Paths(NamedTuple):
    """Where the sources that are files are."""

    rtc: Path = Path("/sys/class/rtc/rtc0/since_epoch")
    """Seconds since 1970 (kernel, Documentation/ABI/testing/rtc-cdev and sysfs-class-rtc)."""


class Answer(NamedTuple):
    """What the sources say together."""

    word: Word | None
    """None: nobody vouches for the wall clock."""
    denial: str
    """Who says that it is wrong, in a sentence; empty if nobody does."""


def ask(floor: datetime | None = None, paths: Paths | None = None) -> Answer:
    """Ask chrony, where it answers; else systemd; else a battery clock.

    Args:
        floor: the last trusted instant: a battery clock that is behind it is wrong.
        paths: see `Paths`.
    """
    tracking = _run("chronyc", "-c", "-n", "tracking")
    if tracking is not None:
        return _by_chrony(tracking)
    if (
        _run("timedatectl", "show", "--property=NTPSynchronized", "--value") or ""
    ).strip() == "yes":
        # It says what the kernel's flag says: asked for where the kernel may not be asked.
        return Answer(_word("systemd", is_confirmed=False), "")
    return _by_battery(floor, (paths or Paths()).rtc)


def _by_chrony(tracking: str) -> Answer:
    fields = tracking.strip().split(",")
    try:
        offset_s = float(fields[_OFFSET])
        is_synchronised = fields[_LEAP] != "Not synchronised" and fields[_REFERENCE] not in _LOCAL
    except (IndexError, ValueError):
        return Answer(None, "")
    if len(fields) != _TRACKING_FIELDS or not is_synchronised:
        return Answer(None, "")
    if not abs(offset_s) <= OFFSET_S_MAX:
        return Answer(None, f"chrony says that the clock is {offset_s:+.0f} s away")
    return Answer(_word("chrony"), "")


def _by_battery(floor: datetime | None, path: Path) -> Answer:
    try:
        told_s = int(path.read_text(encoding="ascii"))
        told = datetime.fromtimestamp(told_s, UTC)
    except (OSError, ValueError, OverflowError):
        return Answer(None, "")
    least = RELEASED if floor is None else max(floor, RELEASED)
    is_plausible = told >= least and told.year <= RELEASED.year + RTC_YEARS_MAX
    is_ours = abs((told - datetime.now(UTC)).total_seconds()) <= RTC_S_MAX
    return Answer(_word(RTC, is_confirmed=False) if is_plausible and is_ours else None, "")


def _word(source: str, *, is_confirmed: bool = True) -> Word:
    return Word(source, datetime.now(UTC), since_boot_s(), GOOD_FOR_S, is_confirmed)


def _run(program: str, *arguments: str) -> str | None:
    """What a program prints; None if it is not there or fails."""
    path = shutil.which(program)
    if path is None:
        return None
    try:
        done = subprocess.run(  # noqa: S603 - a fixed name and fixed arguments
            (path, *arguments),
            check=True,
            capture_output=True,
            stdin=subprocess.DEVNULL,
            timeout=PROGRAM_S_MAX,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.decode("utf-8", "replace")
