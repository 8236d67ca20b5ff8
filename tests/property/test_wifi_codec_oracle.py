"""Our RADIUS codec and pyrad, which nobody here wrote, read and write the same octets."""

import hashlib
from collections import OrderedDict

from hypothesis import given
from hypothesis import strategies as st
from pyrad.dictionary import Dictionary
from pyrad.packet import AcctPacket, AuthPacket, CoAPacket
from pyrad.packet import Packet as Theirs

from edgegate.wifi.attributes import Attribute, Code
from edgegate.wifi.hiding import (
    chap_matches,
    hide_password,
    hide_salted,
    reveal_password,
    reveal_salted,
)
from edgegate.wifi.packet import (
    Attributes,
    MalformedPacketError,
    Reply,
    decode,
    encode_reply,
    encode_request,
    message_authenticator_matches,
    request_authenticator_matches,
)

# Vendors' attributes are a tree in pyrad and octets here; a second signature is refused here.
KINDS = st.integers(1, 255).filter(lambda kind: kind not in (26, 80))
ATTRIBUTES = st.lists(st.tuples(KINDS, st.binary(max_size=253)), max_size=14).map(tuple)
SECRETS = st.binary(min_size=1, max_size=80)
AUTHENTICATORS = st.binary(min_size=16, max_size=16)
IDENTIFIERS = st.integers(0, 255)
WHYS = ("short", "length", "cut", "attribute", "message_authenticator")
HASHED = {
    Code.ACCOUNTING_REQUEST: AcctPacket,
    Code.DISCONNECT_REQUEST: CoAPacket,
    Code.COA_REQUEST: CoAPacket,
}


def by_kind(attributes: Attributes) -> dict[int, list[bytes]]:
    found: dict[int, list[bytes]] = {}
    for kind, value in attributes:
        found.setdefault(int(kind), []).append(value)
    return found


def raw(packet: Theirs) -> dict[int, list[bytes]]:
    return {kind: OrderedDict.__getitem__(packet, kind) for kind in OrderedDict.keys(packet)}


def filled(packet: Theirs, attributes: Attributes) -> Theirs:
    for kind, values in by_kind(attributes).items():
        OrderedDict.__setitem__(packet, kind, values)
    packet.add_message_authenticator()
    return packet


@given(ATTRIBUTES, SECRETS, AUTHENTICATORS, IDENTIFIERS)
def test_they_read_our_access_requests(
    attributes: Attributes, secret: bytes, authenticator: bytes, identifier: int
) -> None:
    ours = encode_request(Code.ACCESS_REQUEST, identifier, attributes, secret, authenticator)
    theirs = AuthPacket(packet=ours, secret=secret)
    assert theirs.verify_message_authenticator()
    signature = {80: [ours[22:38]]}
    assert raw(theirs) == by_kind(attributes) | signature
    assert (theirs.id, theirs.authenticator) == (identifier, authenticator)


@given(ATTRIBUTES, SECRETS, AUTHENTICATORS, IDENTIFIERS)
def test_we_read_their_access_requests(
    attributes: Attributes, secret: bytes, authenticator: bytes, identifier: int
) -> None:
    theirs = filled(AuthPacket(id=identifier, secret=secret, authenticator=authenticator), ())
    data = filled(theirs, attributes).RequestPacket()
    ours = decode(data)
    assert message_authenticator_matches(data, ours, secret)
    assert not message_authenticator_matches(data, ours, secret + b"!")
    assert by_kind(ours.attributes) == raw(theirs)
    assert (ours.code, ours.identifier) == (Code.ACCESS_REQUEST, identifier)
    assert ours.authenticator == authenticator


@given(ATTRIBUTES, SECRETS, IDENTIFIERS, st.sampled_from(sorted(HASHED)))
def test_requests_with_a_hash_both_ways(
    attributes: Attributes, secret: bytes, identifier: int, code: Code
) -> None:
    ours = encode_request(code, identifier, attributes, secret)
    theirs = HASHED[code](packet=ours, secret=secret)
    verify = theirs.VerifyAcctRequest if code == 4 else theirs.VerifyCoARequest
    assert verify()
    assert theirs.verify_message_authenticator()
    made = filled(HASHED[code](code=int(code), id=identifier, secret=secret), attributes)
    data = made.RequestPacket()
    assert request_authenticator_matches(data, secret)
    assert message_authenticator_matches(data, decode(data), secret, bytes(16))
    assert by_kind(decode(data).attributes) == raw(made)


@given(
    ATTRIBUTES,
    st.lists(st.binary(max_size=40), max_size=2),
    SECRETS,
    st.sampled_from([Code.ACCESS_ACCEPT, Code.ACCESS_REJECT, Code.ACCESS_CHALLENGE]),
)
def test_they_take_our_answers(
    attributes: Attributes, states: list[bytes], secret: bytes, code: Code
) -> None:
    asked = tuple((int(Attribute.PROXY_STATE), state) for state in states)
    request = AuthPacket(
        packet=encode_request(Code.ACCESS_REQUEST, 77, asked, secret), secret=secret
    )
    own = tuple(pair for pair in attributes if pair[0] != Attribute.PROXY_STATE)
    data = encode_reply(Reply(code, own), decode(request.raw_packet), secret)
    reply = request.CreateReply(packet=data)
    assert request.VerifyReply(reply, data, enforce_ma=True)
    assert not request.VerifyReply(reply, data[:-1] + bytes((data[-1] ^ 1,)), enforce_ma=True)


@given(ATTRIBUTES, SECRETS)
def test_they_take_our_accounting_answers(attributes: Attributes, secret: bytes) -> None:
    asked = encode_request(Code.ACCOUNTING_REQUEST, 77, (), secret)
    request = AcctPacket(packet=asked, secret=secret)
    data = encode_reply(Reply(Code.ACCOUNTING_RESPONSE, attributes), decode(asked), secret)
    assert request.VerifyReply(request.CreateReply(packet=data), data)


@given(st.binary(max_size=128), AUTHENTICATORS, SECRETS)
def test_passwords_both_ways(password: bytes, authenticator: bytes, secret: bytes) -> None:
    theirs = AuthPacket(secret=secret, authenticator=authenticator)
    hidden = theirs.PwCrypt(password)
    assert hide_password(password, authenticator, secret) == hidden
    assert reveal_password(hidden, authenticator, secret) == password.rstrip(b"\0")


@given(st.binary(max_size=32), IDENTIFIERS, AUTHENTICATORS)
def test_chap_both_ways(password: bytes, identifier: int, challenge: bytes) -> None:
    head = bytes((identifier,))
    made = hashlib.md5(head + password + challenge, usedforsecurity=False).digest()
    theirs = AuthPacket(secret=b"s", authenticator=challenge, dict=Dictionary())
    OrderedDict.__setitem__(theirs, 3, [head + made])
    for tried in (password, password + b"!"):
        assert chap_matches(tried, head + made, challenge) == theirs.VerifyChapPasswd(tried)


@given(st.binary(max_size=200), AUTHENTICATORS, SECRETS, st.integers(0, 0x7FFF))
def test_salted_values_both_ways(
    value: bytes, authenticator: bytes, secret: bytes, salt: int
) -> None:
    theirs = AuthPacket(secret=secret, authenticator=authenticator)
    hidden = hide_salted(value, (salt | 0x8000).to_bytes(2), authenticator, secret)
    assert theirs.SaltDecrypt(hidden) == value
    assert reveal_salted(theirs.SaltCrypt(value), authenticator, secret) == value


@given(st.binary(max_size=200))
def test_any_octets_are_a_packet_or_named(data: bytes) -> None:
    assert read(data) in {"a packet", *WHYS}


@given(st.binary(min_size=16, max_size=16), st.lists(st.binary(max_size=6), max_size=30))
def test_attribute_areas_are_read_whole_or_named(head: bytes, parts: list[bytes]) -> None:
    body = b"".join(parts)
    data = bytes((1, 0)) + (20 + len(body)).to_bytes(2) + head + body
    why = read(data)
    if why == "a packet":
        area = ((kind, len(value) + 2, value) for kind, value in decode(data).attributes)
        assert b"".join(bytes(front) + value for *front, value in area) == body
    else:
        assert why in {"attribute", "message_authenticator"}


def read(data: bytes) -> str:
    try:
        decode(data)
    except MalformedPacketError as error:
        return error.why
    return "a packet"
