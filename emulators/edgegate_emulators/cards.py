"""Contactless cards as they answer over the air: bytes in, bytes out, no clock and no device.

Type A cards of ISO/IEC 14443-3 at 106 kbit/s. A card without a power field knows nothing: each
`select` starts it anew.
"""

from dataclasses import dataclass
from typing import ClassVar, Protocol

from edgegate_emulators.isodep import DESELECT, BlockProtocol

NAK_INVALID = 0x0
"""The four bits of an NTAG for an unknown command or page (NTAG213/215/216 data sheet, 9.3)."""

NAK_NOT_ALLOWED = 0x4
"""The four bits of a MIFARE Classic for what needs a key first (MF1S50 data sheet, 9.3)."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What a card sends: a frame, or the four bits of an acknowledge, which bear no checksum."""

    data: bytes
    has_crc: bool = True


def _nak(bits: int) -> Reply:
    return Reply(bytes([bits]), has_crc=False)


class Card(Protocol):
    """What a reader sees of a card of type A."""

    @property
    def uid(self) -> bytes:
        """The card's id, 4 or 7 bytes."""

    @property
    def sens_res(self) -> bytes:
        """The answer to the wake-up (ATQA), in the order it goes over the air."""

    @property
    def sel_res(self) -> int:
        """The answer to the selection (SAK): which commands the card takes."""

    def select(self) -> None:
        """Start as a freshly powered and selected card."""

    def answer(self, frame: bytes) -> Reply | None:
        """Answer a frame without its checksum; None where the card keeps silent."""


def _checked_uid(uid: bytes, sizes: tuple[int, ...]) -> bytes:
    """Return the id as bytes.

    Raises:
        ValueError: for a length that this kind of card does not have.
    """
    if len(uid) not in sizes:
        raise ValueError(f"an id of {len(uid)} bytes; this card has {' or '.join(map(str, sizes))}")
    return bytes(uid)


class MifareClassic:
    """A MIFARE Classic 1K as one meets it without its keys: an id, and a refusal to all else.

    The answers to wake-up and selection are those of NXP AN10833 for 4-byte and 7-byte ids.
    """

    sel_res = 0x08

    def __init__(self, uid: bytes) -> None:
        self.uid = _checked_uid(uid, (4, 7))
        self.sens_res = b"\x04\x00" if len(uid) == 4 else b"\x44\x00"
        self._listening = False

    def select(self) -> None:
        """Start as a freshly powered and selected card."""
        self._listening = True

    def answer(self, frame: bytes) -> Reply | None:
        """Refuse a first command with NAK and every later one by silence, until selected again."""
        if not self._listening or not frame:
            return None
        self._listening = False
        return _nak(NAK_NOT_ALLOWED)


class _Ntag21x:
    """What the three sizes of NTAG21x share; pages are 4 bytes (NXP data sheet, chapter 8).

    Unknown commands and pages are answered by NAK and leave the card silent until selected again.
    """

    sens_res = b"\x44\x00"
    sel_res = 0x00

    page_count: ClassVar[int]
    ndef_bytes: ClassVar[int]
    """The size of the NDEF area, which the capability container tells in units of 8."""
    version: ClassVar[bytes]

    def __init__(self, uid: bytes, ndef: bytes | None = None) -> None:
        """Make a card as it comes from the factory; with `ndef`, that message written to it.

        Raises:
            ValueError: for an id that has not 7 bytes, or a message that does not fit.
        """
        self.uid = _checked_uid(uid, (7,))
        self._memory = self._written(ndef or b"")
        self._listening = False

    def _written(self, ndef: bytes) -> bytes:
        """Lay out all pages: id, capability container, and the message (NFC Forum T2T)."""
        size = bytes([len(ndef)]) if len(ndef) < 255 else b"\xff" + len(ndef).to_bytes(2, "big")
        content = b"\x03" + size + ndef
        if len(content) > self.ndef_bytes:
            raise ValueError(f"{len(ndef)} bytes of NDEF do not fit a {type(self).__name__}")
        check_0 = 0x88 ^ self.uid[0] ^ self.uid[1] ^ self.uid[2]
        check_1 = self.uid[3] ^ self.uid[4] ^ self.uid[5] ^ self.uid[6]
        memory = self.uid[:3] + bytes([check_0]) + self.uid[3:] + bytes([check_1, 0x48, 0, 0])
        memory += bytes([0xE1, 0x10, self.ndef_bytes // 8, 0x00]) + content
        if len(content) < self.ndef_bytes:
            memory += b"\xfe"
        return memory.ljust(self.page_count * 4, b"\x00")

    def select(self) -> None:
        """Start as a freshly powered and selected card."""
        self._listening = True

    def answer(self, frame: bytes) -> Reply | None:
        """Answer READ and GET_VERSION; HALT silences the card."""
        if not self._listening or not frame:
            return None
        if frame[0] == 0x30 and len(frame) == 2 and frame[1] < self.page_count:
            start = frame[1] * 4
            # Reading on past the last page goes on at the first.
            return Reply((self._memory + self._memory[:12])[start : start + 16])
        if frame == b"\x60":
            return Reply(self.version)
        self._listening = False
        return None if frame == b"\x50\x00" else _nak(NAK_INVALID)


class Ntag213(_Ntag21x):
    """An NTAG213: 144 bytes of NDEF."""

    page_count = 45
    ndef_bytes = 144
    version = bytes.fromhex("0004040201000f03")


class Ntag215(_Ntag21x):
    """An NTAG215: 496 bytes of NDEF."""

    page_count = 135
    ndef_bytes = 496
    version = bytes.fromhex("0004040201001103")


class Ntag216(_Ntag21x):
    """An NTAG216: 872 bytes of NDEF."""

    page_count = 231
    ndef_bytes = 872
    version = bytes.fromhex("0004040201001303")


_ANSWER_TO_SELECT = bytes.fromhex("067777710280")
"""The ATS of an NTAG 424 DNA (NXP data sheet): commands of 128 bytes a block, 39 ms to answer."""

_NDEF_APPLICATION = bytes.fromhex("d2760000850101")
_CAPABILITY_FILE = b"\xe1\x03"
_NDEF_FILE = b"\xe1\x04"
_FILE_BYTES_MAX = 0x7FFF
"""READ BINARY has an offset of 15 bits."""

_OK = b"\x90\x00"
_NOT_FOUND = b"\x6a\x82"
_NOT_ALLOWED = b"\x69\x86"
_WRONG_LENGTH = b"\x67\x00"
_WRONG_OFFSET = b"\x6b\x00"
_UNKNOWN_COMMAND = b"\x6d\x00"
_UNKNOWN_CLASS = b"\x6e\x00"


class Type4:
    """An NFC Forum Type 4 tag, mapping version 2.0: select the application, a file, and read.

    `ndef` may be set anew between two taps, as a tag does that mirrors its counter into it.
    """

    sel_res = 0x20

    def __init__(self, uid: bytes, ndef: bytes = b"") -> None:
        self.uid = _checked_uid(uid, (4, 7))
        self.sens_res = b"\x04\x03" if len(uid) == 4 else b"\x44\x03"
        self.ndef = ndef
        self._blocks: BlockProtocol | None = None
        self._selected = False
        self._application_selected = False
        self._file = b""

    @property
    def ndef(self) -> bytes:
        """The NDEF message.

        Raises:
            ValueError: on setting one that does not fit a file.
        """
        return self._ndef

    @ndef.setter
    def ndef(self, message: bytes) -> None:
        if len(message) + 2 > _FILE_BYTES_MAX:
            raise ValueError(f"{len(message)} bytes of NDEF do not fit a file")
        self._ndef = bytes(message)

    def select(self) -> None:
        """Start as a freshly powered and selected card, which waits for RATS."""
        self._selected = True
        self._blocks = None
        self._application_selected = False
        self._file = b""

    def answer(self, frame: bytes) -> Reply | None:
        """Answer RATS once, then blocks; after DESELECT the card is silent until selected."""
        if not self._selected:
            return None
        if self._blocks is None:
            if len(frame) != 2 or frame[0] != 0xE0:
                return None
            self._blocks = BlockProtocol(self._command, frame[1] >> 4)
            return Reply(_ANSWER_TO_SELECT)
        block = self._blocks.answer(frame)
        if block == DESELECT:
            self._selected = False
        return None if block is None else Reply(block)

    def _command(self, command: bytes) -> bytes:
        """Answer one command of ISO/IEC 7816-4, the status word last."""
        if len(command) < 4:
            return _WRONG_LENGTH
        if command[0] != 0x00:
            return _UNKNOWN_CLASS
        if command[1] == 0xA4:
            return self._select_by_name(command)
        if command[1] == 0xB0:
            return self._read_binary(command)
        return _UNKNOWN_COMMAND

    def _select_by_name(self, command: bytes) -> bytes:
        """Select the application by its name, or in it a file by its identifier."""
        length = command[4] if len(command) > 4 else 0
        name = command[5 : 5 + length]
        if not length or len(name) != length:
            return _WRONG_LENGTH
        if command[2] == 0x04:
            self._file = b""
            self._application_selected = name == _NDEF_APPLICATION
            return _OK if self._application_selected else _NOT_FOUND
        if command[2] != 0x00 or not self._application_selected:
            return _NOT_FOUND
        files = {_CAPABILITY_FILE: self._capability_file(), _NDEF_FILE: self._ndef_file()}
        if name not in files:
            return _NOT_FOUND
        self._file = files[name]
        return _OK

    def _read_binary(self, command: bytes) -> bytes:
        """Read at most 256 bytes of the selected file."""
        if not self._file:
            return _NOT_ALLOWED
        if len(command) != 5:
            return _WRONG_LENGTH
        offset = int.from_bytes(command[2:4], "big")
        if offset >= len(self._file):
            return _WRONG_OFFSET
        return self._file[offset : offset + (command[4] or 256)] + _OK

    def _capability_file(self) -> bytes:
        """Tell the sizes, and that the NDEF file is read-only (NFC Forum T4T, mapping 2.0)."""
        size = len(self._ndef_file()).to_bytes(2, "big")
        control = b"\x04\x06" + _NDEF_FILE + size + b"\x00\xff"
        return bytes.fromhex("000f20010000ff") + control

    def _ndef_file(self) -> bytes:
        """Return the message behind its length, in a file of at least 256 bytes."""
        return (len(self._ndef).to_bytes(2, "big") + self._ndef).ljust(256, b"\x00")
