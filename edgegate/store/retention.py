"""Which entries retention may take out of the ledger (M-04), and takes, a few at a time.

An entry goes when the cloud counted it `ledger_keep_days` ago or longer: up to where it had
counted is noted once a day. Nothing goes that is still read: by an open visit, whose debits may be
refunded, or by the upload, which compares its newest entry with the cloud's. All else that came of
entries is in the tables, and before entries go in their copy (`edgegate.store.standing`).
"""

import sqlite3
from datetime import datetime, timedelta

from edgegate.store import cache, ledger
from edgegate.store.files import Store
from edgegate.store.ledger import key_of
from edgegate.store.projection import microseconds
from edgegate.store.sync_state import uploaded

BITE_ENTRIES = 64
"""So many entries go in one job: no tap waits for more."""

_DAY_US = 86_400_000_000


def note_counted(connection: sqlite3.Connection, now: datetime) -> None:
    """Note up to where the cloud has counted, once in a day (UTC); by a clock that is believed."""
    now_us = microseconds(now)
    # A clock that was ahead was believed when these were noted.
    connection.execute("DELETE FROM counted WHERE at > ?", (now_us,))
    # What these speak of is gone.
    connection.execute(
        "DELETE FROM counted WHERE key <= (SELECT value FROM meta WHERE name = 'anchor_key')"
    )
    (at_us, before) = connection.execute("SELECT max(at), max(key) FROM counted").fetchone()
    key = key_of(*uploaded(connection))
    is_noted = at_us is not None and at_us // _DAY_US == now_us // _DAY_US
    if key > (before or 0) and not is_noted:
        connection.execute("INSERT INTO counted VALUES (?, ?)", (now_us, key))


def due(store: Store, now: datetime) -> int:
    """Up to which key entries may be forgotten now; 0: none may, or none is left of them.

    Of several locations the longest `ledger_keep_days` counts; while none is known nothing goes.
    """
    kept = [place.ledger_keep_days for place in cache.every(store.cache, cache.LOCATION)]
    if not kept:
        return 0
    before = microseconds(now - timedelta(days=max(kept)))
    (counted,) = store.ledger.execute(
        "SELECT max(key) FROM counted WHERE at <= ?", (before,)
    ).fetchone()
    until = min(counted or 0, limit(store.ledger))
    found = store.ledger.execute("SELECT 1 FROM entry WHERE key <= ? LIMIT 1", (until,))
    return until if found.fetchone() is not None else 0


def limit(connection: sqlite3.Connection) -> int:
    """The key of the last entry before the first that is still read, or that was not counted."""
    needed = [key_of(*uploaded(connection))]
    # The upload went past these: the cloud would not take them, and may yet.
    refused = "SELECT min(key) FROM quarantined WHERE outcome = 'refused'"
    needed += (key for (key,) in connection.execute(refused) if key is not None)
    needed += (_began(visit) for (visit,) in connection.execute("SELECT id FROM session"))
    return max(min(needed) - 1, 0)


def _began(visit: str) -> int:
    """The key of the entry after which a visit is named, its first; 0 where it has another name."""
    numbers = visit.rsplit("-", 2)[1:]
    if len(numbers) < 2 or not all(number.isdecimal() for number in numbers):
        return 0
    return key_of(int(numbers[0]), int(numbers[1]))


def forget(until: int, store: Store) -> tuple[int, bool]:
    """Forget the oldest entries up to a key: how many it were, and whether some are left.

    What may not go any more since `due` said so stays.
    """
    until = min(until, limit(store.ledger))
    rows = store.ledger.execute(
        "SELECT key FROM entry WHERE key <= ? ORDER BY key LIMIT ?", (until, BITE_ENTRIES + 1)
    ).fetchall()
    count = 0
    for (key,) in rows[:BITE_ENTRIES][-1:]:
        count = ledger.forget(store.ledger, key >> 32, key & 0xFFFFFFFF)
    return count, len(rows) > BITE_ENTRIES


def has_forgotten(connection: sqlite3.Connection) -> bool:
    """Whether the tables tell of entries that are gone."""
    found = connection.execute("SELECT 1 FROM meta WHERE name = 'anchor_key'")
    return found.fetchone() is not None
