"""Damaged files: doors go on, every entry that can be read is kept, and nothing is deleted."""

import asyncio
import os
import random
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from edgegate.passes import model
from edgegate.ports import ClockTrust
from edgegate.store import cache, ledger, salvage
from edgegate.store.books import Books
from edgegate.store.chain import FaultKind
from edgegate.store.errors import StorageFailedError
from edgegate.store.files import Store
from edgegate.store.ledger import Draft, EntryType, Stamp
from edgegate.store.reports import ReportKind
from edgegate.store.thread import DatabaseThread, Urgency

AT = datetime(2026, 1, 30, 8, tzinfo=UTC)
STAMP = Stamp(source="edgegate/s/g", clock=ClockTrust.TRUSTED, boot_id="b", monotonic_s=1.0)
PAGE = 4096
ENTRIES = 400


def draft(number: int) -> Draft:
    # Some are so long that they go on in overflow pages, which SQLite divides in two ways.
    trace = "x" * {7: 20_000, 8: 3_900}.get(number % 50, number % 90)
    return Draft(
        type=EntryType.ACCESS_GRANTED,
        at=AT + timedelta(seconds=number),
        subject="door/front",
        data={"customer": f"c-{number}", "trace": trace},
    )


def append(store: Store, first: int, count: int) -> None:
    ledger.append(store.ledger, [draft(n) for n in range(first, first + count)], STAMP)


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ledger as a crash leaves it: most in the file, the newest entries in the log only."""
    state = tmp_path_factory.mktemp("sound")
    copy = tmp_path_factory.mktemp("copy")
    with closing(Store.open(state, now=lambda: 1_000)) as store:
        append(store, 1, ENTRIES - 20)
        ledger.erase(store.ledger, [(1_000, 5)])
        store.checkpoint()
        append(store, ENTRIES - 19, 20)
        for name in ("ledger.db", "ledger.db-wal", "cache.db", "cache.db-wal"):
            if (state / name).exists():
                shutil.copy(state / name, copy / name)
    return copy


@pytest.fixture
def state(sound: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sound, tmp_path / "state"))


@pytest.fixture
def closed(state: Path) -> Path:
    """The same ledger after a clean stop: all in one file, so that no log heals its damage."""
    Store.open(state).close()
    assert not (state / "ledger.db-wal").exists()
    return state


def sequences(store: Store) -> set[int]:
    return {entry.sequence for entry in ledger.entries(store.ledger) if entry.epoch == 1_000}


def hit_page(path: Path, number: int, damage: bytes) -> None:
    with path.open("r+b") as file:
        file.seek((number - 1) * PAGE)
        file.write(damage)


def check_goes_on(store: Store) -> None:
    """What was salvaged is intact, and new entries join it in a new epoch."""
    before = ledger.head(store.ledger)
    assert before.epoch > 1_000
    append(store, 1, 2)
    faults = ledger.verify(store.ledger)
    assert {fault.kind for fault in faults} <= {FaultKind.GAP}
    assert [entry.sequence for entry in ledger.tail(store.ledger, 2)] == [1, 2]
    assert ledger.tail(store.ledger, 2)[0].prevhash == before.hash


def test_a_ledger_that_was_not_damaged_has_all(state: Path) -> None:
    with closing(Store.open(state)) as store:
        assert list(store.reports) == []
        assert sequences(store) == set(range(1, ENTRIES + 1))
        assert ledger.verify(store.ledger) == []


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: hit_page(path, 1, bytes(PAGE)),
        lambda path: hit_page(path, 1, random.Random(1).randbytes(16)),
        # The root of the table: SQLite finds no row any more.
        lambda path: hit_page(path, 2, random.Random(2).randbytes(PAGE)),
    ],
)
def test_without_header_or_root_every_entry_is_saved(
    closed: Path, damage: Callable[[Path], None]
) -> None:
    state = closed
    damage(state / "ledger.db")
    damaged = (state / "ledger.db").read_bytes()
    rebuilt: list[int] = []

    def rebuild(connection: sqlite3.Connection, after: int) -> None:
        assert connection.in_transaction
        assert after == 0
        rebuilt.append(len(list(ledger.entries(connection))))

    with closing(Store.open(state, rebuild=rebuild, now=lambda: 2_000)) as store:
        assert [report.kind for report in store.reports] == [ReportKind.LEDGER_SALVAGED]
        assert Path(store.reports[0].file).read_bytes() == damaged
        assert sequences(store) == set(range(1, ENTRIES + 1))
        assert rebuilt == [ENTRIES]
        assert ledger.verify(store.ledger) == []
        # What was erased does not come back.
        assert ledger.since(store.ledger, 1_000, 4)[0].data is None
        assert ledger.head(store.ledger).epoch == 2_000
        with pytest.raises(sqlite3.DatabaseError, match="append-only"):
            store.ledger.execute(ledger.INSERT_ENTRY, ledger.row(ledger.tail(store.ledger, 9)[0]))
        check_goes_on(store)
    with closing(Store.open(state)) as store:
        assert list(store.reports) == []


@pytest.mark.parametrize("seed", range(15))
def test_random_damage_loses_only_what_lay_there(state: Path, seed: int) -> None:
    chance = random.Random(seed)
    path = state / "ledger.db"
    pages = path.stat().st_size // PAGE
    if seed % 5 == 4:
        os.truncate(path, chance.randrange(path.stat().st_size))
        lost_pages = pages
    else:
        lost_pages = chance.randrange(1, 4)
        for number in chance.sample(range(1, pages + 1), lost_pages):
            hit_page(path, number, chance.randbytes(chance.choice([64, 512, PAGE])))
    with closing(Store.open(state, now=lambda: 2_000)) as store:
        entries = list(ledger.entries(store.ledger))
        kept = {entry.sequence for entry in entries}
        assert len(entries) == len(kept)
        # Else the damage lay inside a value, and it is the chain that shows it.
        if store.reports:
            assert list(state.glob("ledger.db.corrupt-*"))
            # The log was whole, and pages that were not hit hold at most 20 entries each.
            assert len(kept) >= ENTRIES - lost_pages * 20
            check_goes_on(store)
        assert max(kept) == ENTRIES


@pytest.mark.parametrize("seed", range(6))
def test_a_damaged_log_loses_its_tail_at_most(state: Path, seed: int) -> None:
    chance = random.Random(seed)
    log = state / "ledger.db-wal"
    with log.open("r+b") as file:
        file.seek(chance.randrange(log.stat().st_size))
        file.write(chance.randbytes(100))
    if seed % 2:
        hit_page(state / "ledger.db", 1, bytes(PAGE))
    with closing(Store.open(state, now=lambda: 2_000)) as store:
        kept = sequences(store)
        assert set(range(1, ENTRIES - 20 + 1)) <= kept
        append(store, 1, 1)
        assert {fault.kind for fault in ledger.verify(store.ledger)} <= {FaultKind.GAP}


@pytest.mark.parametrize("content", [b"", b"x", bytes(PAGE * 3)])
def test_a_ledger_with_nothing_left_begins_anew(state: Path, content: bytes) -> None:
    (state / "ledger.db-wal").unlink()
    (state / "ledger.db").write_bytes(content)
    with closing(Store.open(state, now=lambda: 2_000)) as store:
        assert [report.kind for report in store.reports] == [ReportKind.LEDGER_SALVAGED]
        assert Path(store.reports[0].file).read_bytes() == content
        assert ledger.head(store.ledger).epoch == 2_000
        append(store, 1, 3)
        assert ledger.verify(store.ledger) == []


def test_corrupt_ledgers_are_never_deleted(closed: Path) -> None:
    state = closed
    for _ in range(4):
        hit_page(state / "ledger.db", 1, bytes(PAGE))
        Store.open(state, now=lambda: 2_000).close()
    assert len(list(state.glob("ledger.db.corrupt-*"))) == 4


@pytest.mark.parametrize("moved", [("ledger.db",), ("ledger.db", "ledger.db-wal")])
def test_an_exchange_that_a_power_cut_interrupted_is_completed(
    state: Path, tmp_path: Path, moved: tuple[str, ...]
) -> None:
    """The new file is whole, and the old one has gone some of the way to its other name."""
    whole = tmp_path / "whole"
    shutil.copytree(state, whole)
    Store.open(whole).close()
    hit_page(whole / "ledger.db", 1, bytes(PAGE))
    Store.open(whole, now=lambda: 2_000).close()
    shutil.copy(whole / "ledger.db", state / "ledger.next.db")
    for name in moved:
        suffix = name.removeprefix("ledger.db")
        (state / name).rename(state / f"ledger.db.corrupt-20260130T000000{suffix}")
    with closing(Store.open(state, now=lambda: 3_000)) as store:
        assert list(store.reports) == []
        assert sequences(store) == set(range(1, ENTRIES + 1))
        assert ledger.verify(store.ledger) == []
        check_goes_on(store)
    assert not (state / "ledger.next.db").exists()
    # The old log must never meet the new file.
    assert list(state.glob("ledger.db.corrupt-*-wal"))


def test_half_a_new_ledger_is_not_taken_for_a_whole_one(state: Path) -> None:
    with closing(sqlite3.connect(state / "ledger.next.db")) as half:
        half.execute("CREATE TABLE half (a)")
    with closing(Store.open(state)) as store:
        assert sequences(store) == set(range(1, ENTRIES + 1))
    for name in ("ledger.db", "ledger.db-wal"):
        (state / name).unlink(missing_ok=True)
    with closing(sqlite3.connect(state / "ledger.next.db")) as half:
        half.execute("CREATE TABLE half (a)")
    with closing(Store.open(state)) as store:
        assert ledger.head(store.ledger).sequence == 0


def test_what_retention_removed_is_no_gap_after_a_salvage(state: Path) -> None:
    with closing(Store.open(state)) as store:
        ledger.forget(store.ledger, 1_000, 100)
    with closing(sqlite3.connect(state / "ledger.db")) as other:
        root, leaf = (
            other.execute("SELECT rootpage FROM sqlite_schema WHERE name = ?", (name,)).fetchone()[
                0
            ]
            for name in ("entry", "session_pass")
        )
    assert root != leaf
    hit_page(state / "ledger.db", leaf, bytes(PAGE))
    with closing(Store.open(state)) as store:
        assert len(store.reports) == 1
        assert sequences(store) == set(range(101, ENTRIES + 1))
        assert ledger.verify(store.ledger) == []


def test_the_rest_of_an_earlier_log_brings_back_nothing(tmp_path: Path) -> None:
    """Behind the log's valid frames lie older ones, with pages from before an erasure."""
    with closing(Store.open(tmp_path / "live", now=lambda: 1_000)) as store:
        for number in range(10):
            append(store, number, 1)
        store.checkpoint()
        ledger.erase(store.ledger, [(1_000, 2)])
        (tmp_path / "state").mkdir()
        for name in ("ledger.db", "ledger.db-wal"):
            shutil.copy(tmp_path / "live" / name, tmp_path / "state" / name)
    found = {e.sequence: e.data for e in salvage.entries(tmp_path / "state" / "ledger.db")}
    assert found.keys() == set(range(1, 11))
    assert found[2] is None


@pytest.mark.parametrize("is_everywhere", [True, False])
@pytest.mark.parametrize("page", [1, 20])
def test_a_lockdown_outlasts_the_damage(state: Path, page: int, *, is_everywhere: bool) -> None:
    """As it was where that can be read, else at each door that last said so."""
    with closing(Store.open(state)) as store:
        books = Books(store, lambda: STAMP)
        for door, cleared in (("front", False), ("back", False), ("back", True)):
            books.append(
                Draft(
                    type=EntryType.DOOR_LOCKDOWN,
                    at=AT,
                    subject=f"door/{door}",
                    data={"cleared": cleared},
                )
            )
        books.note_lockdown(frozenset({"front"}), everywhere=is_everywhere)
    hit_page(state / "ledger.db", page, bytes(PAGE))
    with closing(Store.open(state)) as store:
        assert [report.kind for report in store.reports] == [ReportKind.LEDGER_SALVAGED]
        books = Books(store, lambda: STAMP)
        books.recall_lockdown()
        assert books.locked_doors == {"front"}
        assert books.lockdown is (is_everywhere and page != 1)


def test_what_was_never_committed_is_not_salvaged(tmp_path: Path) -> None:
    with closing(Store.open(tmp_path / "live", now=lambda: 1_000)) as store:
        append(store, 1, 3)
        # So small a page cache spills into the log before the commit.
        store.ledger.execute("PRAGMA cache_size = 1")
        store.ledger.execute("BEGIN IMMEDIATE")
        append(store, 4, 200)
        size = (tmp_path / "live" / "ledger.db-wal").stat().st_size
        (tmp_path / "state").mkdir()
        for name in ("ledger.db", "ledger.db-wal"):
            shutil.copy(tmp_path / "live" / name, tmp_path / "state" / name)
        store.ledger.execute("ROLLBACK")
    assert size > 10 * PAGE
    assert [e.sequence for e in salvage.entries(tmp_path / "state" / "ledger.db")] == [1, 2, 3]


def test_a_previous_cache_is_read_whole_before_it_is_used(state: Path) -> None:
    fill_cache(state)
    hit_page(state / "cache.db", (state / "cache.db").stat().st_size // PAGE - 3, bytes(PAGE))
    (state / "cache.db").rename(state / "cache.prev.db")
    with closing(Store.open(state)) as store:
        assert list(cache.every(store.cache, cache.PASS)) == []
        assert list(store.reports) == []


def fill_cache(state: Path) -> None:
    with closing(Store.open(state)) as store:
        store.cache.execute("PRAGMA query_only = OFF")
        passes = (model.Pass(id=f"p-{n}", holder=f"c-{n % 50}") for n in range(2_000))
        store.cache.execute("BEGIN")
        cache.put_many(store.cache, cache.PASS, passes)
        store.cache.execute("COMMIT")


async def test_a_cache_found_corrupt_later_is_replaced_while_serving(state: Path) -> None:
    await asyncio.to_thread(fill_cache, state)
    pages = (state / "cache.db").stat().st_size // PAGE
    hit_page(state / "cache.db", pages - 3, bytes(PAGE))
    faults: list[BaseException] = []
    thread: DatabaseThread[Store] = DatabaseThread(faults.append)
    store = await thread.start(lambda: Store.open(state))
    # It opens at once; only the check in the background sees it.
    found = await asyncio.to_thread(store.check_cache)
    assert found is not None
    await thread.run_alone(lambda s: s.replace_cache(found))
    assert await asyncio.to_thread(store.check_cache) is None
    reports = await thread.run(lambda s: [report.kind for report in s.reports])
    assert reports == [ReportKind.CACHE_EMPTIED]
    await thread.run(lambda s: append(s, 1, 1))
    await thread.close()
    assert faults == []


async def test_corruption_met_by_a_job_is_repaired(state: Path) -> None:
    await asyncio.to_thread(fill_cache, state)
    pages = (state / "cache.db").stat().st_size // PAGE
    # What opening looks at, the beginnings of the tables, stays whole.
    for number in range(pages * 2 // 3, pages + 1):
        hit_page(state / "cache.db", number, b"\xff" * PAGE)
    faults: list[BaseException] = []
    thread: DatabaseThread[Store] = DatabaseThread(faults.append)
    await thread.start(lambda: Store.open(state))

    def entry(store: Store) -> int:
        append(store, 1, 1)
        return len(list(cache.every(store.cache, cache.PASS)))

    with pytest.raises(StorageFailedError):
        await thread.run(entry)
    # Nothing of the refused job is on record, and the next one finds an empty cache.
    assert await thread.run(entry, Urgency.DESK) == 0
    assert await thread.run(lambda s: ledger.head(s.ledger).sequence) == ENTRIES + 1
    await thread.close()
    assert faults == []


async def test_a_ledger_that_breaks_while_serving_is_salvaged(state: Path) -> None:
    faults: list[BaseException] = []
    thread: DatabaseThread[Store] = DatabaseThread(faults.append)
    await thread.start(lambda: Store.open(state, now=lambda: 2_000))
    await thread.run_alone(lambda s: s.checkpoint())
    with closing(sqlite3.connect(state / "ledger.db")) as other:
        (root,) = other.execute("SELECT rootpage FROM sqlite_schema WHERE name='entry'").fetchone()
    hit_page(state / "ledger.db", root, b"\xff" * PAGE)

    def entry(store: Store) -> None:
        store.ledger.execute("PRAGMA shrink_memory")
        append(store, 1, 1)

    with pytest.raises(StorageFailedError):
        await thread.run(entry)
    await thread.run(entry, Urgency.DESK)
    head = await thread.run(lambda s: ledger.head(s.ledger))
    assert (head.epoch, head.sequence) == (2_000, 1)
    assert await thread.run(lambda s: len(sequences(s))) == ENTRIES
    assert await thread.run(lambda s: ledger.verify(s.ledger)) == []
    await thread.close()
    assert faults == []
