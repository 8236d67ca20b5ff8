"""The emulated serial scanner, and the pseudo-terminal under all emulated readers."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import serial

from edgegate_emulators.scanner import SerialScanner
from edgegate_emulators.tty import PtyLink, UnpluggedError

WAIT_S = 30


@pytest.fixture
def scanner(tmp_path: Path) -> Iterator[SerialScanner]:
    with SerialScanner(tmp_path / "scanner") as emulated:
        yield emulated


def descriptor_count() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def port(path: Path, baud: int = 9600) -> serial.Serial:
    return serial.Serial(str(path), baud, timeout=WAIT_S)


def test_a_scan_comes_with_its_end_and_its_time(scanner: SerialScanner) -> None:
    with port(scanner.path) as line:
        before_ns = time.monotonic_ns()
        sent_ns = scanner.scan("HELLO 1")
        assert before_ns <= sent_ns <= time.monotonic_ns()
        assert line.read(9) == b"HELLO 1\r\n"
        scanner.scan("ä", end="")
        assert line.read(2) == "ä".encode()


def test_bytes_pass_as_they_are_and_in_pieces(scanner: SerialScanner) -> None:
    every_byte = bytes(range(256))
    with port(scanner.path) as line:
        scanner.send(every_byte[:100])
        assert line.read(100) == every_byte[:100]
        scanner.send(every_byte[100:])
        assert line.read(156) == every_byte[100:]
        assert line.in_waiting == 0


def test_what_is_scanned_before_the_port_is_open_is_lost(scanner: SerialScanner) -> None:
    scanner.scan("TOO EARLY")
    with port(scanner.path) as line:
        scanner.scan("A", end="\r")
        assert line.read(2) == b"A\r"


def test_unplugged_it_hangs_up_and_scans_no_more(scanner: SerialScanner) -> None:
    with port(scanner.path) as line:
        scanner.unplug()
        assert not scanner.path.is_symlink()
        with pytest.raises(serial.SerialException):
            line.read(1)
    with pytest.raises(UnpluggedError):
        scanner.scan("A")
    scanner.unplug()


def test_unplugging_leaks_no_descriptor(scanner: SerialScanner) -> None:
    before = descriptor_count()
    for count in range(30):
        scanner.replug()
        with port(scanner.path) as line:
            scanner.scan(str(count), end="")
            assert line.read(len(str(count))) == str(count).encode()
    assert descriptor_count() == before
    scanner.close()
    assert descriptor_count() == before - 3


def test_a_stale_link_is_replaced_and_a_file_is_not(tmp_path: Path) -> None:
    path = tmp_path / "port"
    path.symlink_to(tmp_path / "gone")
    with PtyLink(path):
        assert path.exists()
    assert not path.is_symlink()
    path.write_text("mine")
    before = descriptor_count()
    with pytest.raises(FileExistsError):
        PtyLink(path).plug()
    assert path.read_text() == "mine"
    assert descriptor_count() == before


def test_a_link_that_is_no_longer_its_own_is_left(tmp_path: Path) -> None:
    path = tmp_path / "port"
    with PtyLink(path):
        path.unlink()
        path.symlink_to(tmp_path / "other")
    assert path.is_symlink()


def test_the_line_tells_the_speed_the_host_has_set(tmp_path: Path) -> None:
    with PtyLink(tmp_path / "port") as link:
        assert link.baud() == 115200
        with port(link.path, 921600) as line:
            assert link.baud() == 921600
            line.baudrate = 9600
        assert link.baud() == 9600
        with port(link.path, 50):
            assert link.baud() == 0
    with pytest.raises(UnpluggedError):
        link.baud()


def test_reading_waits_times_out_and_ends_with_the_plug(tmp_path: Path) -> None:
    link = PtyLink(tmp_path / "port")
    assert link.read() is None
    with link, port(link.path) as line:
        assert link.read(0.001) == b""
        line.write(b"abc")
        assert link.read() == b"abc"
        ended: list[bytes | None] = []
        waiting = threading.Thread(target=lambda: ended.append(link.read()))
        waiting.start()
        link.unplug()
        waiting.join(WAIT_S)
        assert ended == [None]
        assert not link.plugged


def test_what_a_host_does_not_read_is_dropped_and_counted(tmp_path: Path) -> None:
    with PtyLink(tmp_path / "port", write_wait_s=0.01) as link, port(link.path) as line:
        link.write(bytes(200_000))
        dropped = link.dropped_byte_count
        assert 0 < dropped < 200_000
        line.reset_input_buffer()
        link.write(b"later")
        assert link.dropped_byte_count == dropped


def test_pulling_the_plug_ends_a_write_that_waits(tmp_path: Path) -> None:
    link = PtyLink(tmp_path / "port", write_wait_s=WAIT_S)
    raised: list[UnpluggedError] = []

    def fill() -> None:
        try:
            link.write(bytes(200_000))
        except UnpluggedError as error:
            raised.append(error)

    with link:
        filling = threading.Thread(target=fill)
        filling.start()
        link.unplug()
        filling.join(WAIT_S)
    assert len(raised) == 1
    assert link.dropped_byte_count == 0
