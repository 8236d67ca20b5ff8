"""Takes the data of erased persons out of the own ledger, once the cloud has the entries.

An entry that is not uploaded yet keeps its data until then: a use of a team's pass that it records
must not be lost with the person. The chain still verifies without the data.
"""

import asyncio
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from edgegate.store import ledger, standing
from edgegate.store.files import Store
from edgegate.store.sync_state import uploaded
from edgegate.store.thread import DatabaseThread, Urgency
from edgegate_sync.wire.kinds import ERASURES

PERSONS_MAX = 1000
"""So many persons are looked for at once; the others in the rounds after."""

ENTRIES_MAX = 256
"""So many entries are looked at in one job."""

Persons = frozenset[tuple[str, str]]
"""Kind and id of each."""

_decode = msgspec.json.Decoder().decode


class Erasing:
    """The persons whose entries still have their data, and how far the ledger was gone through."""

    def __init__(self, thread: DatabaseThread[Store], state: Path) -> None:
        self._thread = thread
        self._state = state
        self._persons: Persons = frozenset()
        self._scanned = 0
        self._due = 0
        """Entries after this key name nobody of them: they were gone when it was written."""

    async def run(self) -> bool:
        """Erase what the cloud has; whether some is left that it has not.

        Raises:
            OperatingError: the storage failed; what is erased stays so.
        """
        while True:
            persons, until, head = await self._thread.run(_stand, Urgency.BACKGROUND)
            if persons != self._persons:
                self._persons, self._scanned, self._due = persons, 0, head
            if not persons:
                return False
            while self._scanned < min(until, self._due):
                bite = partial(_erase_bite, names_of(persons), self._scanned, until)
                self._scanned = await self._thread.run(bite, Urgency.BACKGROUND)
            if until < self._due:
                return True
            await self._thread.run(partial(_forget_traces, persons), Urgency.BACKGROUND)
            await asyncio.to_thread(standing.renew, self._state)
            await self._thread.run_cache(partial(_finish, persons))


def names_of(persons: Persons) -> Mapping[str, frozenset[str]]:
    """The fields by which entries name them, each with their ids."""
    fields = {field for kind, _ in persons for field in ERASURES[kind].entry_fields}
    return {
        field: frozenset(id_ for kind, id_ in persons if field in ERASURES[kind].entry_fields)
        for field in fields
    }


def is_about(names: Mapping[str, frozenset[str]], data: bytes) -> bool:
    """Whether an entry's data names one of them, at any depth."""
    try:
        value = _decode(data)
    except (ValueError, RecursionError):
        return False
    return any(
        field in names and isinstance(found, str) and found in names[field]
        for field, found in _fields(value)
    )


def _fields(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for field, inner in value.items():
            yield field, inner
            yield from _fields(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _fields(inner)


def _stand(store: Store) -> tuple[Persons, int, int]:
    """Who is to be erased, up to which key entries are uploaded, and which is the newest."""
    rows = store.cache.execute(
        "SELECT kind, id FROM erased ORDER BY kind, id LIMIT ?", (PERSONS_MAX,)
    ).fetchall()
    newest = ledger.head(store.ledger)
    until = ledger.key_of(*uploaded(store.ledger))
    known = frozenset((kind, id_) for kind, id_ in rows if kind in ERASURES)
    return known, until, ledger.key_of(newest.epoch, newest.sequence)


def _erase_bite(names: Mapping[str, frozenset[str]], after: int, until: int, store: Store) -> int:
    """Go through some entries after a key; up to which one."""
    found = store.ledger.execute(
        "SELECT key, epoch, sequence, data FROM entry WHERE key > ? AND key <= ?"
        " ORDER BY key LIMIT ?",
        (after, until, ENTRIES_MAX),
    ).fetchall()
    about = [
        (epoch, sequence)
        for _, epoch, sequence, data in found
        if data is not None and is_about(names, data)
    ]
    ledger.erase(store.ledger, about)
    return int(found[-1][0]) if len(found) == ENTRIES_MAX else until


def _forget_traces(persons: Persons, store: Store) -> None:
    """Remove what the tables still know of them: where they were, and what covered them."""
    for kind, id_ in persons:
        if kind == "customer":
            for table in ("coverage", "charge", "moved", "wifi_learnt"):
                store.ledger.execute(
                    f"DELETE FROM {table} WHERE customer = ?",  # noqa: S608 - names from above
                    (id_,),
                )


def _finish(persons: Persons, store: Store) -> None:
    rows = sorted(persons)
    store.cache.executemany("DELETE FROM erased WHERE kind = ? AND id = ?", rows)
