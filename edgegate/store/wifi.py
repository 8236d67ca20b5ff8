"""Who is on the Wi-Fi: what is recorded of it, and the tables that follow from that.

A device is known in entries by the keyed hash of its MAC address; the address itself stands only in
the rows of sessions that go on, where a Disconnect-Request needs it.
"""

import sqlite3
from collections.abc import Callable
from datetime import datetime
from enum import StrEnum
from typing import Any

import msgspec
from msgspec import Struct, field

from edgegate.passes.reasons import Reason
from edgegate.store import projection
from edgegate.store.books import Books
from edgegate.store.chain import Entry
from edgegate.store.ledger import Draft, EntryType, entries
from edgegate.store.projection import microseconds

TABLES = ("wifi_grant", "wifi_session", "wifi_learnt")

GRANTS_KEPT = 4
"""So many Accepts of one device at one place are known by their Class; the oldest goes."""

GRANTS_OF_ONE_MAX = 1024
"""So many Accepts of one customer are known; then the oldest go by which nobody is on the Wi-Fi."""

LEARNT_MAX = 16
"""So many learnt devices of one customer are kept; the one that ends first goes."""


class Why(StrEnum):
    """How a session of a NAS ended."""

    STOP = "stop"
    """The NAS said so."""
    LOST = "lost"
    """Nothing was heard for three interim intervals."""
    RESTARTED = "restarted"
    """The NAS said Accounting-On or -Off."""
    GONE = "gone"
    """The NAS did not know it any more when it was to be disconnected."""


class Ending(StrEnum):
    """What came of a Disconnect-Request."""

    ACKED = "acked"
    GONE = "gone"
    REFUSED = "refused"
    UNANSWERED = "unanswered"


class Accepted(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An Access-Accept was sent; `class` is by what its accounting is known again."""

    class_: str = field(name="class")
    customer: str
    location: str
    nas: str
    place: str
    station: str = ""
    visit: str | None = None
    credential: str | None = None
    proof: str = ""
    """What is remembered of the credential's verifier, where that was looked at."""
    certificate: str = ""
    """The serial number of the one that was shown in its place."""
    until: datetime
    learnt_until: datetime | None = None
    """Set where the device was learnt: from now on it comes in by its MAC address."""


class Rejected(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How often one source was refused for one reason in a minute, the first time included."""

    location: str
    nas: str
    reason: Reason
    count: int
    since: datetime
    customer: str | None = None


class Started(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A NAS began, or goes on with, a session of somebody's device."""

    place: str
    number: str
    station: str = ""
    customer: str
    class_: str = field(name="class")
    nas: str
    location: str
    began_at: datetime
    again: bool = False
    """Whether it had been taken for ended."""


class Stopped(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A session of somebody's device ended, as of `ended_at`."""

    place: str
    number: str
    station: str = ""
    customer: str
    location: str
    why: Why
    ended_at: datetime
    seconds: int = 0
    received: int = 0
    sent: int = 0
    cause: int | None = None
    """Acct-Terminate-Cause."""


class Disconnected(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a NAS answered when a device was to be disconnected, after so many tries."""

    place: str
    number: str = ""
    class_: str = field(name="class", default="")
    station: str = ""
    customer: str
    location: str
    outcome: Ending
    tries: int
    cause: int | None = None
    """Error-Cause."""
    again_at: datetime | None = None
    """When it is asked again; None: it is over with that device, or given up."""


Note = Accepted | Rejected | Started | Stopped | Disconnected

TYPES: dict[type[Note], EntryType] = {
    Accepted: EntryType.WIFI_ACCEPTED,
    Rejected: EntryType.WIFI_REJECTED,
    Started: EntryType.WIFI_STARTED,
    Stopped: EntryType.WIFI_STOPPED,
    Disconnected: EntryType.WIFI_DISCONNECTED,
}
_KINDS: dict[str, type[Note]] = {name.value: kind for kind, name in TYPES.items()}


def record(books: Books, note: Note, at: datetime) -> None:
    """Append what happened to the ledger and carry it into the tables."""
    books.append(_draft(note, at))
    apply(books.ledger, note, at)


def accept(books: Books, n: Accepted, at: datetime, names: bytes, address: str) -> None:
    """Record an Accept, with where its NAS is and what that calls the device: the row's alone."""
    books.append(_draft(n, at))
    _accepted(books.ledger, n, microseconds(at), names, address)


def _draft(note: Note, at: datetime) -> Draft:
    return Draft(type=TYPES[type(note)], at=at, subject=f"location/{note.location}", data=note)


def apply(ledger: sqlite3.Connection, note: Note, at: datetime) -> None:
    """Carry a note of that instant into the tables."""
    writer = _WRITERS.get(type(note))
    if writer is not None:
        writer(ledger, note, microseconds(at))


def rebuild(ledger: sqlite3.Connection, after: int = 0) -> None:
    """Make all tables again that follow from the ledger's entries, those of visits first.

    With `after`, the key of an entry, they hold what came of all up to there.
    """
    projection.rebuild(ledger, after)
    for table in TABLES if not after else ():
        ledger.execute(f"DELETE FROM {table}")  # noqa: S608 - names from the line above
    for entry in entries(ledger, after):
        note = note_of(entry)
        if note is not None:
            apply(ledger, note, entry.at)


def note_of(entry: Entry) -> Note | None:
    """What an entry says of a device on the Wi-Fi; None for one about something else, or erased."""
    kind = _KINDS.get(entry.type)
    if kind is None or entry.data is None or projection.happening_of(entry) is not None:
        return None
    return msgspec.json.decode(entry.data, type=kind)


def _accepted(
    ledger: sqlite3.Connection, n: Accepted, at: int, names: bytes = b"", address: str = ""
) -> None:
    ledger.execute(
        "INSERT OR REPLACE INTO wifi_grant"
        " (class, customer, location, visit, nas, place, station, at, until,"
        " credential, proof, certificate, names, address)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            *(n.class_, n.customer, n.location, n.visit, n.nas, n.place, n.station),
            *(at, microseconds(n.until), n.credential or "", n.proof, n.certificate),
            *(names, address),
        ),
    )
    _drop_grants(ledger, n)
    # Whoever has just proven who they are has a new right: old reasons to send them off are past.
    # The signs let SQLite find them by the customer: a place has hundreds of sessions.
    ledger.execute(
        "UPDATE wifi_session SET surplus = 0, tries = 0, next_at = 0, ended = 0"
        " WHERE +place = ? AND +station = ? AND customer = ? AND stopped_at IS NULL",
        (n.place, n.station, n.customer),
    )
    if n.learnt_until is not None and n.credential is not None:
        _learn(ledger, n, microseconds(n.learnt_until))


def _drop_grants(ledger: sqlite3.Connection, n: Accepted) -> None:
    """Drop what is too much of a device's Accepts, and of a customer's."""
    many = ledger.execute(
        "SELECT 1 FROM wifi_grant WHERE customer = ? LIMIT 1 OFFSET ?",
        (n.customer, min(GRANTS_KEPT, GRANTS_OF_ONE_MAX)),
    )
    if many.fetchone() is None:
        return
    ledger.execute(
        "DELETE FROM wifi_grant WHERE class IN (SELECT class FROM wifi_grant"
        " WHERE place = ?1 AND station = ?2 AND customer = ?3 AND station <> ''"
        " ORDER BY at DESC, class LIMIT -1 OFFSET ?4)",
        (n.place, n.station, n.customer, GRANTS_KEPT),
    )
    ledger.execute(
        "DELETE FROM wifi_grant WHERE class IN (SELECT class FROM wifi_grant"
        " WHERE customer = ?1 ORDER BY at DESC, class LIMIT -1 OFFSET ?2)"
        " AND NOT EXISTS (SELECT 1 FROM wifi_session s WHERE s.customer = ?1"
        " AND s.stopped_at IS NULL AND s.class = wifi_grant.class)",
        (n.customer, GRANTS_OF_ONE_MAX),
    )


def _learn(ledger: sqlite3.Connection, n: Accepted, until: int) -> None:
    ledger.execute(
        "INSERT OR REPLACE INTO wifi_learnt VALUES (?, ?, ?, ?, ?)",
        (n.station, n.customer, n.credential, n.proof, until),
    )
    ledger.execute(
        "DELETE FROM wifi_learnt WHERE station IN (SELECT station FROM wifi_learnt"
        " WHERE customer = ? ORDER BY until DESC, station LIMIT -1 OFFSET ?)",
        (n.customer, LEARNT_MAX),
    )


def _started(ledger: sqlite3.Connection, n: Started, _at: int) -> None:
    began = microseconds(n.began_at)
    values = (n.place, n.number, n.station, n.customer, n.class_, n.nas, n.location, began)
    if n.again:
        ledger.execute(
            "UPDATE wifi_session SET stopped_at = NULL, why = '', class = ?"
            " WHERE place = ? AND number = ? AND station = ? AND customer = ?",
            (n.class_, *values[:4]),
        )
        return
    ledger.execute(
        "INSERT OR REPLACE INTO wifi_session"
        " (place, number, station, customer, class, nas, location, started_at, seen_at)"
        " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?8)",
        values,
    )


def _stopped(ledger: sqlite3.Connection, n: Stopped, _at: int) -> None:
    ended = microseconds(n.ended_at)
    ledger.execute(
        "UPDATE wifi_session SET stopped_at = ?1, why = ?2, names = x'', surplus = 0,"
        " seen_at = max(seen_at, ?1), seconds = max(seconds, ?3), received = max(received, ?4),"
        " sent = max(sent, ?5)"
        " WHERE place = ?6 AND number = ?7 AND station = ?8 AND customer = ?9",
        (
            *(ended, n.why.value, n.seconds, n.received, n.sent),
            *(n.place, n.number, n.station, n.customer),
        ),
    )


def _disconnected(ledger: sqlite3.Connection, n: Disconnected, _at: int) -> None:
    if n.again_at is not None:
        return
    if n.number:
        ledger.execute(
            "UPDATE wifi_session SET ended = 1"
            " WHERE place = ? AND number = ? AND station = ? AND customer = ?",
            (n.place, n.number, n.station, n.customer),
        )
    ledger.execute("UPDATE wifi_grant SET ended = 1, names = x'' WHERE class = ?", (n.class_,))


_WRITERS: dict[type[Note], Callable[[sqlite3.Connection, Any, int], None]] = {
    Accepted: _accepted,
    Started: _started,
    Stopped: _stopped,
    Disconnected: _disconnected,
}
