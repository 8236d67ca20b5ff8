import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgegate.ports import ClockTrust
from edgegate.store import ledger, ledger_file, sync_state
from edgegate.store.chain import Entry
from edgegate.store.ledger import Draft, EntryType, Stamp
from edgegate.store.sync_state import Place, Range

AT = datetime(2026, 11, 20, 10, 0, tzinfo=UTC)
LATER = AT + timedelta(seconds=10)


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    opened = ledger_file.open_in_memory(1_000_000.0)
    yield opened
    opened.close()


SHARED = ledger_file.open_in_memory(1_000_000.0)
pieces = st.lists(st.tuples(st.integers(1, 30), st.integers(0, 6)), max_size=12)


@given(pieces, st.integers(0, 40))
def test_the_gaps_are_exactly_what_was_not_heard(heard: list[tuple[int, int]], head: int) -> None:
    SHARED.execute("DELETE FROM heard")
    known: set[int] = set()
    for first, more in heard:
        sync_state.hear(SHARED, "back", 7, Range(first, first + more))
        known |= set(range(first, first + more + 1))
    rows = SHARED.execute("SELECT first, last FROM heard ORDER BY first").fetchall()
    assert {n for first, last in rows for n in range(first, last + 1)} == known
    assert all(last + 1 < first for (_, last), (first, _) in pairwise(rows))
    for sequence in range(1, 42):
        assert sync_state.has_heard(SHARED, "back", Place(7, sequence)) == (sequence in known)
    missing = set()
    while gap := sync_state.first_gap(SHARED, "back", Place(7, head)):
        missing |= set(range(gap.first, gap.last + 1))
        sync_state.hear(SHARED, "back", 7, gap)
    assert missing == set(range(1, head + 1)) - known


def test_devices_and_epochs_are_kept_apart_and_old_epochs_go(
    connection: sqlite3.Connection,
) -> None:
    for epoch in range(1, 7):
        sync_state.hear(connection, "back", epoch, Range(1, 3))
    sync_state.hear(connection, "side", 1, Range(1, 1))
    assert [sync_state.knows(connection, "back", epoch) for epoch in range(1, 7)] == [
        *(False, False),
        *(True, True, True, True),
    ]
    assert sync_state.has_heard(connection, "side", Place(1, 1))
    assert not sync_state.has_heard(connection, "side", Place(6, 1))


def test_a_command_is_claimed_once_in_a_boot(connection: sqlite3.Connection) -> None:
    for now in (AT, None, AT + timedelta(days=400)):
        first = sync_state.claim_command(connection, "boot", "id-1", LATER, now)
        assert first == (now == AT)
    assert sync_state.claim_command(connection, "boot", "id-2", LATER, AT)
    assert sync_state.claim_command(connection, "next boot", "id-1", LATER, AT)


def test_claims_are_limited_and_only_expired_ones_give_way(
    connection: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sync_state, "COMMANDS_MAX", 3)
    for number in range(3):
        assert sync_state.claim_command(connection, "boot", str(number), LATER, AT)
    for now in (None, AT, LATER + timedelta(minutes=1)):
        with pytest.raises(OverflowError):
            sync_state.claim_command(connection, "boot", "one more", LATER, now)
    much_later = LATER + timedelta(hours=2)
    assert sync_state.claim_command(connection, "boot", "one more", much_later, much_later)


def test_what_was_not_taken_is_remembered_up_to_a_limit(
    connection: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sync_state, "QUARANTINED_MAX", 2)
    for sequence in (1, 2, 3):
        sync_state.quarantine(connection, Place(9, sequence), "refused", f"why {sequence}")
    found = sync_state.quarantined(connection)
    assert [(q.place, q.why) for q in found] == [((9, 2), "why 2"), ((9, 3), "why 3")]
    sync_state.accept(connection, Place(9, 2))
    assert [q.place for q in sync_state.quarantined(connection)] == [(9, 3)]


def test_the_backlog_is_what_comes_after_the_upload_in_all_epochs(
    connection: sqlite3.Connection,
) -> None:
    stamp = Stamp(source="edgegate/s/pi", clock=ClockTrust.TRUSTED, boot_id="b", monotonic_s=1.0)

    def write(count: int) -> None:
        for _ in range(count):
            at = AT + timedelta(minutes=len(written))
            draft = Draft(type=EntryType.DOOR_OPENED, at=at, data={})
            written.extend(ledger.append(connection, [draft], stamp))

    written: list[Entry] = []
    assert sync_state.backlog(connection) == (0, None)
    for count in (7, 1, 0, 4):
        write(count)
        ledger.begin_epoch(connection, 0)
    write(3)
    assert sync_state.backlog(connection) == (15, AT)
    for waiting, entry in zip(range(14, -1, -1), written, strict=True):
        sync_state.set_uploaded(connection, Place(entry.epoch, entry.sequence))
        oldest = AT + timedelta(minutes=15 - waiting) if waiting else None
        assert sync_state.backlog(connection) == (waiting, oldest)
    ledger.begin_epoch(connection, 0)
    assert sync_state.backlog(connection) == (0, None)
