"""EAP between a device and the server: what is proven, with which keys, in which pieces."""

import time
from itertools import product

import pytest
from OpenSSL import SSL

from edgegate.wifi.authority import KeyKind, serial_of
from edgegate.wifi.eap.packet import Type
from edgegate.wifi.eap.server import EapServer
from edgegate.wifi.eap.steps import Accepted, Challenge, Failed, Ignored, Proven, Step
from edgegate.wifi.eap.tlsmethod import Proved, Send
from edgegate.wifi.eap.ttls import Ttls
from edgegate.wifi.proofs import CertificateProof, LoginProof
from rig.eap_peer import (
    Device,
    admitted,
    avp,
    certified,
    client_context,
    converse,
    go_on,
    pap,
    server,
    tunnelled,
    why,
)
from rig.wifi_papers import authority, client, identity
from rig.wifi_papers import server as server_paper

KINDS: tuple[KeyKind, ...] = ("ec", "rsa")
VERSIONS = ("1.2", "1.3")
MATRIX = list(product(KINDS, VERSIONS, (300, 1024)))


@pytest.mark.parametrize(("kind", "version", "size"), MATRIX)
def test_ttls_proves_a_login_and_both_have_the_keys(kind: KeyKind, version: str, size: int) -> None:
    device = tunnelled(version, kind)
    device.packet_max = size
    eap = server(kind)
    step = admitted(eap, device, mtu=size + 4)
    assert isinstance(step, Accepted)
    assert step.proof == LoginProof("anna", b"wonderful")
    assert step.verdict == "yes"
    assert step.msk == device.msk()
    assert len(step.msk) == 64
    assert step.eap[0] == 3
    assert device.largest <= size
    assert len(eap.half_open) == 0


@pytest.mark.parametrize(("kind", "version", "size"), MATRIX)
def test_tls_proves_a_certificate_and_both_have_the_keys(
    kind: KeyKind, version: str, size: int
) -> None:
    device = certified(version, kind)
    device.packet_max = size
    eap = server(kind)
    step = admitted(eap, device, mtu=size + 4)
    assert isinstance(step, Accepted)
    assert step.proof == CertificateProof("anna", serial_of(client("anna", kind)[0]))
    assert step.msk == device.msk()
    # RFC 9190: only TLS 1.3 has the byte that says that the handshake is over.
    assert device.commitments == (version == "1.3")
    assert device.largest <= size
    assert len(eap.half_open) == 0


@pytest.mark.parametrize("version", VERSIONS)
def test_a_device_may_wait_before_it_speaks_in_the_tunnel(version: str) -> None:
    device = tunnelled(version)
    device.eager = False
    step = admitted(server(), device)
    assert isinstance(step, Accepted)
    assert step.msk == device.msk()


class EarlySpeaker:
    """TLS 1.2 with a device that spoke before it had the server's Finished (RFC 7918)."""

    is_tls13 = False

    def __init__(self) -> None:
        self.said, self.finished = pap(), b"the server's Finished"

    def feed(self, message: bytes) -> None: ...

    def handshake(self) -> bool:
        return True

    def read(self, _bytes_max: int) -> bytes:
        said, self.said = self.said, b""
        return said

    def output(self) -> bytes:
        finished, self.finished = self.finished, b""
        return finished


def test_a_device_that_speaks_early_gets_the_end_of_the_handshake_all_the_same() -> None:
    method = Ttls(identity())
    vars(method)["_tls"] = EarlySpeaker()
    assert method.respond(b"\0...", 1024) == Send(b"\0the server's Finished")
    assert method.respond(b"\0", 1024) == Proved(LoginProof("anna", b"wonderful"))


@pytest.mark.parametrize("version", VERSIONS)
def test_a_device_that_closes_the_tunnel_at_the_end_does_not_come_in(version: str) -> None:
    eap, device = server(), certified(version)
    step = converse(eap, device)
    assert isinstance(step, Proven)
    challenge = step.conversation.accept()
    assert isinstance(challenge, Challenge)
    device.answer(challenge.eap)
    device.tls.shutdown()
    close = device.response(challenge.eap[1], Type.TLS, b"\0" + device.tls.bio_read(1000))
    assert why(eap.step(close, challenge.state)) == "the device closed the tunnel"


@pytest.mark.parametrize("version", VERSIONS)
def test_a_certificate_is_decided_on_before_the_device_believes_to_be_in(version: str) -> None:
    device = certified(version)
    step = converse(server(), device)
    assert isinstance(step, Proven)
    assert device.commitments == 0
    assert device.is_up == (version == "1.3")
    failed = step.conversation.refuse("no pass")
    assert failed.why == "no pass"
    assert failed.eap[0] == 4
    with pytest.raises(RuntimeError):
        step.conversation.accept()


def test_while_the_decision_is_under_way_the_same_again_is_ignored() -> None:
    eap, device = server(), certified()
    step: Step = eap.step(device.first(), None)
    while isinstance(step, Challenge):
        last, state = device.answer(step.eap), step.state
        step = eap.step(last, state)
    assert isinstance(step, Proven)
    assert isinstance(eap.step(last, state), Ignored)
    assert isinstance(go_on(eap, device, step.conversation.accept()), Accepted)


def test_the_outer_identity_is_told_and_proves_nothing() -> None:
    device = tunnelled()
    device.identity = b"anonymous@example.org\x00\xff"
    step = converse(server(), device)
    assert isinstance(step, Proven)
    assert step.identity == "anonymous@example.org\ufffd\ufffd"
    assert step.proof == LoginProof("anna", b"wonderful")


def test_an_empty_packet_makes_the_server_ask_who_it_is() -> None:
    eap, device = server(), tunnelled()
    step = eap.step(b"", None)
    assert isinstance(step, Challenge)
    assert step.eap[4] == Type.IDENTITY
    assert isinstance(go_on(eap, device, step), Proven)
    again = eap.step(b"", None)
    assert isinstance(again, Challenge)
    answer = device.response(again.eap[1], Type.TTLS, b"\0")
    assert "did not say who" in why(eap.step(answer, again.state))


def test_a_device_that_lists_peap_only_is_refused_by_name() -> None:
    device = tunnelled()
    device.method = Type.PEAP
    said = why(converse(server(), device))
    assert said == "the device wants PEAP; offered here: EAP-TTLS, EAP-TLS"


def test_of_several_methods_that_a_device_lists_the_offered_one_is_taken() -> None:
    device = certified()
    device.wants = bytes((Type.PEAP, Type.MSCHAPV2, Type.TLS))
    assert isinstance(admitted(server(), device), Accepted)


@pytest.mark.parametrize("wants", [b"\0", b"\x15", bytes((4, 26, 6, 200)), bytes(range(255))])
def test_a_device_that_wants_nothing_that_there_is_left_is_refused(wants: bytes) -> None:
    eap = EapServer(identity(), (Type.TTLS,), now=time.monotonic)
    device = certified()
    device.wants = wants
    said = why(converse(eap, device))
    assert "offered here: EAP-TTLS" in said
    if wants[0] == 4:
        assert "wants EAP-MD5, EAP-GTC, EAP-MSCHAPv2;" in said


def test_a_device_cannot_change_its_mind_within_a_method() -> None:
    eap, device = server(), tunnelled()
    step = eap.step(device.first(), None)
    assert isinstance(step, Challenge)
    step = eap.step(device.answer(step.eap), step.state)
    assert isinstance(step, Challenge)
    nak = device.response(step.eap[1], Type.NAK, bytes((Type.TLS,)))
    assert "answers EAP-TTLS with a refusal (NAK)" in why(eap.step(nak, step.state))


@pytest.mark.parametrize(
    ("inner", "words"),
    [
        (b"", "neither name nor password"),
        (avp(1, b"anna"), "no password"),
        (avp(2, b"wonderful"), "no name"),
        (avp(1, b"") + avp(2, b"x"), "no name"),
        (avp(1, b"\xff") + avp(2, b"x"), "no UTF-8"),
        (avp(1, b"a\nb") + avp(2, b"x"), "cannot be printed"),
        (avp(1, b"a" * 254) + avp(2, b"x"), "too long"),
        (avp(1, b"a") + avp(2, b"x" * 254), "too long"),
        (pap() + avp(1, b"bert"), "twice"),
        (pap() + avp(9, b"?"), "asks for an attribute"),
        (pap() + avp(9, b"?", vendor=99), "asks for an attribute"),
        (avp(1, b"a") + avp(3, b"x" * 17) + avp(60, b"y" * 16), "CHAP"),
        (avp(1, b"a") + avp(79, b"\2\0\0\5\1"), "EAP inside"),
        (avp(1, b"a") + avp(11, b"x" * 16, vendor=311), "MSCHAP inside"),
        (
            avp(1, b"a") + avp(11, b"x" * 16, vendor=311) + avp(25, b"x" * 50, vendor=311),
            "MSCHAPv2 inside",
        ),
        (pap() + b"\0\0\0\1\x40\0\0", "cut short"),
        (pap() + b"\0\0\0\1\x40\0\0\7", "cut short"),
        (pap() + b"\0\0\0\1\xc0\0\0\x0b\0\0\0", "cut short"),
        (pap() + b"\0\0\0\1\x40\0\1\0", "cut short"),
        (avp(9, b"", flags=0) * 33, "more than 32"),
        (avp(9, b"x" * 5000, flags=0), "said too much"),
    ],
)
def test_what_is_said_in_the_tunnel_and_will_not_do_is_named(inner: bytes, words: str) -> None:
    for version in VERSIONS:
        assert words in why(converse(server(), tunnelled(version, inner=inner)))


def test_what_a_device_says_besides_and_need_not_be_understood_is_passed_over() -> None:
    inner = avp(99, b"odd", flags=0) + pap() + avp(7, b"x", flags=0, vendor=5)
    step = converse(server(), tunnelled(inner=inner.rstrip(b"\0")))
    assert isinstance(step, Proven)
    assert step.proof == LoginProof("anna", b"wonderful")


def test_a_password_keeps_every_byte_but_its_padding() -> None:
    password = b" p\xc3\xa4ss \x00w\xff\x01 "
    step = converse(server(), tunnelled(inner=pap("änna", password)))
    assert isinstance(step, Proven)
    assert step.proof == LoginProof("änna", password)
    assert "p\\xc3" not in repr(step.proof)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_device_that_does_not_know_the_authority_says_so(version: str) -> None:
    stranger = client_context(version, authority("ec", "Somebody else").certificate)
    for device in (Device(stranger), Device(stranger, Type.TLS)):
        said = why(converse(server(), device))
        assert said == "the device does not trust the server's certificate: unknown CA"


@pytest.mark.parametrize("version", VERSIONS)
def test_a_certificate_of_somebody_elses_authority_is_refused(version: str) -> None:
    device = certified(version, by="Somebody else")
    said = why(converse(server(), device))
    assert said == "the device's certificate is refused: its authority is not the site's"


@pytest.mark.parametrize("version", VERSIONS)
def test_a_revoked_certificate_is_refused_from_that_moment_on(version: str) -> None:
    revoked: set[str] = set()
    who = identity()
    who._is_revoked = revoked.__contains__
    eap = EapServer(who, now=time.monotonic)
    assert isinstance(admitted(eap, certified(version)), Accepted)
    revoked.add(serial_of(client()[0]))
    said = why(converse(eap, certified(version)))
    assert said == "the device's certificate is refused: it was revoked"


@pytest.mark.parametrize("version", VERSIONS)
def test_a_device_without_a_certificate_is_refused(version: str) -> None:
    device = Device(client_context(version, authority().certificate), Type.TLS)
    assert why(converse(server(), device)) == "the device sent no certificate"


def test_a_servers_certificate_is_none_for_a_device() -> None:
    device = Device(client_context("1.3", authority().certificate, server_paper()), Type.TLS)
    assert "not for clients" in why(converse(server(), device))


def test_a_device_with_old_tls_is_told_from_others() -> None:
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_cipher_list(b"DEFAULT@SECLEVEL=0")
    context.set_min_proto_version(SSL.TLS1_1_VERSION)
    context.set_max_proto_version(SSL.TLS1_1_VERSION)
    assert "before 1.2" in why(converse(server(), Device(context)))


def test_a_device_gets_the_alert_before_the_failure() -> None:
    eap, device = server(), certified("1.2", by="Somebody else")
    step: Step = eap.step(device.first(), None)
    requests = []
    while isinstance(step, Challenge):
        requests.append(step.eap)
        step = eap.step(device.answer(step.eap), step.state)
    assert isinstance(step, Failed)
    # Flags, a TLS record of type alert, fatal, unknown_ca (RFC 8446 §6.2).
    assert requests[-1][5:7] == b"\x00\x15"
    assert requests[-1][-2:] == b"\x02\x30"
