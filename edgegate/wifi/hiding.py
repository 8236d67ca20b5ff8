"""Passwords, keys and VLANs inside attributes: what RADIUS hides with the secret, and how."""

import hashlib
import hmac
import os

from edgegate.wifi.attributes import (
    TUNNEL_MEDIUM_IEEE_802,
    TUNNEL_TYPE_VLAN,
    Attribute,
    MicrosoftAttribute,
    Vendor,
)
from edgegate.wifi.packet import VALUE_BYTES_MAX, Attributes, number, vendor_attribute

PASSWORD_BYTES_MAX = 128
"""RFC 2865 §5.2."""

CHAP_BYTES = 17
"""One octet of identifier, sixteen of response: RFC 2865 §5.3."""

MPPE_KEY_BYTES = 32
"""Half of the first 64 octets of an EAP method's MSK: RFC 5216 §2.3, RFC 3748 §7.10."""

_BLOCK = 16


class HiddenValueError(ValueError):
    """A hidden value whose form is wrong; the secret may differ, too."""


def reveal_password(hidden: bytes, authenticator: bytes, secret: bytes) -> bytes:
    """User-Password in the clear, without its padding (RFC 2865 §5.2).

    With a wrong secret the result is noise, which only Message-Authenticator could tell.

    Raises:
        HiddenValueError: it is not of 16 to 128 octets in blocks of 16.
    """
    if not hidden or len(hidden) % _BLOCK or len(hidden) > PASSWORD_BYTES_MAX:
        raise HiddenValueError(f"a User-Password of {len(hidden)} octets")
    return _reveal(hidden, secret, authenticator).rstrip(b"\0")


def hide_password(password: bytes, authenticator: bytes, secret: bytes) -> bytes:
    """User-Password as it goes over the wire (RFC 2865 §5.2).

    Raises:
        HiddenValueError: the password is longer than 128 octets.
    """
    if len(password) > PASSWORD_BYTES_MAX:
        raise HiddenValueError(f"a password of {len(password)} octets")
    return _hide(_padded(password or b"\0"), secret, authenticator)


def chap_matches(password: bytes, chap_password: bytes, challenge: bytes) -> bool:
    """Whether CHAP-Password proves a password that is known in the clear (RFC 2865 §5.3).

    Args:
        password: the password.
        chap_password: the attribute's value: identifier and response.
        challenge: CHAP-Challenge, or the packet's Authenticator where there is none.
    """
    if len(chap_password) != CHAP_BYTES:
        return False
    made = hashlib.md5(chap_password[:1] + password + challenge, usedforsecurity=False).digest()
    return hmac.compare_digest(made, chap_password[1:])


def hide_salted(value: bytes, salt: bytes, authenticator: bytes, secret: bytes) -> bytes:
    """A value with its length, hidden with a salt that goes before it (RFC 2548 §2.4.2).

    Raises:
        HiddenValueError: the value is too long for one attribute.
    """
    if len(value) >= VALUE_BYTES_MAX - 4 - 2 - 2 - _BLOCK:
        raise HiddenValueError(f"a salted value of {len(value)} octets")
    return salt + _hide(_padded(bytes((len(value),)) + value), secret, authenticator + salt)


def reveal_salted(hidden: bytes, authenticator: bytes, secret: bytes) -> bytes:
    """The value that `hide_salted` hid, by the request's Authenticator.

    Raises:
        HiddenValueError: its form is wrong.
    """
    salt, rest = hidden[:2], hidden[2:]
    if not rest or len(rest) % _BLOCK:
        raise HiddenValueError(f"a salted value of {len(hidden)} octets")
    clear = _reveal(rest, secret, authenticator + salt)
    if clear[0] >= len(clear):
        raise HiddenValueError("a salted value longer than its attribute")
    return clear[1 : 1 + clear[0]]


def mppe_keys(msk: bytes, authenticator: bytes, secret: bytes) -> Attributes:
    """MS-MPPE-Recv-Key and -Send-Key, by which the access point encrypts (RFC 2548 §2.4).

    Args:
        msk: the method's master session key, 64 octets (RFC 3748 §7.10).
        authenticator: that of the request answered.
        secret: the shared secret.
    """
    salt = int.from_bytes(os.urandom(2)) | 0x8000
    # The leftmost bit of a salt is set, and no two salts of a packet are equal.
    salts = salt, salt ^ 1
    kinds = MicrosoftAttribute.MPPE_RECV_KEY, MicrosoftAttribute.MPPE_SEND_KEY
    keys = msk[:MPPE_KEY_BYTES], msk[MPPE_KEY_BYTES : 2 * MPPE_KEY_BYTES]
    return tuple(
        vendor_attribute(
            Vendor.MICROSOFT, kind, hide_salted(key, salt.to_bytes(2), authenticator, secret)
        )
        for kind, key, salt in zip(kinds, keys, salts, strict=True)
    )


def vlan(group: str) -> Attributes:
    """The three tunnel attributes that put a session into a VLAN (RFC 3580 §3.31), untagged.

    Args:
        group: the VLAN's number in digits, or its name where the access point knows names.
    """
    return (
        (Attribute.TUNNEL_TYPE, number(TUNNEL_TYPE_VLAN)),
        (Attribute.TUNNEL_MEDIUM_TYPE, number(TUNNEL_MEDIUM_IEEE_802)),
        (Attribute.TUNNEL_PRIVATE_GROUP_ID, group.encode()),
    )


def _padded(value: bytes) -> bytes:
    return value.ljust(-(-len(value) // _BLOCK) * _BLOCK, b"\0")


def _hide(clear: bytes, secret: bytes, before: bytes) -> bytes:
    hidden = b""
    for at in range(0, len(clear), _BLOCK):
        before = _mixed(clear[at : at + _BLOCK], secret, before)
        hidden += before
    return hidden


def _reveal(hidden: bytes, secret: bytes, before: bytes) -> bytes:
    clear = b""
    for at in range(0, len(hidden), _BLOCK):
        block = hidden[at : at + _BLOCK]
        clear += _mixed(block, secret, before)
        before = block
    return clear


def _mixed(block: bytes, secret: bytes, before: bytes) -> bytes:
    pad = hashlib.md5(secret + before, usedforsecurity=False).digest()
    return (int.from_bytes(block) ^ int.from_bytes(pad)).to_bytes(_BLOCK)
