"""The hash chain: its one spelling, and every kind of tampering it shows."""

from datetime import UTC, datetime, timedelta, timezone
from hashlib import sha256

import pytest
from msgspec.structs import replace

from edgegate.store import chain
from edgegate.store.chain import GENESIS, Entry, FaultKind, Link

AT = datetime(2026, 1, 30, 8, 0, 0, 5, tzinfo=UTC)


def entry(
    sequence: int, prevhash: bytes, epoch: int = 7, data: bytes = b'{"customer":"c-1"}'
) -> Entry:
    salt = bytes([sequence]) * 16
    bare = Entry(
        epoch=epoch,
        sequence=sequence,
        source="edgegate/site/gate",
        type="edgegate.access.granted",
        at=AT + timedelta(seconds=sequence),
        subject="door/front",
        clock="trusted",
        monotonic="boot:1.000000",
        salt=salt,
        data=data,
        data_hash=sha256(salt + data).digest(),
        prevhash=prevhash,
        hash=b"",
    )
    return replace(bare, hash=chain.entry_hash(bare))


def entries(count: int) -> list[Entry]:
    made: list[Entry] = []
    for sequence in range(1, count + 1):
        made.append(entry(sequence, made[-1].hash if made else GENESIS))
    return made


def faults(of: list[Entry]) -> list[tuple[int, FaultKind]]:
    return [(fault.sequence, fault.kind) for fault in chain.verify(of)]


def test_an_envelope_has_one_spelling() -> None:
    """Written out, so that another implementation can be held against it."""
    spelled = (
        b'{"clock":"trusted","epoch":7,"id":"gate-7-1","monotonic":"boot:1.000000","prevhash":"'
        + b"0" * 64
        + b'","sequence":1,"source":"edgegate/site/gate","specversion":"1.0",'
        b'"subject":"door/front","time":"2026-01-30T08:00:01.000005Z",'
        b'"type":"edgegate.access.granted"}'
    )
    first = entry(1, GENESIS)
    assert chain.canonical(chain.envelope(first)) == spelled
    assert first.data is not None
    data_digest = sha256(b"\x01" * 16 + first.data).digest()
    assert first.hash == sha256(spelled + data_digest).digest()


def test_no_subject_is_left_out_and_names_are_sorted() -> None:
    without = chain.canonical(chain.envelope(replace(entry(1, GENESIS), subject=None)))
    assert b"subject" not in without
    assert list(chain.Envelope.__struct_fields__) == sorted(chain.Envelope.__struct_fields__)


@pytest.mark.parametrize("at", [AT, AT.astimezone(timezone(timedelta(hours=-9, minutes=-30)))])
def test_an_instant_has_one_spelling_whatever_its_offset(at: datetime) -> None:
    assert chain.time_text(at) == "2026-01-30T08:00:00.000005Z"
    assert chain.time_text(at.replace(microsecond=0)) == "2026-01-30T08:00:00.000000Z"


def test_a_sound_chain_has_no_faults() -> None:
    assert faults(entries(5)) == []
    assert chain.verify([]) == []


def test_erased_data_leaves_the_chain_sound() -> None:
    made = entries(5)
    made[1] = replace(made[1], salt=None, data=None)
    made[4] = replace(made[4], salt=None, data=None)
    assert faults(made) == []


def test_changed_data_is_named() -> None:
    made = entries(4)
    made[1] = replace(made[1], data=b'{"customer":"c-2"}')
    assert faults(made) == [(2, FaultKind.DATA_HASH)]


def test_changed_data_with_its_hash_adapted_is_named() -> None:
    made = entries(4)
    assert made[1].salt is not None
    made[1] = replace(made[1], data=b"{}", data_hash=chain.data_hash(made[1].salt, b"{}"))
    assert faults(made) == [(2, FaultKind.HASH)]


def test_half_an_erasure_is_named() -> None:
    made = entries(3)
    made[1] = replace(made[1], salt=None)
    assert faults(made) == [(2, FaultKind.DATA_HASH)]


@pytest.mark.parametrize(
    "change",
    [
        {"subject": "door/back"},
        {"subject": None},
        {"type": "edgegate.access.denied"},
        {"at": AT},
        {"clock": "untrusted"},
        {"monotonic": "boot:2.000000"},
        {"source": "edgegate/site/other"},
        {"hash": bytes(32)},
        {"data_hash": bytes(32), "salt": None, "data": None},
    ],
)
def test_a_changed_envelope_is_named_once(change: dict[str, object]) -> None:
    made = entries(4)
    made[1] = replace(made[1], **change)
    assert faults(made) == [(2, FaultKind.HASH)]


def test_a_forged_entry_is_named_by_the_one_after_it() -> None:
    made = entries(4)
    made[1] = entry(2, made[0].hash, data=b'{"customer":"somebody else"}')
    assert faults(made) == [(3, FaultKind.PREVHASH)]


def test_missing_repeated_and_exchanged_entries_are_gaps() -> None:
    made = entries(5)
    assert faults([*made[:2], *made[3:]]) == [(4, FaultKind.GAP)]
    assert faults(made[1:]) == [(2, FaultKind.GAP)]
    assert faults([*made[:2], made[1], *made[2:]]) == [(2, FaultKind.GAP)]
    exchanged = faults([made[0], made[2], made[1], made[3]])
    assert exchanged == [(3, FaultKind.GAP), (2, FaultKind.GAP), (4, FaultKind.GAP)]


def test_a_new_epoch_goes_on_with_the_chain() -> None:
    made = entries(2)
    assert faults([*made, entry(1, made[-1].hash, epoch=8)]) == []
    assert faults([*made, entry(1, GENESIS, epoch=8)]) == [(1, FaultKind.PREVHASH)]
    assert faults([*made, entry(2, made[-1].hash, epoch=8)]) == [(2, FaultKind.GAP)]
    assert faults([*made, entry(1, made[-1].hash, epoch=6)]) == [(1, FaultKind.GAP)]


def test_a_chain_can_be_followed_from_a_place_within() -> None:
    made = entries(5)
    after = Link(epoch=7, sequence=2, hash=made[1].hash)
    assert chain.verify(made[2:], after=after) == []
    assert chain.verify(made[2:], after=replace(after, hash=bytes(32)))[0].sequence == 3


def test_the_list_of_faults_is_bounded() -> None:
    wrong = [replace(made, hash=bytes(32)) for made in entries(50)]
    assert len(chain.verify(wrong, faults_max=10)) == 10
