"""The emulated door board, and the driver that speaks to it."""

import asyncio
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edgegate.passes.model import CredentialKind
from edgegate.ports import DeviceAbsentError, DeviceFaultError, Signal
from edgegate_drivers import virtual
from edgegate_emulators.board import (
    CLIENTS_MAX,
    LINE_BYTES_MAX,
    Board,
    CallbackFailedError,
)

TIMEOUT_S = 30.0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "board"


@pytest.fixture
def board(path: Path) -> Iterator[Board]:
    with Board(path) as board:
        yield board


def connect(board: Board) -> socket.socket:
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(TIMEOUT_S)
    try:
        client.connect(str(board.path))
    except OSError:
        client.close()
        raise
    return client


def strike_settings(board: Board) -> virtual.StrikeSettings:
    return virtual.StrikeSettings(socket=str(board.path), channel="front")


def reader_settings(board: Board) -> virtual.ReaderSettings:
    return virtual.ReaderSettings(socket=str(board.path), channel="desk")


async def test_a_strike_is_in_the_history_with_the_instant_it_came(board: Board) -> None:
    async with virtual.open_strike(strike_settings(board)) as strike:
        before_ns = time.monotonic_ns()
        strike.release(9)
        board.wait_level("front", True, TIMEOUT_S)
        strike.lock()
        board.wait_level("front", False, TIMEOUT_S)
    (on_ns, on), (off_ns, off) = board.history("front")
    assert (on, off) == (True, False)
    assert before_ns <= on_ns <= off_ns <= time.monotonic_ns()


async def test_a_callback_has_returned_before_anybody_sees_the_change(board: Board) -> None:
    seen: list[tuple[bool, bool, int]] = []

    def look(at_ns: int, level: bool) -> None:
        time.sleep(0.05)
        seen.append((level, board.level("front"), at_ns))

    board.on_change("front", look)
    async with virtual.open_strike(strike_settings(board)) as strike:
        strike.release(9)
        board.wait_level("front", True, TIMEOUT_S)
        assert seen == [(True, False, board.history("front")[0][0])]


async def test_a_callback_that_fails_reaches_who_waits(board: Board) -> None:
    def fail(_at_ns: int, _level: bool) -> None:
        raise AssertionError("no entry in the ledger")

    board.on_change("front", fail)
    async with virtual.open_strike(strike_settings(board)) as strike:
        strike.release(9)
        with pytest.raises(CallbackFailedError) as caught:
            board.wait_level("front", True, TIMEOUT_S)
    assert "no entry" in str(caught.value.__cause__)


def test_waiting_has_an_end(board: Board) -> None:
    with pytest.raises(TimeoutError, match="front True"):
        board.wait_level("front", True, 0.01)


@pytest.mark.parametrize(("lost_level", "level"), [("pull", False), ("keep", True)])
def test_a_killed_holder_leaves_what_the_wiring_says(
    path: Path, lost_level: str, level: bool
) -> None:
    program = (
        "import socket, sys, time; s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]);"
        "s.send(b'strike front\\n1\\n'); time.sleep(60)"
    )
    with Board(path, lost_level="pull" if lost_level == "pull" else "keep") as board:
        holder = subprocess.Popen([sys.executable, "-c", program, str(path)])
        board.wait_level("front", True, TIMEOUT_S)
        holder.kill()
        holder.wait()
        board.wait_connected("front", TIMEOUT_S, connected=False)
        assert board.level("front") is level


async def test_who_opens_a_strike_next_locks_what_a_killed_one_left(path: Path) -> None:
    with Board(path, lost_level="keep") as board:
        with connect(board) as dead:
            dead.send(b"strike front\n1\n")
            board.wait_level("front", True, TIMEOUT_S)
        async with virtual.open_strike(strike_settings(board)):
            board.wait_level("front", False, TIMEOUT_S)


async def test_the_newest_client_of_a_channel_counts(board: Board) -> None:
    with connect(board) as old, connect(board) as new:
        old.send(b"strike front\n")
        board.wait_connected("front", TIMEOUT_S)
        new.send(b"strike front\n1\n")
        board.wait_level("front", True, TIMEOUT_S)
        assert old.recv(1) == b""
        # The end of the old one does not pull the line of the new one.
        new.send(b"0\n1\n")
        with connect(board) as other:
            other.send(b"sensor other\n")
            assert other.recv(9) == b"0\n"
        board.wait_level("front", True, TIMEOUT_S)
    assert board.bad_lines == 0


@pytest.mark.parametrize(
    "line",
    [
        b"hello\n",
        b"strike\n",
        b"strike two words\n",
        b"camera front\n",
        b"strike front\n2\n",
        b"strike front\n\n",
        b"sensor front\n1\n",
        b"reader front\nopen\n",
        b"\xff\xfe\x00\n",
        b"x" * (LINE_BYTES_MAX + 1),
    ],
)
def test_a_bad_line_is_counted_and_its_client_cut(board: Board, line: bytes) -> None:
    with connect(board) as client:
        client.send(line)
        received = client.recv(100)
        assert received in (b"", b"0\n")
        if received:
            assert client.recv(100) == b""
    assert board.bad_lines == 1
    assert board._thread.is_alive()
    with connect(board) as next_client:
        next_client.send(b"sensor window\n")
        assert next_client.recv(9) == b"0\n"


def test_more_clients_than_there_may_be_are_cut(board: Board) -> None:
    clients = [connect(board) for _ in range(CLIENTS_MAX)]
    with connect(board) as extra:
        assert extra.recv(1) == b""
    for client in clients:
        client.close()


async def test_a_scan_comes_out_of_the_reader_and_its_answer_comes_back(board: Board) -> None:
    async with virtual.open_reader(reader_settings(board)) as reader:
        board.wait_connected("desk", TIMEOUT_S)
        before_ns = time.monotonic_ns()
        assert board.scan("desk", "nfc_uid", "04A2B3C4D5E6F7")
        assert board.scan("desk", "qr_static", b"SPACE-17".hex())
        scans = reader.scans()
        async with asyncio.timeout(TIMEOUT_S):
            first, second = await anext(scans), await anext(scans)
        assert (first.kind, first.number.hex()) == (CredentialKind.NFC_UID, "04a2b3c4d5e6f7")
        assert (second.kind, second.number) == (CredentialKind.QR_STATIC, b"SPACE-17")
        assert before_ns <= first.read_ns <= second.read_ns <= time.monotonic_ns()
        reader.show(Signal.GRANTED)
        reader.show(Signal.REFUSED)
        board.wait_signals("desk", 2, TIMEOUT_S)
    assert [word for _, word in board.signals("desk")] == ["granted", "refused"]


async def test_bad_scans_are_counted_and_the_next_one_is_read(board: Board) -> None:
    async with virtual.open_reader(reader_settings(board)) as reader:
        board.wait_connected("desk", TIMEOUT_S)
        for kind, digits in (("card", "04"), ("nfc_uid", "0"), ("nfc_uid", "XY"), ("", "")):
            assert board.scan("desk", kind, digits)
        board.scan("desk", "nfc_uid", "0102")
        async with asyncio.timeout(TIMEOUT_S):
            assert (await anext(aiter(reader.scans()))).number == b"\x01\x02"
        assert reader.bad_lines == 4


async def test_more_scans_than_may_wait_are_dropped(board: Board) -> None:
    async with virtual.open_reader(reader_settings(board)) as reader:
        for number in range(virtual.SCANS_MAX + 5):
            reader.take_line(f"nfc_uid {number:04x}")
        assert reader.scans_dropped == 5
        assert (await anext(aiter(reader.scans()))).number == b"\x00\x00"


async def test_a_reader_that_is_cut_says_so_and_shows_nothing_more(board: Board) -> None:
    async with virtual.open_reader(reader_settings(board)) as reader:
        board.wait_connected("desk", TIMEOUT_S)
        board.scan("desk", "nfc_uid", "0102")
        board.cut("desk")
        async with asyncio.timeout(TIMEOUT_S):
            scans = reader.scans()
            assert (await anext(scans)).number == b"\x01\x02"
            with pytest.raises(DeviceAbsentError, match="reader desk went away"):
                await anext(scans)
        reader.show(Signal.GRANTED)
        assert reader.signals_dropped == 1
    assert not board.scan("desk", "nfc_uid", "0102")


@pytest.fixture
def deaf(path: Path) -> Iterator[socket.socket]:
    """A board that lets clients connect, and does nothing."""
    with socket.socket(socket.AF_UNIX) as deaf:
        deaf.bind(str(path))
        deaf.listen()
        yield deaf


async def test_a_line_without_end_ends_the_connection(deaf: socket.socket, path: Path) -> None:
    settings = virtual.ReaderSettings(socket=str(path), channel="desk")
    async with virtual.open_reader(settings) as reader:
        connection, _ = deaf.accept()
        with connection:
            connection.sendall(b"9" * (virtual.LINE_BYTES_MAX + 1))
            with pytest.raises(DeviceAbsentError):
                await asyncio.wait_for(anext(aiter(reader.scans())), TIMEOUT_S)


@pytest.mark.usefixtures("deaf")
async def test_a_sensor_whose_board_is_dumb_is_a_fault(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(virtual, "LEVEL_TIMEOUT_S", 0.02)
    settings = virtual.SensorSettings(socket=str(path), channel="contact")
    with pytest.raises(DeviceFaultError, match="does not tell its level"):
        async with virtual.open_sensor(settings):
            pass


async def test_without_a_board_every_part_is_absent(path: Path) -> None:
    where: dict[str, Any] = {"socket": str(path), "channel": "front"}
    with pytest.raises(DeviceAbsentError, match="board"):
        async with virtual.open_strike(virtual.StrikeSettings(**where)):
            pass
    with pytest.raises(DeviceAbsentError, match="board"):
        async with virtual.open_sensor(virtual.SensorSettings(**where)):
            pass
    with pytest.raises(DeviceAbsentError, match="board"):
        async with virtual.open_reader(virtual.ReaderSettings(**where)):
            pass


@pytest.mark.usefixtures("deaf")
async def test_a_board_that_does_not_read_is_a_fault_and_blocks_nobody(path: Path) -> None:
    def release_on_and_on() -> None:
        for _ in range(10_000_000):
            strike.release(9)

    settings = virtual.StrikeSettings(socket=str(path), channel="front")
    async with virtual.open_strike(settings) as strike:
        with pytest.raises(DeviceFaultError, match="does not take"):
            release_on_and_on()


async def test_the_contact_follows_the_strike_where_it_is_told_to(path: Path) -> None:
    with Board(path, auto_contact={"front": "contact"}) as board:
        settings = virtual.SensorSettings(socket=str(path), channel="contact")
        async with (
            virtual.open_sensor(settings) as contact,
            virtual.open_strike(strike_settings(board)) as strike,
        ):
            edges = contact.edges()
            strike.release(9)
            assert (await asyncio.wait_for(anext(edges), TIMEOUT_S)).active
            strike.lock()
            assert not (await asyncio.wait_for(anext(edges), TIMEOUT_S)).active


async def test_a_board_replaces_what_a_dead_one_left_and_can_come_back(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    for _ in range(2):
        with Board(path) as board:
            async with virtual.open_strike(strike_settings(board)) as strike:
                strike.release(9)
                board.wait_level("front", True, TIMEOUT_S)
                board.close()
                with pytest.raises(DeviceAbsentError):
                    strike.release(1)
        with pytest.raises(FileNotFoundError):
            connect(board)


async def test_thirty_unplugs_leak_nothing(board: Board) -> None:
    async def once() -> None:
        async with (
            virtual.open_strike(strike_settings(board)) as strike,
            virtual.open_reader(reader_settings(board)) as reader,
        ):
            board.wait_connected("front", TIMEOUT_S)
            board.wait_connected("desk", TIMEOUT_S)
            board.cut("front")
            board.cut("desk")
            async with asyncio.timeout(TIMEOUT_S):
                with pytest.raises(DeviceAbsentError):
                    await anext(aiter(reader.scans()))
            board.wait_connected("front", TIMEOUT_S, connected=False)
            with pytest.raises(DeviceAbsentError):
                strike.release(1)

    def held() -> tuple[int, int]:
        return len(os.listdir("/proc/self/fd")), threading.active_count()  # noqa: PTH208 - a count

    await once()
    before = held()
    for _ in range(30):
        await once()
    # The board and the relock threads end in their own time.
    async with asyncio.timeout(TIMEOUT_S):
        while any(now > then for now, then in zip(held(), before, strict=True)):  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.01)
