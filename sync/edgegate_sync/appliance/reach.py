"""Keeps in mind whether the cloud answers, and since when it does not."""

from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

from edgegate.ports import Clock, OperatingError
from edgegate.store import sync_state
from edgegate.store.files import Store
from edgegate.store.thread import DatabaseThread, Urgency
from edgegate_sync.appliance.upload import read_beside

NOTE_REACHED_S = 60.0
"""How often it is written down that the cloud answers."""


class Reach:
    """Whether the cloud answers, for the lease of doors (D-08); it survives a restart."""

    def __init__(
        self,
        ledger: Path,
        thread: DatabaseThread[Store],
        clock: Clock,
        note_reached: Callable[[datetime | None], object],
    ) -> None:
        """Prepare; `note_reached` is told what decisions should know."""
        self._ledger = ledger
        self._thread = thread
        self._clock = clock
        self._note_reached = note_reached
        self._last: datetime | None = None
        self._noted: datetime | None = None
        self.is_reached = False

    async def start(self) -> None:
        """Go on from what was noted before; with nothing noted, from now.

        Raises:
            OperatingError: the store is not to be had now.
        """
        self._last = await read_beside(self._ledger, sync_state.reached_at)
        if self._last is None:
            await self._note(self._clock.now())
        self._note_reached(self._last)

    async def answered(self) -> None:
        """A pull was complete."""
        now = self._clock.now()
        if not self.is_reached:
            self.is_reached = True
            self._note_reached(None)
        self._last = now
        due = self._noted is None or abs(now - self._noted) >= timedelta(seconds=NOTE_REACHED_S)
        if due:
            with suppress(OperatingError):
                await self._note(now)

    def silent(self) -> None:
        """A pull failed for a reason that lies with the cloud or the way to it."""
        if self.is_reached:
            self.is_reached = False
            self._note_reached(self._last)

    async def _note(self, at: datetime) -> None:
        await self._thread.run(partial(_set_reached, at), Urgency.BACKGROUND)
        self._last = self._noted = at


def _set_reached(at: datetime, store: Store) -> None:
    sync_state.set_reached(store.ledger, at)
