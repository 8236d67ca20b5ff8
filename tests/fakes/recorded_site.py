"""A site whose ledger was written by the line's own functions, tap by tap, for a replay of it."""

from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path

from edgegate.checkin import enter, leave, present, wifi_stopped
from edgegate.deadlines import settle
from edgegate.passes.facts import Request
from edgegate.passes.model import (
    Balance,
    Channel,
    Counted,
    Credential,
    CredentialKind,
    Customer,
    Record,
)
from edgegate.passes.reasons import ClosingReason
from edgegate.ports import ClockTrust
from edgegate.store import cache, ledger
from edgegate.store.books import Books
from edgegate.store.files import Store
from edgegate.store.ledger import Stamp

KINDS = {kind.type: kind for kind in cache.KINDS.values()}


def card_of(customer: str) -> Credential:
    """The card of a customer, as the cache has it."""
    kind = CredentialKind.NFC_UID
    return Credential(id=f"card-{customer}", customer=customer, kind=kind, lookup=f"#{customer}")


class RecordedSite:
    """A state directory in which members come and go; `export` writes what the CLI would."""

    def __init__(self, directory: Path, device: str = "pi") -> None:
        self.state = directory / f"state-{device}"
        self.device = device
        self.clock = ClockTrust.TRUSTED
        self._store = Store.open(self.state)
        self._store.cache.execute("PRAGMA query_only = OFF")
        # Nothing here is to outlast a power cut, and hundreds of commits would take their time.
        self._store.cache.execute("PRAGMA synchronous = OFF")
        self._store.ledger.execute("PRAGMA synchronous = OFF")
        self.books = Books(self._store, self._stamp)

    def put(self, *records: Record | Balance) -> None:
        """Store records as the feed would; every customer has a card."""
        for record in records:
            cache.put(self._store.cache, KINDS[type(record)], record)
            if isinstance(record, Customer):
                cache.put(self._store.cache, cache.CREDENTIAL, card_of(record.id))
        self.books.forget_places()

    def remove(self, kind: str, record_id: str) -> None:
        """Remove a record as the feed would."""
        assert cache.delete(self._store.cache, cache.KINDS[kind], record_id)
        self.books.forget_places()

    def tap(self, customer: str, door: str, at: datetime) -> str:
        """Show a card at a door's reader; the reason of what came of it."""
        outcome = present(self.books, door, f"#{customer}", at)
        return "" if outcome is None else outcome.decision.reason.value

    def ask(self, customer: str, location: str, channel: Channel, at: datetime) -> str:
        """Check in at the kiosk or go on the Wi-Fi."""
        settle(self.books, at)
        place, who = self.books.location(location), self.books.customer(customer)
        assert place is not None
        assert who is not None
        request = Request(at=at, location=place, channel=channel)
        return enter(self.books, request, who).decision.reason.value

    def leave(
        self, customer: str, location: str, at: datetime, how: ClosingReason = ClosingReason.EXIT
    ) -> None:
        """Go out by an exit reader, or check out."""
        leave(self.books, customer, location, at, how)

    def wifi_stop(self, customer: str, location: str, at: datetime) -> None:
        """Go off the Wi-Fi."""
        wifi_stopped(self.books, customer, location, at)

    def settle(self, at: datetime) -> None:
        """Let time run."""
        settle(self.books, at)

    def count(self, pass_id: str) -> Balance:
        """Let the cloud count all that was spent of a pass so far."""
        known = self.books.record_of(cache.PASS, pass_id)
        assert known is not None
        left = self.books.remaining([known])[pass_id]
        head = ledger.head(self._store.ledger)
        counted = {self.device: Counted(epoch=head.epoch, sequence=head.sequence)}
        balance = Balance(pass_=pass_id, remaining=left, counted=counted)
        self.put(balance)
        return balance

    def erase(self, sequence: int) -> None:
        """Erase the data of an entry."""
        head = ledger.head(self._store.ledger)
        assert ledger.erase(self._store.ledger, [(head.epoch, sequence)]) == 1

    def export(self, name: str = "") -> Path:
        """Write the export beside the state directory."""
        file = self.state.parent / (name or f"{self.device}.jsonl")
        with file.open("wb") as stream:
            ledger.export(self._store.ledger, stream)
        return file

    def close(self) -> None:
        """Close the files, as a daemon that ends."""
        with closing(self._store):
            pass

    def _stamp(self) -> Stamp:
        return Stamp(
            source=f"edgegate/mill/{self.device}", clock=self.clock, boot_id="b", monotonic_s=0.0
        )


def minutes(count: float) -> timedelta:
    """So many minutes."""
    return timedelta(minutes=count)
