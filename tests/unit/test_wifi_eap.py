"""EAP between a device and the server: what is proven, with which keys, in which pieces."""

import time
from itertools import product

import pytest
from OpenSSL import SSL

from edgegate.wifi.authority import KeyKind, serial_of
from edgegate.wifi.eap.packet import Type, decode_response
from edgegate.wifi.eap.server import ROUNDS_MAX, EapServer
from edgegate.wifi.eap.steps import Accepted, Challenge, Failed, Ignored, Proven, Step
from edgegate.wifi.proofs import CertificateProof, LoginProof
from rig.eap_fuzz import Clock
from rig.eap_peer import Device, admitted, avp, client_context, converse, go_on, pap
from rig.wifi_papers import authority, client, identity
from rig.wifi_papers import server as server_paper

KINDS: tuple[KeyKind, ...] = ("ec", "rsa")
VERSIONS = ("1.2", "1.3")
MATRIX = list(product(KINDS, VERSIONS, (300, 1024)))


def server(kind: KeyKind = "ec") -> EapServer:
    return EapServer(identity(kind), now=time.monotonic)


def tunnelled(version: str = "1.3", kind: KeyKind = "ec", inner: bytes | None = None) -> Device:
    """A device that speaks EAP-TTLS."""
    context = client_context(version, authority(kind).certificate)
    return Device(context, Type.TTLS, pap() if inner is None else inner)


def certified(version: str = "1.3", kind: KeyKind = "ec", by: str | None = None) -> Device:
    """A device that speaks EAP-TLS."""
    paper = client("anna", kind, by) if by else client("anna", kind)
    return Device(client_context(version, authority(kind).certificate, paper), Type.TLS)


def why(step: Step) -> str:
    assert isinstance(step, Failed), step
    return step.why


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


def test_a_device_may_wait_before_it_speaks_in_the_tunnel() -> None:
    device = tunnelled()
    device.eager = False
    step = admitted(server(), device)
    assert isinstance(step, Accepted)
    assert step.msk == device.msk()


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
        assert "EAP-MD5, EAP-MSCHAPv2, EAP-GTC, EAP method 200" in said


def test_a_device_cannot_change_its_mind_within_a_method() -> None:
    eap, device = server(), tunnelled()
    step = eap.step(device.first(), None)
    assert isinstance(step, Challenge)
    step = eap.step(device.answer(step.eap), step.state)
    assert isinstance(step, Challenge)
    nak = device.response(step.eap[1], Type.NAK, bytes((Type.TLS,)))
    assert "answers EAP-TTLS with EAP method 3" in why(eap.step(nak, step.state))


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
        (pap() + avp(9, b"?"), "asks for attribute 9 of vendor 0"),
        (pap() + avp(9, b"?", vendor=99), "asks for attribute 9 of vendor 99"),
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
        (avp(9, b"x" * 5000, flags=0), "more than 4096 bytes"),
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


def test_an_answer_to_another_request_is_ignored_and_the_conversation_goes_on() -> None:
    eap, device = server(), tunnelled()
    step = eap.step(device.first(), None)
    assert isinstance(step, Challenge)
    answer = device.answer(step.eap)
    stale = answer[:1] + bytes(((answer[1] + 1) & 0xFF,)) + answer[2:]
    for wrong in (stale, answer[:3], b"\x01" + answer[1:], answer[:-1]):
        assert isinstance(eap.step(wrong, step.state), Ignored)
    assert isinstance(go_on(eap, device, eap.step(answer, step.state)), Proven)


@pytest.mark.parametrize(
    "eap_bytes", [b"\2", b"\2\7\0\4", b"\2\7\0\5\x15", b"\1\7\0\5\1", b"\2\7\1\0"]
)
def test_what_belongs_to_no_conversation_fails_with_its_identifier(eap_bytes: bytes) -> None:
    step = server().step(eap_bytes, b"unknown")
    assert isinstance(step, Failed)
    assert step.eap == bytes((4, 7 if len(eap_bytes) > 1 else 0, 0, 4))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "without flags"),
        (b"\x20", "a start"),
        (b"\x01", "version 1"),
        (b"\x80\0\0", "length cut short"),
        (b"\x80\0\1\0\0", "65536 bytes, 16384 at most"),
        (b"\x80\0\0\0\1ab", "more bytes than"),
        (b"\x80\0\0\0\3ab", "2 bytes of a message of 3"),
        (b"\x40", "nothing in it"),
        (b"\0", "cut short"),
        (b"\0\x16\x03\x01\x02\x00\x01", "cut short"),
        (b"\0hello, this is no TLS at all", "TLS"),
    ],
)
def test_a_packet_that_fits_nowhere_ends_the_conversation(data: bytes, words: str) -> None:
    eap, device = server(), tunnelled()
    step = eap.step(device.first(), None)
    assert isinstance(step, Challenge)
    step = eap.step(device.response(step.eap[1], Type.TTLS, data), step.state)
    if isinstance(step, Challenge):
        step = eap.step(device.response(step.eap[1], Type.TTLS, b"\0"), step.state)
    assert words in why(step)
    assert len(eap.half_open) == 0


def test_a_length_may_be_repeated_but_not_changed() -> None:
    eap, device = server(), tunnelled()
    for second, words in ((b"\xc0\0\0\1\0", None), (b"\xc0\0\0\1\1", "changes within")):
        step = eap.step(device.first(), None)
        for data in (b"\xc0\0\0\1\0", second):
            assert isinstance(step, Challenge)
            step = eap.step(device.response(step.eap[1], Type.TTLS, data + b"x"), step.state)
        if words is None:
            assert isinstance(step, Challenge)
        else:
            assert words in why(step)


def test_a_fragment_of_ours_wants_an_acknowledgement() -> None:
    eap, device = server("rsa"), tunnelled(kind="rsa")
    step = eap.step(device.first(), None, mtu=300)
    assert isinstance(step, Challenge)
    step = eap.step(device.answer(step.eap), step.state)
    while isinstance(step, Challenge) and not step.eap[5] & 0x40:
        step = eap.step(device.answer(step.eap), step.state)
    assert isinstance(step, Challenge)
    wrong = device.response(step.eap[1], Type.TTLS, b"\0more")
    assert "did not acknowledge" in why(eap.step(wrong, step.state))


def test_a_conversation_without_end_ends() -> None:
    eap, device = server(), tunnelled()
    step = eap.step(device.first(), None)
    rounds = 0
    while isinstance(step, Challenge):
        rounds += 1
        step = eap.step(device.response(step.eap[1], Type.TTLS, b"\x40x"), step.state)
    assert "packets in one conversation" in why(step)
    assert rounds == ROUNDS_MAX + 1


def test_at_most_so_many_are_half_open_and_the_one_silent_longest_goes() -> None:
    clock = Clock()
    eap = EapServer(identity(), half_open_max=3, now=clock)
    devices = [tunnelled() for _ in range(4)]
    steps: list[Step] = []
    for device in devices[:3]:
        steps.append(eap.step(device.first(), None))
        clock.now_s += 1
    first = steps[0]
    assert isinstance(first, Challenge)
    steps[0] = eap.step(devices[0].answer(first.eap), first.state)
    steps.append(eap.step(devices[3].first(), None))
    assert len(eap.half_open) == 3
    assert eap.half_open.dropped == 1
    outcomes = [go_on(eap, device, step) for device, step in zip(devices, steps, strict=True)]
    assert [type(outcome) for outcome in outcomes] == [Proven, Failed, Proven, Proven]
    assert "over or was never begun" in why(outcomes[1])


def test_whoever_falls_silent_is_forgotten_after_thirty_seconds() -> None:
    clock = Clock()
    eap = EapServer(identity(), now=clock)
    device = tunnelled()
    step = eap.step(device.first(), None)
    assert isinstance(step, Challenge)
    clock.now_s += 29.9
    step = eap.step(device.answer(step.eap), step.state)
    assert isinstance(step, Challenge)
    clock.now_s += 30.0
    assert "never begun" in why(eap.step(device.answer(step.eap), step.state))
    assert eap.half_open.expired == 1
    assert len(eap.half_open) == 0


def test_a_decision_counts_though_the_table_was_emptied_meanwhile() -> None:
    clock = Clock()
    eap = EapServer(identity(), now=clock)
    device = certified()
    step = converse(eap, device)
    assert isinstance(step, Proven)
    clock.now_s += 60
    assert isinstance(eap.step(tunnelled().first(), None), Challenge)
    assert isinstance(go_on(eap, device, step.conversation.accept()), Accepted)


def test_a_renewed_certificate_is_met_by_new_conversations_only() -> None:
    eap = server("ec")
    old, new = tunnelled(kind="ec"), tunnelled(kind="rsa")
    step = eap.step(old.first(), None)
    eap.identity = identity("rsa")
    assert isinstance(go_on(eap, old, step), Proven)
    assert isinstance(converse(eap, new), Proven)


def test_a_device_that_says_who_it_is_anew_begins_anew() -> None:
    eap, device = server(), tunnelled()
    step = eap.step(device.first(), None)
    assert isinstance(step, Challenge)
    assert isinstance(go_on(eap, device, eap.step(device.first(), step.state)), Proven)
    assert len(eap.half_open) == 1


def test_padding_behind_a_packet_is_no_part_of_it() -> None:
    assert decode_response(b"\2\7\0\6\x15\0and more").data == b"\0"
