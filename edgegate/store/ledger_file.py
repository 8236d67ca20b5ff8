"""Opens `ledger.db`, and salvages it when it is corrupt.

A corrupt ledger is set aside and never deleted. Every entry that can still be read goes into a new
file, which is complete before it gets the old one's name, so that a power cut at any moment leaves
either the old ledger or the whole new one.
"""

import logging
import sqlite3
from collections.abc import Callable, Iterable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import msgspec

from edgegate.store import directory, ledger, salvage, standing
from edgegate.store.chain import Entry
from edgegate.store.connections import (
    PAGE_BYTES,
    connect,
    connect_read_only,
    damage,
    is_corruption,
)
from edgegate.store.migrations import migrate
from edgegate.store.reports import Report, ReportKind

log = logging.getLogger(__name__)

Rebuild = Callable[[sqlite3.Connection, int], None]
"""Makes the ledger's projections again, inside the caller's transaction: from the entries behind a
key, up to which the tables are filled already; 0: from all."""

_PAGE_CACHE_KIB = 1024


def open_in_memory(now_s: float) -> sqlite3.Connection:
    """An empty ledger that leaves nothing behind."""
    connection = connect(None, "FULL", _PAGE_CACHE_KIB)
    migrate(connection, "ledger")
    ledger.begin_epoch(connection, now_s)
    return connection


def open_ledger(
    path: Path, rebuild: Rebuild | None, now_s: float
) -> tuple[sqlite3.Connection, Report | None]:
    """Open the ledger, read whole and found sound; say so if it had to be salvaged.

    Raises:
        SchemaTooNewError: a newer version wrote it.
        StoreUnavailableError: its file system cannot keep records safe.
        OSError: the disk is full, read-only or failing.
        sqlite3.Error: likewise.
    """
    if not path.exists():
        _create(path, now_s)
    opened = _open_sound(path)
    if isinstance(opened, sqlite3.Connection):
        directory.remove(_successor(path))
        return opened, None
    report = _salvage(path, opened, rebuild, now_s)
    return _connect(path), report


def _connect(path: Path) -> sqlite3.Connection:
    return connect(path, "FULL", _PAGE_CACHE_KIB)


def _successor(path: Path) -> Path:
    return path.with_name("ledger.next.db")


def _open_sound(path: Path) -> sqlite3.Connection | str:
    """The ledger at its newest schema, or what is wrong with the file."""
    # SQLite takes such a file for a new database, overwrites it and deletes the log beside it.
    if (size := path.stat().st_size) < PAGE_BYTES:
        return f"the file has {size} bytes"
    connection = None
    try:
        connection = _connect(path)
        found = damage(connection)
        if found is None:
            migrate(connection, "ledger")
            ledger.head(connection)
            return connection
    except RuntimeError as error:
        found = str(error)
    except sqlite3.Error as error:
        # SQLITE_ERROR comes from a schema that is not as this program left it.
        code = getattr(error, "sqlite_errorcode", 0)
        if not is_corruption(error) and code != sqlite3.SQLITE_ERROR:
            raise
        found = str(error)
    finally:
        if connection is not None and found is not None:
            connection.close()
    return found


def _create(path: Path, now_s: float) -> None:
    """Make an empty ledger, or complete an exchange that a power cut interrupted."""
    # A log without its file belongs to a ledger that was moved; it must not meet the new one.
    if any(path.with_name(path.name + suffix).exists() for suffix in ("-wal", "-shm")):
        directory.set_aside(path, now_s)
    successor = _successor(path)
    if successor.exists():
        opened = _open_sound(successor)
        if isinstance(opened, sqlite3.Connection):
            opened.close()
            directory.rename(successor, path)
            return
    _build(successor, (), {}, None, now_s)
    directory.rename(successor, path)


def _salvage(path: Path, found: str, rebuild: Rebuild | None, now_s: float) -> Report:
    successor = _successor(path)
    meta = _meta(path)
    count, after = _build(successor, salvage.entries(path), meta, rebuild, now_s)
    aside = directory.set_aside(path, now_s)
    directory.rename(successor, path)
    detail = f"{found}; {count} entries were salvaged"
    if after:
        detail += f"; the tables stood as after {after >> 32}/{after & 0xFFFFFFFF}, and went on"
    elif "anchor_key" in meta:
        detail += "; there is no copy of the tables, so they lack what forgotten entries left"
    log.error("the ledger was corrupt and is now %s: %s", aside, detail)
    return Report(kind=ReportKind.LEDGER_SALVAGED, file=str(aside), detail=detail)


def _build(
    path: Path,
    entries: Iterable[Entry],
    meta: dict[str, Any],
    rebuild: Rebuild | None,
    now_s: float,
) -> tuple[int, int]:
    """Write a whole ledger in one transaction and close it; its epoch shows that it is complete.

    Returns how many entries it has, and up to which key the tables came from their copy.
    """
    after = 0
    directory.remove(path)
    directory.make_file(path)
    with closing(_connect(path)) as connection:
        migrate(connection, "ledger")
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany("INSERT INTO meta VALUES (?, ?)", meta.items())
        count = _insert(connection, entries)
        if "lockdown" not in meta:
            _lock_down_as_told(connection)
        ledger.begin_epoch(connection, now_s)
        if rebuild is not None:
            after = standing.load(connection, path.parent)
            rebuild(connection, after)
        connection.execute("COMMIT")
    return count, after


def _insert(connection: sqlite3.Connection, entries: Iterable[Entry]) -> int:
    """Insert salvaged entries, which come in the order of the pages they were found on."""
    name = "entry_goes_to_the_end"
    (trigger,) = connection.execute(
        "SELECT sql FROM sqlite_schema WHERE name = ?", (name,)
    ).fetchone()
    connection.execute(f"DROP TRIGGER {name}")
    for entry in entries:
        added = connection.execute(
            f"{ledger.INSERT_ENTRY} ON CONFLICT (key) DO NOTHING", ledger.row(entry)
        )
        if added.rowcount == 0 and entry.data is None:
            # An older copy of an erased entry must not bring back what was erased.
            ledger.erase(connection, [(entry.epoch, entry.sequence)])
    connection.execute(trigger)
    (count,) = connection.execute("SELECT count(*) FROM entry").fetchone()
    return int(count)


def _meta(path: Path) -> dict[str, Any]:
    """Epoch, anchor and lockdown of a damaged ledger, if SQLite can still read them."""
    found: dict[str, Any] = {}
    with suppress(sqlite3.Error), closing(connect_read_only(path)) as connection:
        found = dict(connection.execute("SELECT name, value FROM meta"))
    types = {"epoch": int, "anchor_key": int, "anchor_hash": bytes, "lockdown": str}
    sound = {
        name: found[name] for name, type_ in types.items() if isinstance(found.get(name), type_)
    }
    if not 0 < sound.get("epoch", 0) <= ledger.EPOCH_MAX:
        sound.pop("epoch", None)
    if not {"anchor_key", "anchor_hash"} <= sound.keys():
        sound.pop("anchor_key", None)
        sound.pop("anchor_hash", None)
    with suppress(ValueError):
        msgspec.json.decode(sound.get("lockdown", ""), type=tuple[bool, list[str]])
        return sound
    sound.pop("lockdown", None)
    return sound


def _lock_down_as_told(connection: sqlite3.Connection) -> None:
    """Keep each door shut whose last word on it is that a lockdown began.

    Where the end of one is lost it holds on: what restricts is not given up by a damage.
    """
    query = (
        "SELECT substr(subject, 6), max(key), json_extract(CAST(data AS TEXT), '$.cleared')"
        " FROM entry WHERE type = ? AND subject LIKE 'door/%' AND data IS NOT NULL GROUP BY subject"
    )
    told = connection.execute(query, (ledger.EntryType.DOOR_LOCKDOWN,))
    doors = [door for door, _, is_over in told if not is_over]
    if doors:
        kept = msgspec.json.encode([False, sorted(doors)]).decode()
        connection.execute("INSERT INTO meta VALUES ('lockdown', ?)", (kept,))
