"""Says in plain words what a value should have been, what it is, and what was meant by it."""

import json
from collections.abc import Sequence
from datetime import date, datetime, time
from typing import Any

import msgspec
from msgspec import inspect

from edgegate.faults import WORD_MAX, did_you_mean

_PLAIN: dict[type[inspect.Type], str] = {
    inspect.BoolType: "true or false",
    inspect.IntType: "a whole number",
    inspect.FloatType: "a number",
    inspect.StrType: "text",
    inspect.BytesType: "text in base64",
    inspect.DateType: "a date, like 2026-03-29",
    inspect.TimeType: "a time of day, like 07:30:00",
    inspect.NoneType: "absent",
    inspect.DictType: "a table",
    inspect.StructType: "a table",
    inspect.ListType: "an array",
    inspect.VarTupleType: "an array",
    inspect.TupleType: "an array",
    inspect.SetType: "an array",
    inspect.FrozenSetType: "an array",
}


def shown(data: object) -> str:
    """Write a value as TOML would, cut short; what is in tables and arrays is left out."""
    match data:
        case dict():
            text = "a table"
        case list() | tuple():
            text = "an array"
        case str():
            cut = data if len(data) <= WORD_MAX else f"{data[:WORD_MAX]}…"
            text = json.dumps(cut, ensure_ascii=False)
        case bool():
            text = str(data).lower()
        case int() if data.bit_length() > 64:
            # Python refuses to write out thousands of digits.
            text = f"a number of {data.bit_length()} bits"
        case datetime() | date() | time():
            text = data.isoformat()
        case _:
            text = "nothing" if data is None else str(data)
    return text


def expected(kind: Any) -> str:
    """Say what a type accepts: `a whole number from 1 to 5`, `one of "entry", "exit"`.

    A `Meta(description=…)` on the type is used as it stands.
    """
    return _expected(inspect.type_info(kind))


def hint(kind: Any, data: object) -> str:
    """Guess what the writer of a wrong text meant: a listed word, or a value without quotes."""
    if not isinstance(data, str) or len(data) > WORD_MAX:
        return ""
    words = _choices(inspect.type_info(kind))
    if words:
        return did_you_mean(data, [word for word in words if isinstance(word, str)])
    try:
        meant = msgspec.convert(data, kind, strict=False)
    except msgspec.ValidationError:
        return ""
    return "" if isinstance(meant, str) else f"did you mean {shown(meant)}, without quotes?"


def _expected(kind: inspect.Type) -> str:
    words = _choices(kind)
    match kind:
        case inspect.Metadata(extra_json_schema={"description": str(description)}):
            text = description
        case inspect.Metadata():
            text = _expected(kind.type)
        case inspect.UnionType():
            members = [member for member in kind.types if not isinstance(member, inspect.NoneType)]
            text = " or ".join(map(_expected, members))
        case inspect.DateTimeType():
            offset = "" if kind.tz is None else " with offset" if kind.tz else " without offset"
            text = f"a date-time{offset}, like 2026-03-29T00:30:00{'+01:00' if kind.tz else ''}"
        case inspect.IntType() | inspect.FloatType():
            text = _PLAIN[type(kind)] + _bounds(kind)
        case inspect.StrType():
            text = _PLAIN[type(kind)] + _text_limits(kind)
        case _ if words:
            text = ("one of " if len(words) > 1 else "") + ", ".join(map(shown, words))
        case _:
            name = type(kind).__name__.removesuffix("Type").lower()
            text = _PLAIN.get(type(kind), f"a {name}")
    return text


def _bounds(kind: inspect.IntType | inspect.FloatType) -> str:
    if kind.ge is not None and kind.le is not None:
        return f" from {kind.ge} to {kind.le}"
    bounds = [("of at least", kind.ge), ("above", kind.gt), ("of at most", kind.le)]
    bounds += [("below", kind.lt), ("divisible by", kind.multiple_of)]
    said = [f"{words} {bound}" for words, bound in bounds if bound is not None]
    return f" {' and '.join(said)}" if said else ""


def _text_limits(kind: inspect.StrType) -> str:
    limits = ""
    if kind.min_length is not None and kind.max_length is not None:
        limits = f" of {kind.min_length} to {kind.max_length} characters"
    elif kind.min_length is not None:
        limits = f" of at least {kind.min_length} characters"
    elif kind.max_length is not None:
        limits = f" of at most {kind.max_length} characters"
    return f"{limits} that matches {kind.pattern}" if kind.pattern else limits


def _choices(kind: inspect.Type) -> Sequence[object]:
    """The listed values of an enum or a literal, also one that may be absent."""
    match kind:
        case inspect.EnumType():
            return [member.value for member in kind.cls]
        case inspect.LiteralType():
            return list(kind.values)
        case inspect.Metadata():
            return _choices(kind.type)
        case inspect.UnionType():
            return [word for member in kind.types for word in _choices(member)]
        case _:
            return ()
