"""Whatever retention forgets, and whenever: the law goes on as if all entries were still there."""

import logging
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from random import Random

import pytest

from edgegate.deadlines import resume
from edgegate.passes.model import Pass, Record
from edgegate.passes.state import Session
from edgegate.store import cache, ledger, retention, standing, sync_state, wifi
from edgegate.store.books import Books
from edgegate.store.connections import PAGE_BYTES
from edgegate.store.files import Store
from edgegate.store.sync_state import Place
from oracle.worlds import Draw
from rig import seeds
from simulator import spaces
from simulator.appliance import STAMP, Appliance, copy_of
from simulator.run import rows_of, told
from simulator.steps import Step, next_step

SPACES = 10
STEPS = 150
FORGETS_ONE_IN = 8


@pytest.fixture(autouse=True)
def quiet_log() -> Iterator[None]:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


class Forgetful(Appliance):
    """An appliance that forgets all that it may, now and then."""

    copy: sqlite3.Connection | None = None
    forgotten = 0

    def forget(self, random: Random) -> None:
        """Copy the tables, as `standing.write` does, and forget up to some entry that may go."""
        count_all(self.store.ledger)
        until = retention.limit(self.store.ledger)
        rows = self.store.ledger.execute("SELECT key FROM entry WHERE key <= ?", (until,))
        keys = [row[0] for row in rows]
        if not keys:
            return
        self.forget_copy()
        self.copy = copy_of(self.store.ledger)
        self.copy.execute("CREATE TABLE link AS SELECT key, hash FROM entry")
        before = state_of(self.store.ledger), left(self), debits_of(self)
        self.forgotten += forget_all(random.choice(keys), self.store)
        assert (state_of(self.store.ledger), left(self), debits_of(self)) == before
        assert ledger.verify(self.store.ledger) == []

    def forget_copy(self) -> None:
        if self.copy is not None:
            self.copy.close()

    def _restart(self) -> None:
        """Die and come back; the tables come from the copy and the entries since."""
        if self.copy is None:
            super()._restart()
            return
        before = self.books
        for table in standing.TABLES:
            self.store.ledger.execute(f"DELETE FROM {table}")  # noqa: S608 - constants
        after = standing.fill(self.store.ledger, self.copy)
        assert after
        wifi.rebuild(self.store.ledger, after)
        self.books = Books(self.store, lambda: STAMP)
        self.books.reached_at = before.reached_at
        self.books.lockdown, self.books.clock_trusted = before.lockdown, before.clock_trusted
        self.books.answers = before.answers
        resume(self.books)

    def close(self) -> None:
        self.forget_copy()
        super().close()


def count_all(connection: sqlite3.Connection) -> None:
    """The cloud has it all."""
    head = ledger.head(connection)
    sync_state.set_uploaded(connection, Place(head.epoch, head.sequence))


def forget_all(until: int, store: Store) -> int:
    count, is_more = retention.forget(until, store)
    while is_more:
        more, is_more = retention.forget(until, store)
        count += more
    return count


def state_of(connection: sqlite3.Connection) -> dict[str, list[str]]:
    return {table: rows_of(connection, table) for table in standing.TABLES}


def left(appliance: Appliance) -> dict[str, int]:
    passes: list[Pass] = list(cache.every(appliance.store.cache, cache.PASS))
    return appliance.books.remaining(passes)


def debits_of(appliance: Appliance) -> dict[str, str]:
    visits: list[Session] = appliance.books.sessions()
    return {visit.id: repr(appliance.books.debits_of(visit.id)) for visit in visits}


def live(seed: str) -> tuple[list[Record], list[Step], Appliance, Draw]:
    """Let a random space live; the caller closes the appliance."""
    draw = Draw(Random(seed))
    records = spaces.space(draw)
    appliance = Appliance(records)
    steps: list[Step] = []
    while len(steps) < STEPS:
        steps.append(next_step(draw, appliance.books, clock_steps=False))
        appliance.act(steps[-1])
    return records, steps, appliance, draw


def test_what_is_forgotten_changes_nothing_that_comes() -> None:
    first = seeds.of_this_commit()
    forgotten = 0
    for number in range(SPACES):
        seed = f"{first}/{number}"
        print(f"seed {seed}")
        random = Random(seed)
        records, steps, appliance, _ = live(seed)
        with closing(appliance), closing(Forgetful(records)) as twin:
            for step in steps:
                twin.act(step)
                if random.randrange(FORGETS_ONE_IN) == 0:
                    twin.forget(random)
            entries = told(twin)
            assert entries == told(appliance)[-len(entries) :]
            assert state_of(twin.store.ledger) == state_of(appliance.store.ledger)
            assert left(twin) == left(appliance)
            forgotten += twin.forgotten
    assert forgotten > 0


def test_a_damaged_ledger_has_the_same_tables_whatever_was_forgotten(tmp_path: Path) -> None:
    first = seeds.of_this_commit()
    for number in range(SPACES):
        seed = f"{first}/{number}"
        print(f"seed {seed}")
        random = Random(seed)
        state = tmp_path / str(number)
        state.mkdir()
        *_, appliance, draw = live(seed)
        with closing(appliance):
            put(appliance, state)
            standing.write(state)
            for _ in range(random.randrange(20)):
                appliance.act(next_step(draw, appliance.books, clock_steps=False))
            put(appliance, state)
            with closing(Store.open(state)) as store:
                before = state_of(store.ledger)
                until = min(retention.limit(store.ledger), newest_copied(state))
                forget_all(until - random.choice([0, random.randrange(100)]), store)
                assert state_of(store.ledger) == before
                kept = [(e.epoch, e.sequence) for e in ledger.entries(store.ledger)]
            damage(state / "ledger.db")
            with closing(Store.open(state, rebuild=wifi.rebuild, now=lambda: 2e9)) as store:
                assert len(store.reports) == 1
                assert state_of(store.ledger) == before
                assert [(e.epoch, e.sequence) for e in ledger.entries(store.ledger)] == kept
                assert ledger.verify(store.ledger) == []


def put(appliance: Appliance, state: Path) -> None:
    """Leave an appliance's ledger in a state directory, all of it counted."""
    count_all(appliance.store.ledger)
    (state / "ledger.db").unlink(missing_ok=True)
    with closing(sqlite3.connect(state / "ledger.db")) as to:
        appliance.store.ledger.backup(to)


def newest_copied(state: Path) -> int:
    with closing(sqlite3.connect(standing.path_of(state))) as copy:
        (key,) = copy.execute("SELECT max(key) FROM link").fetchone()
    return int(key)


def damage(path: Path) -> None:
    """Hit a page that holds no entry, so that the file is found corrupt and none is lost."""
    with closing(sqlite3.connect(path)) as other:
        (leaf,) = other.execute(
            "SELECT rootpage FROM sqlite_schema WHERE name = 'session_pass'"
        ).fetchone()
    with path.open("r+b") as file:
        file.seek((leaf - 1) * PAGE_BYTES)
        file.write(bytes(PAGE_BYTES))
