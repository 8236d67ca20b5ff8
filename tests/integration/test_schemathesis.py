"""What the cloud publishes of itself, held against it: whatever is asked, it answers as it says.

Schemathesis makes requests out of both descriptions, right ones and wrong ones, and judges each
answer by them. Most requests are about what is there, so that they get further than a 404.
"""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import schemathesis
import yaml
from hypothesis import HealthCheck, Phase
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.core.parameters import ParameterLocation
from schemathesis.core.result import Ok
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from edgegate_sync.cloud.limits import Limiter, Rate
from rig.clouds import RunningCloud, request_for, running

pytest_plugins = ("rig.cloud_fixtures",)

SYNC = Path(__file__).resolve().parents[2] / "sync"
ADMIN, DEVICE = "openapi-admin.yaml", "openapi.yaml"

SEED = 20260302
EXAMPLES, EXAMPLES_SOAK = 2, 150
"""Of each operation, and as many again that are wrong."""

CONFORMANCE = [
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]

ALIKE = {"list": "customer", "get": "location", "delete": "team"}
"""What one kind of records stands for in the quick run: every kind has the same code there."""

WORLD: list[tuple[str, dict[str, Any]]] = [
    ("location", {"id": "hall"}),
    ("customer", {"id": "ana"}),
    ("pass", {"id": "days", "holder": "ana", "amount": 10}),
    ("team", {"id": "crew", "name": "Crew"}),
]
THERE = {
    "site": "north",
    "device": "door",
    "customer": "ana",
    "pass": "days",
    "location": "hall",
    "webhook": "desk",
}
"""What most requests are about."""

HOOK = "https://127.0.0.1:9/hook"
"""Nobody listens there: a hook to a name that chance made would be called for real."""

BY_ITEM = frozenset({"send_ledger", "put_records", "put_record_lines"})
"""What answers well and tells of each item that is not."""

LINES_TYPE = "application/x-ndjson"
ANSWER_S_MAX = 60
ENOUGH = Rate(burst=1e9, per_s=1e9)


@schemathesis.serializer(LINES_TYPE)
def in_lines(_context: schemathesis.SerializationContext, value: Any) -> Any:
    """Values as lines of JSON."""
    values = value if isinstance(value, list) else [value]
    return {"data": b"".join(json.dumps(one).encode() + b"\n" for one in values)}


@schemathesis.deserializer(LINES_TYPE)
def from_lines(_context: schemathesis.DeserializationContext, response: Any) -> Any:
    """Lines of JSON as values."""
    return [json.loads(line) for line in response.content.splitlines()]


def wrong_body_rejected(context: Any, response: Any, case: Any) -> bool | None:
    """A body that is not as described is not taken.

    Unknown parameters are ignored, as the protocol says, and a token that was left out to see what
    comes of it is put back here; so of requests that are wrong elsewhere nothing is said.
    """
    body = case.meta.components.get(ParameterLocation.BODY)
    is_wrong = body is not None and body.mode is GenerationMode.NEGATIVE
    is_judged_by_item = case.operation.definition.raw["operationId"] in BY_ITEM
    if (
        not is_wrong
        or is_judged_by_item
        or response.status_code == HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    ):
        return None
    return negative_data_rejection(context, response, case)


CHECKS = {
    GenerationMode.POSITIVE: [not_a_server_error, *CONFORMANCE],
    GenerationMode.NEGATIVE: [not_a_server_error, *CONFORMANCE, wrong_body_rejected],
}


@dataclass
class Prober:
    """Asks one cloud what one description says may be asked."""

    cloud: RunningCloud
    document: str
    how: dict[str, Any]
    """How it comes: with a certificate or a token."""
    examples: int
    known: dict[str, str] = field(default_factory=dict)
    """What fields of bodies are that chance would never hit."""
    statuses: Counter[str] = field(default_factory=Counter)
    """How often each operation was answered with what."""

    def probe(self, *, everything: bool) -> None:
        """Ask each operation, always the same."""
        schema = schemathesis.openapi.from_dict(_document(self.document))
        for found in schema.get_all_operations():
            assert isinstance(found, Ok), found
            operation = found.ok()
            name = operation.definition.raw["operationId"]
            if everything or _is_asked(name):
                self._ask(name, operation, GenerationMode.POSITIVE)
                if operation.body or operation.query or operation.path_parameters:
                    self._ask(name, operation, GenerationMode.NEGATIVE)

    def _ask(self, name: str, operation: Any, mode: GenerationMode) -> None:
        @hypothesis.seed(SEED)
        @hypothesis.settings(
            max_examples=self.examples,
            database=None,
            deadline=None,
            phases=(Phase.generate,),
            suppress_health_check=list(HealthCheck),
        )
        @hypothesis.given(case=operation.as_strategy(generation_mode=mode), lost=st.integers(0, 4))
        def asking(case: Any, lost: int) -> None:
            if lost and mode is GenerationMode.POSITIVE:
                _find(case)
                _replace(case.body, self.known)
            if isinstance(case.body, dict) and str(case.body.get("url", "")).startswith("http"):
                case.body["url"] = HOOK
            response = case.call(base_url=self.cloud.base, timeout=ANSWER_S_MAX, **self.how)
            self.statuses[f"{name} {response.status_code}"] += 1
            case.validate_response(response, checks=CHECKS[mode])

        asking()


def _is_asked(name: str) -> bool:
    """Whether the quick run asks it."""
    verb, _, rest = name.partition("_")
    return rest not in KINDS or ALIKE.get(verb, rest) == rest


def _find(case: Any) -> None:
    """Have a request ask for what is there."""
    parameters = case.path_parameters or {}
    for name in parameters.keys() & THERE.keys():
        parameters[name] = THERE[name]
    if "id" in parameters:
        kind = case.operation.path.split("/records/")[1].partition("/")[0]
        there = {kind: record["id"] for kind, record in WORLD}
        body = case.body if isinstance(case.body, dict) else {}
        # A record's id is in its body too.
        parameters["id"] = body.get("id") or body.get("pass") or there.get(kind, "nobody")
    elif "/records" not in case.operation.path:
        _replace(case.body, THERE)


def _replace(body: Any, known: dict[str, str]) -> None:
    """Have a body say what is known."""
    if isinstance(body, dict):
        for name in body.keys() & known.keys():
            body[name] = known[name]


def _document(name: str) -> dict[str, Any]:
    """A description; where it says what a line is, as an array of those."""
    described: dict[str, Any] = _with_arrays(yaml.safe_load((SYNC / name).read_text()))
    return described


def _with_arrays(value: Any) -> Any:
    if isinstance(value, list):
        return [_with_arrays(one) for one in value]
    if not isinstance(value, dict):
        return value
    if "x-lines" in value:
        return {"type": "array", "items": value["x-lines"]}
    return {key: _with_arrays(one) for key, one in value.items()}


KINDS = frozenset(
    path.rpartition("/")[2]
    for path in yaml.safe_load((SYNC / ADMIN).read_text())["paths"]
    if path.startswith("/admin/v1/sites/{site}/records/") and "{id}" not in path
) - {"lines"}


@pytest.fixture
async def cloud(database_url: str, tmp_path: Path) -> AsyncIterator[RunningCloud]:
    """A cloud that knows somebody, and lets everybody ask as often as they like."""
    async with running(database_url, tmp_path, webhook_networks=("127.0.0.0/8",)) as made:
        limits = made.cloud.limits
        limits.enrol, limits.unknown = Limiter(ENOUGH), Limiter(ENOUGH)
        limits.admin, limits.device = Limiter(ENOUGH), Limiter(ENOUGH)
        admin = await made.admin()
        for kind, record in WORLD:
            done = await admin.put(kind, record)
            assert done.status == 200, done.body
        yield made


async def probed(cloud: RunningCloud, document: str, examples: int, *, everything: bool) -> None:
    """Ask all that a document describes."""
    ca = cloud.directory / "ca.pem"
    ca.write_text(cloud.ca)
    files = await cloud.enrol(THERE["device"])
    how: dict[str, Any] = {"verify": str(ca)}
    if document == DEVICE:
        how["cert"] = (str(files.certificate), str(files.key))
    else:
        how["headers"] = {"Authorization": f"Bearer {cloud.secret}"}
    _, csr = request_for("other")
    known = {"csr": csr, "claim": await cloud.claim("other"), "device": "other"}
    prober = Prober(cloud, document, how, examples, known if document == DEVICE else {})
    await asyncio.to_thread(prober.probe, everything=everything)
    asked = {one.split()[0] for one in prober.statuses}
    done = {one.split()[0] for one in prober.statuses if one.split()[1].startswith("2")}
    assert len(done) > len(asked) / 2, asked - done


@pytest.mark.timeout(300)
@pytest.mark.parametrize("document", [DEVICE, ADMIN])
async def test_the_cloud_answers_as_its_descriptions_say(
    cloud: RunningCloud, document: str
) -> None:
    await probed(cloud, document, EXAMPLES, everything=False)


@pytest.mark.soak
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("document", [DEVICE, ADMIN])
async def test_the_cloud_answers_as_its_descriptions_say_for_long(
    cloud: RunningCloud, document: str
) -> None:
    await probed(cloud, document, EXAMPLES_SOAK, everything=True)
