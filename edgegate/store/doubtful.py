"""What the ledger tells of visits that began while nobody believed the clock, and their moves."""

import sqlite3
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import msgspec
from msgspec import Struct

from edgegate.passes.happenings import Debited, Moved, Opened, Sold
from edgegate.passes.state import Session
from edgegate.ports import ClockTrust, Correction
from edgegate.store.ledger import EntryType, Stamp
from edgegate.store.records import Files

ENTRIES_MAX = 200_000
"""So many of the newest entries are looked at; a visit that opened before them stays as it is."""

_DECODERS: dict[str, msgspec.json.Decoder[Any]] = {
    EntryType.SESSION_OPENED.value: msgspec.json.Decoder(Opened),
    EntryType.SESSION_MOVED.value: msgspec.json.Decoder(Moved),
    EntryType.PASS_DEBITED.value: msgspec.json.Decoder(Debited),
    EntryType.PAYG_SOLD.value: msgspec.json.Decoder(Sold),
}


class Doubtful(Struct, kw_only=True):
    """A visit that opened by a clock which was not believed."""

    session: Session
    """As it was when it opened."""
    since_boot_s: float
    """When it opened."""
    opened_at: datetime
    """When it is said to have opened: as its opening tells, or its last move."""
    bought: list[Debited | Sold]
    """What bought a coverage in it, as recorded."""


class Doubts:
    """What this boot dated while its clock was not believed, and whether that was put right."""

    def __init__(self, store: Files, stamp: Callable[[], Stamp]) -> None:
        self._store = store
        self._stamp = stamp
        self.corrected: Callable[[], Correction | None] = lambda: None
        """How the clock was set when it was last believed anew, if it had been wrong until then."""

    def dated(self, at: datetime, since_boot_s: float) -> datetime:
        """What the clock said at so many seconds since boot, as it puts it now."""
        correction = self.corrected()
        return at if correction is None else correction.dated(at, since_boot_s)

    def due(self) -> Correction | None:
        """How the clock was put right, while the visits were not moved with it."""
        correction = self.corrected()
        if correction is None:
            return None
        row = self._store.ledger.execute("SELECT value FROM meta WHERE name = 'corrected'")
        return None if row.fetchone() == (self._name_of(correction),) else correction

    def note_done(self, correction: Correction) -> None:
        """Remember that the visits were moved with the clock."""
        name = self._name_of(correction)
        self._store.ledger.execute("INSERT OR REPLACE INTO meta VALUES ('corrected', ?)", (name,))

    def now_by(self, correction: Correction) -> datetime:
        """The right time now."""
        return correction.right(self._stamp().monotonic_s)

    def visits(self) -> list[Doubtful]:
        """The visits that opened in this boot while the clock was not believed, in their order."""
        return _doubtful_visits(self._store.ledger, self._stamp().boot_id)

    def _name_of(self, correction: Correction) -> str:
        return f"{self._stamp().boot_id}:{correction.made_s:.6f}"


def _doubtful_visits(ledger: sqlite3.Connection, boot_id: str) -> list[Doubtful]:
    """They are at the ledger's end: the reading stops where another boot begins."""
    found: list[tuple[str, Any]] = []
    rows = ledger.execute(
        "SELECT type, clock, monotonic, data FROM entry ORDER BY key DESC LIMIT ?", (ENTRIES_MAX,)
    )
    for kind, clock, monotonic, data in rows:
        boot, _, since_boot_s = monotonic.rpartition(":")
        if boot != boot_id:
            break
        is_doubtful = clock == ClockTrust.UNTRUSTED or kind == EntryType.SESSION_MOVED
        if is_doubtful and data is not None and kind in _DECODERS:
            found.append((since_boot_s, _DECODERS[kind].decode(data)))
    return _visits(found[::-1])


def _visits(found: list[tuple[str, Any]]) -> list[Doubtful]:
    visits: dict[str, Doubtful] = {}
    bought: dict[str, list[Debited | Sold]] = {}
    for since_boot_s, h in found:
        match h:
            case Opened(session=session):
                visits[session.id] = Doubtful(
                    session=session,
                    since_boot_s=float(since_boot_s),
                    opened_at=session.opened_at,
                    # What is spent with an entry is told before the opening.
                    bought=bought.setdefault(session.id, []),
                )
            case Moved() if h.session in visits:
                visits[h.session].opened_at = h.opened_at
            case Debited(covers=True) | Sold(until=datetime()):
                bought.setdefault(h.session, []).append(h)
    return list(visits.values())


def as_moved(
    ledger: sqlite3.Connection, session_id: str, debits: list[tuple[int, Debited]]
) -> list[Debited]:
    """What was debited in a visit, by the keys of the entries, as it lies since the visit moved."""
    moves = _moves_of(ledger, session_id, min(key for key, _ in debits)) if debits else []
    return [_after(moves, key, debited) for key, debited in debits]


def _after(moves: list[tuple[int, Moved]], key: int, debited: Debited) -> Debited:
    by = sum((h.by for place, h in moves if place > key), start=timedelta(0))
    until = None if debited.until is None else debited.until + by
    return msgspec.structs.replace(debited, from_=debited.from_ + by, until=until)


def _moves_of(ledger: sqlite3.Connection, session_id: str, after: int) -> list[tuple[int, Moved]]:
    rows = ledger.execute(
        "SELECT key, data FROM entry WHERE key > ? AND type = ? AND data IS NOT NULL",
        (after, EntryType.SESSION_MOVED.value),
    )
    decode = _DECODERS[EntryType.SESSION_MOVED.value].decode
    moves = ((key, decode(data)) for key, data in rows)
    return [(key, h) for key, h in moves if h.session == session_id]
