"""Unmodified nfcpy on an emulated PN532: opening, finding and reading cards, losing the reader."""

import errno
import gc
import os
import termios
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import ndef
import nfc
import nfc.clf
import nfc.clf.pn53x
import nfc.clf.pn532
import nfc.clf.transport
import nfc.tag
import nfc.tag.tt4
import pytest

from edgegate_emulators.cards import Card, MifareClassic, Ntag213, Ntag215, Ntag216, Type4
from edgegate_emulators.pn532 import Pn532
from edgegate_emulators.pn532_frames import SYNTAX_ERROR

UID_7 = bytes.fromhex("04A1B2C3D4E5F6")
UID_4 = bytes.fromhex("00A1B2C3")


def descriptor_count() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def message(size: int = 0) -> bytes:
    """A valid NDEF message of somewhat more than `size` bytes."""
    record = ndef.UriRecord("https://example.org/?a=1&b=2" + "x" * size)
    return b"".join(ndef.message_encoder([record]))


class Host:
    """nfcpy on one port, with an end that lets go of every descriptor whatever has happened."""

    def __init__(self, path: Path) -> None:
        self.transport = nfc.clf.transport.TTY(str(path))
        self.clf = nfc.ContactlessFrontend()
        with ExitStack() as undone:
            undone.callback(self.drop)
            self.clf.device = nfc.clf.pn532.init(self.transport)
            undone.pop_all()

    def sense(self) -> Any:
        return self.clf.sense(nfc.clf.RemoteTarget("106A"))

    def activate(self) -> Any:
        return nfc.tag.activate(self.clf, self.sense())

    def drop(self) -> None:
        """Close the port as the kernel does for a killed process."""
        if self.transport.tty is not None:
            self.transport.tty.close()
        self.clf.device = None


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Pn532]:
    with Pn532(tmp_path / "pn532") as emulated:
        yield emulated


@pytest.fixture
def host(reader: Pn532) -> Iterator[Host]:
    opened = Host(reader.path)
    yield opened
    opened.drop()


@pytest.fixture
def only_115200(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nfcpy believe that the port does no more than 115200 baud."""
    monkeypatch.setattr(os, "system", lambda command: 0 if " 115200 " in command else 1)


def test_opens_at_the_high_rate_that_nfcpy_chooses(host: Host, reader: Pn532) -> None:
    assert reader.baud == 921600
    assert host.sense() is None


@pytest.mark.usefixtures("only_115200")
def test_opens_at_115200_where_the_port_does_no_more(reader: Pn532) -> None:
    host = Host(reader.path)
    assert reader.baud == 115200
    assert host.sense() is None
    host.drop()


CARDS = [
    MifareClassic(UID_4),
    MifareClassic(UID_7),
    MifareClassic(b"\x08" + UID_7[1:]),
    Ntag213(UID_7),
    Ntag215(UID_7),
    Ntag216(UID_7),
    Type4(UID_4),
    Type4(UID_7),
]


@pytest.mark.parametrize("card", CARDS, ids=lambda card: f"{type(card).__name__} {card.uid.hex()}")
def test_every_kind_of_card_is_found_by_its_id(host: Host, reader: Pn532, card: Card) -> None:
    reader.present(card)
    target = host.sense()
    assert target.sdd_res == card.uid
    assert target.sel_res == bytes([card.sel_res])
    assert target.sens_res == card.sens_res
    reader.remove()
    assert host.sense() is None


@pytest.mark.parametrize(
    ("card", "name"),
    [
        (Ntag213(UID_7, message()), "NTAG213"),
        (Ntag215(UID_7, message(300)), "NTAG215"),
        (Ntag216(UID_7, message(600)), "NTAG216"),
        (Type4(UID_4, message()), "Type4ATag"),
        (Type4(UID_7, message(120)), "Type4ATag"),
        (Type4(UID_7, message(1500)), "Type4ATag"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_message_of_a_card_is_read(
    host: Host, reader: Pn532, card: Ntag213 | Type4, name: str
) -> None:
    reader.present(card)
    tag = host.activate()
    assert type(tag).__name__ == name
    records = tag.ndef.records
    assert b"".join(ndef.message_encoder(records)) in tag.ndef.octets
    assert records[0].iri.startswith("https://example.org/?a=1&b=2")
    assert tag.is_present
    reader.remove()
    assert not tag.is_present


@pytest.mark.parametrize("card", [Ntag213(UID_7), Type4(UID_7)], ids=["NTAG213", "Type4"])
def test_a_card_without_a_message_has_an_empty_one(host: Host, reader: Pn532, card: Card) -> None:
    reader.present(card)
    assert host.activate().ndef.length == 0


@pytest.mark.parametrize("uid", [UID_4, UID_7], ids=["4 bytes", "7 bytes"])
def test_a_mifare_classic_has_no_message_and_survives_being_asked(
    host: Host, reader: Pn532, uid: bytes
) -> None:
    reader.present(MifareClassic(uid))
    assert host.activate().ndef is None
    assert host.sense().sdd_res == uid


def test_a_message_may_change_between_two_taps(host: Host, reader: Pn532) -> None:
    card = Type4(UID_7, message(1))
    reader.present(card)
    assert host.activate().ndef.octets == message(1)
    reader.remove()
    card.ndef = message(2)
    reader.present(card)
    assert host.activate().ndef.octets == message(2)


def test_a_card_exchanged_for_another_is_not_taken_for_it(host: Host, reader: Pn532) -> None:
    reader.present(Ntag213(UID_7))
    target = host.sense()
    target.sel_req = target.sdd_res
    assert host.clf.sense(target).sdd_res == UID_7
    reader.present(Ntag213(UID_7[::-1]))
    assert host.clf.sense(target) is None


def test_a_card_taken_away_while_it_is_read_gives_no_message(host: Host, reader: Pn532) -> None:
    card = Ntag213(UID_7, message())
    reader.present(card)
    tag = host.activate()
    reader.present(card)
    assert tag.ndef is None, "the card was lifted meanwhile, so it has to be sensed anew"
    reader.remove()
    reader.present(Type4(UID_7, message()))
    tag = host.activate()
    reader.remove()
    assert tag.ndef is None


def test_connect_hands_over_the_card_and_sees_it_leave(host: Host, reader: Pn532) -> None:
    met: list[bytes] = []

    def on_connect(tag: Any) -> bool:
        met.append(bytes(tag.identifier))
        reader.remove()
        return True

    reader.present(Ntag213(UID_7))
    assert host.clf.connect(rdwr={"on-connect": on_connect})
    assert met == [UID_7]


def test_without_a_card_no_other_kind_is_looked_for(host: Host, reader: Pn532) -> None:
    """It is so if the wake-up request is still in the FIFO: see nfcpy's `sense_tta`."""
    assert host.sense() is None
    searches = [command.data for command in reader.commands if command.code == 0x4A]
    assert searches == [b"\x01\x00"]


def test_present_and_remove_tell_when(reader: Pn532) -> None:
    placed_ns = reader.present(Ntag213(UID_7))
    assert 0 < placed_ns <= reader.remove()


def test_a_proper_close_leaves_a_reader_that_opens_again(reader: Pn532) -> None:
    for _ in range(3):
        host = Host(reader.path)
        host.clf.close()
        assert reader.baud == 115200
    assert reader.malformed_count == 0


def test_commands_are_kept_in_order(host: Host, reader: Pn532) -> None:
    host.sense()
    codes = [command.code for command in reader.commands]
    assert codes[:2] == [0x02, 0x14]
    assert codes[-1] == 0x32
    assert 0x4A in codes
    times = [command.at_ns for command in reader.commands]
    assert times == sorted(times)


def test_a_reader_unplugged_while_idle_raises_an_error_that_is_no_oserror(
    host: Host, reader: Pn532
) -> None:
    reader.unplug()
    with pytest.raises(termios.error) as caught:
        host.sense()
    assert not isinstance(caught.value, OSError)
    with pytest.raises(termios.error):
        host.clf.close()
    assert not reader.path.is_symlink()
    with pytest.raises(OSError, match="No such file"):
        Host(reader.path)


def test_a_reader_unplugged_while_it_owes_an_answer_raises(host: Host, reader: Pn532) -> None:
    owing = threading.Event()

    def never_answer(_frame: bytes) -> bytes:
        owing.set()
        return b""

    reader.spoil_next_answer(never_answer)
    with ThreadPoolExecutor(1) as pool:
        sensing = pool.submit(host.sense)
        assert owing.wait(30)
        reader.unplug()
        assert isinstance(sensing.exception(30), (OSError, termios.error))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda frame: frame[:3], IndexError),
        (lambda frame: frame[:-3] + bytes([frame[-3] ^ 1]) + frame[-2:], OSError),
        (lambda _frame: SYNTAX_ERROR, nfc.clf.pn53x.Chipset.Error),
        (lambda _frame: b"", OSError),
    ],
    ids=["cut", "checksum", "error frame", "silence"],
)
def test_one_spoiled_answer_raises_and_the_next_command_works(
    host: Host,
    reader: Pn532,
    change: Callable[[bytes], bytes],
    expected: type[Exception],
) -> None:
    reader.spoil_next_answer(change)
    with pytest.raises(expected):
        host.sense()
    reader.present(Ntag213(UID_7))
    assert host.sense().sdd_res == UID_7


def test_thirty_times_unplugged_and_back_leaks_no_descriptor(tmp_path: Path) -> None:
    def tap_and_unplug(reader: Pn532) -> None:
        host = Host(reader.path)
        reader.present(Ntag213(UID_7))
        assert host.sense().sdd_res == UID_7
        reader.unplug()
        with suppress(OSError, termios.error):
            host.clf.close()
        host.drop()

    with Pn532(tmp_path / "pn532") as reader:
        tap_and_unplug(reader)
        gc.collect()
        before = descriptor_count()
        threads = threading.active_count()
        for _ in range(30):
            reader.replug()
            tap_and_unplug(reader)
        gc.collect()
        assert descriptor_count() == before
        assert threading.active_count() == threads


def test_a_killed_process_leaves_a_reader_that_is_mute_until_its_power_is_cut(
    reader: Pn532,
) -> None:
    Host(reader.path).drop()
    with pytest.raises(OSError) as caught:  # noqa: PT011 - the number is what tells
        Host(reader.path)
    assert caught.value.errno == errno.ETIMEDOUT
    assert reader.unheard_byte_count > 0
    reader.replug()
    host = Host(reader.path)
    assert host.sense() is None
    host.drop()
