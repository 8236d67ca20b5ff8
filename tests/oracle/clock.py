"""The oracle's own reading of PASSES §2: wall times, business days, windows, all by hand."""

from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from edgegate.passes.model import HolidayRule, Hours, Location

DAY = timedelta(days=1)
INSTANT = timedelta(microseconds=1)

Stretch = tuple[datetime, datetime]
"""Two instants: the first is included, the last is not."""


@lru_cache(maxsize=20_000)
def instant(zone: str, day: date, wall: str, *, is_end: bool) -> datetime:
    """T-02: in a gap the first instant after it; of two the first for a start, else the second."""
    if wall == "24:00":
        day, wall = day + DAY, "00:00"
    shown = datetime.combine(day, time.fromisoformat(wall))
    tz = ZoneInfo(zone)
    guesses = sorted({shown.replace(tzinfo=tz, fold=fold).astimezone(UTC) for fold in (0, 1)})
    real = [at for at in guesses if at.astimezone(tz).replace(tzinfo=None) == shown]
    if real:
        return real[-1] if is_end else real[0]
    before, after = guesses[0], guesses[-1]
    was = before.astimezone(tz).utcoffset()
    while after - before > INSTANT:
        middle = before + (after - before) // 2
        if middle.astimezone(tz).utcoffset() == was:
            before = middle
        else:
            after = middle
    return after


def local_date(zone: str, at: datetime) -> date:
    """The date on a calendar on the wall."""
    return at.astimezone(ZoneInfo(zone)).date()


def business_day(location: Location, at: datetime) -> tuple[date, datetime, datetime]:
    """T-01: the day's name, its first instant, and that of the day after."""
    zone, cutoff = location.timezone, location.day_cutoff
    today = local_date(zone, at)
    for n in range(-3, 4):
        day = today + n * DAY
        starts = instant(zone, day, cutoff, is_end=False)
        ends = instant(zone, day + DAY, cutoff, is_end=False)
        if starts <= at < ends:
            return day, starts, ends
    raise AssertionError(f"no business day holds {at}")


def is_always(hours: tuple[Hours, ...], rule: HolidayRule) -> bool:
    """T-03, T-09: no entry means always, unless holidays are closed."""
    return not hours and rule is HolidayRule.OPEN


def windows_of(
    day: date, hours: tuple[Hours, ...], rule: HolidayRule, location: Location
) -> list[Stretch]:
    """T-03, T-05, T-09: the windows that start on a local date."""
    if rule is HolidayRule.CLOSED and day in location.holidays:
        return []
    found = []
    for entry in hours or (Hours(),):
        if day.strftime("%a").lower() in [str(d) for d in entry.days]:
            starts = instant(location.timezone, day, entry.from_, is_end=False)
            end_day = day + DAY if entry.to <= entry.from_ else day
            ends = instant(location.timezone, end_day, entry.to, is_end=True)
            if starts < ends:
                found.append((starts, ends))
    return found


def current_window(
    hours: tuple[Hours, ...], rule: HolidayRule, location: Location, at: datetime
) -> Stretch | None:
    """T-09: of several windows that hold an instant, the one that ends last."""
    today = local_date(location.timezone, at)
    near = [today + n * DAY for n in range(-3, 3)]
    windows = [w for day in near for w in windows_of(day, hours, rule, location)]
    holding = [w for w in windows if w[0] <= at < w[1]]
    return max(holding, key=lambda w: w[1]) if holding else None


def is_open(hours: tuple[Hours, ...], rule: HolidayRule, location: Location, at: datetime) -> bool:
    """F-08: whether the wall time of the real instant lies in the hours (T-04)."""
    return is_always(hours, rule) or current_window(hours, rule, location, at) is not None
