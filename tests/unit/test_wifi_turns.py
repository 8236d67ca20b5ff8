"""Turns on the event loop: a little work, then everything else; and others before all of it."""

import asyncio
from collections.abc import Iterator
from itertools import pairwise

import pytest

from edgegate.wifi.turns import PAUSES_MAX, SLICE_S, TOGETHER_MAX, Turns
from fakes.fake_door_ports import FakeClock
from rig.radius import settled

PIECES = 60


class Crowd:
    """So many pieces of work, and the turns of the loop in which each was done."""

    def __init__(self, turns: Turns, clock: FakeClock, piece_s: float) -> None:
        self.turns = turns
        self.clock = clock
        self.piece_s = piece_s
        self.turn = 0
        self.done: list[tuple[int, int]] = []

    async def work(self, number: int) -> None:
        await self.turns.take()
        self.clock.now_s += self.piece_s
        self.done.append((number, self.turn))

    async def come(self) -> None:
        async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
            counting = tasks.create_task(self._count())
            pieces = [tasks.create_task(self.work(number)) for number in range(PIECES)]
            await asyncio.wait(pieces)
            counting.cancel()
        assert [number for number, _ in self.done] == list(range(PIECES))

    def together(self) -> Iterator[int]:
        """How many were done in each turn in which any was."""
        turns = [turn for _, turn in self.done]
        return (turns.count(turn) for turn in sorted(set(turns)))

    async def _count(self) -> None:
        while True:
            self.turn += 1
            await asyncio.sleep(0)


async def test_long_pieces_of_work_have_a_turn_each() -> None:
    clock = FakeClock()
    crowd = Crowd(Turns(now=clock), clock, SLICE_S * 2)
    await crowd.come()
    assert set(crowd.together()) == {1}


async def test_short_ones_share_a_turn_up_to_a_number() -> None:
    clock = FakeClock()
    crowd = Crowd(Turns(now=clock), clock, SLICE_S / 20)
    await crowd.come()
    first, *later = crowd.together()
    # What comes while there is time goes on at once; what came later waits.
    assert 20 <= first <= 21
    assert later[:3] == [1, 2, 4] or later[:3] == [2, 4, 8]
    assert max(later) == TOGETHER_MAX


async def test_pieces_that_became_long_share_no_turn() -> None:
    clock = FakeClock()
    turns = Turns(now=clock)
    crowd = Crowd(turns, clock, SLICE_S / 5)
    await crowd.come()
    crowd = Crowd(turns, clock, SLICE_S * 2)
    await crowd.come()
    assert max(list(crowd.together())[2:]) == 1


@pytest.mark.parametrize("waiting", [0, 3])
async def test_others_go_first(waiting: int) -> None:
    clock, busy = FakeClock(), asyncio.Event()
    done: list[int] = []
    turns = Turns(lambda: not busy.is_set(), clock)

    async def work(number: int) -> None:
        await turns.take()
        done.append(number)

    async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
        for number in range(waiting):
            tasks.create_task(work(number))
        await settled()
        assert not turns.has_time()
        assert done == []
        busy.set()
    assert done == list(range(waiting))
    assert turns.has_time()


async def test_others_without_end_do_not_keep_all_out() -> None:
    clock, asked, after = FakeClock(), 0, []

    def others() -> bool:
        nonlocal asked
        asked += 1
        return True

    turns = Turns(others, clock)
    async with asyncio.timeout(60):
        for _ in range(3):
            await turns.take()
            after.append(asked)
            clock.now_s += SLICE_S
    # Before each piece it was looked so often whether the others are done, and not more often.
    assert all(PAUSES_MAX < b - a <= PAUSES_MAX + 3 for a, b in pairwise([0, *after]))


async def test_who_no_longer_waits_is_passed_over() -> None:
    clock, free = FakeClock(), asyncio.Event()
    turns = Turns(lambda: not free.is_set(), clock)
    async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
        gone = tasks.create_task(turns.take())
        tasks.create_task(turns.take())
        await settled()
        gone.cancel()
        free.set()
    await settled()
    assert turns.has_time()
