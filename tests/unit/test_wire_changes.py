"""The feed's lines and messages, and what can be read of broken ones."""

import msgspec
import pytest
from msgspec import Raw

from edgegate_sync.wire import changes
from edgegate_sync.wire.changes import Change, FeedMessage, LineInvalidError, Op, Trailer
from edgegate_sync.wire.errors import MalformedError, TooLargeError

PUT = Change(seq=7, kind="team", id="t-1", op=Op.PUT, body=Raw(b'{"id":"t-1","name":"\xc3\x84"}'))
ERASE = Change(seq=9, kind="customer", id="c-1", op=Op.ERASE)


def test_lines_are_read_as_they_were_written() -> None:
    needing = Change(
        seq=8, kind="pass", id="p", op=Op.PUT, body=Raw(b"{}"), requires=("lots", "zones")
    )
    for line in (PUT, ERASE, needing):
        text = changes.encode_line(line)
        assert text.endswith(b"}\n")
        assert text.count(b"\n") == 1
        found = changes.decode_line(text)
        assert isinstance(found, Change)
        assert (found.seq, found.kind, found.id, found.op) == (
            line.seq, line.kind, line.id, line.op,
        )  # fmt: skip
        assert (found.raw, found.requires) == (line.raw, line.requires)
    assert changes.decode_line(changes.encode_line(Trailer(head=9))) == Trailer(head=9)


def test_a_line_may_end_in_any_way_and_have_fields_of_a_later_version() -> None:
    text = b'{"mood":"new","seq":1,"kind":"team","id":"t","op":"delete"}'
    for end in (b"", b"\n", b"\r\n"):
        found = changes.decode_line(text + end)
        assert found == Change(seq=1, kind="team", id="t", op=Op.DELETE)
    assert changes.decode_line(b'{"complete":true,"later":1,"head":0}') == Trailer(head=0)


@pytest.mark.parametrize(
    ("text", "field", "seen"),
    [
        (b"", "", (None, None, None)),
        (b"{", "", (None, None, None)),
        (b"[]", "", (None, None, None)),
        (b'{"seq":3,"kind":"pass"}', "", (3, "pass", None)),
        (b'{"seq":3,"kind":"Pa ss","id":"p","op":"delete"}', "kind", (3, None, None)),
        (b'{"seq":3,"kind":"pass","id":"p","op":"merge"}', "op", (3, "pass", "p")),
        (b'{"seq":3,"kind":"pass","id":"p","op":"put"}', "", (3, "pass", "p")),
        (b'{"seq":3,"kind":"pass","id":"p","op":"erase","body":{}}', "", (3, "pass", "p")),
        (b'{"seq":3,"kind":"pass","id":"p\\n","op":"delete"}', "", (3, "pass", "p\n")),
        (b'{"seq":0,"kind":"pass","id":"p","op":"delete"}', "seq", (None, None, None)),
        (b'{"seq":9007199254740992,"kind":"a","id":"p","op":"delete"}', "seq", (None,) * 3),
        (b'{"seq":3,"kind":"a","id":"\xff","op":"delete"}', "", (3, None, None)),
        (b'{"seq":3,"kind":"a","id":"p","op":"put","body":' + b"[" * 9_000, "", (None,) * 3),
        (b'{"head":4,"complete":false}', "complete", (None, None, None)),
        (b'{"head":-1,"complete":true}', "head", (None, None, None)),
    ],
)
def test_a_broken_line_is_named_as_well_as_it_can_be(
    text: bytes, field: str, seen: tuple[int | None, str | None, str | None]
) -> None:
    with pytest.raises(LineInvalidError) as caught:
        changes.decode_line(text)
    error = caught.value
    assert error.field == field
    assert error.problem
    assert (error.seq, error.kind, error.id) == seen


def test_a_line_has_a_limit_both_ways() -> None:
    body = Raw(msgspec.json.encode({"id": "t", "name": "x" * changes.LINE_BYTES_MAX}))
    long = Change(seq=1, kind="team", id="t", op=Op.PUT, body=body)
    with pytest.raises(TooLargeError):
        changes.encode_line(long)
    with pytest.raises(TooLargeError):
        changes.decode_line(msgspec.json.encode(long))


def test_the_longest_body_always_fits_into_a_line() -> None:
    worst = Change(
        seq=changes.SEQ_MAX,
        kind="a" * 32,
        id="\U0001f511" * 128,
        op=Op.PUT,
        requires=("x" * 64,) * 16,
        body=Raw(b'"' + b"x" * (changes.BODY_BYTES_MAX - 2) + b'"'),
    )
    assert isinstance(changes.decode_line(changes.encode_line(worst)), Change)


def test_a_message_carries_changes_or_says_that_there_are_some() -> None:
    message = changes.decode_message(changes.encode_message(6, 9, [PUT, ERASE]))
    assert (message.prev, message.head, message.is_hint) == (6, 9, False)
    assert [change.id for change in message.changes] == ["t-1", "c-1"]

    many = [Change(seq=n, kind="team", id="t", op=Op.DELETE) for n in range(1, 258)]
    assert len(changes.decode_message(changes.encode_message(0, 257, many[:256])).changes) == 256
    hint = changes.decode_message(changes.encode_message(0, 257, many))
    assert hint == FeedMessage(prev=0, head=257)
    assert hint.is_hint

    large = Change(seq=1, kind="team", id="t", op=Op.PUT, body=Raw(b'"' + b"x" * 200_000 + b'"'))
    larger = msgspec.structs.replace(large, seq=2)
    assert not changes.decode_message(changes.encode_message(0, 1, [large])).is_hint
    assert changes.decode_message(changes.encode_message(0, 2, [large, larger])).is_hint
    assert not changes.decode_message(changes.encode_message(4, 4, [])).is_hint


@pytest.mark.parametrize(
    "text",
    [
        b'{"prev":1,"head":3,"changes":[%b,%b]}'
        % (
            b'{"seq":3,"kind":"a","id":"x","op":"delete"}',
            b'{"seq":2,"kind":"a","id":"x","op":"delete"}',
        ),
        b'{"prev":3,"head":3,"changes":[{"seq":3,"kind":"a","id":"x","op":"delete"}]}',
        b'{"prev":1,"head":2,"changes":[{"seq":3,"kind":"a","id":"x","op":"delete"}]}',
        b'{"prev":1,"head":2,"changes":[{"seq":2}]}',
        b'{"prev":1}',
        b" " * (changes.MESSAGE_BYTES_MAX + 1),
    ],
)
def test_a_message_that_is_none_is_refused_whole(text: bytes) -> None:
    with pytest.raises(MalformedError):
        changes.decode_message(text)
