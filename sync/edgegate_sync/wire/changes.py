"""Changes as the feed carries them: one a line over HTTP, some at a time over MQTT.

A complete answer of `GET /v1/feed` is lines of `Change` in ascending order of `seq`, and last a
`Trailer`; without it nothing of the answer counts.
"""

import re
from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from edgegate.passes.model import Id
from edgegate_sync.wire.errors import MalformedError, TooLargeError, read

LINE_BYTES_MAX = 131_072
"""The longest line of the feed, without its end; a record that needs more is refused."""

BODY_BYTES_MAX = LINE_BYTES_MAX - 2_048
"""The longest body: with the longest id, of four bytes a character, and all that it can require."""

MESSAGE_BYTES_MAX = 262_144
"""The largest message on the feed's topic; above that it says only that there is something."""

MESSAGE_CHANGES_MAX = 256
"""How many changes one message carries: as many as the device applies in one transaction."""

SEQ_MAX = 2**53 - 1
"""Every program that reads JSON has integers up to here (RFC 8259, section 6)."""

FEED_TYPE = "application/x-ndjson"

WAIT_S_MAX = 60
"""How long a poll may be held back; what is asked for is 30."""

WaitSeconds = Annotated[int, Meta(ge=0, le=WAIT_S_MAX)]
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")

Seq = Annotated[int, Meta(ge=1, le=SEQ_MAX)]
Head = Annotated[int, Meta(ge=0, le=SEQ_MAX)]
KindName = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_]{0,31}\Z")]
Feature = Annotated[str, Meta(pattern=r"^[a-z0-9_.-]{1,64}\Z")]


class Op(StrEnum):
    """What becomes of a record."""

    PUT = "put"
    DELETE = "delete"
    ERASE = "erase"
    """A person is removed: see `kinds.ERASURES`."""


_PUT = Op.PUT


class Change(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One change of one record; `body` is there for `put` alone, and is not looked into here."""

    seq: Seq
    kind: KindName
    """A key of `kinds.KINDS`, or one that a later version has."""
    id: Id
    op: Op
    body: Raw | UnsetType = UNSET
    requires: Annotated[tuple[Feature, ...], Meta(max_length=16)] = ()
    """What a device must know to use the record at all."""

    def __post_init__(self) -> None:
        """Refuse a body where there is none to be, and its absence where it is needed."""
        is_put = self.op == _PUT
        if is_put and self.body is UNSET:
            raise ValueError("put needs a body")
        if not is_put and self.body is not UNSET:
            raise ValueError(f"{self.op} has no body")
        # Ids stand in the subject of a CloudEvent, which allows no control characters.
        if not self.id.isprintable() and _CONTROL.search(self.id):
            raise ValueError("an id has no control characters")

    @property
    def raw(self) -> bytes:
        """The body's JSON; empty where there is none."""
        return b"" if self.body is UNSET else bytes(self.body)


class Trailer(Struct, frozen=True, kw_only=True):
    """The last line of a complete answer: the feed's head as it was when the answer was read."""

    head: Head
    complete: Literal[True] = True


class FeedMessage(Struct, frozen=True, kw_only=True):
    """What the feed's topic carries: all changes after `prev` up to `head`, or none of them.

    With no changes and `head` above `prev` it only says that there is something to pull.
    """

    prev: Head
    head: Head
    changes: Annotated[tuple[Change, ...], Meta(max_length=MESSAGE_CHANGES_MAX)] = ()

    def __post_init__(self) -> None:
        """Refuse changes that do not lie in ascending order between the two heads."""
        last = self.prev
        for change in self.changes:
            if change.seq <= last:
                raise ValueError(f"seq {change.seq} does not follow {last}")
            last = change.seq
        if last > self.head:
            raise ValueError(f"seq {last} is beyond the head {self.head}")

    @property
    def is_hint(self) -> bool:
        """Whether what changed must be pulled."""
        return not self.changes and self.head > self.prev


class LineInvalidError(MalformedError):
    """A line is no change; `seq`, `kind` and `id` are what could be read of it, for quarantine."""

    def __init__(self, error: MalformedError, glimpse: "_Glimpse") -> None:
        super().__init__(error.what, error.problem, error.field)
        self.seq = glimpse.seq
        self.kind = glimpse.kind
        self.id = glimpse.id


class _Glimpse(Struct, frozen=True):
    seq: Seq | None = None
    kind: KindName | None = None
    id: Id | None = None


class _SeqOnly(Struct, frozen=True):
    seq: Seq | None = None


class _TrailerMark(Struct, frozen=True):
    complete: bool | None = None


_encoder = msgspec.json.Encoder()
_change = msgspec.json.Decoder(Change)
_trailer = msgspec.json.Decoder(Trailer)
_message = msgspec.json.Decoder(FeedMessage)
_glimpses = (msgspec.json.Decoder(_Glimpse), msgspec.json.Decoder(_SeqOnly))
_mark = msgspec.json.Decoder(_TrailerMark)


def encode_line(line: Change | Trailer) -> bytes:
    """A line of the feed with its end.

    Raises:
        TooLargeError: if it would be longer than `LINE_BYTES_MAX`.
    """
    text = _encoder.encode(line)
    if len(text) > LINE_BYTES_MAX:
        raise TooLargeError("line", len(text), LINE_BYTES_MAX)
    return text + b"\n"


def decode_line(line: bytes) -> Change | Trailer:
    """One line of the feed, with or without its end.

    Raises:
        TooLargeError: if it is longer than `LINE_BYTES_MAX`.
        LineInvalidError: if it is neither; the lines around it are none the worse.
    """
    text = line.rstrip(b"\r\n")
    try:
        return read(_change, text, "line", LINE_BYTES_MAX)
    except TooLargeError:
        raise
    except MalformedError as error:
        if _is_trailer(text):
            return _read_trailer(text)
        raise LineInvalidError(error, _glimpse(text)) from error


def _is_trailer(text: bytes) -> bool:
    try:
        return _mark.decode(text).complete is not None
    except (ValueError, RecursionError):
        return False


def _read_trailer(text: bytes) -> Trailer:
    try:
        return read(_trailer, text, "trailer", LINE_BYTES_MAX)
    except MalformedError as error:
        raise LineInvalidError(error, _Glimpse()) from error


def _glimpse(text: bytes) -> _Glimpse:
    """As much of a broken change as can be read."""
    for decoder in _glimpses:
        try:
            found = decoder.decode(text)
        except (ValueError, RecursionError):
            continue
        return found if isinstance(found, _Glimpse) else _Glimpse(seq=found.seq)
    return _Glimpse()


def encode_message(prev: int, head: int, changes: Sequence[Change]) -> bytes:
    """A message that carries `changes`, or a hint where they are too many or too large for one."""
    if len(changes) <= MESSAGE_CHANGES_MAX:
        text = _encoder.encode(FeedMessage(prev=prev, head=head, changes=tuple(changes)))
        if len(text) <= MESSAGE_BYTES_MAX:
            return text
    return _encoder.encode(FeedMessage(prev=prev, head=head))


def decode_message(payload: bytes) -> FeedMessage:
    """A message of the feed's topic.

    Raises:
        MalformedError: if it is none, or a change in it is broken. The pull is the truth: whoever
            gets this pulls, and meets the broken one alone on its line.
    """
    return read(_message, payload, "feed message", MESSAGE_BYTES_MAX)
