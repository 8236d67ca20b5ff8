"""Commands: only the site's own, to this device, in this boot, and fresh."""

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edgegate_sync.wire import commands
from edgegate_sync.wire.commands import Command, CommandName, CommandOutcome, Refusal, Reply
from edgegate_sync.wire.errors import MalformedError

NOW = datetime(2026, 1, 30, 8, 0, tzinfo=UTC)
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
STRANGER = Ed25519PrivateKey.from_private_bytes(bytes(32))
UNLOCK = Command(
    id="0123456789abcdef",
    device="gate",
    name=CommandName.UNLOCK,
    args={"door": "front", "for_s": 5},
    expires_at=NOW + timedelta(seconds=10),
    boot="n0nce",
)


def judge(payload: bytes, now: datetime | None = NOW, **other: str) -> commands.Verified:
    return commands.verify(
        payload,
        KEY.public_key(),
        device=other.get("device", "gate"),
        boot=other.get("boot", "n0nce"),
        now=now,
    )


def test_a_fresh_command_of_the_site_may_be_obeyed() -> None:
    found = judge(commands.sign(UNLOCK, KEY))
    assert found == commands.Verified(command=UNLOCK)


@pytest.mark.parametrize(
    ("change", "refusal"),
    [
        ({"device": "back"}, Refusal.FOREIGN),
        ({"boot": "older"}, Refusal.WRONG_BOOT),
        ({"expires_at": NOW}, Refusal.EXPIRED),
        ({"expires_at": NOW - timedelta(days=1)}, Refusal.EXPIRED),
        ({"expires_at": NOW + timedelta(seconds=15)}, None),
        ({"expires_at": NOW + timedelta(seconds=15.001)}, Refusal.TOO_FAR_AHEAD),
    ],
)
def test_a_command_that_is_not_for_here_and_now_is_refused(
    change: dict[str, Any], refusal: Refusal | None
) -> None:
    command = msgspec.structs.replace(UNLOCK, **change)
    found = judge(commands.sign(command, KEY))
    assert (found.command, found.refusal) == (command, refusal)
    assert bool(found.detail) is (refusal is not None)


def test_without_a_clock_only_freshness_is_not_judged() -> None:
    late = msgspec.structs.replace(UNLOCK, expires_at=NOW - timedelta(days=1))
    assert judge(commands.sign(late, KEY), now=None).refusal is None
    assert judge(commands.sign(late, KEY), now=None, boot="new").refusal is Refusal.WRONG_BOOT


def test_a_strangers_command_is_foreign_and_its_id_can_be_recorded() -> None:
    found = judge(commands.sign(UNLOCK, STRANGER))
    assert (found.command, found.refusal) == (UNLOCK, Refusal.FOREIGN)
    signed = json.loads(commands.sign(UNLOCK, STRANGER))
    found = judge(json.dumps(signed | {"command": "no json"}).encode())
    assert (found.command, found.refusal) == (None, Refusal.FOREIGN)


def test_every_altered_byte_makes_it_foreign() -> None:
    signed = json.loads(commands.sign(UNLOCK, KEY))
    text = signed["command"]
    for place in range(len(text)):
        other = "x" if text[place] != "x" else "y"
        altered = text[:place] + other + text[place + 1 :]
        found = judge(json.dumps(signed | {"command": altered}).encode())
        assert found.refusal is Refusal.FOREIGN, altered


def test_a_signature_over_the_bare_text_does_not_fit() -> None:
    text = msgspec.json.encode(UNLOCK)
    bare = {"command": text.decode(), "signature": base64.b64encode(KEY.sign(text)).decode()}
    assert judge(json.dumps(bare).encode()).refusal is Refusal.FOREIGN


SIGNED = json.loads(commands.sign(UNLOCK, KEY))


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"{}",
        b"\xff",
        b"[" * 5_000,
        b" " * (commands.COMMAND_BYTES_MAX + 1),
        json.dumps(SIGNED | {"signature": "!"}).encode(),
        json.dumps(SIGNED | {"signature": "é"}).encode(),
        json.dumps(SIGNED | {"command": 1}).encode(),
    ],
)
def test_what_is_no_command_is_malformed(payload: bytes) -> None:
    found = judge(payload)
    assert (found.command, found.refusal) == (None, Refusal.MALFORMED)
    assert found.detail


@pytest.mark.parametrize("signature", ["", "AAAA", base64.b64encode(bytes(65)).decode()])
def test_a_signature_of_another_length_does_not_fit(signature: str) -> None:
    found = judge(json.dumps(SIGNED | {"signature": signature}).encode())
    assert found.refusal is Refusal.FOREIGN


@pytest.mark.parametrize(
    "change",
    [
        {"id": "short"},
        {"id": "with space 012345"},
        {"name": "Unlock"},
        {"expires_at": "2026-01-30T08:00:00"},
        {"boot": ""},
        {"args": {"doors": ["a"]}},
        {"args": dict.fromkeys(map(str, range(17)))},
    ],
    ids=str,
)
def test_a_signed_text_that_is_no_command_is_malformed(change: dict[str, Any]) -> None:
    text = json.dumps(json.loads(msgspec.json.encode(UNLOCK)) | change)
    signature = base64.b64encode(KEY.sign(b"edgegate command 1\n" + text.encode())).decode()
    found = judge(json.dumps({"command": text, "signature": signature}).encode())
    assert (found.command, found.refusal) == (None, Refusal.MALFORMED)


def test_a_key_travels_as_text() -> None:
    text = commands.public_key_text(KEY.public_key())
    assert commands.public_key(text).public_bytes_raw() == KEY.public_key().public_bytes_raw()
    for broken in ("", "AAAA", "!" * 44, "é"):
        with pytest.raises(MalformedError):
            commands.public_key(broken)


def test_a_reply_says_what_happened() -> None:
    reply = Reply(id=UNLOCK.id, outcome=CommandOutcome.REFUSED, refusal=Refusal.REPEATED)
    assert commands.decode_reply(msgspec.json.encode(reply)) == reply
    with pytest.raises(MalformedError):
        commands.decode_reply(b'{"id":"x","outcome":"maybe"}')
