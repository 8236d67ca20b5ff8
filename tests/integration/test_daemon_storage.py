"""The daemon with its storage taken away, damaged, full, in use or being salvaged."""

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from edgegate import checkin
from edgegate.passes.model import Customer, Pass, Unit
from edgegate.ports import ClockTrust
from edgegate.store.books import Books
from edgegate.store.files import Store
from edgegate.store.ledger import EntryType, Stamp
from edgegate.store.projection import rebuild
from edgegate_emulators.board import Board
from fakes.robustness import (
    IMPATIENT,
    Hold,
    Manager,
    Place,
    killed_at_the_end,
    leave_by_button,
    no_directory,
    overwrite,
    tap,
    until,
    wait_logged,
    wait_started,
)
from fakes.sites import Site

NO_ROOM = """
import errno, os
from pathlib import Path
from edgegate.store.files import Store
def needs_room(function):
    def full(*args):
        if Path({flag!r}).exists():
            raise OSError(errno.ENOSPC, "No space left on device")
        return function(*args)
    return full
os.pwrite = needs_room(os.pwrite)
Store._open_files = needs_room(Store._open_files)
"""
"""Neither the lock's own number nor the databases can be written."""


@contextmanager
def newer_ledger(site: Site) -> Iterator[None]:
    file = site.state / "ledger.db"
    with closing(sqlite3.connect(file)) as connection:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        connection.execute("PRAGMA user_version = 9999")
    yield
    with closing(sqlite3.connect(file)) as connection:
        connection.execute(f"PRAGMA user_version = {version}")


@pytest.mark.parametrize("taken_away", [no_directory, newer_ledger])
def test_a_store_that_cannot_be_opened_locks_nobody_in_and_is_opened_when_it_can(
    taken_away: Callable[[Site], AbstractContextManager[None]], place: Place
) -> None:
    with Board(place.site.board) as board, ExitStack() as stack:
        with taken_away(place.site):
            daemon = stack.enter_context(killed_at_the_end(place.daemon(IMPATIENT)))
            wait_logged(daemon, "could not be opened")
            leave_by_button(board)
            assert tap(board, "ana") == "refused"
        daemon.wait_ready()
        assert tap(board, "ana") == "granted"
        assert daemon.terminate() == 0
    assert len(place.entries(EntryType.DOOR_EXIT)) == 1, "leaving was recorded afterwards"
    place.verify()


def test_with_no_storage_the_manager_still_hears_of_ready_and_life(
    place: Place, manager: Manager
) -> None:
    with (
        Board(place.site.board),
        no_directory(place.site),
        killed_at_the_end(place.daemon(IMPATIENT, NOTIFY_SOCKET=str(manager.path))) as daemon,
    ):
        words = {manager.next_word() for _ in range(4)}
        assert words == {"READY=1", "WATCHDOG=1"}
        assert daemon.terminate() == 0


def test_a_disk_full_at_the_start_is_waited_out(place: Place) -> None:
    """The first try must not keep the second from the directory."""
    flag = place.site.directory / "full"
    flag.touch()
    injected = IMPATIENT + NO_ROOM.format(flag=str(flag))
    with (
        Board(place.site.board) as board,
        killed_at_the_end(place.daemon(injected)) as daemon,
    ):
        leave_by_button(board)
        wait_logged(daemon, "could not be opened", times=2)
        flag.unlink()
        wait_started(daemon)
        assert tap(board, "ana") == "granted"
        assert daemon.terminate() == 0
    assert len(place.entries(EntryType.DOOR_EXIT)) == 1


@pytest.mark.parametrize("content", [b"", b"no database" * 1000, None], ids=["zero", "text", "cut"])
def test_a_damaged_ledger_at_the_start_is_set_aside_and_people_enter(
    content: bytes | None, place: Place
) -> None:
    file = place.site.state / "ledger.db"
    if content is None:
        os.truncate(file, file.stat().st_size // 2 + 100)
    else:
        file.write_bytes(content)
    with Board(place.site.board) as board, place.daemon() as daemon:
        assert tap(board, "ana") == "granted"
        assert daemon.terminate() == 0
    assert list(place.site.state.glob("ledger.db.corrupt-*"))
    place.verify()


@pytest.mark.parametrize(
    ("name", "statement"),
    [
        ("ledger.db", "UPDATE retention SET until = until"),
        ("cache.db", "INSERT OR REPLACE INTO meta VALUES ('test', 1)"),
    ],
)
def test_a_file_overwritten_under_the_running_daemon_is_replaced_by_it(
    name: str, statement: str, place: Place
) -> None:
    """Whoever taps meanwhile is refused; the process lives, lets people out, and repairs."""
    with Board(place.site.board) as board, place.daemon() as daemon:
        assert tap(board, "ana") == "granted"
        overwrite(place.site.state / name, statement)
        assert tap(board, "ana") == "refused"
        leave_by_button(board)
        aside = place.site.state.glob
        until(lambda: bool(list(aside(f"{name}.corrupt-*"))), "nothing was set aside")
        until(lambda: tap(board, "stranger") == "refused", "it does not answer")
        assert daemon.terminate() == 0
    reasons = {entry["reason"] for entry in place.entries(EntryType.ACCESS_DENIED)}
    assert reasons <= {"unknown_credential", "lease_expired"}, "the store works again"
    assert reasons, "the store does not record again"
    place.verify()


def test_ready_and_life_are_told_before_a_ledger_is_salvaged_at_the_start(
    place: Place, manager: Manager
) -> None:
    """A salvage may last longer than systemd waits for READY before it kills."""
    (place.site.state / "ledger.db").write_bytes(b"no database" * 1000)
    salvage = Hold(place.site.directory, "edgegate.store.ledger_file", "_salvage")
    daemon = place.daemon(IMPATIENT + salvage.injected, NOTIFY_SOCKET=str(manager.path))
    with Board(place.site.board) as board, killed_at_the_end(daemon):
        manager.hear("READY=1")
        salvage.wait_begun()
        manager.forget()
        manager.hear("WATCHDOG=1")
        salvage.let_go()
        wait_started(daemon)
        assert tap(board, "ana") == "granted"


def test_life_is_told_while_a_ledger_is_salvaged_in_the_running_daemon(
    place: Place, manager: Manager
) -> None:
    salvage = Hold(place.site.directory, "edgegate.store.ledger_file", "_salvage")
    daemon = place.daemon(IMPATIENT + salvage.injected, NOTIFY_SOCKET=str(manager.path))
    with Board(place.site.board) as board, killed_at_the_end(daemon):
        daemon.wait_ready()
        assert tap(board, "ana") == "granted"
        overwrite(place.site.state / "ledger.db", "UPDATE retention SET until = until")
        assert tap(board, "ana") == "refused"
        salvage.wait_begun()
        manager.forget()
        words = [manager.next_word() for _ in range(2)]
        assert words == ["WATCHDOG=1"] * 2


def test_a_ledger_that_lost_the_end_of_a_visit_is_salvaged(tmp_path: Path) -> None:
    """The next visit then begins while the first is still open, as far as the ledger says."""
    site = Site(tmp_path)
    code = site.code_of("ana", "ana")
    site.put(Customer(id="ana"), Pass(id="p", holder="ana", unit=Unit.UNLIMITED), code)
    stamp = Stamp(source="e/s/pi", clock=ClockTrust.TRUSTED, boot_id="b", monotonic_s=1.0)
    with closing(Store.open(site.state, rebuild)) as store:
        books = Books(store, lambda: stamp)
        at = datetime(2026, 3, 2, 9, tzinfo=UTC)
        store.ledger.execute("BEGIN IMMEDIATE")
        for _ in range(2):
            checkin.present(books, "front", code.lookup, at)
            checkin.leave(books, "ana", "hq", at + timedelta(minutes=5))
            at += timedelta(minutes=10)
        store.ledger.execute("DROP TRIGGER entry_is_kept")
        deleted = store.ledger.execute(
            "DELETE FROM entry WHERE key = (SELECT min(key) FROM entry WHERE type = ?)",
            (EntryType.SESSION_CLOSED,),
        )
        assert deleted.rowcount == 1
        store.ledger.execute("COMMIT")
    # And the page that was lost makes the file corrupt.
    with (site.state / "ledger.db").open("r+b") as file:
        file.seek(30)
        file.write(b"\xa5" * 60)
    Store.open(site.state, rebuild).close()
    assert list(site.state.glob("ledger.db.corrupt-*"))


def test_a_second_daemon_waits_for_the_state_and_lets_people_out_meanwhile(
    place: Place, tmp_path: Path
) -> None:
    board_of_second = tmp_path / "board2"
    config = tmp_path / "second.toml"
    config.write_text(place.config.read_text().replace(str(place.site.board), str(board_of_second)))
    with (
        Board(place.site.board) as board,
        Board(board_of_second) as other,
        place.daemon(IMPATIENT) as first,
        killed_at_the_end(place._replace(config=config).daemon(IMPATIENT)) as second,
    ):
        wait_logged(second, f"in use by process {first.process.pid}")
        leave_by_button(other)
        assert tap(other, "ana") == "refused"
        assert tap(board, "ana") == "granted"
        assert first.terminate() == 0
        second.wait_ready()
        assert tap(other, "bob") == "granted"
        assert second.terminate() == 0
    place.verify()
