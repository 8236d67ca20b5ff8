"""What an Access-Accept costs the database thread: which statements it runs, and by which index.

Times differ from machine to machine; that nothing is read twice, written twice or looked for in a
whole table is the same on each.
"""

import re
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest

from edgegate.passes.model import (
    Balance,
    Credential,
    CredentialKind,
    Customer,
    Location,
    Pass,
    Unit,
)
from edgegate.ports import ClockTrust
from edgegate.store import cache, wifi, wifi_grants, wifi_rows
from edgegate.store.books import Books
from edgegate.store.files import Store
from edgegate.store.ledger import Stamp
from edgegate.wifi import access, ending, proven, verifiers
from edgegate.wifi.proofs import LoginProof
from edgegate.wifi.refusals import Refusals

KEY = bytes(range(32))
AT = datetime(2026, 5, 4, 12, tzinfo=UTC)
STAMP = Stamp(source="edgegate/site/box", clock=ClockTrust.TRUSTED, boot_id="b", monotonic_s=1.0)

IN_FULL = {
    "SCAN entry",
    "SCAN session USING INDEX session_lots",
}
"""The ledger's end is one row of it; few visits are in the index of those on several lots."""


class Desk:
    """The database thread's side of an access point that asks."""

    def __init__(self, state: Path) -> None:
        self.store = Store.open(state)
        self.books = Books(self.store, lambda: STAMP)
        self.access = access.Access(
            cast("Any", None), cast("Any", None), cast("Any", None), KEY, access.Rules()
        )
        self.refusals = Refusals()
        self.of_ledger: list[str] = []
        self.of_cache: list[str] = []
        self._put()
        self.store.ledger.execute("BEGIN IMMEDIATE")

    def _put(self) -> None:
        connection = self.store.cache
        connection.execute("PRAGMA query_only = OFF")
        cache.put(connection, cache.LOCATION, Location(id="hq"))
        for name in ("ana", "bob"):
            cache.put(connection, cache.CUSTOMER, Customer(id=name))
            for number, unit in enumerate((Unit.USE, Unit.MINUTE)):
                held = Pass(id=f"{name}-{number}", holder=name, unit=unit, amount=10, wifi=True)
                cache.put(connection, cache.PASS, held)
                balance = Balance(pass_=held.id, remaining=9)
                cache.put(connection, cache.BALANCE, balance)
            login = Credential(
                id=f"login-{name}",
                customer=name,
                kind=CredentialKind.WIFI_LOGIN,
                lookup=self.access._number(LoginProof(name, b"")),
                verifier=verifiers.of_generated(b"word"),
            )
            cache.put(connection, cache.CREDENTIAL, login)
        connection.execute("PRAGMA query_only = ON")

    def accept(self, name: str, *, at: datetime = AT, station: str = "s" * 64) -> access.Verdict:
        """Let somebody in by their login."""
        proof = LoginProof(name, b"word")
        asking = access.Asking(
            nas="ap",
            place="ap/1",
            location="hq",
            address="192.0.2.1",
            names=b"named",
            station=station,
        )
        question = access._Question(proof, self.access._number(proof), asking, at)
        known, rules = self.access._known, access.Rules()
        verdict = access._decided(question, rules, known, self.refusals, self.books)
        assert isinstance(verdict, access.Verdict)
        assert verdict.accepted, verdict
        return verdict

    def watch(self) -> None:
        """Note every statement from now on, with its values in it."""
        self.store.ledger.set_trace_callback(self.of_ledger.append)
        self.store.cache.set_trace_callback(self.of_cache.append)

    def rest(self) -> None:
        """Note no more."""
        for connection in (self.store.ledger, self.store.cache):
            connection.set_trace_callback(None)

    def plans(self) -> set[str]:
        """How the statements that were noted find their rows."""
        found = set()
        noted = ((self.store.ledger, self.of_ledger), (self.store.cache, self.of_cache))
        for connection, statements in noted:
            for statement in statements:
                if re.match(r"\s*(SELECT|UPDATE|DELETE)", statement):
                    rows = connection.execute(f"EXPLAIN QUERY PLAN {statement}")
                    found |= {row[3] for row in rows.fetchall()}
        return found

    @property
    def statements(self) -> list[str]:
        """All that were noted."""
        return self.of_ledger + self.of_cache


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path)
    yield made
    made.rest()
    made.store.ledger.execute("COMMIT")
    made.store.close()


def tables(statements: list[str], verb: str) -> Counter[str]:
    """How often each table was read, or written."""
    into = {"SELECT": "FROM", "INSERT": "INTO", "UPDATE": "UPDATE", "DELETE": "FROM"}[verb]
    begun = (s for s in statements if s.lstrip().startswith(verb))
    return Counter(
        name for s in begun for name in dict.fromkeys(re.findall(rf"\b{into} (\w+)", s)) if name
    )


def test_an_accept_reads_each_thing_once(desk: Desk) -> None:
    desk.accept("bob")
    desk.watch()
    desk.accept("ana")
    read = tables(desk.statements, "SELECT")
    once = ("credential", "customer", "pass", "contract", "balance", "reservation", "coverage")
    assert {table: read[table] for table in (*once, "debit")} == dict.fromkeys((*once, "debit"), 1)
    # Whether one is open, who else uses up the minutes, twice what is due next, and when it ends.
    assert read["session"] == 5
    # Whether the device was let in a moment ago, twice in one statement, and for too many.
    assert read["wifi_grant"] == 2


def test_an_accept_writes_each_row_once(desk: Desk) -> None:
    desk.accept("bob")
    desk.watch()
    desk.accept("ana")
    written = tables(desk.statements, "INSERT")
    assert written["wifi_grant"] == written["session"] == written["moved"] == 1
    assert tables(desk.statements, "UPDATE")["wifi_grant"] == 0
    session = desk.books.session_of("ana", "hq")
    assert session is not None
    before = desk.store.ledger.total_changes
    desk.books.set_deadline(session.id, session.closes_at)
    # What stands there already is not written again, nor its place in the index.
    assert desk.store.ledger.total_changes == before
    desk.books.set_deadline(session.id, None)
    assert desk.store.ledger.total_changes == before + 1
    desk.books.set_deadline(session.id, AT)
    assert desk.books.deadline_of("ana", "hq") == (session.id, AT)
    assert tables(desk.statements, "DELETE")["wifi_grant"] == 0
    row = "SELECT names, address FROM wifi_grant WHERE customer = 'ana'"
    assert desk.store.ledger.execute(row).fetchone() == (b"named", "192.0.2.1")


def test_an_accept_goes_through_no_table(desk: Desk) -> None:
    desk.accept("bob")
    desk.watch()
    desk.accept("ana")
    desk.rest()
    plans = desk.plans()
    assert {plan for plan in plans if "SCAN" in plan} == IN_FULL
    # A place has hundreds of sessions, and a customer a few.
    own = {plan for plan in plans if " wifi_session " in plan}
    assert own == {"SEARCH wifi_session USING INDEX wifi_session_live (customer=?)"}


def test_nobody_who_comes_in_is_told_a_sentence(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[object] = []

    def member(outcome: object) -> str:
        made.append(outcome)
        return "come in"

    monkeypatch.setattr(access, "member", member)
    assert desk.accept("ana").sentence == ""
    assert made == []


def test_classes_begin_with_their_time_and_no_two_are_the_same(desk: Desk) -> None:
    later = [AT + timedelta(minutes=2 * number) for number in range(3)]
    given = [desk.accept("ana", at=at).class_ for at in later]
    assert given == sorted(given)
    same = {desk.accept("bob", at=later[-1], station=f"device {n}").class_ for n in range(20)}
    assert len(same) == 20
    assert {len(class_) for class_ in (*given, *same)} == {2 * access.CLASS_BYTES}
    # A clock that stands before 1970 gives one as well.
    assert len(access._class(datetime(1969, 12, 31, tzinfo=UTC))) == 2 * access.CLASS_BYTES


def test_the_oldest_accepts_of_a_device_go(desk: Desk) -> None:
    given = [desk.accept("ana", at=AT + timedelta(minutes=2 * n)).class_ for n in range(8)]
    kept = desk.store.ledger.execute("SELECT class FROM wifi_grant ORDER BY at").fetchall()
    assert [class_ for (class_,) in kept] == given[-wifi.GRANTS_KEPT :]


def test_a_round_looks_at_some_accepts_and_the_next_goes_on(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wifi_rows, "LOOKED_AT_MAX", 3)
    for number in range(8):
        desk.accept("ana", at=AT, station=f"device {number}")
    ledger = desk.store.ledger
    # Their visit is over, whatever became of the word of it.
    ledger.execute("DELETE FROM session")
    seen: list[list[str]] = []
    after = ""
    for _ in range(4):
        found, after = wifi_rows.due(ledger, AT, after)
        seen.append(sorted(one.station for one in found))
        if not after:
            break
    assert [len(stations) for stations in seen] == [3, 3, 2]
    assert sorted(one for stations in seen for one in stations) == [
        f"device {number}" for number in range(8)
    ]
    assert after == ""


def test_a_round_looks_at_some_proofs_and_the_next_goes_on(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wifi_grants, "PROOFS_MAX", 3)
    for number in range(7):
        desk.accept("ana", at=AT, station=f"device {number}")
    store = desk.store
    store.cache.execute("PRAGMA query_only = OFF")
    cache.delete(store.cache, cache.CREDENTIAL, "login-ana")
    revoked = "SELECT count(*) FROM wifi_grant WHERE revoked"
    counts, after = [], ""
    for _ in range(3):
        after = proven.note_lost(desk.books, AT, lambda _: False, after)
        counts.append(store.ledger.execute(revoked).fetchone()[0])
    assert counts == [3, 6, 7]
    assert after == ""


def test_the_rounds_remember_how_far_they_came(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wifi_rows, "LOOKED_AT_MAX", 3)
    monkeypatch.setattr(wifi_grants, "PROOFS_MAX", 2)
    for number in range(5):
        desk.accept("ana", at=AT, station=f"device {number}")
    asked: list[str] = []

    def counts(grant: wifi_rows.Grant, *_: object) -> bool:
        asked.append(grant.station)
        return False

    monkeypatch.setattr(proven, "_counts", counts)
    reached = ending._Reached()
    found = [ending._look(AT, lambda _: False, reached, desk.books) for _ in range(2)]
    # The proofs of two were lost in the first round, of which it looked at three.
    assert [len(due) for due in found] == [2, 1]
    assert (len(asked), len(set(asked))) == (4, 4)
    assert (bool(reached.proofs), reached.accepts) == (True, "")
