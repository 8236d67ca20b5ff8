"""Scenario files: a small world and a list of steps with what must come of each.

`docs/scenarios.md` describes the format. This module reads a file into structs and names every
fault in it; `replay` runs it.
"""

import tomllib
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Annotated, Any
from zoneinfo import available_timezones

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType, field

from edgegate.faults import Fault, FaultsError, Where, did_you_mean
from edgegate.passes.localtime import is_zone
from edgegate.passes.model import Instant, Record
from edgegate.passes.reasons import ClosingReason, Reason
from edgegate.store import cache
from edgegate.store.cache import Kind
from edgegate.strict import read_struct
from edgegate.tomlfile import load

PRESETS = resources.files("edgegate.passes") / "presets"

KINDS: dict[str, Kind[Any]] = {
    kind.name: kind
    for kind in (
        *(cache.LOCATION, cache.CUSTOMER, cache.TEAM, cache.CONTRACT, cache.CREDENTIAL),
        *(cache.PASS, cache.DOOR, cache.RESOURCE, cache.RESERVATION, cache.OFFER),
    )
}
"""What decisions look at, as people name it; what is left of a pass stands in it, `remaining`."""


class AtDoor(Struct, frozen=True, kw_only=True):
    """Somebody at a door's reader, by name or by what they show."""

    door: str
    customer: str | None = None
    credential: str | None = None
    device: str | None = None


class AtLocation(Struct, frozen=True, kw_only=True):
    """Somebody at a location's kiosk or on its Wi-Fi."""

    customer: str
    location: str | None = None
    device: str | None = None


class Put(Struct, frozen=True, kw_only=True):
    """A record arrives from the cloud."""

    kind: str
    body: dict[str, Any]


class Delete(Struct, frozen=True, kw_only=True):
    """A record is taken away by the cloud."""

    kind: str
    id: str


class ClosedVisit(Struct, frozen=True, kw_only=True):
    """A session that closed since the step before; what is not named is not checked."""

    customer: str | UnsetType = UNSET
    reason: ClosingReason | UnsetType = UNSET
    at: Instant | UnsetType = UNSET
    minutes: int | UnsetType = UNSET


class Charge(Struct, frozen=True, kw_only=True):
    """What pay-as-you-go cost since the step before, in minor units."""

    customer: str | UnsetType = UNSET
    offer: str | UnsetType = UNSET
    amount: int | UnsetType = UNSET


class Expect(Struct, frozen=True, kw_only=True):
    """What must come of a step; what is not named is not checked."""

    opens: bool | UnsetType = UNSET
    reason: Reason | UnsetType = UNSET
    because: Reason | UnsetType = UNSET
    pass_: str | UnsetType = field(name="pass", default=UNSET)
    offer: str | UnsetType = UNSET
    retry_at: Instant | UnsetType = UNSET
    remaining: dict[str, int] | UnsetType = UNSET
    sessions: list[str] | UnsetType = UNSET
    closed: list[ClosedVisit] | UnsetType = UNSET
    charged: list[Charge] | UnsetType = UNSET
    session_timeout: int | UnsetType = UNSET
    wifi_disconnected: list[str] | UnsetType = UNSET


class Step(Struct, frozen=True, kw_only=True):
    """One instant, at most one action, and what must come of it."""

    at: Instant
    tap: AtDoor | None = None
    exit: AtDoor | None = None
    checkin: AtLocation | None = None
    checkout: AtLocation | None = None
    wifi: AtLocation | None = None
    wifi_stop: AtLocation | None = None
    put: Put | None = None
    delete: Delete | None = None
    restart: Annotated[str, Meta(pattern=r"^crash\Z")] | None = None
    down: bool | None = None
    offline: bool | None = None
    lockdown: bool | None = None
    clock: Annotated[str, Meta(pattern=r"^(un)?trusted\Z")] | None = None
    expect: Expect = Expect()

    def __post_init__(self) -> None:
        """Refuse a step with two actions: which comes first would be a guess."""
        if len(self.actions()) > 1:
            raise ValueError(f"has two actions, {' and '.join(self.actions())}; make two steps")

    def actions(self) -> list[str]:
        """The names of the actions that the step names."""
        names = (f.name for f in msgspec.structs.fields(self) if f.name not in ("at", "expect"))
        return [name for name in names if getattr(self, name) is not None]


class Arrival(Struct, frozen=True):
    """A record that arrives during the scenario; `remaining` is set where it brings a balance."""

    kind: Kind[Any]
    record: Record
    remaining: int | None


class Scenario(Struct, frozen=True, kw_only=True):
    """A file, read: `records` are (kind, record) in the order of the file."""

    file: str
    title: str
    proves: tuple[str, ...]
    records: tuple[tuple[Kind[Any], Record], ...]
    remaining: dict[str, int]
    """By pass, where the file says something else than the amount."""
    steps: tuple[Step, ...]
    arrivals: dict[int, Arrival]
    """What the cloud sends at which step, by the step's number from 0."""


class _Head(Struct, frozen=True, kw_only=True):
    title: str
    proves: tuple[str, ...]
    preset: str | None = None
    step: tuple[Step, ...] = ()


def read(path: Path) -> Scenario:
    """Read a scenario file.

    Raises:
        FaultsError: with everything that is wrong with it.
    """
    document = load(path)
    faults: list[Fault] = []
    tables = {name: KINDS[name] for name in KINDS if name in document.data}
    plain = {key: value for key, value in document.data.items() if key not in tables}
    head = read_struct(_Head, plain, document.where, faults)
    preset = plain.get("preset")
    reader = RecordReader(preset if isinstance(preset, str) else None, document.where, faults)
    records = [r for name in tables for r in reader.read_table(name, document.data[name])]
    steps = document.data.get("step", [])
    arrivals = dict(_arrivals(steps, reader, document.where.at("step"), faults))
    if head is not None and not faults:
        known = [*records, *((a.kind, a.record) for a in arrivals.values())]
        faults += _unknown_places(head.step, known, document.where.at("step"))
    if faults or head is None:
        raise FaultsError(faults)
    return Scenario(
        file=str(path),
        title=head.title,
        proves=head.proves,
        records=tuple(records),
        remaining=reader.remaining,
        steps=head.step,
        arrivals=arrivals,
    )


class Preset(Struct, frozen=True):
    """What a space that knows one of the five products gets with one line (PASSES §10)."""

    location: dict[str, Any] = {}
    door: dict[str, Any] = {}


def preset_named(name: str | None, where: Where, faults: list[Fault]) -> Preset:
    """The preset of that name; none is neutral."""
    if name is None:
        return Preset()
    known = [p.name.removesuffix(".toml") for p in PRESETS.iterdir() if p.name.endswith(".toml")]
    if name not in known:
        faults.append(where.fault(f'"{name}" is no preset', did_you_mean(name, known)))
        return Preset()
    document = tomllib.loads((PRESETS / f"{name}.toml").read_text())
    return Preset(location=document.get("location", {}), door=document.get("door", {}))


class RecordReader:
    """Reads the records of one scenario, filling in what its preset and its one location say."""

    def __init__(self, preset: str | None, where: Where, faults: list[Fault]) -> None:
        self._preset = preset_named(preset, where.at("preset"), faults)
        self._presets: dict[str, Preset] = {}
        self._where = where
        self._faults = faults
        self._locations: list[str] = []
        self.remaining: dict[str, int] = {}

    def read_table(self, name: str, rows: object) -> Iterator[tuple[Kind[Any], Record]]:
        """Read a `[[kind]]` array of tables."""
        where = self._where.at(name)
        if not isinstance(rows, list):
            self._faults.append(where.fault("must be an array of tables", f"write [[{name}]]"))
            return
        for number, row in enumerate(rows):
            record = self.record(name, row, where.at(number))
            if record is not None:
                yield KINDS[name], record

    def record(self, kind: str, row: object, where: Where) -> Record | None:
        """Read one record; the balance that a pass brings along is kept in `remaining`."""
        filled = dict(row) if isinstance(row, dict) else row
        if isinstance(filled, dict):
            self._fill(kind, filled)
            if kind == "location":
                self._note_location(filled, where)
        record: Record | None = read_struct(KINDS[kind].type, filled, where, self._faults)
        return record

    def _note_location(self, row: dict[str, Any], where: Where) -> None:
        """Remember it for what lies there, whatever else is wrong with it, and check its zone."""
        name = row.get("id")
        if isinstance(name, str) and name not in self._locations:
            self._locations.append(name)
        zone = row.get("timezone")
        if isinstance(zone, str) and not is_zone(zone):
            hint = did_you_mean(zone, sorted(available_timezones()))
            self._faults.append(where.at("timezone").fault(f'"{zone}" is no time zone', hint))
            # The record's own complaint would name no field.
            del row["timezone"]

    def _preset_named(self, name: str) -> Preset:
        return preset_named(name, self._where.at("preset"), self._faults)

    def _fill(self, kind: str, row: dict[str, Any]) -> None:
        only = self._locations[0] if len(self._locations) == 1 else None
        match kind:
            case "location":
                own = row.get("preset")
                preset = self._preset_named(own) if isinstance(own, str) else self._preset
                row.update({k: v for k, v in preset.location.items() if k not in row})
                self._presets[str(row.get("id"))] = preset
            case "door":
                if only is not None:
                    row.setdefault("location", only)
                preset = self._presets.get(str(row.get("location")), self._preset)
                row.update({k: v for k, v in preset.door.items() if k not in row})
            case "resource" | "offer" if only is not None:
                row.setdefault("home" if kind == "offer" else "location", only)
            case "reservation" if only is not None and not {"resource", "pass"} & row.keys():
                row.setdefault("location", only)
            case "pass":
                if only is not None:
                    row.setdefault("home", only)
                left = row.pop("remaining", None)
                if isinstance(left, int) and isinstance(row.get("id"), str):
                    self.remaining[row["id"]] = left
            case "credential":
                row.setdefault("lookup", f"credential:{row.get('id')}")


def _unknown_places(
    steps: tuple[Step, ...], records: list[tuple[Kind[Any], Record]], where: Where
) -> Iterator[Fault]:
    """The doors and locations that steps name and nobody ever mentions: slips of the pen."""
    ids = {
        name: [record.id for kind, record in records if kind.name == name]
        for name in ("door", "location")
    }
    for number, step in enumerate(steps):
        for action in step.actions():
            for name, known in ids.items():
                meant = getattr(getattr(step, action), name, None)
                if meant is not None and meant not in known:
                    place = where.at(number, action, name)
                    hint = did_you_mean(meant, known)
                    yield place.fault(f'there is no {name} "{meant}"', hint)


def _arrivals(
    steps: object, reader: RecordReader, where: Where, faults: list[Fault]
) -> Iterator[tuple[int, Arrival]]:
    """Read the records that arrive later, so that their faults show before anything runs.

    It reads the plain steps: their other faults must not hide these.
    """
    for number, step in enumerate(steps if isinstance(steps, list) else []):
        for name in ("put", "delete"):
            found = step.get(name) if isinstance(step, dict) else None
            change = found if isinstance(found, dict) else {}
            kind = change.get("kind")
            if isinstance(kind, str) and kind not in KINDS:
                hint = did_you_mean(kind, KINDS)
                place = where.at(number, name, "kind")
                faults.append(place.fault(f'"{kind}" is no kind of record', hint))
            elif name == "put" and isinstance(kind, str):
                body = where.at(number, "put", "body")
                arrival = _arrival(kind, change.get("body"), reader, body)
                if arrival is not None:
                    yield number, arrival


def _arrival(kind: str, body: object, reader: RecordReader, where: Where) -> Arrival | None:
    at_start = dict(reader.remaining)
    record = reader.record(kind, body, where)
    if record is None:
        return None
    brings = isinstance(body, dict) and "remaining" in body
    remaining = reader.remaining.get(record.id) if brings else None
    reader.remaining = at_start
    return Arrival(KINDS[kind], record, remaining)
