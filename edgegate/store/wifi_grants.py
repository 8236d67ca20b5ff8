"""Looks into the Accepts by which devices are on the Wi-Fi, and notes what became of them.

Every function takes the ledger's connection and works inside the caller's transaction.
"""

import sqlite3
from datetime import datetime

from edgegate.store.projection import microseconds
from edgegate.store.wifi_rows import GRANT_COLUMNS, Grant, address_grant, read_grant


def in_force(ledger: sqlite3.Connection, now: datetime) -> list[Grant]:
    """The Accepts by which devices are or may still come to be on the Wi-Fi, and by what."""
    rows = ledger.execute(
        f"SELECT {GRANT_COLUMNS} FROM wifi_grant WHERE credential <> '' AND ended = 0"  # noqa: S608
        " AND (until > ? OR class IN (SELECT class FROM wifi_session WHERE stopped_at IS NULL))",
        (microseconds(now),),
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
    ledger.execute("UPDATE wifi_grant SET again_at = ? WHERE class = ?", (microseconds(at), class_))
    address_grant(ledger, class_, names, address)
