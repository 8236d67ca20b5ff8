"""NFC card readers with a PN532 on a serial line (nfcpy), polled by a thread for each reader."""

import asyncio
import logging
import os
import threading
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, closing
from typing import Annotated

from msgspec import Meta

from edgegate.passes.model import CredentialKind
from edgegate.ports import DeviceAbsentError, Driver, DriverSettings, Part, Scan
from edgegate_drivers._devices import library
from edgegate_drivers._reader import QueuedReader

_log = logging.getLogger(__name__)

CARDS_MAX = 8
"""Cards remembered as present; the one away longest is forgotten for a ninth."""

_CLOSE_S_MAX = 5.0
_RANDOM_ID_LENGTH = 4
_RANDOM_ID_START = 0x08


class Settings(DriverSettings, frozen=True, kw_only=True):
    """A PN532 on a serial port, at 115200 baud.

    Attributes:
        port: The device, best by a stable name: `/dev/serial/by-id/…`.
        poll_ms: Milliseconds from one look for a card to the next.
        away_ms: Milliseconds that a card must be gone before it counts as presented again.
    """

    port: Annotated[str, Meta(min_length=1)]
    poll_ms: Annotated[int, Meta(ge=10, le=1000)] = 50
    away_ms: Annotated[int, Meta(ge=0, le=60_000)] = 500

    def claims(self) -> tuple[str, ...]:
        """Name the port."""
        return (f"port {os.path.normpath(self.port)}",)


class Presence:
    """Which cards lie on the reader, so that one that stays there is presented once.

    A card is away from the first look that does not find it: time in which nobody looked does not
    count. Random ids (ISO 14443-3: four bytes, the first 08) count as one card, because a phone
    that is held there shows a new one at each look.
    """

    def __init__(self, away_ns: int) -> None:
        self._away_ns = away_ns
        self._missing_since_ns: dict[bytes, int | None] = {}

    def presented(self, number: bytes | None, at_ns: int) -> bool:
        """Note what a look at `at_ns` found; whether that is a card newly presented."""
        card = _card_key(number)
        self._missing_since_ns = {
            other: at_ns if since_ns is None else since_ns
            for other, since_ns in self._missing_since_ns.items()
            if since_ns is None or at_ns - since_ns < self._away_ns
        }
        if card is None:
            return False
        known = card in self._missing_since_ns
        self._missing_since_ns.pop(card, None)
        self._missing_since_ns[card] = None
        if len(self._missing_since_ns) > CARDS_MAX:
            del self._missing_since_ns[next(iter(self._missing_since_ns))]
        return not known


def _card_key(number: bytes | None) -> bytes | None:
    if number and len(number) == _RANDOM_ID_LENGTH and number[0] == _RANDOM_ID_START:
        return b"random"
    return number


class _Poller:
    """The work of the reader's thread, which alone touches the chip."""

    def __init__(self, settings: Settings, reader: QueuedReader) -> None:
        self._settings = settings
        self._reader = reader
        self._presence = Presence(settings.away_ms * 1_000_000)
        self._loop = asyncio.get_running_loop()
        self.opened: asyncio.Future[None] = self._loop.create_future()
        self.stopping = threading.Event()

    def run(self) -> None:
        """Open the chip, look for cards until `stopping`, and close it whatever happens."""
        with library("nfc", "nfc", "serial", "usb1", "ndef", "pyDes"):
            # Imported here because only sites that have such a reader need the library.
            from edgegate_drivers._pn532 import Pn532  # noqa: PLC0415 - see above
        with closing(Pn532(self._settings.port)) as chip:
            self._loop.call_soon_threadsafe(self.opened.set_result, None)
            while not self.stopping.is_set():
                began_ns = time.monotonic_ns()
                number = chip.sense()
                self._report(number, time.monotonic_ns())
                passed_s = (time.monotonic_ns() - began_ns) / 1e9
                self.stopping.wait(max(0.0, self._settings.poll_ms / 1000 - passed_s))

    def _report(self, number: bytes | None, read_ns: int) -> None:
        is_new = self._presence.presented(number, read_ns)
        if number is not None and is_new:
            self._loop.call_soon_threadsafe(self._hand_over, number, read_ns)

    def _hand_over(self, number: bytes, read_ns: int) -> None:
        if number:
            self._reader.put(Scan(kind=CredentialKind.NFC_UID, number=number, read_ns=read_ns))
        else:
            self._reader.counts["malformed"] += 1


@asynccontextmanager
async def open_reader(settings: Settings) -> AsyncIterator[QueuedReader]:
    """Open the chip in a thread of its own, and yield its reader.

    Raises:
        LibraryMissingError: without nfcpy.
        DeviceAbsentError: if the port is not there; from `scans()`: if the chip went away.
        DeviceBusyError: if somebody else holds the port.
        DeviceFaultError: if no PN532 answers.
    """
    reader = QueuedReader()
    poller = _Poller(settings, reader)
    executor = ThreadPoolExecutor(1, thread_name_prefix=f"nfc {settings.port}")
    work = asyncio.get_running_loop().run_in_executor(executor, poller.run)

    def work_ended(done: asyncio.Future[None]) -> None:
        reader.fail(done.exception() or DeviceAbsentError(f"{settings.port} was closed"))

    work.add_done_callback(work_ended)
    try:
        await asyncio.wait({work, poller.opened}, return_when=asyncio.FIRST_COMPLETED)
        if work.done():
            work.result()
        yield reader
    finally:
        poller.stopping.set()
        # Waiting does not cancel: whatever happens here, the thread closes its chip by itself.
        await asyncio.wait({work}, timeout=_CLOSE_S_MAX)
        # The thread has done its last work, or never will: to join it could block the loop.
        executor.shutdown(wait=False)
        if not work.done():
            _log.error("%s does not close; its thread is left behind", settings.port)


DRIVER = Driver(reader=Part(Settings, open_reader))
