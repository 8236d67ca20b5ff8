"""Tells access points when a right lasts longer than they were told, where their kind understands.

A pass that is extended, or that another one follows, moves the end of a visit. An access point of
another kind ends the session at the end that it knows, and the device, which may stay, comes in
again within a second or two.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from functools import partial

from edgegate.bookkeeper import Bookkeeper
from edgegate.boundary import Contained
from edgegate.ports import Clock, OperatingError
from edgegate.store import wifi_grants
from edgegate.store.books import Books
from edgegate.store.thread import Urgency
from edgegate.store.wifi_grants import Later
from edgegate.wifi.disconnect import Ending, Outcome
from edgegate.wifi.nas import Nas
from edgegate.wifi.vendors import TEMPLATES

LOOK_S = 5.0
"""How often it is looked: nobody who extends a pass does so in its last seconds."""

log = logging.getLogger(__name__)

Change = Callable[[Later, int], Awaitable[Outcome]]
"""Asks an access point to give a session so many seconds from now."""


class Extensions:
    """Looks whose end has moved, and asks once for each that has.

    Args:
        all_nas: the access points, by their ids.
    """

    def __init__(
        self, keeper: Bookkeeper, clock: Clock, all_nas: Mapping[str, Nas], change: Change
    ) -> None:
        self._keeper = keeper
        self._clock = clock
        self._understand = frozenset(
            nas.id for nas in all_nas.values() if TEMPLATES[nas.vendor].changes_timeout
        )
        self._change = change
        self._asked: dict[str, datetime] = {}
        """By Class, for which end it was asked; of those that are still to be moved."""

    async def run(self) -> None:
        """Look and ask, for ever; nothing is to do where no access point understands."""
        while self._understand:
            with Contained(log, "it could not be told how long devices may stay"):
                await self._look()
            await asyncio.sleep(LOOK_S)

    async def _look(self) -> None:
        try:
            found = await self._keeper.do(
                lambda books: wifi_grants.later(books.ledger), Urgency.WIFI
            )
        except OperatingError:
            return
        moved = [one for one in found if one.nas in self._understand]
        new = [one for one in moved if self._asked.get(one.class_) != one.until]
        self._asked = {one.class_: one.until for one in moved}
        await asyncio.gather(*map(self._ask, new))

    async def _ask(self, later: Later) -> None:
        left_s = (later.until - self._clock.now()) // timedelta(seconds=1)
        if left_s <= 0:
            return
        answer = await self._change(later, left_s)
        log.info("asked %s to let a device stay for %d s: %s", later.place, left_s, answer)
        if answer.ending is Ending.DONE:
            try:
                await self._keeper.do(partial(_noted, later), Urgency.WIFI)
            except OperatingError as error:
                log.warning("a device's new end was not noted: %s", error)


def _noted(later: Later, books: Books) -> None:
    wifi_grants.move_end(books.ledger, later.class_, later.until)
