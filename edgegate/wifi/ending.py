"""Sends off whose right has ended: their access points are asked to, within seconds, until they do.

Who is to go follows from how things stand in the books, so that it does not matter when this
process died: whoever is on the Wi-Fi without a visit that allows it, or by a credential that counts
no more, is found again.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial

from msgspec import Struct

from edgegate.bookkeeper import Bookkeeper
from edgegate.boundary import Contained
from edgegate.passes.model import CustomerStatus
from edgegate.ports import Clock, OperatingError
from edgegate.store import wifi, wifi_rows
from edgegate.store.books import Books
from edgegate.store.thread import Urgency
from edgegate.store.wifi import Why
from edgegate.store.wifi_rows import Due
from edgegate.wifi.disconnect import Ending, Outcome
from edgegate.wifi.proven import note_lost
from edgegate.wifi.sessions import conclude

LOOK_S = 1.0
"""How often it is looked who is to go: five seconds after the end of their right they are gone."""

LOOKS_AT_PROOFS = 3
"""Every so many looks it is asked, too, whether the credentials of all who are on still count."""

TRIES_MAX = 8
"""So often an access point is asked for one device; after that Session-Timeout has to do."""

RETRY_S = 5.0
RETRY_S_MAX = 300.0

log = logging.getLogger(__name__)


Disconnect = Callable[[Due], Awaitable[Outcome]]
"""Asks a device's access point to send it off, a few times."""

_ENDINGS = {
    Ending.DONE: wifi.Ending.ACKED,
    Ending.GONE: wifi.Ending.GONE,
    Ending.REFUSED: wifi.Ending.REFUSED,
}


class _Reached(Struct):
    """How far the looks have come, by Class: the next goes on behind it. Empty: at the beginning.

    Used on the database thread only.
    """

    accepts: str = ""
    proofs: str = ""


class Endings:
    """Looks who is to go, and asks for it."""

    def __init__(
        self,
        keeper: Bookkeeper,
        clock: Clock,
        disconnect: Disconnect,
        is_revoked: Callable[[str], bool],
    ) -> None:
        self._keeper = keeper
        self._clock = clock
        self._disconnect = disconnect
        self._is_revoked = is_revoked
        self._looks = 0
        self._asked: set[tuple[str, str, str, str]] = set()
        self._reached = _Reached()
        self.waiting = 0
        """How many devices are to go, as of the last look."""

    async def run(self) -> None:
        """Look and ask, for ever."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                for due in await self._due():
                    name = (due.place, due.number, due.station, due.class_)
                    if name not in self._asked:
                        self._asked.add(name)
                        tasks.create_task(self._send_off(due, name), name="disconnect")
                await asyncio.sleep(LOOK_S)

    async def _due(self) -> list[Due]:
        with (
            Contained(log, "it could not be looked who is to leave the Wi-Fi"),
            suppress(OperatingError),
        ):
            # As of a restart, too, nobody's proof has been looked at.
            is_revoked = None if self._looks % LOOKS_AT_PROOFS else self._is_revoked
            self._looks += 1
            look = partial(_look, self._clock.now(), is_revoked, self._reached)
            found = await self._keeper.do(look, Urgency.WIFI)
            self.waiting = len(found)
            return found
        return []

    async def _send_off(self, due: Due, name: tuple[str, str, str, str]) -> None:
        try:
            with Contained(log, "a device could not be sent off at %s", due.place):
                await self._ask(due)
        finally:
            self._asked.discard(name)

    async def _ask(self, due: Due) -> None:
        try:
            answer = await self._disconnect(due)
            log.info("asked %s to send a device off: %s", due.place, answer)
            await self._keeper.do(partial(answered, due, answer, self._clock.now()), Urgency.WIFI)
        except OperatingError as error:
            log.warning("a device could not be sent off at %s: %s", due.place, error)


def _look(
    now: datetime, is_revoked: Callable[[str], bool] | None, reached: _Reached, books: Books
) -> list[Due]:
    if is_revoked is not None:
        reached.proofs = note_lost(books, now, is_revoked, reached.proofs)
    for row in wifi_rows.without_visit(books.ledger):
        customer = books.customer(row.customer)
        if customer is None or not customer.staff or customer.status is not CustomerStatus.ACTIVE:
            wifi_rows.mark_surplus(books.ledger, row.key)
    found, reached.accepts = wifi_rows.due(books.ledger, now, reached.accepts)
    return found


def answered(due: Due, answer: Outcome, now: datetime, books: Books) -> None:
    """Record what an access point said; where it did not do it, it is asked again later."""
    tries = due.tries + 1
    gone = answer.ending is Ending.GONE
    over = gone or answer.ending is Ending.DONE or tries >= TRIES_MAX
    again_at = now + timedelta(seconds=min(RETRY_S_MAX, RETRY_S * 2.0**due.tries))
    if over or (answer.ending is Ending.REFUSED and due.tries == 0):
        disconnected = wifi.Disconnected(
            place=due.place,
            number=due.number,
            class_=due.class_,
            station=due.station,
            customer=due.customer,
            location=due.location,
            outcome=_ENDINGS.get(answer.ending, wifi.Ending.UNANSWERED),
            tries=tries,
            cause=answer.cause,
            again_at=None if over else again_at,
        )
        wifi.record(books, disconnected, now)
    if not over:
        wifi_rows.postpone(books.ledger, due, again_at)
    elif gone and due.number:
        row = wifi_rows.online(books.ledger, (due.place, due.number, due.station, due.customer))
        if row is not None and row.stopped_at is None:
            conclude(books, row, Why.GONE, now)
