"""T-01 to T-10 hold in every zone at every change of the clocks from 2020 to 2030.

The oracle knows nothing of folds and gaps: it splits the years into the stretches between changes
of the clocks, in which a wall time is an instant shifted, and looks for a wall time in all of them.
"""

from bisect import bisect_left
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cache, partial
from itertools import pairwise
from typing import NamedTuple
from zoneinfo import ZoneInfo, available_timezones

from hypothesis import given, settings
from hypothesis import strategies as st

from edgegate.passes.localtime import (
    Edge,
    business_day,
    business_day_named,
    elapsed_s,
    instant_of,
    local_date,
    next_occurrence,
)
from edgegate.passes.model import Day, HolidayRule, Hours, Location, Pass
from edgegate.passes.windows import (
    ALWAYS,
    Window,
    current_window,
    is_open,
    next_window_start,
    open_until,
)

DAY, MINUTE, INSTANT = timedelta(days=1), timedelta(minutes=1), timedelta(microseconds=1)
YEARS = datetime(2020, 1, 1, tzinfo=UTC), datetime(2031, 1, 1, tzinfo=UTC)
WEEK = 7 * DAY
WATCHED = YEARS[0] - 30 * DAY, YEARS[1] + 30 * DAY
DAYS_BEFORE, DAYS_AFTER = 4, 6
"""How many dates the oracle looks at before and after an instant."""

modest = settings(deadline=None, max_examples=120)


@cache
def zones() -> list[str]:
    return sorted(available_timezones())


def offset(zone: str, at: datetime) -> timedelta:
    ahead = at.astimezone(ZoneInfo(zone)).utcoffset()
    assert ahead is not None
    return ahead


@cache
def changes(zone: str) -> tuple[datetime, ...]:
    """The instants at which the zone's offset changes, looked for week by week."""
    found = []
    weeks = (WATCHED[1] - WATCHED[0]) // WEEK
    for before, after in pairwise(WATCHED[0] + n * WEEK for n in range(weeks + 1)):
        if offset(zone, before) != offset(zone, after):
            seconds = range(int(WEEK.total_seconds()))
            changed = partial(has_changed, zone, before)
            found.append(before + timedelta(seconds=bisect_left(seconds, True, key=changed)))
    return tuple(found)


def has_changed(zone: str, since: datetime, seconds: int) -> bool:
    return offset(zone, since + timedelta(seconds=seconds)) != offset(zone, since)


class Stretch(NamedTuple):
    """The instants between two changes, and what a clock on the wall is ahead of UTC in them."""

    starts: datetime
    ends: datetime
    ahead: timedelta


@cache
def stretches(zone: str) -> list[Stretch]:
    bounds = [WATCHED[0], *changes(zone), WATCHED[1]]
    return [Stretch(*pair, offset(zone, pair[0])) for pair in pairwise(bounds)]


@dataclass(frozen=True)
class Moment:
    """An instant in a zone, and the dates around it whose windows and days are looked at."""

    zone: str
    at: datetime

    @property
    def dates(self) -> list[date]:
        return [self.at.date() + n * DAY for n in range(-DAYS_BEFORE, DAYS_AFTER)]

    def occurrences(self, wall: datetime) -> list[datetime]:
        """All instants at which the clock shows a wall time."""
        shifted = [(stretch, wall - stretch.ahead) for stretch in stretches(self.zone)]
        return [at for stretch, at in shifted if stretch.starts <= at < stretch.ends]

    def instant(self, day: date, wall: str, edge: Edge) -> datetime:
        """T-02, word for word."""
        if wall == "24:00":
            day, wall = day + DAY, "00:00"
        sought = datetime.combine(day, time.fromisoformat(wall), UTC)
        occurrences = self.occurrences(sought)
        if not occurrences:
            return next(s.starts for s in stretches(self.zone) if s.starts + s.ahead > sought)
        return occurrences[0 if edge is Edge.START else -1]

    def shift(self, first: datetime, last: datetime) -> timedelta:
        """By how much the clocks change between two instants: three hours at Casey in 2020."""
        changed = pairwise(stretches(self.zone))
        within = [(b, a) for b, a in changed if first <= a.starts <= last]
        return sum((abs(after.ahead - before.ahead) for before, after in within), timedelta(0))

    def windows(self, p: Pass, location: Location) -> list[Window]:
        found = []
        for day in self.dates:
            if p.holidays == "closed" and day in location.holidays:
                continue
            for hours in p.hours or (Hours(),):
                if day.strftime("%a").lower() not in hours.days:
                    continue
                starts = self.instant(day, hours.from_, Edge.START)
                last_day = day if hours.to > hours.from_ else day + DAY
                ends = self.instant(last_day, hours.to, Edge.END)
                if ends > starts:
                    found.append(Window(starts=starts, ends=ends))
        return found


@st.composite
def moments(draw: st.DrawFn) -> Moment:
    """A zone and an instant, mostly near a change of its clocks."""
    zone = draw(st.sampled_from(zones()))
    anchors = changes(zone)
    anywhere = draw(st.integers(0, 9)) == 9
    if anchors and not anywhere:
        near = st.timedeltas(timedelta(hours=-3), timedelta(hours=3))
        wide = st.timedeltas(-2 * DAY, 2 * DAY)
        exact = st.sampled_from([timedelta(0), -INSTANT, MINUTE])
        at = draw(st.sampled_from(anchors)) + draw(st.one_of(near, wide, exact))
    else:
        naive = st.datetimes(*(edge.replace(tzinfo=None) for edge in YEARS))
        at = draw(naive).replace(tzinfo=UTC)
    return Moment(zone, at)


def walls(moment: Moment) -> st.SearchStrategy[str]:
    """A wall time, mostly within two hours of what the clock shows, where changes are likely."""
    shown = moment.at.astimezone(ZoneInfo(moment.zone))
    here = shown.hour * 60 + shown.minute
    near = st.integers(here - 120, here + 120).map(lambda minutes: minutes % 1440)
    sharp = st.sampled_from([0, 60, 120, 150, 180, 1380, 1439])
    return (near | sharp | st.integers(0, 1439)).map(lambda m: f"{m // 60:02}:{m % 60:02}")


@st.composite
def opened(draw: st.DrawFn) -> tuple[Moment, Pass, Location]:
    """A moment with a pass that has hours, or holidays, or both."""
    moment = draw(moments())
    times = walls(moment)
    today = local_date(moment.zone, moment.at)
    days = st.lists(st.sampled_from(Day), unique=True, max_size=7).map(tuple) | st.just(tuple(Day))
    hours = st.builds(Hours, days=days, from_=times, to=times | st.just("24:00"))
    entries = tuple(draw(st.lists(hours, max_size=4)))
    rule = draw(st.sampled_from(HolidayRule)) if entries else HolidayRule.CLOSED
    near = st.integers(-2, 2).map(lambda n: today + n * DAY)
    holidays = tuple(draw(st.lists(near, max_size=3)))
    p = Pass(id="p", holder="c", hours=entries, holidays=rule)
    return moment, p, Location(id="space", timezone=moment.zone, holidays=holidays)


def test_the_years_hold_changes_of_every_sort() -> None:
    """The examples below prove nothing in a zone table that has lost its changes."""
    assert len(zones()) > 400
    lengths = {
        after.ahead - before.ahead
        for zone in ("Europe/Dublin", "Australia/Lord_Howe", "Antarctica/Troll", "Africa/Cairo")
        for before, after in pairwise(stretches(zone))
    }
    assert lengths == {n * timedelta(minutes=30) for n in (-4, -2, -1, 1, 2, 4)}


def test_every_change_of_every_zone_moves_wall_times_as_the_rule_says_t02() -> None:
    looked_at = 0
    for zone in zones():
        for before, after in pairwise(stretches(zone)):
            moment = Moment(zone, after.starts)
            shown = sorted((after.starts + before.ahead, after.starts + after.ahead))
            middle = shown[0] + (shown[1] - shown[0]) // 2
            for wall in (shown[0] - MINUTE, shown[0], middle, shown[1] - MINUTE, shown[1]):
                for edge in Edge:
                    found = instant_of(zone, wall.date(), wall.hour * 60 + wall.minute, edge)
                    assert found == moment.instant(wall.date(), f"{wall:%H:%M}", edge), (zone, wall)
                    looked_at += 1
    assert looked_at > 10_000


@given(data=st.data())
@modest
def test_every_instant_lies_in_exactly_one_business_day_t01(data: st.DataObject) -> None:
    moment = data.draw(moments())
    cutoff = data.draw(walls(moment))
    held = [
        day
        for day in moment.dates
        if moment.instant(day, cutoff, Edge.START)
        <= moment.at
        < moment.instant(day + DAY, cutoff, Edge.START)
    ]
    day = business_day(moment.zone, cutoff, moment.at)
    assert held == [day.name]
    assert day.starts == moment.instant(day.name, cutoff, Edge.START)
    assert day.starts.tzinfo is UTC


@given(data=st.data())
@modest
def test_business_days_touch_and_are_named_by_the_date_they_start_on_t01(
    data: st.DataObject,
) -> None:
    moment = data.draw(moments())
    cutoff = data.draw(walls(moment))
    day = business_day(moment.zone, cutoff, moment.at)
    assert day == business_day_named(moment.zone, cutoff, day.name)
    assert day.ends == business_day_named(moment.zone, cutoff, day.name + DAY).starts
    assert day.starts == business_day_named(moment.zone, cutoff, day.name - DAY).ends
    assert abs(day.ends - day.starts - DAY) <= moment.shift(day.starts, day.ends)
    wall = datetime.combine(day.name, time.fromisoformat(cutoff), UTC)
    if moment.occurrences(wall):
        assert day.starts.astimezone(ZoneInfo(moment.zone)).replace(tzinfo=UTC) == wall
        assert local_date(moment.zone, day.starts) == day.name


@given(opened())
@modest
def test_the_current_window_is_that_of_the_clock_on_the_wall_t02_t03_t05_t09(
    example: tuple[Moment, Pass, Location],
) -> None:
    moment, p, location = example
    holding = [w for w in moment.windows(p, location) if w.starts <= moment.at < w.ends]
    expected = max(holding, key=lambda w: (w.ends, w.starts), default=None)
    assert current_window(p, location, moment.at) == expected
    assert is_open(p, location, moment.at) == bool(holding)


@given(opened())
@modest
def test_every_edge_of_a_window_is_where_it_opens_or_closes_t03(
    example: tuple[Moment, Pass, Location],
) -> None:
    moment, p, location = example
    windows = moment.windows(p, location)
    edges = {e for w in windows for e in (w.starts, w.ends) if abs(e - moment.at) < 2 * DAY}
    for at in edges | {edge - INSTANT for edge in edges}:
        assert is_open(p, location, at) == any(w.starts <= at < w.ends for w in windows)


@given(opened())
@modest
def test_nothing_opens_before_the_next_start_f14(
    example: tuple[Moment, Pass, Location],
) -> None:
    moment, p, location = example
    looked_until = moment.at + (DAYS_AFTER - 2) * DAY
    starts = [w.starts for w in moment.windows(p, location)]
    later = [at for at in starts if moment.at <= at < looked_until]
    found = next_window_start(p, location, moment.at)
    if found is None or found >= looked_until:
        assert later == []
    else:
        assert found == min(later)
    if found is not None:
        assert is_open(p, location, found)
        assert next_window_start(p, location, found) == found


@given(opened(), st.timedeltas(-MINUTE, 2 * DAY))
@modest
def test_a_pass_stays_open_until_the_first_instant_that_is_in_no_window_s04(
    example: tuple[Moment, Pass, Location], ahead: timedelta
) -> None:
    moment, p, location = example
    limit = moment.at + ahead
    windows = moment.windows(p, location)
    edges = sorted({moment.at, *(w.ends for w in windows if w.ends > moment.at)})
    closed = (at for at in edges if not any(w.starts <= at < w.ends for w in windows))
    assert open_until(p, location, moment.at, limit) == min(next(closed, limit), limit)


@given(moments())
@modest
def test_without_hours_it_never_closes_t03(moment: Moment) -> None:
    p, location = Pass(id="p", holder="c"), Location(id="space", timezone=moment.zone)
    assert current_window(p, location, moment.at) is ALWAYS


@given(data=st.data(), edge=st.sampled_from(Edge))
@modest
def test_the_next_occurrence_is_the_first_one_strictly_later_t10(
    data: st.DataObject, edge: Edge
) -> None:
    moment = data.draw(moments())
    wall = data.draw(walls(moment))
    instants = [moment.instant(day, wall, edge) for day in moment.dates]
    found = next_occurrence(moment.zone, wall, moment.at, edge)
    assert found == min(at for at in instants if at > moment.at)
    assert found == next_occurrence(moment.zone, wall, found - INSTANT, edge)


@given(moment=moments(), length=st.timedeltas(timedelta(0), 2 * DAY))
@modest
def test_elapsed_time_takes_no_notice_of_the_clock_on_the_wall_t06(
    moment: Moment, length: timedelta
) -> None:
    tz = ZoneInfo(moment.zone)
    until = moment.at + length
    assert abs(elapsed_s(moment.at, until) - length.total_seconds()) <= 0.5
    assert elapsed_s(moment.at.astimezone(tz), until.astimezone(tz)) == elapsed_s(moment.at, until)
