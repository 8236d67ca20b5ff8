"""The ledger: append-only, gapless, and readable in every direction."""

import io
import json
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from hashlib import sha256

import pytest
from msgspec import Struct

from edgegate.ports import ClockTrust
from edgegate.store import ledger, ledger_file
from edgegate.store.chain import GENESIS, Entry, FaultKind
from edgegate.store.ledger import Draft, EntryType, Stamp

AT = datetime(2026, 1, 30, 8, 0, 0, 123456, tzinfo=UTC)
STAMP = Stamp(
    source="edgegate/site/gate", clock=ClockTrust.HOLDOVER, boot_id="b00t", monotonic_s=12.5
)

COPIED = "source, type, 0, subject, clock, monotonic, salt, data, data_hash, prevhash, hash"


class Happened(Struct):
    zebra: str
    apple: int


@pytest.fixture
def db() -> Iterator[sqlite3.Connection]:
    connection = ledger_file.open_in_memory(now_s=1_000)
    yield connection
    connection.close()


def draft(number: int = 0, subject: str | None = "door/front") -> Draft:
    return Draft(
        type=EntryType.ACCESS_GRANTED, at=AT, subject=subject, data={"customer": f"c-{number}"}
    )


def fill(db: sqlite3.Connection, count: int) -> list[Entry]:
    return ledger.append(db, [draft(number) for number in range(count)], STAMP)


def test_entries_are_read_back_as_they_were_appended(db: sqlite3.Connection) -> None:
    ist = timezone(timedelta(hours=5, minutes=30))
    drafts = [
        Draft(type=EntryType.DOOR_FIRE, at=AT.astimezone(ist), data=Happened("ž", 1)),
        draft(subject=None),
    ]
    written = ledger.append(db, drafts, STAMP)
    assert ledger.tail(db, 10) == written
    first = written[0]
    assert (first.epoch, first.sequence, first.prevhash) == (1_000, 1, GENESIS)
    assert (first.at, first.type, first.clock) == (AT, EntryType.DOOR_FIRE, "holdover")
    assert first.monotonic == "b00t:12.500000"
    assert first.data == '{"apple":1,"zebra":"ž"}'.encode()
    assert (first.id, first.device) == ("gate-1000-1", "gate")
    assert written[1].prevhash == first.hash


def test_sequences_are_gapless_across_transactions_and_rollbacks(db: sqlite3.Connection) -> None:
    fill(db, 3)
    db.execute("BEGIN")
    fill(db, 5)
    db.execute("ROLLBACK")
    fill(db, 2)
    assert [entry.sequence for entry in ledger.entries(db)] == [1, 2, 3, 4, 5]
    assert ledger.verify(db) == []


def test_head_says_where_the_ledger_stands(db: sqlite3.Connection) -> None:
    assert ledger.head(db).sequence == 0
    last = fill(db, 3)[-1]
    head = ledger.head(db)
    assert (head.epoch, head.sequence, head.hash) == (1_000, 3, last.hash)


def test_salts_differ(db: sqlite3.Connection) -> None:
    written = fill(db, 20)
    assert len({entry.salt for entry in written}) == 20


@pytest.mark.parametrize(
    "wrong",
    [
        Draft(type="edgegate.access.maybe", at=AT, data={}),  # type: ignore[arg-type]  # no such type, on purpose
        Draft(type=EntryType.DOOR_HELD, at=AT.replace(tzinfo=None), data={}),
        Draft(type=EntryType.DOOR_HELD, at=AT, data={"trace": "x" * ledger.DATA_BYTES_MAX}),
    ],
)
def test_a_wrong_draft_is_refused_and_nothing_is_written(
    db: sqlite3.Connection, wrong: Draft
) -> None:
    with pytest.raises(ValueError, match=r"maybe|offset|bytes"):
        ledger.append(db, [draft(), wrong], STAMP)
    assert ledger.tail(db, 10) == []


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM entry",
        "DELETE FROM entry WHERE sequence = 3",
        "UPDATE entry SET data = '{}'",
        "UPDATE entry SET data = x'7b7d'",
        "UPDATE entry SET subject = 'door/back'",
        "UPDATE entry SET salt = NULL, data = NULL, at = 0",
        "UPDATE entry SET salt = NULL, data = NULL, hash = x'00'",
        "UPDATE entry SET salt = NULL, data = NULL, key = key + 9",
        "UPDATE entry SET salt = NULL",
        f"INSERT OR REPLACE INTO entry SELECT key, {COPIED} FROM entry",  # noqa: S608 - from above
        f"INSERT INTO entry SELECT key - 9, {COPIED} FROM entry",  # noqa: S608 - from above
    ],
)
def test_the_file_itself_refuses_changes(db: sqlite3.Connection, statement: str) -> None:
    before = fill(db, 3)
    with pytest.raises(sqlite3.DatabaseError):
        db.execute(statement)
    assert ledger.tail(db, 10) == before


def test_since_reads_on_across_epochs(db: sqlite3.Connection) -> None:
    fill(db, 3)
    ledger.begin_epoch(db, 2_000)
    fill(db, 2)
    places = [(entry.epoch, entry.sequence) for entry in ledger.since(db, 1_000, 2)]
    assert places == [(1_000, 3), (2_000, 1), (2_000, 2)]
    assert len(ledger.since(db, 0, 0, limit=4)) == 4
    assert ledger.since(db, 2_000, 2) == []


def test_all_entries_are_read_in_batches(db: sqlite3.Connection) -> None:
    for _ in range(3):
        fill(db, 400)
    assert [entry.sequence for entry in ledger.entries(db)] == list(range(1, 1_201))


@pytest.mark.parametrize(("now_s", "epoch"), [(2_000.9, 2_000), (1_000, 1_001), (5, 1_001)])
def test_a_new_epoch_is_later_whatever_the_clock_says(
    db: sqlite3.Connection, now_s: float, epoch: int
) -> None:
    last = fill(db, 2)[-1]
    assert ledger.begin_epoch(db, now_s) == epoch
    assert (ledger.head(db).epoch, ledger.head(db).sequence) == (epoch, 0)
    first = fill(db, 1)[0]
    assert (first.epoch, first.sequence, first.prevhash) == (epoch, 1, last.hash)
    assert ledger.verify(db) == []


def test_epochs_end_with_their_bits(db: sqlite3.Connection) -> None:
    assert ledger.begin_epoch(db, 2**40) == ledger.EPOCH_MAX
    assert fill(db, 1)[0].epoch == ledger.EPOCH_MAX
    with pytest.raises(OverflowError):
        ledger.begin_epoch(db, 2**40)


def test_erasure_removes_data_and_keeps_the_chain(db: sqlite3.Connection) -> None:
    fill(db, 5)
    assert ledger.erase(db, [(1_000, 2), (1_000, 5), (1_000, 9)]) == 2
    assert ledger.erase(db, [(1_000, 2)]) == 0
    erased = ledger.tail(db, 5)[1]
    assert (erased.salt, erased.data) == (None, None)
    assert ledger.verify(db) == []
    fill(db, 1)
    assert ledger.verify(db) == []


def test_retention_removes_the_oldest_and_the_chain_goes_on(db: sqlite3.Connection) -> None:
    fill(db, 5)
    assert ledger.forget(db, 1_000, 3) == 3
    assert [entry.sequence for entry in ledger.entries(db)] == [4, 5]
    assert ledger.verify(db) == []
    with pytest.raises(sqlite3.DatabaseError, match="append-only"):
        db.execute("DELETE FROM entry")
    head = ledger.head(db)
    assert ledger.forget(db, 1_000, 9) == 2
    assert ledger.forget(db, 1_000, 9) == 0
    assert ledger.head(db) == head
    assert fill(db, 1)[0].sequence == 6
    assert ledger.verify(db) == []


def test_what_was_tampered_with_behind_the_triggers_is_found(db: sqlite3.Connection) -> None:
    fill(db, 6)
    for trigger in ("entry_is_only_erased", "entry_is_kept"):
        db.execute(f"DROP TRIGGER {trigger}")
    db.execute("UPDATE entry SET data = x'7b7d' WHERE sequence = 2")
    db.execute("DELETE FROM entry WHERE sequence = 4")
    db.execute("UPDATE entry SET at = at + 1 WHERE sequence = 6")
    found = [(fault.sequence, fault.kind) for fault in ledger.verify(db)]
    assert found == [(2, FaultKind.DATA_HASH), (5, FaultKind.GAP), (6, FaultKind.HASH)]


def test_an_export_can_be_verified_without_edgegate(db: sqlite3.Connection) -> None:
    fill(db, 4)
    ledger.append(db, [Draft(type=EntryType.DOOR_HELD, at=AT, data={"z": 1, "a": "é"})], STAMP)
    ledger.erase(db, [(1_000, 2)])
    stream = io.BytesIO()
    assert ledger.export(db, stream) == 5
    before = "0" * 64
    for line in stream.getvalue().splitlines():
        event = json.loads(line)
        digest = bytes.fromhex(event.pop("datahash"))
        if "data" in event:
            data = json.dumps(
                event.pop("data"), sort_keys=True, separators=(",", ":"), ensure_ascii=False
            ).encode()
            assert sha256(bytes.fromhex(event.pop("salt")) + data).digest() == digest
        assert event["prevhash"] == before
        spelled = json.dumps(event, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        before = sha256(spelled.encode() + digest).hexdigest()
    assert before == ledger.head(db).hash.hex()
    assert stream.getvalue().count(b'"data":') == 4


def test_a_type_of_a_newer_version_can_still_be_read(db: sqlite3.Connection) -> None:
    entry = fill(db, 1)[0]
    newer = ledger.row(entry)
    values = (newer[0] + 1, newer[1], "edgegate.wifi.started", *newer[3:])
    db.execute(ledger.INSERT_ENTRY, values)
    assert ledger.tail(db, 1)[0].type == "edgegate.wifi.started"
