"""The device that `edgegate wifi test` plays: it says its password to nobody but its server."""

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509

from edgegate.wifi.authority import (
    Authority,
    KeyKind,
    client_certificate,
    new_authority,
    new_key,
    server_certificate,
)
from edgegate.wifi.eap.identity import ServerIdentity
from edgegate.wifi.eap.packet import Type
from edgegate.wifi.eap.server import EapServer
from edgegate.wifi.eap.steps import Accepted, Challenge, Proven, Step
from edgegate.wifi.peer import Peer, PeerError, Trust
from edgegate.wifi.profiles.handout import Login
from edgegate.wifi.proofs import LoginProof

NOW = datetime.now(UTC)
NAME = "wifi.loft.example"
LOGIN = Login("ana", "k7mw-2xq9-pcbf")


def authority(kind: KeyKind = "ec", at: datetime = NOW) -> Authority:
    return new_authority("Loft", kind, at)


def server(
    by: Authority, *, at: datetime = NOW, name: str = NAME, for_clients: bool = False
) -> EapServer:
    key = new_key("ec")
    make = client_certificate if for_clients else server_certificate
    return EapServer(ServerIdentity([make(by, name, key, at)], key), now=lambda: 0.0)


def talk(server: EapServer, peer: Peer, mtu: int | None = None) -> Step:
    step = server.step(peer.first(), None, mtu=mtu)
    for _ in range(100):
        if isinstance(step, Proven):
            step = step.conversation.accept("yes")
        if not isinstance(step, Challenge):
            return step
        step = server.step(peer.answer(step.eap), step.state, mtu=mtu)
    raise AssertionError("the conversation has no end")


def peer(by: Authority, at: datetime = NOW, name: str = NAME) -> Peer:
    return Peer(Trust(by.certificate, name), LOGIN, at)


@pytest.mark.parametrize("mtu", [None, 300])
@pytest.mark.parametrize("kind", ["ec", "rsa"])
def test_it_comes_in_with_the_keys_of_the_server(kind: KeyKind, mtu: int | None) -> None:
    by = authority(kind)
    device = peer(by)
    step = talk(server(by), device, mtu)
    assert isinstance(step, Accepted)
    assert step.proof == LoginProof(LOGIN.name, LOGIN.password.encode())
    assert step.msk == device.msk()
    assert isinstance(device.certificate, x509.Certificate)


def test_another_method_is_declined_for_its_own() -> None:
    by = authority()
    key = new_key("ec")
    identity = ServerIdentity([server_certificate(by, NAME, key, NOW)], key)
    both = EapServer(identity, [Type.TLS, Type.TTLS], now=lambda: 0.0)
    assert isinstance(talk(both, peer(by)), Accepted)


LATER, BEFORE = NOW + timedelta(days=900), NOW - timedelta(days=400)


@pytest.mark.parametrize(
    ("case", "why", "advice"),
    [
        ("expired", "expired on", "timedatectl"),
        ("early", "is good only from", "timedatectl"),
        ("stranger", "was not signed by the authority", "--ca"),
        ("renamed", "devices were told wifi.loft.example", "server_name"),
        ("client", "is not for servers", "serverAuth"),
    ],
)
def test_a_server_that_is_not_the_right_one_hears_no_password(
    case: str, why: str, advice: str
) -> None:
    by = authority(at=BEFORE)
    other = authority() if case == "stranger" else by
    at = {"expired": LATER, "early": NOW - timedelta(days=100)}.get(case, NOW)
    name = "wifi.other.example" if case == "renamed" else NAME
    eap = server(other, name=name, for_clients=case == "client")
    proven: list[Step] = []
    device = peer(by, at)
    with pytest.raises(PeerError, match=why) as caught:
        proven.append(talk(eap, device))
    assert advice in caught.value.advice
    assert proven == []


@pytest.mark.parametrize(
    "eap", [b"", b"\x01\x00\x00\x04", b"\x03\x00\x00\x04", b"\x02\x01\x00\x05\x01"]
)
def test_what_is_no_request_ends_it(eap: bytes) -> None:
    with pytest.raises(PeerError, match="no EAP request"):
        peer(authority()).answer(eap)


def test_an_identity_is_told_as_often_as_it_is_asked() -> None:
    asked = b"\x01\x07\x00\x05\x01"
    assert peer(authority()).answer(asked) == b"\x02\x07\x00\x0e\x01anonymous"
