"""Wall times, business days and elapsed time at changes of the clocks that really happened."""

from datetime import UTC, date, datetime, time, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest

from edgegate.passes.localtime import (
    DATE_MAX,
    DATE_MIN,
    Edge,
    business_day,
    business_day_named,
    elapsed_s,
    in_utc,
    instant_of,
    is_zone,
    local_date,
    minutes_of,
    next_occurrence,
)

START, END = Edge.START, Edge.END


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


GAPS = [
    # An hour at two in the morning, and the whole of it lands on its end.
    ("Europe/Vienna", "2026-03-29", "01:59", "2026-03-29 00:59"),
    ("Europe/Vienna", "2026-03-29", "02:00", "2026-03-29 01:00"),
    ("Europe/Vienna", "2026-03-29", "02:30", "2026-03-29 01:00"),
    ("Europe/Vienna", "2026-03-29", "02:59", "2026-03-29 01:00"),
    ("Europe/Vienna", "2026-03-29", "03:00", "2026-03-29 01:00"),
    ("Europe/Vienna", "2026-03-29", "03:01", "2026-03-29 01:01"),
    # Half an hour.
    ("Australia/Lord_Howe", "2026-10-04", "02:15", "2026-10-03 15:30"),
    ("Australia/Lord_Howe", "2026-10-04", "02:30", "2026-10-03 15:30"),
    ("Australia/Lord_Howe", "2026-10-04", "02:45", "2026-10-03 15:45"),
    # Two hours.
    ("Antarctica/Troll", "2026-03-29", "01:05", "2026-03-29 01:00"),
    ("Antarctica/Troll", "2026-03-29", "02:55", "2026-03-29 01:00"),
    # Ireland's winter is its exception.
    ("Europe/Dublin", "2026-03-29", "01:30", "2026-03-29 01:00"),
    # Midnight itself does not exist.
    ("Africa/Cairo", "2025-04-25", "00:00", "2025-04-24 22:00"),
    ("Africa/Cairo", "2025-04-24", "24:00", "2025-04-24 22:00"),
    ("Africa/Cairo", "2025-04-25", "00:30", "2025-04-24 22:00"),
    ("Asia/Beirut", "2025-03-30", "00:00", "2025-03-29 22:00"),
    ("America/Havana", "2025-03-09", "00:59", "2025-03-09 05:00"),
    ("America/Asuncion", "2024-10-06", "00:30", "2024-10-06 04:00"),
    # A gap from one minute past midnight, in a zone of half hours.
    ("America/St_Johns", "2006-04-02", "00:00", "2006-04-02 03:30"),
    ("America/St_Johns", "2006-04-02", "00:30", "2006-04-02 03:31"),
    # An offset with seconds: the gap ends at 00:44:30.
    ("Africa/Monrovia", "1972-01-07", "00:30", "1972-01-07 00:44:30"),
    # A whole day that never was.
    ("Pacific/Apia", "2011-12-30", "00:00", "2011-12-30 10:00"),
    ("Pacific/Apia", "2011-12-30", "17:00", "2011-12-30 10:00"),
    ("Pacific/Apia", "2011-12-31", "00:00", "2011-12-30 10:00"),
    ("Pacific/Kwajalein", "1993-08-21", "12:00", "1993-08-21 12:00"),
]


@pytest.mark.parametrize(("zone", "day", "wall", "expected"), GAPS)
@pytest.mark.parametrize("edge", list(Edge))
def test_a_time_in_a_gap_is_the_first_instant_after_it_t02(
    zone: str, day: str, wall: str, expected: str, edge: Edge
) -> None:
    instant = instant_of(zone, date.fromisoformat(day), minutes_of(wall), edge)
    assert instant == utc(expected)
    assert instant.tzinfo is UTC


TWICE = [
    ("Europe/Vienna", "2026-10-25", "02:00", "2026-10-25 00:00", "2026-10-25 01:00"),
    ("Europe/Vienna", "2026-10-25", "02:59", "2026-10-25 00:59", "2026-10-25 01:59"),
    ("Australia/Lord_Howe", "2026-04-05", "01:45", "2026-04-04 14:45", "2026-04-04 15:15"),
    ("Antarctica/Troll", "2026-10-25", "01:30", "2026-10-24 23:30", "2026-10-25 01:30"),
    ("Europe/Dublin", "2026-10-25", "01:30", "2026-10-25 00:30", "2026-10-25 01:30"),
    # Midnight occurs twice, also under the name of 24:00.
    ("America/Havana", "2025-11-02", "00:00", "2025-11-02 04:00", "2025-11-02 05:00"),
    ("America/Havana", "2025-11-01", "24:00", "2025-11-02 04:00", "2025-11-02 05:00"),
    ("Atlantic/Azores", "2026-10-24", "24:00", "2026-10-25 00:00", "2026-10-25 01:00"),
    # The last hour of a day occurs twice.
    ("Africa/Cairo", "2025-10-30", "23:30", "2025-10-30 20:30", "2025-10-30 21:30"),
    ("America/Asuncion", "2024-03-23", "23:00", "2024-03-24 02:00", "2024-03-24 03:00"),
    ("America/St_Johns", "2006-10-29", "00:00", "2006-10-29 02:30", "2006-10-29 03:30"),
    # The last minute before it and the first one after it do not.
    ("Europe/Vienna", "2026-10-25", "01:59", "2026-10-24 23:59", "2026-10-24 23:59"),
    ("Europe/Vienna", "2026-10-25", "03:00", "2026-10-25 02:00", "2026-10-25 02:00"),
    ("Asia/Beirut", "2025-10-26", "00:00", "2025-10-25 22:00", "2025-10-25 22:00"),
]


@pytest.mark.parametrize(("zone", "day", "wall", "first", "second"), TWICE)
def test_of_two_occurrences_a_start_is_the_first_and_an_end_the_second_t02(
    zone: str, day: str, wall: str, first: str, second: str
) -> None:
    local_day, minutes = date.fromisoformat(day), minutes_of(wall)
    assert instant_of(zone, local_day, minutes, START) == utc(first)
    assert instant_of(zone, local_day, minutes, END) == utc(second)


@pytest.mark.parametrize(
    ("cutoff", "at", "name"),
    [
        ("03:00", "2026-01-14 01:59:59.999999", "2026-01-13"),
        ("03:00", "2026-01-14 02:00", "2026-01-14"),
        ("00:00", "2026-01-13 22:59", "2026-01-13"),
        ("00:00", "2026-01-13 23:00", "2026-01-14"),
        ("23:59", "2026-01-14 22:58", "2026-01-13"),
        ("23:59", "2026-01-14 22:59", "2026-01-14"),
        # The cutoff falls into the gap, and takes effect at 03:00 summer time.
        ("02:30", "2026-03-29 00:59:59", "2026-03-28"),
        ("02:30", "2026-03-29 01:00", "2026-03-29"),
        # The cutoff occurs twice: the day begins at the first, and the second is inside it.
        ("02:30", "2026-10-25 00:29:59", "2026-10-24"),
        ("02:30", "2026-10-25 00:30", "2026-10-25"),
        ("02:30", "2026-10-25 01:15", "2026-10-25"),
    ],
)
def test_an_instant_lies_in_the_day_that_began_at_the_last_cutoff_t01(
    cutoff: str, at: str, name: str
) -> None:
    day = business_day("Europe/Vienna", cutoff, utc(at))
    assert day.name == date.fromisoformat(name)
    assert day.starts <= utc(at) < day.ends
    assert day == business_day_named("Europe/Vienna", cutoff, day.name)


@pytest.mark.parametrize(
    ("zone", "cutoff", "name", "hours"),
    [
        ("Europe/Vienna", "03:00", "2026-01-14", 24.0),
        ("Europe/Vienna", "03:00", "2026-03-28", 23.0),
        ("Europe/Vienna", "00:00", "2026-03-29", 23.0),
        ("Europe/Vienna", "02:30", "2026-03-28", 23.5),
        ("Europe/Vienna", "02:30", "2026-03-29", 23.5),
        ("Europe/Vienna", "02:30", "2026-10-24", 24.0),
        ("Europe/Vienna", "02:30", "2026-10-25", 25.0),
        ("Europe/Vienna", "00:00", "2026-10-25", 25.0),
        ("Australia/Lord_Howe", "00:00", "2026-04-05", 24.5),
        ("Antarctica/Troll", "00:00", "2026-03-29", 22.0),
        ("Antarctica/Troll", "00:00", "2026-10-25", 26.0),
        ("Africa/Cairo", "00:00", "2025-04-25", 23.0),
        ("Pacific/Apia", "00:00", "2011-12-29", 24.0),
        ("Pacific/Apia", "00:00", "2011-12-30", 0.0),
        ("Pacific/Apia", "00:00", "2011-12-31", 24.0),
        ("Pacific/Apia", "03:00", "2011-12-29", 21.0),
        ("Pacific/Apia", "03:00", "2011-12-30", 3.0),
    ],
)
def test_a_business_day_is_as_long_as_it_really_was_t01(
    zone: str, cutoff: str, name: str, hours: float
) -> None:
    day = business_day_named(zone, cutoff, date.fromisoformat(name))
    assert day.ends - day.starts == timedelta(hours=hours)


def test_the_day_that_a_zone_skips_holds_no_instant_t01() -> None:
    after = utc("2011-12-30 10:00")
    assert business_day("Pacific/Apia", "00:00", after).name == date(2011, 12, 31)
    before = after - timedelta(microseconds=1)
    assert business_day("Pacific/Apia", "00:00", before).name == date(2011, 12, 29)


def test_a_date_that_comes_again_does_not_reopen_its_business_day_t01() -> None:
    """At 00:01 St. John's went back to 23:01 of the day before."""
    in_the_new_date = utc("2006-10-29 02:30:30")
    in_the_old_date_again = utc("2006-10-29 02:45")
    assert local_date("America/St_Johns", in_the_new_date) == date(2006, 10, 29)
    assert local_date("America/St_Johns", in_the_old_date_again) == date(2006, 10, 28)
    day = business_day("America/St_Johns", "00:00", in_the_new_date)
    assert day.name == date(2006, 10, 29)
    assert business_day("America/St_Johns", "00:00", in_the_old_date_again) == day


@pytest.mark.parametrize(
    ("wall", "after", "edge", "expected"),
    [
        ("22:00", "2026-01-14 20:59:59", END, "2026-01-14 21:00"),
        ("22:00", "2026-01-14 21:00", END, "2026-01-15 21:00"),
        ("00:00", "2026-01-14 22:59", END, "2026-01-14 23:00"),
        ("24:00", "2026-01-14 22:59", END, "2026-01-14 23:00"),
        ("24:00", "2026-01-14 23:00", END, "2026-01-15 23:00"),
        # In the gap it is the end of the gap, and from there on the next day's.
        ("02:30", "2026-03-29 00:30", END, "2026-03-29 01:00"),
        ("02:30", "2026-03-29 01:00", END, "2026-03-30 00:30"),
        # An end waits for the second occurrence also if the first is already over.
        ("02:30", "2026-10-25 00:00", END, "2026-10-25 01:30"),
        ("02:30", "2026-10-25 00:45", END, "2026-10-25 01:30"),
        ("02:30", "2026-10-25 00:00", START, "2026-10-25 00:30"),
        ("02:30", "2026-10-25 00:45", START, "2026-10-26 01:30"),
    ],
)
def test_the_next_occurrence_is_strictly_later_t10(
    wall: str, after: str, edge: Edge, expected: str
) -> None:
    assert next_occurrence("Europe/Vienna", wall, utc(after), edge) == utc(expected)


def test_the_next_occurrence_may_be_the_second_midnight_of_the_date_before_t10() -> None:
    """In Havana's first 00:30 of 2 November the second 24:00 of 1 November is still to come."""
    after = utc("2025-11-02 04:30")
    assert next_occurrence("America/Havana", "24:00", after, END) == utc("2025-11-02 05:00")
    assert next_occurrence("America/Havana", "00:00", after, END) == utc("2025-11-02 05:00")
    assert next_occurrence("America/Havana", "00:00", after, START) == utc("2025-11-03 05:00")


def test_a_visit_across_a_change_of_the_clocks_is_as_long_as_it_was_t06() -> None:
    vienna = ZoneInfo("Europe/Vienna")
    spring = (
        datetime(2026, 3, 29, 1, 30, tzinfo=vienna),
        datetime(2026, 3, 29, 3, 30, tzinfo=vienna),
    )
    assert elapsed_s(*spring) == 3600
    autumn = (
        datetime(2026, 10, 25, 1, 30, tzinfo=vienna),
        datetime(2026, 10, 25, 3, 30, tzinfo=vienna),
    )
    assert elapsed_s(*autumn) == 3 * 3600


@pytest.mark.parametrize(
    ("microseconds", "seconds"),
    [(0, 0), (499_999, 0), (500_000, 1), (1_499_999, 1), (1_500_000, 2), (2_500_000, 3)],
)
def test_elapsed_time_is_rounded_half_up_t06(microseconds: int, seconds: int) -> None:
    began = utc("2026-01-14 09:00:00.7")
    assert elapsed_s(began, began + timedelta(microseconds=microseconds)) == seconds


def test_any_offset_is_the_same_instant() -> None:
    tokyo = timezone(timedelta(hours=9))
    at = utc("2026-01-14 01:30")
    assert in_utc(at.astimezone(tokyo)) == at
    assert in_utc(at.astimezone(tokyo)).tzinfo is UTC
    assert business_day("Europe/Vienna", "03:00", at.astimezone(tokyo)).name == date(2026, 1, 13)
    assert local_date("Europe/Vienna", at.astimezone(tokyo)) == date(2026, 1, 14)


def test_both_readings_of_the_hour_that_occurs_twice_are_told_apart() -> None:
    """Datetimes of one zone compare by wall time and forget which of the two hours they are in."""
    wall = datetime(2026, 10, 25, 2, 45, tzinfo=ZoneInfo("Europe/Vienna"))
    first = next_occurrence("Europe/Vienna", "02:50", wall, START)
    second = next_occurrence("Europe/Vienna", "02:50", wall.replace(fold=1), START)
    assert (first, second) == (utc("2026-10-25 00:50"), utc("2026-10-26 01:50"))


def test_an_instant_without_an_offset_is_refused() -> None:
    naive = datetime(2026, 1, 14, 9, 0)  # noqa: DTZ001 - the very thing that is refused
    with pytest.raises(TypeError, match="offset"):
        business_day("Europe/Vienna", "03:00", naive)
    with pytest.raises(TypeError, match="offset"):
        elapsed_s(naive, naive)


@pytest.mark.parametrize(
    ("wall", "minutes"),
    [("00:00", 0), ("00:01", 1), ("09:30", 570), ("23:59", 1439), ("24:00", 1440)],
)
def test_a_wall_time_is_minutes_after_midnight(wall: str, minutes: int) -> None:
    assert minutes_of(wall) == minutes


@pytest.mark.parametrize(
    "wall",
    [
        "",
        "9:00",
        "09:60",
        "24:01",
        "25:00",
        "09:00:00",
        "09.00",
        " 9:00",
        "09:00\n",
        "\u0660\u0669:\u0660\u0660",
    ],
)
def test_what_is_no_wall_time_is_refused(wall: str) -> None:
    with pytest.raises(ValueError, match="wall time"):
        minutes_of(wall)


@pytest.mark.parametrize("zone", ["Europe/Vienna", "UTC", "America/Argentina/Buenos_Aires"])
def test_a_known_zone_is_one(zone: str) -> None:
    assert is_zone(zone)


@pytest.mark.parametrize(
    "zone",
    ["", "Mars/Phobos", "America", "../../etc/passwd", "/etc/passwd", "a\0b", "x" * 5000, "é"],
)
def test_anything_else_is_no_zone(zone: str) -> None:
    assert not is_zone(zone)


@pytest.mark.parametrize(
    ("day", "stands_for"),
    [
        (date.min, date(1, 1, 8)),
        (date(1, 1, 7), date(1, 1, 8)),
        (date(1, 1, 9), date(1, 1, 9)),
        (date(9999, 12, 23), date(9999, 12, 23)),
        (date(9999, 12, 25), date(9999, 12, 24)),
        (date.max, date(9999, 12, 24)),
    ],
)
def test_the_first_and_the_last_week_stand_for_the_end_of_time(day: date, stands_for: date) -> None:
    for edge in Edge:
        at = instant_of("UTC", day, 0, edge)
        assert (at.date(), at.time()) == (stands_for, time.min)


@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "Etc/GMT+12", "Europe/Vienna"])
@pytest.mark.parametrize("day", [date.min, DATE_MIN, DATE_MAX, date.max])
def test_the_ends_of_time_are_no_error(zone: str, day: date) -> None:
    """A record may say "until 9999-12-31": nothing here may raise for that."""
    at = datetime(day.year, day.month, day.day, 23, 59, 59, tzinfo=UTC)
    for edge in Edge:
        assert instant_of(zone, day, 1440, edge).tzinfo is UTC
    named = business_day_named(zone, "23:59", day)
    assert named.name == day
    assert named.starts <= named.ends
    assert business_day(zone, "23:59", at).starts.tzinfo is UTC
    assert DATE_MIN - timedelta(days=1) <= local_date(zone, at) <= DATE_MAX + timedelta(days=1)
