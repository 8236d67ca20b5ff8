"""Opens the database files in the one way that is safe, and says what is wrong with them."""

import sqlite3
from contextlib import ExitStack
from pathlib import Path
from typing import Literal

from edgegate.store.errors import StoreUnavailableError

PAGE_BYTES = 4096
"""Both files have pages of this size; salvaging a ledger relies on it."""

BUSY_TIMEOUT_S = 1.0
"""How long another process may hold a file before a transaction fails."""

_CORRUPT = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_STATEMENTS_CACHED = 256

Synchronous = Literal["FULL", "NORMAL"]


def connect(path: Path | None, synchronous: Synchronous, page_cache_kib: int) -> sqlite3.Connection:
    """Open a file for this thread only (None: one in memory), with every guard on.

    Raises:
        StoreUnavailableError: if the file system cannot give what a durable commit needs.
        sqlite3.Error: if the file cannot be opened or is no database.
    """
    connection = sqlite3.connect(
        path or ":memory:",
        timeout=BUSY_TIMEOUT_S,
        isolation_level=None,
        cached_statements=_STATEMENTS_CACHED,
    )
    with ExitStack() as undone:
        undone.callback(connection.close)
        _configure(connection, synchronous, page_cache_kib)
        if path is not None:
            _demand_durability(connection, path, synchronous)
        undone.pop_all()
    return connection


def connect_read_only(path: Path) -> sqlite3.Connection:
    """Open a file to look at it, from any thread or process, beside the daemon that writes it.

    Raises:
        sqlite3.Error: if it cannot be opened.
    """
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=ro",
        uri=True,
        timeout=BUSY_TIMEOUT_S,
        isolation_level=None,
    )
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.execute("PRAGMA cell_size_check = ON")
    return connection


def _configure(
    connection: sqlite3.Connection, synchronous: Synchronous, page_cache_kib: int
) -> None:
    for pragma in (
        f"page_size = {PAGE_BYTES}",
        "journal_mode = WAL",
        f"synchronous = {synchronous}",
        f"cache_size = -{page_cache_kib}",
        # The database thread says when, so that no tap pays for it.
        "wal_autocheckpoint = 0",
        # What is removed shall not stay readable in free pages.
        "secure_delete = ON",
        # Damage is found where it is read; the schema in a damaged file can call nothing.
        "cell_size_check = ON",
        "trusted_schema = OFF",
        "foreign_keys = OFF",
        "temp_store = MEMORY",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _demand_durability(
    connection: sqlite3.Connection, path: Path, synchronous: Synchronous
) -> None:
    due = {"FULL": 2, "NORMAL": 1}[synchronous]
    (mode,) = connection.execute("PRAGMA journal_mode").fetchone()
    (level,) = connection.execute("PRAGMA synchronous").fetchone()
    if mode != "wal" or level != due:
        raise StoreUnavailableError(
            f"{path} has journal mode {mode} and synchronous level {level} "
            f"in place of wal and {due}: its file system cannot keep records safe"
        )


def is_corruption(error: sqlite3.Error) -> bool:
    """Whether an error says that the file itself is damaged."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in _CORRUPT


def damage(connection: sqlite3.Connection) -> str | None:
    """Read the whole file (`PRAGMA quick_check`); what is wrong with it first, or None.

    Raises:
        sqlite3.Error: if it could not be read for another reason than being damaged.
    """
    try:
        (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.Error as error:
        if not is_corruption(error):
            raise
        return str(error)
    return None if found == "ok" else str(found)
