"""The watch over the clock: whom it asks and when, what it records, and what it keeps."""

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from edgegate.clock import SystemClock, Word
from edgegate.ports import ClockTrust
from edgegate.store import sync_state
from edgegate.store.files import Store
from edgegate.store.sync_state import Trusted
from edgegate.store.thread import DatabaseThread
from edgegate.timesources import Answer
from edgegate.timewatch import ASK_EVERY_S, CONFIRM_S, KEEP_EVERY_S, ClockWatch
from fakes.fake_time import START, Computer

BOOT = "this-boot"


class Bench:
    """A watch over a computer's clock, with a real store."""

    def __init__(self, computer: Computer, thread: DatabaseThread[Store]) -> None:
        self.computer = computer
        self.thread = thread
        self.records: list[dict[str, Any]] = []
        self.trusts: list[ClockTrust] = []
        self.floors: list[datetime | None] = []
        self.vouches = False
        self.denial = ""
        self.begin()

    def begin(self) -> None:
        """Start the process anew."""
        self.clock = SystemClock()
        self.watch = ClockWatch(
            self.clock,
            BOOT,
            self.thread,
            record=self.records.append,
            on_trust=self.trusts.append,
            ask_sources=self._ask,
        )

    def _ask(self, floor: datetime | None) -> Answer:
        self.floors.append(floor)
        word = Word("chrony", self.computer.wall, self.computer.since_boot_s, 60.0)
        return Answer(word if self.vouches else None, self.denial)

    async def kept(self, boot: str = BOOT) -> Trusted | None:
        return await self.thread.run(lambda store: sync_state.trusted(store.ledger, boot))


@pytest.fixture
async def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bench]:
    thread: DatabaseThread[Store] = DatabaseThread(lambda _fault: None)
    await thread.start(lambda: Store.open(tmp_path / "state"))
    yield Bench(Computer(monkeypatch), thread)
    await thread.close()


async def test_each_change_of_trust_is_recorded_once(bench: Bench) -> None:
    await bench.watch.load()
    await bench.watch.look()
    bench.computer.in_step = True
    bench.computer.passes(1)
    for _ in range(3):
        await bench.watch.look()
        bench.computer.passes(1)
    bench.computer.in_step = False
    bench.computer.passes(1)
    await bench.watch.look()
    assert bench.records == [
        {"trust": "untrusted", "was": "untrusted", "source": ""},
        {"trust": "trusted", "was": "untrusted", "source": "kernel"},
        {"trust": "holdover", "was": "trusted", "source": "kernel"},
    ]
    assert bench.trusts == [ClockTrust.UNTRUSTED, ClockTrust.TRUSTED, ClockTrust.HOLDOVER]


async def test_a_clock_that_is_set_says_from_what_and_since_when(bench: Bench) -> None:
    await bench.watch.load()
    await bench.watch.look()
    bench.computer.passes(60).step(7200, in_step=True)
    await bench.watch.look()
    record = bench.records[-1]
    assert (record["trust"], record["was"], record["source"]) == ("trusted", "untrusted", "kernel")
    assert (record["step_s"], record["since"]) == (7200.0, "2026-11-20T10:00:00Z")
    assert record["before"] == "2026-11-20T10:01:00Z"


async def test_the_sources_are_asked_only_where_the_kernel_does_not_vouch(bench: Bench) -> None:
    bench.computer.in_step = True
    for _ in range(40):
        await bench.watch.look()
        bench.computer.passes(1)
    assert bench.floors == []
    bench.computer.in_step = False
    for _ in range(int(2 * ASK_EVERY_S)):
        await bench.watch.look()
        bench.computer.passes(1)
    assert len(bench.floors) == 2
    assert bench.floors[-1] is not None


async def test_chrony_makes_it_trusted_where_the_kernel_does_not(bench: Bench) -> None:
    bench.vouches = True
    await bench.watch.look()
    assert bench.clock.trust() is ClockTrust.TRUSTED
    assert bench.records[-1]["source"] == "chrony"
    bench.vouches = False
    bench.computer.passes(61)
    await bench.watch.look()
    assert bench.clock.trust() is ClockTrust.HOLDOVER


async def test_a_kernel_that_insists_is_followed_unless_chrony_denies(bench: Bench) -> None:
    bench.computer.in_step = True
    await bench.watch.look()
    bench.computer.passes(5).step(3600, in_step=True)
    bench.denial = "chrony says that the clock is +3600 s away"
    for _ in range(int(3 * CONFIRM_S)):
        await bench.watch.look()
        bench.computer.passes(1)
    assert bench.clock.now() == bench.computer.wall - timedelta(hours=1)
    assert bench.clock.trust() is ClockTrust.HOLDOVER
    bench.denial = ""
    looks = 0
    while bench.clock.now() != bench.computer.wall:
        await bench.watch.look()
        bench.computer.passes(1)
        looks += 1
        assert looks < 3 * CONFIRM_S
    assert looks >= CONFIRM_S
    assert bench.records[-1]["step_s"] == 3600.0
    assert "since" not in bench.records[-1]


async def test_the_last_trusted_instant_is_kept_once_a_minute(bench: Bench) -> None:
    bench.computer.in_step = True
    await bench.watch.load()
    seen = set()
    for _ in range(int(3 * KEEP_EVERY_S)):
        await bench.watch.look()
        seen.add(await bench.kept())
        bench.computer.passes(1)
    assert len(seen) == 3
    assert Trusted(START, 1000.0) in seen
    assert await bench.kept("another-boot") == Trusted(START + timedelta(minutes=2), None)


async def test_a_clock_that_nobody_vouches_for_keeps_nothing(bench: Bench) -> None:
    for _ in range(3):
        await bench.watch.look()
        bench.computer.passes(KEEP_EVERY_S)
    assert await bench.kept() is None


@pytest.mark.parametrize("is_same_boot", [True, False])
async def test_a_start_begins_at_what_was_kept(bench: Bench, is_same_boot: bool) -> None:
    bench.computer.in_step = True
    await bench.watch.look()
    bench.computer.passes(100).step(-10 * 86_400)
    if not is_same_boot:
        bench.watch._boot_id = BOOT
        await bench.thread.run(
            lambda store: sync_state.set_trusted(store.ledger, START, "another-boot", 5.0)
        )
    bench.begin()
    await bench.watch.load()
    await bench.watch.look()
    passed = timedelta(seconds=100 if is_same_boot else 0)
    assert bench.clock.now() == START + passed
    trust = ClockTrust.HOLDOVER if is_same_boot else ClockTrust.UNTRUSTED
    assert bench.clock.trust() is trust
    assert bench.floors == [START]


async def test_a_store_that_is_gone_ends_nothing(bench: Bench) -> None:
    bench.computer.in_step = True
    await bench.thread.close()
    await bench.watch.look()
    assert bench.clock.trust() is ClockTrust.TRUSTED
