"""Whatever is written to the wire is read as it was, and whatever is read never breaks a reader."""

import json
import sqlite3
from contextlib import closing, suppress
from datetime import UTC, datetime
from typing import Any

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Raw, Struct

from edgegate.passes.model import Customer
from edgegate.ports import ClockTrust
from edgegate.store import chain, ledger, ledger_file
from edgegate.store.ledger import Draft, EntryType, Stamp
from edgegate_sync.wire import changes, commands, events, kinds, peers, restricting, state
from edgegate_sync.wire.changes import Change, Op
from edgegate_sync.wire.errors import MalformedError

RANKS = ["active", "paused", "disabled"]
STAMP = Stamp(source="edgegate/s/g", clock=ClockTrust.TRUSTED, boot_id="b", monotonic_s=1.0)
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=30)
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)
    | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=12,
)
instants = st.datetimes(timezones=st.just(UTC))
drafts = st.builds(
    Draft,
    type=st.sampled_from(EntryType),
    at=instants,
    subject=st.none() | texts.filter(bool),
    data=st.dictionaries(texts, json_values, max_size=4),
)


def records(kind: kinds.RecordKind[Any]) -> st.SearchStrategy[Struct]:
    """Records of a kind: what it needs, and its texts and switches."""
    fields = {
        f.name: _values(f.type)
        for f in msgspec.structs.fields(kind.type)
        if f.required or f.type in (str, bool)
    }
    if kind is kinds.LOCATION:
        fields["timezone"] = st.sampled_from(["UTC", "Europe/Berlin"])
    return st.builds(kind.type, **fields)


def _values(kind: Any) -> st.SearchStrategy[Any]:
    bare = getattr(kind, "__origin__", kind)
    if bare is str:
        return st.text(
            st.characters(codec="utf-8", exclude_categories=["C"]), min_size=1, max_size=9
        )
    if bare is int:
        return st.integers(0, 1_000)
    return instants if bare is datetime else st.from_type(bare)


@settings(deadline=None, max_examples=60)
@given(
    st.sampled_from(list(kinds.KINDS.values())).flatmap(lambda k: st.tuples(st.just(k), records(k)))
)
def test_any_record_comes_through_the_feed(pair: tuple[kinds.RecordKind[Any], Struct]) -> None:
    kind, record = pair
    line = changes.encode_line(
        Change(
            seq=1,
            kind=kind.name,
            id=kind.id_of(record),
            op=Op.PUT,
            body=Raw(kinds.encode_record(record)),
        )
    )
    change = changes.decode_line(line)
    assert isinstance(change, Change)
    read = kinds.decode_record(kind, change.id, change.raw)
    assert (read.record, read.unknown) == (record, ())


@settings(deadline=None, max_examples=60)
@given(st.lists(drafts, min_size=1, max_size=6), st.data())
def test_any_ledger_comes_through_a_batch(written: list[Draft], data: st.DataObject) -> None:
    with closing(ledger_file.open_in_memory(now_s=1)) as db:
        ledger.append(db, written, STAMP)
        _erase_some(db, data)
        entries = ledger.tail(db, 10)
        exported = [ledger.cloud_event(entry) for entry in entries]
    batch = events.encode_batch(entries)
    assert batch.body == b"[" + b",".join(exported) + b"]"
    found = [entry for entry in events.decode_batch(batch.body) if isinstance(entry, chain.Entry)]
    assert found == entries
    assert chain.verify(found) == []


def _erase_some(db: sqlite3.Connection, data: st.DataObject) -> None:
    places = [(entry.epoch, entry.sequence) for entry in ledger.entries(db)]
    ledger.erase(db, data.draw(st.lists(st.sampled_from(places), max_size=3)))


@settings(deadline=None, max_examples=200)
@given(json_values.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=60))
def test_no_reader_meets_what_it_cannot_refuse(text: bytes) -> None:
    """Only the errors that callers expect come out, whatever goes in."""
    readers: list[Any] = [
        changes.decode_line, changes.decode_message, events.decode_event, events.decode_batch,
        events.decode_answer, peers.decode_head, peers.decode_request, commands.decode_reply,
        state.decode_state,
    ]  # fmt: skip
    for reader in readers:
        with suppress(MalformedError):
            reader(text)
    for kind in kinds.KINDS.values():
        restricting.restrictions(kind.name, text)
        with suppress(kinds.RecordInvalidError):
            kinds.decode_record(kind, "x", text)
    found = commands.verify(text, KEY.public_key(), device="g", boot="b", now=None)
    assert found.refusal is not None


@settings(deadline=None, max_examples=100)
@given(
    st.fixed_dictionaries(
        {"id": json_values},
        optional={
            "status": st.sampled_from(["active", "paused", "disabled"]) | json_values,
            "staff": st.booleans() | json_values,
            "name": json_values,
        },
    )
)
def test_restrictions_are_taken_from_any_object_and_only_tighten(body: dict[str, Any]) -> None:
    found = restricting.restrictions("customer", msgspec.json.encode(body))
    assert found.keys() <= {"status", "staff"}
    for record in (Customer(id="c"), Customer(id="c", staff=True)):
        once = restricting.tighten("customer", record, found)
        assert restricting.tighten("customer", once, found) == once
        assert once.staff == (record.staff and found.get("staff", True))
        assert once.status == max(record.status, found.get("status", "active"), key=RANKS.index)
