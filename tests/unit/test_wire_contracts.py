"""What is published of the wire says what the code does: documents, tables and examples."""

import dataclasses
import importlib.util
import json
import re
from collections.abc import Callable
from http import HTTPMethod
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any

import msgspec
import pytest
from msgspec import Meta

from edgegate_sync.wire import (
    changes,
    channels,
    commands,
    enrolment,
    errors,
    events,
    kinds,
    openapi,
    operations,
    peers,
    state,
    topics,
)
from edgegate_sync.wire.errors import MalformedError, Problem, TooLargeError
from edgegate_sync.wire.operations import (
    DEVICE_OPERATIONS,
    Answer,
    Body,
    Operation,
    Parameter,
    Place,
    Scope,
)

TOP = Path(__file__).parent.parent.parent
PAGE = (TOP / "docs/protocol.md").read_text(encoding="utf-8")
EXAMPLE = re.compile(r"<!-- example: (\w+) -->\n```json\n(.*?)```", re.DOTALL)


def _script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("contracts", TOP / "scripts/contracts.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


contracts = _script()


def test_the_published_contracts_are_what_the_types_say(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert contracts.main(["--check"]) == 0, capsys.readouterr().out


def test_a_drift_is_shown_and_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "sync").mkdir()
    assert contracts.main(["--top", str(tmp_path)]) == 0
    assert contracts.main(["--top", str(tmp_path), "--check"]) == 0
    file = tmp_path / "sync/asyncapi.yaml"
    file.write_text(file.read_text().replace("qos: 0", "qos: 1"))
    assert contracts.main(["--top", str(tmp_path), "--check"]) == 1
    shown = capsys.readouterr()
    assert re.search(r"^-\s+qos: 1$", shown.out, re.MULTILINE)
    assert re.search(r"^\+\s+qos: 0$", shown.out, re.MULTILINE)
    file.unlink()
    assert contracts.main(["--top", str(tmp_path), "--check"]) == 1


def references(document: Any) -> set[str]:
    if isinstance(document, dict):
        here = {document["$ref"]} if isinstance(document.get("$ref"), str) else set()
        return here.union(*map(references, document.values()))
    return set().union(*map(references, document)) if isinstance(document, list) else set()


PUBLISHED = sorted(file.name for file in (TOP / "sync").glob("*.yaml"))


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_reference_in_a_document_leads_somewhere(name: str) -> None:
    document = contracts.yaml.safe_load((TOP / "sync" / name).read_text(encoding="utf-8"))
    found = references(document)
    assert len(found) > 10
    for reference in found:
        place = document
        for step in reference.removeprefix("#/").split("/"):
            place = place[step]


def test_patterns_are_in_the_dialect_of_json_schema() -> None:
    assert {"openapi.yaml", "asyncapi.yaml"} <= set(PUBLISHED)
    for name in PUBLISHED:
        text = (TOP / "sync" / name).read_text(encoding="utf-8")
        assert r"\Z" not in text
        assert r"\A" not in text


def test_every_kind_and_every_topic_is_described() -> None:
    described = openapi.describe(openapi.device_document(DEVICE_OPERATIONS))
    schemas = described["components"]["schemas"]
    assert {kind.type.__name__ for kind in kinds.KINDS.values()} <= schemas.keys()
    templates = {
        value
        for name, value in vars(topics).items()
        if isinstance(value, str) and value.startswith("edgegate/1/") and name != "ROOT"
    }
    assert {channel.address for channel in channels.CHANNELS} == templates


# The page.


def signed(text: bytes) -> Any:
    message = msgspec.json.decode(text, type=commands.SignedCommand)
    key = commands.public_key("A6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg=")
    found = commands.verify(text, key, device="gate", boot="9f2c41d07be84b1c", now=None)
    assert found.refusal is None, found.detail
    return message


def event(text: bytes) -> Any:
    entry = events.decode_event(text)
    assert entry.hash.hex() in PAGE
    assert events.encode_event(entry) == text.strip()
    return events.event_of(entry)


def typed(kind: Any) -> Callable[[bytes], Any]:
    return lambda text: errors.read(msgspec.json.Decoder(kind), text, "example", 100_000)


READERS: dict[str, Callable[[bytes], Any]] = {
    "enrol_request": typed(enrolment.EnrolRequest),
    "enrolled": enrolment.decode_enrolled,
    "change": changes.decode_line,
    "trailer": changes.decode_line,
    "feed_message": changes.decode_message,
    "event": event,
    "ledger_answer": events.decode_answer,
    "balance": lambda text: kinds.decode_record(kinds.BALANCE, "p-ten", text).record,
    "peer_head": peers.decode_head,
    "peer_request": peers.decode_request,
    "signed_command": signed,
    "reply": commands.decode_reply,
    "device_state": state.decode_state,
    "last_will": state.decode_state,
    "problem": typed(Problem),
}


def test_the_page_has_an_example_of_everything() -> None:
    assert {name for name, _ in EXAMPLE.findall(PAGE)} == READERS.keys()
    assert PAGE.count("```json") == len(EXAMPLE.findall(PAGE))


@pytest.mark.parametrize(("name", "text"), EXAMPLE.findall(PAGE))
def test_an_example_is_what_the_codec_reads_and_writes(name: str, text: str) -> None:
    value = READERS[name](text.encode())
    if isinstance(value, changes.Change) and value.body is not msgspec.UNSET:
        assert kinds.decode_record(kinds.KINDS[value.kind], value.id, value.raw).unknown == ()
    written = json.loads(msgspec.json.encode(value))
    example = json.loads(text)
    # What has its default may be left out; nothing else may differ.
    defaults = {
        f.encode_name: json.loads(msgspec.json.encode(f.default))
        for f in msgspec.structs.fields(type(value))
        if f.default not in (msgspec.NODEFAULT, msgspec.UNSET)
    }
    assert defaults | example == defaults | written


@pytest.mark.parametrize(
    "limit",
    [
        changes.LINE_BYTES_MAX,
        changes.MESSAGE_BYTES_MAX,
        changes.MESSAGE_CHANGES_MAX,
        changes.WAIT_S_MAX,
        events.BATCH_ENTRIES_MAX,
        events.BATCH_BYTES_MAX,
        events.NUMBER_MAX,
        commands.COMMAND_BYTES_MAX,
        commands.REPLY_BYTES_MAX,
        commands.LIFETIME_S,
        commands.CLOCK_SKEW_S,
        state.STATE_BYTES_MAX,
        state.QUARANTINED_MAX,
        enrolment.ENROLMENT_BYTES_MAX,
        peers.HEAD_EVERY_S,
    ],
)
def test_a_limit_on_the_page_is_the_codes(limit: int) -> None:
    assert re.search(rf"\b{limit:,}\b", PAGE)


def test_the_page_names_every_kind_refusal_command_and_outcome() -> None:
    words = set(re.findall(r"`([a-z_]+)`", PAGE))
    assert kinds.KINDS.keys() <= words
    for members in (commands.Refusal, commands.CommandName, events.Outcome):
        assert {member.value for member in members} <= words


# The tables.


def an_operation(**other: Any) -> Operation:
    usual: dict[str, Any] = {
        "name": "put_thing",
        "method": HTTPMethod.PUT,
        "path": "/v1/things/{id}",
        "tag": "things",
        "says": "Put a thing.",
        "scope": Scope.WRITE,
        "parameters": (
            Parameter("id", str, "Which.", place=Place.PATH),
            Parameter("count", Annotated[int, Meta(ge=1, le=9)], "How many.", default=3),
        ),
        "body": Body(type=enrolment.RenewRequest, bytes_max=100),
        "answers": {200: Answer("Done.", Body(type=Problem), headers={"ETag": "Its version."})},
    }
    return Operation(**(usual | other))


def test_names_in_a_path_are_declared() -> None:
    with pytest.raises(ValueError, match="put_thing"):
        an_operation(path="/v1/things")
    with pytest.raises(ValueError, match="put_thing"):
        an_operation(parameters=())


def test_two_operations_need_two_names_and_two_places() -> None:
    operations.check((*DEVICE_OPERATIONS, an_operation()))
    with pytest.raises(ValueError, match="put_thing"):
        operations.check([an_operation(), an_operation(path="/v1/other/{id}")])
    with pytest.raises(ValueError, match="set_thing"):
        operations.check([an_operation(), an_operation(name="set_thing")])


def test_a_parameter_is_read_by_its_type_and_limits() -> None:
    which, count = an_operation().parameters
    assert (which.read("a"), count.read("9"), count.read(None)) == ("a", 9, 3)
    for text in ("0", "10", "x", "", "1.5"):
        with pytest.raises(MalformedError) as caught:
            count.read(text)
        assert caught.value.field == "count"
    with pytest.raises(MalformedError, match="missing"):
        which.read(None)


def test_a_body_is_read_by_its_type_and_limit() -> None:
    operation = an_operation()
    assert operation.read_body(b'{"csr":"x"}') == enrolment.RenewRequest(csr="x")
    with pytest.raises(MalformedError) as caught:
        operation.read_body(b'{"csr":1}')
    assert caught.value.field == "csr"
    assert errors.fault_of(caught.value, "send PEM").field == "csr"
    with pytest.raises(TooLargeError):
        operation.read_body(b" " * 101)
    assert operations.SEND_LEDGER.read_body(b"[") == b"["
    assert operations.PULL_FEED.read_body(b"") == b""


def test_every_error_is_described_as_a_problem() -> None:
    operation = an_operation(problems={404: "There is none."})
    assert list(operation.all_problems) == [400, 401, 403, 404, 413, 415, 422, 429, 503]
    document = openapi.Document(
        title="t", says="s", operations=[operation], tags={"things": "Things."}
    )
    described = openapi.describe(document)["paths"]["/v1/things/{id}"]["put"]
    assert described["responses"].keys() == {"200", *map(str, operation.all_problems)}
    assert described["security"] == [{"token": ["write"]}]
    assert described["parameters"][1]["schema"] == {
        "type": "integer", "minimum": 1, "maximum": 9, "default": 3,
    }  # fmt: skip
    assert described["responses"]["200"]["headers"].keys() == {"ETag"}
    with pytest.raises(ValueError, match="things"):
        openapi.describe(dataclasses.replace(document, tags={}))


def test_enrolment_alone_needs_no_certificate() -> None:
    scopes = {operation.name: operation.scope for operation in DEVICE_OPERATIONS}
    open_to_all = [name for name, scope in scopes.items() if scope is not Scope.DEVICE]
    assert open_to_all == ["get_authority", "enroll"]


# Topics and small types.


def test_topics_are_of_one_site_and_one_device() -> None:
    loft = topics.Topics("loft")
    assert loft.feed == "edgegate/1/loft/feed"
    assert loft.command("gate") == "edgegate/1/loft/devices/gate/command"
    assert loft.ledger_head("+") == "edgegate/1/loft/ledger/+/head"
    for topic in (
        loft.ledger("gate"), loft.ledger_head("gate"), loft.ledger_request("gate"),
        loft.ledger_answer("gate"), loft.command("gate"), loft.reply("gate"), loft.state("gate"),
    ):  # fmt: skip
        assert loft.device_of(topic) == "gate"
        assert topics.Topics("lof").device_of(topic) is None
    for strange in (loft.feed, "", "edgegate/1/loft", loft.state("+"), "edgegate/1/loft/devices"):
        assert loft.device_of(strange) is None


@pytest.mark.parametrize("name", ["", "#", "a/b", "a+", "ü", "a\n", ".a", "x" * 65, "$SYS"])
def test_what_is_no_name_makes_no_topic(name: str) -> None:
    assert not topics.is_name(name)
    with pytest.raises(ValueError, match="name"):
        topics.Topics(name)
    with pytest.raises(ValueError, match="name"):
        topics.Topics("loft").state(name)
    assert topics.of_common_name(f"loft/{name}") is None


def test_a_common_name_says_site_and_device_and_fits_into_a_certificate() -> None:
    name = topics.common_name("s" * 31, "d" * 32)
    assert len(name) == 64
    assert topics.of_common_name(name) == ("s" * 31, "d" * 32)
    with pytest.raises(ValueError, match="65"):
        topics.common_name("s" * 32, "d" * 32)
    assert topics.of_common_name("loft") is None
    assert topics.of_common_name("loft/a/b") is None


def test_a_state_that_is_none_is_refused() -> None:
    for text in (b"", b"{}", b'{"online":1}', b'{"online":true}', b" " * 200_000):
        with pytest.raises(MalformedError):
            state.decode_state(text)
    assert state.decode_state(b'{"online":false,"at":7}') == state.LastWill()


def test_an_enrolment_that_is_none_is_refused() -> None:
    for text in (b"", b"{}", b'{"site":"a b"}', b" " * 70_000):
        with pytest.raises(MalformedError):
            enrolment.decode_enrolled(text)
        with pytest.raises(MalformedError):
            enrolment.decode_renewed(text)
