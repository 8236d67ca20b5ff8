"""Backs the cloud up and restores it: database, authorities and keys in one encrypted file.

SQLite is copied while it is in use, in one consistent state. PostgreSQL has tools of its own for
that; then the file has the master key alone, without which a dump of the database is worthless.
"""

import sqlite3
import tempfile
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from msgspec import Struct
from sqlalchemy import update
from sqlalchemy.engine import make_url

from edgegate import __version__
from edgegate.store import sealed_file
from edgegate.store.directory import flush, set_aside
from edgegate.store.sealed_file import SealedFileError
from edgegate_sync.cloud.cloud import Settings, opened
from edgegate_sync.cloud.tables import site
from edgegate_sync.cloud.vault import VaultError, read_master_key

KIND = "cloud"
DATABASE = "cloud.db"
MASTER_KEY = "master.key"

FEED_GAP = 1_000_000_000
"""By so much a restored feed's numbers go on behind those that it may have given since."""

PG_DUMP = (
    "The database is PostgreSQL's: back it up too, with pg_dump --format=custom, right after this."
)
PG_RESTORE = (
    "The master key is in its place. Restore the database with pg_restore, then run"
    " `edgegate cloud restore --check`."
)


class Report(Struct, frozen=True, kw_only=True):
    """What was done, and what is left to do."""

    done: str
    left: str = ""


def make(settings: Settings, out: Path, passphrase: str) -> Report:
    """Write a backup; blocks, so run it on a thread.

    Raises:
        VaultError: if the master key cannot be read.
        ValueError: if the passphrase is too short.
        OSError, sqlite3.Error: if something cannot be read or written.
    """
    read_master_key(settings.key_file)
    key = settings.key_file.read_bytes()
    path = sqlite_path(settings)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    header = sealed_file.new_header(KIND, now, {"version": __version__})
    if path is None:
        sealed_file.write(out, passphrase, header, {MASTER_KEY: key})
        return Report(done=f"The master key is in {out}.", left=PG_DUMP)
    if not path.exists():
        raise FileNotFoundError(f"there is no database {path}")
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".backup-") as directory:
        copy = Path(directory, DATABASE)
        copy_sqlite(path, copy)
        sealed_file.write(out, passphrase, header, {DATABASE: copy, MASTER_KEY: key})
    return Report(done=f"Database and keys are in {out}.")


def restore(settings: Settings, source: Path, passphrase: str, *, replace: bool = False) -> Report:
    """Put a backup in the place of a cloud; no worker may be running. Blocks.

    All devices are told to take a snapshot, as the feed they know is not the restored one, and
    send again what the restored ledger lacks of theirs, as far as they still have it.

    Raises:
        SealedFileError: if the file is damaged, or opens with another passphrase.
        FileExistsError: if there is a cloud already and it is not to be replaced; what is replaced
            is set aside, not deleted.
    """
    path = sqlite_path(settings)
    places = [one for one in (path, settings.key_file) if one is not None and one.exists()]
    if places and not replace:
        there = ", ".join(map(str, places))
        raise FileExistsError(f"{there} is there already: say --replace to set it aside")
    settings.key_file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=settings.key_file.parent, prefix=".restore-") as made:
        _, parts = sealed_file.read(source, passphrase, KIND, Path(made))
        if path is not None and DATABASE not in parts:
            raise SealedFileError(f"{source} has a master key only: it is PostgreSQL's backup")
        now_s = datetime.now(UTC).timestamp()
        for one in places:
            set_aside(one, now_s)
        if path is not None:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            _check(parts[DATABASE])
            _begin_feeds(parts[DATABASE])
            parts[DATABASE].rename(path)
            flush(path.parent)
        parts[MASTER_KEY].rename(settings.key_file)
        flush(settings.key_file.parent)
    return Report(done=f"Restored from {source}.", left="" if path is not None else PG_RESTORE)


async def check(settings: Settings) -> Report:
    """See that database and master key belong together, and that nothing is missing.

    What is PostgreSQL's was restored by its own tools: then devices are told to take a snapshot.

    Raises:
        VaultError: if the key is another one.
        RevisionError, DBAPIError: if the database cannot be used.
    """
    async with opened(settings) as cloud:
        authorities = await cloud.keys.authorities()
        for scope in authorities:
            if scope.startswith("site/"):
                await cloud.keys.site(scope.removeprefix("site/"))
                await cloud.keys.command(scope.removeprefix("site/"))
        if not cloud.database.is_sqlite:
            head = site.c.head + FEED_GAP
            async with cloud.database.writing() as writing:
                await writing.execute(update(site).values(head=head, floor=head))
    return Report(done=f"All is there: {len(authorities)} authorities, and their keys open.")


def sqlite_path(settings: Settings) -> Path | None:
    """The file of a SQLite database; None if it is PostgreSQL's."""
    url = make_url(settings.database)
    is_sqlite = url.get_backend_name() == "sqlite"
    return Path(url.database) if is_sqlite and url.database else None


def copy_sqlite(source: Path, target: Path) -> None:
    """Copy a database that others may be writing, in one consistent state, and check the copy."""
    uri = f"{source.absolute().as_uri()}?mode=ro"
    with (
        closing(sqlite3.connect(uri, uri=True, timeout=20)) as reading,
        closing(sqlite3.connect(target)) as writing,
    ):
        reading.backup(writing)
        # One file, without what SQLite keeps beside it.
        writing.execute("PRAGMA journal_mode = DELETE")
    _check(target)


def _begin_feeds(path: Path) -> None:
    """Let no device go on from a number that it has of the feed as it was before.

    The restored one would reach that number again, with other changes.
    """
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE site SET head = head + ?1, floor = head + ?1", (FEED_GAP,))


def _check(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if found != "ok":
        raise SealedFileError(f"the copy of the database is damaged: {found}")


__all__ = ["Report", "SealedFileError", "VaultError", "check", "copy_sqlite", "make", "restore"]
