"""What a PN532 answers to each command of its user manual (NXP UM0701-02, chapter 7).

Commands in, answers out; the serial line and its speed are the business of `pn532`. The chip has
the commands a reader of cards of type A needs; any other is a syntax error.
"""

from collections.abc import Callable
from dataclasses import dataclass

from edgegate_emulators.cards import Card

BAUD_RATES = (9600, 19200, 38400, 57600, 115200, 230400, 460800, 921600)
"""The speeds by their code in SetSerialBaudRate (7.2.8), but for 1288000, which termios lacks."""

BAUD_AT_POWER_UP = 115200

_FIRMWARE = bytes.fromhex("32010607")
"""A PN532 with firmware 1.6 that serves type A, type B and ISO/IEC 18092 (7.2.2)."""

_TX_MODE, _RX_MODE, _TX_CONTROL, _FIFO_DATA = 0x6302, 0x6303, 0x6304, 0x6339
"""Registers of the contactless interface unit (PN532/C1 data sheet, CIU registers)."""

_CRC_ENABLED = 0x80
"""In the mode registers: the unit itself adds and checks checksums."""

_FIELD_ON = 0x03
"""In TxControl: both antenna drivers send the carrier."""

_WAKE_UP_REQUEST = 0x26
"""REQA of ISO/IEC 14443-3, which stays in the FIFO when no card has answered it."""

_TIMED_OUT = b"\x01"
_CRC_WRONG = b"\x02"
_SUCCESS = b"\x00"

_CASCADE_TAG = b"\x88"


@dataclass(frozen=True, slots=True, eq=False)
class Presence:
    """One laying down of a card: the same card laid down again has to be found again."""

    card: Card


def crc_a(data: bytes) -> bytes:
    """Return the checksum of type A, low byte first (ISO/IEC 14443-3, annex B)."""
    register = 0x6363
    for octet in data:
        register ^= octet
        for _ in range(8):
            register = register >> 1 ^ (0x8408 if register & 1 else 0)
    return register.to_bytes(2, "little")


def _cascaded(uid: bytes) -> bytes:
    """Return an id as InListPassiveTarget wants it: a tag before each part but the last."""
    return uid if len(uid) == 4 else _CASCADE_TAG + uid


class Pn532Chip:
    """The chip from one power-up on; `field` tells which card lies on the antenna now."""

    def __init__(self, field: Callable[[], Presence | None]) -> None:
        self.baud = BAUD_AT_POWER_UP
        self.baud_agreed: int | None = None
        """The speed to change to once the host has acknowledged the agreement."""
        self.asleep = True
        """Whether the first bytes on the line only wake the chip."""
        self._field = field
        self._active: Presence | None = None
        self._registers: dict[int, int] = {}
        self._commands: dict[int, Callable[[bytes], bytes | None]] = {
            0x00: self._diagnose,
            0x02: lambda data: None if data else _FIRMWARE,
            0x06: self._read_register,
            0x08: self._write_register,
            0x10: self._set_serial_baud_rate,
            0x12: lambda data: b"" if len(data) == 1 else None,
            0x14: lambda data: b"" if data and 1 <= data[0] <= 4 else None,
            0x16: self._power_down,
            0x32: self._configure_field,
            0x42: self._communicate_thru,
            0x4A: self._list_passive_target,
        }

    def answer(self, code: int, data: bytes) -> bytes | None:
        """Return the parameters of the answer; None is a syntax error."""
        command = self._commands.get(code)
        return None if command is None else command(data)

    def acknowledge(self) -> None:
        """Take the host's ACK, which puts an agreed speed into force."""
        if self.baud_agreed is not None:
            self.baud, self.baud_agreed = self.baud_agreed, None

    def _diagnose(self, data: bytes) -> bytes | None:
        """Test the line by repeating what came, or find memory sound (7.2.1)."""
        if data[:1] == b"\x00":
            return data
        return b"\x00" if data in (b"\x01", b"\x02") else None

    def _read_register(self, data: bytes) -> bytes | None:
        """Return one byte for each address."""
        if not data or len(data) % 2:
            return None
        addresses = (int.from_bytes(data[at : at + 2], "big") for at in range(0, len(data), 2))
        return bytes(self._registers.get(address, 0) for address in addresses)

    def _write_register(self, data: bytes) -> bytes | None:
        """Keep one byte for each address."""
        if not data or len(data) % 3:
            return None
        for at in range(0, len(data), 3):
            self._registers[int.from_bytes(data[at : at + 2], "big")] = data[at + 2]
        return b""

    def _set_serial_baud_rate(self, data: bytes) -> bytes | None:
        """Agree on a speed; it is in force once the host has acknowledged this answer."""
        if len(data) != 1 or data[0] >= len(BAUD_RATES):
            return None
        self.baud_agreed = BAUD_RATES[data[0]]
        return b""

    def _power_down(self, data: bytes) -> bytes | None:
        if len(data) not in (1, 2):
            return None
        self._switch_field(on=False)
        self.asleep = True
        return _SUCCESS

    def _configure_field(self, data: bytes) -> bytes | None:
        """Switch the field with item 1; the tuning items are taken and change nothing (7.3.1)."""
        if len(data) < 2 or data[0] not in (0x01, 0x02, 0x04, 0x05, 0x0A, 0x0B, 0x0C, 0x0D):
            return None
        if data[0] == 0x01:
            self._switch_field(on=bool(data[1] & 1))
        return b""

    def _switch_field(self, *, on: bool) -> None:
        """Without the field a card loses its state, so it is no longer the active one."""
        if not on:
            self._active = None
        self._registers[_TX_CONTROL] = 0x80 | (_FIELD_ON if on else 0)

    def _list_passive_target(self, data: bytes) -> bytes | None:
        """Find and select a card, any or the one whose id is given (7.3.5)."""
        if len(data) < 2 or data[0] not in (1, 2) or data[1] > 4:
            return None
        self._switch_field(on=True)
        self._active = None
        presence = self._field()
        if data[1] != 0 or presence is None:
            self._registers[_FIFO_DATA] = _WAKE_UP_REQUEST
            return b"\x00"
        self._registers[_FIFO_DATA] = 0
        card = presence.card
        if data[2:] not in (b"", _cascaded(card.uid)):
            return b"\x00"
        card.select()
        self._active = presence
        self._registers[_TX_MODE] = self._registers[_RX_MODE] = _CRC_ENABLED
        # The manual gives SENS_RES with its high byte first, against the order on the air.
        found = card.sens_res[::-1] + bytes([card.sel_res, len(card.uid)]) + card.uid
        return b"\x01\x01" + found

    def _communicate_thru(self, data: bytes) -> bytes | None:
        """Send a frame to the active card and return what it answers (7.3.9).

        With the checksum's check switched off, as for type 2 tags, the answer carries it.
        """
        if not data:
            return None
        presence = self._active
        if presence is None or presence is not self._field():
            return _TIMED_OUT
        reply = presence.card.answer(data)
        if reply is None:
            return _TIMED_OUT
        if self._registers[_RX_MODE] & _CRC_ENABLED:
            return _SUCCESS + reply.data if reply.has_crc else _CRC_WRONG
        return _SUCCESS + reply.data + (crc_a(reply.data) if reply.has_crc else b"")
