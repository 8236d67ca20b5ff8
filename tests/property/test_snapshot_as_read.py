"""A snapshot comes to the same, whether its lines are read together or each with care."""

import gzip
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgegate.passes.model import Customer, CustomerStatus, Pass
from edgegate.store import cache
from edgegate.store.cache_file import open_in_memory
from edgegate.store.connections import connect_read_only
from edgegate_sync.appliance import lines as lines_module
from edgegate_sync.appliance import snapshot
from edgegate_sync.appliance.apply import (
    Put,
    Unreadable,
    Writer,
    step_as_read,
)
from edgegate_sync.appliance.ownwords import own_words
from edgegate_sync.appliance.snapshot import Built, Task, build
from edgegate_sync.wire.changes import Trailer
from fakes.feed_server import gone, line_of, raw, trailer

AT = datetime(2026, 3, 2, 9, tzinfo=UTC)
IDS = ("ana", "ben", "Añá", "cem")
TABLES = (*cache.KINDS, "quarantine", "unknown", "erased")


def good(seq: int, id_: str) -> Iterator[bytes]:
    yield line_of(seq, Customer(id=id_, name=f"Nº {seq}"))
    yield line_of(seq, Customer(id=id_, status=CustomerStatus.DISABLED))
    yield line_of(seq, Pass(id=id_, holder="ana", amount=seq, expires_at=AT))


def odd(seq: int, id_: str) -> Iterator[bytes]:
    """Lines in other words, good and bad ones."""
    yield raw(seq, "customer", id_, {"id": id_, "name": "N"})
    yield raw(seq, "customer", id_, {"name": "N", "id": id_, "colour": "red"})
    yield raw(seq, "customer", id_, {"name": seq, "id": id_, "status": "disabled"})
    yield raw(seq, "customer", id_, {"id": "another"})
    yield raw(seq, "customer", f"{id_}\n", {"id": f"{id_}\n"})
    yield raw(seq, "customer", id_, {"id": id_}, requires=["wings"])
    yield raw(
        seq, "pass", id_, {"id": id_, "holder": "a", "valid_from": "2026-03-02T12:00:00+03:00"}
    )
    yield raw(seq, "pass", id_, {"id": id_, "holder": "a", "per": "window"})
    yield raw(seq, "loyalty_card", id_, {"id": id_})
    yield gone(seq, "customer", id_)
    yield gone(seq, "customer", id_, "erase")
    yield line_of(seq, Customer(id=id_)).replace(b',"op"', b', "op"')
    yield line_of(seq, Customer(id=id_)) + b"\r"
    yield line_of(seq, Customer(id=id_)) * 2
    yield line_of(seq, Customer(id=id_)).replace(b',"op"', b',\n"op"')
    yield line_of(seq, Customer(id=id_)).replace(b',"id"', b',\n"id"')
    yield b""
    yield b"\xff"


def kinds_of_lines(seq: int, id_: str) -> list[bytes]:
    # Mostly good ones, so that there are blocks of nothing else.
    return [*list(good(seq, id_)) * 12, *odd(seq, id_)]


CHOICES = st.tuples(st.sampled_from(IDS), st.integers(0, len(kinds_of_lines(1, "a")) - 1))


def lines_from(choices: list[tuple[str, int]]) -> list[bytes]:
    return [kinds_of_lines(seq, id_)[choice] for seq, (id_, choice) in enumerate(choices, start=1)]


def content(connection: sqlite3.Connection) -> dict[str, list[Any]]:
    return {
        name: connection.execute(f"SELECT * FROM {name} ORDER BY 1, 2").fetchall()  # noqa: S608 - own names
        for name in TABLES
    }


def built_from(body: bytes, state: Path) -> Built:
    spool = state / "spool"
    spool.write_bytes(gzip.compress(body))
    return build(
        Task(
            state=str(state),
            spool=str(spool),
            is_gzip=True,
            bytes_max=10**9,
            disk_free_bytes_min=0,
        )
    )


def read_with_care(lines: list[bytes]) -> dict[str, list[Any]]:
    with closing(open_in_memory()) as connection, closing(open_in_memory()) as standing:
        connection.execute("PRAGMA query_only = OFF")
        writer = Writer(connection, standing=standing)
        after = 0
        for line in lines:
            step = step_as_read(line, after)
            assert not isinstance(step, Trailer)
            if not isinstance(step, Unreadable):
                after = step.seq
            writer.write(step)
        writer.flush()
        return content(connection)


@given(st.lists(CHOICES, max_size=60), st.sampled_from([1, 200, 1000, 8192]))
@settings(max_examples=60, deadline=None)
def test_blocks_come_to_what_their_lines_do(
    tmp_path_factory: pytest.TempPathFactory, choices: list[tuple[str, int]], block_bytes: int
) -> None:
    state = tmp_path_factory.mktemp("state")
    body = b"".join(line + b"\n" for line in lines_from(choices))
    lines = [line + b"\n" for line in body.split(b"\n")[:-1]]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lines_module, "BLOCK_BYTES", block_bytes)
        built = built_from(body + trailer(99) + b"\n", state)
    assert (built.error, built.head, built.changes) == (None, 99, len(lines))
    with closing(connect_read_only(state / "cache.next.db")) as written:
        assert content(written) == read_with_care(lines)


@given(st.lists(CHOICES, min_size=1, max_size=8))
@settings(max_examples=300, deadline=None)
def test_own_words_are_what_each_of_the_lines_says(choices: list[tuple[str, int]]) -> None:
    """However lines are broken in two or joined, none is taken for another."""
    lines = [line + b"\n" for line in b"\n".join(lines_from(choices)).split(b"\n")]
    own = own_words(b"".join(lines))
    if own is None:
        # One at least is odd, or would be read so by itself.
        assert any(own_words(line) is None for line in lines)
        return
    seqs: list[int] = []
    rows: dict[str, list[Any]] = {}
    for step in (step_as_read(line, 0) for line in lines):
        assert isinstance(step, Put)
        seqs.append(step.seq)
        rows.setdefault(step.kind.name, []).append(step.row)
    assert own.seqs == seqs
    assert own.rows == rows


def put(seq: int, name: str = "") -> bytes:
    return line_of(seq, Customer(id="ana", name=name)) + b"\n"


@pytest.mark.parametrize("block_bytes", [1, 8192])
@pytest.mark.parametrize(
    ("body", "error"),
    [
        (put(1) + put(3) + put(2) + trailer(3), "change 2 comes after 3"),
        (put(1) + raw(3, "team", "t", 7) + b"\n" + put(2) + trailer(3), "change 2 comes after 3"),
        (put(1) + trailer(1) + b"\n" + put(2), "goes on after it was complete"),
        (put(1) + put(2), "ended before it was complete"),
    ],
)
def test_what_is_out_of_order_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block_bytes: int, body: bytes, error: str
) -> None:
    monkeypatch.setattr(lines_module, "BLOCK_BYTES", block_bytes)
    built = built_from(body, tmp_path)
    assert built.truncated
    assert error in (built.error or "")


def test_the_room_on_the_disk_is_looked_at_while_it_fills(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    monkeypatch.setattr(snapshot, "FLUSH_LINES", 100)
    monkeypatch.setattr(snapshot, "_demand_room", lambda _, due_bytes: asked.append(due_bytes))
    body = b"".join(put(seq, "n" * 200) for seq in range(1, 1001)) + trailer(1000)
    assert built_from(body, tmp_path).error is None
    # Once before, and then after every hundred lines, to the end of their block.
    assert 7 <= len(asked[1:]) <= 10
