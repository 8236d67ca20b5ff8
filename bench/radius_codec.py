"""RADIUS for the load generator: a codec of its own, so that no server is judged by its mistakes.

It writes requests and checks replies; every reply's two authenticators are checked.
"""

import hashlib
import hmac
import struct
from collections.abc import Iterable
from dataclasses import dataclass

ACCESS_REQUEST = 1
ACCESS_ACCEPT = 2
ACCESS_REJECT = 3
ACCESS_CHALLENGE = 11

USER_NAME = 1
USER_PASSWORD = 2
NAS_IP_ADDRESS = 4
FRAMED_MTU = 12
STATE = 24
VENDOR_SPECIFIC = 26
CALLED_STATION_ID = 30
CALLING_STATION_ID = 31
NAS_IDENTIFIER = 32
NAS_PORT_TYPE = 61
EAP_MESSAGE = 79
MESSAGE_AUTHENTICATOR = 80

MICROSOFT = 311
MPPE_SEND_KEY = 16
MPPE_RECV_KEY = 17

VALUE_BYTES_MAX = 253
_HEADER = struct.Struct(">BBH16s")

Attributes = list[tuple[int, bytes]]


class WrongReplyError(Exception):
    """A server answered what no client may believe."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A reply whose authenticators are right."""

    code: int
    attributes: Attributes

    def every(self, kind: int) -> bytes:
        """All values of a type, put together."""
        return b"".join(value for found, value in self.attributes if found == kind)


def request(identifier: int, authenticator: bytes, attributes: Attributes, secret: bytes) -> bytes:
    """An Access-Request, with Message-Authenticator (RFC 3579 §3.2) as its first attribute."""
    body = _encode([(MESSAGE_AUTHENTICATOR, bytes(16)), *attributes])
    length = _HEADER.size + len(body)
    head = _HEADER.pack(ACCESS_REQUEST, identifier, length, authenticator)
    signature = hmac.digest(secret, head + body, "md5")
    return head + body[:2] + signature + body[18:]


def open_reply(data: bytes, authenticator: bytes, secret: bytes) -> Reply:
    """Read the reply to a request with that authenticator.

    Raises:
        WrongReplyError: it is malformed, or not the server's.
    """
    if len(data) < _HEADER.size:
        raise WrongReplyError(f"{len(data)} octets")
    code, _, length, signed = _HEADER.unpack_from(data)
    if length != len(data):
        raise WrongReplyError(f"{len(data)} octets that say they are {length}")
    body = data[_HEADER.size :]
    if hashlib.md5(data[:4] + authenticator + body + secret).digest() != signed:  # noqa: S324 - RFC 2865
        raise WrongReplyError("a wrong Response Authenticator")
    attributes = _decode(body)
    _check_signature(data, authenticator, attributes, secret)
    return Reply(code, attributes)


def _check_signature(data: bytes, authenticator: bytes, found: Attributes, secret: bytes) -> None:
    at = _HEADER.size
    for kind, value in found:
        if kind == MESSAGE_AUTHENTICATOR:
            bare = data[:4] + authenticator + data[20 : at + 2] + bytes(16) + data[at + 18 :]
            if hmac.digest(secret, bare, "md5") != value:
                raise WrongReplyError("a wrong Message-Authenticator")
            return
        at += 2 + len(value)
    # Debian's FreeRADIUS 3.2.1 signs only replies that carry EAP, so that others go unsigned here.


def _encode(attributes: Iterable[tuple[int, bytes]]) -> bytes:
    return b"".join(bytes((kind, len(value) + 2)) + value for kind, value in attributes)


def _decode(body: bytes) -> Attributes:
    found = []
    at = 0
    while at < len(body):
        end = at + body[at + 1] if at + 1 < len(body) else 0
        if not at + 2 <= end <= len(body):
            raise WrongReplyError(f"a broken attribute at octet {at}")
        found.append((body[at], body[at + 2 : end]))
        at = end
    return found


def hide(password: bytes, authenticator: bytes, secret: bytes) -> bytes:
    """User-Password as it is on the wire (RFC 2865 §5.2)."""
    padded = password + bytes(-len(password) % 16 or (0 if password else 16))
    return _chain(padded, authenticator, secret, hiding=True)


def _chain(data: bytes, vector: bytes, secret: bytes, *, hiding: bool) -> bytes:
    done = b""
    for at in range(0, len(data), 16):
        block = data[at : at + 16]
        pad = hashlib.md5(secret + vector).digest()  # noqa: S324 - RFC 2865
        other = bytes(a ^ b for a, b in zip(block, pad, strict=True))
        done += other
        vector = other if hiding else block
    return done


def split(kind: int, value: bytes) -> Attributes:
    """A long value over as many attributes as it takes (RFC 3579 §3.1)."""
    steps = range(0, len(value), VALUE_BYTES_MAX)
    return [(kind, value[at : at + VALUE_BYTES_MAX]) for at in steps]


def mppe_key(reply: Reply, kind: int, authenticator: bytes, secret: bytes) -> bytes:
    """A key that an Access-Accept carries (RFC 2548 §2.4.2); empty if it carries none."""
    head = MICROSOFT.to_bytes(4) + bytes((kind,))
    for found, value in reply.attributes:
        if found == VENDOR_SPECIFIC and value.startswith(head):
            salt, hidden = value[6:8], value[8:]
            clear = _chain(hidden, authenticator + salt, secret, hiding=False)
            return clear[1 : 1 + clear[0]]
    return b""
