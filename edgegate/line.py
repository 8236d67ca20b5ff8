"""THE LINE: identify → decide → record → actuate; leaving is the other way round."""

import asyncio
import logging
import time
import traceback
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial

from msgspec import Struct

from edgegate.bookkeeper import Afterwards, Bookkeeper
from edgegate.checkin import Outcome, leave, present
from edgegate.credentials.lookup import lookup
from edgegate.deadlines import FAULT_CHARACTERS_MAX
from edgegate.doors.runner import DoorRunner
from edgegate.passes.happenings import Denied
from edgegate.passes.model import Channel, Direction
from edgegate.passes.payment import refuse
from edgegate.passes.reasons import ClosingReason, Reason
from edgegate.ports import Clock, OperatingError, Scan, Signal
from edgegate.store.books import Books

log = logging.getLogger(__name__)

STALE_S = 3.0
"""A tap that waited longer than this for the one before it opens for nobody, or somebody else."""


class Place(Struct, frozen=True, kw_only=True):
    """Where a reader sits: at which door, and which way it lets people through."""

    reader: str
    door: str
    direction: Direction
    release_s: float


class Passage(Struct, frozen=True, kw_only=True):
    """What came of a scan, for whoever watches: kiosk, demo and log."""

    place: Place
    outcome: Outcome | None
    """None for somebody who leaves."""
    opened: bool
    actuated_us: int
    """From the last byte of the scan to the strike, in microseconds."""


class Line:
    """One appliance's line from its readers to its doors."""

    def __init__(
        self,
        keeper: Bookkeeper,
        afterwards: Afterwards,
        doors: Mapping[str, DoorRunner],
        clock: Clock,
        site_key: bytes,
        on_passage: Callable[[Passage], None],
    ) -> None:
        self._keeper = keeper
        self._afterwards = afterwards
        self._doors = doors
        self._clock = clock
        self._site_key = site_key
        self._on_passage = on_passage
        self._under_way = 0
        self.quiet = asyncio.Event()
        """Set while nobody waits at a door, for whatever has time until then."""
        self.quiet.set()

    async def scan(self, place: Place, scan: Scan, show: Callable[[Signal], None]) -> None:
        """Take one scan down the line, whatever is wrong with it or with what it meets."""
        if place.direction is Direction.EXIT:
            self._leave(place, scan, show)
            return
        self._under_way += 1
        self.quiet.clear()
        try:
            await self._enter(place, scan, show)
        finally:
            self._under_way -= 1
            if not self._under_way:
                self.quiet.set()

    async def _enter(self, place: Place, scan: Scan, show: Callable[[Signal], None]) -> None:
        if time.monotonic_ns() - scan.read_ns > STALE_S * 1e9:
            log.error("dropped a tap at %s that had waited too long", place.door)
            show(Signal.REFUSED)
            return
        outcome = await self._decided(place, scan)
        door = self._doors[place.door]
        granted = outcome is None or outcome.decision.opens
        opened = door.exit() if outcome is None else granted and door.open(place.release_s)
        actuated_us = (time.monotonic_ns() - scan.read_ns) // 1000
        show(Signal.GRANTED if granted else Signal.REFUSED)
        self._on_passage(
            Passage(place=place, outcome=outcome, opened=opened, actuated_us=actuated_us)
        )

    def _leave(self, place: Place, scan: Scan, show: Callable[[Signal], None]) -> None:
        """Open first, whoever it is; that they left is recorded afterwards (D-06)."""
        opened = self._doors[place.door].exit()
        actuated_us = (time.monotonic_ns() - scan.read_ns) // 1000
        show(Signal.GRANTED)
        number = lookup(self._site_key, scan.kind, scan.number)
        self._afterwards.note(partial(_left, place.door, number, *self._now()))
        self._on_passage(Passage(place=place, outcome=None, opened=opened, actuated_us=actuated_us))

    def _now(self) -> tuple[datetime, float]:
        """The instant, and the seconds since boot: by them it is dated right if the clock is set.

        In this order: where asking the one sets the clock, the other is later than that.
        """
        return self._clock.now(), time.clock_gettime(time.CLOCK_BOOTTIME)

    async def _decided(self, place: Place, scan: Scan) -> Outcome | None:
        """Identify, decide and record as one job; the boundary of faults inside one scan.

        None: at a toggle reader, for somebody who leaves.
        """
        at, noted_s = self._now()
        number = lookup(self._site_key, scan.kind, scan.number)
        try:
            return await self._keeper.do(partial(_entered, place.door, number, at, noted_s))
        except OperatingError as error:
            log.error("refused at %s: %s", place.door, error)  # noqa: TRY400 - no trace needed
            return Outcome(at=at, decision=refuse(Reason.STORAGE_FAILED), door=place.door)
        except Exception as error:  # the boundary of one scan: a poisonous one restarts no door
            log.exception("refused at %s after a fault in the rules", place.door)
            trace = "".join(traceback.format_exception(error))[-FAULT_CHARACTERS_MAX:]
            self._afterwards.note(partial(_failed, place.door, number, at, trace))
            return Outcome(at=at, decision=refuse(Reason.INTERNAL_ERROR), door=place.door)


def _entered(door: str, number: str, at: datetime, noted_s: float, books: Books) -> Outcome | None:
    return present(books, door, number, books.doubts.dated(at, noted_s))


def _left(door_id: str, number: str, at: datetime, noted_s: float, books: Books) -> None:
    """Close the visit of whoever left, their credential blocked or not (D-06)."""
    door = books.door(door_id)
    credential = books.credential(number)
    if door is not None and credential is not None:
        then = books.doubts.dated(at, noted_s)
        leave(books, credential.customer, door.location, then, ClosingReason.EXIT)


def _failed(door: str, number: str, at: datetime, trace: str, books: Books) -> None:
    denied = Denied(
        location="",
        channel=Channel.DOOR,
        reason=Reason.INTERNAL_ERROR,
        door=door,
        lookup=number,
        fault=trace,
    )
    books.record([denied], at)
