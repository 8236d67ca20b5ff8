"""More than anybody's share: a reader flooded with codes, and a log that nobody reads."""

import os
import subprocess
import sys
from functools import partial
from pathlib import Path

from edgegate.store.ledger import EntryType
from edgegate_emulators.board import Board
from fakes.robustness import IMPATIENT, WAIT_S, Place, leave_by_button, tap, until

LINES_MAX = 50
FEW_LINES_WAITING = f"""
from edgegate import logs
logs.LINES_WAITING_MAX = {LINES_MAX}
"""
PIPE_BYTES = 4096


def memory_kib(pid: int) -> int:
    """How much of a process lies in memory."""
    text = Path(f"/proc/{pid}/status").read_text()
    return int(next(line for line in text.splitlines() if line.startswith("VmRSS")).split()[1])


def test_a_flood_at_one_reader_leaves_the_other_door_served_and_memory_flat(place: Place) -> None:
    """Codes too long, binary, with zero bytes, not in UTF-8, and one of them a thousand times."""
    codes = [b"\x00", b"a\x00b", b"\xff\xfe", os.urandom(300), b"x" * 4000, "ü".encode(), b"nobody"]
    with Board(place.site.board) as board, place.daemon(IMPATIENT) as daemon:
        board.wait_connected("front-reader", WAIT_S)
        flood(board, codes, count=500)
        before = memory_kib(daemon.process.pid)
        flood(board, codes, count=2000)
        assert tap(board, "ana", "back") == "granted"
        flood(board, [b"bob"], count=1000)
        until(lambda: granted(board, "front-reader"), "Bob never got in")
        assert memory_kib(daemon.process.pid) - before < 16_384
        assert daemon.terminate() == 0
    bob = [e for e in place.entries(EntryType.PASS_DEBITED) if e["customer"] == "bob"]
    assert len(bob) == 1, "one day, one use, however often it is shown"
    place.verify()


def flood(board: Board, codes: list[bytes], count: int) -> None:
    """So many scans as fast as they are taken; one that does not fit cuts the reader."""
    for number in range(count):
        until(
            partial(board.scan, "front-reader", "qr_static", codes[number % len(codes)].hex()),
            "the reader did not come back",
        )


def granted(board: Board, reader: str) -> bool:
    return any(word == "granted" for _, word in board.signals(reader))


def test_a_log_that_nobody_reads_locks_nobody_in(place: Place) -> None:
    """As where the journal hangs on a dying disk: the pipe fills, and then the lines in wait."""
    with Board(place.site.board) as board:
        daemon = subprocess.Popen(
            [sys.executable, "-m", "edgegate", "run", "-c", str(place.config)],
            stderr=subprocess.PIPE,
            pipesize=PIPE_BYTES,
            env={**os.environ, **place.environment(FEW_LINES_WAITING)},
        )
        try:
            # Each tap is a line of the log, and none of them is shorter than fifty bytes.
            for _ in range(PIPE_BYTES // 50 + LINES_MAX + 50):
                assert tap(board, "stranger") == "refused"
            leave_by_button(board)
        finally:
            daemon.kill()
            daemon.wait()
            if daemon.stderr is not None:
                daemon.stderr.close()
