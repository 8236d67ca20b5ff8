"""Reads CHANGES.toml: what would be otherwise in a site's records, named by their ids."""

from collections.abc import Callable, Iterator, Mapping
from datetime import date, datetime, time
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from edgegate.faults import Fault, FaultsError, Where, did_you_mean
from edgegate.passes.model import Count, Pass, Record
from edgegate.scenario import KINDS, preset_named
from edgegate.store import cache
from edgegate.strict import Options, read_struct
from edgegate.tomlfile import load
from edgegate.whatif.records import SiteRecords
from edgegate.wording import shown

REFERENCES: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "location": {"parent": ("location",)},
    "customer": {"team": ("team",)},
    "contract": {"holder": ("customer", "team")},
    "credential": {"customer": ("customer",)},
    "door": {"location": ("location",), "resource": ("resource",)},
    "resource": {"location": ("location",)},
    "offer": {"home": ("location",), "locations": ("location",), "resources": ("resource",)},
    "reservation": {
        "customer": ("customer",),
        "location": ("location",),
        "pass": ("pass",),
        "resource": ("resource",),
    },
    "pass": {
        "holder": ("customer", "team"),
        "contract": ("contract",),
        "home": ("location",),
        "locations": ("location",),
        "resources": ("resource",),
    },
}
"""Which fields name other records, and of which kinds; a slip in one would change nothing."""


class Changes(Struct, frozen=True, kw_only=True):
    """A file, read: its title, and the records as they would be."""

    title: str
    records: SiteRecords


class _Head(Struct, frozen=True, kw_only=True):
    title: str = ""


class _Marks(Struct, frozen=True, kw_only=True):
    """What a table says besides the record's own fields."""

    new: bool = False
    """Whether the record is to be added."""
    unset: tuple[str, ...] = ()
    """Fields that shall be as if nobody had set them."""
    remaining: Count | None = None
    """What is left of a pass when the replay begins."""


_MARKS = tuple(_Marks.__struct_fields__)


def read_changes(path: Path, base: SiteRecords) -> Changes:
    """Read a file of changes and apply it to a site's records, which stay as they are.

    Raises:
        FaultsError: with everything that is wrong with it.
    """
    document = load(path)
    faults: list[Fault] = []
    plain = {key: value for key, value in document.data.items() if key not in KINDS}
    head = read_struct(_Head, plain, document.where, faults, Options(elsewhere=tuple(KINDS)))
    if not any(name in document.data for name in KINDS):
        names = ", ".join(f"[[{name}]]" for name in KINDS)
        faults.append(document.where.fault("changes nothing", f"tables that may stand: {names}"))
    applied = _Changer(base, faults)
    for name in KINDS:
        if name in document.data:
            applied.table(name, document.data[name], document.where.at(name))
    if not faults:
        faults += applied.unknown_references()
    if faults or head is None:
        raise FaultsError(faults)
    return Changes(title=head.title, records=applied.records)


class _Changer:
    """Applies tables to a copy of the records, one by one."""

    def __init__(self, base: SiteRecords, faults: list[Fault]) -> None:
        self._faults = faults
        self._seen: set[tuple[str, str]] = set()
        self._changed: list[tuple[str, dict[str, Any], Where]] = []
        by_kind = {name: dict(base.by_kind[name]) for name in KINDS}
        self.records = SiteRecords(by_kind=by_kind, remaining=dict(base.remaining))

    def table(self, name: str, rows: object, where: Where) -> None:
        """Apply a `[[kind]]` array of tables."""
        if not isinstance(rows, list):
            self._faults.append(where.fault("must be an array of tables", f"write [[{name}]]"))
            return
        for number, row in enumerate(rows):
            place = where.at(number)
            if not isinstance(row, dict) or not isinstance(row.get("id"), str):
                self._faults.append(
                    place.fault("must have an id", f"it says which {name} is meant")
                )
            elif (name, row["id"]) in self._seen:
                again = f"changes the {name} {shown(row['id'])} again"
                self._faults.append(place.fault(again, "let one table say it all"))
            else:
                self._seen.add((name, row["id"]))
                self._row(name, row, place)

    def _row(self, name: str, row: dict[str, Any], where: Where) -> None:
        of_kind = {key for key in _MARKS if key != "remaining" or name == cache.PASS.name}
        said = {key: value for key, value in row.items() if key in of_kind}
        fields = {key: value for key, value in row.items() if key not in of_kind}
        marks = read_struct(_Marks, said, where, self._faults)
        if marks is None:
            return
        known = self.records.get(name, row["id"])
        if not self._is_meant(name, known, fields, marks, where):
            return
        if not self._may_unset(name, fields, marks, where.at("unset")):
            marks = _Marks(new=marks.new, remaining=marks.remaining)
        if name == cache.LOCATION.name and isinstance(row.get("preset"), str):
            fields = self._with_preset(row["preset"], fields, where)
        record = self._patched(name, known, fields, marks, where)
        if record is None:
            return
        self.records.by_kind[name][record.id] = record
        self._changed.append((name, fields, where))
        if isinstance(record, Pass):
            left = marks.remaining
            self.records.remaining[record.id] = self._left(known, record) if left is None else left

    def _patched(
        self, name: str, known: Record | None, fields: dict[str, Any], marks: _Marks, where: Where
    ) -> Record | None:
        kind = KINDS[name]
        if known is None:
            before = self._filled(name)
            options = Options(elsewhere=_MARKS)
            return read_struct(kind.type, {**before, **fields}, where, self._faults, options)
        of_kind = {f.encode_name for f in msgspec.structs.fields(kind.type)}
        unknown = [key for key in fields if key not in of_kind]
        for key in unknown:
            # Every field that the record has is a word that may have been meant.
            hint = did_you_mean(key, (of_kind | set(_MARKS)) - fields.keys())
            self._faults.append(where.at(key).fault("is not a known key", hint))
        kept = {key: value for key, value in _plain(known).items() if key not in marks.unset}
        patch = {key: value for key, value in fields.items() if key not in unknown}
        return read_struct(kind.type, {**kept, **patch}, where, self._faults)

    def _is_meant(
        self,
        name: str,
        known: Record | None,
        fields: dict[str, Any],
        marks: _Marks,
        where: Where,
    ) -> bool:
        """Whether a table changes something that is there, or adds what is not."""
        id_ = fields["id"]
        count_before = len(self._faults)
        if known is None and not marks.new:
            hint = self._nearest((name,), id_) or "to add it, write new = true and all its fields"
            self._faults.append(where.at("id").fault(f"there is no {name} {shown(id_)}", hint))
        elif known is not None and marks.new:
            problem = f"there is a {name} {shown(id_)} already"
            self._faults.append(where.at("new").fault(problem, "leave out new to change it"))
        elif known is not None and len(fields) == 1 and marks == _Marks():
            self._faults.append(where.fault("changes nothing", "name a field and its value"))
        return len(self._faults) == count_before

    def _may_unset(self, name: str, fields: dict[str, Any], marks: _Marks, where: Where) -> bool:
        count_before = len(self._faults)
        known = {f.encode_name: f for f in msgspec.structs.fields(KINDS[name].type)}
        for number, key in enumerate(marks.unset):
            place = where.at(number)
            if key not in known:
                problem = f"a {name} has no field {shown(key)}"
                self._faults.append(place.fault(problem, did_you_mean(key, known)))
            elif known[key].required:
                self._faults.append(place.fault(f'a {name} cannot be without "{key}"'))
            elif key in fields:
                self._faults.append(place.fault(f'"{key}" is set in the same table'))
        return len(self._faults) == count_before

    def _with_preset(self, preset: str, fields: dict[str, Any], where: Where) -> dict[str, Any]:
        """Another preset: its policy for the location, and for the doors in it."""
        found = preset_named(preset, where.at("preset"), self._faults)
        doors = self.records.by_kind[cache.DOOR.name]
        for door in doors.values():
            if getattr(door, "location", None) == fields["id"]:
                changed = {**_plain(door), **found.door}
                doors[door.id] = msgspec.convert(
                    changed, cache.DOOR.type, builtin_types=(datetime, date, time)
                )
        return {**found.location, **fields}

    def _filled(self, name: str) -> dict[str, Any]:
        """What a new record may leave out where there is one location."""
        places = list(self.records.by_kind[cache.LOCATION.name])
        key = {"door": "location", "resource": "location", "pass": "home", "offer": "home"}
        return {key[name]: places[0]} if name in key and len(places) == 1 else {}

    def _left(self, known: Pass | None, now: Pass) -> int:
        """Of a pass that is sold larger, as much more is left when the replay begins."""
        if known is None or known.unit is not now.unit:
            return now.amount
        return self.records.remaining[now.id] + now.amount - known.amount

    def unknown_references(self) -> Iterator[Fault]:
        """The records and door groups that changed fields name and nobody has."""
        doors = self.records.by_kind[cache.DOOR.name].values()
        groups = {group for door in doors for group in getattr(door, "groups", ())}
        for name, fields, where in self._changed:
            for key, kinds in REFERENCES.get(name, {}).items():
                known = {id_ for kind in kinds for id_ in self.records.by_kind[kind]}
                nearest = partial(self._nearest, kinds)
                yield from _missing(fields, where.at(key), known, " or ".join(kinds), nearest)
            if name in (cache.PASS.name, cache.OFFER.name):
                nearest = partial(did_you_mean, known=groups)
                place = where.at("door_groups")
                yield from _missing(fields, place, groups, "group of doors", nearest)

    def _nearest(self, kinds: tuple[str, ...], word: str) -> str:
        """The record that somebody meant by a wrong id, or by its name."""
        records = [r for kind in kinds for r in self.records.by_kind[kind].values()]
        for record in records:
            name = getattr(record, "name", "")
            if name and name.casefold() == word.casefold():
                return f'did you mean "{record.id}", whose name that is?'
        return did_you_mean(word, [record.id for record in records])


def _missing(
    fields: dict[str, Any], where: Where, known: set[str], what: str, hint: Callable[[str], str]
) -> Iterator[Fault]:
    """The words in the field at this place that are not known."""
    value = fields.get(str(where.path[-1]))
    for number, word in enumerate(value if isinstance(value, list) else [value]):
        if isinstance(word, str) and word not in known:
            place = where.at(number) if isinstance(value, list) else where
            yield place.fault(f"there is no {what} {shown(word)}", hint(word))


def _plain(record: Record) -> dict[str, Any]:
    """A record as a TOML file would hold it."""
    plain: dict[str, Any] = _listed(
        msgspec.to_builtins(record, builtin_types=(datetime, date, time))
    )
    return plain


def _listed(value: Any) -> Any:
    """Arrays as lists, which is what a file has."""
    match value:
        case dict():
            return {key: _listed(inner) for key, inner in value.items()}
        case list() | tuple():
            return [_listed(inner) for inner in value]
        case _:
            return value
