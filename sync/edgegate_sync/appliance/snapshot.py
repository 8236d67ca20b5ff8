"""Builds `cache.next.db` out of a kept answer of the feed: a process of its own, run by `builder`.

In a thread it would share one interpreter with the line: measured so, the 99th percentile of taps
meanwhile went from 14 ms to 30 ms, while beside this process, at its low priority, it stays as it
is. It ends with the process that started it, however that one ends.
"""

import gc
import io
import os
import select
import sqlite3
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from edgegate.store import cache
from edgegate.store.connections import connect_read_only
from edgegate.store.next_cache import NextCache
from edgegate_sync.appliance.apply import (
    Unreadable,
    Writer,
    note_reader,
    step_of_line,
)
from edgegate_sync.appliance.errors import SpoolFullError, TruncatedError
from edgegate_sync.appliance.lines import blocks_of
from edgegate_sync.appliance.ownwords import own_words
from edgegate_sync.wire.changes import Trailer

NICENESS = 10
"""How far it stands back behind the doors (nice(2))."""

FLUSH_LINES = 16_384
"""So many lines are read between two flushes of what they became."""

GROWTH = 1.3
"""The next cache is so much larger than what it is made of (measured: 1.2)."""

PACKED_SHARE = 6
"""A packed answer is about so much longer when unpacked (measured: 7 to 12)."""

_GOES_ON = "the feed goes on after it was complete"


class Task(Struct, frozen=True, kw_only=True):
    """What to build, and of what."""

    state: str
    spool: str
    is_gzip: bool
    bytes_max: int
    disk_free_bytes_min: int


class Built(Struct, frozen=True, kw_only=True):
    """What came of it; `error` is None where the next cache waits to be taken."""

    head: int = 0
    changes: int = 0
    peak_kib: int = 0
    """The most memory that the process had (VmHWM of proc_pid_status(5)), where that is told."""
    error: str | None = None
    truncated: bool = False
    """Whether it is the answer that is at fault, and not this device's disk."""


def build(task: Task) -> Built:
    """Build the next cache; it is there afterwards only if the answer was complete."""
    state = Path(task.state)
    try:
        packed = PACKED_SHARE if task.is_gzip else 1
        _demand_room(task, int(Path(task.spool).stat().st_size * packed * GROWTH))
        with closing(NextCache(state)) as following, _standing(state) as standing:
            spool = Path(task.spool).open("rb")  # noqa: SIM115 - `blocks_of` closes it
            blocks = blocks_of(spool, task.is_gzip, task.bytes_max)
            writer = Writer(following.connection, standing=standing)
            built = _fill(following, _Filling(writer), blocks, task)
            writer.flush()
            cache.set_head(following.connection, built.head)
            note_reader(following.connection)
            cache.note_unjudged(following.connection)
            following.finish()
    except TruncatedError as error:
        return Built(error=str(error), truncated=True)
    except (OSError, sqlite3.Error, SpoolFullError) as error:
        return Built(error=f"the snapshot cannot be built: {error}")
    return built


def _fill(following: NextCache, filling: "_Filling", blocks: Iterator[bytes], task: Task) -> Built:
    """Write what the lines say, up to the trailer that says that they are all."""
    flushed = 0
    for block in blocks:
        trailer = filling.take(block)
        if trailer is not None:
            if next(blocks, None) is not None:
                raise TruncatedError(_GOES_ON)
            return Built(head=trailer.head, changes=filling.changes)
        if filling.changes - flushed >= FLUSH_LINES:
            flushed = filling.changes
            following.flush()
            _demand_room(task, 0)
    raise TruncatedError("the feed ended before it was complete")


class _Filling:
    """Carries the lines of a snapshot into its cache, a block of own words at once."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._after = 0
        self.changes = 0

    def take(self, block: bytes) -> Trailer | None:
        """Write what some whole lines say; the trailer, if that is the last of them."""
        own = own_words(block)
        if own is None:
            return self._take_each(io.BytesIO(block))
        for seq in own.seqs:
            self._follow(seq)
        self._writer.put_own(own.rows)
        self.changes += len(own.seqs)
        return None

    def _take_each(self, lines: Iterator[bytes]) -> Trailer | None:
        for line in lines:
            step = step_of_line(line, self._after)
            if isinstance(step, Trailer):
                if next(lines, None) is not None:
                    raise TruncatedError(_GOES_ON)
                return step
            if not isinstance(step, Unreadable):
                self._follow(step.seq)
            self._writer.write(step)
            self.changes += 1
        return None

    def _follow(self, seq: int) -> None:
        if seq < self._after:
            raise TruncatedError(f"change {seq} comes after {self._after}")
        self._after = seq


def _demand_room(task: Task, due_bytes: int) -> None:
    """Leave the ledger its room, when so much more is written."""
    # Not shutil.disk_usage(), whose module brings a megabyte of archive formats along.
    disk = os.statvfs(task.state)
    free = disk.f_frsize * disk.f_bavail
    if free < task.disk_free_bytes_min + due_bytes:
        raise SpoolFullError(f"the disk has {free} bytes left, too few for {due_bytes} more")


@contextmanager
def _standing(state: Path) -> Iterator[sqlite3.Connection]:
    """The cache in use, to be read; an empty one where it cannot be opened."""
    try:
        connection = connect_read_only(state / "cache.db")
    except sqlite3.Error:
        connection = sqlite3.connect(":memory:")
    with closing(connection):
        yield connection


def _end_with_parent() -> None:
    """End at once when the other end of the standard input is gone: nobody waits for this."""
    # Not by `sys.stdin`, whose lock the end of the interpreter would wait for.
    while os.read(0, 64):
        pass
    os._exit(1)


def main() -> None:
    """Build what the one argument says, and tell on the standard output what came of it."""
    if select.select([0], [], [], 0)[0]:
        # Nothing is ever said there: its other end is gone already.
        return
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with suppress(OSError):
        os.nice(NICENESS)
    # Rows come and go by the hundred thousand, none in a cycle: there is nothing to collect.
    gc.disable()
    task = msgspec.json.decode(sys.argv[1], type=Task)
    # SQLite sorts indexes in files there (sqlite.org/tempfiles.html); /tmp may lie in memory.
    os.environ["SQLITE_TMPDIR"] = task.state
    built = build(task)
    sys.stdout.buffer.write(msgspec.json.encode(replace(built, peak_kib=_peak_kib())))


def _peak_kib() -> int:
    # Not getrusage(2): what that tells begins with the memory of the process that started this one.
    with suppress(OSError), Path("/proc/self/status").open(encoding="ascii") as status:
        for line in status:
            if line.startswith("VmHWM:"):
                return int(line.split()[1])
    return 0


if __name__ == "__main__":
    main()
