"""An answer that breaks off anywhere counts for nothing, whatever is in it and however it came."""

import asyncio
import gzip
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgegate.passes.model import Customer, Pass
from edgegate_sync.appliance.apply import (
    Broken,
    Put,
    Remove,
    Unknown,
    Unusable,
    step_of_line,
)
from edgegate_sync.appliance.errors import TruncatedError
from edgegate_sync.appliance.feed import _batches, _trailer_of
from edgegate_sync.appliance.lines import lines_of
from edgegate_sync.appliance.snapshot import Task, build
from edgegate_sync.appliance.spool import Spool, SpoolLimits
from edgegate_sync.wire.changes import LINE_BYTES_MAX, Trailer
from fakes.feed_server import gone, line_of, raw, trailer

LINES = (
    line_of(3, Customer(id="ana", name="Ana")),
    raw(4, "customer", "ben", {"id": "ben", "name": 7}),
    raw(5, "loyalty_card", "x", {}),
    line_of(6, Pass(id="ten", holder="ana", amount=10, name='{"head":9,"complete":true}')),
    gone(8, "customer", "cem", "erase"),
    trailer(9),
)
BODY = b"\n".join(LINES) + b"\n"


class Answer:
    """An answer that ends after some bytes."""

    def __init__(self, body: bytes, *, is_gzip: bool) -> None:
        self.is_gzip = is_gzip
        self._body = body

    async def chunks(self) -> AsyncIterator[bytes]:
        for start in range(0, len(self._body), 50):
            yield self._body[start : start + 50]


def spooled(body: bytes, state: Path, *, is_gzip: bool = False) -> Spool:
    limits = SpoolLimits(memory_bytes_max=120, disk_free_bytes_min=0)
    answer = Answer(body, is_gzip=is_gzip)
    return asyncio.run(Spool.receive(answer, state, limits))  # type: ignore[arg-type]  # it is used as one


@pytest.mark.parametrize("is_gzip", [False, True])
def test_truncated_at_every_byte(tmp_path: Path, is_gzip: bool) -> None:
    body = gzip.compress(BODY) if is_gzip else BODY
    for length in range(len(body)):
        # The end of the last line says nothing that the line itself does not.
        if not is_gzip and length == len(body) - 1:
            continue
        spool = spooled(body[:length], tmp_path, is_gzip=is_gzip)
        with pytest.raises(TruncatedError):
            _trailer_of(spool)
        spool.remove()
    whole = spooled(body, tmp_path, is_gzip=is_gzip)
    assert _trailer_of(whole) == Trailer(head=9)
    steps = [step for batch in _batches(whole, Trailer(head=9), 2) for step in batch.steps]
    assert [type(step) for step in steps] == [Put, Broken, Unknown, Put, Remove]
    whole.remove()


def test_what_a_push_brought_meanwhile_is_not_undone(tmp_path: Path) -> None:
    """An answer that was asked for before the pushes up to 305 says nothing after them."""
    lines = [line_of(seq, Customer(id="ana", name=str(seq))) for seq in range(1, 301)]
    spool = spooled(b"\n".join([*lines, trailer(300)]), tmp_path)
    assert list(_batches(spool, Trailer(head=300), 305)) == []
    assert [batch.head for batch in _batches(spool, Trailer(head=300), 20)] == [276, 300]
    spool.remove()


@pytest.mark.parametrize("is_gzip", [False, True])
def test_a_snapshot_truncated_anywhere_is_none(tmp_path: Path, is_gzip: bool) -> None:
    body = gzip.compress(BODY) if is_gzip else BODY
    spool = tmp_path / "spool"
    for length in [*range(0, len(body) - 1, 7), len(body) - 2, len(body)]:
        spool.write_bytes(body[:length])
        task = Task(
            state=str(tmp_path),
            spool=str(spool),
            is_gzip=is_gzip,
            bytes_max=10**9,
            disk_free_bytes_min=0,
        )
        built = build(task)
        assert (built.error is None) is (length == len(body))
        assert built.truncated is (length != len(body))


@given(st.binary(max_size=300), st.binary(max_size=300))
@settings(max_examples=200, deadline=None)
def test_no_line_breaks_the_reader(before: bytes, after: bytes) -> None:
    for text in (before, LINES[0][: len(before)] + after, before.join(LINES[3].split(b",")[:3])):
        step = step_of_line(text, 2)
        assert isinstance(step, Put | Broken | Unusable | Unknown | Remove | Trailer)


json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
names = st.sampled_from(["id", "status", "name", "holder", "expires_at", "hours", "state", "staff"])


@given(
    st.sampled_from(["customer", "pass", "credential", "location"]), st.dictionaries(names, json)
)
@settings(max_examples=300, deadline=None)
def test_no_body_breaks_the_reader(kind: str, body: object) -> None:
    step = step_of_line(raw(3, kind, "x", body), 2)
    assert isinstance(step, Put | Broken)


@given(st.lists(st.integers(0, LINE_BYTES_MAX * 2), max_size=4))
@settings(max_examples=30, deadline=None)
def test_long_lines_are_cut_and_show(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int]
) -> None:
    file = tmp_path_factory.mktemp("lines") / "spool"
    file.write_bytes(b"".join(b"x" * size + b"\n" for size in sizes))
    found = list(lines_of(file.open("rb"), False, 10**9))
    assert len(found) == len(sizes)
    for size, line in zip(sizes, found, strict=True):
        assert (len(line.rstrip(b"\n")) > LINE_BYTES_MAX) is (size > LINE_BYTES_MAX)
        assert len(line) <= LINE_BYTES_MAX + 2
