"""Fixtures of a cloud's database: one a process for each engine, emptied for each test.

A test module has them by `pytest_plugins = ("rig.further_fixtures",)`.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from edgegate_sync.cloud.database import Database, open_database
from edgegate_sync.cloud.metadata import metadata
from edgegate_sync.cloud.migrate import migrate
from rig.books import add_site
from rig.cloud_fixtures import postgres_server

__all__ = ["books", "database", "further_url", "migrated_url", "postgres_server"]


async def _migrated(url: str) -> None:
    database = await open_database(url)
    try:
        await migrate(database)
    finally:
        await database.close()


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def migrated_url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The URL of a database with all tables."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path_factory.mktemp('further')}/cloud.db"
    else:
        url = request.getfixturevalue("postgres_server").database()
    asyncio.run(_migrated(url))
    return url


@asynccontextmanager
async def _emptied(url: str) -> AsyncIterator[Database]:
    opened = await open_database(url)
    async with opened.writing() as writing:
        for table in reversed(metadata.sorted_tables):
            await writing.execute(table.delete())
    yield opened
    await opened.close()


@pytest.fixture
async def database(migrated_url: str) -> AsyncIterator[Database]:
    """An open database with nothing in it."""
    async with _emptied(migrated_url) as opened:
        yield opened


@pytest.fixture
async def books(migrated_url: str) -> AsyncIterator[Database]:
    """An empty cloud but for a site with a hall, Ana, and her ten days."""
    async with _emptied(migrated_url) as opened:
        await add_site(opened)
        yield opened


@pytest.fixture
async def further_url(database: Database) -> str:
    """The URL of a database with nothing in it."""
    return database.url.render_as_string(hide_password=False)
