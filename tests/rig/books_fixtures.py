"""Fixtures of a cloud's books: one database a process for each engine, emptied for each test.

A test module has them by `pytest_plugins = ("rig.cloud_fixtures", "rig.books_fixtures")`.
"""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from edgegate_sync.cloud.database import Database, open_database
from edgegate_sync.cloud.metadata import metadata
from edgegate_sync.cloud.migrate import migrate
from rig.books import add_site


async def _migrated(url: str) -> None:
    database = await open_database(url)
    try:
        await migrate(database)
    finally:
        await database.close()


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def books_url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The URL of a database with all tables."""
    if request.param == "sqlite":
        directory: Path = tmp_path_factory.mktemp("books")
        url = f"sqlite:///{directory}/cloud.db"
    else:
        url = request.getfixturevalue("postgres_server").database()
    asyncio.run(_migrated(url))
    return url


@pytest.fixture
async def books(books_url: str) -> AsyncIterator[Database]:
    """An empty cloud but for a site with a hall, Ana, and her ten days."""
    database = await open_database(books_url)
    async with database.writing() as writing:
        for table in reversed(metadata.sorted_tables):
            await writing.execute(table.delete())
    await add_site(database)
    yield database
    await database.close()
