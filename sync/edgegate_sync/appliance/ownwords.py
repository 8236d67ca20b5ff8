"""Reads lines of the feed that are byte for byte what this version writes, many of them at once.

Such lines have nothing unknown in them, and need not be read a second time to look for it: that is
the half of the work of a snapshot.
"""

from collections import defaultdict
from datetime import UTC
from operator import attrgetter
from typing import Any, Literal

import msgspec
from msgspec import Raw, Struct

from edgegate.passes.model import Id
from edgegate.store import cache
from edgegate_sync.wire import kinds
from edgegate_sync.wire.changes import BODY_BYTES_MAX, Seq

_NUL = rb"\u0000"


class OwnWords(Struct, frozen=True):
    """What whole lines come to, each of them a `put` of a record that validates."""

    seqs: list[int]
    """The lines' numbers, in the lines' order."""
    rows: dict[str, list[tuple[Any, ...]]]
    """The records as rows of their kinds' tables, those of a kind in the lines' order."""


class _Line(Struct):
    """A `put` that requires nothing, its fields in the order of `Change`."""

    seq: Seq
    kind: str
    id: Id
    op: Literal["put"]
    body: Raw


class _OtherWordsError(ValueError):
    """A line is not byte for byte what this version writes."""


def own_words(text: bytes) -> OwnWords | None:
    """What some whole lines come to; None if any of them is in other words. Never raises."""
    if len(text) > BODY_BYTES_MAX or text.find(_NUL) >= 0:
        return None
    try:
        lines = _lines.decode_lines(text)
        # No line is half of one change or holds two, whatever the decoder allows.
        _demand(bool(lines) and _encoder.encode_lines(lines) == text)
        of_kinds: defaultdict[str, list[_Line]] = defaultdict(list)
        for line in lines:
            of_kinds[line.kind].append(line)
        _demand(of_kinds.keys() <= cache.KINDS.keys())
        rows = {name: _rows(name, of_kind) for name, of_kind in of_kinds.items()}
    except (ValueError, RecursionError, OverflowError):
        return None
    return OwnWords([line.seq for line in lines], rows)


def _rows(name: str, lines: list[_Line]) -> list[tuple[Any, ...]]:
    """The rows of lines of one kind."""
    kind = cache.KINDS[name]
    bodies = [bytes(line.body) for line in lines]
    text = b"\n".join(bodies) + b"\n"
    records = kind.decode.decode_lines(text)
    _demand(_encoder.encode_lines(records) == text)
    for instant in kinds.KINDS[name].instants:
        found = map(attrgetter(instant), records)
        _demand(all(at is None or at.tzinfo is UTC for at in found))
    ids = [line.id for line in lines]
    # Not all characters that are not printable are refused: whoever reads with care knows.
    _demand("".join(ids).isprintable())
    rows = kind.rows(records, bodies)
    _demand([row[0] for row in rows] == ids)
    return rows


def _demand(is_own: bool) -> None:
    if not is_own:
        raise _OtherWordsError


_lines = msgspec.json.Decoder(_Line)
_encoder = msgspec.json.Encoder()
