"""Commands to one device: signed by the site, for one boot of it, and fresh for ten seconds.

The signature (Ed25519, RFC 8032) is over the exact bytes of the command's JSON, which therefore
travels as a text inside the message.
"""

import base64
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)
from msgspec import Meta, Struct

from edgegate.passes.model import Instant
from edgegate_sync.wire.errors import MalformedError, read

LIFETIME_S = 10
"""How long after it was given a command may still be obeyed."""

CLOCK_SKEW_S = 5
"""By how much the two clocks may differ before a command from just now is refused."""

COMMAND_BYTES_MAX = 16_384
REPLY_BYTES_MAX = 131_072

KEY_BYTES = 32
"""An Ed25519 public key, raw; it travels in base64."""

_CONTEXT = b"edgegate command 1\n"
"""Goes before the text, so that a signature made for anything else never fits a command."""

CommandId = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{16,64}\Z")]
CommandArgs = dict[
    Annotated[str, Meta(max_length=64)], Annotated[str, Meta(max_length=1024)] | int | bool | None
]


class CommandName(StrEnum):
    """What a device can be told to do."""

    UNLOCK = "unlock"
    LOCKDOWN = "lockdown"
    RELEASE = "release"
    PULL = "pull"
    IDENTIFY = "identify"
    SELF_TEST = "self_test"
    LOGS = "logs"
    RELOAD = "reload"
    REBOOT = "reboot"
    UPDATE = "update"


class Command(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One command; `id` is random and obeyed once."""

    id: CommandId
    device: Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")]
    """The only device that may obey."""
    name: Annotated[str, Meta(pattern=r"^[a-z][a-z_]{0,31}\Z")]
    """A `CommandName`, or one that a later version has."""
    args: Annotated[CommandArgs, Meta(max_length=16)] = {}
    """For unlock: `door`, and `for_s` if not the door's own; for lockdown and release: `doors`."""
    expires_at: Instant
    boot: Annotated[str, Meta(min_length=1, max_length=64)]
    """The boot nonce out of the device's state; after a restart it is another."""


class SignedCommand(Struct, frozen=True, kw_only=True):
    """The payload of a command's topic."""

    command: str
    """The command's JSON; the signature is over these bytes."""
    signature: str
    """64 bytes in base64."""


class Refusal(StrEnum):
    """Why a command was not obeyed."""

    MALFORMED = "malformed"
    FOREIGN = "foreign"
    """Not signed by the site's key, or for another device."""
    EXPIRED = "expired"
    TOO_FAR_AHEAD = "too_far_ahead"
    """It expires later than a fresh one could: a clock is wrong."""
    WRONG_BOOT = "wrong_boot"
    RETAINED = "retained"
    REPEATED = "repeated"
    UNKNOWN = "unknown"
    """This version does not know the name, or these arguments of it."""
    BUSY = "busy"


class CommandOutcome(StrEnum):
    """What came of a command."""

    DONE = "done"
    FAILED = "failed"
    REFUSED = "refused"


class Reply(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What happened; `id` is empty where none could be read."""

    id: Annotated[str, Meta(max_length=64)]
    outcome: CommandOutcome
    refusal: Refusal | None = None
    detail: Annotated[str, Meta(max_length=65_536)] = ""


class Verified(Struct, frozen=True, kw_only=True):
    """A command, and why it must not be obeyed; None where as far as can be told here it may.

    `command` is what could be read: of a foreign one nothing may be believed.
    """

    command: Command | None
    refusal: Refusal | None = None
    detail: str = ""


_encoder = msgspec.json.Encoder()
_signed = msgspec.json.Decoder(SignedCommand)
_command = msgspec.json.Decoder(Command)
_reply = msgspec.json.Decoder(Reply)


def sign(command: Command, key: Ed25519PrivateKey) -> bytes:
    """The payload of a command's topic."""
    text = _encoder.encode(command)
    signature = base64.b64encode(key.sign(_CONTEXT + text)).decode()
    return _encoder.encode(SignedCommand(command=text.decode(), signature=signature))


def verify(
    payload: bytes, key: Ed25519PublicKey, *, device: str, boot: str, now: datetime | None
) -> Verified:
    """Check form, signature, addressee, boot and freshness, in this order.

    `now` is None where the clock is untrusted: then the boot nonce, the broker's message expiry
    and the once-only rule stand alone. Retained and repeated ones are for the caller to know.
    """
    try:
        signed = read(_signed, payload, "command", COMMAND_BYTES_MAX)
        signature = base64.b64decode(signed.signature, validate=True)
        text = signed.command.encode()
    except (MalformedError, ValueError) as error:
        return Verified(command=None, refusal=Refusal.MALFORMED, detail=str(error))
    try:
        key.verify(signature, _CONTEXT + text)
    except InvalidSignature:
        return Verified(
            command=_glance(text), refusal=Refusal.FOREIGN, detail="not signed by the site's key"
        )
    try:
        command = read(_command, text, "command", COMMAND_BYTES_MAX)
    except MalformedError as error:
        return Verified(command=None, refusal=Refusal.MALFORMED, detail=str(error))
    refusal, detail = _judge(command, device, boot, now)
    return Verified(command=command, refusal=refusal, detail=detail)


def _glance(text: bytes) -> Command | None:
    try:
        return read(_command, text, "command", COMMAND_BYTES_MAX)
    except MalformedError:
        return None


def _judge(
    command: Command, device: str, boot: str, now: datetime | None
) -> tuple[Refusal | None, str]:
    if command.device != device:
        return Refusal.FOREIGN, f"for {command.device}"
    if command.boot != boot:
        return Refusal.WRONG_BOOT, "for another boot"
    if now is None:
        return None, ""
    left = command.expires_at - now
    if left <= timedelta(0):
        return Refusal.EXPIRED, f"expired {-left.total_seconds():.1f} s ago"
    if left > timedelta(seconds=LIFETIME_S + CLOCK_SKEW_S):
        return Refusal.TOO_FAR_AHEAD, f"expires only in {left.total_seconds():.1f} s"
    return None, ""


def public_key(text: str) -> Ed25519PublicKey:
    """The site's command key out of its base64 (`Enrolled.command_key`).

    Raises:
        MalformedError: if it is none.
    """
    try:
        return Ed25519PublicKey.from_public_bytes(base64.b64decode(text, validate=True))
    except ValueError as error:
        raise MalformedError("command key", "is not 32 bytes in base64") from error


def public_key_text(key: Ed25519PublicKey) -> str:
    """The inverse of `public_key`."""
    return base64.b64encode(key.public_bytes_raw()).decode()


def decode_reply(payload: bytes) -> Reply:
    """The payload of a reply's topic, or a `MalformedError`."""
    return read(_reply, payload, "reply", REPLY_BYTES_MAX)
