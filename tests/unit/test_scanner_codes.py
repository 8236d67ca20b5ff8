"""Splitting a scanner's characters into codes, and the queue that readers hand scans over by."""

import asyncio
import sys
import threading

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgegate.passes.model import CredentialKind
from edgegate.ports import DeviceAbsentError, LibraryMissingError, Scan, Signal
from edgegate_drivers import scanner_serial
from edgegate_drivers._codes import CodeBuffer
from edgegate_drivers._devices import library, opened_in_thread
from edgegate_drivers._reader import SCANS_MAX, QueuedReader

LENGTH_MAX = 8


def split(*chunks: bytes) -> tuple[list[bytes], dict[str, int]]:
    counts = {"overlong": 0, "malformed": 0}
    buffer = CodeBuffer(LENGTH_MAX, counts)
    return [code for chunk in chunks for code in buffer.split(chunk)], counts


@pytest.mark.parametrize("end", [b"\r", b"\n", b"\r\n", b"\n\r", b"\r\r\n\n"])
def test_each_end_ends_a_code_and_makes_no_empty_one(end: bytes) -> None:
    assert split(end + b"AB" + end + b"CD" + end)[0] == [b"AB", b"CD"]


def test_crlf_split_between_two_reads_is_one_end() -> None:
    assert split(b"AB\r", b"\nCD\r", b"\n")[0] == [b"AB", b"CD"]


def test_code_without_end_stays_in_hand() -> None:
    assert split(b"AB", b"C")[0] == []


def test_bytes_that_do_not_print_are_kept() -> None:
    assert split(b"\x00A\x1d\xff \t\r")[0] == [b"\x00A\x1d\xff \t"]


def test_longest_code_passes_and_one_byte_more_is_dropped_whole() -> None:
    codes, counts = split(b"A" * LENGTH_MAX + b"\r", b"B" * LENGTH_MAX, b"B", b"B\rOK\r")
    assert codes == [b"A" * LENGTH_MAX, b"OK"]
    assert counts == {"overlong": 1, "malformed": 0}


def test_overlong_stream_without_end_is_counted_once_and_not_kept() -> None:
    counts = {"overlong": 0, "malformed": 0}
    buffer = CodeBuffer(LENGTH_MAX, counts)
    for _ in range(100):
        assert list(buffer.split(b"x" * 1000)) == []
    assert buffer.pending
    assert counts["overlong"] == 1
    assert list(buffer.split(b"tail\rnext\r")) == [b"next"]


def test_spoilt_code_is_dropped_to_its_end() -> None:
    counts = {"overlong": 0, "malformed": 0}
    buffer = CodeBuffer(LENGTH_MAX, counts)
    list(buffer.split(b"AB"))
    buffer.spoil()
    buffer.spoil()
    assert list(buffer.split(b"CD\rEF\r")) == [b"EF"]
    assert counts == {"overlong": 0, "malformed": 1}


@given(
    st.lists(st.sampled_from([b"A", b"BC", b"\r", b"\n", b"\r\n", b"0123456789"]), max_size=30),
    st.lists(st.integers(min_value=1, max_value=7), min_size=1, max_size=20),
)
def test_codes_do_not_depend_on_how_the_bytes_arrive(parts: list[bytes], sizes: list[int]) -> None:
    stream = b"".join(parts)
    chunks = []
    rest = stream
    for turn in range(len(stream)):
        size = sizes[turn % len(sizes)]
        chunks.append(rest[:size])
        rest = rest[size:]
    assert split(*chunks) == split(stream)


def scan(number: int) -> Scan:
    return Scan(kind=CredentialKind.QR_STATIC, number=b"%d" % number, read_ns=number)


async def test_full_queue_drops_the_oldest_and_counts_it() -> None:
    reader = QueuedReader()
    for number in range(SCANS_MAX + 3):
        reader.put(scan(number))
    reader.fail(DeviceAbsentError("gone"))
    reader.fail(DeviceAbsentError("later"))
    scans = reader.scans()
    assert [(await anext(scans)).read_ns for _ in range(SCANS_MAX)] == list(range(3, SCANS_MAX + 3))
    with pytest.raises(DeviceAbsentError, match="gone"):
        await anext(scans)
    assert reader.counts == {
        "scans": SCANS_MAX + 3,
        "dropped": 3,
        "overlong": 0,
        "malformed": 0,
    }


async def test_waiting_consumer_is_woken_by_a_scan_and_by_the_end() -> None:
    reader = QueuedReader()
    scans = reader.scans()
    waiting = asyncio.ensure_future(anext(scans))
    await asyncio.sleep(0)
    reader.put(scan(7))
    assert await waiting == scan(7)
    waiting = asyncio.ensure_future(anext(scans))
    await asyncio.sleep(0)
    reader.fail(DeviceAbsentError("gone"))
    with pytest.raises(DeviceAbsentError):
        await waiting


async def test_show_is_ignored() -> None:
    QueuedReader().show(Signal.GRANTED)


async def test_missing_library_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "serial", None)
    settings = scanner_serial.Settings(port="/dev/null")
    with pytest.raises(LibraryMissingError, match=r"serial .*pip install 'edgegate\[serial\]'"):
        async with scanner_serial.open_reader(settings):
            pass


def test_import_errors_of_other_modules_stay_what_they_are() -> None:
    with pytest.raises(ModuleNotFoundError, match="other"), library("serial", "serial"):
        raise ModuleNotFoundError("no module other", name="other")
    with pytest.raises(ImportError, match="cannot import"), library("serial", "serial"):
        raise ImportError("cannot import name", name="serial")


async def test_device_that_opens_after_its_opener_was_cancelled_is_closed() -> None:
    may_open, closed = threading.Event(), asyncio.Event()

    def open_() -> str:
        may_open.wait(20)
        return "device"

    def close(device: str) -> None:
        assert device == "device"
        closed.set()

    async def use() -> None:
        async with opened_in_thread(open_, close):
            raise AssertionError("was cancelled before")

    user = asyncio.ensure_future(use())
    await asyncio.sleep(0)
    user.cancel()
    with pytest.raises(asyncio.CancelledError):
        await user
    may_open.set()
    await asyncio.wait_for(closed.wait(), 20)


def test_settings_have_defaults_claim_the_port_and_refuse_the_rest() -> None:
    settings = msgspec.convert({"port": "/dev/serial/../ttyS1"}, scanner_serial.Settings)
    assert settings == scanner_serial.Settings(
        port="/dev/serial/../ttyS1",
        baud=9600,
        kind=CredentialKind.QR_STATIC,
        pause_ms=100,
        length_max=512,
    )
    assert settings.claims() == ("port /dev/ttyS1",)
    for wrong in ({}, {"port": ""}, {"port": "x", "bauds": 1}, {"port": "x", "pause_ms": -1}):
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert(wrong, scanner_serial.Settings)
