"""The database thread: one commit for a group, answers after it, and every failure with a name."""

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest

from edgegate.store.errors import (
    QueueFullError,
    StorageFailedError,
    StoreClosedError,
    StoreUnavailableError,
)
from edgegate.store.files import Store
from edgegate.store.thread import DatabaseThread, Limits, Urgency


class Recording(Store):
    """A real store that keeps a history of its transactions and of what was asked of it."""

    def begin_history(self) -> None:
        self.history: list[str] = []
        self.repairs_to_fail = 0
        self.ledger.execute("CREATE TABLE note (text TEXT UNIQUE)")
        self.ledger.set_trace_callback(self._trace)

    def _trace(self, statement: str) -> None:
        if statement.startswith(("BEGIN", "COMMIT", "ROLLBACK")):
            self.history.append(statement)

    def recover(self, error: Exception) -> None:
        self.history.append(f"recover: {error}")
        if self.repairs_to_fail:
            self.repairs_to_fail -= 1
            raise StoreUnavailableError("still broken")

    def checkpoint(self) -> None:
        self.history.append("checkpoint")
        super().checkpoint()

    @property
    def notes(self) -> list[str]:
        return [text for (text,) in self.ledger.execute("SELECT text FROM note ORDER BY rowid")]


Thread = DatabaseThread[Recording]


class Gate:
    """A job that holds the thread until it is let go."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.go_on = threading.Event()

    def __call__(self, _store: Recording) -> str:
        self.entered.set()
        assert self.go_on.wait(60)
        return "gate"

    async def reached(self) -> None:
        assert await asyncio.to_thread(self.entered.wait, 60)


def opener(path: Path) -> Callable[[], Recording]:
    def open_store() -> Recording:
        store = Recording.open(path)
        store.begin_history()
        return store

    return open_store


@asynccontextmanager
async def serving(path: Path, limits: Limits | None = None) -> AsyncIterator[Thread]:
    faults: list[BaseException] = []
    thread: Thread = DatabaseThread(faults.append, limits)
    await thread.start(opener(path))
    try:
        yield thread
    finally:
        await thread.close()
    assert faults == []


def note(text: str) -> Callable[[Recording], str]:
    def job(store: Recording) -> str:
        store.ledger.execute("INSERT INTO note VALUES (?)", (text,))
        return text

    return job


def unexpected(fault: BaseException) -> None:
    pytest.fail(repr(fault))


def history(store: Recording) -> list[str]:
    return store.history.copy()


def notes(store: Recording) -> list[str]:
    return store.notes


async def settle() -> None:
    """Let tasks that were made reach their first await."""
    for _ in range(3):
        await asyncio.sleep(0)


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
        # Background jobs have a transaction of their own: nobody at a door waits for them.
        assert (await thread.run(history)).count("COMMIT") == 2


async def test_a_full_disk_refuses_the_whole_group(tmp_path: Path) -> None:
    def fill(store: Recording) -> None:
        store.ledger.execute("CREATE TABLE bulk (body BLOB)")
        store.ledger.execute("INSERT INTO bulk VALUES (zeroblob(1000000))")

    def limit(store: Recording) -> None:
        (pages,) = store.ledger.execute("PRAGMA page_count").fetchone()
        store.ledger.execute(f"PRAGMA max_page_count = {pages + 2}")

    def unlimit(store: Recording) -> None:
        store.ledger.execute("PRAGMA max_page_count = 1000000")

    async with serving(tmp_path) as thread:
        await thread.run_alone(limit)
        gate = Gate()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(thread.run_alone(gate, Urgency.DOOR))
            await gate.reached()
            every = asyncio.gather(
                thread.run(note("a")), thread.run(fill), thread.run(notes), return_exceptions=True
            )
            await settle()
            gate.go_on.set()
            answers = await every
        assert [type(answer) for answer in answers[:2]] == [StorageFailedError] * 2
        assert "full" in str(answers[0])
        assert await thread.run(notes) == []
        await thread.run_alone(unlimit)
        assert await thread.run(note("b")) == "b"
        assert "recover" not in " ".join(await thread.run(history))


async def test_a_file_held_by_somebody_else_refuses_all_who_wait(tmp_path: Path) -> None:
    async with serving(tmp_path) as thread:
        other = sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        try:
            answers = await asyncio.gather(
                *(thread.run(note(str(n))) for n in range(5)), return_exceptions=True
            )
        finally:
            other.execute("ROLLBACK")
            other.close()
        assert [type(answer) for answer in answers] == [StorageFailedError] * 5
        assert await thread.run(note("later")) == "later"
        # One of them stood through the time-out for all.
        assert (await thread.run(history)).count("BEGIN IMMEDIATE") == 3


def corrupt(_store: Recording) -> None:
    error = sqlite3.DatabaseError("database disk image is malformed")
    error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
    raise error


async def test_corruption_is_repaired_and_the_jobs_refused(tmp_path: Path) -> None:
    async with serving(tmp_path) as thread:
        with pytest.raises(StorageFailedError, match="malformed"):
            await thread.run(corrupt)
        assert await thread.run(note("after"), Urgency.DESK) == "after"
        repairs = [line for line in await thread.run(history) if line.startswith("recover")]
        assert repairs == ["recover: database disk image is malformed"]


async def test_a_failed_repair_is_tried_again_and_refuses_meanwhile(tmp_path: Path) -> None:
    def fail_once(store: Recording) -> None:
        store.repairs_to_fail = 2

    async with serving(tmp_path, Limits(recover_retry_s=0.01)) as thread:
        await thread.run_alone(fail_once)
        with pytest.raises(StorageFailedError):
            await thread.run(corrupt)
        refused = 0
        while True:
            try:
                seen = await thread.run(history)
                break
            except StorageFailedError:
                refused += 1
                await asyncio.sleep(0.001)
        assert len([line for line in seen if line.startswith("recover")]) == 3


async def test_who_comes_during_a_repair_is_refused_and_background_is_kept(tmp_path: Path) -> None:
    repairing, go_on = threading.Event(), threading.Event()

    class Slow(Recording):
        def recover(self, error: Exception) -> None:
            repairing.set()
            assert go_on.wait(60)
            super().recover(error)

    def open_store() -> Slow:
        store = Slow.open(tmp_path)
        store.begin_history()
        return store

    thread: Thread = DatabaseThread(unexpected)
    await thread.start(open_store)
    with pytest.raises(StorageFailedError):
        # It is answered although the repair has not ended.
        await thread.run(corrupt)
    assert await asyncio.to_thread(repairing.wait, 60)
    answers = asyncio.gather(
        thread.run(note("late door")),
        thread.run(note("exit"), Urgency.DESK),
        return_exceptions=True,
    )
    await settle()
    go_on.set()
    late, kept = await answers
    assert isinstance(late, StorageFailedError)
    assert kept == "exit"
    assert await thread.run(notes) == ["exit"]
    await thread.close()


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


async def test_a_fault_of_the_thread_ends_it(tmp_path: Path) -> None:
    def commit(store: Recording) -> None:
        store.ledger.execute("COMMIT")

    faults: list[BaseException] = []
    thread: Thread = DatabaseThread(faults.append)
    await thread.start(opener(tmp_path))
    answers = await asyncio.gather(
        thread.run(commit), thread.run(note("never")), return_exceptions=True
    )
    assert [type(answer) for answer in answers] == [StorageFailedError] * 2
    assert [type(fault) for fault in faults] == [RuntimeError]
    with pytest.raises(StoreClosedError):
        await thread.run(notes)
    await thread.close()
    # The directory is free again.
    await thread.start(lambda: Recording.open(tmp_path))
    await thread.close()


async def test_a_store_that_cannot_be_opened_is_told_and_can_be_tried_again(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("in the way")
    thread: Thread = DatabaseThread(unexpected)
    with pytest.raises(StoreUnavailableError):
        await thread.start(opener(tmp_path / "state"))
    with pytest.raises(StoreClosedError):
        await thread.run(notes)
    (tmp_path / "state").unlink()
    await thread.start(opener(tmp_path / "state"))
    with pytest.raises(RuntimeError, match="already"):
        await thread.start(opener(tmp_path / "state"))
    assert await thread.run(note("a")) == "a"
    await thread.close()


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
