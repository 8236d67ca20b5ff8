"""What somebody types to enrol a device: a claim code, and by which authority to know the cloud.

`7K2M-9QRS-…@4TVX-0ABC-…`: behind the "@" stand 100 bits of the SHA-256 of the certificate of the
cloud's own authority. A device that trusts nobody yet fetches that certificate, sees that it is the
one that is meant, and tells the claim code only to a server that it certified. Nobody can make a
second certificate with these bits. Without that part the public authorities decide.
"""

import re
from hashlib import sha256
from typing import NamedTuple

CHARACTERS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
"""Crockford's base 32: no I, L, O, U, as people read these codes aloud."""

PRINT_LENGTH = 20
_GROUP_LENGTH = 4
_BITS = 5
_ALIKE = str.maketrans({"I": "1", "L": "1", "O": "0", "-": None})
"""What people read in place of what is meant (Crockford)."""

_CODE = re.compile(r"[A-Za-z0-9-]{8,64}")
"""As `enrolment.ClaimCode` has it."""


class ClaimFaultError(ValueError):
    """What was typed is no claim code; the message says why."""


class TypedClaim(NamedTuple):
    """A claim code as it was typed."""

    code: str
    print: str | None
    """The fingerprint of the cloud's authority; None: the public authorities decide."""


def fingerprint_of(certificate_der: bytes) -> str:
    """The short fingerprint of a certificate, in groups for people."""
    number = int.from_bytes(sha256(certificate_der).digest()) >> (256 - _BITS * PRINT_LENGTH)
    text = "".join(
        CHARACTERS[number >> (_BITS * place) & 31] for place in reversed(range(PRINT_LENGTH))
    )
    return "-".join(
        text[place : place + _GROUP_LENGTH] for place in range(0, PRINT_LENGTH, _GROUP_LENGTH)
    )


def typed_claim(code: str, certificate_der: bytes) -> str:
    """What is to be typed for a claim code of a cloud with its own authority."""
    return f"{code}@{fingerprint_of(certificate_der)}"


def read_claim(text: str) -> TypedClaim:
    """Read what was typed, forgiving spaces, and in the fingerprint characters that look alike.

    Raises:
        ClaimFaultError: if it cannot be a claim code.
    """
    code, at, print_ = text.strip().partition("@")
    code = "".join(code.split())
    if not _CODE.fullmatch(code):
        raise ClaimFaultError(
            "the claim code is not one: 8 to 64 letters, digits and dashes, as the cloud told it"
        )
    if not at:
        return TypedClaim(code, None)
    found = canonical(print_)
    strange = next((character for character in found if character not in CHARACTERS), None)
    if strange is not None:
        raise ClaimFaultError(f'the part after the "@" has a {strange!r}, which never stands there')
    if len(found) != PRINT_LENGTH:
        raise ClaimFaultError(
            f'the part after the "@" has {len(found)} characters, and should have {PRINT_LENGTH}'
        )
    return TypedClaim(code, found)


def is_of(print_: str, certificate_der: bytes) -> bool:
    """Whether a fingerprint, as `read_claim` gives it, is that of a certificate."""
    return fingerprint_of(certificate_der).replace("-", "") == print_


def canonical(text: str) -> str:
    """A code of these characters as it is meant: capitals, nothing between, nothing mistaken."""
    return "".join(text.split()).upper().translate(_ALIKE)
