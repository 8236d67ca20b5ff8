"""Locks a released strike again from a thread of its own, whatever the event loop does."""

import asyncio
import logging
import threading
import time
from typing import Annotated, Protocol

from msgspec import Meta

from edgegate.ports import DeviceAbsentError, DeviceFaultError, OperatingError

RELEASE_S_MAX = 10.0
"""How long one call may keep a strike released where the configuration does not say."""

ReleaseSeconds = Annotated[float, Meta(gt=0, le=60)]
"""The type of the setting `release_s_max`."""

RETRY_S = 0.1
RETRY_LOG_S = 10.0
CLOSE_TRIES_MAX = 3
WATCH_S = 0.5

log = logging.getLogger(__name__)


class StrikeLine(Protocol):
    """The wire of one strike; called from any thread, never from two at a time.

    Each may raise an `OperatingError`, and should return within a second.
    """

    def release_line(self) -> None:
        """Drive the line to unlocked."""

    def lock_line(self) -> None:
        """Drive the line to locked."""

    def check_line(self) -> None:
        """Raise an `OperatingError` if the device went away."""


class Relock:
    """A strike that locks by itself: a `StrikeLine`, an instant to lock it at, and a thread.

    One lock guards the line and the instant together, so that a released line always has an
    instant at which it locks. Each strike has a thread of its own: a line whose write is slow, as
    over a network, then delays no other door's lock. `Condition.wait` counts by the monotonic
    clock (sem_clockwait, Python 3.11 on glibc 2.30), so a step of the wall clock moves nothing.
    """

    def __init__(
        self, line: StrikeLine, *, name: str, release_s_max: float = RELEASE_S_MAX
    ) -> None:
        self._line = line
        self._name = name
        self._release_s_max = release_s_max
        self._changed = threading.Condition(threading.Lock())
        self._lock_at_s: float | None = None
        self._fault: Exception | None = None
        self._fault_logged_at_s = 0.0
        self._closed = False
        self._thread = threading.Thread(target=self._keep, name=f"relock {name}", daemon=True)
        self._thread.start()

    def release(self, for_s: float) -> None:
        """Unlock now, and lock again after `for_s` seconds or `release_s_max`, the shorter.

        The line is driven before this returns. A later call replaces the instant, to an earlier
        or a later one.

        Raises:
            OperatingError: if the line could not be driven; it is then locked at once, and until
                that succeeds.
            ValueError: if `for_s` is not above zero; nothing was driven.
        """
        if not for_s > 0:
            raise ValueError(f"a strike is released for more than 0 s, not {for_s}")
        with self._changed:
            if self._closed:
                raise DeviceAbsentError(f"strike {self._name} is closed")
            # Before the line is driven it is due to lock at once, and the thread cannot look before
            # this lock is given back: after a failure nobody knows how far the write came.
            self._lock_at_s = now_s = time.monotonic()
            try:
                self._line.release_line()
                self._lock_at_s = now_s + min(for_s, self._release_s_max)
            finally:
                self._changed.notify()

    def lock(self) -> None:
        """Lock now; a line that cannot be driven is tried again until it can, by the thread."""
        with self._changed:
            if not self._closed and not self._lock_tried():
                self._lock_at_s = time.monotonic()
                self._changed.notify()

    def leave_released(self) -> None:
        """Release, and end the thread that would lock: nothing here locks this line again."""
        with self._changed:
            if self._closed:
                return
            self._closed = True
            self._changed.notify()
            try:
                self._line.release_line()
            except OperatingError as error:
                log.critical("strike %s could not be left released: %s", self._name, error)

    async def watch(self) -> None:
        """Wait until the device is lost or fails to lock, then raise an `OperatingError`."""
        while True:
            with self._changed:
                if self._closed:
                    raise DeviceAbsentError(f"strike {self._name} is closed")
                if self._fault is not None:
                    raise DeviceFaultError(
                        f"strike {self._name} does not lock: {self._fault}"
                    ) from self._fault
                self._line.check_line()
            await asyncio.sleep(WATCH_S)

    def close(self) -> None:
        """Lock and let the thread end; afterwards `release` fails and `lock` does nothing.

        A line that cannot be driven is tried `CLOSE_TRIES_MAX` times: it is about to be given up,
        and whoever opens it next locks it by opening it. Nobody drives the line after this, so it
        need not wait for the thread, which would hold up an event loop.
        """
        with self._changed:
            if not self._closed:
                self._closed = True
                self._changed.notify()
                self._lock_last()

    def _keep(self) -> None:
        with self._changed:
            while not self._closed:
                self._changed.wait(self._turn())

    def _turn(self) -> float | None:
        """Lock if it is time; return how many seconds the thread may sleep then."""
        if self._lock_at_s is None:
            return None
        left_s = self._lock_at_s - time.monotonic()
        if left_s > 0:
            return left_s
        return None if self._lock_tried() else RETRY_S

    def _lock_last(self) -> None:
        if not any(self._lock_tried() for _ in range(CLOSE_TRIES_MAX)):
            log.critical("strike %s is given up without having locked", self._name)

    def _lock_tried(self) -> bool:
        try:
            self._line.lock_line()
        except Exception as error:  # noqa: BLE001 - whatever a library raises, the door must lock
            self._note_fault(error)
            return False
        if self._fault is not None:
            log.warning("strike %s could be locked again", self._name)
        self._fault = None
        self._lock_at_s = None
        return True

    def _note_fault(self, error: Exception) -> None:
        now_s = time.monotonic()
        if self._fault is None or now_s - self._fault_logged_at_s >= RETRY_LOG_S:
            log.error("strike %s could not be locked, trying on", self._name, exc_info=error)
            self._fault_logged_at_s = now_s
        self._fault = error
