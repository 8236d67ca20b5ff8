"""Brings the database to the newest revision; several workers may try at once."""

import asyncio
from pathlib import Path
from typing import Any

from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext, RevisionStep
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from edgegate_sync.cloud.database import Database

REVISIONS = Path(__file__).parent / "migrations"

LOCK = 0x65646765
"""Names the advisory lock on PostgreSQL: whoever comes second waits, and finds all done."""


class RevisionError(RuntimeError):
    """The database is not at the revision that this version of the cloud needs."""


async def migrate(database: Database) -> None:
    """Run the revisions that the database lacks, in one transaction."""
    scripts = await asyncio.to_thread(_scripts)
    await database.run_sync(lambda connection: _upgrade(scripts, connection))


async def check(database: Database) -> None:
    """See that the database is at the newest revision.

    Raises:
        RevisionError: if it is not.
    """
    scripts = await asyncio.to_thread(_scripts)
    await database.run_sync(lambda connection: _compare(scripts, connection))


def _scripts() -> ScriptDirectory:
    """The revisions, all of them read, so that none of it happens on the event loop."""
    config = Config()
    config.set_main_option("script_location", str(REVISIONS))
    config.set_main_option("path_separator", "os")
    scripts = ScriptDirectory.from_config(config)
    list(scripts.walk_revisions())
    return scripts


def _upgrade(scripts: ScriptDirectory, connection: Connection) -> None:
    def steps(revision: Any, _context: MigrationContext) -> list[RevisionStep]:
        # The way that alembic's own command goes; it has no public name.
        return scripts._upgrade_revs("head", revision)  # noqa: SLF001 - see above

    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
    with EnvironmentContext(Config(), scripts, fn=steps) as environment:
        # SQLite changes a table by copying it.
        batch = connection.dialect.name == "sqlite"
        environment.configure(connection=connection, render_as_batch=batch)
        environment.run_migrations()


def _compare(scripts: ScriptDirectory, connection: Connection) -> None:
    newest = scripts.get_current_head()
    present = MigrationContext.configure(connection).get_current_revision()
    if present != newest:
        raise RevisionError(
            f"the database is at revision {present}, this version needs {newest}: run"
            " edgegate cloud migrate"
        )
