"""The cloud's database on SQLite and PostgreSQL: numbering, wholeness, revisions."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, insert, select, text

from edgegate_sync.cloud.database import Database, DatabaseUrlError, open_database
from edgegate_sync.cloud.feed import (
    HistoryGoneError,
    Row,
    SiteUnknownError,
    changes,
    compact,
    create_site,
    since,
    standing,
)
from edgegate_sync.cloud.leases import take
from edgegate_sync.cloud.migrate import RevisionError, check, migrate
from edgegate_sync.cloud.schema import metadata
from edgegate_sync.cloud.tables import lease, record
from edgegate_sync.wire.changes import Op
from rig.postgres import Postgres

pytest_plugins = ("rig.cloud_fixtures",)

WRITERS = 20


@pytest.fixture
async def site(database: Database) -> str:
    async with database.writing() as writing:
        await create_site(writing, "north", "North")
    return "north"


async def read(database: Database, after: int = 0) -> tuple[int, list[Row]]:
    async with database.reading() as connection:
        head = (await since(connection, "north", after)).head
        return head, [
            row async for rows in changes(connection, "north", after, head) for row in rows
        ]


async def test_the_revisions_make_what_the_tables_say(database: Database) -> None:
    found: list[object] = []

    def compare(connection: Connection) -> None:
        options = {"compare_type": True, "compare_server_default": True}
        found.extend(
            compare_metadata(MigrationContext.configure(connection, opts=options), metadata)
        )

    await database.run_sync(compare)
    assert found == []


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
async def test_several_workers_may_migrate_a_new_database_at_once(
    kind: str, tmp_path: Path, postgres_server: Postgres
) -> None:
    url = f"sqlite:///{tmp_path}/new.db" if kind == "sqlite" else postgres_server.database()
    databases = [await open_database(url) for _ in range(3)]
    await asyncio.gather(*(migrate(one) for one in databases))
    for one in databases:
        await check(one)
        await one.close()


async def test_several_workers_may_open_new_files_at_once(tmp_path: Path) -> None:
    """SQLite tells one of two that change a new file's journal "locked", without waiting."""
    for number in range(30):
        databases = [await open_database(f"sqlite:///{tmp_path}/{number}.db") for _ in range(4)]
        await asyncio.gather(*(one.run_sync(lambda _: None) for one in databases))
        for one in databases:
            await one.close()


async def test_an_old_database_is_not_served(database: Database) -> None:
    async def be_at(revision: str) -> str:
        statement = text("UPDATE alembic_version SET version_num = :revision")
        async with database.writing() as writing:
            before = await writing.execute(text("SELECT version_num FROM alembic_version"))
            await writing.execute(statement, {"revision": revision})
            return str(before.scalar_one())

    newest = await be_at("0000")
    with pytest.raises(RevisionError, match="edgegate cloud migrate"):
        await check(database)
    await be_at(newest)


@pytest.mark.parametrize("url", ["mysql://x/y", "sqlite://", "sqlite:///:memory:"])
async def test_other_databases_are_refused_by_name(url: str) -> None:
    with pytest.raises(DatabaseUrlError):
        await open_database(url)


async def test_parallel_writers_number_without_gap_and_no_reader_skips_one(
    database: Database, site: str
) -> None:
    """A reader follows by its own head all the while, as a device does."""
    done = asyncio.Event()

    async def write(number: int) -> None:
        for step in range(3):
            async with database.site(site) as transaction:
                await transaction.put("team", f"{number}-{step}", b"{}")
                if number % 3 == 0:
                    # It has its number, and commits late.
                    await transaction.flush()
                    await asyncio.sleep(0.002)

    async def follow() -> list[Row]:
        head, seen = 0, []
        while True:
            last = done.is_set()
            head, rows = await read(database, head) if head else await read(database)
            seen.extend(rows)
            if last:
                return seen
            await asyncio.sleep(0.001)

    follower = asyncio.create_task(follow())
    await asyncio.gather(*(write(number) for number in range(WRITERS)))
    done.set()
    seen = await follower
    assert [row.seq for row in seen] == list(range(1, 3 * WRITERS + 1))
    assert len({row.id for row in seen}) == 3 * WRITERS


async def test_a_record_keeps_its_newest_state_and_its_last_number(
    database: Database, site: str
) -> None:
    async with database.site(site) as transaction:
        await transaction.put("team", "a", b'{"id":"a"}')
        await transaction.put("team", "b", b"{}")
        await transaction.put("team", "a", b'{"id":"a","name":"A"}')
        assert await transaction.get("team", "a") == b'{"id":"a","name":"A"}'
    assert transaction.head == 2
    _, rows = await read(database)
    assert [(row.seq, row.id) for row in rows] == [(1, "b"), (2, "a")]
    assert rows[1].body == '{"id":"a","name":"A"}'


async def test_a_snapshot_leaves_out_what_was_deleted_and_tells_what_was_erased(
    database: Database, site: str
) -> None:
    async with database.site(site) as transaction:
        for name in "abc":
            await transaction.put("customer", name, b"{}")
    async with database.site(site) as transaction:
        await transaction.delete("customer", "a")
        await transaction.erase("customer", "b")
    _, snapshot = await read(database)
    assert [(row.id, row.op, row.body) for row in snapshot] == [
        ("c", Op.PUT, "{}"),
        ("b", Op.ERASE, None),
    ]
    _, later = await read(database, 3)
    assert [(row.id, row.op) for row in later] == [("a", Op.DELETE), ("b", Op.ERASE)]


async def test_a_reader_sees_one_state_however_long_it_reads(database: Database, site: str) -> None:
    async with database.site(site) as transaction:
        for number in range(600):
            await transaction.put("team", f"{number:03}", b"{}")
    seen: list[str] = []
    async with database.reading() as connection:
        head = (await standing(connection, site)).head
        async for rows in changes(connection, site, 0, head):
            seen += [row.id for row in rows]
            async with database.site(site) as transaction:
                # Those that were not read yet get numbers beyond the head.
                await transaction.put("team", "599", b'{"name":"new"}')
                await transaction.delete("team", "598")
    assert seen == [f"{number:03}" for number in range(600)]
    _, rest = await read(database, head)
    assert {row.id for row in rest} == {"598", "599"}


async def test_compaction_forgets_deletions_and_sends_who_missed_them_to_a_snapshot(
    database: Database, site: str
) -> None:
    async with database.site(site) as transaction:
        for name in "abc":
            await transaction.put("customer", name, b"{}")
    async with database.site(site) as transaction:
        await transaction.delete("customer", "a")
        await transaction.erase("customer", "b")
    async with database.site(site) as transaction:
        await transaction.put("customer", "d", b"{}")
    async with database.site(site) as transaction:
        assert await compact(transaction, datetime.now(UTC) + timedelta(hours=1)) == 1
    with pytest.raises(HistoryGoneError):
        await read(database, 3)
    assert [row.id for row in (await read(database, 4))[1]] == ["b", "d"]
    assert [row.id for row in (await read(database))[1]] == ["c", "b", "d"]
    with pytest.raises(HistoryGoneError):
        await read(database, 7)


async def test_nothing_is_written_to_a_site_that_is_not_there(database: Database) -> None:
    with pytest.raises(SiteUnknownError):
        async with database.site("south") as transaction:
            await transaction.put("team", "a", b"{}")
    async with database.reading() as connection:
        assert (await connection.execute(select(record))).all() == []


async def test_an_error_undoes_all_of_a_transaction(database: Database, site: str) -> None:
    async def fail() -> None:
        async with database.site(site) as transaction:
            await transaction.put("team", "a", b"{}")
            await transaction.flush()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert await read(database) == (0, [])


@pytest.mark.parametrize("steps", range(9))
async def test_a_cancelled_write_is_whole_or_not_there(
    database: Database, site: str, steps: int
) -> None:
    """It is cancelled after each number of turns of the loop, and leaves no lock behind."""

    async def write() -> None:
        async with database.site(site) as transaction:
            await transaction.put("team", "a", b"{}")
            await transaction.flush()
            await transaction.execute(
                insert(lease).values(name="beside", worker="w", until=datetime.now(UTC))
            )
            await transaction.put("team", "b", b"{}")

    task = asyncio.create_task(write())
    for _ in range(steps * 2):
        await asyncio.sleep(0.0005 * steps)
    task.cancel()
    (error,) = await asyncio.gather(task, return_exceptions=True)
    assert error is None or isinstance(error, asyncio.CancelledError)
    head, rows = await read(database)
    async with database.reading() as connection:
        beside = len((await connection.execute(select(lease))).all())
    assert (head, len(rows), beside) in ((0, 0, 0), (2, 2, 1))
    # Nobody holds a lock: the next one writes at once.
    async with asyncio.timeout(60), database.site(site) as transaction:
        await transaction.put("team", "c", b"{}")


async def test_a_lock_makes_reading_and_writing_one_step_for_all_workers(
    database: Database, database_url: str, site: str
) -> None:
    second = await open_database(database_url)

    async def count(worker: Database) -> None:
        async with worker.site(site) as transaction:
            await transaction.lock()
            before = int(await transaction.get("balance", "p") or b"0")
            await asyncio.sleep(0)
            await transaction.put("balance", "p", str(before + 1).encode())

    try:
        await asyncio.gather(*(count(one) for one in (database, second) * (WRITERS // 2)))
    finally:
        await second.close()
    async with database.site(site) as transaction:
        assert await transaction.get("balance", "p") == str(WRITERS).encode()


async def test_a_reading_transaction_cannot_write(database: Database) -> None:
    with pytest.raises(Exception, match=r"(?i)read-?only"):
        async with database.reading() as connection:
            await connection.execute(record.delete())


async def test_a_lease_is_one_workers_until_it_is_over(database: Database) -> None:
    life = timedelta(seconds=60)
    taken = await asyncio.gather(*(take(database, "job", f"w{n}", life) for n in range(5)))
    assert sum(taken) == 1
    holder = f"w{taken.index(True)}"
    assert await take(database, "job", holder, timedelta(seconds=-1))
    assert await take(database, "job", "other", life)
    assert not await take(database, "job", holder, life)


async def test_the_pragmas_hold(database: Database) -> None:
    if not database.is_sqlite:
        async with database.reading() as connection:
            shown = await connection.execute(text("SHOW transaction_isolation"))
            assert shown.scalar_one() == "repeatable read"
        return
    async with database.writing() as writing:
        values = [
            (await writing.execute(text(f"PRAGMA {name}"))).scalar_one()
            for name in ("journal_mode", "synchronous", "foreign_keys")
        ]
    assert values == ["wal", 2, 1]
