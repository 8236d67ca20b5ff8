"""Wi-Fi logins as they are made up for people, and what a credential keeps of a password.

`sha256$<salt>$<hash>` is of a password that nobody can guess; `sealed$…` is the password itself
under a key that follows from the site's, for portals that speak CHAP. How they are held against
what a device proves, and what becomes of passwords that people chose, is `edgegate.wifi.verifiers`.
"""

import base64
import binascii
import hashlib
import hmac
import os
import secrets

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

LETTERS = "23456789abcdefghjkmnpqrstuvwxyz"
"""No two of them look alike in print, and none needs a shift key on a phone."""

PASSWORD_GROUPS = 7
GROUP_LETTERS = 4
"""Seven groups of four of 31 letters: 138 bits, where a verifier by SHA-256 asks for 128."""

NAME_LETTERS = 6

_SALT_BYTES = 16
_NONCE_BYTES = 12
_SEAL = b"edgegate/wifi/sealed"


def new_password() -> str:
    """A password that nobody can guess, in groups that can be typed from paper."""
    return "-".join(_letters(GROUP_LETTERS) for _ in range(PASSWORD_GROUPS))


def new_name() -> str:
    """A login name that says nothing of whoever has it."""
    return f"wifi-{_letters(NAME_LETTERS)}"


def of_generated(password: bytes) -> str:
    """The verifier of a password of at least 128 random bits."""
    salt = os.urandom(_SALT_BYTES)
    return f"sha256${salt.hex()}${hashlib.sha256(salt + password).hexdigest()}"


def of_sealed(password: bytes, site_key: bytes, lookup: str) -> str:
    """The verifier that keeps a password legible to this site, bound to its credential."""
    nonce = os.urandom(_NONCE_BYTES)
    sealed = AESGCM(_seal_key(site_key)).encrypt(nonce, password, lookup.encode())
    return f"sealed${base64.b64encode(nonce + sealed).decode()}"


def unsealed(text: str, site_key: bytes, lookup: str) -> bytes | None:
    """What was sealed; `text` is what follows `sealed$`. None: it is damaged, or another's."""
    try:
        whole = base64.b64decode(text, validate=True)
        return AESGCM(_seal_key(site_key)).decrypt(
            whole[:_NONCE_BYTES], whole[_NONCE_BYTES:], lookup.encode()
        )
    except (binascii.Error, InvalidTag, ValueError):
        return None


def _letters(count: int) -> str:
    return "".join(secrets.choice(LETTERS) for _ in range(count))


def _seal_key(site_key: bytes) -> bytes:
    return hmac.digest(site_key, _SEAL, "sha256")
