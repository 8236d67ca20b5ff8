"""Finds drivers by the names that the configuration gives them, and imports only those."""

import pkgutil
import re
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

from edgegate.faults import did_you_mean
from edgegate.ports import Driver, LibraryMissingError
from edgegate.wording import shown

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint, EntryPoints

PACKAGE = "edgegate_drivers"
"""Where edgegate's own drivers are; one file more in it is one driver more."""

ENTRY_POINT_GROUP = "edgegate.drivers"
"""Where a distribution of its own announces a driver: `name = "its_package.its_module"`."""

_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}\Z")


class DriverUnknownError(Exception):
    """There is no driver of that name; `suggestion` says what could have been meant."""

    def __init__(self, name: str, suggestion: str) -> None:
        super().__init__(name, suggestion)
        self.name = name
        self.suggestion = suggestion

    def __str__(self) -> str:
        """What is wrong, and what could have been meant."""
        return f"there is no driver {shown(self.name)}; {self.suggestion}"


class DriverInvalidError(Exception):
    """The module is there and is no driver; the message says what it lacks."""


def names() -> tuple[str, ...]:
    """Name the drivers there are, sorted, without importing any."""
    own = (module.name for module in pkgutil.iter_modules(import_module(PACKAGE).__path__))
    foreign = (point.name for point in _entry_points())
    return tuple(sorted({name for name in (*own, *foreign) if _NAME.match(name)}))


def find(name: str) -> Driver:
    """Import a driver: `edgegate_drivers.<name>`, or else the entry point of that name.

    Raises:
        DriverUnknownError: if there is none, or the name is not that of a driver.
        DriverInvalidError: if the module exports no `DRIVER`, or one that can open nothing.
        LibraryMissingError: if a library that the module imports is not there.
    """
    module = _find_module(name) if _NAME.match(name) else None
    if module is None:
        known = names()
        suggestion = did_you_mean(name, known) or f"there are: {', '.join(known) or 'none'}"
        raise DriverUnknownError(name, suggestion)
    driver = getattr(module, "DRIVER", None)
    if not isinstance(driver, Driver):
        raise DriverInvalidError(f"{module.__name__} does not export a DRIVER")
    if driver == Driver():
        raise DriverInvalidError(f"{module.__name__} has a DRIVER that can open nothing")
    return driver


def _entry_points() -> "EntryPoints":
    # A third of the start of the command line, and needed only for drivers that are not ours.
    from importlib.metadata import entry_points  # noqa: PLC0415 - see above

    return entry_points(group=ENTRY_POINT_GROUP)


def _find_module(name: str) -> ModuleType | None:
    own = f"{PACKAGE}.{name}"
    try:
        return import_module(own)
    except ImportError as error:
        if error.name != own:
            raise _import_fault(name, error) from error
    points = [point for point in _entry_points() if point.name == name]
    return _load(points[0]) if points else None


def _load(point: "EntryPoint") -> ModuleType:
    try:
        module = point.load()
    except ImportError as error:
        if error.name == point.module:
            raise DriverInvalidError(f"{point.value} is announced but is not there") from error
        raise _import_fault(point.name, error) from error
    except AttributeError as error:
        raise DriverInvalidError(f"{point.value} is announced but is not there") from error
    if not isinstance(module, ModuleType):
        raise DriverInvalidError(f"{point.value} is not a module")
    return module


def _import_fault(name: str, error: ImportError) -> LibraryMissingError | DriverInvalidError:
    """Tell a library that is not installed from a driver that imports what edgegate has not."""
    library = (error.name or "").partition(".")[0]
    if library.startswith("edgegate"):
        return DriverInvalidError(f'driver "{name}" cannot be imported: {error}')
    return LibraryMissingError(
        f'driver "{name}" needs {library or "a library"}, which cannot be imported: {error}'
    )
