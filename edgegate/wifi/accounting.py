"""Takes what access points tell of sessions, and looks after those who fall silent.

A start or stop is answered once it is durable; what interims say is written down once a minute.
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping
from functools import partial

from edgegate.bookkeeper import Bookkeeper
from edgegate.boundary import Contained
from edgegate.ports import Clock, OperatingError
from edgegate.store.books import Books
from edgegate.store.thread import Urgency
from edgegate.store.wifi_rows import Counters, Key, count_on
from edgegate.wifi.refusals import Refusals
from edgegate.wifi.sessions import Report, Rules, Status, take, tend

FLUSH_S = 60.0
"""How often what interims said is written down (PROTOCOL.md, "Ledger")."""

KNOWN_MAX = 10_000
"""Sessions whose interims need no database; those of others take a job."""

log = logging.getLogger(__name__)

Handle = tuple[str, str, str, str]


class Accounting:
    """The event loop's side of all sessions."""

    def __init__(self, keeper: Bookkeeper, clock: Clock, rules: Rules, refusals: Refusals) -> None:
        self._keeper = keeper
        self._clock = clock
        self._rules = rules
        self._refusals = refusals
        self._known: dict[Handle, Key] = {}
        self._pending: dict[Key, Counters] = {}
        self._listens_since = clock.now()
        self.unknown = 0
        """Sessions with a Class that nobody here gave, since the start."""

    async def take(self, report: Report) -> None:
        """Take one packet; when this returns it may be answered.

        Raises:
            OperatingError: it could not be recorded; say nothing, and the access point asks again.
        """
        key = self._known.get(report.handle)
        if report.status is Status.INTERIM and key is not None:
            self._count(key, report.counters)
            return
        before = self._pending.get(key) if key is not None else None
        job = partial(_take, report, self._rules, self._refusals, key, before)
        found = await self._keeper.do(job, Urgency.WIFI)
        if report.status in (Status.ON, Status.OFF):
            self._forget([key for handle, key in self._known.items() if handle[0] == report.place])
        elif found is None:
            self._forget([] if key is None else [key])
        else:
            self._know(report.handle, found)

    async def run(self) -> None:
        """Write down what interims said and look for the silent, once a minute, for ever."""
        while True:
            await asyncio.sleep(FLUSH_S)
            await self.flush()

    async def flush(self) -> None:
        """Write down what waits; what fails waits on."""
        pending, self._pending = self._pending, {}
        listened = self._listens_since
        job = partial(tend, pending, self._clock.now(), listened, self._rules, self._refusals)
        with Contained(log, "the sessions on the Wi-Fi could not be looked after"):
            try:
                self._forget(await self._keeper.do(job, Urgency.WIFI))
            except OperatingError as error:
                log.error("the sessions on the Wi-Fi could not be written: %s", error)  # noqa: TRY400
                for key, counters in pending.items():
                    self._count(key, counters)

    def rest(self) -> Callable[[Books], None]:
        """What interims said and is still to be written, as a job."""
        pending, self._pending = self._pending, {}
        return partial(_write, pending)

    def _count(self, key: Key, counters: Counters) -> None:
        known = self._pending.get(key)
        self._pending[key] = counters if known is None else known.with_later(counters)

    def _know(self, handle: Handle, key: Key) -> None:
        if handle not in self._known:
            self.unknown += not key[3]
            if len(self._known) >= KNOWN_MAX:
                del self._known[next(iter(self._known))]
        self._known[handle] = key

    def _forget(self, keys: Collection[Key]) -> None:
        """These sessions have ended: what comes of them now is for the books to judge."""
        if not keys:
            return
        ended = frozenset(keys)
        self._known = {handle: key for handle, key in self._known.items() if key not in ended}
        for key in ended:
            self._pending.pop(key, None)


def _take(
    report: Report,
    rules: Rules,
    refusals: Refusals,
    key: Key | None,
    before: Counters | None,
    books: Books,
) -> Key | None:
    if key is not None and before is not None:
        count_on(books.ledger, key, before)
    return take(report, rules, refusals, books)


def _write(pending: Mapping[Key, Counters], books: Books) -> None:
    for key, counters in pending.items():
        count_on(books.ledger, key, counters)
