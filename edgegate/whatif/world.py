"""One run of the recorded taps: an appliance in memory, and what its members would spend."""

import logging
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import partial

from msgspec import Struct

from edgegate.checkin import Outcome, enter, enter_with, leave, wifi_stopped
from edgegate.deadlines import settle
from edgegate.passes.facts import Request
from edgegate.passes.happenings import Charged, Debited, Denied, Granted, Opened, Refunded
from edgegate.passes.model import Channel, Credential, CredentialKind, Customer
from edgegate.passes.payment import refuse
from edgegate.passes.reasons import ClosingReason, Reason
from edgegate.scenario import KINDS
from edgegate.simulated import Appliance
from edgegate.store import cache, ledger
from edgegate.store.books import Books
from edgegate.store.chain import Entry
from edgegate.store.ledger import EntryType
from edgegate.store.projection import happening_of
from edgegate.whatif.records import SiteRecords

log = logging.getLogger(__name__)

KEPT_ENTRIES = 5_000
"""So many entries gather in memory before those that no open visit needs are forgotten."""

_COSTS = (
    *(EntryType.PASS_DEBITED, EntryType.PASS_REFUNDED),
    *(EntryType.PAYG_CHARGED, EntryType.SESSION_OPENED),
)


class Circumstances(Struct, frozen=True, kw_only=True):
    """How it stood with the appliance at a tap, as far as the record of the tap tells."""

    lockdown: bool = False
    clock_trusted: bool = True
    lease_hours_over: int | None = None
    """The door's lease, where it had run out."""


class Spent(Struct, frozen=True, kw_only=True):
    """What a run spent in all."""

    passes: Counter[str]
    """By pass: uses, minutes, or hundredths of a credit."""
    offers: Counter[tuple[str, str]]
    """By offer and currency: minor units."""
    visits: int


class World:
    """An appliance that has a site's records and, at first, an empty ledger."""

    def __init__(self, records: SiteRecords) -> None:
        self._appliance = Appliance("what-if")
        for name in KINDS:
            for record in records.by_kind[name].values():
                left = records.remaining.get(record.id) if name == cache.PASS.name else None
                self._appliance.put(KINDS[name], record, left, {})
        self._passes: Counter[str] = Counter()
        self._offers: Counter[tuple[str, str]] = Counter()
        self._visits = 0
        self._entries = 0

    @property
    def books(self) -> Books:
        """What its line reads and writes."""
        return self._appliance.books

    def knows(self, h: Granted | Denied) -> bool:
        """Whether everybody and everything that a tap names is still in the records."""
        books = self.books
        customer = books.customer(h.customer) if h.customer is not None else None
        if customer is None:
            return False
        if h.channel is not Channel.DOOR:
            return books.location(h.location) is not None
        door = books.door(h.door) if h.door is not None else None
        return door is not None and books.location(door.location) is not None

    def present(self, h: Granted | Denied, at: datetime, then: Circumstances) -> Outcome:
        """Let the member of a recorded tap ask again, at its instant, by its way."""
        books = self.books
        settle(books, at)
        door = books.door(h.door) if h.door is not None else None
        location = books.location(door.location if door is not None else h.location)
        customer = books.customer(h.customer) if h.customer is not None else None
        if location is None or customer is None:
            raise LookupError("only a tap that this world knows can be presented")
        request = Request(at=at, location=location, channel=h.channel, door=door)
        outcomes: list[Outcome] = []
        with _so(books, then, at):
            fault = books.attempt(lambda: outcomes.append(self._ask(request, customer, h)))
        if fault is not None:
            return Outcome(at=at, decision=refuse(Reason.INTERNAL_ERROR), door=h.door)
        return outcomes[0]

    def leave(self, customer: str, location: str, at: datetime, reason: ClosingReason) -> None:
        """Somebody goes, as was recorded; nothing happens to whoever would not be inside."""
        self._contained(partial(leave, self.books, customer, location, at, reason))

    def wifi_stopped(self, customer: str, location: str, at: datetime) -> None:
        """The Wi-Fi loses sight of somebody."""
        self._contained(partial(wifi_stopped, self.books, customer, location, at))

    def settle(self, at: datetime) -> None:
        """Let time run to an instant."""
        settle(self.books, at)

    def count(self) -> None:
        """Take what was written since the last time into account, and forget what is not needed."""
        if not self._appliance.has_news:
            return
        news = self._appliance.news()
        self._entries += len(news)
        for entry in news:
            if entry.type in _COSTS:
                self._count(entry)
        if self._entries >= KEPT_ENTRIES:
            self._entries = 0
            self._forget()

    @property
    def spent(self) -> Spent:
        """What all counted entries amount to."""
        return Spent(passes=self._passes, offers=self._offers, visits=self._visits)

    def _count(self, entry: Entry) -> None:
        match happening_of(entry):
            case Debited() as h:
                self._passes[h.pass_] += h.amount
            case Refunded() as h:
                self._passes[h.pass_] -= h.amount
            case Charged() as h:
                self._offers[h.offer, h.currency] += h.amount
            case Opened():
                self._visits += 1

    def _forget(self) -> None:
        """Forget all entries but those since the oldest open visit began: it may refund those.

        A visit is named after the entry that it began with.
        """
        link = ledger.head(self._appliance.store.ledger)
        begun = [int(s.id.rpartition("-")[2]) for s in self.books.sessions()]
        ledger.forget(self._appliance.store.ledger, link.epoch, min([link.sequence, *begun]) - 1)

    def _contained(self, step: Callable[[], object]) -> None:
        """One visit that the rules cannot judge must not end the whole replay."""
        fault = self.books.attempt(step)
        if fault is not None:
            log.error("a fault in the rules as somebody left", exc_info=fault)

    def _ask(self, request: Request, customer: Customer, h: Granted | Denied) -> Outcome:
        if h.credential is None:
            return enter(self.books, request, customer)
        return enter_with(self.books, request, self._credential(h.credential, customer.id))

    def _credential(self, credential_id: str, customer_id: str) -> Credential:
        """The card that was shown; a good one where it has gone or is somebody else's now."""
        known = self.books.record_of(cache.CREDENTIAL, credential_id)
        if known is not None and known.customer == customer_id:
            return known
        return Credential(id=credential_id, customer=customer_id, kind=CredentialKind.NFC_UID)


@contextmanager
def _so(books: Books, then: Circumstances, at: datetime) -> Iterator[None]:
    """Put the appliance into the circumstances of one tap."""
    books.lockdown = then.lockdown
    books.clock_trusted = then.clock_trusted
    if then.lease_hours_over is not None:
        books.reached_at = at - timedelta(hours=then.lease_hours_over, seconds=1)
    try:
        yield
    finally:
        books.lockdown, books.clock_trusted, books.reached_at = False, True, None
