"""What a device finds that its cloud lacks, by itself: ranges at their limits."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgegate.store import ledger, sync_state
from edgegate.store.connections import connect_read_only
from edgegate.store.sync_state import QUARANTINED_MAX, Place
from edgegate_sync.appliance import resend
from edgegate_sync.wire.events import STORED_MAX, Stored
from rig.devices import Device


@pytest.fixture
async def entries(tmp_path: Path) -> Path:
    """A ledger with entries 1 to 400 of one epoch, all uploaded but for the last."""
    async with Device(tmp_path) as device:
        await device.report(400)
        epoch = (await device.entries())[0].epoch
        await device.thread.run(lambda s: sync_state.set_uploaded(s.ledger, Place(epoch, 399)))
    return device.ledger


@pytest.fixture
def connection(entries: Path) -> Iterator[sqlite3.Connection]:
    """A copy in memory, which may lose entries, as a worn card does."""
    copy = sqlite3.connect(":memory:", isolation_level=None)
    source = connect_read_only(entries)
    source.backup(copy)
    source.close()
    for (name,) in copy.execute("SELECT name FROM sqlite_schema WHERE type = 'trigger'").fetchall():
        copy.execute(f"DROP TRIGGER {name}")
    yield copy
    copy.close()


def ranges(connection: sqlite3.Connection, *of: tuple[int, int]) -> list[Stored]:
    epoch = ledger.head(connection).epoch
    return [Stored(epoch=epoch, first=first, last=last) for first, last in of]


def missing(connection: sqlite3.Connection, *of: tuple[int, int]) -> int | None:
    found = resend.first_missing(connection, ranges(connection, *of))
    return None if found is None else found.sequence


@pytest.mark.parametrize(
    ("stored", "first"),
    [
        ([], 1),
        ([(1, 399)], None),
        ([(1, 400)], None),
        ([(1, 398)], 399),
        ([(2, 399)], 1),
        ([(1, 10), (12, 399)], 11),
        ([(1, 10), (12, 20), (22, 30)], 11),
        ([(12, 399), (1, 11)], None),
        ([(1, 50), (20, 60), (30, 399)], None),
        ([(1, 399), (500, 600)], None),
        ([(1, 10), (500, 600)], 11),
    ],
)
def test_the_first_that_is_missing(
    connection: sqlite3.Connection, stored: list[tuple[int, int]], first: int | None
) -> None:
    assert missing(connection, *stored) == first


def test_other_epochs_have_nothing_of_this_one(connection: sqlite3.Connection) -> None:
    epoch = ledger.head(connection).epoch
    around = [Stored(epoch=epoch - 1, first=1, last=900), Stored(epoch=epoch + 1, first=1, last=9)]
    found = resend.first_missing(connection, around)
    assert found == Place(epoch, 1)
    assert resend.note_lost(connection, around) == []


def test_of_what_is_not_said_nothing_is_missing(connection: sqlite3.Connection) -> None:
    scattered = [(100 + 2 * n, 100 + 2 * n) for n in range(STORED_MAX)]
    assert missing(connection, *scattered) == 101
    assert missing(connection, *scattered[1:]) == 1
    epoch = ledger.head(connection).epoch
    told = ranges(connection, *scattered)
    assert resend.covers(told, Place(epoch, 99))
    assert not resend.covers(told, Place(epoch, 101))
    assert not resend.covers(told[1:], Place(epoch, 99))
    connection.execute("DELETE FROM entry WHERE key & 0xffffffff < 104")
    (lost,) = resend.note_lost(connection, ranges(connection, *scattered))[:1]
    assert lost.startswith(f"the cloud lacks 1 entries from {epoch}/101 to {epoch}/101,")


def test_what_was_refused_is_not_missing_even_if_it_is_remembered_no_more(
    connection: sqlite3.Connection,
) -> None:
    epoch = ledger.head(connection).epoch
    sync_state.quarantine(connection, Place(epoch, 5), "refused", "so")
    assert missing(connection, (1, 4), (6, 399)) is None
    assert missing(connection, (1, 4), (7, 399)) == 6
    sync_state.quarantine(connection, Place(epoch, 6), "quarantined", "so")
    assert missing(connection, (1, 4), (7, 399)) == 6
    sync_state.quarantine(connection, Place(epoch, 200), "refused", "so")
    for number in range(QUARANTINED_MAX - 1):
        sync_state.quarantine(connection, Place(epoch + 1, number + 1), "refused", "so")
    assert missing(connection, (1, 150), (200, 300)) == 301


def test_what_is_lost_is_named_by_its_first(connection: sqlite3.Connection) -> None:
    epoch = ledger.head(connection).epoch
    sync_state.quarantine(connection, Place(epoch, 11), "refused", "so")
    connection.execute("DELETE FROM entry WHERE key & 0xffffffff IN (13, 14)")
    (why,) = resend.note_lost(connection, ranges(connection, (1, 10), (20, 399)))
    assert why.startswith(f"the cloud lacks 2 entries from {epoch}/13 to {epoch}/19,")
    found = [(q.place.sequence, q.outcome) for q in sync_state.quarantined(connection)]
    assert found == [(11, "refused"), (13, "lost")]
    # Said once.
    assert resend.note_lost(connection, ranges(connection, (1, 10), (20, 399))) == []
    assert resend.note_lost(connection, ranges(connection, (1, 399))) == []
    found = [(q.place.sequence, q.outcome) for q in sync_state.quarantined(connection)]
    assert found == [(11, "refused")]
