"""The cloud's database: SQLite in a file, or PostgreSQL, with the same statements.

Readers and writers have connections of their own. A writing transaction begins by taking the
lock that it needs (BEGIN IMMEDIATE on SQLite), and is there as a whole or not at all, also where
its task is cancelled. A reading one sees one state of the database from beginning to end.
"""

import asyncio
import logging
import os
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from sqlalchemy import Connection, CursorResult, Executable, Result, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry
from sqlalchemy.util import await_only

from edgegate_sync.cancelling import finished
from edgegate_sync.cloud.feed import Transaction

WRITERS_MAX = 8
"""Writing transactions at once on PostgreSQL; further ones wait. SQLite has one writer anyway."""

READERS_MAX = 16
"""Reading transactions at once, streamed answers included; further ones wait."""

BUSY_S_MAX = 20
"""How long a statement waits for somebody else's lock."""

WAL_PAUSE_S = 0.01
"""Between two attempts to change a new file's journal."""

STATEMENT_S_MAX = 60
"""How long PostgreSQL works on one statement."""

SILENCE_S_MAX = STATEMENT_S_MAX + 10
"""How long an answer of PostgreSQL is waited for: a server that vanished never sends one."""

CLOSE_S_MAX = 10
"""How long taking leave of the database may take; what is left then ends with the process."""

IDLE_S_MAX = 900
"""How long PostgreSQL keeps a transaction open that does nothing: a device that reads slowly."""

Parameters = Mapping[str, Any] | Sequence[Mapping[str, Any]]

log = logging.getLogger(__name__)


class DatabaseUrlError(ValueError):
    """A database that this cloud cannot use."""


class Writing:
    """A writing transaction that is open; each statement is finished once it is begun."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    @property
    def is_sqlite(self) -> bool:
        """Whether this is SQLite, where a statement must differ."""
        return self._connection.dialect.name == "sqlite"

    async def execute(
        self, statement: Executable, parameters: Parameters | None = None
    ) -> CursorResult[Any]:
        """Run one statement; a list of parameters runs it for each."""
        return await finished(self._connection.execute(statement, parameters))


class Database:
    """An open database; `open_database` makes one."""

    def __init__(self, url: URL, reader: AsyncEngine, writer: AsyncEngine) -> None:
        self.url = url
        self.is_sqlite = url.get_backend_name() == "sqlite"
        self.committed: list[Callable[[str, int], None]] = []
        """Called with a site and its new head, right after a commit of this process."""
        self._reader = reader
        self._writer = writer
        # The pools are as large: whoever waits does so here, where cancelling is harmless.
        self._readers = asyncio.Semaphore(READERS_MAX)
        self._writers = asyncio.Semaphore(1 if self.is_sqlite else WRITERS_MAX)

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that sees one state of the database, and may not write."""
        async with self._readers:
            connection = await _begun(self._reader)
            try:
                yield connection
            finally:
                await finished(connection.close())

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[Writing]:
        """A transaction that commits at the end, and is undone by any exception."""
        async with self._writers:
            connection = await _begun(self._writer)
            try:
                yield Writing(connection)
                await finished(connection.commit())
            finally:
                # What was not committed is rolled back.
                await finished(connection.close())

    @asynccontextmanager
    async def site(self, site: str) -> AsyncIterator[Transaction]:
        """A writing transaction that may change records of a site; its changes are numbered.

        Raises:
            SiteUnknownError: when records are written and there is no such site.
        """
        async with self.writing() as writing:
            transaction = Transaction(writing, site)
            yield transaction
            await transaction.flush()
        if transaction.head is not None:
            for listener in self.committed:
                listener(site, transaction.head)

    async def run_sync(self, work: Callable[[Connection], object]) -> None:
        """Run something synchronous, like a migration, on a writing connection and commit."""
        async with self._writers:
            connection = await _begun(self._writer)
            try:
                await finished(connection.run_sync(work))
                await finished(connection.commit())
            finally:
                await finished(connection.close())

    async def close(self) -> None:
        """Close every connection, or leave those alone that do not let go in `CLOSE_S_MAX`."""
        for engine in (self._reader, self._writer):
            closing = asyncio.ensure_future(engine.dispose())
            await finished(asyncio.wait((closing,), timeout=CLOSE_S_MAX))
            if closing.done():
                closing.result()
            else:
                closing.cancel()
                log.warning("the database does not let go of its connections")


async def _begun(engine: AsyncEngine) -> AsyncConnection:
    """A connection whose transaction has begun; given back if nobody waits for it any more."""
    opening = asyncio.ensure_future(_begin(engine.connect()))
    try:
        return await finished(opening)
    except asyncio.CancelledError:
        if not opening.cancelled() and opening.exception() is None:
            await finished(opening.result().close())
        raise


async def _begin(connection: AsyncConnection) -> AsyncConnection:
    await connection.start()
    async with AsyncExitStack() as undone:
        undone.push_async_callback(connection.close)
        await connection.begin()
        undone.pop_all()
    return connection


async def open_database(url: str) -> Database:
    """A database by its URL: `sqlite:///path` or `postgresql+asyncpg://user@host/name`.

    Nothing is connected yet. SQLAlchemy looks at the file system for it, hence the thread.

    Raises:
        DatabaseUrlError: for any other database.
    """
    return await asyncio.to_thread(_open, make_url(url))


def _open(parsed: URL) -> Database:
    match parsed.drivername:
        case "sqlite" | "sqlite+aiosqlite":
            return _sqlite(parsed.set(drivername="sqlite+aiosqlite"))
        case "postgresql" | "postgresql+asyncpg":
            return _postgresql(parsed.set(drivername="postgresql+asyncpg"))
        case other:
            raise DatabaseUrlError(
                f'"{other}" is no database for this cloud: write sqlite:///path or'
                " postgresql+asyncpg://user@host/name"
            )


def _sqlite(url: URL) -> Database:
    if not url.database or url.database == ":memory:":
        raise DatabaseUrlError("SQLite needs a file: write sqlite:////var/lib/…/cloud.db")
    reader = create_async_engine(url, pool_size=READERS_MAX, max_overflow=0)
    writer = create_async_engine(url, pool_size=1, max_overflow=0)
    event.listen(reader.sync_engine, "connect", _set_up_sqlite_reader)
    event.listen(writer.sync_engine, "connect", _set_up_sqlite)
    event.listen(reader.sync_engine, "begin", _begin_deferred)
    event.listen(writer.sync_engine, "begin", _begin_immediate)
    return Database(url, reader, writer)


def _set_up_sqlite(connection: Any, _entry: ConnectionPoolEntry) -> None:
    # sqlite3 would begin transactions when it likes; the `begin` listener does it here.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {BUSY_S_MAX * 1000}")
    _enter_wal(cursor)
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()


def _enter_wal(cursor: Any) -> None:
    """Change a new file's journal, also where other workers do so at this instant.

    SQLite asks no busy handler here: two that read the header and want to write it would wait for
    each other, so that one of them is told "locked" at once, whatever `busy_timeout` says.
    """
    until = time.monotonic() + BUSY_S_MAX
    while True:
        try:
            cursor.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as fault:
            if fault.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                raise
            await_only(asyncio.sleep(WAL_PAUSE_S))
        else:
            return


def _set_up_sqlite_reader(connection: Any, entry: ConnectionPoolEntry) -> None:
    _set_up_sqlite(connection, entry)
    cursor = connection.cursor()
    cursor.execute("PRAGMA query_only = ON")
    cursor.close()


def _begin_deferred(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN")


def _begin_immediate(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _postgresql(url: URL) -> Database:
    settings = {
        "application_name": "edgegate cloud",
        "lock_timeout": f"{BUSY_S_MAX}s",
        "statement_timeout": f"{STATEMENT_S_MAX}s",
        "idle_in_transaction_session_timeout": f"{IDLE_S_MAX}s",
    }
    arguments: dict[str, Any] = {
        "server_settings": settings,
        "timeout": BUSY_S_MAX,
        "command_timeout": SILENCE_S_MAX,
    }
    if url.password is None:
        # Else asyncpg would look for ~/.pgpass at every connection, and hold up the event loop.
        arguments["password"] = os.environ.get("PGPASSWORD", "")
    reader = create_async_engine(
        url,
        connect_args=arguments,
        pool_size=READERS_MAX,
        max_overflow=0,
        pool_pre_ping=True,
        execution_options={"isolation_level": "REPEATABLE READ", "postgresql_readonly": True},
    )
    writer = create_async_engine(
        url, connect_args=arguments, pool_size=WRITERS_MAX, max_overflow=0, pool_pre_ping=True
    )
    return Database(url, reader, writer)


async def fetch(
    connection: AsyncConnection, statement: Executable, parameters: Parameters | None = None
) -> Result[Any]:
    """Run one reading statement; cancelling waits for its end, as the connection is used again."""
    return await finished(connection.execute(statement, parameters))
