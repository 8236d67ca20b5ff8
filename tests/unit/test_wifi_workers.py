"""A pool of workers: quick jobs need one of them, waiting jobs run side by side, up to a limit."""

import asyncio
from itertools import pairwise

from edgegate.wifi.turns import SLICE_S, Turns
from edgegate.wifi.workers import Workers
from fakes.fake_door_ports import FakeClock
from rig.radius import settled


async def test_jobs_that_wait_run_side_by_side() -> None:
    gate, begun = asyncio.Event(), []

    async def work(job: int) -> None:
        begun.append(job)
        await gate.wait()

    async with asyncio.TaskGroup() as tasks:
        workers = Workers(work, tasks, jobs_max=5, turns=Turns())
        assert [workers.put(job) for job in range(7)] == [True] * 5 + [False] * 2
        await settled()
        assert begun == [0, 1, 2, 3, 4]
        assert not workers.put(8)
        gate.set()
        await settled()
        assert all(workers.put(job) for job in range(10, 15))
        await settled()
        assert begun[5:] == [10, 11, 12, 13, 14]
        workers.stop()


async def test_jobs_that_do_not_wait_need_two_workers_at_most() -> None:
    done = []

    async def work(job: int) -> None:
        done.append(job)

    async with asyncio.TaskGroup() as tasks:
        workers = Workers(work, tasks, jobs_max=100, turns=Turns())
        for burst in range(20):
            assert all(workers.put(burst * 50 + job) for job in range(50))
            await settled()
        assert workers._hired <= 2
        workers.stop()
    assert done == list(range(1000))


async def test_a_job_that_takes_too_long_is_cancelled_and_others_go_on() -> None:
    done = []

    async def work(job: int) -> None:
        if job == 0:
            await asyncio.Event().wait()
        done.append(job)

    async with asyncio.TaskGroup() as tasks:
        workers = Workers(work, tasks, jobs_max=1, turns=Turns())
        assert workers.put(0)
        await settled()
        assert workers.dismiss() == 0
        assert not workers.put(1)
        assert workers.dismiss() == 1
        await settled()
        assert workers.put(1)
        await settled()
        workers.stop()
    assert done == [1]


async def test_a_stopped_pool_takes_nothing_and_ends_what_it_took() -> None:
    done = []

    async def work(job: int) -> None:
        await asyncio.sleep(0)
        done.append(job)

    async with asyncio.TaskGroup() as tasks:
        workers = Workers(work, tasks, jobs_max=10, turns=Turns())
        assert all(workers.put(job) for job in range(5))
        workers.stop()
        assert not workers.put(9)
    assert sorted(done) == [0, 1, 2, 3, 4]


async def test_one_long_job_is_done_in_a_turn_of_the_loop() -> None:
    order = []
    clock = FakeClock()

    async def work(job: int) -> None:
        order.append(f"job {job}")
        clock.now_s += SLICE_S

    async def other() -> None:
        while len(order) < 30:
            order.append("other")
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as tasks:
        workers = Workers(work, tasks, jobs_max=100, turns=Turns(now=clock))
        assert all(workers.put(job) for job in range(5))
        tasks.create_task(other())
        await settled()
        workers.stop()
    jobs = [place for place, what in enumerate(order) if what != "other"]
    assert [order[place] for place in jobs] == [f"job {job}" for job in range(5)]
    assert all(later - earlier > 1 for earlier, later in pairwise(jobs))
    assert workers._hired <= 2


async def test_nothing_is_begun_while_somebody_stands_at_a_door() -> None:
    quiet, finished, done = asyncio.Event(), asyncio.Event(), []
    looked = 0

    def is_at_door() -> bool:
        nonlocal looked
        looked += 1
        return not quiet.is_set()

    async def work(job: int) -> None:
        assert quiet.is_set()
        done.append(job)
        if len(done) == 50:
            finished.set()

    async with asyncio.TaskGroup() as tasks:
        workers = Workers(work, tasks, jobs_max=100, turns=Turns(is_at_door))
        assert all(workers.put(job) for job in range(50))
        await settled()
        assert done == []
        assert looked > 0
        assert workers._hired == 1
        quiet.set()
        await asyncio.wait_for(finished.wait(), 60)
        workers.stop()
    assert done == list(range(50))


async def test_doors_that_are_never_quiet_do_not_keep_the_wifi_out() -> None:
    finished, done = asyncio.Event(), []

    async def work(job: int) -> None:
        done.append(job)
        if len(done) == 3:
            finished.set()

    async with asyncio.TaskGroup() as tasks:
        workers = Workers(work, tasks, jobs_max=100, turns=Turns(lambda: True))
        assert all(workers.put(job) for job in range(3))
        await asyncio.wait_for(finished.wait(), 60)
        workers.stop()
    assert done == [0, 1, 2]


async def test_what_was_taken_before_the_end_is_done_by_whoever_is_idle() -> None:
    done = []
    clock = FakeClock()

    async def work(job: int) -> None:
        done.append(job)
        clock.now_s += SLICE_S

    async with asyncio.TaskGroup() as tasks:
        workers = Workers(work, tasks, jobs_max=100, turns=Turns(now=clock))
        assert all(workers.put(job) for job in range(20))
        await settled()
        assert all(workers.put(job) for job in range(20, 40))
        workers.stop()
    assert done == list(range(40))


async def test_a_job_may_be_given_less_room_than_others() -> None:
    gate, begun = asyncio.Event(), []

    async def work(job: int) -> None:
        begun.append(job)
        await gate.wait()

    async with asyncio.TaskGroup() as tasks:
        workers = Workers(work, tasks, jobs_max=4, turns=Turns())
        assert [workers.put(job, 3) for job in range(4)] == [True] * 3 + [False]
        assert [workers.put(job) for job in range(10, 12)] == [True, False]
        gate.set()
        await settled()
        workers.stop()
    assert begun == [0, 1, 2, 10]
