"""Faults the daemon lives with: a record nobody can read, a hung loop, a hung disk."""

import signal
import sqlite3
import time
from contextlib import closing

from edgegate.passes.model import Balance, Pass, Priority, Unit
from edgegate.store import cache
from edgegate.store.files import Store
from edgegate.store.ledger import EntryType
from edgegate_emulators.board import Board
from fakes.robustness import (
    IMPATIENT,
    SILENCE_S,
    WAIT_S,
    Hold,
    Manager,
    Place,
    assert_alive,
    killed_at_the_end,
    leave_by_button,
    show_code,
    tap,
    until,
    wait_logged,
    wait_started,
)
from fakes.sites import Site

UNKNOWN_UNIT = b'{"id": "ana-ten", "holder": "ana", "unit": "fortnight"}'

BLOCKABLE = """
import signal, time
signal.signal(signal.SIGUSR1, lambda *_: time.sleep(60))
"""
"""SIGUSR1 blocks the event loop, as a call that hangs does."""

STALE_S = 0.5
SOON_STALE = f"""
from edgegate import line
line.STALE_S = {STALE_S}
"""


def spoil(site: Site, body: bytes) -> None:
    """Write another body into the record of Ana's pass."""
    with closing(sqlite3.connect(site.state / "cache.db")) as connection:
        changed = connection.execute("UPDATE pass SET body = ? WHERE id = 'ana-ten'", (body,))
        assert changed.rowcount == 1
        connection.commit()


def put_balance(site: Site, pass_id: str, remaining: int) -> None:
    """Write what the cloud says is left of a pass; only while the daemon does not run."""
    with closing(Store.open(site.state)) as store:
        store.cache.execute("PRAGMA query_only = OFF")
        store.cache.execute("BEGIN IMMEDIATE")
        cache.put(store.cache, cache.BALANCE, Balance(pass_=pass_id, remaining=remaining))
        store.cache.execute("COMMIT")


def test_a_visitors_record_that_cannot_be_read_closes_no_door_at_the_start(place: Place) -> None:
    with Board(place.site.board) as board:
        with place.daemon() as daemon:
            assert tap(board, "ana") == "granted"
            assert daemon.terminate() == 0
        spoil(place.site, UNKNOWN_UNIT)
        with killed_at_the_end(place.daemon()) as daemon:
            wait_started(daemon)
            assert tap(board, "bob") == "granted"
            assert tap(board, "ana") == "refused"
            assert daemon.terminate() == 0
    reasons = [entry["reason"] for entry in place.entries(EntryType.ACCESS_DENIED)]
    assert "internal_error" in reasons, "its trace is on record"
    place.verify()


def test_a_balance_too_large_for_a_calendar_closes_no_door_at_the_start(place: Place) -> None:
    place.site.put(Pass(id="m", holder="ana", unit=Unit.MINUTE, amount=600, priority=Priority.HIGH))
    with Board(place.site.board) as board:
        with place.daemon() as daemon:
            assert tap(board, "ana") == "granted"
            assert daemon.terminate() == 0
        put_balance(place.site, "m", 9_999_999_999)
        with killed_at_the_end(place.daemon()) as daemon:
            wait_started(daemon)
            assert tap(board, "bob") == "granted"


def test_a_deadline_that_cannot_be_judged_closes_no_door_while_running(place: Place) -> None:
    with Board(place.site.board) as board, place.daemon(IMPATIENT) as daemon:
        assert tap(board, "ana") == "granted"
        spoil(place.site, UNKNOWN_UNIT)
        with closing(sqlite3.connect(place.site.state / "ledger.db")) as books:
            now_us = time.time_ns() // 1000
            assert books.execute("UPDATE session SET deadline = ?", (now_us,)).rowcount == 1
            books.commit()
        wait_logged(daemon, "after a fault in the rules")
        assert tap(board, "bob") == "granted"
        assert_alive(daemon)
        assert daemon.terminate() == 0
    place.verify()


def test_a_hung_event_loop_locks_the_door_and_feeds_no_watchdog(
    place: Place, manager: Manager
) -> None:
    place.site.write_config(release_s=1.5)
    daemon = place.daemon(IMPATIENT + BLOCKABLE, NOTIFY_SOCKET=str(manager.path))
    with Board(place.site.board) as board, killed_at_the_end(daemon):
        daemon.wait_ready()
        board.wait_connected("front-strike", WAIT_S)
        assert tap(board, "ana") == "granted"
        board.wait_level("front-strike", True, WAIT_S)
        daemon.process.send_signal(signal.SIGUSR1)
        board.wait_level("front-strike", False, WAIT_S)
        manager.forget()
        # A word that was said before the hang has been read by now.
        assert manager.next_word(timeout_s=SILENCE_S) is None


def test_a_hung_database_thread_feeds_no_watchdog_and_lets_people_out(
    place: Place, manager: Manager
) -> None:
    decision = Hold(place.site.directory, "edgegate.line", "_entered")
    daemon = place.daemon(IMPATIENT + decision.injected, NOTIFY_SOCKET=str(manager.path))
    with Board(place.site.board) as board, killed_at_the_end(daemon):
        daemon.wait_ready()
        manager.hear("WATCHDOG=1")
        board.wait_connected("front-reader", WAIT_S)
        show_code(board, "ana")
        decision.wait_begun()
        leave_by_button(board)
        # The tick that is under way may still be answered.
        until(lambda: manager.next_word(timeout_s=SILENCE_S) is None, "it is fed all the same")


def test_a_tap_that_waited_behind_a_stalled_disk_opens_for_nobody(place: Place) -> None:
    decision = Hold(place.site.directory, "edgegate.line", "_entered")
    daemon = place.daemon(SOON_STALE + decision.injected)
    with Board(place.site.board) as board, killed_at_the_end(daemon):
        daemon.wait_ready()
        board.wait_connected("front-reader", WAIT_S)
        show_code(board, "stranger")
        decision.wait_begun()
        show_code(board, "ana")
        time.sleep(STALE_S * 3)
        decision.let_go()
        board.wait_signals("front-reader", 2, WAIT_S)
        assert [word for _, word in board.signals("front-reader")] == ["refused"] * 2
        assert board.history("front-strike") == []
        assert tap(board, "ana") == "granted", "who taps again gets in"
