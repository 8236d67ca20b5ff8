"""Finds the fields of a valid body that this version does not know: kept out, and counted."""

import types
import typing
from collections.abc import Callable, Iterable, Iterator
from typing import Annotated, Any

import msgspec
from msgspec import Raw, Struct

UNKNOWN_FIELDS_MAX = 32
"""How many unknown fields of one record are named; what is beyond is kept out all the same."""

PATH_MAX = 200
"""How much of a path is told, in characters."""

Walk = Callable[[Any, str], Iterator[str]]
"""Yields the paths of what is unknown in a value that stands at a path."""


class Strangers:
    """Knows the fields of one type, and of the structs inside it."""

    def __init__(self, kind: type[Struct]) -> None:
        self._walk = _struct_walk(kind)
        inner = {f.encode_name: _walk_of(f.type) for f in msgspec.structs.fields(kind)}
        self._flat = frozenset(name for name, walk in inner.items() if walk is None)

    def of(self, body: bytes | Raw) -> tuple[str, ...]:
        """The paths of the unknown fields of a body that validates, each once.

        Array elements are `[]` and the values of free keys `{}`, so that paths can be counted:
        `hours[].colour`.
        """
        # Most bodies have flat and known fields alone, and this decides for a third of the time.
        if self._flat.issuperset(_outer.decode(body)):
            return ()
        found: dict[str, None] = {}
        for path in self._walk(_anything.decode(body), ""):
            found[path[:PATH_MAX]] = None
            if len(found) == UNKNOWN_FIELDS_MAX:
                break
        return tuple(found)


def _walk_of(kind: Any) -> Walk | None:
    """How to look into a value of a type; None if there can be no struct in it."""
    origin, parts = typing.get_origin(kind), typing.get_args(kind)
    if isinstance(kind, type) and issubclass(kind, Struct):
        return _struct_walk(kind)
    if origin is Annotated:
        return _walk_of(parts[0])
    if origin in (typing.Union, types.UnionType):
        return next((walk for walk in map(_walk_of, parts) if walk is not None), None)
    if origin in (tuple, list):
        return _array_walk(parts)
    return _table_walk(parts) if origin is dict else None


def _struct_walk(kind: type[Struct]) -> Walk:
    fields = {f.encode_name: _walk_of(f.type) for f in msgspec.structs.fields(kind)}

    def walk(value: Any, path: str) -> Iterator[str]:
        dot = "." if path else ""
        for key, inside in _items(value):
            if key not in fields:
                yield f"{path}{dot}{key}"
            elif (inner := fields[key]) is not None:
                yield from inner(inside, f"{path}{dot}{key}")

    return walk


def _array_walk(parts: Iterable[Any]) -> Walk | None:
    inner = next((walk for walk in map(_walk_of, parts) if walk is not None), None)
    if inner is None:
        return None
    found = inner

    def walk(value: Any, path: str) -> Iterator[str]:
        for element in value if isinstance(value, list) else ():
            yield from found(element, f"{path}[]")

    return walk


def _table_walk(parts: tuple[Any, ...]) -> Walk | None:
    inner = _walk_of(parts[1])
    if inner is None:
        return None
    found = inner

    def walk(value: Any, path: str) -> Iterator[str]:
        for _, inside in _items(value):
            yield from found(inside, f"{path}{{}}")

    return walk


def _items(value: Any) -> Iterable[tuple[str, Any]]:
    return value.items() if isinstance(value, dict) else ()


_outer = msgspec.json.Decoder(dict[str, Raw])
_anything = msgspec.json.Decoder()
