"""Which entries retention takes, and the copy of the tables that is there before they go."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from edgegate.passes.happenings import Debited, Opened
from edgegate.passes.model import Channel, Location
from edgegate.passes.reasons import ClosingReason
from edgegate.passes.state import Session
from edgegate.ports import ClockTrust
from edgegate.store import cache, ledger, projection, retention, standing, sync_state, wifi
from edgegate.store.books import Books
from edgegate.store.chain import Entry
from edgegate.store.connections import PAGE_BYTES
from edgegate.store.errors import StoreUnavailableError
from edgegate.store.files import Store
from edgegate.store.ledger import Draft, EntryType, Stamp
from edgegate.store.sync_state import Place

AT = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
EPOCH = 1_000
STAMP = Stamp(source="edgegate/mill/front", clock=ClockTrust.TRUSTED, boot_id="b", monotonic_s=1.0)


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def store(state: Path) -> Iterator[Store]:
    with closing(Store.open(state, rebuild=wifi.rebuild, now=lambda: EPOCH)) as opened:
        opened.cache.execute("PRAGMA query_only = OFF")
        put(opened, Location(id="mill"))
        yield opened


def put(store: Store, *locations: Location) -> None:
    for location in locations:
        cache.put(store.cache, cache.LOCATION, location)


def write(store: Store, count: int) -> None:
    draft = Draft(type=EntryType.DOOR_OPENED, at=AT, subject="door/front", data={"n": 1})
    ledger.append(store.ledger, [draft] * count, STAMP)


def debits(store: Store, count: int) -> None:
    books = Books(store, lambda: STAMP)
    debited = [
        Debited(
            pass_="ten",  # noqa: S106 - a pass
            customer="ana",
            location="mill",
            session=f"front-{EPOCH}-{number}",
            amount=1,
            day=date(2026, 3, 1),
            from_=AT,
            until=AT + timedelta(days=1),
            covers=True,
        )
        for number in range(count)
    ]
    books.record(debited, AT)


def count(store: Store, sequence: int) -> None:
    sync_state.set_uploaded(store.ledger, Place(EPOCH, sequence))


def key(sequence: int) -> int:
    return ledger.key_of(EPOCH, sequence)


def kept(store: Store) -> list[int]:
    return [entry.sequence for entry in ledger.entries(store.ledger)]


def tables(store: Store) -> dict[str, list[object]]:
    return {
        table: sorted(store.ledger.execute(f"SELECT * FROM {table}").fetchall(), key=repr)  # noqa: S608
        for table in standing.TABLES
    }


def test_what_was_counted_goes_by_the_day_on_which_it_was(store: Store) -> None:
    write(store, 30)
    for day, sequence in enumerate((10, 20, 30)):
        count(store, sequence)
        retention.note_counted(store.ledger, AT + timedelta(days=day))
    later = AT + timedelta(days=90)
    assert retention.due(store, later - timedelta(microseconds=1)) == 0
    assert retention.due(store, later) == key(10)
    assert retention.due(store, later + timedelta(days=1, hours=23)) == key(20)
    # The newest that was counted stays: by it the cloud sees that the ledger is the same.
    assert retention.due(store, later + timedelta(days=2)) == key(29)
    assert retention.forget(key(10), store) == (10, False)
    assert kept(store) == list(range(11, 31))
    assert retention.due(store, later) == 0
    assert ledger.verify(store.ledger) == []


def test_it_is_noted_once_a_day_and_only_what_is_new(store: Store) -> None:
    write(store, 9)
    retention.note_counted(store.ledger, AT)
    for hour in range(36):
        count(store, min(1 + hour // 6, 4))
        retention.note_counted(store.ledger, AT + timedelta(hours=hour))
    midnight = AT + timedelta(hours=12)
    assert store.ledger.execute("SELECT at, key FROM counted ORDER BY at").fetchall() == [
        (projection.microseconds(AT), key(1)),
        (projection.microseconds(midnight), key(3)),
    ]
    retention.forget(key(2), store)
    retention.note_counted(store.ledger, midnight)
    assert len(store.ledger.execute("SELECT * FROM counted").fetchall()) == 1


def test_what_a_clock_that_was_ahead_noted_is_not_believed(store: Store) -> None:
    write(store, 9)
    count(store, 5)
    retention.note_counted(store.ledger, AT + timedelta(days=400))
    retention.note_counted(store.ledger, AT)
    assert retention.due(store, AT + timedelta(days=89)) == 0
    assert retention.due(store, AT + timedelta(days=90)) == key(4)


def test_the_longest_of_all_locations_counts(store: Store) -> None:
    write(store, 9)
    count(store, 9)
    retention.note_counted(store.ledger, AT)
    put(store, Location(id="mill", ledger_keep_days=7), Location(id="hq", ledger_keep_days=30))
    assert retention.due(store, AT + timedelta(days=29)) == 0
    assert retention.due(store, AT + timedelta(days=30)) == key(8)
    store.cache.execute("DELETE FROM location")
    assert retention.due(store, AT + timedelta(days=9_000)) == 0


def visit(name: str) -> Opened:
    session = Session(
        id=name,
        customer="ana",
        location="mill",
        opened_at=AT,
        channel=Channel.DOOR,
        closes_at=AT + timedelta(days=1),
        closes_for=ClosingReason.CUTOFF,
    )
    return Opened(session=session)


def test_nothing_goes_that_an_open_visit_may_need(store: Store) -> None:
    write(store, 20)
    Books(store, lambda: STAMP).record([visit(f"front-{EPOCH}-12")], AT)
    count(store, 21)
    assert retention.limit(store.ledger) == key(11)
    # What is found to be needed after all stays, whatever was due before.
    assert retention.forget(key(15), store) == (11, False)
    store.ledger.execute("UPDATE session SET id = 'of another kind'")
    assert retention.limit(store.ledger) == 0


def test_nothing_goes_that_the_cloud_would_not_take(store: Store) -> None:
    write(store, 20)
    sync_state.quarantine(store.ledger, Place(EPOCH, 4), "quarantined", "it counts for nothing")
    sync_state.quarantine(store.ledger, Place(EPOCH, 8), "refused", "it makes no sense")
    count(store, 20)
    assert retention.limit(store.ledger) == key(7)
    sync_state.accept(store.ledger, Place(EPOCH, 8))
    assert retention.limit(store.ledger) == key(19)


def test_one_job_takes_a_few_only(store: Store) -> None:
    entries = 2 * retention.BITE_ENTRIES + 5
    write(store, entries + 1)
    count(store, entries + 1)
    taken = [retention.forget(key(entries), store) for _ in range(3)]
    assert taken == [
        (retention.BITE_ENTRIES, True),
        (retention.BITE_ENTRIES, True),
        (5, False),
    ]
    assert retention.forget(key(entries), store) == (0, False)
    assert kept(store) == [entries + 1]
    assert ledger.verify(store.ledger) == []


def test_entries_that_go_while_the_chain_is_followed_are_not_missed(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(store, 20)
    count(store, 20)
    entries = ledger.entries
    rounds: list[int] = []

    def meanwhile(connection: sqlite3.Connection) -> Iterator[Entry]:
        rounds.append(len(rounds))
        if len(rounds) == 1:
            ledger.forget(connection, EPOCH, 10)
        return entries(connection)

    monkeypatch.setattr(ledger, "entries", meanwhile)
    assert ledger.verify(store.ledger) == []
    assert len(rounds) == 2
    store.ledger.execute("DROP TRIGGER entry_is_kept")
    store.ledger.execute("DELETE FROM entry WHERE sequence = 15")
    assert [fault.sequence for fault in ledger.verify(store.ledger)] == [16]


def test_every_table_is_copied_or_is_known_not_to_follow_from_entries(store: Store) -> None:
    found = store.ledger.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")
    others = {"entry", "retention", "meta", "sync_cursor", "quarantined", "command_id", "counted"}
    assert {name for (name,) in found} == others | set(standing.TABLES)
    assert set(standing.TABLES) == {*projection.TABLES, *wifi.TABLES, "heard"}


def reopened(state: Path) -> Store:
    """A store whose ledger was found damaged: a page that holds no entry is hit."""
    with closing(sqlite3.connect(state / "ledger.db")) as other:
        query = "SELECT rootpage FROM sqlite_schema WHERE name = 'session_pass'"
        (leaf,) = other.execute(query).fetchone()
    with (state / "ledger.db").open("r+b") as file:
        file.seek((leaf - 1) * PAGE_BYTES)
        file.write(bytes(PAGE_BYTES))
    return Store.open(state, rebuild=wifi.rebuild, now=lambda: EPOCH + 1)


def lived(store: Store) -> dict[str, list[object]]:
    """Something in many tables, of which the oldest entries are gone; the tables."""
    debits(store, 40)
    write(store, 10)
    sync_state.hear(store.ledger, "back", 7, sync_state.Range(1, 9))
    wifi_rows(store)
    count(store, 51)
    return tables(store)


def wifi_rows(store: Store) -> None:
    accepted = wifi.Accepted(
        class_="c1", customer="ana", location="mill", nas="n", place="p", until=AT
    )
    wifi.record(Books(store, lambda: STAMP), accepted, AT)


def test_the_tables_of_a_damaged_ledger_begin_with_their_copy(store: Store, state: Path) -> None:
    before = lived(store)
    assert standing.write(state) == key(51)
    retention.forget(key(30), store)
    store.close()
    with closing(reopened(state)) as again:
        assert "the tables stood as after" in again.reports[0].detail
        assert tables(again) == before
        assert kept(again) == list(range(31, 52))
        assert ledger.verify(again.ledger) == []


def test_all_copied_entries_may_be_gone(store: Store, state: Path) -> None:
    lived(store)
    assert standing.write(state) == key(51)
    write(store, 3)
    before = tables(store)
    count(store, 54)
    retention.forget(key(51), store)
    store.close()
    with closing(reopened(state)) as again:
        assert tables(again) == before
        assert kept(again) == [52, 53, 54]


@pytest.mark.parametrize("gone", [12, 30])
def test_the_chain_holds_where_the_head_of_the_file_is_lost(
    store: Store, state: Path, gone: int
) -> None:
    before = lived(store)
    standing.write(state, key(30))
    # The power may go before all of them have.
    retention.forget(key(gone), store)
    store.close()
    with (state / "ledger.db").open("r+b") as file:
        file.write(bytes(PAGE_BYTES))
    with closing(Store.open(state, rebuild=wifi.rebuild, now=lambda: EPOCH + 1)) as again:
        assert len(again.reports) == 1
        assert tables(again) == before
        assert kept(again) == list(range(gone + 1, 52))
        assert ledger.verify(again.ledger) == []
        again.ledger.execute("DROP TRIGGER entry_is_kept")
        again.ledger.execute("DELETE FROM entry WHERE sequence = ?", (gone + 1,))
        assert [fault.sequence for fault in ledger.verify(again.ledger)] == [gone + 2]


@pytest.mark.parametrize("what", ["absent", "damaged", "another's", "newer"])
def test_a_copy_that_cannot_be_used_is_left_alone_and_that_is_said(
    store: Store, state: Path, tmp_path: Path, what: str
) -> None:
    lived(store)
    standing.write(state)
    retention.forget(key(30), store)
    copy = standing.path_of(state)
    if what == "absent":
        copy.unlink()
    elif what == "damaged":
        with copy.open("r+b") as file:
            file.seek(PAGE_BYTES)
            file.write(b"\xff" * 20 * PAGE_BYTES)
    elif what == "newer":
        with closing(sqlite3.connect(copy)) as other:
            other.execute("PRAGMA user_version = 99")
    else:
        with closing(Store.open(tmp_path / "other", now=lambda: EPOCH)) as other_store:
            write(other_store, 60)
        standing.write(tmp_path / "other")
        standing.path_of(tmp_path / "other").replace(copy)
    store.close()
    with closing(reopened(state)) as again:
        assert "there is no copy of the tables" in again.reports[0].detail
        rows = again.ledger.execute("SELECT sequence FROM debit ORDER BY 1").fetchall()
        assert [row[0] for row in rows] == list(range(31, 41))
        assert again.ledger.execute("SELECT * FROM heard").fetchall() == []
        assert ledger.verify(again.ledger) == []


def test_a_copy_holds_no_mac_address(store: Store, state: Path) -> None:
    wifi_rows(store)
    store.ledger.execute("UPDATE wifi_grant SET names = x'aabbccddeeff', address = '10.9.8.7'")
    standing.write(state)
    found = standing.path_of(state).read_bytes()
    assert b"10.9.8.7" not in found
    assert bytes.fromhex("aabbccddeeff") not in found
    assert [file.name for file in state.glob("*tables.db*")] == [standing.FILE]


def test_a_copy_that_cannot_be_written_leaves_the_one_before(store: Store, state: Path) -> None:
    lived(store)
    standing.write(state)
    before = standing.path_of(state).read_bytes()
    (state / f"next.{standing.FILE}").mkdir()
    with pytest.raises(StoreUnavailableError):
        standing.write(state)
    assert standing.path_of(state).read_bytes() == before


def test_only_a_copy_that_is_there_is_renewed(store: Store, state: Path) -> None:
    lived(store)
    standing.renew(state)
    assert not standing.path_of(state).exists()
    standing.write(state)
    store.ledger.execute("DELETE FROM coverage")
    standing.renew(state)
    with closing(sqlite3.connect(standing.path_of(state))) as copy:
        assert copy.execute("SELECT * FROM coverage").fetchall() == []
