"""Emulated cards answer as their data sheets say, byte by byte."""

import pytest

from edgegate_emulators.cards import MifareClassic, Ntag213, Ntag215, Ntag216, Reply, Type4
from edgegate_emulators.isodep import COMMAND_BYTES_MAX, BlockProtocol

UID = bytes.fromhex("04112233445566")
NAK = Reply(b"\x00", has_crc=False)


def selected(card: Ntag213 | Type4) -> Ntag213 | Type4:
    card.select()
    return card


def test_an_ntag_lays_its_id_out_over_three_pages() -> None:
    reply = selected(Ntag213(UID)).answer(b"\x30\x00")
    assert reply == Reply(bytes.fromhex("041122bf33445566444800 00e1101200".replace(" ", "")))


@pytest.mark.parametrize(
    ("kind", "pages", "room"), [(Ntag213, 45, 144), (Ntag215, 135, 496), (Ntag216, 231, 872)]
)
def test_an_ntag_reads_to_its_last_page_and_round(
    kind: type[Ntag213], pages: int, room: int
) -> None:
    card = kind(UID)
    card.select()
    last = card.answer(bytes([0x30, pages - 1]))
    assert last == Reply(bytes(4) + UID[:3] + bytes.fromhex("bf3344556644480000"))
    assert card.answer(bytes([0x30, pages])) == NAK
    assert card.answer(b"\x30\x00") is None, "after a NAK it is silent until selected"
    card.select()
    container = card.answer(b"\x30\x03")
    assert container is not None
    assert container.data[2] * 8 == room


@pytest.mark.parametrize(("kind", "room"), [(Ntag213, 144), (Ntag215, 496), (Ntag216, 872)])
def test_an_ntag_takes_a_message_to_the_last_byte_and_no_more(
    kind: type[Ntag213], room: int
) -> None:
    head = 2 if room < 255 else 4
    kind(UID, bytes(room - head))
    with pytest.raises(ValueError, match="do not fit"):
        kind(UID, bytes(room - head + 1))


def test_an_ntag_is_silenced_by_halt() -> None:
    card = selected(Ntag213(UID))
    assert card.answer(b"\x50\x00") is None
    assert card.answer(b"\x60") is None


@pytest.mark.parametrize("frame", [b"", b"\x30", b"\x30\x00\x00", b"\x60\x00", b"\xa2\x04abcd"])
def test_an_ntag_refuses_what_it_does_not_know(frame: bytes) -> None:
    assert selected(Ntag213(UID)).answer(frame) == (NAK if frame else None)


def test_a_card_that_is_not_selected_is_silent() -> None:
    for card in (MifareClassic(UID), Ntag213(UID), Type4(UID)):
        assert card.answer(b"\x30\x00") is None
        assert card.answer(b"\xe0\x80") is None


def test_a_mifare_classic_refuses_once_and_then_is_silent() -> None:
    card = MifareClassic(UID)
    card.select()
    assert card.answer(b"\x30\x00") == Reply(b"\x04", has_crc=False)
    assert card.answer(b"\x30\x00") is None


def test_ids_have_the_lengths_that_the_cards_have() -> None:
    assert MifareClassic(UID[:4]).uid == UID[:4]
    for wrong in (b"", UID[:3], UID + b"\x00", bytes(10)):
        with pytest.raises(ValueError, match="an id of"):
            MifareClassic(wrong)
        with pytest.raises(ValueError, match="an id of"):
            Type4(wrong)
    with pytest.raises(ValueError, match="this card has 7"):
        Ntag213(UID[:4])


def activated(ndef: bytes = b"") -> Type4:
    card = Type4(UID, ndef)
    card.select()
    assert card.answer(b"\xe0\x80") == Reply(bytes.fromhex("067777710280"))
    return card


def exchange(card: Type4, *commands: str) -> list[str]:
    """Send commands in single blocks and return the answers."""
    answers = []
    for index, command in enumerate(commands):
        reply = card.answer(bytes([0x02 | index & 1]) + bytes.fromhex(command))
        assert reply is not None
        assert reply.data[0] == 0x02 | index & 1
        answers.append(reply.data[1:].hex())
    return answers


APPLICATION = "00a4040007d276000085010100"
CAPABILITIES = "00a4000c02e103"
NDEF_FILE = "00a4000c02e104"


def test_a_type_4_tag_is_read_by_application_file_and_offset() -> None:
    assert exchange(
        activated(b"message"),
        APPLICATION,
        CAPABILITIES,
        "00b000000f",
        NDEF_FILE,
        "00b0000002",
        "00b0000207",
        "00b000ff05",
    ) == [
        "9000",
        "9000",
        "000f20010000ff0406e104010000ff9000",
        "9000",
        "00079000",
        b"message".hex() + "9000",
        "009000",
    ]


@pytest.mark.parametrize(
    ("commands", "status"),
    [
        ([CAPABILITIES], "6a82"),
        (["00a4040007d276000085010200"], "6a82"),
        ([APPLICATION, "00a4000c02e109"], "6a82"),
        ([APPLICATION, "00a4010c02e103"], "6a82"),
        ([APPLICATION, "00b0000002"], "6986"),
        ([APPLICATION, NDEF_FILE, APPLICATION, "00b0000002"], "6986"),
        ([APPLICATION, NDEF_FILE, "00b0010001"], "6b00"),
        ([APPLICATION, NDEF_FILE, "00b00000"], "6700"),
        (["00a4040007d27600"], "6700"),
        (["00a4"], "6700"),
        (["00d6000001ff"], "6d00"),
        (["90a4040000"], "6e00"),
    ],
)
def test_a_type_4_tag_names_what_is_wrong(commands: list[str], status: str) -> None:
    assert exchange(activated(), *commands)[-1] == status


def test_a_type_4_tag_wants_rats_first_and_is_silent_after_deselect() -> None:
    card = Type4(UID)
    card.select()
    assert card.answer(b"\x02\x00\xa4") is None
    card = activated()
    assert card.answer(b"\xe0\x80") is None
    assert card.answer(b"\xc2") == Reply(b"\xc2")
    assert card.answer(b"\xe0\x80") is None
    card.select()
    assert card.answer(b"\xe0\x80") is not None


def test_a_type_4_tag_forgets_its_file_without_power() -> None:
    card = activated(b"message")
    assert exchange(card, APPLICATION, NDEF_FILE)[-1] == "9000"
    card.select()
    card.answer(b"\xe0\x80")
    assert exchange(card, "00b0000002") == ["6986"]
    card.select()
    card.answer(b"\xe0\x80")
    assert exchange(card, NDEF_FILE) == ["6a82"]


def test_a_message_that_no_file_holds_is_refused() -> None:
    Type4(UID, bytes(0x7FFF - 2))
    with pytest.raises(ValueError, match="do not fit"):
        Type4(UID, bytes(0x7FFF - 1))


def echo_of_16() -> BlockProtocol:
    """An application that returns what it gets, in frames of 16 bytes (13 of information)."""
    return BlockProtocol(lambda command: command, 0)


def test_a_long_command_and_a_long_answer_are_chained() -> None:
    blocks = echo_of_16()
    assert blocks.answer(b"\x12" + b"a" * 13) == b"\xa2"
    assert blocks.answer(b"\x13" + b"b" * 13) == b"\xa3"
    assert blocks.answer(b"\x02" + b"c") == b"\x12" + b"a" * 13
    assert blocks.answer(b"\xa3") == b"\x13" + b"b" * 13
    assert blocks.answer(b"\xa2") == b"\x02c"


def test_a_lost_block_is_sent_again() -> None:
    blocks = echo_of_16()
    assert blocks.answer(b"\xb2") == b"\xa3", "nothing was lost: the card is there"
    assert blocks.answer(b"\x02hello") == b"\x02hello"
    assert blocks.answer(b"\xb2") == b"\x02hello"
    assert blocks.answer(b"\xb3") == b"\xa2"
    assert blocks.answer(b"\x03" + b"x" * 14) == b"\x13" + b"x" * 13
    assert blocks.answer(b"\xb3") == b"\x13" + b"x" * 13
    assert blocks.answer(b"\xa2") == b"\x02x"


@pytest.mark.parametrize("block", [b"", b"\x0a\x00a", b"\xff", b"\xa2", b"\xa2\x00", b"\xf2\x01"])
def test_blocks_that_make_no_sense_are_met_with_silence(block: bytes) -> None:
    blocks = echo_of_16()
    assert blocks.answer(block) is None
    assert blocks.answer(b"\x02still") == b"\x02still"


def test_a_command_without_end_is_dropped() -> None:
    blocks = echo_of_16()
    piece = b"\x12" + bytes(COMMAND_BYTES_MAX // 4)
    assert [blocks.answer(piece) is None for _ in range(5)] == [False] * 4 + [True]
    assert blocks.answer(b"\x03fresh") == b"\x03fresh"
