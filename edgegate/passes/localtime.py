"""Local wall times and business days as exact instants (PASSES §2).

Every instant that leaves this module is in `datetime.UTC`. What comes in may carry any offset and
is brought to UTC first: two datetimes of one zone compare by their wall times, which is wrong in
the hour that occurs twice. Zones come from the standard library's `zoneinfo`. Dates in the first
and last week of what `date` can hold stand for the end of time, so that a record that says
"until 9999-12-31" is no error.
"""

import re
from bisect import bisect_left
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from functools import lru_cache
from itertools import count
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from msgspec import Struct

ONE_DAY = timedelta(days=1)
DATE_MIN = date(1, 1, 8)
DATE_MAX = date(9999, 12, 24)

_WALL = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]|24:00")
_INSTANT_MIN = datetime.combine(DATE_MIN, time.min, UTC)
_INSTANT_MAX = datetime.combine(DATE_MAX, time.min, UTC)


class Edge(StrEnum):
    """Which side of a stretch a wall time bounds: this settles a time that occurs twice (T-02)."""

    START = "start"
    END = "end"


class BusinessDay(Struct, frozen=True, kw_only=True):
    """A day from cutoff to cutoff; it includes `starts` and excludes `ends` (T-01)."""

    name: date
    starts: datetime
    ends: datetime


def is_zone(name: str) -> bool:
    """Whether the name is one of the IANA zones that this machine knows."""
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


def in_utc(at: datetime) -> datetime:
    """The same instant in UTC.

    Raises:
        TypeError: if `at` has no offset; to guess one would be to guess the instant.
    """
    if at.tzinfo is UTC:
        return at
    if at.utcoffset() is None:
        raise TypeError(f"an instant needs an offset: {at!r}")
    return at.astimezone(UTC)


def elapsed_s(from_: datetime, until: datetime) -> int:
    """The real time between two instants in whole seconds, half-up (T-06)."""
    elapsed = in_utc(until) - in_utc(from_)
    return (elapsed + timedelta(milliseconds=500)) // timedelta(seconds=1)


@lru_cache(maxsize=2048)
def minutes_of(wall: str) -> int:
    """Minutes after midnight of "HH:MM", at most 1440 for "24:00".

    Raises:
        ValueError: if it is no such wall time.
    """
    if _WALL.fullmatch(wall) is None:
        raise ValueError(f'a wall time lies between "00:00" and "24:00", not {wall!r}')
    return int(wall[:2]) * 60 + int(wall[3:])


def local_date(zone: str, at: datetime) -> date:
    """The calendar date that a clock in the zone shows at an instant."""
    at = min(max(in_utc(at), _INSTANT_MIN), _INSTANT_MAX)
    return at.astimezone(ZoneInfo(zone)).date()


@lru_cache(maxsize=4096)
def instant_of(zone: str, day: date, minutes: int, edge: Edge) -> datetime:
    """The instant of a wall time, given in minutes after midnight (1440: the next midnight).

    In a gap it is the first instant after the gap; of two occurrences it is the first for a start
    and the second for an end (T-02).
    """
    day = min(max(day, DATE_MIN), DATE_MAX)
    wall = datetime.combine(day, time.min) + timedelta(minutes=minutes)
    local = wall.replace(tzinfo=ZoneInfo(zone))
    first = local.astimezone(UTC)
    second = local.replace(fold=1).astimezone(UTC)
    if second < first:
        return _gap_end(local, second, first)
    return first if edge is Edge.START else second


def _gap_end(local: datetime, before: datetime, after: datetime) -> datetime:
    """The instant between two others at which the clocks jump over a wall time.

    In a gap `fold` reads a wall time by the offset on either side of it, which gives one instant
    before the jump and one after it (PEP 495); zones change on whole seconds.
    """
    wall = local.replace(tzinfo=None)

    def wall_after(seconds: int) -> datetime:
        at = before + timedelta(seconds=seconds)
        return at.astimezone(local.tzinfo).replace(tzinfo=None)

    span_s = (after - before) // timedelta(seconds=1)
    return before + timedelta(seconds=bisect_left(range(span_s), wall, key=wall_after))


@lru_cache(maxsize=1024)
def business_day_named(zone: str, cutoff: str, name: date) -> BusinessDay:
    """The business day of a name (T-01).

    It is empty where the zone skips the whole of it, as Samoa did on 30 December 2011.
    """
    minutes = minutes_of(cutoff)
    return BusinessDay(
        name=name,
        starts=instant_of(zone, name, minutes, Edge.START),
        ends=instant_of(zone, min(name, DATE_MAX) + ONE_DAY, minutes, Edge.START),
    )


def business_day(zone: str, cutoff: str, at: datetime) -> BusinessDay:
    """The one business day that an instant lies in (T-01)."""
    at = in_utc(at)
    # Clocks that fall back over midnight show a date again whose successor has already begun.
    day = business_day_named(zone, cutoff, local_date(zone, at) + ONE_DAY)
    while at < day.starts and day.name > DATE_MIN:
        day = business_day_named(zone, cutoff, day.name - ONE_DAY)
    return day


def next_occurrence(zone: str, wall: str, after: datetime, edge: Edge) -> datetime:
    """The first instant of a wall time that is strictly later than `after` (T-10).

    Raises:
        OverflowError: if `after` lies in the last days of the year 9999.
    """
    after = in_utc(after)
    minutes = minutes_of(wall)
    yesterday = local_date(zone, after) - ONE_DAY
    occurrences = (
        instant_of(zone, yesterday + ahead * ONE_DAY, minutes, edge) for ahead in count()
    )
    return next(at for at in occurrences if at > after)
