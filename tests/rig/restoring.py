"""Backs up a cloud's database in a test, and brings it back as it was then."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import insert, select
from sqlalchemy.engine import make_url

from edgegate_sync.cloud import backup
from edgegate_sync.cloud.cloud import Settings
from edgegate_sync.cloud.database import Database, fetch
from edgegate_sync.cloud.metadata import metadata
from rig.postgres import Postgres
from rig.processes import Worker

PASSPHRASE = "correct horse battery"  # noqa: S105 - a test's


class Rows:
    """All rows of a database, in memory; nobody may write while they are put back."""

    def __init__(self, rows: dict[str, list[dict[str, Any]]]) -> None:
        self._rows = rows

    @classmethod
    async def of(cls, database: Database) -> "Rows":
        rows = {}
        async with database.reading() as connection:
            for table in metadata.sorted_tables:
                found = await fetch(connection, select(table))
                rows[table.name] = [dict(row) for row in found.mappings()]
        return cls(rows)

    async def restore(self, database: Database) -> None:
        async with database.writing() as writing:
            for table in reversed(metadata.sorted_tables):
                await writing.execute(table.delete())
            for table in metadata.sorted_tables:
                if self._rows[table.name]:
                    await writing.execute(insert(table), self._rows[table.name])


class Saved:
    """A backup of a cloud of processes, made and restored as the manual says.

    On PostgreSQL a copy of the database stands for what `pg_dump` and `pg_restore` do.
    """

    def __init__(
        self, settings: Settings, directory: Path, workers: list[Worker], server: Postgres | None
    ) -> None:
        self._settings = settings
        self._file = directory / "cloud.backup"
        self._workers = workers
        self._server = server
        self._name = make_url(settings.database).database or ""

    async def make(self) -> None:
        """Back it up; on SQLite while it is in use."""
        if self._server is not None:
            async with self._down():
                await self._copy(self._name, f"{self._name}-saved")
        await asyncio.to_thread(backup.make, self._settings, self._file, PASSPHRASE)

    async def restore(self) -> None:
        """Put the backup in the cloud's place, and start the cloud again."""
        async with self._down():
            await asyncio.to_thread(
                lambda: backup.restore(self._settings, self._file, PASSPHRASE, replace=True)
            )
            if self._server is not None:
                await self._psql(f'DROP DATABASE "{self._name}" WITH (FORCE)')
                await self._copy(f"{self._name}-saved", self._name)
                await backup.check(self._settings)
        for worker in self._workers:
            await worker.ready()

    async def _copy(self, source: str, target: str) -> None:
        await self._psql(f'CREATE DATABASE "{target}" TEMPLATE "{source}"')

    async def _psql(self, sql: str) -> None:
        assert self._server is not None
        await asyncio.to_thread(self._server.psql, sql)

    @asynccontextmanager
    async def _down(self) -> AsyncIterator[None]:
        for worker in self._workers:
            await worker.halt()
        try:
            yield
        finally:
            for worker in self._workers:
                worker.go_on()
