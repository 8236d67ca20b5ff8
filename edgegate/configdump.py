"""Writes the effective configuration as TOML: defaults filled in, secrets left where they are."""

import json
import re
from collections.abc import Iterator, Mapping
from datetime import date, datetime, time
from enum import Enum
from typing import Any

from msgspec import Struct
from msgspec.structs import fields

from edgegate.config import Config, ReaderConfig
from edgegate.device import Device
from edgegate.secret import MASK, Secret

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+\Z")


def dump(config: Config) -> str:
    """The configuration as TOML that `load_config` reads again; keys not set are left out."""
    blocks: list[str] = []
    for key, value in _items(config):
        tables = value if isinstance(value, tuple) else (value,)
        header = f"[[{key}]]" if isinstance(value, tuple) else f"[{key}]"
        blocks += ["\n".join((header, *_lines(table))) for table in tables]
    return "\n\n".join(blocks) + "\n"


def _lines(table: Struct) -> Iterator[str]:
    for key, value in _items(table):
        line = f"{_key(key)} = {_value(value)}"
        yield f"{line}  # {MASK}" if isinstance(value, Secret) else line


def _items(struct: Struct) -> Iterator[tuple[str, Any]]:
    """The keys that a struct has in the file, without those that are not set."""
    if isinstance(struct, Device):
        yield "driver", struct.driver
        if struct.settings is not None:
            yield from _items(struct.settings)
        return
    for field in fields(struct):
        value = getattr(struct, field.name)
        if isinstance(struct, ReaderConfig) and isinstance(value, Device):
            yield from _items(value)
        elif value is not None:
            yield field.encode_name, value


def _value(value: Any) -> str:
    match value:
        case Secret():
            text = _value(value.source)
        case Struct():
            text = _inline(dict(_items(value)))
        case Mapping():
            text = _inline(value)
        case list() | tuple() | set() | frozenset():
            text = f"[{', '.join(map(_value, value))}]"
        case Enum():
            text = _value(value.value)
        case datetime() | date() | time():
            text = value.isoformat()
        case str():
            text = _text(value)
        case bool():
            text = str(value).lower()
        case _:
            text = repr(value)
    return text


def _inline(table: Mapping[str, Any]) -> str:
    pairs = [f"{_key(key)} = {_value(value)}" for key, value in table.items()]
    return f"{{ {', '.join(pairs)} }}" if pairs else "{}"


def _key(key: str) -> str:
    return key if _BARE_KEY.match(key) else _text(key)


def _text(text: str) -> str:
    """JSON's escapes are TOML's too; but TOML wants the delete character escaped."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
