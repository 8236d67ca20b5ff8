"""Turns plain data from a file or the wire into frozen structs, and names every fault in it."""

import math
import types
import typing
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, date, datetime, time
from functools import lru_cache
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec.structs import FieldInfo

from edgegate.faults import FAULTS_MAX, Fault, Where, did_you_mean
from edgegate.wording import expected, hint, shown

S = TypeVar("S", bound=msgspec.Struct)

Readers = Mapping[Any, Callable[[object, Where, list[Fault]], object | None]]
"""Types that are read in their own way: each adds its faults, and returns a value or None."""

INTEGER_BITS = 64
"""TOML 1.0 promises 64-bit signed integers, and SQLite stores no larger ones."""

_BAD = object()
_NATIVE_TIMES = (datetime, date, time)
_COLLECTIONS = (list, tuple, set, frozenset)


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """How one reading differs from the usual."""

    readers: Readers = {}
    """Types that are read in their own way."""
    native_times: bool = True
    """Whether date-times come as such (TOML) or as text (JSON)."""
    elsewhere: tuple[str, ...] = ()
    """Keys of the same table that something else reads: words for suggestions."""


_USUAL = Options()


def read_struct(
    kind: type[S], data: object, where: Where, faults: list[Fault], options: Options = _USUAL
) -> S | None:
    """Read `data` as a `kind`, or add all that is wrong with it to `faults` and return None.

    Keys have the names that fields have on the wire, and every key must be known. Instants are
    normalised to UTC. A ValueError of `__post_init__` is a fault of the whole struct. A reading
    adds `FAULTS_MAX` faults at the most.
    """
    found: list[Fault] = []
    value = read_best(kind, data, where, found, options)
    faults.extend(found)
    return None if found else value


def read_best(
    kind: type[S], data: object, where: Where, faults: list[Fault], options: Options = _USUAL
) -> S | None:
    """Read as `read_struct` does, but make the best of faults, to look for more of them behind.

    A wrong value gives way to its default and an unknown key is passed over; None only where a
    required value is missing or wrong. Do not use the value where faults were added.
    """
    value = _Walk(faults, options).struct(kind, data, where)
    return value if isinstance(value, kind) else None


@lru_cache(maxsize=256)
def _fields(kind: type[msgspec.Struct]) -> dict[str, FieldInfo]:
    return {field.encode_name: field for field in msgspec.structs.fields(kind)}


class _Walk:
    """One reading; `_BAD` stands for a value that has been complained of."""

    def __init__(self, faults: list[Fault], options: Options) -> None:
        self._faults = faults
        self._options = options
        self._count = 0

    def struct(self, kind: type[msgspec.Struct], data: object, where: Where) -> Any:
        """Read a table, key by key."""
        if not isinstance(data, dict):
            return self._bad(where, f"must be a table (got {shown(data)})")
        count_before = self._count
        fields = _fields(kind)
        self._complain_of_unknown(data, fields, where)
        values: dict[str, Any] = {}
        complete = True
        for key, field in fields.items():
            value = self._field(field, data, where.at(key))
            if value is not _BAD:
                values[field.name] = value
            complete = complete and (value is not _BAD or not field.required)
        if not complete:
            return _BAD
        try:
            return kind(**values)
        except ValueError as error:
            # With a default in a wrong value's place the complaint would be about that default.
            return self._bad(where, str(error)) if self._count == count_before else _BAD

    def _field(self, field: FieldInfo, data: dict[str, Any], where: Where) -> Any:
        if field.encode_name in data:
            return self._value(field.type, data[field.encode_name], where)
        return self._bad(where, "is missing") if field.required else _BAD

    def _complain_of_unknown(
        self, data: dict[str, Any], fields: Mapping[str, FieldInfo], where: Where
    ) -> None:
        for key in data:
            if key in fields:
                continue
            if self._count >= FAULTS_MAX:
                return
            known = [name for name in (*fields, *self._options.elsewhere) if name not in data]
            hint = did_you_mean(key, known)
            if not hint and known:
                hint = f"keys that may stand here: {', '.join(known)}"
            self._bad(where.at(key), "is not a known key", hint)

    def _value(self, kind: Any, data: object, where: Where) -> Any:
        """Read a value of any type."""
        bare, limits = _without_limits(kind)
        origin = typing.get_origin(bare)
        if bare in self._options.readers:
            value = self._read_own_way(bare, data, where)
        elif origin in (typing.Union, types.UnionType):
            value = self._union(kind, bare, data, where)
        elif _is_struct(bare):
            value = self.struct(bare, data, where)
        elif origin in _COLLECTIONS:
            value = self._collection(bare, limits, data, where)
        elif origin is dict:
            value = self._mapping(bare, limits, data, where)
        else:
            value = self._leaf(kind, data, where)
        return value

    def _read_own_way(self, kind: Any, data: object, where: Where) -> Any:
        found: list[Fault] = []
        value = self._options.readers[kind](data, where, found)
        for fault in found:
            self._add(fault)
        return _BAD if value is None else value

    def _union(self, kind: Any, bare: Any, data: object, where: Where) -> Any:
        """Read a value of several types: whether it is a table or an array says which is meant."""
        members = typing.get_args(bare)
        if data is None and types.NoneType in members:
            return None
        absent = (types.NoneType, msgspec.UnsetType)
        members = tuple(member for member in members if member not in absent)
        if len(members) == 1:
            return self._value(members[0], data, where)
        fitting = [member for member in members if self._has_shape(member, data)]
        if isinstance(data, dict | list) and len(fitting) == 1:
            return self._value(fitting[0], data, where)
        return self._leaf(kind, data, where)

    def _has_shape(self, kind: Any, data: object) -> bool:
        bare, _ = _without_limits(kind)
        origin = typing.get_origin(bare)
        if isinstance(data, list):
            return origin in _COLLECTIONS
        return _is_struct(bare) or origin is dict or bare in self._options.readers

    def _collection(self, bare: Any, limits: list[msgspec.Meta], data: object, where: Where) -> Any:
        """Read an array, element by element; wrong ones are complained of and left out."""
        if not isinstance(data, list):
            # In a file it is the commonest slip to write [door] for [[door]].
            is_slip = isinstance(data, dict) and bool(where.lines)
            suggestion = f"did you mean [[{where.field}]]?" if is_slip else ""
            return self._bad(where, f"must be an array (got {shown(data)})", suggestion)
        origin, arguments = typing.get_origin(bare), typing.get_args(bare)
        if origin is tuple and arguments[-1] is not Ellipsis:
            kinds = arguments
            if len(data) != len(kinds):
                return self._bad(where, f"must have {len(kinds)} elements (got {len(data)})")
        else:
            kinds = (arguments[0],) * len(data)
        if self._breaks_length(limits, data, where):
            return _BAD
        count_before = self._count
        values = [
            self._value(kind, element, where.at(index))
            for index, (kind, element) in enumerate(zip(kinds, data, strict=True))
        ]
        good = [value for value in values if value is not _BAD]
        if origin is tuple and arguments[-1] is not Ellipsis and self._count != count_before:
            return _BAD
        return origin(good)

    def _mapping(self, bare: Any, limits: list[msgspec.Meta], data: object, where: Where) -> Any:
        """Read a table whose keys are free."""
        if not isinstance(data, dict):
            return self._bad(where, f"must be a table (got {shown(data)})")
        if self._breaks_length(limits, data, where):
            return _BAD
        key_kind, value_kind = typing.get_args(bare)
        values: dict[Any, Any] = {}
        for name, element in data.items():
            key = self._leaf(key_kind, name, where.at(name))
            value = self._value(value_kind, element, where.at(name))
            if key is not _BAD and value is not _BAD:
                values[key] = value
        return values

    def _breaks_length(
        self, limits: list[msgspec.Meta], data: Collection[Any], where: Where
    ) -> bool:
        for limit in limits:
            least, most = limit.min_length, limit.max_length
            if least is not None and len(data) < least:
                self._bad(where, f"must have at least {least} of them (got {len(data)})")
                return True
            if most is not None and len(data) > most:
                self._bad(where, f"must have at most {most} of them (got {len(data)})")
                return True
        return False

    def _leaf(self, kind: Any, data: object, where: Where) -> Any:
        """Read a value that msgspec converts as one."""
        native = _NATIVE_TIMES if self._options.native_times else ()
        try:
            value = msgspec.convert(data, kind, builtin_types=native)
        except msgspec.ValidationError:
            return self._bad(
                where, f"must be {expected(kind)} (got {shown(data)})", hint(kind, data)
            )
        problem = _beyond_types(value)
        if problem:
            return self._bad(where, f"{problem} (got {shown(data)})")
        try:
            return _in_utc(value)
        except OverflowError:
            return self._bad(where, f"must be a year from 1 to 9999 in UTC (got {shown(data)})")

    def _bad(self, where: Where, problem: str, suggestion: str = "") -> object:
        self._add(where.fault(problem, suggestion))
        return _BAD

    def _add(self, fault: Fault) -> None:
        self._count += 1
        if self._count <= FAULTS_MAX:
            self._faults.append(fault)


def _beyond_types(value: object) -> str:
    """What is wrong with a value that has the right type, and that no type of ours may have."""
    match value:
        case float() if not math.isfinite(value):
            return "must be a finite number"
        case int() if not -1 << INTEGER_BITS - 1 <= value < 1 << INTEGER_BITS - 1:
            return f"must fit into {INTEGER_BITS} bits"
        case str() if "\0" in value:
            # The system takes it for the end of a path: such a text is never what was meant.
            return "must not contain the character U+0000"
    return ""


def _in_utc(value: object) -> object:
    if isinstance(value, datetime) and value.tzinfo is not None:
        return value.astimezone(UTC)
    return value


def _is_struct(bare: Any) -> bool:
    return isinstance(bare, type) and issubclass(bare, msgspec.Struct)


def _without_limits(kind: Any) -> tuple[Any, list[msgspec.Meta]]:
    """Take `Annotated[kind, Meta(…)]` apart."""
    if typing.get_origin(kind) is not Annotated:
        return kind, []
    bare, *notes = typing.get_args(kind)
    return bare, [note for note in notes if isinstance(note, msgspec.Meta)]
