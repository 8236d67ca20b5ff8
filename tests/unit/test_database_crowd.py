"""The database thread while a crowd joins the Wi-Fi: who goes first, and who shares a commit."""

import asyncio
import threading
from pathlib import Path

import pytest

from edgegate.store import worker
from edgegate.store.errors import StorageFailedError
from edgegate.store.jobs import Group, Job, Scope
from edgegate.store.thread import ANSWERS_A_TURN, Limits, Urgency
from fakes.recording_store import Gate, Recording, history, note, notes, serving, settle


async def test_a_crowd_does_not_keep_a_door_waiting(tmp_path: Path) -> None:
    async with serving(tmp_path) as thread:
        gate = Gate()
        holding = asyncio.create_task(thread.run_alone(gate, Urgency.DOOR))
        await gate.reached()
        crowd = [f"wifi {number}" for number in range(20)]
        answered: list[str] = []
        for name in crowd:
            thread.post(note(name), Urgency.WIFI, lambda it, _: answered.append(str(it)))
        thread.post(note("door"), Urgency.DOOR, lambda it, _: answered.append(str(it)))
        gate.go_on.set()
        await holding
        assert await thread.run(notes, Urgency.BACKGROUND) == ["door", *crowd]
        # One commit for the door, one for the crowd, one to look.
        assert (await thread.run(history)).count("COMMIT") == 3
    assert answered == ["door", *crowd]


async def test_others_are_answered_a_few_in_each_turn(tmp_path: Path) -> None:
    async with serving(tmp_path) as thread:
        gate = Gate()
        holding = asyncio.create_task(thread.run_alone(gate, Urgency.DOOR))
        await gate.reached()
        answered: list[str] = []
        for number in range(3 * ANSWERS_A_TURN):
            thread.post(note(f"{number}"), Urgency.WIFI, lambda it, _: answered.append(str(it)))
        gate.go_on.set()
        seen = {0}
        while len(answered) < 3 * ANSWERS_A_TURN:
            await asyncio.sleep(0)
            seen.add(len(answered))
        await holding
    assert seen == {0, ANSWERS_A_TURN, 2 * ANSWERS_A_TURN, 3 * ANSWERS_A_TURN}
    assert answered == [f"{number}" for number in range(3 * ANSWERS_A_TURN)]


async def test_a_door_goes_before_the_rest_of_a_crowd_whose_group_has_begun(tmp_path: Path) -> None:
    async with serving(tmp_path) as thread:
        held, gate = Gate(), Gate()
        holding = asyncio.create_task(thread.run_alone(held, Urgency.DOOR))
        await held.reached()
        thread.post(gate, Urgency.WIFI)
        for number in range(5):
            thread.post(note(f"first {number}"), Urgency.WIFI)
        held.go_on.set()
        await holding
        await gate.reached()
        for number in range(5):
            thread.post(note(f"next {number}"), Urgency.WIFI)
        door = asyncio.create_task(thread.run(note("door")))
        await settle()
        gate.go_on.set()
        await door
        seen = await thread.run(notes, Urgency.BACKGROUND)
        crowd = [f"{which} {number}" for which in ("first", "next") for number in range(5)]
        assert seen == ["door", *crowd]
        # It goes with who was before it, and is not kept waiting for those behind.
        assert (await thread.run(history)).count("COMMIT") == 3


async def test_those_who_come_while_a_crowds_group_runs_make_up_the_next(tmp_path: Path) -> None:
    async with serving(tmp_path) as thread:
        gate = Gate()
        first = asyncio.create_task(thread.run(gate, Urgency.WIFI))
        await gate.reached()
        crowd = [asyncio.create_task(thread.run(note(f"{n}"), Urgency.WIFI)) for n in range(5)]
        await settle()
        gate.go_on.set()
        await asyncio.gather(first, *crowd)
        assert (await thread.run(history)).count("COMMIT") == 2


async def test_a_crowd_that_waits_together_shares_a_commit(tmp_path: Path) -> None:
    # More of them than of others: whoever is left over waits for two flushes.
    async with serving(tmp_path, Limits(group_max=4, crowd_max=15)) as thread:
        gate = Gate()
        holding = asyncio.create_task(thread.run_alone(gate, Urgency.DOOR))
        await gate.reached()
        crowd = [f"wifi {number}" for number in range(30)]
        for name in crowd:
            thread.post(note(name), Urgency.WIFI)
        gate.go_on.set()
        await holding
        assert await thread.run(notes, Urgency.BACKGROUND) == crowd
        assert (await thread.run(history)).count("COMMIT") == 3


async def test_a_crowd_waits_to_share_a_commit_unless_somebody_comes_to_a_door(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # So long that whatever waits for the end of it fails by the time-out of all tests.
    monkeypatch.setattr(worker, "CROWD_PAUSE", 1e9)
    async with serving(tmp_path, Limits(crowd_max=3, crowd_pause_s_max=300)) as thread:
        assert await thread.run(note("first"), Urgency.WIFI) == "first"
        crowd = [asyncio.create_task(thread.run(note(f"{n}"), Urgency.WIFI)) for n in range(2)]
        await settle()
        assert await thread.run(note("door")) == "door"
        assert not any(task.done() for task in crowd)
        crowd.append(asyncio.create_task(thread.run(note("2"), Urgency.WIFI)))
        assert await asyncio.gather(*crowd) == ["0", "1", "2"]
        assert await thread.run(notes) == ["first", "door", "0", "1", "2"]
        late = asyncio.create_task(thread.run(note("late"), Urgency.WIFI))
        await settle()
        # A thread that is to end waits for nothing.
        await thread.close()
        assert await late == "late"


async def test_taps_without_end_do_not_keep_others_out(tmp_path: Path) -> None:
    async with serving(tmp_path) as thread:
        loop, came = asyncio.get_running_loop(), threading.Event()
        answered: list[str] = []
        commits = 0

        def come() -> None:
            thread.post(lambda _: None, Urgency.DOOR)
            came.set()

        def on_statement(statement: str) -> None:
            """Whenever taps are committed, somebody else is at a door already."""
            nonlocal commits
            if statement == "COMMIT" and len(answered) < 10 and commits < 100:
                commits += 1
                came.clear()
                loop.call_soon_threadsafe(come)
                assert came.wait(60)

        await thread.run_alone(lambda store: store.ledger.set_trace_callback(on_statement))
        gate = Gate()
        thread.post(gate, Urgency.DOOR)
        await gate.reached()
        for number in range(10):
            thread.post(note(f"{number}"), Urgency.WIFI, lambda it, _: answered.append(str(it)))
        gate.go_on.set()
        async with asyncio.timeout(60):
            while len(answered) < 10:  # noqa: ASYNC110 - answers have no event
                await asyncio.sleep(0.001)
    assert answered == [f"{number}" for number in range(10)]
    # First a tap alone, then each time some of them with it; the last answers take a few more.
    assert commits < 50


async def test_it_says_whether_it_computes(tmp_path: Path) -> None:
    async with serving(tmp_path) as thread:
        gate = Gate()
        holding = asyncio.create_task(thread.run(gate, Urgency.WIFI))
        await gate.reached()
        seen = [thread.is_computing]
        gate.go_on.set()
        await holding
        seen.append(thread.is_computing)

        def fail(store: Recording) -> None:
            store.ledger.execute("PRAGMA max_page_count = 1")
            store.ledger.execute("CREATE TABLE bulk (body BLOB)")
            store.ledger.execute("INSERT INTO bulk VALUES (zeroblob(1000000))")

        with pytest.raises(StorageFailedError):
            await thread.run(fail)
        seen.append(thread.is_computing)
    assert seen == [True, False, False]


def test_a_group_counts_who_is_in_it() -> None:
    def job(urgency: Urgency) -> Job[Recording]:
        return Job(notes, Scope.LEDGER, urgency, lambda _, __: None)

    group = Group(job(Urgency.WIFI))
    assert (len(group), group.doors, group.beside_doors) == (1, 0, 0)
    for urgency in (Urgency.WIFI, Urgency.DOOR, Urgency.WIFI, Urgency.DOOR, Urgency.DESK):
        group.add(job(urgency))
    # Only who came after somebody at a door is beside them.
    assert (len(group), group.doors, group.beside_doors) == (6, 2, 2)
    assert group.urgency is Urgency.WIFI
