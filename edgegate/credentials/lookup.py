"""Canonical numbers of cards and codes, and the keyed hash under which they are known.

A card's id is bytes, never a number: leading zeros matter. Its one written form is upper-case hex.
"""

import hashlib
import hmac
import unicodedata

from edgegate.passes.model import CredentialKind

SITE_KEY_BYTES_MIN = 32

_CARDS = frozenset({CredentialKind.NFC_UID, CredentialKind.NFC_NTAG424})

_MAC_BYTES = 6
_SEPARATORS = str.maketrans("", "", ":-. ")


def canonical(kind: CredentialKind, number: bytes) -> bytes:
    """The one form of a number that is hashed: hex for cards, the characters for codes.

    A MAC address is hex like a card's id, whether it comes as six bytes or written in any notation.
    A login name is the same however it is capitalised and composed: keyboards do that by
    themselves.
    """
    if kind in _CARDS:
        return number.hex().upper().encode()
    if kind is CredentialKind.MAC:
        raw = number.hex() if len(number) == _MAC_BYTES else number.decode(errors="replace")
        return raw.translate(_SEPARATORS).upper().encode()
    if kind is CredentialKind.WIFI_LOGIN:
        name = number.decode(errors="surrogateescape").strip()
        folded = unicodedata.normalize("NFKC", name).casefold()
        return unicodedata.normalize("NFC", folded).encode(errors="surrogateescape")
    return number


def lookup(site_key: bytes, kind: CredentialKind, number: bytes) -> str:
    """HMAC-SHA-256(site key, kind ‖ 0x00 ‖ canonical number), in hex.

    The zero byte keeps a kind and a number from running into each other.
    """
    message = kind.value.encode() + b"\x00" + canonical(kind, number)
    return hmac.new(site_key, message, hashlib.sha256).hexdigest()


def is_random(number: bytes) -> bool:
    """Whether a card makes up its id afresh at each tap, so that it cannot be enrolled.

    A single-size id that begins with 0x08 is a random one (ISO/IEC 14443-3, 6.5.4).
    """
    return len(number) == 4 and number[0] == 0x08
