"""An appliance that is tapped while it takes a snapshot: run by `snapshot.py`, as a process.

Taps go down the real line to the real database thread; the door only notes when it is opened. What
it measures it prints as one line of JSON.
"""

import asyncio
import json
import re
import sys
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast

from bench import world
from bench.world import Taps
from edgegate.bookkeeper import Afterwards, Bookkeeper
from edgegate.clock import SystemClock
from edgegate.doors.runner import DoorRunner
from edgegate.line import Line, Place
from edgegate.passes.model import CredentialKind, Direction
from edgegate.ports import ClockTrust, Scan
from edgegate.store.files import Store
from edgegate.store.ledger import Stamp
from edgegate.store.projection import rebuild
from edgegate.store.thread import DatabaseThread
from edgegate_sync.appliance.builder import build_beside
from edgegate_sync.appliance.client import CloudClient
from edgegate_sync.appliance.feed import Feed
from edgegate_sync.appliance.snapshot import Built, Task

PAUSE_S = 0.02
"""Between two taps: more than ten busy doors have."""

WARM_TAPS = 50


@dataclass
class Measured:
    """What is told to whoever runs this."""

    idle_mib: float = 0.0
    """Its memory before the snapshot."""
    peak_mib: float = 0.0
    """The most it had meanwhile."""
    builder_mib: float = 0.0
    """The most that the process had that built it."""
    apply_s: float = 0.0
    """From the complete answer to the snapshot in its place, and all visits looked at again."""
    pull_s: float = 0.0
    build_s: float = 0.0
    visits: int = 0
    idle_taps_s: list[float] = field(default_factory=list)
    taps_s: list[float] = field(default_factory=list)


class _Door:
    """A door that is only told to open."""

    def open(self, _release_s: float) -> bool:
        return True

    def exit(self) -> bool:
        return True


class Subject:
    """The appliance, open on a state directory."""

    def __init__(self, state: Path, key: bytes, customers: int) -> None:
        self._state = state
        self._clock = SystemClock()
        self._thread: DatabaseThread[Store] = DatabaseThread(self._end)
        self._keeper = Bookkeeper(self._thread, self._stamp)
        doors = {world.door_id(0): cast("DoorRunner", _Door())}
        afterwards = Afterwards(self._keeper, 100)
        self._line = Line(self._keeper, afterwards, doors, self._clock, key, lambda _: None)
        self._place = Place(
            reader="reader", door=world.door_id(0), direction=Direction.ENTRY, release_s=1.0
        )
        self._taps = Taps(customers)
        self._built_from_s = 0.0
        self.measured = Measured()
        self._feed = Feed(self._keeper, self._thread, state, self._clock.now, build=self._build)

    async def run(self, url: str, idle_taps: int) -> Measured:
        """Tap while nothing else happens, then while a snapshot is taken."""
        await self._keeper.open(lambda: Store.open(self._state, rebuild=rebuild))
        await self._feed.start()
        await self._tap(WARM_TAPS, [])
        await self._tap(idle_taps, self.measured.idle_taps_s)
        self.measured.idle_mib = _memory_mib("VmRSS")
        _forget_peak()
        tapping = asyncio.create_task(self._tap(None, self.measured.taps_s))
        await self._take_snapshot(url)
        tapping.cancel()
        with suppress(asyncio.CancelledError):
            await tapping
        self.measured.peak_mib = _memory_mib("VmHWM")
        self.measured.visits = len(await self._keeper.do(lambda books: books.sessions()))
        await self._thread.close()
        return self.measured

    async def _take_snapshot(self, url: str) -> None:
        self._feed.wants_snapshot = True
        begun_s = time.monotonic()
        async with CloudClient(url) as client:
            await self._feed.pull(client)
        ended_s = time.monotonic()
        self.measured.pull_s = ended_s - begun_s
        self.measured.apply_s = ended_s - self._built_from_s

    async def _build(self, task: Task) -> Built:
        self._built_from_s = time.monotonic()
        built = await build_beside(task)
        self.measured.build_s = time.monotonic() - self._built_from_s
        self.measured.builder_mib = built.peak_kib / 1024
        return built

    async def _tap(self, count: int | None, seen: list[float]) -> None:
        for number, (code, _) in enumerate(self._taps):
            if number == count:
                return
            begun_ns = time.monotonic_ns()
            scan = Scan(kind=CredentialKind.QR_STATIC, number=code.encode(), read_ns=begun_ns)
            await self._line.scan(self._place, scan, lambda _: None)
            seen.append((time.monotonic_ns() - begun_ns) / 1e9)
            await asyncio.sleep(PAUSE_S)

    @staticmethod
    def _stamp() -> Stamp:
        return Stamp(
            source="edgegate/bench/fed",
            clock=ClockTrust.TRUSTED,
            boot_id="bench",
            monotonic_s=time.monotonic(),
        )

    @staticmethod
    def _end(fault: BaseException) -> None:
        raise SystemExit(f"the database thread failed: {fault!r}")


def _forget_peak() -> None:
    """Let VmHWM begin anew (proc_pid_clear_refs(5))."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def _memory_mib(name: str) -> float:
    """A line of proc_pid_status(5) in MiB."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    found = re.search(rf"{name}:\s+(\d+) kB", status)
    return int(found[1]) / 1024 if found else 0.0


def main() -> None:
    """Run with: state directory, site key (hexadecimal), customers, address of the cloud, taps."""
    state, key, customers, url, taps = sys.argv[1:]
    subject = Subject(Path(state), bytes.fromhex(key), int(customers))
    measured: dict[str, Any] = asdict(asyncio.run(subject.run(url, int(taps))))
    print(json.dumps(measured))


if __name__ == "__main__":
    main()
