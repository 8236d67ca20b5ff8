"""The daemon told to stop, killed, or ended by a fault of its own; what systemd hears of it."""

import signal
import subprocess
import sys

import pytest

from edgegate.store.ledger import EntryType
from edgegate_emulators.board import Board
from fakes.robustness import (
    IMPATIENT,
    WAIT_S,
    Hold,
    Manager,
    Place,
    killed_at_the_end,
    leave_by_button,
    show_code,
)

BROKEN_DOOR = """
from edgegate.doors import machine
def broken(self, state, settings):
    raise KeyError("a door's fault")
machine.Grant.apply = broken
"""

BROKEN_THREAD = """
from edgegate import line
from edgegate.store import worker
run_group = worker.Worker._run_group
def broken(self, store):
    closures = [getattr(job.work, "__closure__", None) for job in self._waiting._queues[0]]
    jobs = [cell.cell_contents for cells in closures for cell in cells or ()]
    if any(getattr(job, "func", None) is line._entered for job in jobs):
        raise MemoryError("the thread's fault")
    return run_group(self, store)
worker.Worker._run_group = broken
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_told_to_stop_during_a_tap_it_locks_records_and_ends_well(
    number: signal.Signals, place: Place, manager: Manager
) -> None:
    """Twice, with a tap on the database thread and somebody on their way out."""
    decision = Hold(place.site.directory, "edgegate.line", "_entered")
    with (
        Board(place.site.board, lost_level="keep") as board,
        place.daemon(decision.injected, NOTIFY_SOCKET=str(manager.path)) as daemon,
    ):
        board.wait_connected("front-reader", WAIT_S)
        show_code(board, "ana")
        decision.wait_begun()
        leave_by_button(board, "back")
        daemon.process.send_signal(number)
        daemon.process.send_signal(number)
        manager.hear("STOPPING=1")
        decision.let_go()
        assert daemon.process.wait(WAIT_S) == 0, "\n".join(daemon.log)
        for door in ("front", "back"):
            board.wait_level(f"{door}-strike", False, WAIT_S)
        assert board.history("front-strike") == [], "who was decided too late stays outside"
    assert len(place.entries(EntryType.DOOR_EXIT)) == 1
    place.verify()


@pytest.mark.parametrize("broken", [BROKEN_DOOR, BROKEN_THREAD], ids=["door", "thread"])
def test_a_fault_that_must_not_be_lived_with_ends_the_process_with_doors_locked(
    broken: str, place: Place
) -> None:
    """Even where a line stays as its holder left it; systemd starts the daemon again."""
    with (
        Board(place.site.board, lost_level="keep") as board,
        killed_at_the_end(place.daemon(broken)) as daemon,
    ):
        daemon.wait_ready()
        board.wait_connected("front-reader", WAIT_S)
        leave_by_button(board, "back")
        assert board.level("back-strike")
        show_code(board, "ana")
        assert daemon.process.wait(WAIT_S) == 1
        assert any("fault" in line for line in daemon.log.copy()), "it ends without a word"
        for door in place.site.doors:
            board.wait_level(f"{door}-strike", False, WAIT_S)


def test_after_a_kill_in_mid_release_lock_all_locks_what_the_kernel_kept(place: Place) -> None:
    with Board(place.site.board, lost_level="keep") as board, place.daemon() as daemon:
        board.wait_connected("fire", WAIT_S)
        board.set_sensor("fire", True)
        for door in place.site.doors:
            board.wait_level(f"{door}-strike", True, WAIT_S)
        daemon.kill()
        assert board.level("front-strike"), "the line stays as its holder left it"
        command = [sys.executable, "-m", "edgegate", "door", "lock-all", "-c", str(place.config)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        for door in place.site.doors:
            board.wait_level(f"{door}-strike", False, WAIT_S)


def test_the_manager_hears_of_ready_life_and_end(place: Place, manager: Manager) -> None:
    with (
        Board(place.site.board),
        killed_at_the_end(place.daemon(IMPATIENT, NOTIFY_SOCKET=str(manager.path))) as daemon,
    ):
        manager.hear("READY=1")
        manager.hear("WATCHDOG=1")
        manager.hear("WATCHDOG=1")
        assert daemon.terminate() == 0
        manager.hear("STOPPING=1")
