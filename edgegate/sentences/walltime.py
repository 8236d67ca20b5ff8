"""Instants, dates and durations as people in a location read them (KIOSK.md, "Words")."""

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from msgspec import Struct

from edgegate.passes.localtime import DATE_MAX, DATE_MIN, in_utc, local_date
from edgegate.sentences.language import Language

NIGHT_ENDS_HOUR = 6
"""Until then a time after midnight is understood without "tomorrow"."""

YEAR_SAID_DAYS = 180
"""A date further away than this is said with its year."""

_FIRST = datetime.combine(DATE_MIN, time.min, UTC)
_LAST = datetime.combine(DATE_MAX, time.min, UTC)


class WallClock(Struct, frozen=True, kw_only=True):
    """The clock on the wall of a location, as it stands at an instant."""

    zone: str
    now: datetime
    language: Language

    def wall(self, at: datetime) -> str:
        """The time of day: "9:00", "20:00"."""
        local = min(max(in_utc(at), _FIRST), _LAST).astimezone(ZoneInfo(self.zone))
        return f"{local.hour}:{local.minute:02}"

    def days_ahead(self, at: datetime) -> int:
        """How many dates after today's an instant lies; less than 0: before."""
        return (self.day(at) - self.day(self.now)).days

    def day(self, at: datetime) -> date:
        """The date that the calendar beside the clock shows."""
        return local_date(self.zone, at)

    def last_day(self, end: datetime) -> date:
        """The last date of what ends at an instant: one at midnight ends the day before."""
        return self.day(max(in_utc(end), _FIRST) - timedelta(microseconds=1))

    def long_date(self, day: date) -> str:
        """A date: "Friday 20 November", with the year if it is far away."""
        words = self.language
        return self._dated(words.date, day, words.weekdays, words.months)

    def short_date(self, day: date) -> str:
        """A date in few letters: "20 Nov"."""
        words = self.language
        return self._dated(words.date_short, day, words.weekdays_short, words.months_short)

    def moment(self, at: datetime) -> str:
        """Date and time: "Friday 20 November at 9:00"."""
        return self.language.date_time.format(date=self.long_date(self.day(at)), time=self.wall(at))

    def until(self, end: datetime) -> str:
        """An end to come, no longer than it must be: "20:00", "tomorrow at 9:00"."""
        days, wall = self.days_ahead(end), self.wall(end)
        if days == 0:
            return wall
        if days == 1 and wall == "0:00":
            return self.language.midnight
        if days == 1:
            night = int(wall.partition(":")[0]) < NIGHT_ENDS_HOUR
            return wall if night else self.language.tomorrow_time.format(time=wall)
        return self.moment(end)

    def duration(self, length: timedelta) -> str:
        """A stretch of time, rounded up to whole minutes: "3 h 53", "53 min"."""
        hours, minutes = divmod(-(-length // timedelta(minutes=1)), 60)
        if hours == 0:
            return self.language.minutes.format(minutes=minutes)
        return self.language.hours.format(hours=hours, minutes=f"{minutes:02}")

    def _dated(
        self, template: str, day: date, weekdays: tuple[str, ...], months: tuple[str, ...]
    ) -> str:
        text = template.format(
            weekday=weekdays[day.weekday()], day=day.day, month=months[day.month - 1]
        )
        if abs((day - self.day(self.now)).days) <= YEAR_SAID_DAYS:
            return text
        return self.language.with_year.format(date=text, year=day.year)
