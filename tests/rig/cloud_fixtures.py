"""Fixtures of the cloud, once on SQLite and once on PostgreSQL.

A test module has them by `pytest_plugins = ("rig.cloud_fixtures",)`.
"""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from edgegate_sync.cloud.database import Database, open_database
from edgegate_sync.cloud.migrate import migrate
from edgegate_sync.cloud.schema import metadata
from rig.clouds import RunningCloud, running
from rig.postgres import Postgres, postgres


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Postgres]:
    """The PostgreSQL of this test process."""
    with postgres() as server:
        yield server


@pytest.fixture(scope="session")
def spare_databases() -> list[str]:
    """Databases of the server that have all tables and nothing in them."""
    return []


@pytest.fixture(params=["sqlite", "postgresql"])
async def database_url(
    request: pytest.FixtureRequest, tmp_path: Path, spare_databases: list[str]
) -> AsyncIterator[str]:
    """The URL of a database with all tables and nothing in them."""
    if request.param == "sqlite":
        yield await _made(f"sqlite:///{tmp_path}/cloud.db")
        return
    if not spare_databases:
        server = request.getfixturevalue("postgres_server")
        spare_databases.append(await _made(server.database()))
    url = spare_databases.pop()
    yield url
    # To empty one takes a tenth of the time that it takes to make one.
    opened = await open_database(url)
    names = ", ".join(f'"{table.name}"' for table in metadata.sorted_tables)
    async with opened.writing() as writing:
        await writing.execute(text(f"TRUNCATE {names} RESTART IDENTITY CASCADE"))
    await opened.close()
    spare_databases.append(url)


async def _made(url: str) -> str:
    opened = await open_database(url)
    await migrate(opened)
    await opened.close()
    return url


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """A database that is open."""
    opened = await open_database(database_url)
    yield opened
    await opened.close()


@pytest.fixture
async def cloud(database_url: str, tmp_path: Path) -> AsyncIterator[RunningCloud]:
    """A cloud that serves, with the site "north"."""
    async with running(database_url, tmp_path) as made:
        yield made
