"""Every notation of a device's address is the same address, and nothing else is one."""

import hashlib

import pytest

from edgegate.wifi.mac import (
    CalledStation,
    asked_by_mac,
    asked_by_mac_chap,
    called_station,
    canonical,
    is_randomised,
)

MAC = "0A1B2C3D4E5F"
NOTATIONS = [
    "0a1b2c3d4e5f",
    "0A1B2C3D4E5F",
    "0a:1b:2c:3d:4e:5f",
    "0A-1B-2C-3D-4E-5F",
    "0a1b.2c3d.4e5f",
    "0A1B-2C3D-4E5F",
    "0a1b2c-3d4e5f",
    "0a1b2c:3d4e5f",
]
NO_ADDRESSES = [
    *("", "ada", "0a1b2c3d4e5", "0a1b2c3d4e5f0", "0a:1b:2c:3d:4e", "0a:1b-2c:3d:4e:5f"),
    *("0a1b2c3d4e5g", " 0a1b2c3d4e5f", "0a1b2c3d4e5f\n", "0:a1b2c3d4e5f", "\u0660a1b2c3d4e5f"),
]


@pytest.mark.parametrize("text", NOTATIONS)
def test_every_notation_is_the_same_address(text: str) -> None:
    assert canonical(text) == MAC
    assert asked_by_mac(text, text.encode(), "0A-1B-2C-3D-4E-5F") == MAC


@pytest.mark.parametrize("text", NO_ADDRESSES)
def test_nothing_else_is_an_address(text: str) -> None:
    assert canonical(text) is None
    assert asked_by_mac(text, None, None) is None


def test_a_device_that_made_its_address_up() -> None:
    assert is_randomised("0A1B2C3D4E5F")
    assert is_randomised("DEADBEEF0001")
    assert not is_randomised("001B2C3D4E5F")
    assert not is_randomised("ACDE48001122")


@pytest.mark.parametrize(
    ("text", "mac", "ssid"),
    [
        ("0A-1B-2C-3D-4E-5F:Members", MAC, "Members"),
        ("0a:1b:2c:3d:4e:5f:a:b c", MAC, "a:b c"),
        ("0a1b2c3d4e5f", MAC, ""),
        ("0A-1B-2C-3D-4E-5F:", MAC, ""),
        ("hotspot1", None, ""),
        ("0a1b2c3d4e5fff", None, ""),
        ("", None, ""),
    ],
)
def test_the_network_that_was_called(text: str, mac: str | None, ssid: str) -> None:
    assert called_station(text) == CalledStation(mac, ssid)


def test_a_device_is_asked_for_by_its_address_only_where_all_agree() -> None:
    assert asked_by_mac(MAC, None, None) == MAC
    assert asked_by_mac(MAC, b"", None) == MAC
    assert asked_by_mac(MAC, b"0a-1b-2c-3d-4e-5f", None) == MAC
    assert asked_by_mac(MAC, b"a password", None) is None
    assert asked_by_mac(MAC, b"\xff", None) is None
    assert asked_by_mac(MAC, None, "00-00-00-00-00-01") is None
    assert asked_by_mac(MAC, None, "no address") is None


def test_an_address_repeated_as_chap() -> None:
    name, challenge = "0a-1b-2c-3d-4e-5f", b"c" * 16

    def chap(password: bytes) -> bytes:
        made = hashlib.md5(b"\x90" + password + challenge, usedforsecurity=False)
        return b"\x90" + made.digest()

    assert asked_by_mac_chap(name, chap(name.encode()), challenge, None) == MAC
    assert asked_by_mac_chap(name, chap(b""), challenge, None) == MAC
    assert asked_by_mac_chap(name, chap(b"else"), challenge, None) is None
    assert asked_by_mac_chap("ada", chap(b"ada"), challenge, None) is None
