"""What changes do to the cache: put, deleted, erased, broken, unusable and unknown ones."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import msgspec
import pytest

from edgegate.passes.model import (
    Balance,
    Contract,
    Counted,
    Credential,
    CredentialKind,
    CredentialStatus,
    Customer,
    CustomerStatus,
    Pass,
    PassState,
    Reservation,
)
from edgegate.store import cache
from edgegate.store.cache_file import open_in_memory
from edgegate_sync.appliance import apply as apply_module
from edgegate_sync.appliance import quarantine
from edgegate_sync.appliance.apply import (
    Broken,
    Put,
    Standing,
    apply,
    standing,
    step_as_read,
    step_of_line,
)
from edgegate_sync.appliance.ownwords import own_words
from edgegate_sync.wire.changes import BODY_BYTES_MAX, LINE_BYTES_MAX
from edgegate_sync.wire.state import Quarantined
from fakes.feed_server import gone, line_of, raw

AT = datetime(2026, 3, 2, 9, tzinfo=UTC)
CARD = Credential(id="card", customer="ana", kind=CredentialKind.NFC_UID, lookup="l")
TEN = Pass(id="ten", holder="ana", amount=10, expires_at=AT)


FULL = {"days": ["mon"], "from": "08:00", "to": "20:00"}


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    with closing(open_in_memory()) as opened:
        opened.execute("PRAGMA query_only = OFF")
        yield opened


def feed(connection: sqlite3.Connection, *lines: bytes, head: int = 99) -> Standing:
    steps = [step_of_line(line, 0) for line in lines]
    return apply(steps, head, connection)  # type: ignore[arg-type]  # no trailer is among them


def balance_of(of: str, remaining: int, **others: Any) -> Balance:
    return Balance(pass_=of, remaining=remaining, **others)


def get(connection: sqlite3.Connection, kind: cache.Kind[Any], id_: str) -> Any:
    return cache.get(connection, kind, id_)


def test_the_last_of_several_changes_stands(connection: sqlite3.Connection) -> None:
    feed(
        connection,
        line_of(1, TEN),
        gone(2, "pass", "ten"),
        line_of(3, CARD),
        line_of(4, msgspec.structs.replace(CARD, lookup="m")),
        gone(5, "pass", "never"),
        line_of(6, msgspec.structs.replace(TEN, amount=3)),
    )
    assert get(connection, cache.PASS, "ten").amount == 3
    assert get(connection, cache.CREDENTIAL, "card").lookup == "m"
    assert cache.head(connection) == 99


def test_of_many_changes_at_once_the_last_stands(connection: sqlite3.Connection) -> None:
    numbers = range(1, 2 * cache.ROWS_TOGETHER + 1)
    feed(connection, *(line_of(n, Customer(id=f"c{n % 5}", name=f"{n}")) for n in numbers))
    names = connection.execute("SELECT id, body ->> 'name' FROM customer ORDER BY id").fetchall()
    assert names == [(f"c{n % 5}", f"{n}") for n in sorted(numbers[-5:], key=lambda n: n % 5)]


def test_every_kind_has_its_table(connection: sqlite3.Connection) -> None:
    bodies: dict[str, dict[str, Any]] = {
        "customer": {},
        "location": {},
        "team": {},
        "plan": {"renew_months": 2},
        "contract": {"holder": "ana"},
        "credential": {"customer": "ana", "kind": "pin"},
        "pass": {"holder": "ana"},
        "balance": {"pass": "x", "remaining": 3},
        "offer": {"price": 3},
        "reservation": {"customer": "ana", "from": AT, "until": AT},
        "resource": {"location": "hq"},
        "door": {"location": "hq"},
        "door_group": {},
        "staff_account": {"verifier": "$scrypt$"},
        "device_config": {"poll_s": 10},
    }
    assert bodies.keys() == cache.KINDS.keys()
    lines = [
        raw(n, kind, "x", ({} if kind == "balance" else {"id": "x"}) | body)
        for n, (kind, body) in enumerate(bodies.items(), start=1)
    ]
    told = feed(connection, *lines)
    assert told.counts.quarantined == 0
    assert all(cache.get(connection, kind, "x") is not None for kind in cache.KINDS.values())


def test_a_broken_body_leaves_the_record_but_for_what_restricts(
    connection: sqlite3.Connection,
) -> None:
    later = (AT + timedelta(days=1)).isoformat()
    sooner = (AT - timedelta(days=1)).isoformat()
    broken = {"id": "ten", "holder": 7, "state": "cancelled", "expires_at": later}
    told = feed(connection, line_of(1, TEN), raw(2, "pass", "ten", broken))
    assert get(connection, cache.PASS, "ten") == msgspec.structs.replace(
        TEN, state=PassState.CANCELLED
    )
    assert told.quarantined == (
        Quarantined(
            seq=2,
            kind="pass",
            id="ten",
            field="holder",
            error="Expected `str`, got `int`",
            restricted=("state",),
        ),
    )
    milder = {"id": "ten", "holder": 7, "state": "active", "expires_at": sooner}
    feed(connection, raw(3, "pass", "ten", milder))
    now = get(connection, cache.PASS, "ten")
    assert (now.state, now.expires_at) == (PassState.CANCELLED, AT - timedelta(days=1))


def test_a_line_that_is_no_change_may_restrict_too(connection: sqlite3.Connection) -> None:
    body = {"id": "card", "status": "blocked"}
    told = feed(connection, line_of(1, CARD), raw(2, "credential", "card", body, op="amend"))
    assert get(connection, cache.CREDENTIAL, "card").status is CredentialStatus.BLOCKED
    assert told.quarantined[0].restricted == ("status",)


def test_a_good_body_ends_the_quarantine(connection: sqlite3.Connection) -> None:
    bad = raw(2, "customer", "ana", {"id": "ana", "name": 7})
    assert feed(connection, bad).counts.quarantined == 1
    assert feed(connection, line_of(3, Customer(id="ana"))).counts.quarantined == 0
    assert feed(connection, bad).counts.quarantined == 1
    assert feed(connection, gone(4, "customer", "ana")).counts.quarantined == 0


def test_a_body_of_another_id_is_broken(connection: sqlite3.Connection) -> None:
    told = feed(connection, raw(1, "customer", "ana", {"id": "ben"}))
    assert told.counts.quarantined == 1
    assert get(connection, cache.CUSTOMER, "ben") is None
    assert get(connection, cache.CUSTOMER, "ana") is None


def test_what_requires_the_unknown_gives_no_right(connection: sqlite3.Connection) -> None:
    balance = balance_of("ten", remaining=7, counted={"d": Counted(epoch=1, sequence=2)})
    told = feed(
        connection,
        line_of(1, TEN),
        line_of(2, balance),
        line_of(3, TEN, requires=["moon_phases"]),
        line_of(4, balance, requires=["moon_phases"]),
        line_of(5, balance_of("other", remaining=3), requires=["moon_phases"]),
    )
    assert get(connection, cache.PASS, "ten") is None
    assert get(connection, cache.BALANCE, "ten") == msgspec.structs.replace(balance, remaining=0)
    assert get(connection, cache.BALANCE, "other").remaining == 0
    assert {q.error for q in told.quarantined if q.kind == "pass"} == {
        "pass ten requires moon_phases, unknown here"
    }
    assert feed(connection, line_of(6, TEN)).counts.quarantined == 2


def test_the_unknown_is_kept_out_and_counted(connection: sqlite3.Connection) -> None:
    hours = [{"from": "08:00", "shade": 1}, {"shade": 2}]
    told = feed(
        connection,
        raw(1, "loyalty_card", "x", {}),
        gone(2, "loyalty_card", "x"),
        raw(3, "pass", "ten", {"id": "ten", "holder": "ana", "colour": "red", "hours": hours}),
    )
    assert told.counts.unknown == {"loyalty_card": 2, "pass.colour": 1, "pass.hours[].shade": 1}
    (body,) = connection.execute("SELECT body FROM pass").fetchone()
    assert b"colour" not in body
    assert b"shade" not in body


def test_names_of_the_unknown_are_limited(connection: sqlite3.Connection) -> None:
    lines = [raw(n, f"kind_{n}", "x", {}) for n in range(1, quarantine.UNKNOWN_MAX + 50)]
    counts = feed(connection, *lines).counts
    assert len(counts.unknown) == quarantine.UNKNOWN_MAX
    assert sum(counts.unknown.values()) == len(lines)
    assert counts.unknown[quarantine.OTHERS] == 50


def test_names_in_quarantine_are_limited(
    connection: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quarantine, "NAMED_MAX", 3)
    lines = [raw(n, "customer", f"c{n}", 7) for n in range(1, 11)]
    told = feed(connection, *lines)
    assert told.counts.quarantined == 10
    assert len(told.quarantined) == 3
    assert feed(connection, line_of(11, Customer(id="c1"))).counts.quarantined == 9


def test_instants_are_kept_in_utc(connection: sqlite3.Connection) -> None:
    there = AT.astimezone(timezone(timedelta(hours=3)))
    feed(connection, line_of(1, msgspec.structs.replace(TEN, expires_at=there)))
    (body,) = connection.execute("SELECT body FROM pass").fetchone()
    assert b'"expires_at":"2026-03-02T09:00:00Z"' in body


def test_a_text_with_a_nul_is_broken(connection: sqlite3.Connection) -> None:
    assert feed(connection, line_of(1, Customer(id="x", name="a\0b"))).counts.quarantined == 1


def test_own_words_come_to_the_same_as_read_ones() -> None:
    records = (TEN, CARD, Customer(id="ana", name="Añá"), balance_of("ten", remaining=-3))
    lines = [line_of(1, record) + b"\n" for record in records]
    careful = [step_as_read(line, 0) for line in lines]
    assert [step_of_line(line, 0) for line in lines] == careful
    own = own_words(b"".join(lines))
    assert own is not None
    assert own.seqs == [1, 1, 1, 1]
    assert [row for rows in own.rows.values() for row in rows] == [
        step.row for step in careful if isinstance(step, Put)
    ]


@pytest.mark.parametrize(
    "line",
    [
        raw(1, "customer", "a", {"name": "A", "id": "a", "colour": "red"}),
        raw(1, "customer", "a", {"name": "A", "id": "b"}),
        raw(1, "customer", "a", {"name": "A", "id": "a"}, requires=["wings"]),
        raw(1, "customer", "a", {"name": "A", "id": "a"}, shade=1),
        raw(1, "pass", "p", {"id": "p", "holder": "a", "expires_at": "2026-03-02T12:00:00+03:00"}),
        raw(1, "pass", "p", {"hours": [FULL | {"shade": 1}], "id": "p", "holder": "a"}),
        raw(1, "customer", "a", {"name": "A\0", "id": "a"}),
        raw(1, "customer", "a", {"name": 7, "id": "a"}),
        raw(1, "card", "a", {"id": "a"}),
        line_of(1, Customer(id="a\n")),
        line_of(1, Customer(id="a")).replace(b":", b": "),
        line_of(1, Customer(id="a")).replace(b',"id"', b',\n"id"'),
        line_of(1, Customer(id="a")) * 2,
        gone(1, "customer", "a"),
        b"{}",
        b"",
    ],
)
def test_what_is_not_in_own_words_is_read_with_care(line: bytes) -> None:
    assert own_words(line + b"\n") is None
    own = line_of(1, Customer(id="b")) + b"\n"
    assert own_words(own + line + b"\n" + own) is None


def test_too_long_a_body_is_in_nobodys_own_words() -> None:
    line = line_of(1, Customer(id="a", name="n" * BODY_BYTES_MAX)) + b"\n"
    assert own_words(line) is None
    assert isinstance(step_of_line(line, 0), Broken)


def test_a_line_is_no_more_than_one_change() -> None:
    line = line_of(1, Customer(id="a")) + b"\n"
    assert step_of_line(line + line, 0) == step_as_read(line + line, 0)


def test_too_long_a_line_is_named(connection: sqlite3.Connection) -> None:
    told = feed(connection, b"x" * (LINE_BYTES_MAX + 1))
    assert told.quarantined[0].kind == "?"


def test_erasing_a_customer_takes_all_that_is_theirs(connection: sqlite3.Connection) -> None:
    told = feed(
        connection,
        line_of(1, Customer(id="ana")),
        line_of(2, Customer(id="ben")),
        line_of(3, CARD),
        line_of(4, TEN),
        line_of(5, balance_of("ten", remaining=3)),
        line_of(6, Contract(id="k", holder="ana")),
        line_of(7, Contract(id="kb", holder="ben")),
        line_of(8, Reservation(id="r", customer="ana", from_=AT, until=AT)),
        raw(9, "pass", "bad", 7),
        gone(10, "customer", "ana", "erase"),
    )
    left = {
        name: [row[0] for row in connection.execute(f"SELECT id FROM {name}")]  # noqa: S608 - own
        for name in cache.KINDS
    }
    assert {name: ids for name, ids in left.items() if ids} == {
        "customer": ["ben"],
        "contract": ["kb"],
    }
    assert told.erases
    assert connection.execute("SELECT * FROM erased").fetchall() == [("customer", "ana")]


def test_another_version_looks_again_at_what_was_kept_out(
    connection: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed(connection, line_of(1, TEN))
    monkeypatch.setattr(apply_module, "__version__", "99.0")
    assert not standing(connection).is_outdated
    feed(connection, raw(2, "loyalty_card", "x", {}))
    assert not standing(connection).is_outdated
    monkeypatch.setattr(apply_module, "__version__", "100.0")
    assert standing(connection).is_outdated


def test_disabled_stays_disabled(connection: sqlite3.Connection) -> None:
    feed(
        connection,
        line_of(1, Customer(id="ana", status=CustomerStatus.DISABLED)),
        raw(2, "customer", "ana", {"id": "ana", "status": "active", "name": []}),
    )
    assert get(connection, cache.CUSTOMER, "ana").status is CustomerStatus.DISABLED


def test_lines_are_named_apart(connection: sqlite3.Connection) -> None:
    steps = [step_of_line(b"nothing", after) for after in (3, 8)]
    told = apply(steps, 9, connection)  # type: ignore[arg-type]  # no trailer is among them
    assert {q.id for q in told.quarantined} == {"after 3", "after 8"}
