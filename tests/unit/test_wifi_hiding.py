"""What is hidden with the secret comes out again, and what cannot be hidden is refused."""

import hashlib

import pytest

from edgegate.wifi.attributes import Attribute, Vendor
from edgegate.wifi.hiding import (
    HiddenValueError,
    chap_matches,
    hide_password,
    hide_salted,
    mppe_keys,
    reveal_password,
    reveal_salted,
    vlan,
)
from edgegate.wifi.packet import Packet
from rig.radius import AUTHENTICATOR, SECRET


@pytest.mark.parametrize("length", [0, 1, 15, 16, 17, 127, 128])
def test_a_password_comes_out_as_it_went_in(length: int) -> None:
    password = b"p" * length
    hidden = hide_password(password, AUTHENTICATOR, SECRET)
    assert len(hidden) == max(16, -(-length // 16) * 16)
    assert reveal_password(hidden, AUTHENTICATOR, SECRET) == password
    assert reveal_password(hidden, AUTHENTICATOR, SECRET + b"!") != password or not password


@pytest.mark.parametrize("length", [0, 1, 15, 17, 129, 144])
def test_a_hidden_password_of_another_form_is_refused(length: int) -> None:
    with pytest.raises(HiddenValueError):
        reveal_password(bytes(length), AUTHENTICATOR, SECRET)


def test_a_password_too_long_is_refused() -> None:
    with pytest.raises(HiddenValueError):
        hide_password(b"p" * 129, AUTHENTICATOR, SECRET)


@pytest.mark.parametrize("identifier", [0, 1, 127, 128, 200, 255])
def test_chap_of_every_identifier(identifier: int) -> None:
    challenge = b"c" * 16
    head = bytes((identifier,))
    response = hashlib.md5(head + b"pass" + challenge, usedforsecurity=False).digest()
    assert chap_matches(b"pass", head + response, challenge)
    assert not chap_matches(b"past", head + response, challenge)
    assert not chap_matches(b"pass", head + response, b"d" * 16)
    assert not chap_matches(b"pass", bytes((identifier ^ 1,)) + response, challenge)
    assert not chap_matches(b"pass", head + response + b"x", challenge)
    assert not chap_matches(b"pass", b"", challenge)


@pytest.mark.parametrize("length", [0, 1, 15, 16, 32, 228])
def test_a_salted_value_comes_out_as_it_went_in(length: int) -> None:
    hidden = hide_salted(b"k" * length, b"\x80\x01", AUTHENTICATOR, SECRET)
    assert reveal_salted(hidden, AUTHENTICATOR, SECRET) == b"k" * length


def test_salted_values_of_another_form_are_refused() -> None:
    with pytest.raises(HiddenValueError):
        hide_salted(bytes(229), b"\x80\x01", AUTHENTICATOR, SECRET)
    for length in (0, 2, 17, 19):
        with pytest.raises(HiddenValueError):
            reveal_salted(bytes(length), AUTHENTICATOR, SECRET)
    pad = hashlib.md5(SECRET + AUTHENTICATOR + b"\x80\x01", usedforsecurity=False).digest()
    longer = b"\x80\x01" + bytes((pad[0] ^ 16,)) + pad[1:]
    with pytest.raises(HiddenValueError, match="longer"):
        reveal_salted(longer, AUTHENTICATOR, SECRET)


def test_the_keys_of_a_method_are_halves_of_its_key() -> None:
    msk = bytes(range(64))
    packet = Packet(2, 0, AUTHENTICATOR, mppe_keys(msk, AUTHENTICATOR, SECRET))
    receive, send = (packet.vendor(Vendor.MICROSOFT, kind) for kind in (17, 16))
    assert receive is not None
    assert send is not None
    assert receive[0] & 0x80
    assert send[0] & 0x80
    assert receive[:2] != send[:2]
    assert reveal_salted(receive, AUTHENTICATOR, SECRET) == msk[:32]
    assert reveal_salted(send, AUTHENTICATOR, SECRET) == msk[32:]


def test_a_vlan_has_three_attributes() -> None:
    packet = Packet(2, 0, AUTHENTICATOR, vlan("120"))
    assert packet.number(Attribute.TUNNEL_TYPE) == 13
    assert packet.number(Attribute.TUNNEL_MEDIUM_TYPE) == 6
    assert packet.text(Attribute.TUNNEL_PRIVATE_GROUP_ID) == "120"
