"""The pin factories of gpiozero, as the driver `gpiozero` shares them among its devices."""

import asyncio
import contextlib
import os
import socket
import struct
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from edgegate.ports import (
    DeviceAbsentError,
    DeviceBusyError,
    DeviceFaultError,
    LibraryMissingError,
)

PIGPIO_TIMEOUT_S = 1.0
"""How long pigpiod may take to answer; pigpio itself would wait for ever."""
REACH_TIMEOUT_S = 5.0


async def reach(host: str, port: int) -> None:
    """Raise unless pigpiod answers: pigpio itself would connect without a limit of time."""
    try:
        async with asyncio.timeout(REACH_TIMEOUT_S):
            _, writer = await asyncio.open_connection(host, port)
    except OSError as error:
        raise DeviceAbsentError(f"pigpiod at {host} port {port}: {error}") from error
    writer.close()


@dataclass(slots=True)
class _Lease:
    factory: Any
    users: int = 0


_Key = tuple[str, str, int]
_leases: dict[_Key, _Lease] = {}
_leases_lock = threading.Lock()


@asynccontextmanager
async def borrowed_factory(name: str, host: str, port: int) -> AsyncIterator[Any]:
    """Share one factory among all who name the same, and close it with the last.

    A factory that closes makes inputs of all its pins, and gpiozero's local factories hold their
    pins in common: with one for each device, closing a contact would let go of a strike.

    Raises:
        OperatingError: if the factory does not work here.
        LibraryMissingError: if gpiozero, or what the factory needs, is not installed.
    """
    key = (name, host, port) if name == "pigpio" else (name, "", 0)
    # Libraries are loaded and hosts are called: not in the event loop.
    borrowing = asyncio.get_running_loop().run_in_executor(None, _borrow, key)
    try:
        factory = await asyncio.shield(borrowing)
    except asyncio.CancelledError:
        borrowing.add_done_callback(
            lambda done: None if done.cancelled() or done.exception() else _give_back(key)
        )
        raise
    try:
        yield factory
    finally:
        _give_back(key)


def _borrow(key: _Key) -> Any:
    with _leases_lock:
        if key not in _leases:
            _leases[key] = _Lease(_make_factory(*key))
        _leases[key].users += 1
        return _leases[key].factory


def _give_back(key: _Key) -> None:
    with _leases_lock:
        lease = _leases[key]
        lease.users -= 1
        if lease.users > 0:
            return
        del _leases[key]
        with contextlib.suppress(*_library_errors()):
            lease.factory.close()
        _hang_up(lease.factory)
        with contextlib.suppress(*_library_errors(), AttributeError):
            lease.factory.connection.stop()


def _make_factory(name: str, host: str, port: int) -> Any:
    try:
        import gpiozero  # noqa: F401, PLC0415 - to name it where it is missing

        if name == "lgpio":
            _choose_work_directory()
        found = entry_points(group="gpiozero_pin_factories", name=name)
        kinds = [entry_point.load() for entry_point in found]
    except ModuleNotFoundError as error:
        raise LibraryMissingError(
            f"the driver gpiozero needs {error.name} for its factory {name}: "
            "pip install 'edgegate[gpiozero]', and what another factory than lgpio wants"
        ) from error
    except OSError as error:
        raise DeviceFaultError(f"the library of gpiozero's factory {name}: {error}") from error
    if not kinds:
        raise LibraryMissingError(f"gpiozero has no pin factory {name!r}: install what brings it")
    with operating(None):
        if name != "pigpio":
            return kinds[0]()
        factory = kinds[0](host, port)
        # A host that went away would else hold up whoever drives a strike, for ever.
        factory.connection.sl.s.settimeout(PIGPIO_TIMEOUT_S)
        return factory


def _choose_work_directory() -> None:
    """Give lgpio a directory for its pipe (PITFALLS G6), and undo its change into that.

    It makes the pipe when it is imported, in LG_WD or where the process is, and changes to LG_WD.
    """
    runtime = os.environ.get("RUNTIME_DIRECTORY", "").split(":")[0]
    if runtime:
        os.environ.setdefault("LG_WD", runtime)
    before = Path.cwd()
    try:
        import lgpio  # noqa: F401, PLC0415 - for what its import does
    finally:
        os.chdir(before)


def _hang_up(factory: Any) -> None:
    """End pigpio's connections, so that nobody reads the answer to another's question.

    Its thread for notifications would spin on a connection that ended, so it is told first.
    """
    connection = getattr(factory, "connection", None)
    notify = getattr(connection, "_notify", None)
    if notify is not None:
        notify.go = False
    for user in (connection, notify):
        with contextlib.suppress(OSError, AttributeError):
            user.sl.s.shutdown(socket.SHUT_RDWR)  # type: ignore[union-attr] # None is suppressed


def _library_errors() -> tuple[type[Exception], ...]:
    """What gpiozero and the libraries below it raise where a device does not do its part."""
    from gpiozero import GPIOZeroError  # noqa: PLC0415 - only where a driver of this kind is opened

    below = (getattr(sys.modules.get(name), "error", None) for name in ("lgpio", "pigpio"))
    # pigpio unpacks an answer of no bytes where its peer went away, which is a struct.error.
    return (GPIOZeroError, OSError, RuntimeError, struct.error, *filter(None, below))


@contextmanager
def operating(pin: Any) -> Iterator[None]:
    """Turn the errors of the libraries into ours; `pin` is None before there is one."""
    from gpiozero import GPIOPinInUse  # noqa: PLC0415 - only where a driver of this kind is opened

    try:
        yield
    except GPIOPinInUse as error:
        raise DeviceBusyError(str(error)) from error
    except _library_errors() as error:
        if pin is not None:
            _hang_up(pin.factory)
        if "busy" in str(error):
            raise DeviceBusyError(f"{error}: gpioinfo names the holder") from error
        kind = DeviceAbsentError if isinstance(error, OSError) else DeviceFaultError
        raise kind(f"gpiozero: {error}") from error
