"""The cloud ends when it is told to, whatever hangs, and says what does."""

import asyncio
import logging
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest
from sqlalchemy import text

from edgegate_sync.cancelling import EndlessError
from edgegate_sync.cloud import app
from edgegate_sync.cloud import database as database_module
from edgegate_sync.cloud.cloud import Cloud
from edgegate_sync.cloud.database import Database, fetch, open_database
from rig.clouds import running
from rig.postgres import Postgres

pytest_plugins = ("rig.cloud_fixtures",)


@contextmanager
def hung(pid: int) -> Iterator[None]:
    """Let the server of one connection do nothing: to its client it looks half-open."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@asynccontextmanager
async def used(server: Postgres) -> AsyncIterator[tuple[Database, int]]:
    """A database with one connection that has been used, and who serves it."""
    database = await open_database(await asyncio.to_thread(server.database))
    async with database.reading() as connection:
        pid = (await fetch(connection, text("SELECT pg_backend_pid()"))).scalar_one()
    yield database, int(pid)


async def one(database: Database) -> int:
    async with database.reading() as connection:
        return int((await fetch(connection, text("SELECT 1"))).scalar_one())


async def test_a_database_that_hangs_is_taken_leave_of(
    postgres_server: Postgres, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(database_module, "CLOSE_S_MAX", 0.3)
    async with used(postgres_server) as (database, pid):
        with hung(pid), caplog.at_level(logging.WARNING):
            await database.close()
        assert "does not let go" in caplog.text


async def test_a_database_that_hangs_is_not_waited_for_without_end(
    postgres_server: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_module, "SILENCE_S_MAX", 0.5)
    async with used(postgres_server) as (database, pid):
        with hung(pid):
            with pytest.raises(TimeoutError):
                await one(database)
            # A new connection takes the place of the one that hung.
            assert await one(database) == 1
        await database.close()


async def test_what_does_not_end_beside_the_requests_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    released = asyncio.Event()

    async def deaf(_cloud: Cloud) -> None:
        while not released.is_set():
            try:
                await released.wait()
            except asyncio.CancelledError:
                continue

    monkeypatch.setattr(app, "END_S_MAX", 0.2)
    monkeypatch.setattr(Cloud, "run", deaf)
    with pytest.raises(EndlessError, match=r"cloud does not end: .*cloud at locks\.py"):
        async with running(f"sqlite:///{tmp_path}/cloud.db", tmp_path):
            await asyncio.sleep(0)
    released.set()
    await asyncio.sleep(0)
