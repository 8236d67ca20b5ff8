"""The daemon's devices: pulled again and again, as many as it takes, and talking nonsense."""

from functools import partial
from pathlib import Path

import pytest

from edgegate_emulators.board import Board
from fakes.daemon import Daemon
from fakes.robustness import (
    IMPATIENT,
    WAIT_S,
    Place,
    killed_at_the_end,
    leave_by_button,
    tap,
    until,
    wait_started,
)
from fakes.sites import Site

DOORS_MAX = 64
"""As many doors, and twice as many readers, as a configuration may have."""


def held(pid: int) -> tuple[int, int]:
    """How many descriptors and threads a process has."""
    process = Path("/proc") / str(pid)
    return len(list((process / "fd").iterdir())), len(list((process / "task").iterdir()))


def test_thirty_pulled_cables_of_each_device_leak_nothing_and_all_comes_back(place: Place) -> None:
    """Each is pulled while it matters: released, in the middle of a code, open, on fire."""
    channels = ("front-strike", "front-reader", "front-contact", "front-exit_button", "fire")
    with Board(place.site.board) as board, place.daemon(IMPATIENT) as daemon:
        for channel in channels:
            board.wait_connected(channel, WAIT_S)
        assert tap(board, "ana") == "granted"
        files, threads = held(daemon.process.pid)
        for _ in range(30):
            pull_all(board, channels)
        now_files, now_threads = held(daemon.process.pid)
        # Some are just being opened; a leak would be thirty of a kind.
        assert now_files < files + 10
        assert now_threads < threads + 10
        board.wait_level("front-strike", False, WAIT_S)
        assert tap(board, "bob") == "granted"
        board.wait_level("front-strike", True, WAIT_S)
        board.wait_level("front-strike", False, WAIT_S)
        leave_by_button(board)
        assert daemon.terminate() == 0
    assert board.level("front-strike") is False


def pull_all(board: Board, channels: tuple[str, ...]) -> None:
    board.set_sensor("fire", True)
    board.set_sensor("front-contact", True)
    board.wait_level("front-strike", True, WAIT_S)
    board.scan("front-reader", "qr_static", "61")
    clients = {channel: board._channels[channel].client for channel in channels}
    for channel in channels:
        board.cut(channel)
    for channel, client in clients.items():
        # The one that was cut is still there until the board's thread has seen its end.
        until(partial(reconnected, board, channel, client), f"{channel} does not come back")
    board.wait_level("front-strike", True, WAIT_S)
    board.set_sensor("front-contact", False)
    board.set_sensor("fire", False)
    board.wait_level("front-strike", False, WAIT_S)


def reconnected(board: Board, channel: str, before: object) -> bool:
    """Whether a channel has another client than before."""
    return board._channels[channel].client not in (None, before)


def test_as_many_doors_and_readers_as_the_configuration_allows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgegate_emulators.board.CLIENTS_MAX", 1000)
    site = Site(tmp_path, tuple(f"d{number}" for number in range(DOORS_MAX)))
    config = site.write_config()
    with config.open("a") as file:
        for door in site.doors:
            file.write(
                f'[[reader]]\nname = "out-{door}"\ndoor = "{door}"\ndirection = "exit"\n'
                f'driver = "virtual"\nsocket = "{site.board}"\nchannel = "{door}-out"\n'
            )
    with Board(site.board) as board, killed_at_the_end(Daemon(config)) as daemon:
        wait_started(daemon)
        for door in site.doors:
            for part in ("strike", "contact", "exit_button", "reader", "out"):
                board.wait_connected(f"{door}-{part}", WAIT_S)
        assert daemon.terminate() == 0, "\n".join(daemon.log)[-300:]


def test_words_that_no_reader_says_are_passed_over(place: Place) -> None:
    with Board(place.site.board) as board, place.daemon() as daemon:
        board.wait_connected("front-reader", WAIT_S)
        send = partial(board.scan, "front-reader")
        for kind, number in (("qr_static", "zz"), ("gold", "61"), ("", ""), ("é", "61")):
            send(kind, number)
        assert tap(board, "ana") == "granted"
        assert daemon.terminate() == 0
