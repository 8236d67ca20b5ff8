"""RADIUS packets: every way to be none has its name; replies are signed, and signed first."""

import hashlib
import hmac

import pytest

from edgegate.wifi.attributes import Attribute, Code, Vendor
from edgegate.wifi.packet import (
    PACKET_BYTES_MAX,
    MalformedPacketError,
    Packet,
    Reply,
    decode,
    encode_reply,
    encode_request,
    message_authenticator_matches,
    request_authenticator_matches,
    response_authenticator_matches,
    split,
    vendor_attribute,
)
from rig.radius import SECRET

HEAD = bytes((1, 7, 0, 20)) + bytes(16)


def datagram(body: bytes) -> bytes:
    return HEAD[:2] + (20 + len(body)).to_bytes(2) + HEAD[4:] + body


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "short"),
        (HEAD[:19], "short"),
        (bytes((1, 7, 0, 19)) + bytes(16), "length"),
        (bytes((1, 7, 0x10, 1)) + bytes(4093), "length"),
        (bytes((1, 7, 0, 21)) + bytes(16), "cut"),
        (datagram(b"\x01"), "attribute"),
        (datagram(b"\x01\x00"), "attribute"),
        (datagram(b"\x01\x01"), "attribute"),
        (datagram(b"\x01\x04a"), "attribute"),
        (datagram(b"\x50\x11" + bytes(15)), "message_authenticator"),
        (datagram((b"\x50\x12" + bytes(16)) * 2), "message_authenticator"),
    ],
)
def test_what_is_no_packet_is_refused_by_name(data: bytes, why: str) -> None:
    with pytest.raises(MalformedPacketError) as caught:
        decode(data)
    assert caught.value.why == why
    assert str(caught.value)


def test_octets_behind_the_length_are_padding() -> None:
    assert decode(HEAD + b"padding") == decode(HEAD)
    assert decode(datagram(b"\x01\x02") + b"\x01").attributes == ((1, b""),)


def test_the_longest_packet_is_read() -> None:
    body = (b"\x19\xff" + bytes(253)) * 15 + b"\x19\xfb" + bytes(249)
    assert len(decode(datagram(body)).attributes) == 16
    assert 20 + len(body) == PACKET_BYTES_MAX


def test_attributes_are_found_by_type() -> None:
    packet = Packet(
        1,
        0,
        bytes(16),
        (
            (79, b"ab"),
            (1, "Zoë".encode()),
            (79, b"c"),
            (27, b"\0\0\1\0"),
            (6, b"\0\1"),
            vendor_attribute(Vendor.CISCO, 2, b"other"),
            vendor_attribute(Vendor.MICROSOFT, 16, b"key"),
            (2, b"\xff"),
        ),
    )
    assert packet.first(79) == b"ab"
    assert packet.first(80) is None
    assert packet.every(79) == [b"ab", b"c"]
    assert packet.concatenated(79) == b"abc"
    assert packet.concatenated(80) is None
    assert packet.text(1) == "Zoë"
    assert packet.text(2) == "\ufffd"
    assert packet.text(3) is None
    assert packet.number(27) == 256
    assert packet.number(6) is None
    assert packet.number(5) is None
    assert packet.vendor(Vendor.MICROSOFT, 16) == b"key"
    assert packet.vendor(Vendor.MICROSOFT, 17) is None
    assert packet.vendor(Vendor.ARUBA, 2) is None


@pytest.mark.parametrize("rest", [b"", b"\x10", b"\x10\x00", b"\x10\x09ab", b"\x11\x02\x10\x01"])
def test_a_vendor_attribute_of_another_form_has_nothing_in_it(rest: bytes) -> None:
    packet = Packet(1, 0, bytes(16), ((26, Vendor.MICROSOFT.to_bytes(4) + rest),))
    assert packet.vendor(Vendor.MICROSOFT, 16) is None


@pytest.mark.parametrize("code", [Code.ACCESS_ACCEPT, Code.ACCESS_REJECT, Code.ACCESS_CHALLENGE])
def test_an_answer_to_an_access_request_is_signed_before_all_else(code: Code) -> None:
    request = decode(encode_request(Code.ACCESS_REQUEST, 9, ((1, b"ada"),), SECRET))
    answer = encode_reply(Reply(code, ((18, b"Hello"),)), request, SECRET)
    assert answer[20:22] == b"\x50\x12"
    zeroed = answer[:4] + request.authenticator + b"\x50\x12" + bytes(16) + answer[38:]
    assert answer[22:38] == hmac.digest(SECRET, zeroed, "md5")
    made = answer[:4] + request.authenticator + answer[20:] + SECRET
    assert answer[4:20] == hashlib.md5(made, usedforsecurity=False).digest()
    assert message_authenticator_matches(answer, decode(answer), SECRET, request.authenticator)


def test_an_answer_repeats_proxy_states_in_their_order() -> None:
    states = ((33, b"first"), (33, b"second"))
    request = decode(encode_request(Code.ACCOUNTING_REQUEST, 9, (*states, (1, b"ada")), SECRET))
    answer = encode_reply(Reply(Code.ACCOUNTING_RESPONSE, ((18, b"x"),)), request, SECRET)
    assert decode(answer).attributes == ((18, b"x"), *states)


@pytest.mark.parametrize(
    "code", [Code.ACCOUNTING_REQUEST, Code.DISCONNECT_REQUEST, Code.COA_REQUEST]
)
def test_requests_whose_authenticator_is_a_hash(code: Code) -> None:
    data = encode_request(code, 3, ((44, b"session"),), SECRET)
    assert request_authenticator_matches(data, SECRET)
    assert not request_authenticator_matches(data, SECRET + b"!")
    assert not request_authenticator_matches(data[:-1] + b"N", SECRET)
    assert message_authenticator_matches(data, decode(data), SECRET, bytes(16))
    assert not message_authenticator_matches(data, decode(data), SECRET)


def test_every_octet_of_a_signed_request_counts() -> None:
    data = encode_request(Code.ACCESS_REQUEST, 3, ((1, b"ada"), (4, bytes(4))), SECRET)
    assert message_authenticator_matches(data, decode(data), SECRET)
    for at in (0, 1, *range(4, 20), *range(22, 38), 40, len(data) - 1):
        changed = data[:at] + bytes((data[at] ^ 1,)) + data[at + 1 :]
        assert not message_authenticator_matches(changed, decode(changed), SECRET), at


def test_an_answer_is_bound_to_its_request() -> None:
    first, second = (encode_request(Code.ACCESS_REQUEST, 3, (), SECRET) for _ in range(2))
    answer = encode_reply(Reply(Code.ACCESS_ACCEPT), decode(first), SECRET)
    assert response_authenticator_matches(answer, first, SECRET)
    assert not response_authenticator_matches(answer, second, SECRET)
    assert not response_authenticator_matches(answer, first, SECRET + b"!")


@pytest.mark.parametrize("length", [1, 16, 63, 64, 65, 200])
def test_secrets_of_any_length_sign_as_hmac_does(length: int) -> None:
    secret = bytes(range(length))
    data = encode_request(Code.STATUS_SERVER, 0, (), secret, authenticator=b"a" * 16)
    zeroed = data[:22] + bytes(16) + data[38:]
    assert data[22:38] == hmac.digest(secret, zeroed, "md5")


def test_what_is_too_long_is_not_written() -> None:
    with pytest.raises(ValueError, match="254 octets"):
        encode_request(Code.ACCESS_REQUEST, 0, ((1, bytes(254)),), SECRET)
    with pytest.raises(ValueError, match="4096 at most"):
        encode_request(Code.ACCESS_REQUEST, 0, ((1, bytes(253)),) * 16, SECRET)


@pytest.mark.parametrize(("length", "parts"), [(0, 1), (1, 1), (253, 1), (254, 2), (1020, 5)])
def test_a_long_value_goes_into_several_attributes(length: int, parts: int) -> None:
    value = bytes(index % 251 for index in range(length))
    made = split(Attribute.EAP_MESSAGE, value)
    assert len(made) == parts
    assert Packet(1, 0, bytes(16), made).concatenated(Attribute.EAP_MESSAGE) == value
