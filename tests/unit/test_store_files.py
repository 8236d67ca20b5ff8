"""The store's files: who may use them, how they are opened, what takes the place of a bad one."""

import os
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from edgegate.passes import model
from edgegate.ports import ClockTrust, OperatingError
from edgegate.store import cache, ledger, migrations
from edgegate.store.errors import SchemaTooNewError, StoreInUseError, StoreUnavailableError
from edgegate.store.files import MEMORY, Store
from edgegate.store.ledger import Draft, EntryType, Stamp
from edgegate.store.reports import ReportKind
from fakes.held_resources import held_resources

AT = datetime(2026, 1, 30, 8, tzinfo=UTC)
STAMP = Stamp(source="edgegate/s/g", clock=ClockTrust.TRUSTED, boot_id="b", monotonic_s=1.0)


def append(store: Store, count: int = 1) -> None:
    drafts = [Draft(type=EntryType.DOOR_OPENED, at=AT, data={"n": n}) for n in range(count)]
    ledger.append(store.ledger, drafts, STAMP)


def put(store: Store, kind: cache.Kind[cache.R], *records: cache.R) -> None:
    store.cache.execute("PRAGMA query_only = OFF")
    cache.put_many(store.cache, kind, records)
    store.cache.execute("PRAGMA query_only = ON")


def kinds(store: Store) -> list[ReportKind]:
    return [report.kind for report in store.reports]


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def memory() -> Iterator[Store]:
    store = Store.open(MEMORY)
    yield store
    store.close()


def test_everything_is_there_after_opening_again(state: Path) -> None:
    with closing(Store.open(state, now=lambda: 1_000)) as store:
        append(store, 3)
        put(store, cache.TEAM, model.Team(id="t-1", name="Team"))
    with closing(Store.open(state, now=lambda: 2_000)) as store:
        assert (ledger.head(store.ledger).epoch, ledger.head(store.ledger).sequence) == (1_000, 3)
        assert cache.get(store.cache, cache.TEAM, "t-1") == model.Team(id="t-1", name="Team")
        assert list(store.reports) == []
        assert store.check_cache() is None
    assert sorted(file.name for file in state.iterdir()) == ["cache.db", "ledger.db", "lock"]


def test_commits_are_durable_and_checkpoints_ours(state: Path) -> None:
    with closing(Store.open(state)) as store:
        for connection, synchronous in ((store.ledger, 2), (store.cache, 1)):
            values = {
                name: connection.execute(f"PRAGMA {name}").fetchone()[0]
                for name in (
                    "journal_mode",
                    "synchronous",
                    "wal_autocheckpoint",
                    "page_size",
                    "secure_delete",
                    "trusted_schema",
                    "cell_size_check",
                    "foreign_keys",
                )
            }
            assert values == {
                "journal_mode": "wal",
                "synchronous": synchronous,
                "wal_autocheckpoint": 0,
                "page_size": 4096,
                "secure_delete": 1,
                "trusted_schema": 0,
                "cell_size_check": 1,
                "foreign_keys": 0,
            }


def test_files_are_for_their_owner_only(state: Path) -> None:
    before = os.umask(0)
    try:
        with closing(Store.open(state)) as store:
            append(store)
            put(store, cache.TEAM, model.Team(id="t"))
            modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in state.iterdir()}
    finally:
        os.umask(before)
    assert {"ledger.db-wal", "ledger.db-shm", "cache.db-wal"} <= modes.keys()
    assert set(modes.values()) == {0o600}
    assert stat.S_IMODE(state.stat().st_mode) == 0o700


def test_a_second_daemon_is_kept_out_and_told_by_whom(state: Path) -> None:
    program = (
        "import sys; from edgegate.store.files import Store\n"
        "from edgegate.store.errors import StoreInUseError\n"
        "try: Store.open(sys.argv[1])\n"
        "except StoreInUseError as error: print(type(error).__name__, error)"
    )
    command = [sys.executable, "-c", program, str(state)]
    with closing(Store.open(state)):
        told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        assert told.split()[0] == "StoreInUseError"
        assert told.split()[-1] == str(os.getpid())
        before = held_resources()
        with pytest.raises(StoreInUseError):
            Store.open(state)
        assert held_resources() == before
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == ""


def test_a_newer_ledger_is_left_alone(state: Path) -> None:
    with closing(Store.open(state)) as store:
        append(store)
        store.ledger.execute("PRAGMA user_version = 99")
    before = (state / "ledger.db").read_bytes()
    with pytest.raises(SchemaTooNewError, match="99"):
        Store.open(state)
    assert (state / "ledger.db").read_bytes() == before


def test_a_newer_cache_is_replaced(state: Path) -> None:
    with closing(Store.open(state)) as store:
        store.cache.execute("PRAGMA query_only = OFF")
        store.cache.execute("PRAGMA user_version = 99")
    with closing(Store.open(state)) as store:
        assert kinds(store) == [ReportKind.CACHE_EMPTIED]
        assert "99" in store.reports[0].detail


def test_a_migration_that_fails_leaves_nothing() -> None:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        with pytest.raises(sqlite3.OperationalError):
            migrations.apply(connection, "CREATE TABLE a (b); CREATE TABLE a (b);", 1)
        assert migrations.version(connection) == 0
        assert connection.execute("SELECT count(*) FROM sqlite_schema").fetchone() == (0,)
        migrations.apply(connection, "CREATE TABLE a (b);", 1)
        assert migrations.version(connection) == 1


def test_migrating_twice_changes_nothing(memory: Store) -> None:
    append(memory)
    assert migrations.migrate(memory.ledger, "ledger") == len(migrations.scripts("ledger"))
    assert ledger.head(memory.ledger).sequence == 1


def test_a_family_without_scripts_is_a_broken_package() -> None:
    with pytest.raises(RuntimeError, match="lacks"):
        migrations.scripts("nothing")


def test_what_cannot_be_opened_is_an_operating_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreUnavailableError) as caught:
        Store.open(tmp_path / "file" / "state")
    assert isinstance(caught.value, OperatingError)
    (tmp_path / "state" / "ledger.db").mkdir(parents=True)
    with pytest.raises(StoreUnavailableError):
        Store.open(tmp_path / "state")
    (tmp_path / "state" / "ledger.db").rmdir()
    Store.open(tmp_path / "state").close()


def test_a_corrupt_cache_is_set_aside_and_an_empty_one_made(state: Path) -> None:
    with closing(Store.open(state)) as store:
        append(store)
        put(store, cache.TEAM, model.Team(id="t-1"))
    for attempt in range(4):
        (state / "cache.db").write_bytes(b"no database" * 1_000 + bytes([attempt]))
        with closing(Store.open(state)) as store:
            assert kinds(store) == [ReportKind.CACHE_EMPTIED]
            assert Path(store.reports[0].file).read_bytes()[-1] == attempt
            assert cache.get(store.cache, cache.TEAM, "t-1") is None
            assert cache.head(store.cache) == 0
            assert ledger.head(store.ledger).sequence == 1
    assert len(list(state.glob("cache.db.corrupt-*"))) == 2


def test_the_cache_before_takes_the_place(state: Path) -> None:
    with closing(Store.open(state)) as store:
        put(store, cache.TEAM, model.Team(id="old"))
    (state / "cache.db").rename(state / "cache.prev.db")
    (state / "cache.db").write_bytes(b"no database" * 1_000)
    with closing(Store.open(state)) as store:
        assert kinds(store) == [ReportKind.CACHE_RESTORED]
        assert cache.get(store.cache, cache.TEAM, "old") is not None
        assert not (state / "cache.prev.db").exists()


def test_a_corrupt_cache_before_does_not(state: Path) -> None:
    Store.open(state).close()
    (state / "cache.prev.db").write_bytes(b"no database" * 1_000)
    (state / "cache.db").unlink()
    with closing(Store.open(state)) as store:
        assert cache.head(store.cache) == 0
        assert not (state / "cache.prev.db").exists()


def test_a_cache_that_cannot_be_checked_is_an_operating_error(state: Path) -> None:
    with closing(Store.open(state)) as store:
        (state / "cache.db").rename(state / "elsewhere")
        with pytest.raises(StoreUnavailableError, match="checked"):
            store.check_cache()


def test_a_deleted_cache_is_made_again(state: Path) -> None:
    Store.open(state).close()
    (state / "cache.db").unlink()
    with closing(Store.open(state)) as store:
        assert list(store.reports) == []


def test_a_cache_of_another_program_is_replaced(state: Path) -> None:
    state.mkdir()
    with closing(sqlite3.connect(state / "cache.db")) as other:
        other.execute("CREATE TABLE team (something TEXT)")
        other.execute("PRAGMA user_version = 1")
    with closing(Store.open(state)) as store:
        assert kinds(store) == [ReportKind.CACHE_EMPTIED]


def test_records_are_found_by_what_they_are_looked_up_by(memory: Store) -> None:
    put(memory, cache.CUSTOMER, *(model.Customer(id=f"c-{n}", team="t-1") for n in (2, 1)))
    put(memory, cache.CUSTOMER, model.Customer(id="c-3"))
    put(memory, cache.PASS, model.Pass(id="p-2", holder="t-1"), model.Pass(id="p-1", holder="t-1"))
    put(memory, cache.PASS, model.Pass(id="p-3", holder="c-3"))
    put(
        memory,
        cache.CREDENTIAL,
        model.Credential(id="k", customer="c-1", kind=model.CredentialKind.NFC_UID, lookup="00ff"),
    )
    put(memory, cache.BALANCE, model.Balance(pass_="p-1", remaining=4))  # noqa: S106 - a pass's id
    db = memory.cache
    assert [p.id for p in cache.of_holder(db, cache.PASS, "t-1")] == ["p-1", "p-2"]
    assert [c.id for c in cache.find(db, cache.CUSTOMER, "team", "t-1")] == ["c-1", "c-2"]
    assert [c.customer for c in cache.find(db, cache.CREDENTIAL, "lookup", "00ff")] == ["c-1"]
    assert cache.find(db, cache.CREDENTIAL, "lookup", "00") == []
    balance = cache.get(db, cache.BALANCE, "p-1")
    assert balance is not None
    assert balance.remaining == 4
    with pytest.raises(KeyError):
        cache.find(db, cache.PASS, "body", "x")


def test_a_record_replaces_the_one_before_with_its_look_up(memory: Store) -> None:
    put(memory, cache.PASS, model.Pass(id="p", holder="a"))
    put(memory, cache.PASS, model.Pass(id="p", holder="b", amount=3))
    assert cache.of_holder(memory.cache, cache.PASS, "a") == []
    assert [p.amount for p in cache.every(memory.cache, cache.PASS)] == [3]
    memory.cache.execute("PRAGMA query_only = OFF")
    assert cache.delete(memory.cache, cache.PASS, "p")
    assert not cache.delete(memory.cache, cache.PASS, "p")
    cache.put(memory.cache, cache.DOOR, model.Door(id="d", location="l"))
    cache.set_head(memory.cache, 7)
    cache.set_head(memory.cache, 8)
    assert cache.head(memory.cache) == 8
    assert [d.id for d in cache.find(memory.cache, cache.DOOR, "location", "l")] == ["d"]


def test_look_ups_use_their_index(memory: Store) -> None:
    for kind in cache.KINDS.values():
        for column in kind.columns:
            statement = f"EXPLAIN QUERY PLAN SELECT body FROM {kind.name} WHERE {column} = 'x'"  # noqa: S608 - a kind's own names
            plan = memory.cache.execute(statement).fetchone()[3]
            assert "USING INDEX" in plan, (kind.name, column)


def test_checkpoints_count_changes(state: Path) -> None:
    with closing(Store.open(state)) as store:
        assert store.changes() == 0
        append(store, 5)
        put(store, cache.TEAM, model.Team(id="t"))
        assert store.changes() == 6
        store.checkpoint()
        assert store.changes() == 0
        store.replace_cache("for the test")
        assert store.changes() == 0


def test_the_process_that_builds_a_snapshot_brings_no_archive_formats_along() -> None:
    """They are a megabyte of the thirty that a snapshot may take."""
    program = (
        "import sys, edgegate_sync.appliance.snapshot;"
        "from edgegate.store.migrations import scripts; scripts('cache');"
        "print(*{'importlib.resources', 'shutil', 'tempfile', 'zipfile'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []
