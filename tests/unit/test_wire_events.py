"""Entries on the wire: byte for byte what the ledger exports, and read back one by one."""

import json
import re
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from edgegate.ports import ClockTrust
from edgegate.store import chain, ledger, ledger_file
from edgegate.store.chain import Entry
from edgegate.store.ledger import Draft, EntryType, Stamp
from edgegate_sync.wire import events, peers
from edgegate_sync.wire.errors import MalformedError, TooLargeError
from edgegate_sync.wire.events import LedgerAnswer, Outcome, Poisoned, Settled, Stored

AT = datetime(2026, 1, 30, 8, 0, tzinfo=UTC)
STAMP = Stamp(
    source="edgegate/site/gate", clock=ClockTrust.HOLDOVER, boot_id="b00t", monotonic_s=12.5
)


@pytest.fixture
def db() -> Iterator[sqlite3.Connection]:
    connection = ledger_file.open_in_memory(now_s=1_000)
    yield connection
    connection.close()


def fill(db: sqlite3.Connection, count: int, data: Any = None) -> list[Entry]:
    drafts = [
        Draft(
            type=EntryType.ACCESS_GRANTED,
            at=AT,
            subject=None if n % 2 else "door/Für\u00a0alle",
            data=data if data is not None else {"customer": f"č-{n}"},
        )
        for n in range(count)
    ]
    return ledger.append(db, drafts, STAMP)


def test_an_event_is_what_the_ledger_exports_and_comes_back_as_the_same_entry(
    db: sqlite3.Connection,
) -> None:
    fill(db, 3)
    ledger.erase(db, [(1_000, 2)])
    entries = ledger.tail(db, 10)
    assert entries[1].data is None
    for entry in entries:
        text = events.encode_event(entry)
        assert text == ledger.cloud_event(entry)
        assert events.decode_event(text) == entry
        assert chain.is_intact(events.decode_event(text))


def test_attributes_are_legal_cloudevents(db: sqlite3.Connection) -> None:
    event = json.loads(events.encode_event(fill(db, 1)[0]))
    required = {"id", "source", "specversion", "type"}
    assert required <= event.keys()
    for name in event.keys() - {"data", "data_base64"}:
        assert re.fullmatch(r"[a-z0-9]{1,20}", name), name
    fields = {f.encode_name for f in msgspec.structs.fields(events.Event)}
    assert event.keys() | {"data_base64"} == fields


def test_the_fields_of_an_event_are_written_in_sorted_order() -> None:
    names = [f.encode_name for f in msgspec.structs.fields(events.Event)]
    assert names == sorted(names)


def test_another_spelling_of_the_same_event_is_the_same_entry(db: sqlite3.Connection) -> None:
    entry = fill(db, 1)[0]
    event = json.loads(events.encode_event(entry))
    turned = dict(reversed(event.items())) | {"traceparent": "00-1"}
    text = json.dumps(turned, indent=1, ensure_ascii=True).encode()
    found = events.decode_event(text)
    assert (found.hash, found.subject, found.at) == (entry.hash, entry.subject, entry.at)


def test_tampering_shows_by_the_hashes_and_is_not_refused(db: sqlite3.Connection) -> None:
    entries = fill(db, 3)
    first, second, third = map(events.encode_event, entries)
    assert chain.verify(map(events.decode_event, (first, second, third))) == []

    other_data = second.replace("č-1".encode(), "č-7".encode())
    faults = chain.verify(map(events.decode_event, (first, other_data, third)))
    assert [(f.sequence, f.kind) for f in faults] == [(2, chain.FaultKind.DATA_HASH)]

    other_clock = second.replace(b"holdover", b"trusted")
    faults = chain.verify(map(events.decode_event, (first, other_clock, third)))
    assert [(f.sequence, f.kind) for f in faults] == [(3, chain.FaultKind.PREVHASH)]

    faults = chain.verify(map(events.decode_event, (first, third)))
    assert [(f.sequence, f.kind) for f in faults] == [(3, chain.FaultKind.GAP)]


@pytest.mark.parametrize("data", [b"{", b"\xff\xfe", b"", b' {"a":1}', b'{"a":1}\n', b"nul"])
def test_data_that_is_no_json_any_more_travels_as_it_is(
    db: sqlite3.Connection, data: bytes
) -> None:
    entry = msgspec.structs.replace(fill(db, 1)[0], data=data)
    batch = events.encode_batch([entry])
    assert "data_base64" in json.loads(batch.body)[0]
    found = events.decode_batch(batch.body)[0]
    assert isinstance(found, Entry)
    assert (found.data, found.hash) == (data, entry.hash)
    assert not chain.is_intact(found)


BREAKAGES: list[tuple[dict[str, Any], str]] = [
    ({"specversion": "0.3"}, "specversion"),
    ({"specversion": None}, "specversion"),
    ({"epoch": 0}, "epoch"),
    ({"epoch": 2**31}, "epoch"),
    ({"sequence": "1"}, "sequence"),
    ({"sequence": 2**31}, "sequence"),
    ({"sequence": 2}, ""),
    ({"id": "other-1000-1"}, ""),
    ({"source": "edgegate/site"}, "source"),
    ({"source": "edgegate/site/ga te"}, "source"),
    ({"source": "edgegate/site/gate\n"}, "source"),
    ({"type": "com.example.sold"}, "type"),
    ({"time": "2026-01-30T08:00:00Z"}, "time"),
    ({"time": "2026-13-30T08:00:00.000000Z"}, "time"),
    ({"time": "2026-01-30T24:00:00.000000Z"}, "time"),
    ({"time": "2026-01-30T08:00:00.000000+01:00"}, "time"),
    ({"prevhash": "0" * 63}, "prevhash"),
    ({"datahash": "Z" * 64}, "datahash"),
    ({"salt": "abc"}, "salt"),
    ({"clock": ""}, "clock"),
    ({"subject": ""}, "subject"),
    ({"subject": "a\0b"}, "subject"),
    ({"subject": "x" * 513}, "subject"),
    ({"monotonic": 5}, "monotonic"),
    ({"data_base64": "AAAA"}, ""),
]


@pytest.mark.parametrize(("change", "field"), BREAKAGES, ids=lambda value: str(value)[:40])
def test_what_is_no_event_is_named_and_the_others_survive(
    db: sqlite3.Connection, change: dict[str, Any], field: str
) -> None:
    broken, *good = fill(db, 3)
    text = json.dumps(json.loads(events.encode_event(broken)) | change).encode()
    batch = b"[" + b",".join((text, *map(events.encode_event, good))) + b"]"
    poison, *others = events.decode_batch(batch)
    assert others == good
    assert isinstance(poison, Poisoned)
    assert (poison.index, poison.field) == (0, field)
    assert poison.problem
    readable = {"epoch", "sequence", "source"} - change.keys()
    if "sequence" in readable and "epoch" in readable:
        assert (poison.epoch, poison.sequence) == (1_000, 1)


def test_elements_that_are_no_objects_are_poison_too(db: sqlite3.Connection) -> None:
    event = events.encode_event(fill(db, 1)[0])
    deep = b"[" * 900 + b"]" * 900
    found = events.decode_batch(b"[1,null,[],{},%b,%b]" % (deep, event))
    assert [isinstance(element, Poisoned) for element in found] == [True] * 5 + [False]
    assert [e.index for e in found if isinstance(e, Poisoned)] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("body", [b"", b"{}", b"[", b"[{]", b"\xff", b"null", b"[" * 100_000])
def test_what_is_no_batch_is_refused_whole(body: bytes) -> None:
    with pytest.raises(MalformedError):
        events.decode_batch(body)


def test_a_batch_has_limits(db: sqlite3.Connection) -> None:
    entries = fill(db, 501)
    batch = events.encode_batch(entries)
    assert batch.count == 500
    assert events.decode_batch(batch.body) == entries[:500]
    too_many = b"[" + b",".join(map(events.encode_event, entries)) + b"]"
    with pytest.raises(MalformedError, match="501"):
        events.decode_batch(too_many)
    with pytest.raises(TooLargeError):
        events.decode_batch(b" " * (events.BATCH_BYTES_MAX + 1))
    assert events.encode_batch([]) == events.Batch(body=b"[]", count=0)


def test_large_entries_make_short_batches_and_one_always_fits(db: sqlite3.Connection) -> None:
    text = "x" * (ledger.DATA_BYTES_MAX - 10)
    entries = fill(db, 20, data={"t": text})
    batch = events.encode_batch(entries)
    assert 10 < batch.count < 20
    assert len(batch.body) <= events.BATCH_BYTES_MAX
    assert events.decode_batch(batch.body) == entries[: batch.count]

    broken = msgspec.structs.replace(entries[0], data=b"\xff" * ledger.DATA_BYTES_MAX)
    found = events.decode_batch(events.encode_batch([broken]).body)
    assert isinstance(found[0], Entry)


def test_a_batch_is_never_a_few_bytes_too_long(db: sqlite3.Connection) -> None:
    entries = fill(db, 500, data="")
    spare_bytes = events.BATCH_BYTES_MAX - len(events.encode_batch(entries).body)
    # Together they are a few bytes too many, however those between them are counted.
    data = b'"%b"' % (b"x" * (spare_bytes // 500 + 1))
    entries = [msgspec.structs.replace(entry, data=data) for entry in entries]
    batch = events.encode_batch(entries)
    assert batch.count == 499
    assert len(batch.body) <= events.BATCH_BYTES_MAX


def test_an_answer_says_where_the_ledger_counts_and_what_became_of_what() -> None:
    answer = LedgerAnswer(
        epoch=1_000,
        counted=7,
        head_hash="ab" * 32,
        settled=(Settled(epoch=1_000, sequence=5, outcome=Outcome.MOVED, why="to pass p-2"),),
        stored=(Stored(epoch=1_000, first=1, last=5), Stored(epoch=1_000, first=7, last=7)),
    )
    assert events.decode_answer(msgspec.json.encode(answer)) == answer
    # To have nothing is not the same as to say nothing.
    nothing = LedgerAnswer(epoch=0, counted=0, stored=())
    assert events.decode_answer(msgspec.json.encode(nothing)) == nothing
    assert events.decode_answer(b'{"epoch":0,"counted":0,"new":1}') == LedgerAnswer(
        epoch=0, counted=0
    )
    for text in (b"{}", b'{"epoch":1,"counted":-1}', b'{"epoch":1,"counted":1,"head_hash":"x"}'):
        with pytest.raises(MalformedError):
            events.decode_answer(text)


def test_peers_say_where_they_stand_and_ask_for_what_they_missed() -> None:
    head = peers.PeerHead(epoch=1, sequence=2, hash="00" * 32)
    assert peers.decode_head(msgspec.json.encode(head)) == head
    request = peers.PeerRequest(epoch=1, after=0)
    assert peers.decode_request(msgspec.json.encode(request)) == request
    for text in (b"{}", b'{"epoch":1,"after":0,"count":501}', b"x" * 5_000):
        with pytest.raises(MalformedError):
            peers.decode_request(text)
    with pytest.raises(MalformedError):
        peers.decode_head(b'{"epoch":1,"sequence":1,"hash":"zz"}')
