"""Lets time run to an instant on a copy of what is open, as if nobody came or went until then."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime

from edgegate.deadlines import settle
from edgegate.ports import ClockTrust
from edgegate.store.books import Books
from edgegate.store.ledger import Stamp
from edgegate.store.ledger_file import open_in_memory
from edgegate.store.projection import TABLES

_STAMP = Stamp(source="edgegate/explain", clock=ClockTrust.UNTRUSTED, boot_id="", monotonic_s=0.0)


@dataclass(frozen=True, slots=True)
class _Copy:
    """A ledger in memory beside the cache that it belongs to."""

    ledger: sqlite3.Connection
    cache: sqlite3.Connection


@contextmanager
def foreseen(books: Books, at: datetime) -> Iterator[Books]:
    """The books as they will be at an instant; the very same ones where nothing falls due before.

    What is foreseen is recorded nowhere but in a copy that is then thrown away.
    """
    due = books.next_deadline()
    if due is None or due > at:
        yield books
        return
    with closing(open_in_memory(at.timestamp())) as ledger:
        for table in TABLES:
            _copy(files_of(books).ledger, ledger, table)
        ahead = Books(_Copy(ledger, files_of(books).cache), lambda: _STAMP)
        ahead.lockdown, ahead.locked_doors = books.lockdown, books.locked_doors
        ahead.reached_at = books.reached_at
        ahead.clock_trusted = books.clock_trusted
        settle(ahead, at)
        yield ahead


def files_of(books: Books) -> "_Copy":
    """The files behind the books, of which they themselves list no records."""
    return _Copy(books._store.ledger, books._store.cache)  # noqa: SLF001 - Books finds by id only


def _copy(source: sqlite3.Connection, target: sqlite3.Connection, table: str) -> None:
    rows = source.execute(f"SELECT * FROM {table}")  # noqa: S608 - a name from above
    marks = ", ".join("?" * len(rows.description))
    target.executemany(f"INSERT INTO {table} VALUES ({marks})", rows)  # noqa: S608 - likewise
