"""Keeps devices open: the one place where an operating error is waited out and tried again."""

import asyncio
import logging
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TypeVar

from msgspec import Struct

from edgegate.ports import DeviceAbsentError, DriverStatus, LibraryMissingError, OperatingError

D = TypeVar("D")

NAMES_MAX = 512
"""Devices on one board; more than an appliance has lines for."""

DETAIL_MAX = 300
"""Characters of a status's sentence; a longer one is cut."""

FAILURES_COUNTED_MAX = 32
"""Doubling further would change nothing: the cap is reached long before."""

log = logging.getLogger(__name__)


class Backoff(Struct, frozen=True, kw_only=True):
    """How long to wait between tries, and how long a try may take."""

    first_s: float = 0.2
    max_s: float = 15.0
    steady_s: float = 30.0
    """A device that ran this long begins again at `first_s`."""
    library_s: float = 300.0
    """A missing library comes only when somebody installs it."""
    open_s_max: float = 30.0
    close_s_max: float = 5.0

    def delay_s(self, failures: int, chance: float) -> float:
        """The wait after so many failures in a row; `chance` in [0, 1) halves it at the most.

        The halves differ between devices, so that those which fail together, as on one unplugged
        hub, do not all come back at the same instant.
        """
        doublings = min(max(failures - 1, 0), FAILURES_COUNTED_MAX)
        return min(self.max_s, self.first_s * 2.0**doublings) * (1 - chance / 2)


class DeviceStatus(Struct, frozen=True, kw_only=True):
    """How one device is doing."""

    status: DriverStatus
    detail: str
    """One sentence; empty where all is well."""
    since_s: float
    """When it became so, by the board's clock."""


class StatusBoard:
    """How every configured device is doing, by name; tells about changes only."""

    def __init__(
        self,
        on_change: Callable[[str, DeviceStatus], None] | None = None,
        *,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._on_change = on_change
        self._clock_s = clock_s
        self._devices: dict[str, DeviceStatus] = {}

    def note(self, name: str, status: DriverStatus, detail: str = "") -> bool:
        """Note how a device is doing; whether that is new.

        Raises:
            ValueError: if the board would hold more than `NAMES_MAX` devices.
        """
        detail = detail[:DETAIL_MAX]
        known = self._devices.get(name)
        if known is not None and (known.status, known.detail) == (status, detail):
            return False
        if known is None and len(self._devices) >= NAMES_MAX:
            raise ValueError(f"more than {NAMES_MAX} devices")
        device = DeviceStatus(status=status, detail=detail, since_s=self._clock_s())
        self._devices[name] = device
        if self._on_change is not None:
            self._on_change(name, device)
        return True

    def devices(self) -> dict[str, DeviceStatus]:
        """All devices as they are now, in the order in which they were first noted."""
        return dict(self._devices)


async def keep(  # noqa: PLR0913 - the last three are for tests
    name: str,
    open_device: Callable[[], AbstractAsyncContextManager[D]],
    use: Callable[[D], Awaitable[None]],
    status: StatusBoard,
    *,
    backoff: Backoff = Backoff(),  # noqa: B008 - a frozen value
    chance: Callable[[], float] = random.random,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    clock_s: Callable[[], float] = time.monotonic,
) -> None:
    """Open a device, use it, and do so again after every operating error; ends by cancelling only.

    A `use` that returns counts as the device having gone. Anything but an `OperatingError` or
    `LibraryMissingError` from opening or using passes through, to end the process.
    """
    failures = 0
    while True:
        opened_s: float | None = None
        try:
            async with _opened(name, open_device(), backoff) as device:
                opened_s = clock_s()
                if status.note(name, DriverStatus.ENABLED):
                    log.info("%s is there", name)
                await use(device)
            raise DeviceAbsentError("the device ended without saying why")
        except LibraryMissingError as error:
            _note_failure(status, name, DriverStatus.LOAD_ERROR, error)
            failures, delay_s = 0, backoff.library_s * (1 - chance() / 2)
        except OperatingError as error:
            _note_failure(status, name, DriverStatus.OFFLINE, error)
            steady = opened_s is not None and clock_s() - opened_s >= backoff.steady_s
            failures = 1 if steady else failures + 1
            delay_s = backoff.delay_s(failures, chance())
        await sleep(delay_s)


@asynccontextmanager
async def _opened(
    name: str, manager: AbstractAsyncContextManager[D], backoff: Backoff
) -> AsyncIterator[D]:
    device = await _open(manager, backoff.open_s_max)
    try:
        yield device
    finally:
        await _close(name, manager, backoff.close_s_max)


async def _open(manager: AbstractAsyncContextManager[D], open_s_max: float) -> D:
    deadline = asyncio.timeout(open_s_max)
    try:
        async with deadline:
            return await manager.__aenter__()
    except TimeoutError as error:
        if not deadline.expired():
            raise
        raise DeviceAbsentError(f"the device did not open within {open_s_max:g} s") from error


async def _close(
    name: str, manager: AbstractAsyncContextManager[object], close_s_max: float
) -> None:
    """Close without ever raising or hanging: the error that led here is the one that matters."""
    deadline = asyncio.timeout(close_s_max)
    try:
        async with deadline:
            # A driver cleans up the same way whatever ended its use, so it is not told.
            await manager.__aexit__(None, None, None)
    except Exception as error:  # noqa: BLE001 - a library may raise anything when it closes
        if deadline.expired():
            log.warning("%s did not close within %g s and is left behind", name, close_s_max)
        else:
            log.warning("%s could not be closed: %r", name, error)


def _note_failure(status: StatusBoard, name: str, kind: DriverStatus, error: Exception) -> None:
    if status.note(name, kind, str(error) or type(error).__name__):
        log.warning("%s: %s: %s", name, kind.value, error)
