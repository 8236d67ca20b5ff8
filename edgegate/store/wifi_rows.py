"""Looks into the tables of who is on the Wi-Fi, and keeps what only their rows have.

Every function takes the ledger's connection and works inside the caller's transaction.
"""

import sqlite3
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import Any

from msgspec import Struct

from edgegate.store.projection import instant, microseconds

GONE_KEPT = timedelta(days=1)
"""How long it is known what a session was that has ended: packets come late, and twice."""

ENDED_UNKNOWN_MAX = 1000
"""So many sessions that were nobody's are known after their end."""

LOOKED_AT_MAX = 2000
"""So many Accepts are looked at in one round, the others in the next: whoever taps meanwhile waits
for the end of it. A site that gives four times as many a day still sees to each within seconds."""


BEHIND_ALL = "\U0010ffff"
"""Sorts behind every Class."""

DUE_MAX = 64
"""So many devices are to be disconnected in one round; the others in the next."""

Key = tuple[str, str, str, str]
"""Place, Acct-Session-Id, the station's keyed hash, customer."""


class Grant(Struct, frozen=True, kw_only=True):
    """What an Access-Accept said."""

    class_: str
    customer: str
    location: str
    visit: str | None
    nas: str
    place: str
    station: str
    at: datetime
    until: datetime
    credential: str
    """Empty where an earlier version did not keep it."""
    proof: str
    """What was remembered of the credential's verifier; empty where it was not looked at."""
    certificate: str
    """The serial number of the one that was shown; empty for none."""
    revoked: int
    """Whether that counted no more at the last look (`edgegate.wifi.proven`)."""
    again_at: datetime
    """When its device last proved itself anew; before `at`, if it never did."""

    @property
    def proven_at(self) -> datetime:
        """When its device last proved itself."""
        return max(self.at, self.again_at)


class Online(Struct, frozen=True, kw_only=True):
    """A session of a NAS, whether it goes on or has stopped."""

    place: str
    number: str
    station: str
    customer: str
    class_: str
    nas: str
    location: str
    started_at: datetime
    seen_at: datetime
    seconds: int
    received: int
    sent: int
    stopped_at: datetime | None
    why: str
    names: bytes
    address: str

    @property
    def key(self) -> Key:
        """What it is known by."""
        return self.place, self.number, self.station, self.customer


class Counters(Struct, frozen=True, kw_only=True):
    """How far a session has come; each only ever grows."""

    seen_at: datetime
    seconds: int = 0
    received: int = 0
    sent: int = 0

    def with_later(self, other: "Counters") -> "Counters":
        """The greatest of both."""
        return Counters(
            seen_at=max(self.seen_at, other.seen_at),
            seconds=max(self.seconds, other.seconds),
            received=max(self.received, other.received),
            sent=max(self.sent, other.sent),
        )


class Due(Struct, frozen=True, kw_only=True):
    """A device that is to be disconnected: its right has ended, or it is one too many."""

    class_: str
    number: str
    """Acct-Session-Id; empty where the NAS never told of a session."""
    customer: str
    location: str
    nas: str
    place: str
    station: str
    names: bytes
    address: str
    tries: int


GRANT_COLUMNS = (
    "class, customer, location, visit, nas, place, station, at, until, credential, proof,"
    " certificate, revoked, again_at"
)
_ONLINE = (
    "place, number, station, customer, class, nas, location, started_at, seen_at, seconds,"
    " received, sent, stopped_at, why, names, address"
)
_IS_KEY = "place = ? AND number = ? AND station = ? AND customer = ?"


def grant(ledger: sqlite3.Connection, class_: str) -> Grant | None:
    """What the Accept with this Class said."""
    row = ledger.execute(
        f"SELECT {GRANT_COLUMNS} FROM wifi_grant WHERE class = ?",  # noqa: S608 - constants
        (class_,),
    ).fetchone()
    return None if row is None else read_grant(row)


def newest_grant(ledger: sqlite3.Connection, place: str, station: str) -> Grant | None:
    """What the newest Accept for a device at a place said."""
    row = ledger.execute(
        f"SELECT {GRANT_COLUMNS} FROM wifi_grant WHERE place = ? AND station = ?"  # noqa: S608 - constants
        " ORDER BY at DESC LIMIT 1",
        (place, station),
    ).fetchone()
    return None if row is None or not station else read_grant(row)


def was_accepted(ledger: sqlite3.Connection, customer: str, station: str) -> bool:
    """Whether a device came in by a customer's right lately."""
    found = ledger.execute(
        "SELECT 1 FROM wifi_grant WHERE customer = ? AND station = ? AND station <> '' LIMIT 1",
        (customer, station),
    )
    return found.fetchone() is not None


def online(ledger: sqlite3.Connection, key: Key) -> Online | None:
    """A session, whether it goes on or has stopped."""
    return next(_every(ledger, _IS_KEY, key), None)


def every_online(ledger: sqlite3.Connection) -> list[Online]:
    """All sessions that go on."""
    return list(_every(ledger, "stopped_at IS NULL"))


def online_of(ledger: sqlite3.Connection, customer: str) -> list[Online]:
    """A customer's sessions that go on, oldest first."""
    condition = "stopped_at IS NULL AND customer = ? ORDER BY started_at, number"
    return list(_every(ledger, condition, (customer,)))


def devices_of(ledger: sqlite3.Connection, customer: str) -> list[list[Online]]:
    """A customer's devices, oldest first, each with its sessions; those to be sent off left out.

    A session of which nobody told the device counts as one of its own.
    """
    condition = "stopped_at IS NULL AND surplus = 0 AND customer = ? ORDER BY started_at, number"
    devices: dict[object, list[Online]] = {}
    for row in _every(ledger, condition, (customer,)):
        devices.setdefault(row.station or row.key, []).append(row)
    return list(devices.values())


def online_at(ledger: sqlite3.Connection, place: str) -> list[Online]:
    """The sessions that go on at one place."""
    return list(_every(ledger, "stopped_at IS NULL AND place = ?", (place,)))


def without_visit(ledger: sqlite3.Connection) -> list[Online]:
    """The sessions that go on by no visit, as those of staff; those to be sent off left out."""
    condition = (
        "stopped_at IS NULL AND surplus = 0 AND EXISTS"
        " (SELECT 1 FROM wifi_grant g WHERE g.class = wifi_session.class AND g.visit IS NULL)"
    )
    return list(_every(ledger, condition))


def silent(ledger: sqlite3.Connection, since: datetime) -> list[Online]:
    """The sessions that go on of which nothing was heard after an instant."""
    return list(_every(ledger, "stopped_at IS NULL AND seen_at < ?", (microseconds(since),)))


def last_number(ledger: sqlite3.Connection, place: str, number: str, station: str) -> Online | None:
    """The newest session of that number at a place, whosever it is; for packets without Class."""
    condition = "place = ? AND number = ? AND station = ? ORDER BY started_at DESC LIMIT 1"
    return next(_every(ledger, condition, (place, number, station)), None)


def counts(ledger: sqlite3.Connection) -> tuple[int, int, int]:
    """How many sessions go on, of how many customers, and how many are nobody's here."""
    row = ledger.execute(
        "SELECT count(nullif(customer, '')), count(DISTINCT nullif(customer, '')),"
        " count(*) - count(nullif(customer, '')) FROM wifi_session WHERE stopped_at IS NULL"
    ).fetchone()
    return int(row[0]), int(row[1]), int(row[2])


def gone_unnoticed(ledger: sqlite3.Connection) -> list[tuple[str, str, datetime]]:
    """Who is on the Wi-Fi by their visit, and on none of their devices; since when."""
    rows = ledger.execute(
        "SELECT s.customer, s.location, max(s.stopped_at) FROM wifi_session s"
        " JOIN session v ON v.customer = s.customer AND v.location = s.location"
        " WHERE s.stopped_at IS NOT NULL AND instr(v.body, '\"wifi\":true')"
        " AND NOT EXISTS (SELECT 1 FROM wifi_session o WHERE o.customer = s.customer"
        " AND o.location = s.location AND o.stopped_at IS NULL)"
        " GROUP BY s.customer, s.location"
    ).fetchall()
    return [(customer, location, instant(at)) for customer, location, at in rows]


def is_awaited(ledger: sqlite3.Connection, customer: str, location: str, since: datetime) -> bool:
    """Whether a device was accepted after an instant, of whose session nothing was heard yet."""
    found = ledger.execute(
        "SELECT 1 FROM wifi_grant g WHERE customer = ? AND location = ? AND max(at, again_at) > ?"
        " AND NOT EXISTS (SELECT 1 FROM wifi_session s WHERE s.class = g.class"
        " AND s.started_at >= g.again_at)",
        (customer, location, microseconds(since)),
    )
    return found.fetchone() is not None


def count_on(ledger: sqlite3.Connection, key: Key, counters: Counters) -> None:
    """Note how far a session has come; nothing of it ever goes back."""
    ledger.execute(
        _COUNT_ON,
        (
            *(microseconds(counters.seen_at), counters.seconds, counters.received, counters.sent),
            *key,
        ),
    )


def address_session(
    ledger: sqlite3.Connection, key: Key, class_: str, names: bytes, address: str
) -> None:
    """Note where a session's NAS is and what it calls the session."""
    ledger.execute(
        f"UPDATE wifi_session SET class = ?, names = ?, address = ? WHERE {_IS_KEY}",  # noqa: S608
        (class_, names, address, *key),
    )


def keep_unknown(ledger: sqlite3.Connection, row: Online) -> None:
    """Keep a session that nobody here accepted: it is shown, and is nobody's."""
    ledger.execute(
        f"INSERT OR IGNORE INTO wifi_session ({_ONLINE})"  # noqa: S608 - constants
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, NULL, '', x'', ?)",
        (
            *(row.place, row.number, row.station, row.customer, row.class_, row.nas, row.location),
            *(microseconds(row.started_at), microseconds(row.seen_at)),
            *(row.seconds, row.received, row.sent, row.address),
        ),
    )


def end_unknown(ledger: sqlite3.Connection, key: Key, at: datetime, why: str) -> None:
    """A session that is nobody's has ended."""
    ended = ledger.execute(
        f"UPDATE wifi_session SET stopped_at = ?, why = ? WHERE stopped_at IS NULL AND {_IS_KEY}",  # noqa: S608
        (microseconds(at), why, *key),
    )
    if not ended.rowcount:
        return
    ledger.execute(
        "DELETE FROM wifi_session WHERE (place, number, station, customer) IN"
        " (SELECT place, number, station, customer FROM wifi_session"
        " WHERE customer = '' AND stopped_at IS NOT NULL"
        " ORDER BY stopped_at DESC LIMIT -1 OFFSET ?)",
        (ENDED_UNKNOWN_MAX,),
    )


def mark_surplus(ledger: sqlite3.Connection, key: Key) -> None:
    """A session is to be disconnected although its customer may stay on the Wi-Fi."""
    ledger.execute(f"UPDATE wifi_session SET surplus = 1 WHERE {_IS_KEY}", key)  # noqa: S608


def due(ledger: sqlite3.Connection, now: datetime, after: str = "") -> tuple[list[Due], str]:
    """Who is to be disconnected now, and behind which Class the next look begins.

    That is judged by how things stand, and by no message: whoever is on the Wi-Fi by a visit that
    is over, or that lost its right to be there, is to go, however often the process died meanwhile.
    Accepts of whose session nothing was heard are looked at from behind the Class `after` on.
    """
    at = microseconds(now)
    sessions = ledger.execute(_DUE_SESSIONS, (at, DUE_MAX))
    last = ledger.execute(_LAST_LOOKED_AT, (at, after, LOOKED_AT_MAX - 1)).fetchone()
    until = BEHIND_ALL if last is None else last[0]
    grants = ledger.execute(_DUE_GRANTS, (at, DUE_MAX, after, until))
    names = Due.__struct_fields__
    rows = (*sessions.fetchall(), *grants.fetchall())
    found = [Due(**dict(zip(names, row, strict=True))) for row in rows]
    return found, "" if last is None else until


def postpone(ledger: sqlite3.Connection, found: Due, until: datetime) -> None:
    """A NAS did not do as it was asked: it is asked again later."""
    at = microseconds(until)
    if found.number:
        key = (found.place, found.number, found.station, found.customer)
        ledger.execute(
            f"UPDATE wifi_session SET tries = tries + 1, next_at = ? WHERE {_IS_KEY}",  # noqa: S608
            (at, *key),
        )
    else:
        ledger.execute(
            "UPDATE wifi_grant SET tries = tries + 1, next_at = ? WHERE class = ?",
            (at, found.class_),
        )


def learnt(ledger: sqlite3.Connection, station: str, at: datetime) -> tuple[str, str, str] | None:
    """By which customer's credential a device was learnt, and what was known of its verifier."""
    row = ledger.execute(
        "SELECT customer, credential, proof FROM wifi_learnt WHERE station = ? AND until > ?",
        (station, microseconds(at)),
    ).fetchone()
    return None if row is None else (row[0], row[1], row[2])


def forget_old(ledger: sqlite3.Connection, now: datetime) -> None:
    """Remove what nobody asks for any more: ended sessions, and Accepts that ended long ago."""
    before = microseconds(now - GONE_KEPT)
    ledger.execute("DELETE FROM wifi_session WHERE stopped_at < ?", (before,))
    ledger.execute("DELETE FROM wifi_learnt WHERE until < ?", (before,))
    ledger.execute(
        "DELETE FROM wifi_grant WHERE until < ? AND NOT EXISTS"
        " (SELECT 1 FROM wifi_session s WHERE s.class = wifi_grant.class)",
        (before,),
    )


def _every(
    ledger: sqlite3.Connection, condition: str, values: Iterable[object] = ()
) -> Iterator[Online]:
    rows = ledger.execute(
        f"SELECT {_ONLINE} FROM wifi_session WHERE {condition}",  # noqa: S608 - constants
        tuple(values),
    ).fetchall()
    return map(_online, rows)


def read_grant(row: tuple[Any, ...]) -> Grant:
    """What a row of these columns says."""
    values: dict[str, Any] = dict(zip(Grant.__struct_fields__, row, strict=True))
    for name in ("at", "until", "again_at"):
        values[name] = instant(values[name])
    return Grant(**values)


def _online(row: tuple[object, ...]) -> Online:
    values: dict[str, Any] = dict(zip(Online.__struct_fields__, row, strict=True))
    for name in ("started_at", "seen_at", "stopped_at"):
        at = values[name]
        values[name] = instant(at) if isinstance(at, int) else None
    return Online(**values)


_COUNT_ON = f"""
UPDATE wifi_session SET seen_at = max(seen_at, ?), seconds = max(seconds, ?),
received = max(received, ?), sent = max(sent, ?) WHERE {_IS_KEY} AND stopped_at IS NULL
"""  # noqa: S608 - constants

# The newest word of a device at a place, that of its own session's Class among them, counts.
_LOST = """
    EXISTS (SELECT 1 FROM wifi_grant g
    WHERE g.customer = s.customer AND g.revoked
    AND (g.class = s.class OR (g.place = s.place AND g.station = s.station AND s.station <> ''))
    AND NOT EXISTS (SELECT 1 FROM wifi_grant n
        WHERE n.place = g.place AND n.station = g.station AND n.station <> ''
        AND n.customer = g.customer AND n.at > g.at AND NOT n.revoked))
"""

# A visit that stands with its customer on the Wi-Fi; a grant without one is staff's, for its time.
_STANDS = """
    g.visit IS NULL AND g.until > ?1
    OR EXISTS (SELECT 1 FROM session v WHERE v.id = g.visit AND instr(v.body, '"wifi":true'))
"""

_DUE_SESSIONS = f"""
SELECT s.class, number, customer, location, nas, place, station, names, address, tries
FROM wifi_session s
WHERE stopped_at IS NULL AND customer <> '' AND ended = 0 AND next_at <= ?1
AND (surplus OR {_LOST} OR NOT EXISTS (
    SELECT 1 FROM wifi_grant g
    WHERE g.customer = s.customer
    AND (g.class = s.class OR (g.place = s.place AND g.station = s.station AND s.station <> ''))
    AND ({_STANDS})
))
ORDER BY next_at, started_at LIMIT ?2
"""  # noqa: S608 - constants

_LAST_LOOKED_AT = """
SELECT class FROM wifi_grant WHERE class > ?2 AND until > ?1 ORDER BY class LIMIT 1 OFFSET ?3
"""

_DUE_GRANTS = f"""
SELECT g.class, '', customer, location, nas, place, station, names, address, tries
FROM wifi_grant g
WHERE g.class > ?3 AND g.class <= ?4
AND g.until > ?1 AND ended = 0 AND next_at <= ?1 AND names <> x''
AND (g.revoked OR NOT ({_STANDS}))
AND NOT EXISTS (SELECT 1 FROM wifi_session s WHERE s.customer = g.customer
    AND (s.class = g.class OR (s.place = g.place AND s.station = g.station)))
AND NOT EXISTS (SELECT 1 FROM wifi_grant n
    WHERE n.place = g.place AND n.station = g.station AND n.at > g.at)
ORDER BY next_at, g.at LIMIT ?2
"""  # noqa: S608 - constants
