"""Looks into the Accepts by which devices are on the Wi-Fi, and notes what became of them.

Every function takes the ledger's connection and works inside the caller's transaction.
"""

import sqlite3
from datetime import datetime, timedelta

from msgspec import Struct

from edgegate.store.projection import instant, microseconds
from edgegate.store.wifi_rows import GRANT_COLUMNS, Grant, read_grant

WORTH_TELLING = timedelta(seconds=1)
"""By less than that no end is moved."""

PROOFS_MAX = 1000
"""Of so many Accepts it is looked in one round whether what they were given for still counts."""

LATER_MAX = 64
"""So many are told of in one round; the others in the next."""


def in_force(ledger: sqlite3.Connection, now: datetime, after: str = "") -> list[Grant]:
    """The next `PROOFS_MAX` Accepts behind a Class by which devices are or may come to be on."""
    rows = ledger.execute(
        f"SELECT {GRANT_COLUMNS} FROM wifi_grant WHERE class > ? AND credential <> ''"  # noqa: S608
        " AND ended = 0"
        " AND (until > ? OR class IN (SELECT class FROM wifi_session WHERE stopped_at IS NULL))"
        " ORDER BY class LIMIT ?",
        (after, microseconds(now), PROOFS_MAX),
    ).fetchall()
    return [read_grant(row) for row in rows]


def mark_revoked(ledger: sqlite3.Connection, class_: str, revoked: bool) -> None:
    """Note whether what an Accept was given for counts no more: then its device is to go."""
    ledger.execute("UPDATE wifi_grant SET revoked = ? WHERE class = ?", (revoked, class_))


def last_of_device(ledger: sqlite3.Connection, place: str, station: str) -> Grant | None:
    """The newest Accept for a device at a place, unless that device is to go, or was sent off."""
    row = ledger.execute(
        f"SELECT {GRANT_COLUMNS} FROM wifi_grant WHERE ended = 0 AND revoked = 0 AND class ="  # noqa: S608
        " (SELECT class FROM wifi_grant WHERE place = ?1 AND station = ?2 AND station <> ''"
        " ORDER BY at DESC LIMIT 1) AND NOT EXISTS (SELECT 1 FROM wifi_session s"
        " WHERE s.customer = wifi_grant.customer AND s.place = ?1 AND s.station = ?2"
        " AND s.stopped_at IS NULL AND (s.surplus OR s.ended OR s.tries))",
        (place, station),
    ).fetchone()
    return None if row is None else read_grant(row)


def note_again(
    ledger: sqlite3.Connection, class_: str, at: datetime, names: bytes, address: str
) -> None:
    """A device proved itself again, and nothing changed: only where it is to be had is noted."""
    ledger.execute(
        "UPDATE wifi_grant SET again_at = ?, names = ?, address = ? WHERE class = ?",
        (microseconds(at), names, address, class_),
    )


class Later(Struct, frozen=True, kw_only=True):
    """A session whose visit ends later than its access point was told."""

    class_: str
    nas: str
    place: str
    names: bytes
    address: str
    until: datetime


def later(ledger: sqlite3.Connection) -> list[Later]:
    """The sessions that may go on for longer than was said, those to be sent off left out."""
    rows = ledger.execute(
        "SELECT s.class, s.nas, s.place, s.names, s.address, v.deadline FROM wifi_session s"
        " JOIN wifi_grant g ON g.class = s.class JOIN session v ON v.id = g.visit"
        " WHERE s.stopped_at IS NULL AND s.ended = 0 AND s.surplus = 0 AND g.revoked = 0"
        " AND s.names <> x'' AND v.deadline >= g.until + ? LIMIT ?",
        (WORTH_TELLING // timedelta(microseconds=1), LATER_MAX),
    )
    names = Later.__struct_fields__
    return [
        Later(**dict(zip(names, (*row[:-1], instant(row[-1])), strict=True)))
        for row in rows.fetchall()
    ]


def move_end(ledger: sqlite3.Connection, class_: str, until: datetime) -> None:
    """An access point was told another end of a session."""
    ledger.execute("UPDATE wifi_grant SET until = ? WHERE class = ?", (microseconds(until), class_))
