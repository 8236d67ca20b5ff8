"""Hours on plain days, over midnight, on holidays, and where the clocks change."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from edgegate.passes.model import Day, HolidayRule, Hours, Location, Pass
from edgegate.passes.windows import (
    ALWAYS,
    SEARCH_DAYS_MAX,
    Window,
    current_window,
    is_open,
    next_window_start,
    open_until,
    windows_on,
)

WORKDAYS = (Day.MON, Day.TUE, Day.WED, Day.THU, Day.FRI)
OPEN, CLOSED = HolidayRule.OPEN, HolidayRule.CLOSED


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def window(starts: str, ends: str) -> Window:
    return Window(starts=utc(starts), ends=utc(ends))


def space(zone: str = "Europe/Vienna", *holidays: str) -> Location:
    return Location(id="space", timezone=zone, holidays=tuple(map(date.fromisoformat, holidays)))


def a_pass(
    *hours: tuple[str, str], days: tuple[Day, ...] = tuple(Day), rule: HolidayRule = OPEN
) -> Pass:
    entries = tuple(Hours(days=days, from_=from_, to=to) for from_, to in hours)
    return Pass(id="p", holder="c", hours=entries, holidays=rule)


def test_without_hours_it_is_always_open_t03() -> None:
    at = utc("2026-01-14 02:00")
    assert current_window(a_pass(), space(), at) is ALWAYS
    assert current_window(a_pass(), space("Europe/Vienna", "2026-01-14"), at) is ALWAYS
    assert next_window_start(a_pass(), space(), at) is None
    assert ALWAYS.starts < at < ALWAYS.ends


@pytest.mark.parametrize(
    ("at", "open_"),
    [
        ("2026-01-14 07:59:59.999999", False),
        ("2026-01-14 08:00", True),
        ("2026-01-14 16:59:59.999999", True),
        ("2026-01-14 17:00", False),
        ("2026-01-17 12:00", False),
    ],
)
def test_a_window_includes_its_first_instant_and_excludes_its_last_t03(
    at: str, open_: bool
) -> None:
    p = a_pass(("09:00", "18:00"), days=WORKDAYS)
    assert is_open(p, space(), utc(at)) is open_
    expected = window("2026-01-14 08:00", "2026-01-14 17:00") if open_ else None
    assert current_window(p, space(), utc(at)) == expected


def test_hours_are_judged_by_the_wall_time_though_the_business_day_still_runs_t04() -> None:
    location = Location(id="space", timezone="Europe/Vienna", day_cutoff="03:00")
    assert not is_open(a_pass(("09:00", "18:00")), location, utc("2026-01-15 01:00"))


@pytest.mark.parametrize(
    ("hours", "at", "expected"),
    [
        # Wednesday night runs into Thursday and belongs to Wednesday.
        (("22:00", "06:00"), "2026-01-14 20:59", None),
        (("22:00", "06:00"), "2026-01-14 21:00", ("2026-01-14 21:00", "2026-01-15 05:00")),
        (("22:00", "06:00"), "2026-01-15 04:59", ("2026-01-14 21:00", "2026-01-15 05:00")),
        (("22:00", "06:00"), "2026-01-15 05:00", None),
        (("22:00", "06:00"), "2026-01-14 04:00", None),
        # Equal times are a full day from there.
        (("10:00", "10:00"), "2026-01-15 08:59", ("2026-01-14 09:00", "2026-01-15 09:00")),
        (("22:00", "00:00"), "2026-01-14 22:59", ("2026-01-14 21:00", "2026-01-14 23:00")),
        (("22:00", "24:00"), "2026-01-14 22:59", ("2026-01-14 21:00", "2026-01-14 23:00")),
        (("00:00", "24:00"), "2026-01-13 23:00", ("2026-01-13 23:00", "2026-01-14 23:00")),
        (("00:00", "00:00"), "2026-01-13 23:00", ("2026-01-13 23:00", "2026-01-14 23:00")),
        (("00:00", "24:00"), "2026-01-14 23:00", None),
    ],
)
def test_hours_over_midnight_belong_to_the_day_they_start_on_t03(
    hours: tuple[str, str], at: str, expected: tuple[str, str] | None
) -> None:
    p = a_pass(hours, days=(Day.WED,))
    assert current_window(p, space(), utc(at)) == (window(*expected) if expected else None)


def test_a_closed_pass_has_no_hours_that_start_on_a_holiday_t05() -> None:
    location = space("Europe/Vienna", "2026-01-14")
    closed, open_ = (a_pass(("22:00", "06:00"), rule=rule) for rule in (CLOSED, OPEN))
    for at in ("2026-01-14 21:00", "2026-01-15 04:59"):
        assert is_open(open_, location, utc(at))
        assert not is_open(closed, location, utc(at))
    # The night that began before the holiday runs on into it.
    assert is_open(closed, location, utc("2026-01-14 04:59"))


def test_without_hours_a_closed_pass_has_one_window_for_each_date_t09() -> None:
    location = space("Europe/Vienna", "2026-01-14")
    p = a_pass(rule=CLOSED)
    tuesday = window("2026-01-12 23:00", "2026-01-13 23:00")
    assert current_window(p, location, utc("2026-01-13 22:59")) == tuesday
    assert current_window(p, location, utc("2026-01-13 23:00")) is None
    assert next_window_start(p, location, utc("2026-01-13 23:00")) == utc("2026-01-14 23:00")
    assert list(windows_on(p, location, date(2026, 1, 14))) == []


def test_of_several_windows_the_one_that_ends_last_is_current_t09() -> None:
    hours = [("08:00", "12:00"), ("11:00", "14:00"), ("10:00", "13:00")]
    for entries in (hours, hours[::-1]):
        p = a_pass(*entries)
        assert current_window(p, space(), utc("2026-01-14 10:30")) == window(
            "2026-01-14 10:00", "2026-01-14 13:00"
        )
        assert current_window(p, space(), utc("2026-01-14 08:00")) == window(
            "2026-01-14 07:00", "2026-01-14 11:00"
        )


def test_of_windows_that_end_together_the_one_that_starts_last_is_current_t09() -> None:
    hours = [("08:00", "14:00"), ("10:00", "14:00"), ("09:00", "14:00")]
    for entries in (hours, hours[::-1]):
        assert current_window(a_pass(*entries), space(), utc("2026-01-14 10:30")) == window(
            "2026-01-14 09:00", "2026-01-14 13:00"
        )


def test_the_night_before_counts_where_it_ends_last_t09() -> None:
    p = a_pass(("20:00", "12:00"), ("08:00", "10:00"))
    assert current_window(p, space(), utc("2026-01-14 08:00")) == window(
        "2026-01-13 19:00", "2026-01-14 11:00"
    )


def test_windows_that_touch_stay_two_but_do_not_close_t09() -> None:
    p = a_pass(("08:00", "12:00"), ("12:00", "18:00"))
    morning = window("2026-01-14 07:00", "2026-01-14 11:00")
    assert current_window(p, space(), utc("2026-01-14 10:59:59")) == morning
    afternoon = window("2026-01-14 11:00", "2026-01-14 17:00")
    assert current_window(p, space(), utc("2026-01-14 11:00")) == afternoon
    midnight = utc("2026-01-14 23:00")
    assert open_until(p, space(), utc("2026-01-14 08:00"), midnight) == afternoon.ends


@pytest.mark.parametrize(
    ("at", "limit", "expected"),
    [
        ("2026-01-14 10:00", "2026-01-14 23:00", "2026-01-14 17:00"),
        ("2026-01-14 10:00", "2026-01-14 16:00", "2026-01-14 16:00"),
        ("2026-01-14 18:00", "2026-01-14 23:00", "2026-01-14 18:00"),
        ("2026-01-14 10:00", "2026-01-14 09:00", "2026-01-14 09:00"),
    ],
)
def test_a_pass_is_open_until_its_hours_or_the_limit_end(
    at: str, limit: str, expected: str
) -> None:
    p = a_pass(("09:00", "18:00"))
    assert open_until(p, space(), utc(at), utc(limit)) == utc(expected)
    assert open_until(a_pass(), space(), utc(at), utc(limit)) == utc(limit)


CHANGES = [
    # The start falls into the gap, then the end, then both: that window does not exist.
    ("Europe/Vienna", "2026-03-29", ("02:30", "04:00"), ("2026-03-29 01:00", "2026-03-29 02:00")),
    ("Europe/Vienna", "2026-03-29", ("01:00", "02:30"), ("2026-03-29 00:00", "2026-03-29 01:00")),
    ("Europe/Vienna", "2026-03-29", ("02:10", "02:50"), None),
    ("Europe/Vienna", "2026-03-29", ("02:10", "03:00"), None),
    ("Europe/Vienna", "2026-03-29", ("02:10", "03:01"), ("2026-03-29 01:00", "2026-03-29 01:01")),
    # Both edges occur twice, then only the start, then only the end.
    ("Europe/Vienna", "2026-10-25", ("02:10", "02:50"), ("2026-10-25 00:10", "2026-10-25 01:50")),
    ("Europe/Vienna", "2026-10-25", ("02:30", "09:00"), ("2026-10-25 00:30", "2026-10-25 08:00")),
    ("Europe/Vienna", "2026-10-24", ("22:00", "02:30"), ("2026-10-24 20:00", "2026-10-25 01:30")),
    # Midnight that does not exist, and midnight that occurs twice.
    ("Africa/Cairo", "2025-04-24", ("00:00", "24:00"), ("2025-04-23 22:00", "2025-04-24 22:00")),
    ("Africa/Cairo", "2025-04-25", ("00:00", "24:00"), ("2025-04-24 22:00", "2025-04-25 21:00")),
    ("America/Havana", "2025-11-01", ("00:00", "24:00"), ("2025-11-01 04:00", "2025-11-02 05:00")),
    ("America/Havana", "2025-11-02", ("00:00", "24:00"), ("2025-11-02 04:00", "2025-11-03 05:00")),
    # The day that Samoa skipped has no hours, but a night from it reaches the day after.
    ("Pacific/Apia", "2011-12-30", ("09:00", "18:00"), None),
    ("Pacific/Apia", "2011-12-30", ("22:00", "06:00"), ("2011-12-30 10:00", "2011-12-30 16:00")),
]


@pytest.mark.parametrize(("zone", "day", "hours", "expected"), CHANGES)
def test_edges_move_where_the_clocks_change_t02(
    zone: str, day: str, hours: tuple[str, str], expected: tuple[str, str] | None
) -> None:
    local_day = date.fromisoformat(day)
    p = a_pass(hours, days=(tuple(Day)[local_day.weekday()],))
    assert list(windows_on(p, space(zone), local_day)) == ([window(*expected)] if expected else [])
    if expected:
        whole = window(*expected)
        assert current_window(p, space(zone), whole.starts) == whole
        assert current_window(p, space(zone), whole.ends - timedelta(microseconds=1)) == whole
        assert current_window(p, space(zone), whole.ends) is None
        assert next_window_start(p, space(zone), whole.starts) == whole.starts


def test_the_second_midnight_is_still_in_the_day_before_t02() -> None:
    """At Havana's first 00:30 of 2 November both dates' windows run; Sunday's ends last."""
    saturday, sunday = (a_pass(("00:00", "24:00"), days=(day,)) for day in (Day.SAT, Day.SUN))
    at = utc("2025-11-02 04:30")
    assert is_open(saturday, space("America/Havana"), at)
    assert is_open(sunday, space("America/Havana"), at)
    both = a_pass(("00:00", "24:00"), days=(Day.SAT, Day.SUN))
    found = current_window(both, space("America/Havana"), at)
    assert found == window("2025-11-02 04:00", "2025-11-03 05:00")


def test_a_window_of_a_date_that_is_not_shown_any_more_or_not_yet_runs_on_t02() -> None:
    """At 00:01 on Sunday St. John's went back to 23:01 on Saturday."""
    location = space("America/St_Johns")
    shown_again = utc("2006-10-29 02:45")
    assert is_open(a_pass(("00:00", "12:00"), days=(Day.SUN,)), location, shown_again)
    not_yet = utc("2006-10-29 02:30:30")
    friday_night = a_pass(("23:30", "23:30"), days=(Day.FRI,))
    found = current_window(friday_night, location, not_yet)
    assert found == window("2006-10-28 02:00", "2006-10-29 03:00")


def test_both_readings_of_the_hour_that_occurs_twice_are_told_apart() -> None:
    """Datetimes of one zone are equal, and hash equal, in both hours; a cache must not mind."""
    saturday = a_pass(("00:00", "24:00"), days=(Day.SAT,))
    wall = datetime(2025, 11, 2, 0, 30, tzinfo=ZoneInfo("America/Havana"))
    for _ in range(2):
        assert not is_open(saturday, space("America/Havana"), wall.replace(fold=1))
        assert is_open(saturday, space("America/Havana"), wall)


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        ("2026-01-14 07:59", "2026-01-14 08:00"),
        ("2026-01-14 08:00", "2026-01-14 08:00"),
        ("2026-01-14 08:00:00.000001", "2026-01-14 13:00"),
        ("2026-01-14 13:01", "2026-01-15 08:00"),
        ("2026-01-16 20:00", "2026-01-19 08:00"),
    ],
)
def test_the_next_start_is_the_first_at_or_after_f14(after: str, expected: str) -> None:
    p = a_pass(("14:00", "18:00"), ("09:00", "12:00"), days=WORKDAYS)
    assert next_window_start(p, space(), utc(after)) == utc(expected)


def test_the_next_start_passes_over_holidays_f14() -> None:
    p = a_pass(("09:00", "18:00"), days=(Day.WED,), rule=CLOSED)
    location = space("Europe/Vienna", "2026-01-14", "2026-01-21")
    assert next_window_start(p, location, utc("2026-01-10 00:00")) == utc("2026-01-28 08:00")


def test_a_start_in_a_gap_is_found_from_the_instant_it_takes_effect_f14() -> None:
    """Samoa's skipped Friday: its night begins with Saturday, which has no hours of its own."""
    p = a_pass(("22:00", "06:00"), days=(Day.FRI,))
    effect = utc("2011-12-30 10:00")
    assert next_window_start(p, space("Pacific/Apia"), effect) == effect


def test_a_year_without_hours_has_no_next_start_f14() -> None:
    after = utc("2026-01-01 00:00")
    assert next_window_start(a_pass(("09:00", "18:00"), days=()), space(), after) is None
    every_day = [date(2026, 1, 1) + timedelta(days=ahead) for ahead in range(SEARCH_DAYS_MAX + 2)]
    closed = space("UTC", *map(str, every_day))
    p = a_pass(("09:00", "18:00"), rule=CLOSED)
    assert next_window_start(p, closed, after) is None
    until_the_last = space("UTC", *map(str, every_day[:SEARCH_DAYS_MAX]))
    found = next_window_start(p, until_the_last, after)
    assert found == utc(f"{every_day[SEARCH_DAYS_MAX]} 09:00")


def test_the_end_of_time_is_no_error() -> None:
    """A pass may start in the year 9999: its next window is none, not a fault."""
    p = a_pass(("22:00", "06:00"))
    for at in (ALWAYS.starts, ALWAYS.ends):
        assert current_window(p, space(), at) is None
    assert next_window_start(p, space(), ALWAYS.ends) is None
