"""How drivers load their library, open a device off the event loop, and name what went wrong."""

import asyncio
import errno
import os
import termios
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TypeVar

from edgegate.ports import (
    DeviceAbsentError,
    DeviceBusyError,
    DeviceFaultError,
    LibraryMissingError,
    OperatingError,
)

T = TypeVar("T")

_ABSENT = {errno.ENOENT, errno.ENODEV, errno.ENXIO, errno.EIO}
_BUSY = {errno.EBUSY, errno.EAGAIN}
_FORBIDDEN = {errno.EACCES, errno.EPERM}


@contextmanager
def library(extra: str, *packages: str) -> Iterator[None]:
    """Wrap the import of a driver's library.

    Args:
        extra: The extra of edgegate that installs it.
        packages: Top-level names of the library and of what it needs itself.

    Raises:
        LibraryMissingError: if one of `packages` is not installed.
        ImportError: as it was, if it is about anything else.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        name = (error.name or "").partition(".")[0]
        if name not in packages:
            raise
        raise LibraryMissingError(
            f"the library {name} is not installed: pip install 'edgegate[{extra}]'"
        ) from error


@asynccontextmanager
async def opened_in_thread(open_: Callable[[], T], close: Callable[[T], None]) -> AsyncIterator[T]:
    """Open a device in a worker thread, because a sick USB device may take seconds to refuse.

    Whoever is cancelled while the device opens leaves nothing behind: it is closed on arrival.
    """
    opening = asyncio.get_running_loop().run_in_executor(None, open_)

    def close_on_arrival(done: asyncio.Future[T]) -> None:
        if done.exception() is None:
            close(done.result())

    try:
        device = await asyncio.shield(opening)
    except asyncio.CancelledError:
        opening.add_done_callback(close_on_arrival)
        raise
    try:
        yield device
    finally:
        close(device)


def device_error(error: OSError | termios.error, path: str) -> OperatingError:
    """Say what an error met while opening `path` means; the caller holds it open no more."""
    # termios.error is no OSError, but carries the same number and text.
    code = error.args[0] if error.args else None
    if code in _ABSENT:
        return DeviceAbsentError(f"{path} is not there ({error})")
    if code in _BUSY:
        return DeviceBusyError(f"{path} is in use by {holders(path) or 'an unknown process'}")
    if code in _FORBIDDEN:
        return DeviceFaultError(f"{path} may not be opened by this user ({error})")
    return DeviceFaultError(f"{path} cannot be used: {error}")


def holders(path: str) -> str:
    """Name the processes that have a device open, as far as this user may look; "" if none."""
    device = os.path.realpath(path)
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if any(str(link.readlink()) == device for link in (process / "fd").iterdir()):
                found.append(f"process {process.name} ({(process / 'comm').read_text().strip()})")
        except OSError:
            # It has ended meanwhile, or belongs to another user.
            continue
    return ", ".join(sorted(found))
