"""EAP packets that do not fit, conversations without end, and how many are under way."""

import pytest

from edgegate.wifi.eap.packet import Type, decode_response
from edgegate.wifi.eap.server import ROUNDS_MAX, EapServer
from edgegate.wifi.eap.steps import Accepted, Challenge, Failed, Ignored, Proven, Step
from rig.eap_fuzz import Clock
from rig.eap_peer import certified, converse, go_on, server, tunnelled, why
from rig.wifi_papers import identity


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
        (b"\x80\0\1\0\0", "more than 16384 bytes"),
        (b"\x80\0\0\0\1ab", "more bytes than"),
        (b"\x80\0\0\0\3ab", "fewer bytes than"),
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


def test_a_crowd_at_one_access_point_leaves_room_to_the_others() -> None:
    clock = Clock()
    eap = EapServer(identity(), half_open_max=8, now=clock)
    device = tunnelled()
    step = eap.step(device.first(), None, source="quiet")
    for _ in range(50):
        assert isinstance(eap.step(tunnelled().first(), None, source="crowded"), Challenge)
    other = eap.step(tunnelled().first(), None, source="other")
    assert isinstance(step, Challenge)
    assert isinstance(other, Challenge)
    answer = device.answer(step.eap)
    assert isinstance(eap.step(answer, step.state, source="quiet"), Challenge)
    assert len(eap.half_open) == 8
    assert eap.half_open.dropped == 44


def test_nobody_goes_on_with_what_began_at_another_access_point() -> None:
    eap, device = server(), tunnelled()
    step = eap.step(device.first(), None, source="one")
    assert isinstance(step, Challenge)
    answer = device.answer(step.eap)
    assert isinstance(eap.step(answer, step.state, source="other"), Failed)
    assert isinstance(eap.step(answer, step.state, source="one"), Challenge)


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
