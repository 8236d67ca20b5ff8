"""Forgets entries that the cloud counted so long ago that they need not be kept (M-04).

Each day: note up to where the cloud has counted, copy the tables that follow from the entries, then
forget, a few entries in each job. Without a copy nothing is forgotten.
"""

import asyncio
import logging
from collections.abc import Callable
from datetime import date, datetime
from functools import partial
from pathlib import Path

from edgegate.bookkeeper import Bookkeeper
from edgegate.ports import OperatingError
from edgegate.store import retention, standing
from edgegate.store.books import Books
from edgegate.store.files import Store
from edgegate.store.thread import DatabaseThread, Urgency

log = logging.getLogger(__name__)

PAUSE_S = 900.0
"""How often it is looked whether a day is over; the first time, too, everything else goes first."""


class Keeping:
    """Retention of one appliance's ledger."""

    def __init__(
        self,
        keeper: Bookkeeper,
        thread: DatabaseThread[Store],
        state: Path,
        now: Callable[[], datetime],
    ) -> None:
        """Prepare; `now` is effective time."""
        self._keeper = keeper
        self._thread = thread
        self._state = state
        self._now = now
        self._done: date | None = None
        self.forgotten = 0
        """How many entries are known to have gone since the start."""

    @property
    def has_run(self) -> bool:
        """Whether a day's work was done since the start."""
        return self._done is not None

    async def run(self) -> None:
        """Do each day's work, for ever."""
        while True:
            await asyncio.sleep(PAUSE_S)
            if self._done == self._now().date():
                continue
            try:
                await self.forget_counted()
            except OperatingError as error:
                log.warning("old entries are kept: %s", error)

    async def forget_counted(self) -> int:
        """Do one day's work; how many entries went. A clock that nobody believes is no clock.

        Raises:
            OperatingError: the storage failed; what was forgotten before stays so.
        """
        if not await self._keeper.do(_knows_the_time, Urgency.BACKGROUND):
            return 0
        now = self._now()
        until, tells_of_gone = await self._thread.run(partial(_look, now), Urgency.BACKGROUND)
        if until or tells_of_gone:
            copied = await asyncio.to_thread(standing.write, self._state, until)
            until = min(until, copied)
        before = self.forgotten
        is_more = until > 0
        while is_more:
            count, is_more = await self._thread.run(
                partial(retention.forget, until), Urgency.BACKGROUND
            )
            self.forgotten += count
        if self.forgotten > before:
            log.info("forgot %d entries that were counted long ago", self.forgotten - before)
        self._done = now.date()
        return self.forgotten - before


def _knows_the_time(books: Books) -> bool:
    """Whether the clock is believed, and all that was dated before that was put right."""
    return books.clock_trusted and books.doubts.due() is None


def _look(now: datetime, store: Store) -> tuple[int, bool]:
    retention.note_counted(store.ledger, now)
    return retention.due(store, now), retention.has_forgotten(store.ledger)
