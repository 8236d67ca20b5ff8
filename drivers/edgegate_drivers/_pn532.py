"""An NXP PN532 on a serial line, spoken to by nfcpy; imported only when such a reader is opened.

nfcpy's own `pn532.init` raises the line to 921600 baud, where a process that dies leaves the chip
for good (nfcpy issues 45, 68, 115, 203). The parts below it are used here without that step.
"""

import logging
import termios
import time
from contextlib import ExitStack, suppress
from typing import Any

import nfc.clf
import serial
from nfc.clf import pn532, transport

from edgegate.ports import DeviceAbsentError, DeviceFaultError
from edgegate_drivers._devices import device_error

BAUD = 115_200
"""What the chip speaks after power-on (NXP UM0701-02, 6.2.3 and 7.2.9)."""

_BAUDS_STRANDED = (921_600, 460_800, 230_400)
"""Where nfcpy may have left the chip, the likeliest first."""

_PROBES_MAX = 12
"""Each waits 100 ms; the first byte through a USB adapter on older Raspberry Pis takes 1 s."""

_WRITE_S_MAX = 1.0
_SWITCH_S = 0.01
_WAKE = bytes(10)
"""A preamble long enough to wake the chip from power-down (UM0701-02, 7.2.11)."""

_PN532 = 0x32
"""The first byte of a PN532's firmware version (UM0701-02, 7.2.2)."""

_ID_LENGTHS = (4, 7, 10)
"""Of card ids (ISO 14443-3, 6.5.4: single, double and triple size)."""

# A pulled cable is a termios.error, which is no OSError, and a frame cut short an IndexError.
_FAULTS = (OSError, termios.error, IndexError, pn532.Chipset.Error)

# The library reports each fault by exception, too: its lines would only say it twice.
_log = logging.getLogger(__name__)
_log.setLevel(logging.CRITICAL)


class Pn532:
    """A PN532 that is open; not thread-safe, and blocking."""

    def __init__(self, path: str) -> None:
        """Open the port for this process alone and set the chip up.

        Raises:
            DeviceAbsentError: if the port is not there.
            DeviceBusyError: if somebody else holds it.
            DeviceFaultError: if no PN532 answers there.
        """
        self._path = path
        self._gone = False
        self._target = nfc.clf.RemoteTarget("106A")
        try:
            self._serial = serial.Serial(
                path, BAUD, timeout=0.05, write_timeout=_WRITE_S_MAX, exclusive=True
            )
        except (OSError, termios.error) as error:
            raise device_error(error, path) from error
        with ExitStack() as undone:
            undone.callback(self._serial.close)
            try:
                self._frontend = self._set_up()
            except _FAULTS as error:
                raise DeviceFaultError(f"no PN532 can be set up on {path} ({error})") from error
            undone.pop_all()

    def sense(self) -> bytes | None:
        """Look for a card of type A once, which takes 6 to 22 ms.

        Returns:
            Its id; empty if it has none of ISO 14443-3's lengths; None if there is no card.

        Raises:
            DeviceAbsentError: if the chip does not answer as it should; it must be closed then.
        """
        try:
            target = self._frontend.sense(self._target)
        except _FAULTS as error:
            self._gone = True
            raise DeviceAbsentError(f"the PN532 on {self._path} went away ({error})") from error
        if target is None:
            return None
        number = bytes(target.sdd_res or b"")
        return number if len(number) in _ID_LENGTHS else b""

    def close(self) -> None:
        """Put the chip to sleep if it is still there, and close the port in any case."""
        try:
            if not self._gone:
                # nfcpy closes the port only if all that goes before went well.
                with suppress(*_FAULTS):
                    self._frontend.close()
        finally:
            self._serial.close()

    def _set_up(self) -> Any:
        line = transport.TTY()
        line.tty = self._serial
        chipset = pn532.Chipset(line, _log)
        self._find_chip(chipset)
        chipset.sam_configuration("normal")
        frontend = nfc.clf.ContactlessFrontend()
        frontend.device = pn532.Device(chipset, _log)
        return frontend

    def _find_chip(self, chipset: Any) -> None:
        for probe in range(_PROBES_MAX):
            if self._answers(chipset):
                return
            if probe == 0:
                self._call_down(chipset)
        raise DeviceFaultError(f"no PN532 answers on {self._path}")

    def _answers(self, chipset: Any) -> bool:
        try:
            chipset.transport.write(_WAKE)
            version = chipset.get_firmware_version()
        except _FAULTS:
            return False
        if version[0] != _PN532:
            raise DeviceFaultError(f"the chip on {self._path} is no PN532")
        return True

    def _call_down(self, chipset: Any) -> None:
        """Bring a chip back that was left at a higher rate."""
        for baud in _BAUDS_STRANDED:
            with suppress(*_FAULTS):
                chipset.transport.baudrate = baud
                chipset.transport.write(_WAKE)
                chipset.set_serial_baudrate(BAUD)
                # The chip changes over with the acknowledgement it has just been sent.
                time.sleep(_SWITCH_S)
                break
        with suppress(*_FAULTS):
            chipset.transport.baudrate = BAUD
