"""Frames between a host and a PN532, as the NXP user manual UM0701-02 lays them out (6.2.1).

A parser that takes bytes as they come and never raises: what makes no frame is counted and passed
over, as the chip stays silent on an error of the link.
"""

from enum import Enum

FROM_HOST = 0xD4
TO_HOST = 0xD5

DATA_BYTES_MAX = 265
"""The longest data field with its identifier; the chip's own limit (UM0701-02, 6.2.1.2)."""

ACK = bytes.fromhex("0000ff00ff00")
SYNTAX_ERROR = bytes.fromhex("0000ff01ff7f8100")
"""What the chip answers to a command it does not know or with wrong parameters (6.2.1.5)."""

_START = b"\x00\xff"
_NORMAL_BYTES_MAX = 254
_PREAMBLE_BYTES = frozenset({0x00, 0x55})


class Handshake(Enum):
    """The frames that carry no data."""

    ACK = "ack"
    NACK = "nack"


def frame(data: bytes) -> bytes:
    """Wrap a data field, identifier included; from 255 bytes on in an extended frame.

    A length of 255 would fit a normal frame, but its length byte is also the mark of an extended
    one, and hosts (nfcpy among them) take it for that.
    """
    length = len(data)
    if length > _NORMAL_BYTES_MAX:
        size = length.to_bytes(2, "big")
        head = b"\xff\xff" + size + bytes([-sum(size) & 0xFF])
    else:
        head = bytes([length, -length & 0xFF])
    return b"\x00" + _START + head + data + bytes([-sum(data) & 0xFF, 0x00])


class FrameParser:
    """Finds frames in the bytes a host sends; holds back at most one unfinished frame."""

    def __init__(self) -> None:
        self.malformed_count = 0
        """Frames with a wrong checksum, length or identifier, unfinished ones, and noise."""
        self._held = bytearray()

    @property
    def unfinished(self) -> bool:
        """Whether a frame has begun and its end has not come."""
        return self._held.startswith(_START)

    def forget(self) -> None:
        """Drop an unfinished frame, which counts as malformed."""
        if self.unfinished:
            self.malformed_count += 1
        self._held.clear()

    def feed(self, received: bytes) -> list[bytes | Handshake]:
        """Take bytes, return the frames they complete: a command without its identifier, or ACK."""
        self._held += received
        found: list[bytes | Handshake] = []
        while self._seek_start():
            size = self._whole_size()
            if size is None:
                break
            taken = self._take(size)
            if taken is None:
                # Only the start code goes, so that a good frame behind a cut one is still found.
                self.malformed_count += 1
                del self._held[: len(_START)]
            else:
                found.append(taken)
                del self._held[:size]
        return found

    def _seek_start(self) -> bool:
        """Drop what comes before a start code; whether there is one."""
        start = self._held.find(_START)
        end = start if start >= 0 else len(self._held) - self._held.endswith(b"\x00")
        if not _PREAMBLE_BYTES.issuperset(self._held[:end]):
            self.malformed_count += 1
        del self._held[:end]
        return start >= 0

    def _whole_size(self) -> int | None:
        """Bytes of the frame at hand, None while it is unfinished, 0 if its head is wrong."""
        held = self._held
        if len(held) < 4:
            return None
        if bytes(held[2:4]) in (b"\x00\xff", b"\xff\x00"):
            return 4
        head = 4
        if held[2:4] == b"\xff\xff":
            head = 7
            if len(held) < head:
                return None
            length, check = int.from_bytes(held[4:6], "big"), sum(held[4:7])
        else:
            length, check = held[2], held[2] + held[3]
        if check & 0xFF or not 2 <= length <= DATA_BYTES_MAX:
            return 0
        size = head + length + 1
        return size if len(held) >= size else None

    def _take(self, size: int) -> bytes | Handshake | None:
        """Return what the frame of that size carries, None if it is malformed."""
        if size == 0:
            return None
        if size == 4:
            return Handshake.ACK if self._held[2] == 0 else Handshake.NACK
        head = 7 if self._held[2:4] == b"\xff\xff" else 4
        data = self._held[head:size]
        if sum(data) & 0xFF or data[0] != FROM_HOST:
            return None
        return bytes(data[1:-1])
