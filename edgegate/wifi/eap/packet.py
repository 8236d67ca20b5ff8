"""EAP packets (RFC 3748 §4), as they stand in a RADIUS packet's EAP-Message attributes."""

from enum import IntEnum, unique

from msgspec import Struct

HEADER_BYTES = 4


@unique
class Code(IntEnum):
    """RFC 3748 §4."""

    REQUEST = 1
    RESPONSE = 2
    SUCCESS = 3
    FAILURE = 4


@unique
class Type(IntEnum):
    """Method types that are met in the field (IANA's EAP registry)."""

    IDENTITY = 1
    NOTIFICATION = 2
    NAK = 3
    MD5 = 4
    GTC = 6
    TLS = 13
    LEAP = 17
    SIM = 18
    TTLS = 21
    AKA = 23
    PEAP = 25
    MSCHAPV2 = 26
    FAST = 43
    PWD = 52
    AKA_PRIME = 50
    TEAP = 55
    EXPANDED = 254


_NAMES: dict[int, str] = {
    Type.NAK: "a refusal (NAK)",
    Type.MD5: "EAP-MD5",
    Type.GTC: "EAP-GTC",
    Type.TLS: "EAP-TLS",
    Type.LEAP: "LEAP",
    Type.SIM: "EAP-SIM",
    Type.TTLS: "EAP-TTLS",
    Type.AKA: "EAP-AKA",
    Type.PEAP: "PEAP",
    Type.MSCHAPV2: "EAP-MSCHAPv2",
    Type.FAST: "EAP-FAST",
    Type.PWD: "EAP-pwd",
    Type.AKA_PRIME: "EAP-AKA'",
    Type.TEAP: "TEAP",
}


class MalformedEapError(ValueError):
    """Bytes that are no EAP packet; the message says what is wrong."""


class EapPacket(Struct, frozen=True):
    """One request or response."""

    code: Code
    identifier: int
    type: int
    data: bytes
    """What follows the type."""


def method_name(number: int) -> str:
    """What people call a method type."""
    return _NAMES.get(number, "an unknown EAP method")


def decode_response(eap: bytes) -> EapPacket:
    """Read what a device sent.

    Raises:
        MalformedEapError: if it is no response, or its length is not what it says.
    """
    if len(eap) < HEADER_BYTES:
        raise MalformedEapError("an EAP packet cut short")
    if eap[0] != Code.RESPONSE:
        raise MalformedEapError("an EAP packet that is no response")
    length = int.from_bytes(eap[2:4])
    # RFC 3748 §4: what the link padded is no part of the packet.
    if length > len(eap):
        raise MalformedEapError("an EAP packet cut short")
    if length <= HEADER_BYTES:
        raise MalformedEapError("an EAP response without a type")
    return EapPacket(Code.RESPONSE, eap[1], eap[HEADER_BYTES], eap[HEADER_BYTES + 1 : length])


def request(identifier: int, type_: int, data: bytes) -> bytes:
    """A request to a device."""
    length = HEADER_BYTES + 1 + len(data)
    return bytes((Code.REQUEST, identifier, length >> 8, length & 0xFF, type_)) + data


def success(identifier: int) -> bytes:
    """EAP-Success; it has the identifier of the response that it answers (RFC 3748 §4.2)."""
    return bytes((Code.SUCCESS, identifier, 0, HEADER_BYTES))


def failure(identifier: int) -> bytes:
    """EAP-Failure; it has the identifier of the response that it answers (RFC 3748 §4.2)."""
    return bytes((Code.FAILURE, identifier, 0, HEADER_BYTES))
