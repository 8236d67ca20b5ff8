"""The card's side of the half-duplex block protocol of ISO/IEC 14443-4 (clause 7), without CID.

It carries commands and answers of any length in blocks, repeats a block that was lost, and
chains what is longer than a block.
"""

from collections.abc import Callable

COMMAND_BYTES_MAX = 1024
"""A chained command that grows beyond this is dropped and the card falls silent."""

_FRAME_BYTES = (16, 24, 32, 40, 48, 64, 96, 128, 256)
_OVERHEAD_BYTES = 3
"""A block's control byte and its two checksum bytes count towards the frame size."""

_CHAINING = 0x10
_NOT_ACKNOWLEDGED = 0x10
DESELECT = b"\xc2"


class BlockProtocol:
    """One activated card: blocks in, blocks out; the application sees whole commands."""

    def __init__(self, application: Callable[[bytes], bytes], frame_size_code: int) -> None:
        self._application = application
        self._information_bytes = _FRAME_BYTES[min(frame_size_code, 8)] - _OVERHEAD_BYTES
        self._number = 1
        self._command = b""
        self._rest = b""
        self._last: bytes | None = None

    def answer(self, block: bytes) -> bytes | None:
        """Return the block that answers `block`; None where a card keeps silent."""
        if not block:
            return None
        control = block[0]
        if control & 0xEE == 0x02:
            return self._on_information(control, block[1:])
        if control & 0xEE == 0xA2 and len(block) == 1:
            return self._on_acknowledge(control)
        if block == DESELECT:
            return DESELECT
        return None

    def _on_information(self, control: int, information: bytes) -> bytes | None:
        """Take a piece of a command; the card's number follows the reader's blocks (rule D)."""
        self._number ^= 1
        self._command += information
        if len(self._command) > COMMAND_BYTES_MAX:
            self._command = b""
            return None
        if control & _CHAINING:
            return self._send(bytes([0xA2 | self._number]))
        command, self._command = self._command, b""
        self._rest = self._application(command)
        return self._next_piece()

    def _on_acknowledge(self, control: int) -> bytes | None:
        """Repeat the last block, go on with a chain, or say that the card is there."""
        if control & 1 == self._number:
            return self._last
        if control & _NOT_ACKNOWLEDGED:
            return bytes([0xA2 | self._number])
        if not self._rest:
            return None
        self._number ^= 1
        return self._next_piece()

    def _next_piece(self) -> bytes:
        """Send as much of the answer as a block holds."""
        piece = self._rest[: self._information_bytes]
        self._rest = self._rest[self._information_bytes :]
        control = 0x02 | self._number | (_CHAINING if self._rest else 0)
        return self._send(bytes([control]) + piece)

    def _send(self, block: bytes) -> bytes:
        self._last = block
        return block
