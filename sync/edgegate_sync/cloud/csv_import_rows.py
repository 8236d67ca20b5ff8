"""Makes records of rows: which fields a line says, for a record that is new or there already."""

from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import Struct

from edgegate_sync.cloud.csv_import_files import Header, ImportFault, Row, plain
from edgegate_sync.cloud.csv_import_values import ValueFaultyError, World, made_of, value_of
from edgegate_sync.cloud.mappings import FileMapping, RecordMapping, Source
from edgegate_sync.cloud.record_api import FaultyError, checked

HOMES = {"pass": "home", "resource": "location", "plan": "location"}
"""The field that is the import's location where a line names none."""

_decode = msgspec.json.Decoder(dict[str, Any]).decode


class Wanted(Struct, frozen=True, kw_only=True):
    """What one line says of one record."""

    line: int
    kind: str
    id: str
    always: dict[str, Any]
    """Fields that follow the file."""
    at_first: dict[str, Any]
    """Fields of a record that is new."""


class Translator:
    """Reads the rows of one file."""

    def __init__(self, file: str, header: Header, mapping: FileMapping, world: World) -> None:
        self._file = file
        self._header = header
        self._mapping = mapping
        self._world = world

    def records(self, row: Row, faults: list[ImportFault]) -> Iterator[Wanted]:
        """The records that a row becomes; those with faults are left out."""
        for mapping in self._mapping.records:
            wanted = self._record(mapping, row, faults)
            if wanted is not None:
                yield wanted

    def _record(self, mapping: RecordMapping, row: Row, faults: list[ImportFault]) -> Wanted | None:
        at_first = dict(mapping.fixed)
        always: dict[str, Any] = {}
        found: list[ImportFault] = []
        for field in mapping.fields:
            self._read(mapping, field, row, (always, at_first), found)
        said = at_first | always
        if not found and any(said.get(field) in (None, "") for field in mapping.when):
            return None
        for field in ("id", *mapping.required):
            self._make(mapping, field, said)
            if said.get(field) in (None, "") and not found:
                found.append(self._missing(mapping, field, row))
        for fault in found:
            if fault not in faults[-20:]:
                # An e-mail address that is read for three records is wrong once.
                faults.append(fault)
        if found:
            return None
        home = HOMES.get(mapping.kind)
        if home is not None and home not in said and self._world.location is not None:
            at_first[home] = self._world.location
        always.pop("id", None)
        return Wanted(
            line=row.line, kind=mapping.kind, id=said["id"], always=always, at_first=at_first
        )

    def _read(
        self,
        mapping: RecordMapping,
        field: str,
        row: Row,
        into: tuple[dict[str, Any], dict[str, Any]],
        found: list[ImportFault],
    ) -> None:
        always, at_first = into
        for source in mapping.sources(field):
            text, column = self._text(source, row)
            if not text:
                continue
            try:
                value = value_of(source, text, self._world)
            except ValueFaultyError as error:
                found.append(self._fault(row, column, str(error), error.advice))
                return
            fields = at_first if source.once else always
            fields |= value if isinstance(value, dict) else {field: value}
            at_first |= source.sets
            return

    def _text(self, source: Source, row: Row) -> tuple[str, str]:
        """The first text that is there, and the column it is from."""
        if source.join:
            texts = [row.values.get(plain(name), "") for name in source.join]
            return " ".join(text for text in texts if text), source.join[0]
        for name in source.names:
            text = row.values.get(plain(name), "")
            if text:
                return text, self._header.columns[plain(name)]
        return "", ""

    def _make(self, mapping: RecordMapping, field: str, said: dict[str, Any]) -> None:
        for source in mapping.sources(field):
            if source.made_of and said.get(field) in (None, ""):
                said[field] = made_of(source.prefix, said, source.made_of)

    def _missing(self, mapping: RecordMapping, field: str, row: Row) -> ImportFault:
        names = [name for s in mapping.sources(field) for name in (*s.names, *s.join)]
        column = next(
            (self._header.columns[k] for n in names if (k := plain(n)) in self._header.columns),
            names[0] if names else field,
        )
        problem = f"is empty, and the {mapping.kind.replace('_', ' ')} needs it"
        return self._fault(row, column, problem, "Fill it in, or leave the line out.")

    def _fault(self, row: Row, column: str, problem: str, advice: str) -> ImportFault:
        return ImportFault(
            file=self._file, line=row.line, column=column, problem=problem, advice=advice
        )


def merged(file: str, wanted: Wanted, present: bytes | None) -> bytes | ImportFault:
    """The body that a record has after the import, in its one spelling; what it had stays."""
    if present is None:
        fields = wanted.at_first | wanted.always
    else:
        fields = _decode(present) | wanted.always
    fields["id"] = wanted.id
    try:
        return checked(wanted.kind, wanted.id, msgspec.json.encode(fields))
    except FaultyError as error:
        fault = error.faults[0]
        return ImportFault(
            file=file,
            line=wanted.line,
            column=fault.field,
            problem=fault.problem,
            advice=fault.advice or "Correct the value.",
        )


def plans_in(wanted: Wanted) -> tuple[str, str] | None:
    """The name under which later files may call a record, and its id."""
    name = wanted.always.get("name")
    return (str(name).casefold(), wanted.id) if name else None
