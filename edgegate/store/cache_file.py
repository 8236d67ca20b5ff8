"""Opens `cache.db`; when it is unusable, the cache before it or an empty one takes its place."""

import logging
import os
import sqlite3
from contextlib import ExitStack, suppress
from pathlib import Path

from edgegate.store import cache, directory
from edgegate.store.connections import connect, damage, is_corruption
from edgegate.store.errors import SchemaTooNewError
from edgegate.store.migrations import migrate
from edgegate.store.reports import Report, ReportKind

log = logging.getLogger(__name__)

CORRUPT_KEPT = 2
"""How many corrupt caches are kept to be looked at; the oldest goes."""

PAGE_CACHE_KIB = 4096

NEXT = "cache.next.db"
"""What is built beside the cache, to take its place."""

_PREVIOUS = "cache.prev.db"


def open_in_memory() -> sqlite3.Connection:
    """An empty cache that leaves nothing behind."""
    return _connect(None)


def open_cache(path: Path, now_s: float) -> tuple[sqlite3.Connection, Report | None]:
    """Open the cache if it is usable at first sight, else replace it and say so.

    A cache of a newer version is replaced too: after a step back to an older version the doors are
    to go on, and its records can be fetched again.

    Raises:
        StoreUnavailableError: its file system cannot keep it.
        OSError: the disk is full, read-only or failing.
        sqlite3.Error: likewise.
    """
    if not path.exists():
        directory.remove(path)
        restored = _restore(path)
        if restored is not None:
            return restored, _report(ReportKind.CACHE_RESTORED, path, "the cache was not there")
        directory.make_file(path)
    opened = _open_usable(path)
    if isinstance(opened, sqlite3.Connection):
        return opened, None
    return replace(path, opened, now_s)


def replace(path: Path, found: str, now_s: float) -> tuple[sqlite3.Connection, Report]:
    """Set the closed cache aside because of what was `found`, and open the one that follows it.

    Raises:
        OSError: the disk is full, read-only or failing.
        sqlite3.Error: likewise.
    """
    aside = directory.set_aside(path, now_s)
    for old in directory.corrupt_copies(path)[:-CORRUPT_KEPT]:
        directory.remove(old)
    restored = _restore(path)
    if restored is not None:
        return restored, _report(ReportKind.CACHE_RESTORED, aside, found)
    directory.make_file(path)
    return _connect(path), _report(ReportKind.CACHE_EMPTIED, aside, found)


def is_settled(connection: sqlite3.Connection) -> bool:
    """Carry all of the cache's log over into its file; False while somebody reads what is older."""
    (timeout_ms,) = connection.execute("PRAGMA busy_timeout").fetchone()
    # Who taps now shall not wait for whoever reads.
    connection.execute("PRAGMA busy_timeout = 0")
    try:
        (busy, *_) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    finally:
        connection.execute(f"PRAGMA busy_timeout = {timeout_ms:d}")
    return not busy


def take_next(path: Path, now_s: float) -> tuple[sqlite3.Connection, Report | None]:
    """Let the next cache take the place of the closed and settled one, which is kept as the last.

    At every instant the path names a whole cache: the one before, or the next.

    Raises:
        OSError: there is no next one, or the disk is full, read-only or failing.
        sqlite3.Error: it cannot be opened.
    """
    previous, following = path.with_name(_PREVIOUS), path.with_name(NEXT)
    directory.remove_companions(path)
    directory.remove(previous)
    # Where the file system has no links, none is kept.
    with suppress(OSError):
        os.link(path, previous)
    following.rename(path)
    directory.flush(path.parent)
    return open_cache(path, now_s)


def remove_next(state: Path) -> None:
    """Remove what is left of a cache that was being built."""
    directory.remove(state / NEXT)


def has_next(state: Path) -> bool:
    """Whether a next cache waits to be taken."""
    return (state / NEXT).exists()


def _report(kind: ReportKind, file: Path, detail: str) -> Report:
    log.error("the cache was replaced (%s); it is now %s: %s", kind, file, detail)
    return Report(kind=kind, file=str(file), detail=detail)


def _restore(path: Path) -> sqlite3.Connection | None:
    """Let the previous cache take the place, if there is one and all of it is sound."""
    previous = path.with_name(_PREVIOUS)
    if not previous.exists() or previous.stat().st_size == 0:
        return None
    opened = _open_usable(previous)
    if isinstance(opened, sqlite3.Connection):
        found = damage(opened)
        opened.close()
        if found is None:
            directory.rename(previous, path)
            return _connect(path)
    directory.remove(previous)
    return None


def _open_usable(path: Path) -> sqlite3.Connection | str:
    """The cache at its newest schema, or why it cannot be used."""
    try:
        return _connect(path)
    except SchemaTooNewError as error:
        return str(error)
    except sqlite3.Error as error:
        # SQLITE_ERROR comes from a schema that is not as this program left it.
        code = getattr(error, "sqlite_errorcode", 0)
        if not is_corruption(error) and code != sqlite3.SQLITE_ERROR:
            raise
        return str(error)


def _connect(path: Path | None) -> sqlite3.Connection:
    connection = connect(path, "NORMAL", PAGE_CACHE_KIB)
    with ExitStack() as undone:
        undone.callback(connection.close)
        migrate(connection, "cache")
        cache.head(connection)
        for kind in cache.KINDS.values():
            connection.execute(f"SELECT id, body FROM {kind.name} LIMIT 1").fetchone()  # noqa: S608 - a kind's name
        # Only a job that says so may write it (see worker.py).
        connection.execute("PRAGMA query_only = ON")
        undone.pop_all()
    return connection
