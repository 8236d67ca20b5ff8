"""Builds a cache beside the one in use: a snapshot of the cloud's records."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from edgegate.store import directory
from edgegate.store.cache_file import NEXT
from edgegate.store.connections import PAGE_BYTES, connect, damage
from edgegate.store.migrations import migrate

_BUILD_CACHE_KIB = 1024
"""Four times as much is no quicker (500,000 records): what it holds is written in order."""


class NextCache:
    """A cache that is being built beside the one in use; nobody else may have it open.

    It has no journal, for what is not finished is thrown away, and gets its indexes at the end,
    when sorting once is cheaper than finding each place.
    """

    def __init__(self, state: Path) -> None:
        """Begin with an empty one.

        Raises:
            OSError: the disk is full, read-only or failing.
            sqlite3.Error: likewise.
        """
        self._path = state / NEXT
        directory.remove(self._path)
        directory.make_file(self._path)
        self.connection = sqlite3.connect(self._path, isolation_level=None)
        for pragma in (
            f"page_size = {PAGE_BYTES}",
            "journal_mode = OFF",
            "synchronous = OFF",
            "locking_mode = EXCLUSIVE",
            f"cache_size = -{_BUILD_CACHE_KIB}",
            "temp_store = FILE",
        ):
            self.connection.execute(f"PRAGMA {pragma}")
        migrate(self.connection, "cache")
        self._indexes = self.connection.execute(
            "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL"
        ).fetchall()
        for name, _ in self._indexes:
            self.connection.execute(f"DROP INDEX {name}")
        self.connection.execute("BEGIN")

    def flush(self) -> None:
        """Write to the disk what has come so far.

        All of it at once would hold up the ledger's commits for as long as that takes.
        """
        handle = os.open(self._path, os.O_RDWR | os.O_CLOEXEC)
        try:
            os.fdatasync(handle)
        finally:
            os.close(handle)

    def finish(self) -> None:
        """Make the indexes, bring all of it to the disk and read it whole.

        Raises:
            OSError: the disk is full, read-only or failing.
            sqlite3.Error: likewise, or what was written is damaged.
        """
        for _, statement in self._indexes:
            self.connection.execute(statement)
            self.flush()
        self.connection.execute("COMMIT")
        self.connection.close()
        with closing(connect(self._path, "NORMAL", _BUILD_CACHE_KIB)) as written:
            self.flush()
            found = damage(written)
        if found is not None:
            raise sqlite3.DatabaseError(f"the snapshot is damaged: {found}")
        directory.flush(self._path.parent)

    def close(self) -> None:
        """Give it up, unless it is finished; safe to call again."""
        self.connection.close()
