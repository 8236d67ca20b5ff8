"""The store: `ledger.db`, which is precious, and `cache.db`, which can be built again.

Opening ends with a store that works, or with a typed error. A corrupt cache is set aside and the
one before it, or an empty one, takes its place. A corrupt ledger is set aside too and salvaged; in
the new one a new epoch begins, whose first entry names the hash of the newest entry that was saved.
"""

import logging
import sqlite3
import time
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import Self

from edgegate.store import cache_file, ledger_file
from edgegate.store.connections import connect_read_only, damage, is_corruption
from edgegate.store.directory import DirectoryLock, make_directory
from edgegate.store.errors import StoreUnavailableError
from edgegate.store.ledger_file import Rebuild
from edgegate.store.reports import Report

log = logging.getLogger(__name__)

MEMORY = ":memory:"
REPORTS_MAX = 100
"""How many reports a store remembers; the oldest goes. Each is logged as well."""


class Store:
    """Both databases, open. Everything but `check_cache` belongs to the thread that opened it.

    `ledger` and `cache` are other connections after a repair: take them anew in each job.
    """

    ledger: sqlite3.Connection
    cache: sqlite3.Connection

    def __init__(
        self, state: Path | None, rebuild: Rebuild | None, now: Callable[[], float]
    ) -> None:
        """Prepare; `open` is what to call."""
        self._state = state
        self._rebuild = rebuild
        self._now = now
        self._lock: DirectoryLock | None = None
        self._changes_before = 0
        self.reports: deque[Report] = deque(maxlen=REPORTS_MAX)

    @classmethod
    def open(
        cls,
        state: Path | str,
        rebuild: Rebuild | None = None,
        now: Callable[[], float] = time.time,
    ) -> Self:
        """Open the files in the directory `state`, making or repairing what needs it.

        The ledger is read whole before it is used (`quick_check`); the cache, which is large, is
        looked at only for what shows at once: see `check_cache`.

        Args:
            state: the state directory, or ":memory:" for a store that leaves nothing behind.
            rebuild: makes the projections again after the ledger was salvaged.
            now: the wall clock, in seconds since 1970; epochs and file names come from it.

        Raises:
            StoreInUseError: another process has the directory.
            SchemaTooNewError: the ledger is a newer version's.
            StoreUnavailableError: the disk is full, read-only or failing.
        """
        store = cls(None if state == MEMORY else Path(state), rebuild, now)
        with ExitStack() as undone:
            undone.callback(store.close)
            try:
                store._open_directory()
                store._open_files()
            except (OSError, sqlite3.Error) as error:
                raise StoreUnavailableError(f"the store cannot be opened: {error}") from error
            undone.pop_all()
        return store

    def close(self) -> None:
        """Carry the logs over, close both files and let others in; safe to call again."""
        self._close_files()
        if self._lock is not None:
            self._lock.release()

    def changes(self) -> int:
        """Rows changed since the last checkpoint."""
        return self.ledger.total_changes + self.cache.total_changes - self._changes_before

    def checkpoint(self) -> None:
        """Carry what the logs hold into the files, as far as that goes without waiting.

        Raises:
            sqlite3.Error: if it could not be written; the next one is due after as many changes.
        """
        self._changes_before += self.changes()
        self.ledger.execute("PRAGMA wal_checkpoint(PASSIVE)")
        self.cache.execute("PRAGMA wal_checkpoint(PASSIVE)")

    def check_cache(self) -> str | None:
        """Read the whole cache; what is wrong with it first, or None. For any thread.

        It opens a connection of its own, so that no tap waits for it. If something is wrong, call
        `replace_cache` by `DatabaseThread.run_alone`.

        Raises:
            StoreUnavailableError: it could not be read for another reason than being damaged.
        """
        if self._state is None:
            return None
        try:
            with closing(connect_read_only(self._state / "cache.db")) as connection:
                return damage(connection)
        except sqlite3.Error as error:
            if is_corruption(error):
                return str(error)
            raise StoreUnavailableError(f"the cache cannot be checked: {error}") from error

    def replace_cache(self, found: str) -> None:
        """Set the cache aside because of what was `found` in it, and open what follows it.

        Raises:
            StoreUnavailableError: if nothing can take its place; the store is unusable until
                `recover` succeeds.
        """
        if self._state is None:
            return
        _close(self.cache)
        try:
            self.cache, report = cache_file.replace(self._state / "cache.db", found, self._now())
        except (OSError, sqlite3.Error) as error:
            raise StoreUnavailableError(f"the cache cannot be replaced: {error}") from error
        self.reports.append(report)
        self._count_from_here()

    def swap_cache(self) -> bool:
        """Let the snapshot that was built beside the cache take its place; the cache is kept.

        Call it by `DatabaseThread.run_alone`. False: somebody reads the cache now, try again.

        Raises:
            FileNotFoundError: no snapshot was built.
            StoreUnavailableError: if it cannot take its place; the store is unusable until
                `recover` succeeds.
        """
        if self._state is None or not cache_file.has_next(self._state):
            raise FileNotFoundError("there is no snapshot to take the cache's place")
        if not cache_file.is_settled(self.cache):
            return False
        _close(self.cache)
        try:
            self.cache, report = cache_file.take_next(self._state / "cache.db", self._now())
        except (OSError, sqlite3.Error) as error:
            raise StoreUnavailableError(f"the snapshot cannot be used: {error}") from error
        self.reports.extend((report,) if report is not None else ())
        self._count_from_here()
        return True

    def recover(self, error: Exception) -> None:
        """Find out which file is corrupt and replace it; both are read whole.

        Raises:
            StoreUnavailableError: if that is not possible now.
        """
        log.error("looking for what is corrupt: %s", error)
        self._close_files()
        try:
            self._open_files()
            found = damage(self.cache)
        except (OSError, sqlite3.Error) as failed:
            raise StoreUnavailableError(f"the store cannot be repaired: {failed}") from failed
        if found is not None:
            self.replace_cache(found)

    def _open_directory(self) -> None:
        if self._state is not None:
            make_directory(self._state)
            self._lock = DirectoryLock(self._state)
            cache_file.remove_next(self._state)

    def _open_files(self) -> None:
        if self._state is None:
            self.ledger = ledger_file.open_in_memory(self._now())
            self.cache = cache_file.open_in_memory()
        else:
            self.ledger, salvaged = ledger_file.open_ledger(
                self._state / "ledger.db", self._rebuild, self._now()
            )
            self.cache, replaced = cache_file.open_cache(self._state / "cache.db", self._now())
            self.reports.extend(report for report in (salvaged, replaced) if report is not None)
        self._count_from_here()

    def _count_from_here(self) -> None:
        self._changes_before = 0
        self._changes_before = self.changes()

    def _close_files(self) -> None:
        for name in ("ledger", "cache"):
            if (connection := getattr(self, name, None)) is not None:
                _close(connection)


def _close(connection: sqlite3.Connection) -> None:
    # Carrying over the log of a file that is damaged may fail; the log then stays where it is.
    with suppress(sqlite3.Error):
        connection.close()
