"""Lets one worker at a time do a job: a row that names the worker and until when."""

from datetime import UTC, datetime, timedelta

from sqlalchemy import delete, or_
from sqlalchemy.dialects import postgresql, sqlite

from edgegate_sync.cloud.database import Database
from edgegate_sync.cloud.tables import lease


async def take(database: Database, name: str, worker: str, life: timedelta) -> bool:
    """Take or prolong a lease; False while another worker holds it."""
    now = datetime.now(UTC)
    insert = (sqlite if database.is_sqlite else postgresql).insert(lease)
    statement = insert.values(name=name, worker=worker, until=now + life).on_conflict_do_update(
        index_elements=["name"],
        set_={"worker": worker, "until": now + life},
        where=or_(lease.c.worker == worker, lease.c.until < now),
    )
    async with database.writing() as writing:
        done = await writing.execute(statement.returning(lease.c.worker))
        return done.scalar_one_or_none() == worker


async def give_back(database: Database, worker: str) -> None:
    """Give back all leases of a worker, as when it ends."""
    async with database.writing() as writing:
        await writing.execute(delete(lease).where(lease.c.worker == worker))
