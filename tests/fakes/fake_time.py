"""A computer's clocks for tests: the wall can be stepped, time passes only as told."""

from datetime import UTC, datetime, timedelta
from typing import Self

import pytest

from edgegate import clock, timesources, timewatch

START = datetime(2026, 11, 20, 10, 0, tzinfo=UTC)


class Computer:
    """The wall clock, the seconds since boot, and what the kernel thinks of the wall clock."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.wall = START
        self.since_boot_s = 1000.0
        self.in_step = False
        self.asked = 0
        for module in (clock, timesources, timewatch):
            monkeypatch.setattr(module, "since_boot_s", lambda: self.since_boot_s)
            monkeypatch.setattr(module, "datetime", wall_of(self))
        monkeypatch.setattr(clock, "_synchronised", self._answer)

    def passes(self, seconds: float) -> Self:
        """Let real time pass."""
        self.since_boot_s += seconds
        self.wall += timedelta(seconds=seconds)
        return self

    def step(self, seconds: float, *, in_step: bool = False) -> Self:
        """Set the wall clock, as `date -s` does: the kernel no longer vouches for it."""
        self.wall += timedelta(seconds=seconds)
        self.in_step = in_step
        return self

    def _answer(self) -> bool:
        self.asked += 1
        return self.in_step


def wall_of(computer: Computer) -> type[datetime]:
    """A `datetime` whose `now` is that computer's wall clock."""

    class Wall(datetime):
        @classmethod
        def now(cls, tz: object = None) -> datetime:  # type: ignore[override]  # only ever asked for UTC
            assert tz is UTC
            return computer.wall

    return Wall
