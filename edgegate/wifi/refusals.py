"""Refusals on the Wi-Fi: the first of a source is recorded, those after it are counted.

A device that is refused asks again at once, and goes on for as long as it is near. Strangers of one
access point are one source: whoever makes up names must not fill the ledger with them.
"""

from collections.abc import Callable
from datetime import datetime, timedelta

from msgspec import Struct
from msgspec.structs import replace

from edgegate.passes.happenings import Denied
from edgegate.passes.reasons import Reason
from edgegate.store import wifi
from edgegate.store.books import Books

TOGETHER = timedelta(minutes=1)
"""So long refusals of one source are one (PROTOCOL.md, "Ledger")."""

SOURCES_MAX = 4096
"""Sources counted at once; with one more the oldest is written down."""

Source = tuple[str, Reason, str]
"""Access point, reason, and customer; empty for whoever nobody can name."""


class Counted(Struct, frozen=True):
    """What a source was refused since."""

    location: str
    since: datetime
    count: int


class Refusals:
    """The sources that were refused in the last minute; used on the database thread only."""

    def __init__(self) -> None:
        self._counted: dict[Source, Counted] = {}

    def take(self, books: Books, nas: str, at: datetime) -> Callable[[Denied], None]:
        """Who takes a refusal by an access point at an instant, in place of the ledger."""

        def take(denied: Denied) -> None:
            source = (nas, denied.reason, denied.customer or "")
            known = self._counted.get(source)
            if known is not None and at - known.since < TOGETHER:
                self._counted[source] = replace(known, count=known.count + 1)
                return
            if known is not None:
                self._write(books, source, at)
            elif len(self._counted) >= SOURCES_MAX:
                self._write(books, next(iter(self._counted)), at)
            books.record([denied], at)
            self._counted[source] = Counted(denied.location, at, 1)

        return take

    def write(self, books: Books, at: datetime, *, all_of_them: bool = False) -> None:
        """Write down those whose minute is over."""
        for source, counted in list(self._counted.items()):
            if all_of_them or at - counted.since >= TOGETHER or at < counted.since:
                self._write(books, source, at)

    def _write(self, books: Books, source: Source, at: datetime) -> None:
        counted = self._counted.pop(source)
        nas, reason, customer = source
        rejected = wifi.Rejected(
            location=counted.location,
            nas=nas,
            reason=reason,
            count=counted.count,
            since=counted.since,
            customer=customer or None,
        )
        wifi.record(books, rejected, at)
