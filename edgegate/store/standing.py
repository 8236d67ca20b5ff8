"""How the ledger's tables stood one day: a file beside the ledger, from which they are made again.

The tables follow from all entries there ever were. Once retention has forgotten the oldest, those
that are left do not tell all of it any more: what came of the forgotten ones is in this copy, and
whoever rebuilds the tables of a damaged ledger begins with it and goes on with the entries since.
So no entry is forgotten before a copy is on disk that is younger than the entry.
"""

import logging
import sqlite3
import threading
from contextlib import closing, suppress
from pathlib import Path

from edgegate.store import directory
from edgegate.store.connections import connect, connect_read_only, damage
from edgegate.store.errors import SchemaTooNewError, StoreUnavailableError
from edgegate.store.migrations import migrate

log = logging.getLogger(__name__)

FILE = "ledger.tables.db"

TABLES = (
    *("session", "coverage", "debit", "charge", "arrived", "moved", "begun"),
    *("wifi_grant", "wifi_session", "wifi_learnt"),
    "heard",
)
"""What follows from entries, other devices' included, and which of theirs are in it."""

LINKS = 1000
"""By so many of the newest entries it is known whose tables they are: some may be lost."""

_PAGE_CACHE_KIB = 256
_writing = threading.Lock()


def path_of(state: Path) -> Path:
    """Where the copy of a state directory is."""
    return state / FILE


def write(state: Path, until: int = 0) -> int:
    """Copy the tables as they stand now; the key of the newest entry that is in them.

    Entries up to `until` are to be forgotten next: where the head of a damaged ledger cannot be
    read any more, it is known by this that they are not missing.

    It reads beside the daemon's work, on connections of its own; blocks, so call it on a thread.

    Raises:
        StoreUnavailableError: it could not be written; the copy before it is still there.
    """
    with _writing:
        return _write(state, until)


def _write(state: Path, until: int) -> int:
    beside = state / f"next.{FILE}"
    try:
        directory.remove(beside)
        directory.make_file(beside)
        with closing(connect(beside, "FULL", _PAGE_CACHE_KIB)) as empty:
            migrate(empty, "ledger")
            empty.execute("CREATE TABLE link (key INTEGER PRIMARY KEY, hash BLOB NOT NULL) STRICT")
        with closing(connect_read_only(state / "ledger.db")) as ledger:
            key = _copy(ledger, beside, until)
        # A log that was left there belongs to the copy before.
        directory.remove_companions(path_of(state))
        directory.rename(beside, path_of(state))
    except (OSError, sqlite3.Error) as error:
        with suppress(OSError):
            directory.remove(beside)
        raise StoreUnavailableError(f"the ledger's tables cannot be copied: {error}") from error
    return key


def renew(state: Path) -> None:
    """Write the copy anew where there is one: nothing that was erased shall come back out of it.

    Raises:
        StoreUnavailableError: it could not be written.
    """
    if path_of(state).exists():
        write(state)


def _copy(ledger: sqlite3.Connection, beside: Path, until: int) -> int:
    """Copy within one transaction, so that all of it is of one moment, and flush it to the disk."""
    ledger.execute("ATTACH ? AS beside", (str(beside),))
    ledger.execute("BEGIN")
    for table in TABLES:
        order = " ORDER BY rowid" if table == "coverage" else ""
        ledger.execute(f"INSERT INTO beside.{table} SELECT * FROM main.{table}{order}")  # noqa: S608 - from above
    for table in ("wifi_grant", "wifi_session"):
        # MAC addresses stand only in the rows of who is on the Wi-Fi now.
        ledger.execute(f"UPDATE beside.{table} SET names = x'', address = ''")  # noqa: S608 - see above
    ledger.execute(
        "INSERT INTO beside.link SELECT key, hash FROM main.entry ORDER BY key DESC LIMIT ?",
        (LINKS,),
    )
    ledger.execute(
        "INSERT INTO beside.meta SELECT name, value FROM main.meta WHERE name LIKE 'anchor_%'"
    )
    for name, column in (("anchor_key", "key"), ("anchor_hash", "hash")):
        ledger.execute(
            "INSERT OR REPLACE INTO beside.meta"  # noqa: S608 - names from the line above
            f" SELECT ?, {column} FROM main.entry WHERE key <= ? ORDER BY key DESC LIMIT 1",
            (name, until),
        )
    (key,) = ledger.execute("SELECT max(key) FROM beside.link").fetchone()
    ledger.execute("COMMIT")
    ledger.execute("DETACH beside")
    return key or 0


def load(into: sqlite3.Connection, state: Path) -> int:
    """Fill the empty tables of a ledger that holds what was salvaged; up to which entry they go.

    0 says that no copy is to be had: there is none, it is damaged, or it is another ledger's.
    """
    path = path_of(state)
    if not path.exists():
        return 0
    try:
        with closing(connect(path, "FULL", _PAGE_CACHE_KIB)) as copy:
            found = damage(copy)
            if found is None:
                migrate(copy, "ledger")
                return fill(into, copy)
    except (OSError, sqlite3.Error, SchemaTooNewError, StoreUnavailableError) as error:
        found = str(error)
        # Half of it is none.
        for table in TABLES:
            into.execute(f"DELETE FROM {table}")  # noqa: S608 - names from above
    log.error("the copy of the ledger's tables cannot be used: %s", found)
    return 0


def fill(into: sqlite3.Connection, copy: sqlite3.Connection) -> int:
    """Fill empty tables out of an open copy; up to which entry they go, 0: it is another's."""
    links = copy.execute("SELECT key, hash FROM link ORDER BY key DESC").fetchall()
    if not _is_of(into, links):
        log.error("the copy of the ledger's tables is not this ledger's")
        return 0
    for table in TABLES:
        rows = copy.execute(f"SELECT * FROM {table}" + " ORDER BY rowid" * (table == "coverage"))  # noqa: S608
        marks = ", ".join("?" * len(rows.description))
        into.executemany(f"INSERT INTO {table} VALUES ({marks})", rows)  # noqa: S608 - names from above
    _anchor(into, copy)
    return int(links[0][0])


def _anchor(into: sqlite3.Connection, copy: sqlite3.Connection) -> None:
    """Let the chain begin behind what was forgotten, where the ledger itself cannot tell it."""
    names = "SELECT name, value FROM meta WHERE name LIKE 'anchor_%'"
    known = dict(copy.execute(names))
    if not known or into.execute(names).fetchone() is not None:
        return
    first = into.execute("SELECT key, prevhash FROM entry ORDER BY key LIMIT 1").fetchone()
    if first is not None and first[0] <= known["anchor_key"]:
        # It had not come to all that was to go.
        known = {"anchor_key": first[0] - 1, "anchor_hash": first[1]}
    into.executemany("INSERT INTO meta VALUES (?, ?)", known.items())


def _is_of(ledger: sqlite3.Connection, links: list[tuple[int, bytes]]) -> bool:
    """Whether a ledger has one of these entries, or had it before all that it has now."""
    before = ledger.execute(
        "SELECT value FROM meta WHERE name = 'anchor_hash'"
        " UNION ALL SELECT prevhash FROM entry WHERE key = (SELECT min(key) FROM entry)"
    )
    if not {row[0] for row in before}.isdisjoint(digest for _, digest in links):
        return True
    named = "SELECT 1 FROM entry WHERE key = ? AND hash = ?"
    return any(ledger.execute(named, link).fetchone() is not None for link in links)
