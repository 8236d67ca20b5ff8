"""Devices and login names are one however they are written."""

import pytest

from edgegate.credentials.lookup import canonical, lookup
from edgegate.passes.model import CredentialKind

KEY = b"k" * 32


@pytest.mark.parametrize(
    "written",
    [b"\xaa\xbb\xcc\xdd\xee\xff", b"aa:bb:cc:dd:ee:ff", b"AA-BB-CC-DD-EE-FF", b"aabb.ccdd.eeff"],
)
def test_a_mac_address_is_one_number(written: bytes) -> None:
    assert canonical(CredentialKind.MAC, written) == b"AABBCCDDEEFF"


@pytest.mark.parametrize(
    ("one", "other"), [("Ana", "ana "), ("J\u00fcrgen", "ju\u0308rgen"), ("STRASSE", "stra\u00dfe")]
)
def test_a_login_name_is_one_however_a_keyboard_wrote_it(one: str, other: str) -> None:
    kind = CredentialKind.WIFI_LOGIN
    assert lookup(KEY, kind, one.encode()) == lookup(KEY, kind, other.encode())
    assert lookup(KEY, kind, one.encode()) != lookup(KEY, kind, b"anna")


@pytest.mark.parametrize("noise", [b"", b"\xff\xfe", b"\x00", b"a" * 300])
def test_whatever_comes_has_a_form(noise: bytes) -> None:
    for kind in CredentialKind:
        assert isinstance(canonical(kind, noise), bytes)
