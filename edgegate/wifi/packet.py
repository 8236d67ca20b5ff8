"""RADIUS packets: bytes to values and back, with the two authenticators that protect them.

A packet is decoded once and a reply encoded once; everything else is kept out of that path.
"""

import hashlib
import hmac
import os
from collections.abc import Iterable
from functools import lru_cache
from typing import TYPE_CHECKING

from msgspec import Struct

from edgegate.wifi.attributes import Attribute, Code

if TYPE_CHECKING:
    from _hashlib import HASH

HEADER_BYTES = 20
"""Code, Identifier, Length and Authenticator: RFC 2865 §3."""

PACKET_BYTES_MAX = 4096
"""RFC 2865 §3."""

VALUE_BYTES_MAX = 253
"""An attribute's length is one octet and counts its own two: RFC 2865 §5."""

SECRETS_PREPARED_MAX = 1024
"""Shared secrets whose HMAC pads are kept; more than a site has access points."""

_ZEROS = bytes(16)
_VENDOR = int(Attribute.VENDOR_SPECIFIC)
_PROXY_STATE = int(Attribute.PROXY_STATE)
_SIGNATURE = int(Attribute.MESSAGE_AUTHENTICATOR)
_SIGNATURE_HEAD = bytes((_SIGNATURE, 18))
# Tuples of numbers: an enum's member takes long to hash, and to look up in its class.
_SIGNED_REPLIES = tuple(map(int, (Code.ACCESS_ACCEPT, Code.ACCESS_REJECT, Code.ACCESS_CHALLENGE)))
_SIGNED_REQUESTS = tuple(map(int, (Code.ACCESS_REQUEST, Code.STATUS_SERVER)))

TypeAndValue = tuple[int, bytes]
Attributes = tuple[TypeAndValue, ...]
"""Attribute types with their values, in their order on the wire."""


class MalformedPacketError(ValueError):
    """A datagram that is no RADIUS packet; `why` names the fault in one word, for counters."""

    def __init__(self, why: str, detail: str) -> None:
        super().__init__(detail)
        self.why = why


class Packet(Struct, frozen=True, gc=False):
    """One packet as it came."""

    code: int
    identifier: int
    authenticator: bytes
    attributes: Attributes
    signed_at: int = 0
    """Where in the datagram the value of Message-Authenticator begins; 0: there is none."""

    def first(self, kind: int) -> bytes | None:
        """The first attribute of a type."""
        for found, value in self.attributes:
            if found == kind:
                return value
        return None

    def every(self, kind: int) -> list[bytes]:
        """All attributes of a type, in their order."""
        return [value for found, value in self.attributes if found == kind]

    def concatenated(self, kind: int) -> bytes | None:
        """A long value split over several attributes, put together (RFC 3579 §3.1: EAP-Message)."""
        values = self.every(kind)
        return b"".join(values) if values else None

    def text(self, kind: int) -> str | None:
        """The first attribute of a type as text (RFC 8044 §3.4); wrong UTF-8 is replaced."""
        value = self.first(kind)
        return None if value is None else value.decode(errors="replace")

    def number(self, kind: int) -> int | None:
        """The first attribute of a type as a number (RFC 8044 §3.1); None unless four octets."""
        value = self.first(kind)
        return None if value is None or len(value) != 4 else int.from_bytes(value)

    def vendor(self, vendor: int, kind: int) -> bytes | None:
        """The first sub-attribute of a vendor's type, in RFC 2865 §5.26's recommended form."""
        head = vendor.to_bytes(4)
        for found, value in self.attributes:
            if found == _VENDOR and value.startswith(head):
                at = 4
                while at + 2 <= len(value) and 2 <= value[at + 1] <= len(value) - at:
                    if value[at] == kind:
                        return value[at + 2 : at + value[at + 1]]
                    at += value[at + 1]
        return None


class Reply(Struct, frozen=True):
    """What a handler answers; the endpoint adds Proxy-State and the authenticators."""

    code: Code
    attributes: Attributes = ()


def decode(data: bytes) -> Packet:
    """Read one datagram; octets behind the packet's own length are padding (RFC 2865 §3).

    Raises:
        MalformedPacketError: what is wrong, and at which octet.
    """
    received = len(data)
    if received < HEADER_BYTES:
        raise MalformedPacketError("short", f"{received} octets are too few for a packet")
    length = data[2] << 8 | data[3]
    if not HEADER_BYTES <= length <= PACKET_BYTES_MAX:
        raise MalformedPacketError("length", f"no packet has {length} octets")
    if length > received:
        raise MalformedPacketError("cut", f"{received} of {length} octets arrived")
    attributes = []
    signed_at = 0
    at = HEADER_BYTES
    while at < length:
        if at + 1 == length:
            raise MalformedPacketError("attribute", f"octet {at}: half an attribute")
        end = at + data[at + 1]
        if end > length or end < at + 2:
            raise MalformedPacketError(
                "attribute", f"octet {at}: attribute {data[at]} of {data[at + 1]} octets"
            )
        kind = data[at]
        if kind == _SIGNATURE:
            if signed_at or end != at + 18:
                raise MalformedPacketError(
                    "message_authenticator", f"octet {at}: a second or an odd Message-Authenticator"
                )
            signed_at = at + 2
        attributes.append((kind, data[at + 2 : end]))
        at = end
    return Packet(data[0], data[1], data[4:20], tuple(attributes), signed_at)


def message_authenticator_matches(
    data: bytes, packet: Packet, secret: bytes, authenticator: bytes | None = None
) -> bool:
    """Whether a decoded datagram carries a Message-Authenticator that its secret made.

    Args:
        data: the datagram that `packet` was decoded from.
        packet: the packet.
        secret: the shared secret.
        authenticator: what stood for the Authenticator when it was made: its own in an
            Access-Request (RFC 3579 §3.2), zeros in requests that carry a hash there (RFC 5176
            §3), that of the request in a reply.
    """
    at = packet.signed_at
    if not at:
        return False
    length = data[2] << 8 | data[3]
    if authenticator is None:
        signed = data[:at] + _ZEROS + data[at + 16 : length]
    else:
        signed = b"".join((data[:4], authenticator, data[20:at], _ZEROS, data[at + 16 : length]))
    return hmac.compare_digest(_hmac_md5(secret, signed), data[at : at + 16])


def request_authenticator_matches(data: bytes, secret: bytes) -> bool:
    """Whether Accounting-, CoA- or Disconnect-Request was made with the secret (RFC 2866 §3)."""
    length = data[2] << 8 | data[3]
    made = hashlib.md5(
        b"".join((data[:4], _ZEROS, data[20:length], secret)), usedforsecurity=False
    ).digest()
    return hmac.compare_digest(made, data[4:20])


def response_authenticator_matches(data: bytes, request: bytes, secret: bytes) -> bool:
    """Whether a reply was made with the secret, for the request of these octets (RFC 2865 §3)."""
    length = data[2] << 8 | data[3]
    made = hashlib.md5(
        b"".join((data[:4], request[4:20], data[20:length], secret)), usedforsecurity=False
    ).digest()
    return hmac.compare_digest(made, data[4:20])


def encode_reply(reply: Reply, request: Packet, secret: bytes) -> bytes:
    """The octets of a reply, with the request's Proxy-States (RFC 2865 §5.33).

    A reply to an Access-Request carries Message-Authenticator, and carries it first: what stands
    before it would be an attacker's to choose (CVE-2024-3596).

    Raises:
        ValueError: a value or the packet is longer than RADIUS allows.
    """
    states = [pair for pair in request.attributes if pair[0] == _PROXY_STATE]
    body = encode_attributes((*reply.attributes, *states) if states else reply.attributes)
    signed = reply.code in _SIGNED_REPLIES
    start = _header(reply.code, request.identifier, len(body) + (18 if signed else 0))
    start += request.authenticator
    if signed:
        start += _SIGNATURE_HEAD
        signature = _hmac_md5(secret, start + _ZEROS + body)
        start += signature
    made = hashlib.md5(start + body + secret, usedforsecurity=False).digest()
    return b"".join((start[:4], made, start[20:], body))


def encode_request(
    code: Code,
    identifier: int,
    attributes: Attributes,
    secret: bytes,
    authenticator: bytes | None = None,
) -> bytes:
    """The octets of a request, Message-Authenticator first.

    Args:
        code: Access-Request or Status-Server, whose Authenticator is random; or Accounting-,
            Disconnect- or CoA-Request, whose Authenticator is a hash.
        identifier: 0 to 255.
        attributes: without Message-Authenticator.
        secret: the shared secret.
        authenticator: that of an Access-Request whose password was hidden with it.

    Raises:
        ValueError: a value or the packet is longer than RADIUS allows.
    """
    body = encode_attributes(attributes)
    start = _header(code, identifier, len(body) + 18)
    hashed = code not in _SIGNED_REQUESTS
    own = _ZEROS if hashed else authenticator or os.urandom(16)
    signature = _hmac_md5(secret, b"".join((start, own, _SIGNATURE_HEAD, _ZEROS, body)))
    rest = b"".join((_SIGNATURE_HEAD, signature, body))
    if hashed:
        own = hashlib.md5(start + own + rest + secret, usedforsecurity=False).digest()
    return start + own + rest


def encode_attributes(attributes: Iterable[TypeAndValue]) -> bytes:
    """Attributes behind each other, each with its type and length.

    Raises:
        ValueError: a value is longer than 253 octets.
    """
    parts = []
    for kind, value in attributes:
        length = len(value)
        if length > VALUE_BYTES_MAX:
            raise ValueError(f"attribute {kind} has {length} octets, {VALUE_BYTES_MAX} at most")
        parts.append(bytes((kind, length + 2)))
        parts.append(value)
    return b"".join(parts)


def number(value: int) -> bytes:
    """A number as an attribute's value: four octets (RFC 8044 §3.1)."""
    return value.to_bytes(4)


def vendor_attribute(vendor: int, kind: int, value: bytes) -> TypeAndValue:
    """A Vendor-Specific attribute of one sub-attribute (RFC 2865 §5.26)."""
    return _VENDOR, vendor.to_bytes(4) + bytes((kind, len(value) + 2)) + value


def split(kind: int, value: bytes) -> Attributes:
    """A long value over as many attributes as it needs (RFC 3579 §3.1); at least one."""
    return tuple(
        (kind, value[at : at + VALUE_BYTES_MAX])
        for at in range(0, max(len(value), 1), VALUE_BYTES_MAX)
    )


def _header(code: int, identifier: int, body_bytes: int) -> bytes:
    length = HEADER_BYTES + body_bytes
    if length > PACKET_BYTES_MAX:
        raise ValueError(f"a packet of {length} octets, {PACKET_BYTES_MAX} at most")
    return bytes((code, identifier, length >> 8, length & 255))


def _hmac_md5(secret: bytes, message: bytes) -> bytes:
    """HMAC-MD5 from prepared pads: a third of what `hmac.digest` takes on OpenSSL 3."""
    inner, outer = _pads(secret)
    inner = inner.copy()
    inner.update(message)
    outer = outer.copy()
    outer.update(inner.digest())
    return outer.digest()


@lru_cache(maxsize=SECRETS_PREPARED_MAX)
def _pads(secret: bytes) -> "tuple[HASH, HASH]":
    """The states of the two hashes once they have taken the key (RFC 2104 §4)."""
    key = secret if len(secret) <= 64 else hashlib.md5(secret, usedforsecurity=False).digest()
    key = key.ljust(64, b"\0")
    return (
        hashlib.md5(bytes(octet ^ 0x36 for octet in key), usedforsecurity=False),
        hashlib.md5(bytes(octet ^ 0x5C for octet in key), usedforsecurity=False),
    )
