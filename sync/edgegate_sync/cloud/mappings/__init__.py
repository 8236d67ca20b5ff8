"""What the columns of other products' exports mean: one TOML file for each product.

A mapping names the files that a product exports, and for each the records that a line of it
becomes. Nothing of a product is known outside its file here.
"""

import tomllib
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

FOLDER = Path(__file__).parent

Reading = Literal[
    "text",
    "id",
    "hashed",
    "named",
    "instant",
    "date",
    "number",
    "credits",
    "flag",
    "card",
    "code",
    "list",
    "wall_time",
]


class Source(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a field of a record comes from: the first of the columns that the file has."""

    names: tuple[str, ...] = ()
    """How the column may be called; case, spaces, `_` and `-` make no difference."""
    join: tuple[str, ...] = ()
    """Columns whose texts make one, such as a first and a last name."""
    made_of: tuple[str, ...] = ()
    """Fields of the same record of which an id is made, where there is no column for it."""
    read: Reading = "text"
    of: str = ""
    """For `named`: the kind of record that the text names, by its id or its name."""
    values: dict[str, str | bool | int | dict[str, Any]] = {}
    """What the product's own words mean; a table sets several fields at once."""
    sets: dict[str, Any] = {}
    """Further fields that are set where this column says something."""
    scale: Annotated[int, Meta(ge=1)] = 1
    """What a number is multiplied with, as hours are with 60."""
    prefix: str = ""
    end_of_day: bool = False
    """A date without a time is the end of that day, as in "valid until"."""
    once: bool = False
    """Only for a record that is new: what is left of a pass is edgegate's afterwards."""


class RecordMapping(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One kind of record that a line becomes."""

    kind: str
    fields: dict[str, Source | tuple[Source, ...]]
    when: tuple[str, ...] = ()
    """A line in which one of these fields is empty has no such record."""
    required: tuple[str, ...] = ()
    """Fields that must be there; the id always is."""
    fixed: dict[str, Any] = {}
    """Fields that are the same in every record; only where the record is new."""

    def sources(self, field: str) -> tuple[Source, ...]:
        """The sources of a field, in the order in which they are tried."""
        found = self.fields[field]
        return (found,) if isinstance(found, Source) else found


class FileMapping(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One file that a product exports."""

    needs: tuple[tuple[str, ...], ...]
    """Columns by which the file is known: of each group one must be there."""
    records: tuple[RecordMapping, ...]


class Mapping(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A product."""

    title: str
    says: str = ""
    dates: tuple[str, ...] = ()
    """Formats of dates and instants (strptime); those of ISO 8601 are always read."""
    decimal_comma: bool = False
    files: dict[str, FileMapping]
    """In the order in which they are imported."""


def names() -> tuple[str, ...]:
    """The products that are known."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.toml")))


@cache
def load(name: str) -> Mapping:
    """A product's mapping.

    Raises:
        LookupError: if there is none of that name.
    """
    if name not in names():
        raise LookupError(f'there is no mapping "{name}"; there are: {", ".join(names())}')
    with (FOLDER / f"{name}.toml").open("rb") as file:
        return msgspec.convert(tomllib.load(file), Mapping)
