"""Configured devices: a driver found, its keys checked, and nothing opened yet."""

from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any, Generic, Literal, TypeVar

from msgspec import Struct

from edgegate.faults import Fault, Where
from edgegate.plugins import DriverInvalidError, DriverUnknownError, find, names
from edgegate.ports import (
    Driver,
    DriverSettings,
    LibraryMissingError,
    Part,
    Reader,
    Sensor,
    Strike,
)
from edgegate.secret import Secret
from edgegate.strict import Options, Readers, read_best
from edgegate.wording import shown

P = TypeVar("P")

Job = Literal["reader", "strike", "sensor"]


class Device(Struct, Generic[P], frozen=True, kw_only=True):
    """A device as configured; what it opens is its driver's part for the job."""

    driver: str
    part: Part[Any, P] | None
    settings: DriverSettings | None
    load_error: str = ""
    """Why the driver could not be imported; then there are neither part nor settings."""

    def open(self) -> AbstractAsyncContextManager[P]:
        """Open the device for as long as the context lasts.

        Raises:
            LibraryMissingError: if the driver lacks a library, now or on entering.
        """
        if self.part is None or self.settings is None:
            raise LibraryMissingError(self.load_error)
        return self.part.open(self.settings)


class DeviceTables:
    """Reads the tables of devices, and remembers what each device claims for itself."""

    def __init__(self) -> None:
        self._claims: list[tuple[str, Where]] = []

    @property
    def readers(self) -> Readers:
        """How a strict reading reads `Device[Strike]` and `Device[Sensor]`."""
        return {
            Device[Strike]: partial(self.read, "strike"),
            Device[Sensor]: partial(self.read, "sensor"),
        }

    def read(self, job: Job, data: object, where: Where, faults: list[Fault]) -> Any:
        """Read `{ driver = …, … }`; None where a fault was added."""
        if not isinstance(data, dict):
            faults.append(where.fault("must be a table", 'write { driver = "…", … }'))
            return None
        return self.read_keys(job, data, where, faults)

    def read_reader(
        self, data: dict[str, Any], where: Where, faults: list[Fault], elsewhere: tuple[str, ...]
    ) -> Device[Reader] | None:
        """Read the keys of a `[[reader]]` that are its driver's; `elsewhere` are the others."""
        device: Device[Reader] | None = self.read_keys("reader", data, where, faults, elsewhere)
        return device

    def read_keys(
        self,
        job: Job,
        data: dict[str, Any],
        where: Where,
        faults: list[Fault],
        elsewhere: tuple[str, ...] = (),
    ) -> Any:
        """Find the driver that `data` names and have its settings check the other keys."""
        name = data.get("driver")
        if not isinstance(name, str):
            hint = f"there are: {', '.join(names())}"
            problem = "must be a driver's name" if "driver" in data else "is missing"
            faults.append(where.at("driver").fault(problem, hint))
            return None
        try:
            part = _part(find(name), name, job)
        except LibraryMissingError as error:
            # One missing library must not keep every other door shut: the device reports it.
            return Device(driver=name, part=None, settings=None, load_error=str(error))
        except DriverUnknownError as error:
            faults.append(
                where.at("driver").fault(f"there is no {shown(error.name)}", error.suggestion)
            )
            return None
        except DriverInvalidError as error:
            faults.append(where.at("driver").fault(str(error)))
            return None
        keys = {key: value for key, value in data.items() if key != "driver"}
        options = Options(readers={Secret: Secret.read}, elsewhere=("driver", *elsewhere))
        settings = read_best(part.settings, keys, where, faults, options)
        if settings is None:
            return None
        # Claims count even where another key is wrong, so that one run names both.
        self._claims.extend((claim, where) for claim in settings.claims())
        return Device(driver=name, part=part, settings=settings)

    def check_claims(self, faults: list[Fault]) -> None:
        """Complain of each device that claims what an earlier one has claimed."""
        holders: dict[str, Where] = {}
        for claim, where in self._claims:
            holder = holders.setdefault(claim, where)
            if holder.path != where.path:
                problem = f"needs {claim} for itself, which {holder.field}"
                faults.append(where.fault(f"{problem} (line {holder.line}) has already"))


def _part(driver: Driver, name: str, job: Job) -> Part[Any, Any]:
    part: Part[Any, Any] | None = getattr(driver, job)
    if part is None:
        can = [other for other in ("reader", "strike", "sensor") if getattr(driver, other)]
        raise DriverInvalidError(f'"{name}" cannot be a {job}, only a {" or ".join(can)}')
    return part
