"""The windows in which a pass's hours let people in (T-03, T-05, T-09).

A window belongs to the local date its `from` is written for, also where a change of the clocks
moves its first instant to another date. All instants are in UTC.
"""

from collections.abc import Iterator
from datetime import UTC, date, datetime
from functools import lru_cache

from msgspec import Struct

from edgegate.passes.localtime import (
    DATE_MAX,
    ONE_DAY,
    Edge,
    in_utc,
    instant_of,
    local_date,
    minutes_of,
)
from edgegate.passes.model import Day, HolidayRule, Hours, Location, Terms

SEARCH_DAYS_MAX = 400
"""How far ahead `next_window_start` looks: over a year, so that a yearly closure is passed."""

_WEEKDAYS = tuple(Day)
_OPEN = HolidayRule.OPEN
_WHOLE_DAYS = (Hours(),)


class Window(Struct, frozen=True, kw_only=True):
    """A stretch of open hours; it includes `starts` and excludes `ends`."""

    starts: datetime
    ends: datetime


ALWAYS = Window(
    starts=datetime.min.replace(tzinfo=UTC),
    ends=datetime.max.replace(tzinfo=UTC),
)
"""The window of a pass that has no hours and no holidays; ask with `is`."""


def windows_on(p: Terms, location: Location, day: date) -> Iterator[Window]:
    """The windows of a pass that start on a local date, in the order of its hours."""
    closed = () if p.holidays is _OPEN else location.holidays
    return _starting_on(day, p.hours, closed, location.timezone)


def _starting_on(
    day: date,
    entries: tuple[Hours, ...],
    closed: tuple[date, ...],
    zone: str,
    *,
    overnight_only: bool = False,
) -> Iterator[Window]:
    """The windows that start on a local date; `overnight_only`: only those that end on a later."""
    if day in closed:
        return
    weekday = _WEEKDAYS[day.weekday()]
    for hours in entries or _WHOLE_DAYS:
        # Wall times of this fixed form sort as the times they stand for.
        if (overnight_only and hours.to > hours.from_) or weekday not in hours.days:
            continue
        window = _window(zone, day, hours.from_, hours.to)
        if window is not None:
            yield window


def current_window(p: Terms, location: Location, at: datetime) -> Window | None:
    """The window of a pass that contains an instant; None: it is closed then.

    Of several it is the one that ends last (T-09); of those the one that starts last. A pass
    without hours that takes no notice of holidays gets `ALWAYS`.
    """
    if not p.hours and p.holidays is _OPEN:
        return ALWAYS
    closed = () if p.holidays is _OPEN else location.holidays
    return _current(p.hours, closed, location.timezone, in_utc(at))


@lru_cache(maxsize=1024)
def _current(
    hours: tuple[Hours, ...], closed: tuple[date, ...], zone: str, at: datetime
) -> Window | None:
    """The same of hours; the many passes of one type share theirs, and so the answer."""
    current = None
    for day, is_over in _dates_around(zone, at):
        for window in _starting_on(day, hours, closed, zone, overnight_only=is_over):
            if window.starts <= at < window.ends and (
                current is None or (window.ends, window.starts) > (current.ends, current.starts)
            ):
                current = window
    return current


def is_open(p: Terms, location: Location, at: datetime) -> bool:
    """Whether the hours of a pass contain an instant (F-08)."""
    return current_window(p, location, at) is not None


def open_until(p: Terms, location: Location, at: datetime, limit: datetime) -> datetime:
    """The first instant from `at` on at which the hours of a pass do not hold, at most `limit`.

    Windows that touch or overlap stay two, but where they meet the pass does not close.
    """
    at, limit = in_utc(at), in_utc(limit)
    while at < limit:
        window = current_window(p, location, at)
        if window is None:
            return at
        at = window.ends
    return limit


def next_window_start(p: Terms, location: Location, after: datetime) -> datetime | None:
    """The first start of a window at `after` or later.

    None if there is none within `SEARCH_DAYS_MAX`, and for a pass that is always open.
    """
    if not p.hours and p.holidays is _OPEN:
        return None
    after = in_utc(after)
    # A start in a gap that spans midnight takes effect on the date after its own.
    first = (local_date(location.timezone, after) - ONE_DAY).toordinal()
    for ordinal in range(first, min(first + SEARCH_DAYS_MAX + 2, DATE_MAX.toordinal())):
        windows = windows_on(p, location, date.fromordinal(ordinal))
        starts = [window.starts for window in windows if window.starts >= after]
        if starts:
            return min(starts)
    return None


@lru_cache(maxsize=4096)
def _window(zone: str, day: date, from_: str, to: str) -> Window | None:
    """One entry of `hours` on one date; None where a gap leaves nothing of it (T-02)."""
    first, last = minutes_of(from_), minutes_of(to)
    starts = instant_of(zone, day, first, Edge.START)
    ends = instant_of(zone, day if last > first else day + ONE_DAY, last, Edge.END)
    return Window(starts=starts, ends=ends) if starts < ends else None


@lru_cache(maxsize=256)
def _dates_around(zone: str, at: datetime) -> tuple[tuple[date, bool], ...]:
    """The dates whose windows can contain an instant, and whether each is over by then.

    They are the local date and the one before it, and others only where the clocks cross midnight.
    """
    today = local_date(zone, at)
    dates = (today + ahead * ONE_DAY for ahead in (1, 0, -1, -2))
    return tuple(
        (day, at >= instant_of(zone, day, 1440, Edge.END))
        for day in dates
        if instant_of(zone, day, 0, Edge.START) <= at
        if at < instant_of(zone, day + ONE_DAY, 1440, Edge.END)
    )


def hours_contain(hours: tuple[Hours, ...], location: Location, at: datetime) -> bool:
    """Whether one of these windows is open at the location, holidays or not (D-03)."""
    standing = Terms(id="schedule", hours=hours)
    return bool(hours) and is_open(standing, location, at)
