"""Whatever fails below the database thread has a name, refuses who waits, and is repaired."""

import asyncio
import sqlite3
import threading
from pathlib import Path

import pytest

from edgegate.store.errors import StorageFailedError, StoreClosedError, StoreUnavailableError
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
