"""An NFC reader without hardware: a PN532 on a pseudo-terminal that unmodified nfcpy opens.

It speaks the chip's high speed UART: speeds that must match, a chip that has to be woken, frames,
and commands acknowledged before they are answered (NXP UM0701-02, chapter 6).
"""

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from edgegate_emulators.cards import Card
from edgegate_emulators.pn532_chip import Pn532Chip, Presence
from edgegate_emulators.pn532_frames import (
    ACK,
    SYNTAX_ERROR,
    TO_HOST,
    FrameParser,
    Handshake,
    frame,
)
from edgegate_emulators.tty import PtyLink, UnpluggedError

HISTORY_MAX = 1000
"""Commands kept; the oldest are forgotten first."""

BYTE_DELAY_115200_S = 87e-6
"""What one byte takes at 115200 baud, for `byte_delay_s`."""

_BAUD_STUCK = 921600
_FRAME_SILENCE_S = 0.25
"""A frame that has not come whole after this much silence is given up."""

_WAKE_BYTES = 5
"""Bytes lost on waking; hosts send a longer preamble before the first command (7.2.11)."""


@dataclass(frozen=True, slots=True)
class Command:
    """A command that the chip took from the host."""

    code: int
    data: bytes
    at_ns: int
    """`time.monotonic_ns()` when its frame was whole."""


class Pn532:
    """A PN532 whose serial port is found at `path` from construction until `close`.

    `present`, `remove` and the counts may be used from an event loop; the others wait for the
    reader's thread. `baud_stuck` starts it as a killed process leaves one: at 921600 baud, deaf to
    every other speed until it is told to change or loses its power. `byte_delay_s` is the time
    each byte takes on the line, both ways.

    Raises:
        OSError: if the port cannot be made at `path`.
    """

    def __init__(self, path: Path, *, baud_stuck: bool = False, byte_delay_s: float = 0.0) -> None:
        self.unheard_byte_count = 0
        """Bytes that came at another speed than the chip's."""
        self._link = PtyLink(path)
        self._byte_delay_s = byte_delay_s
        self._presence: Presence | None = None
        self._spoil: Callable[[bytes], bytes] | None = None
        self._answer_last = b""
        self._malformed_count = 0
        self._history: deque[Command] = deque(maxlen=HISTORY_MAX)
        self._history_lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._power_up(baud_stuck=baud_stuck)

    @property
    def path(self) -> Path:
        """Where the port is found while plugged."""
        return self._link.path

    @property
    def baud(self) -> int:
        """The speed the chip listens at."""
        return self._chip.baud

    @property
    def commands(self) -> tuple[Command, ...]:
        """The last `HISTORY_MAX` commands, oldest first."""
        with self._history_lock:
            return tuple(self._history)

    @property
    def malformed_count(self) -> int:
        """Frames from the host that were none, since construction."""
        return self._malformed_count + self._parser.malformed_count

    def present(self, card: Card) -> int:
        """Lay a card down, in place of one that lies there; returns `time.monotonic_ns()` then."""
        self._presence = Presence(card)
        return time.monotonic_ns()

    def remove(self) -> int:
        """Take the card away, if there is one; returns `time.monotonic_ns()` then."""
        self._presence = None
        return time.monotonic_ns()

    def spoil_next_answer(self, change: Callable[[bytes], bytes]) -> None:
        """Send the next answer as `change` makes it: cut, garbled, or a `SYNTAX_ERROR` frame."""
        self._spoil = change

    def unplug(self) -> None:
        """Pull the plug: the host's descriptor hangs up and the port is gone; idempotent.

        nfcpy 1.0.4 then raises `termios.error`, which is no OSError, from the next command and from
        `close()`, and OSError from a command that waits for its answer.
        """
        self._link.unplug()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def replug(self) -> None:
        """Plug in again, or pull and plug: the chip starts at 115200 baud, asleep."""
        self.unplug()
        self._malformed_count += self._parser.malformed_count
        self._power_up(baud_stuck=False)

    def close(self) -> None:
        """Pull the plug for good; idempotent."""
        self.unplug()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _power_up(self, *, baud_stuck: bool) -> None:
        """Make a fresh chip and serve it."""
        self._chip = Pn532Chip(lambda: self._presence)
        self._parser = FrameParser()
        if baud_stuck:
            self._chip.baud, self._chip.asleep = _BAUD_STUCK, False
        self._link.plug()
        self._thread = threading.Thread(
            target=self._serve, name=f"pn532 {self.path.name}", daemon=True
        )
        self._thread.start()

    def _serve(self) -> None:
        """Hear and answer until the plug is pulled."""
        try:
            while True:
                silence_s = _FRAME_SILENCE_S if self._parser.unfinished else None
                received = self._link.read(silence_s)
                if received is None:
                    return
                if received:
                    self._hear(received)
                else:
                    self._parser.forget()
        except UnpluggedError:
            return

    def _hear(self, received: bytes) -> None:
        """Take bytes from the line at the speed the host has set."""
        chip = self._chip
        baud = self._link.baud()
        if baud == chip.baud_agreed:
            # A pseudo-terminal loses the ACK if the host flushes its output right behind it; a
            # host that already uses the agreed speed has acknowledged it.
            chip.acknowledge()
        if baud != chip.baud:
            self.unheard_byte_count += len(received)
            self._parser.forget()
            return
        self._pause(len(received))
        if chip.asleep:
            chip.asleep = False
            received = received[_WAKE_BYTES:]
        for found in self._parser.feed(received):
            if found is Handshake.ACK:
                chip.acknowledge()
            elif found is Handshake.NACK:
                self._send(self._answer_last)
            elif isinstance(found, bytes):
                self._obey(found[0], found[1:])

    def _obey(self, code: int, data: bytes) -> None:
        """Acknowledge a command, then answer it."""
        with self._history_lock:
            self._history.append(Command(code, data, time.monotonic_ns()))
        self._send(ACK)
        parameters = self._chip.answer(code, data)
        if parameters is None:
            answer = SYNTAX_ERROR
        else:
            answer = frame(bytes([TO_HOST, code + 1 & 0xFF]) + parameters)
        self._answer_last = answer
        if self._spoil is not None:
            answer, self._spoil = self._spoil(answer), None
        self._send(answer)

    def _send(self, data: bytes) -> None:
        self._pause(len(data))
        self._link.write(data)

    def _pause(self, byte_count: int) -> None:
        """Wait as long as so many bytes take on the line."""
        if self._byte_delay_s:
            time.sleep(byte_count * self._byte_delay_s)
