"""The NFC and serial scanner drivers on emulated devices, through unmodified nfcpy and pyserial."""

import asyncio
import errno
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest
from nfc.clf import pn532 as chip_library

from edgegate.passes.model import CredentialKind
from edgegate.ports import (
    DeviceAbsentError,
    DeviceBusyError,
    DeviceFaultError,
    LibraryMissingError,
    Scan,
)
from edgegate_drivers import _pn532, nfc, scanner_serial
from edgegate_drivers._codes import CodeScanner
from edgegate_drivers._reader import QueuedReader
from edgegate_emulators.cards import Card, MifareClassic, Ntag213, Ntag215, Ntag216, Type4
from edgegate_emulators.pn532 import Pn532
from edgegate_emulators.pn532_frames import SYNTAX_ERROR, TO_HOST, frame
from edgegate_emulators.scanner import SerialScanner
from fakes.held_resources import held_resources

PATIENCE_S = 30
SENSE = 0x4A
SET_SERIAL_BAUD_RATE = 0x10
BAUD_115200 = b"\x04"
REPLUGS = 30

Opener = Callable[[], AbstractAsyncContextManager[QueuedReader]]


@pytest.fixture
def scanner(tmp_path: Path) -> Iterator[SerialScanner]:
    with SerialScanner(tmp_path / "scanner") as emulated:
        yield emulated


@pytest.fixture
def chip(tmp_path: Path) -> Iterator[Pn532]:
    with Pn532(tmp_path / "pn532") as emulated:
        yield emulated


async def next_scan(scans: AsyncIterator[Scan]) -> Scan:
    return await asyncio.wait_for(anext(scans), PATIENCE_S)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110 - the other side is a thread without events
            await asyncio.sleep(0.002)


async def looks(chip: Pn532, count: int) -> None:
    """Wait until the driver has looked for a card so many times more."""

    def done() -> int:
        return sum(command.code == SENSE for command in chip.commands)

    wanted = done() + count
    await until(lambda: done() >= wanted)


def serial(scanner: SerialScanner, **settings: int) -> Opener:
    made = scanner_serial.Settings(port=str(scanner.path), **settings)  # type: ignore[arg-type]  # only its numbers are set here
    return lambda: scanner_serial.open_reader(made)


def pn532(chip: Pn532, *, poll_ms: int = 10, away_ms: int = 60) -> Opener:
    made = nfc.Settings(port=str(chip.path), poll_ms=poll_ms, away_ms=away_ms)
    return lambda: nfc.open_reader(made)


async def test_serial_codes_end_at_cr_lf_and_crlf(scanner: SerialScanner) -> None:
    async with serial(scanner, pause_ms=0)() as reader:
        scans = reader.scans()
        for text, end in (("A1", "\r\n"), ("B2", "\r"), ("C3", "\n"), ("\x1dD\t4", "\r\n")):
            before_ns = time.monotonic_ns()
            scanner.scan(text, end=end)
            scan = await next_scan(scans)
            assert (scan.kind, scan.number) == (CredentialKind.QR_STATIC, text.encode())
            assert before_ns < scan.read_ns <= time.monotonic_ns()
        assert reader.counts == {"scans": 4, "dropped": 0, "overlong": 0, "malformed": 0}


async def test_serial_code_is_handed_over_before_its_line_feed(scanner: SerialScanner) -> None:
    async with serial(scanner, pause_ms=0)() as reader:
        scans = reader.scans()
        scanner.send(b"FIRST\r")
        assert (await next_scan(scans)).number == b"FIRST"
        scanner.send(b"\nSECOND\r")
        assert (await next_scan(scans)).number == b"SECOND"


async def test_serial_code_ends_after_a_pause(scanner: SerialScanner) -> None:
    async with serial(scanner, pause_ms=20)() as reader:
        scans = reader.scans()
        scanner.send(b"NO END")
        assert (await next_scan(scans)).number == b"NO END"
        scanner.send(b"\nX")
        assert (await next_scan(scans)).number == b"X"


async def test_loop_that_was_late_does_not_cut_a_code(scanner: SerialScanner) -> None:
    async with serial(scanner, pause_ms=10_000)() as reader:
        assert isinstance(reader, CodeScanner)
        scanner.send(b"AB")
        await until(lambda: reader.code.pending)
        scanner.send(b"CD\r")
        # As if the loop had run the timer before it looked at the descriptor.
        reader._paused()
        assert (await next_scan(reader.scans())).number == b"ABCD"


async def test_overlong_serial_code_is_dropped_whole_and_the_next_is_whole(
    scanner: SerialScanner,
) -> None:
    async with serial(scanner, length_max=16, pause_ms=0)() as reader:
        scanner.send(b"x" * 9000 + b"\r\n" + b"y" * 16 + b"\r\n")
        assert (await next_scan(reader.scans())).number == b"y" * 16
        assert reader.counts["overlong"] == 1


async def test_what_a_pulled_scanner_had_begun_is_no_code(scanner: SerialScanner) -> None:
    async with serial(scanner, pause_ms=0)() as reader:
        assert isinstance(reader, CodeScanner)
        scanner.send(b"WHOLE\rHAL")
        scans = reader.scans()
        assert (await next_scan(scans)).number == b"WHOLE"
        scanner.unplug()
        with pytest.raises(DeviceAbsentError, match="went away"):
            await next_scan(scans)
        assert reader.counts["malformed"] == 1
        assert reader.counts["scans"] == 1


CARDS: list[tuple[Card, bytes]] = [
    (MifareClassic(bytes.fromhex("00a1b200")), bytes.fromhex("00a1b200")),
    (MifareClassic(bytes.fromhex("04a1b2c3d4e500")), bytes.fromhex("04a1b2c3d4e500")),
    (Ntag213(bytes.fromhex("04000000000001")), bytes.fromhex("04000000000001")),
    (Ntag215(bytes.fromhex("04000000000002")), bytes.fromhex("04000000000002")),
    (Ntag216(bytes.fromhex("04000000000003")), bytes.fromhex("04000000000003")),
    (Type4(bytes.fromhex("04000000000004")), bytes.fromhex("04000000000004")),
    (MifareClassic(bytes.fromhex("08a1b2c3")), bytes.fromhex("08a1b2c3")),
]


async def test_each_kind_of_card_is_scanned_once_with_its_raw_id(chip: Pn532) -> None:
    async with pn532(chip)() as reader:
        scans = reader.scans()
        for count, (card, number) in enumerate(CARDS, start=1):
            presented_ns = chip.present(card)
            scan = await next_scan(scans)
            assert (scan.kind, scan.number) == (CredentialKind.NFC_UID, number)
            assert presented_ns < scan.read_ns <= time.monotonic_ns()
            await looks(chip, 3)
            assert reader.counts["scans"] == count


async def test_card_that_was_away_is_scanned_again(chip: Pn532) -> None:
    card = Ntag213(bytes.fromhex("04000000000001"))
    async with pn532(chip, away_ms=1)() as reader:
        scans = reader.scans()
        for _ in range(3):
            chip.present(card)
            await next_scan(scans)
            chip.remove()
            await looks(chip, 3)


async def test_card_that_flickers_is_scanned_once(chip: Pn532) -> None:
    card = Ntag213(bytes.fromhex("04000000000001"))
    async with pn532(chip, away_ms=60_000)() as reader:
        chip.present(card)
        await next_scan(reader.scans())
        chip.remove()
        await looks(chip, 3)
        chip.present(card)
        await looks(chip, 3)
        assert reader.counts["scans"] == 1


async def test_line_stays_at_115200_baud_whatever_happens(chip: Pn532) -> None:
    async with pn532(chip)():
        await looks(chip, 2)
        assert chip.baud == 115_200
    rates = [command.data for command in chip.commands if command.code == SET_SERIAL_BAUD_RATE]
    # nfcpy says goodbye with it; nothing else asks for another rate.
    assert set(rates) == {BAUD_115200}
    assert chip.unheard_byte_count == 0


async def test_chip_that_a_killed_process_left_at_a_high_rate_is_called_down(
    tmp_path: Path,
) -> None:
    with Pn532(tmp_path / "pn532", baud_stuck=True) as chip:
        assert chip.baud == 921_600
        async with pn532(chip)() as reader:
            assert chip.baud == 115_200
            chip.present(MifareClassic(b"\x01\x02\x03\x04"))
            assert (await next_scan(reader.scans())).number == b"\x01\x02\x03\x04"


async def test_chip_answers_again_after_it_was_put_to_sleep(chip: Pn532) -> None:
    for _ in range(3):
        async with pn532(chip)():
            await looks(chip, 1)


SPOILT: list[Callable[[bytes], bytes]] = [
    lambda _: b"",
    lambda answer: answer[:2],
    lambda answer: answer[:-3],
    lambda answer: answer[:-2] + bytes([answer[-2] ^ 0x40]) + answer[-1:],
    lambda _: b"\x55" * 40,
    lambda _: SYNTAX_ERROR,
    lambda _: frame(bytes([TO_HOST])),
    lambda _: frame(bytes([TO_HOST, SENSE + 1, 1, 1])),
]


@pytest.mark.parametrize("change", SPOILT)
async def test_spoilt_answer_means_detached_and_opening_again_heals(
    chip: Pn532, change: Callable[[bytes], bytes]
) -> None:
    open_ = pn532(chip)
    async with open_() as reader:
        await looks(chip, 1)
        chip.spoil_next_answer(change)
        with pytest.raises(DeviceAbsentError, match="went away"):
            await next_scan(reader.scans())
    async with open_() as reader:
        chip.present(MifareClassic(b"\x01\x02\x03\x04"))
        assert (await next_scan(reader.scans())).number == b"\x01\x02\x03\x04"


async def test_card_with_an_id_of_no_known_length_is_counted_and_not_scanned(chip: Pn532) -> None:
    five_bytes = frame(bytes([TO_HOST, SENSE + 1, 1, 1, 0, 4, 0x20, 5, 1, 2, 3, 4, 5]))

    def change(answer: bytes) -> bytes:
        return five_bytes if answer[6] == SENSE + 1 else answer

    async with pn532(chip)() as reader:

        def counted() -> bool:
            chip.spoil_next_answer(change)
            return reader.counts["malformed"] > 0

        await until(counted)
        assert reader.counts["scans"] == 0


async def test_device_that_is_no_pn532_is_a_fault(
    scanner: SerialScanner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_pn532, "_PROBES_MAX", 2)
    before = held_resources()
    with pytest.raises(DeviceFaultError, match="no PN532 answers") as caught:
        async with nfc.open_reader(nfc.Settings(port=str(scanner.path))):
            pass
    # The error's trace still holds the port's object: it must have been closed, not collected.
    assert caught.value.__traceback__ is not None
    await until(lambda: not held_resources() - before)


async def test_missing_nfcpy_is_named_with_its_extra(
    chip: Pn532, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "edgegate_drivers._pn532", raising=False)
    for name in [name for name in sys.modules if name.partition(".")[0] == "nfc"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "nfc", None)
    with pytest.raises(LibraryMissingError, match=r"nfc .*pip install 'edgegate\[nfc\]'"):
        async with pn532(chip)():
            pass


async def test_chip_that_fails_while_it_is_set_up_is_a_fault_and_let_go(
    chip: Pn532, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.EIO, "no answer")

    monkeypatch.setattr(chip_library.Chipset, "sam_configuration", fail)
    before = held_resources()
    with pytest.raises(DeviceFaultError, match="no PN532 can be set up") as caught:
        async with pn532(chip)():
            pass
    # The error's trace still holds the port's object: it must have been closed, not collected.
    assert caught.value.__traceback__ is not None
    await until(lambda: not held_resources() - before)


@pytest.fixture(params=["nfc", "serial"])
def plugged(
    request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[tuple[Opener, Pn532 | SerialScanner]]:
    if request.param == "nfc":
        with Pn532(tmp_path / "device") as chip:
            yield pn532(chip), chip
    else:
        with SerialScanner(tmp_path / "device") as scanner:
            yield serial(scanner), scanner


async def exercise(device: Pn532 | SerialScanner, reader: QueuedReader) -> None:
    """Let the device scan something and see it come."""
    if isinstance(device, Pn532):
        device.present(MifareClassic(b"\x01\x02\x03\x04"))
    else:
        device.scan("CODE")
    await next_scan(reader.scans())


async def test_thirty_replugs_leave_no_descriptor_and_no_thread(
    plugged: tuple[Opener, Pn532 | SerialScanner],
) -> None:
    open_, device = plugged

    async def cycle() -> None:
        async with open_() as reader:
            await exercise(device, reader)
            device.unplug()
            with pytest.raises(DeviceAbsentError):
                await next_scan(reader.scans())
        with pytest.raises(DeviceAbsentError):
            async with open_():
                pass
        device.replug()

    await cycle()
    before = held_resources()
    for _ in range(REPLUGS):
        await cycle()
    # A thread that has done its work may still be on its way out.
    await until(lambda: not held_resources() - before)


async def test_port_in_use_names_its_holder_and_is_left_alone(
    plugged: tuple[Opener, Pn532 | SerialScanner],
) -> None:
    open_, device = plugged
    async with open_() as reader:
        with pytest.raises(DeviceBusyError, match=r"in use by process \d+ \("):
            async with open_():
                pass
        await exercise(device, reader)


async def test_port_that_is_a_file_is_a_fault(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(DeviceFaultError, match="cannot be used"):
        async with scanner_serial.open_reader(scanner_serial.Settings(port=str(file))):
            pass
    with pytest.raises(DeviceFaultError, match="cannot be used"):
        async with nfc.open_reader(nfc.Settings(port=str(file))):
            pass


async def test_cancelling_at_any_moment_leaves_nothing_open(
    plugged: tuple[Opener, Pn532 | SerialScanner],
) -> None:
    open_, device = plugged
    async with open_() as reader:
        await exercise(device, reader)

    async def use() -> None:
        async with open_() as reader:
            async for _ in reader.scans():
                pass

    for delay_s in (0, 0.001, 0.01, 0.05, 0.2):
        before = held_resources()
        user = asyncio.ensure_future(use())
        await asyncio.sleep(delay_s)
        user.cancel()
        with pytest.raises(asyncio.CancelledError):
            await user
        await until(lambda before=before: not held_resources() - before)  # type: ignore[misc]  # bound early
