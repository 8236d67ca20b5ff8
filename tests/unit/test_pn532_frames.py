"""Frames of the PN532 come out of any stream of bytes, and nothing else does."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgegate_emulators.pn532_chip import crc_a
from edgegate_emulators.pn532_frames import ACK, DATA_BYTES_MAX, FrameParser, Handshake, frame

NACK = bytes.fromhex("0000ffff0000")

commands = st.one_of(
    st.binary(min_size=1, max_size=20), st.binary(min_size=250, max_size=DATA_BYTES_MAX - 1)
)


def test_known_frames() -> None:
    assert frame(bytes.fromhex("d402")) == bytes.fromhex("0000ff02fed4022a00")
    assert FrameParser().feed(bytes.fromhex("0000ff02fed4022a00")) == [b"\x02"]
    assert frame(bytes(254))[:5] == bytes.fromhex("0000fffe02")
    assert frame(bytes(255))[:8] == bytes.fromhex("0000ffffff00ff01")
    assert FrameParser().feed(ACK + NACK) == [Handshake.ACK, Handshake.NACK]


def test_a_command_of_255_bytes_in_a_normal_frame_is_taken() -> None:
    command = bytes(254)
    whole = b"\x00\x00\xff\xff\x01\xd4" + command + b"\x2c\x00"
    assert FrameParser().feed(whole) == [command]


@given(st.lists(commands, min_size=1, max_size=4), st.integers(1, 50))
def test_commands_come_out_however_the_bytes_arrive(sent: list[bytes], step: int) -> None:
    stream = b"".join(b"\x55\x55\x00" + frame(b"\xd4" + command) + ACK for command in sent)
    parser = FrameParser()
    found: list[bytes | Handshake] = []
    for at in range(0, len(stream), step):
        found += parser.feed(stream[at : at + step])
    expected: list[bytes | Handshake] = []
    for command in sent:
        expected += [command, Handshake.ACK]
    assert found == expected
    assert parser.malformed_count == 0
    assert not parser.unfinished


@given(st.binary(max_size=600))
def test_no_bytes_kill_the_parser_or_deafen_it(noise: bytes) -> None:
    parser = FrameParser()
    parser.feed(noise)
    parser.forget()
    assert parser.feed(frame(b"\xd4\x02")) == [b"\x02"]


@given(commands, st.data())
def test_a_flipped_bit_is_never_a_command(command: bytes, data: st.DataObject) -> None:
    whole = bytearray(frame(b"\xd4" + command))
    bit = data.draw(st.integers(16, (len(whole) - 1) * 8 - 1))
    whole[bit // 8] ^= 1 << bit % 8
    parser = FrameParser()
    found = parser.feed(bytes(whole))
    parser.forget()
    assert command not in found
    assert parser.malformed_count > 0


def test_a_good_frame_behind_a_cut_one_is_found() -> None:
    cut = frame(b"\xd4\x00" + bytes(10))[:10]
    parser = FrameParser()
    assert parser.feed(cut + frame(b"\xd4\x02") * 2) == [b"\x02", b"\x02"]
    assert parser.malformed_count > 0


@pytest.mark.parametrize(
    ("data", "expected"), [("0000", "a01e"), ("1234", "26cf"), ("5000", "57cd"), ("e080", "3173")]
)
def test_the_checksum_of_type_a(data: str, expected: str) -> None:
    """The first two are the examples of ISO/IEC 14443-3, annex B; HALT and RATS are well known."""
    assert crc_a(bytes.fromhex(data)).hex() == expected
