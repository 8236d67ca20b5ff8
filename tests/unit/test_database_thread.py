"""The database thread: one commit for a group, answers after it, the door first, limits."""

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from edgegate.store.errors import QueueFullError, StorageFailedError, StoreClosedError
from edgegate.store.thread import DatabaseThread, Limits, Urgency
from fakes.recording_store import (
    Gate,
    Recording,
    Thread,
    corrupt,
    history,
    note,
    notes,
    opener,
    serving,
    settle,
    unexpected,
)


async def test_a_job_is_answered_with_its_result(tmp_path: Path) -> None:
    async with serving(tmp_path) as thread:
        assert await thread.run(note("a")) == "a"
        assert await thread.run(notes) == ["a"]


async def test_jobs_that_come_during_a_group_share_one_commit(tmp_path: Path) -> None:
    async with serving(tmp_path) as thread, asyncio.TaskGroup() as tasks:
        gate = Gate()
        tasks.create_task(thread.run_alone(gate, Urgency.DOOR))
        await gate.reached()
        waiting = [tasks.create_task(thread.run(note(str(n)))) for n in range(20)]
        await settle()
        gate.go_on.set()
        assert await asyncio.gather(*waiting) == [str(n) for n in range(20)]
        seen = await thread.run(history)
        assert seen == ["BEGIN IMMEDIATE", "COMMIT", "BEGIN IMMEDIATE"]


async def test_a_group_is_bounded(tmp_path: Path) -> None:
    async with serving(tmp_path, Limits(group_max=8)) as thread, asyncio.TaskGroup() as tasks:
        gate = Gate()
        tasks.create_task(thread.run_alone(gate, Urgency.DOOR))
        await gate.reached()
        waiting = [tasks.create_task(thread.run(note(str(n)))) for n in range(20)]
        await settle()
        gate.go_on.set()
        await asyncio.gather(*waiting)
        assert (await thread.run(history)).count("COMMIT") == 3


async def test_a_job_that_raises_is_undone_alone(tmp_path: Path) -> None:
    def fails(store: Recording) -> None:
        note("never")(store)
        raise ValueError("mine")

    def violates(store: Recording) -> None:
        note("neither")(store)
        note("good 1")(store)

    async with serving(tmp_path) as thread, asyncio.TaskGroup() as tasks:
        gate = Gate()
        tasks.create_task(thread.run_alone(gate, Urgency.DOOR))
        await gate.reached()
        jobs: list[Callable[[Recording], object]] = [
            fails,
            note("good 1"),
            fails,
            violates,
            note("good 2"),
        ]
        every = asyncio.gather(*(thread.run(job) for job in jobs), return_exceptions=True)
        await settle()
        gate.go_on.set()
        answers = await every
        assert [type(answer) for answer in answers] == [
            ValueError,
            str,
            ValueError,
            sqlite3.IntegrityError,
            str,
        ]
        assert await thread.run(notes) == ["good 1", "good 2"]
        assert (await thread.run(history)).count("COMMIT") == 2


async def test_nobody_is_answered_before_the_commit(tmp_path: Path) -> None:
    async with serving(tmp_path) as thread, asyncio.TaskGroup() as tasks:
        before, within = Gate(), Gate()
        tasks.create_task(thread.run_alone(before, Urgency.DOOR))
        await before.reached()
        first = tasks.create_task(thread.run(note("a")))
        tasks.create_task(thread.run(within))
        await settle()
        before.go_on.set()
        # The second gate now holds the group that has run "a" and not committed it.
        await within.reached()
        await settle()
        assert not first.done()
        with closing(sqlite3.connect(tmp_path / "ledger.db")) as other:
            assert other.execute("SELECT text FROM note").fetchall() == []
            within.go_on.set()
            assert await first == "a"
            assert other.execute("SELECT text FROM note").fetchall() == [("a",)]


async def test_an_answer_waits_for_a_commit_that_fails(tmp_path: Path) -> None:
    async with serving(tmp_path) as thread, asyncio.TaskGroup() as tasks:
        gate = Gate()
        tasks.create_task(thread.run_alone(gate, Urgency.DOOR))
        await gate.reached()

        def spoil(store: Recording) -> None:
            """Defers a constraint to the commit, which then fails."""
            store.ledger.execute("PRAGMA defer_foreign_keys = ON")
            store.ledger.execute("INSERT INTO child VALUES (7)")

        def prepare(store: Recording) -> None:
            store.ledger.execute("PRAGMA foreign_keys = ON")
            store.ledger.execute("CREATE TABLE parent (id INTEGER PRIMARY KEY)")
            store.ledger.execute("CREATE TABLE child (parent REFERENCES parent (id))")

        tasks.create_task(thread.run_alone(prepare, Urgency.DOOR))
        await settle()
        every = asyncio.gather(
            thread.run(note("a")), thread.run(spoil), thread.run(note("b")), return_exceptions=True
        )
        await settle()
        gate.go_on.set()
        assert [type(answer) for answer in await every] == [StorageFailedError] * 3
        assert await thread.run(notes) == []
        assert await thread.run(note("c")) == "c"


async def test_the_door_comes_first(tmp_path: Path) -> None:
    async with serving(tmp_path) as thread, asyncio.TaskGroup() as tasks:
        gate = Gate()
        tasks.create_task(thread.run_alone(gate, Urgency.DOOR))
        await gate.reached()
        for urgency in (Urgency.BACKGROUND, Urgency.DESK, Urgency.DOOR, Urgency.WIFI):
            for number in range(2):
                tasks.create_task(thread.run(note(f"{urgency.name} {number}"), urgency))
        await settle()
        gate.go_on.set()
        order = await thread.run(notes, Urgency.BACKGROUND)
        assert order == [f"{urgency.name} {number}" for urgency in Urgency for number in range(2)]
        # Nobody at a door waits for the others, and nobody but those behind for background jobs.
        assert (await thread.run(history)).count("COMMIT") == 3


async def test_a_cancelled_caller_does_not_cancel_its_job(tmp_path: Path) -> None:
    async with serving(tmp_path) as thread:
        gate = Gate()
        waiting = asyncio.create_task(thread.run_alone(gate, Urgency.DOOR))
        await gate.reached()
        cancelled = asyncio.create_task(thread.run(note("stands")))
        await settle()
        cancelled.cancel()
        await asyncio.wait([cancelled])
        assert cancelled.cancelled()
        gate.go_on.set()
        assert await waiting == "gate"
        assert await thread.run(notes) == ["stands"]


async def test_too_many_jobs_are_refused_at_once(tmp_path: Path) -> None:
    async with serving(tmp_path, Limits(jobs_max=3)) as thread, asyncio.TaskGroup() as tasks:
        gate = Gate()
        tasks.create_task(thread.run_alone(gate, Urgency.DOOR))
        await gate.reached()
        waiting = [tasks.create_task(thread.run(note(str(n)))) for n in range(2)]
        await settle()
        with pytest.raises(QueueFullError):
            await thread.run(note("too many"))
        with pytest.raises(QueueFullError):
            thread.post(note("too many"))
        gate.go_on.set()
        await asyncio.gather(*waiting)
        assert await thread.run(note("again")) == "again"


async def test_posted_jobs_tell_when_they_are_done(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(tmp_path) as thread:
        told: list[tuple[object, object]] = []
        thread.post(note("a"), on_done=lambda result, error: told.append((result, error)))
        thread.post(corrupt, Urgency.DESK, lambda result, error: told.append((result, error)))
        thread.post(note("b"))
        thread.post(note("b"))
        await thread.run(notes, Urgency.BACKGROUND)
        await settle()
        assert len(told) == 2
        assert ("a", None) in told
        assert any(isinstance(error, StorageFailedError) for _, error in told)
        # The second "b" violates a constraint, and nobody asked for its error.
        assert "nobody waits for" in caplog.text


async def test_a_callback_that_raises_keeps_nobody_from_an_answer(tmp_path: Path) -> None:
    problems: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, it: problems.append(it))

    def fail(_result: object, _error: object) -> None:
        raise ValueError("a faulty callback")

    async with serving(tmp_path) as thread:
        thread.post(note("a"), Urgency.DOOR, fail)
        assert await thread.run(note("b")) == "b"
        await settle()
    assert len(problems) == 1


async def test_a_job_on_the_cache_writes_the_cache_only(tmp_path: Path) -> None:
    def write_cache(store: Recording) -> None:
        store.cache.execute("INSERT INTO team VALUES ('t-1', x'00')")

    def read_cache(store: Recording) -> list[object]:
        return store.cache.execute("SELECT id FROM team").fetchall()

    def write_and_raise(store: Recording) -> None:
        store.cache.execute("INSERT INTO team VALUES ('t-2', x'00')")
        raise ValueError("undone")

    async with serving(tmp_path) as thread:
        await thread.run_cache(write_cache)
        assert await thread.run(read_cache) == [("t-1",)]
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            await thread.run(write_cache)
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            await thread.run_cache(note("wrong file"))
        with pytest.raises(ValueError, match="undone"):
            await thread.run_cache(write_and_raise)
        assert await thread.run(read_cache) == [("t-1",)]
        assert await thread.run(note("right file")) == "right file"


async def test_closing_finishes_what_was_taken(tmp_path: Path) -> None:
    thread: Thread = DatabaseThread(unexpected)
    await thread.start(opener(tmp_path))
    waiting = asyncio.gather(*(thread.run(note(str(n))) for n in range(100)))
    await settle()
    await asyncio.gather(thread.close(), thread.close())
    assert len(await waiting) == 100
    with pytest.raises(StoreClosedError):
        thread.post(notes)
    await thread.close()
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as other:
        assert other.execute("SELECT count(*) FROM note").fetchone() == (100,)
    assert not (tmp_path / "ledger.db-wal").exists()


async def test_checkpoints_wait_for_idleness_or_a_limit(tmp_path: Path) -> None:
    limits = Limits(
        checkpoint_changes_min=3, checkpoint_changes_max=10, checkpoint_idle_s=0.01, group_max=1
    )
    async with serving(tmp_path, limits) as thread:
        await thread.run(note("a"))
        await asyncio.sleep(0.05)
        assert "checkpoint" not in await thread.run(history)
        await thread.run(note("b"))
        await thread.run(note("c"))
        while "checkpoint" not in await thread.run(history):  # noqa: ASYNC110 - nobody is told of it
            await asyncio.sleep(0.05)
    limits = Limits(checkpoint_changes_max=10, checkpoint_idle_s=3600)
    async with serving(tmp_path / "busy", limits) as thread:
        for number in range(25):
            await thread.run(note(str(number)))
        assert (await thread.run(history)).count("checkpoint") == 2


async def test_a_group_reads_one_state_of_the_cache_and_takes_its_lock_once(tmp_path: Path) -> None:
    seen: list[str] = []
    async with serving(tmp_path) as thread:

        def trace(store: Recording) -> None:
            store.cache.set_trace_callback(seen.append)

        def read(store: Recording) -> bool:
            store.cache.execute("SELECT count(*) FROM pass").fetchone()
            return store.cache.in_transaction

        await thread.run_alone(trace)
        gate = Gate()
        holding = asyncio.create_task(thread.run_alone(gate, Urgency.DOOR))
        await gate.reached()
        jobs = [asyncio.create_task(thread.run(read)) for _ in range(5)]
        await settle()
        gate.go_on.set()
        await holding
        assert await asyncio.gather(*jobs) == [True] * 5
        assert await thread.run_alone(lambda store: store.cache.in_transaction) is False
    assert seen == ["BEGIN", *["SELECT count(*) FROM pass"] * 5, "ROLLBACK"]


async def test_the_cache_is_let_go_when_the_storage_fails_under_a_job(tmp_path: Path) -> None:
    def fail(_store: Recording) -> None:
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorcode = sqlite3.SQLITE_IOERR
        raise error

    async with serving(tmp_path) as thread:
        with pytest.raises(StorageFailedError):
            await thread.run(fail)
        assert await thread.run_alone(lambda store: store.cache.in_transaction) is False
        assert await thread.run(note("next")) == "next"
