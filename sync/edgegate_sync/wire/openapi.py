"""Makes the OpenAPI 3.1 description of a table of operations."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from edgegate_sync.wire.changes import Change
from edgegate_sync.wire.kinds import KINDS
from edgegate_sync.wire.operations import (
    ERROR,
    JSON_TYPE,
    OVERLOAD,
    Answer,
    Body,
    Operation,
    Parameter,
    Scope,
    check,
)
from edgegate_sync.wire.schemas import REFERENCE, Schemas

API_VERSION = "1"
"""Within it there are additions only; a removal is announced two versions ahead."""

_SECURITY: Mapping[Scope, list[dict[str, list[str]]]] = {
    Scope.CLAIM: [],
    Scope.DEVICE: [{"device": []}],
    **{s: [{"token": [s.value]}] for s in Scope if s not in (Scope.CLAIM, Scope.DEVICE)},
}
_SCHEMES = {
    "device": {
        "type": "mutualTLS",
        "description": "The certificate of an enrolled device; its CN is `<site>/<device>`.",
    },
    "token": {
        "type": "http",
        "scheme": "bearer",
        "description": "A token of the site, which has scopes.",
    },
}
_SHARED = {429: "TooManyRequests", 503: "Unavailable"}


@dataclass(frozen=True, kw_only=True)
class Document:
    """One description: its operations, and types that it explains although none names them."""

    title: str
    says: str
    operations: Sequence[Operation]
    tags: Mapping[str, str]
    """What each tag is about."""
    also: Sequence[Any] = ()


def describe(document: Document) -> dict[str, Any]:
    """The description as plain data, ready for JSON or YAML.

    Raises:
        ValueError: if two operations share a name or a path, or one has a tag that is not told of.
    """
    check(document.operations)
    strange = {o.tag for o in document.operations} - document.tags.keys()
    if strange:
        raise ValueError(f"tags without a description: {', '.join(sorted(strange))}")
    schemas = Schemas((*_types(document.operations), *document.also))
    paths: dict[str, dict[str, Any]] = {}
    for operation in document.operations:
        method = operation.method.lower()
        paths.setdefault(operation.path, {})[method] = _operation(operation, schemas)
    components = schemas.components
    if "Change" in components:
        components["Change"]["properties"]["body"] = _bodies(components)
    used = {scheme for o in document.operations for need in _SECURITY[o.scope] for scheme in need}
    return {
        "openapi": "3.1.0",
        "info": {"title": document.title, "version": API_VERSION, "description": document.says},
        "tags": [{"name": name, "description": says} for name, says in document.tags.items()],
        "paths": paths,
        "components": {
            "securitySchemes": {name: _SCHEMES[name] for name in sorted(used)},
            "responses": _overload(schemas),
            "schemas": components,
        },
    }


def _types(operations: Iterable[Operation]) -> Iterator[Any]:
    for operation in operations:
        for body in _bodies_of(operation):
            yield from body.lines if body.type is None else (body.type,)
        yield from (parameter.type for parameter in operation.parameters)


def _bodies_of(operation: Operation) -> Iterator[Body]:
    yield ERROR
    if operation.body is not None:
        yield operation.body
    yield from (a.body for a in operation.answers.values() if a.body is not None)


def _bodies(components: Mapping[str, Any]) -> dict[str, Any]:
    """What the body of a change can be: a record of its kind."""
    names = sorted({kind.type.__name__ for kind in KINDS.values()} & components.keys())
    return {
        "description": "With `put`: the record, of the type that belongs to `kind`.",
        "anyOf": [{"$ref": REFERENCE.format(name=name)} for name in names] or [{}],
    }


def _operation(operation: Operation, schemas: Schemas) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": operation.name,
        "tags": [operation.tag],
        "summary": operation.says,
        "security": _SECURITY[operation.scope],
    }
    if operation.more:
        described["description"] = operation.more
    if operation.parameters:
        described["parameters"] = [_parameter(p, schemas) for p in operation.parameters]
    if operation.body is not None:
        described["requestBody"] = {"required": True, "content": _content(operation.body, schemas)}
    described["responses"] = {
        **{str(int(s)): _answer(a, schemas) for s, a in sorted(operation.answers.items())},
        **{str(int(s)): _problem(s, says, schemas) for s, says in operation.all_problems.items()},
    }
    return described


def _parameter(parameter: Parameter, schemas: Schemas) -> dict[str, Any]:
    schema = dict(schemas.of(parameter.type))
    if parameter.default is not msgspec.NODEFAULT and parameter.default is not None:
        schema["default"] = msgspec.to_builtins(parameter.default)
    return {
        "name": parameter.name,
        "in": parameter.place.value,
        "required": parameter.is_required,
        "description": parameter.says,
        "schema": schema,
    }


def _content(body: Body, schemas: Schemas) -> dict[str, Any]:
    return {body.media_type: {"schema": _schema(body, schemas)}}


def _schema(body: Body, schemas: Schemas) -> dict[str, Any]:
    if body.type is not None:
        return schemas.of(body.type)
    says = {"description": body.says} if body.says else {}
    if not body.lines:
        return {"type": "string", **says}
    each = [schemas.of(kind) for kind in body.lines]
    item = each[0] if len(each) == 1 else {"anyOf": each}
    if body.media_type.endswith("+json"):
        return {"type": "array", **says, "items": item}
    # OpenAPI 3.1 has no word for a text whose lines are JSON.
    return {"type": "string", **says, "x-lines": item}


def _answer(answer: Answer, schemas: Schemas) -> dict[str, Any]:
    described: dict[str, Any] = {"description": answer.says}
    if answer.headers:
        described["headers"] = {
            name: {"description": says, "schema": {"type": "string"}}
            for name, says in answer.headers.items()
        }
    if answer.body is not None:
        described["content"] = _content(answer.body, schemas)
    return described


def _problem(status: int, says: str, schemas: Schemas) -> dict[str, Any]:
    if OVERLOAD.get(status) == says:
        return {"$ref": f"#/components/responses/{_SHARED[status]}"}
    return {"description": says, "content": _content(ERROR, schemas)}


def _overload(schemas: Schemas) -> dict[str, Any]:
    """The answers of a server that has too much to do, which are the same everywhere."""
    after = {"description": "Seconds to wait.", "schema": {"type": "integer", "minimum": 0}}
    return {
        _SHARED[status]: {
            "description": says,
            "headers": {"Retry-After": after},
            "content": _content(ERROR, schemas),
        }
        for status, says in OVERLOAD.items()
    }


DEVICE_DOCUMENT_TAGS = {
    "identity": "How a device becomes one of a site, and stays one.",
    "feed": "Records, from the cloud to its devices.",
    "ledger": "What a device did, from it to the cloud.",
    "state": "How a device is doing.",
}


def device_document(operations: Sequence[Operation]) -> Document:
    """What the device API says of itself."""
    return Document(
        title="edgegate cloud: device API",
        says=(
            "What an appliance asks of its cloud. docs/protocol.md says how the calls belong "
            f"together. Every error is `application/problem+json`; bodies are {JSON_TYPE} where "
            "nothing else is said. Unknown fields of an answer are to be ignored: additions come "
            "without a new version."
        ),
        operations=operations,
        tags=DEVICE_DOCUMENT_TAGS,
        also=(*(kind.type for kind in KINDS.values()), Change),
    )
