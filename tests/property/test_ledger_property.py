"""Whatever is done to a ledger by its own functions it verifies; whatever else is done shows."""

import sqlite3
from contextlib import closing
from datetime import UTC

from hypothesis import given, settings
from hypothesis import strategies as st

from edgegate.ports import ClockTrust
from edgegate.store import ledger, ledger_file
from edgegate.store.ledger import Draft, EntryType, Stamp

STAMP = Stamp(source="edgegate/s/g", clock=ClockTrust.TRUSTED, boot_id="b", monotonic_s=1.0)
texts = st.text(st.characters(codec="utf-8"), max_size=30)
drafts = st.builds(
    Draft,
    type=st.sampled_from(EntryType),
    at=st.datetimes(timezones=st.just(UTC)),
    subject=st.none() | texts,
    data=st.dictionaries(texts, texts | st.integers(-(2**63), 2**63 - 1) | st.none(), max_size=4),
)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.lists(drafts, max_size=4)),
        st.tuples(st.just("epoch"), st.integers(0, 2**31 - 100)),
        st.tuples(st.just("erase"), st.integers(0, 30)),
        st.tuples(st.just("forget"), st.integers(0, 30)),
        st.tuples(st.just("roll back"), st.lists(drafts, max_size=4)),
    ),
    max_size=12,
)


def do(db: sqlite3.Connection, name: str, value: object) -> None:
    places = [(entry.epoch, entry.sequence) for entry in ledger.entries(db)]
    if isinstance(value, list):
        db.execute("BEGIN IMMEDIATE")
        ledger.append(db, value, STAMP)
        db.execute("COMMIT" if name == "append" else "ROLLBACK")
    elif name == "epoch" and isinstance(value, int):
        ledger.begin_epoch(db, value)
    elif isinstance(value, int) and places:
        place = places[value % len(places)]
        if name == "erase":
            ledger.erase(db, [place])
        else:
            ledger.forget(db, *place)


@settings(deadline=None, max_examples=60)
@given(steps)
def test_a_ledger_always_verifies(done: list[tuple[str, object]]) -> None:
    with closing(ledger_file.open_in_memory(now_s=1)) as db:
        for name, value in done:
            do(db, name, value)
            assert ledger.verify(db) == []
        kept = list(ledger.entries(db))
        by_epoch: dict[int, list[int]] = {}
        for entry in kept:
            by_epoch.setdefault(entry.epoch, []).append(entry.sequence)
        for sequences in by_epoch.values():
            assert sequences == list(range(sequences[0], sequences[-1] + 1))


@settings(deadline=None, max_examples=60)
@given(
    st.lists(drafts, min_size=3, max_size=8),
    st.data(),
    st.sampled_from(
        ["source", "type", "at", "subject", "clock", "monotonic", "data", "salt", "prevhash"]
    ),
)
def test_a_change_to_any_column_shows(written: list[Draft], data: st.DataObject, what: str) -> None:
    with closing(ledger_file.open_in_memory(now_s=1)) as db:
        entries = ledger.append(db, written, STAMP)
        victim = data.draw(st.sampled_from(entries))
        db.execute("DROP TRIGGER entry_is_only_erased")
        other = {"at": 12_345_678_901, "data": b"[]", "salt": bytes(16), "prevhash": b"\1" * 32}
        db.execute(
            f"UPDATE entry SET {what} = ? WHERE sequence = ?",  # noqa: S608 - names from above
            (other.get(what, "something else"), victim.sequence),
        )
        assert victim.sequence in {fault.sequence for fault in ledger.verify(db)}


@settings(deadline=None, max_examples=40)
@given(st.lists(drafts, min_size=3, max_size=8), st.data())
def test_a_missing_entry_shows(written: list[Draft], data: st.DataObject) -> None:
    with closing(ledger_file.open_in_memory(now_s=1)) as db:
        ledger.append(db, written, STAMP)
        missing = data.draw(st.integers(1, len(written) - 1))
        db.execute("DROP TRIGGER entry_is_kept")
        db.execute("DELETE FROM entry WHERE sequence = ?", (missing,))
        assert [fault.sequence for fault in ledger.verify(db)] == [missing + 1]
