"""JSON Schema of the wire's types, as OpenAPI 3.1 and AsyncAPI 3.0 both take it."""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

REFERENCE = "#/components/schemas/{name}"

_DIALECT = ((r"\A", "^"), (r"\Z", "$"))
"""JSON Schema has the anchors of ECMA-262, which knows no `\\Z`."""


class Schemas:
    """The schemas of a document, each type once."""

    def __init__(self, kinds: Iterable[Any]) -> None:
        wanted = list(dict.fromkeys(kinds))
        found, components = msgspec.json.schema_components(wanted, ref_template=REFERENCE)
        self._of = {kind: _tidy(schema) for kind, schema in zip(wanted, found, strict=True)}
        self.components: dict[str, Any] = {
            name: _tidy(schema) for name, schema in sorted(components.items())
        }
        """By name, in alphabetical order."""

    def of(self, kind: Any) -> dict[str, Any]:
        """The schema of one of the types, most often a reference."""
        schema: dict[str, Any] = self._of[kind]
        return schema


def _tidy(schema: Any) -> Any:
    """Plain lists and dicts, patterns in JSON Schema's own dialect, sentences on one line."""
    if isinstance(schema, Mapping):
        return {key: _word(key, _tidy(value)) for key, value in schema.items()}
    if isinstance(schema, list | tuple):
        return [_tidy(element) for element in schema]
    return schema


def _word(key: str, value: Any) -> Any:
    if key == "pattern" and isinstance(value, str):
        for ours, theirs in _DIALECT:
            value = value.replace(ours, theirs)
    if key == "description" and isinstance(value, str):
        return " ".join(value.split())
    return value
