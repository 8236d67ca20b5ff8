"""Finds what a cloud lacks of the entries that it once had: it was restored from a backup.

What is still in the ledger is sent again. What is in neither is named, with how many there were.
Every function takes the ledger's connection and works inside the caller's transaction.
"""

import sqlite3
from collections.abc import Iterator, Sequence

from edgegate.store import sync_state
from edgegate.store.ledger import key_of
from edgegate.store.sync_state import QUARANTINED_MAX, Place
from edgegate_sync.wire.events import STORED_MAX, Stored

LOST = "lost"
"""The outcome of entries that neither the cloud nor this ledger has."""

_LOW = 0xFFFFFFFF

# What the cloud refuses it lacks too: it is tried again in its own time (`Uploader`).
_FIRST = """
SELECT min(key) FROM entry WHERE key > ? AND key < ?
AND key NOT IN (SELECT key FROM quarantined WHERE outcome = 'refused')
"""
_FIRST_ABSENT = """
SELECT min(due.key) FROM (
    SELECT ?1 AS key UNION ALL SELECT key + 1 FROM entry WHERE key BETWEEN ?1 AND ?2
) AS due WHERE NOT EXISTS (SELECT 1 FROM entry WHERE entry.key = due.key)
"""


def covers(stored: Sequence[Stored], place: Place) -> bool:
    """Whether a cloud that has these has an entry, or does not say."""
    unsaid = _unsaid_before(stored)
    return key_of(*place) < unsaid or any(
        s.epoch == place.epoch and s.first <= place.sequence <= s.last for s in stored
    )


def first_missing(ledger: sqlite3.Connection, stored: Sequence[Stored]) -> Place | None:
    """The oldest entry here that was uploaded, and that a cloud which has `stored` lacks."""
    until = key_of(*sync_state.uploaded(ledger)) + 1
    # Of what was refused before these it is not known any more that it was.
    floor = max(_floor(ledger), _unsaid_before(stored) - 1)
    for after, before in _between(stored, until):
        (key,) = ledger.execute(_FIRST, (max(after, floor), before)).fetchone()
        if key is not None:
            return Place(key >> 32, key & _LOW)
    return None


def note_lost(ledger: sqlite3.Connection, stored: Sequence[Stored]) -> list[str]:
    """Name what is in neither, and no longer what came after all; what was not known before."""
    lost = {}
    for first, last in _gaps(ledger, stored):
        (here,) = ledger.execute(
            "SELECT count(*) FROM entry WHERE key BETWEEN ? AND ?", (first, last)
        ).fetchone()
        count = last - first + 1 - here
        if count:
            (key,) = ledger.execute(_FIRST_ABSENT, (first, last)).fetchone()
            lost[key] = (
                f"the cloud lacks {count} entries from {key >> 32}/{key & _LOW} to"
                f" {last >> 32}/{last & _LOW}, and this ledger has them no more"
            )
    known = dict(
        ledger.execute("SELECT key, why FROM quarantined WHERE outcome = ?", (LOST,)).fetchall()
    )
    for key in known.keys() - lost.keys():
        sync_state.accept(ledger, Place(key >> 32, key & _LOW))
    fresh = {key: why for key, why in lost.items() if known.get(key) != why}
    for key, why in fresh.items():
        sync_state.quarantine(ledger, Place(key >> 32, key & _LOW), LOST, why)
    return list(fresh.values())


def _unsaid_before(stored: Sequence[Stored]) -> int:
    """The key before which nothing is said; 0 where all is."""
    if len(stored) < STORED_MAX:
        return 0
    return min(key_of(s.epoch, s.first) for s in stored)


def _floor(ledger: sqlite3.Connection) -> int:
    count, first = ledger.execute("SELECT count(*), min(key) FROM quarantined").fetchone()
    return first if count >= QUARANTINED_MAX else 0


def _between(stored: Sequence[Stored], until: int) -> Iterator[tuple[int, int]]:
    """What lies between the keys of `stored` and before `until`, without either end."""
    after = 0
    for first, last in sorted((key_of(s.epoch, s.first), key_of(s.epoch, s.last)) for s in stored):
        if first >= until:
            break
        yield after, first
        after = max(after, last)
    yield after, until


def _gaps(ledger: sqlite3.Connection, stored: Sequence[Stored]) -> Iterator[tuple[int, int]]:
    """First and last key of entries that there were, and that the cloud lacks.

    Behind them in their epoch there is one that it has, or that was forgotten here.
    """
    unsaid = _unsaid_before(stored)
    anchor = ledger.execute("SELECT value FROM meta WHERE name = 'anchor_key'").fetchone()
    ends = {key_of(s.epoch, s.first): key_of(s.epoch, s.last) for s in stored}
    if anchor is not None and anchor[0] & _LOW:
        ends.setdefault(anchor[0] + 1, anchor[0])
    epoch, due = 0, 0
    for first, last in sorted(ends.items()):
        if first >> 32 != epoch:
            epoch = first >> 32
            due = key_of(epoch, 1)
        if first > due > unsaid:
            yield due, first - 1
        due = max(due, last + 1)
