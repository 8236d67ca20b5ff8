"""The emulated PN532 on its serial line: speeds, waking, and bytes that make no sense."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

import pytest
import serial

from edgegate_emulators.cards import Ntag213
from edgegate_emulators.pn532 import HISTORY_MAX, Pn532
from edgegate_emulators.pn532_chip import crc_a
from edgegate_emulators.pn532_frames import ACK, SYNTAX_ERROR, frame

PREAMBLE = bytes(10)
NACK = bytes.fromhex("0000ffff0000")
GET_VERSION = frame(b"\xd4\x02")
VERSION = frame(bytes.fromhex("d50332010607"))
SET_115200 = frame(b"\xd4\x10\x04")
SET_921600 = frame(b"\xd4\x10\x07")
SET_DONE = frame(b"\xd5\x11")
SELECT = frame(b"\xd4\x4a\x01\x00")
SELECTED = frame(bytes.fromhex("d54b01010044000700000000000000"))
GET_TAG_VERSION = frame(b"\xd4\x42\x60")
WAIT_S = 30


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Pn532]:
    with Pn532(tmp_path / "pn532") as emulated:
        yield emulated


def port(reader: Pn532, baud: int = 115200, timeout_s: float = WAIT_S) -> serial.Serial:
    return serial.Serial(str(reader.path), baud, timeout=timeout_s)


def until(condition: Callable[[], bool]) -> None:
    """Wait for what the reader's thread will do, for as long as no machine needs."""
    give_up_s = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < give_up_s
        time.sleep(0.001)


def ask(line: serial.Serial, command: bytes, answer: bytes) -> None:
    line.write(command)
    assert line.read(len(ACK + answer)) == ACK + answer


def test_a_stuck_reader_hears_nothing_but_its_own_speed(tmp_path: Path) -> None:
    with Pn532(tmp_path / "pn532", baud_stuck=True) as reader:
        for baud in (115200, 9600, 230400, 460800):
            with port(reader, baud) as line:
                heard_not = reader.unheard_byte_count
                line.write(PREAMBLE + SET_115200)
                until(lambda: reader.unheard_byte_count == heard_not + 20)  # noqa: B023 - called now
                assert line.in_waiting == 0
        assert reader.commands == ()
        with port(reader, 921600) as line:
            ask(line, SET_115200, SET_DONE)
            assert reader.baud == 921600, "it changes only when the host has acknowledged"
            line.write(ACK)
            until(lambda: reader.baud == 115200)
        with port(reader) as line:
            ask(line, GET_VERSION, VERSION)


def test_a_stuck_reader_is_cured_by_cutting_its_power(tmp_path: Path) -> None:
    with Pn532(tmp_path / "pn532", baud_stuck=True) as reader:
        reader.replug()
        with port(reader) as line:
            ask(line, PREAMBLE + GET_VERSION, VERSION)


def test_an_acknowledge_lost_to_a_flush_does_not_part_host_and_reader(reader: Pn532) -> None:
    with port(reader) as line:
        ask(line, PREAMBLE + SET_921600, SET_DONE)
    with port(reader, 921600) as line:
        ask(line, GET_VERSION, VERSION)
    assert reader.baud == 921600


def test_a_speed_agreed_on_and_not_used_is_not_in_force(reader: Pn532) -> None:
    with port(reader) as line:
        ask(line, PREAMBLE + SET_921600, SET_DONE)
        ask(line, GET_VERSION, VERSION)
        assert reader.baud == 115200


def test_a_sleeping_reader_loses_a_command_without_preamble(reader: Pn532) -> None:
    with port(reader) as line:
        line.write(GET_VERSION)
        until(lambda: reader.malformed_count == 1)
        assert reader.commands == ()
        ask(line, GET_VERSION, VERSION)
        ask(line, frame(b"\xd4\x16\x20\x00"), frame(b"\xd5\x17\x00"))
        line.write(GET_VERSION)
        until(lambda: reader.malformed_count == 2)
        ask(line, PREAMBLE + GET_VERSION, VERSION)


def test_nack_asks_for_the_last_answer_again(reader: Pn532) -> None:
    reader.spoil_next_answer(lambda _frame: b"?")
    with port(reader) as line:
        line.write(PREAMBLE + GET_VERSION)
        assert line.read(len(ACK) + 1) == ACK + b"?"
        line.write(NACK)
        assert line.read(len(VERSION)) == VERSION


MALFORMED = {
    "noise": b"\x80\x81\x82",
    "length checksum": bytes.fromhex("0000ff020000"),
    "data checksum": bytes.fromhex("0000ff02fed4022b00"),
    "identifier": frame(b"\xd5\x02"),
    "no command": frame(b"\xd4"),
    "extended length checksum": bytes.fromhex("0000ffffff000201d402"),
    "too long": bytes.fromhex("0000ffffffffff02"),
    "unfinished": bytes.fromhex("0000ff10f0d402"),
    "unfinished head": bytes.fromhex("0000ffffff"),
}


@pytest.mark.parametrize("garbage", MALFORMED.values(), ids=MALFORMED.keys())
def test_bytes_that_make_no_frame_are_counted_and_change_nothing(
    reader: Pn532, garbage: bytes
) -> None:
    with port(reader) as line:
        ask(line, PREAMBLE + GET_VERSION, VERSION)
        line.write(garbage)
        until(lambda: reader.malformed_count > 0)
        ask(line, GET_VERSION, VERSION)
    assert [command.code for command in reader.commands] == [0x02, 0x02]


UNKNOWN = {
    "unknown command": "d4ee",
    "diagnose": "d40009",
    "version with data": "d40200",
    "register address": "d40663",
    "register value": "d4086339",
    "speed": "d41009",
    "parameters": "d412",
    "sam mode": "d41407",
    "power down": "d416",
    "field item": "d4320f01",
    "field without data": "d43201",
    "empty frame to the card": "d442",
    "target count": "d44a0300",
    "target kind": "d44a0107",
}


@pytest.mark.parametrize("data", UNKNOWN.values(), ids=UNKNOWN.keys())
def test_a_command_the_chip_cannot_read_is_a_syntax_error(reader: Pn532, data: str) -> None:
    with port(reader) as line:
        ask(line, PREAMBLE + frame(bytes.fromhex(data)), SYNTAX_ERROR)
        ask(line, GET_VERSION, VERSION)


def test_a_frame_to_no_card_times_out(reader: Pn532) -> None:
    communicate = frame(bytes.fromhex("d4423000"))
    with port(reader) as line:
        ask(line, PREAMBLE + communicate, frame(b"\xd5\x43\x01"))
        reader.present(Ntag213(bytes(7)))
        ask(line, communicate, frame(b"\xd5\x43\x01"))


def test_switching_the_field_off_loses_the_card(reader: Pn532) -> None:
    reader.present(Ntag213(bytes(7)))
    with port(reader) as line:
        ask(line, PREAMBLE + SELECT, SELECTED)
        ask(line, GET_TAG_VERSION, frame(bytes.fromhex("d543000004040201000f03")))
        ask(line, frame(b"\xd4\x32\x01\x00"), frame(b"\xd5\x33"))
        ask(line, GET_TAG_VERSION, frame(b"\xd5\x43\x01"))


def test_the_checksum_comes_along_once_its_check_is_off(reader: Pn532) -> None:
    reader.present(Ntag213(bytes(7)))
    with port(reader) as line:
        ask(line, PREAMBLE + SELECT, SELECTED)
        ask(line, frame(bytes.fromhex("d408630300")), frame(b"\xd5\x09"))
        version = bytes.fromhex("0004040201000f03")
        ask(line, GET_TAG_VERSION, frame(b"\xd5\x43\x00" + version + crc_a(version)))
        # The four bits of a refusal bear no checksum.
        ask(line, frame(b"\xd4\x42\x1a\x00"), frame(b"\xd5\x43\x00\x00"))


def test_what_a_card_refuses_is_a_checksum_error_while_the_check_is_on(reader: Pn532) -> None:
    reader.present(Ntag213(bytes(7)))
    with port(reader) as line:
        ask(line, PREAMBLE + SELECT, SELECTED)
        ask(line, frame(b"\xd4\x42\x1a\x00"), frame(b"\xd5\x43\x02"))


def test_the_history_forgets_the_oldest(reader: Pn532) -> None:
    with port(reader) as line:
        line.write(PREAMBLE)
        for _ in range(HISTORY_MAX // 20):
            line.write(GET_VERSION * 20)
            line.read(20 * len(ACK + VERSION))
        first = reader.commands[0]
        assert len(reader.commands) == HISTORY_MAX
        ask(line, SET_921600, SET_DONE)
        assert len(reader.commands) == HISTORY_MAX
        assert reader.commands[0] is not first
        assert reader.commands[-1].code == 0x10


def test_a_slow_line_takes_at_least_its_time(tmp_path: Path) -> None:
    with Pn532(tmp_path / "pn532", byte_delay_s=0.001) as reader, port(reader) as line:
        before_s = time.monotonic()
        ask(line, PREAMBLE + GET_VERSION, VERSION)
        assert time.monotonic() - before_s >= 0.001 * len(PREAMBLE + GET_VERSION + ACK + VERSION)


def test_a_host_that_does_not_read_yet_gets_every_answer(reader: Pn532) -> None:
    with port(reader) as line:
        line.write(PREAMBLE + GET_VERSION * 50)
        until(lambda: len(reader.commands) == 50)
        assert line.read(50 * len(ACK + VERSION)) == (ACK + VERSION) * 50


def test_unplugging_waits_for_a_reader_that_is_about_to_answer(reader: Pn532) -> None:
    answering, unplugged = threading.Event(), threading.Event()

    def hold_back(answer: bytes) -> bytes:
        answering.set()
        assert unplugged.wait(WAIT_S)
        return answer

    reader.spoil_next_answer(hold_back)
    with port(reader) as line, ThreadPoolExecutor(1) as pool:
        line.write(PREAMBLE + GET_VERSION)
        assert answering.wait(WAIT_S)
        unplugging = pool.submit(reader.unplug)
        until(lambda: not reader._link.plugged)
        assert wait([unplugging], timeout=0.05).not_done
        unplugged.set()
        unplugging.result(WAIT_S)
    assert "pn532 pn532" not in {thread.name for thread in threading.enumerate()}


def test_closing_twice_is_closing_once(reader: Pn532) -> None:
    reader.close()
    reader.close()
    assert not reader.path.is_symlink()
