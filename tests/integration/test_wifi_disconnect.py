"""Sessions are ended at their access point: named as it knows them, asked again, never believed."""

import asyncio
import socket
from collections import OrderedDict
from collections.abc import AsyncIterator

import pytest
from pyrad.packet import CoAACK, CoANAK, DisconnectACK, DisconnectNAK

from edgegate.wifi.attributes import Code
from edgegate.wifi.disconnect import Disconnector, Ending, Outcome
from edgegate.wifi.packet import Attributes
from rig.access_point import Word, access_point
from rig.radius import SECRET, nas

NOW_S = 1_800_000_000
SESSIONS = 300
"""More than there are identifiers."""
WAITS_S = (0.2, 0.2, 5.0)
SESSION: Attributes = ((1, b"ada"), (4, bytes((127, 0, 0, 1))), (31, b"AA-BB"), (44, b"S1"))


@pytest.fixture
async def asking() -> AsyncIterator[Disconnector]:
    async with Disconnector(waits_s=WAITS_S, now_s=lambda: NOW_S).open() as opened:
        yield opened


async def test_a_session_is_ended(asking: Disconnector) -> None:
    async with access_point(Word(DisconnectACK)) as there:
        ap = nas(vendor="hostapd", disconnect_port=there.port)
        outcome = await asking.end(ap, "127.0.0.1", SESSION)
    assert outcome == Outcome(Ending.DONE, None, 1)
    (heard,) = there.heard
    assert there.genuine == [True]
    assert heard.code == Code.DISCONNECT_REQUEST
    assert {kind: heard.get(kind) for kind in (44, 4, 55)} == {
        44: [b"S1"],
        4: [bytes((127, 0, 0, 1))],
        55: [NOW_S.to_bytes(4)],
    }
    assert there.datagrams[0][20] == 80


async def test_a_sessions_end_is_moved(asking: Disconnector) -> None:
    async with access_point(Word(CoAACK), Word(CoANAK, 401)) as there:
        ap = nas(vendor="unifi", disconnect_port=there.port)
        first = await asking.change_timeout(ap, "127.0.0.1", ((44, b"S1"),), 600)
        second = await asking.change_timeout(ap, "127.0.0.1", ((44, b"S1"),), 600)
    assert first.ending is Ending.DONE
    assert second == Outcome(Ending.REFUSED, 401, 1)
    assert there.heard[0].code == Code.COA_REQUEST
    assert there.heard[0].get(27) == [(600).to_bytes(4)]


async def test_a_session_that_is_gone_is_not_asked_for_again(asking: Disconnector) -> None:
    async with access_point(Word(DisconnectNAK, 503)) as there:
        ap = nas(vendor="hostapd", disconnect_port=there.port)
        outcome = await asking.end(ap, "127.0.0.1", SESSION)
    assert outcome == Outcome(Ending.GONE, 503, 1)
    assert len(there.heard) == 1


async def test_where_one_way_to_name_it_is_refused_the_next_is_tried(
    asking: Disconnector,
) -> None:
    async with access_point(Word(DisconnectNAK, 401), Word(DisconnectACK)) as there:
        ap = nas(vendor="hostapd", disconnect_port=there.port)
        outcome = await asking.end(ap, "127.0.0.1", SESSION)
    assert outcome == Outcome(Ending.DONE, None, 2)
    assert [31 in OrderedDict.keys(heard) for heard in there.heard] == [False, True]


@pytest.mark.parametrize("cause", [None, 501, 506, 999])
async def test_a_refusal_for_another_cause_is_the_outcome(
    asking: Disconnector, cause: int | None
) -> None:
    async with access_point(Word(DisconnectNAK, cause)) as there:
        ap = nas(vendor="hostapd", disconnect_port=there.port)
        outcome = await asking.end(ap, "127.0.0.1", SESSION)
    assert outcome == Outcome(Ending.REFUSED, cause, 1)


async def test_a_lost_request_is_sent_again_in_the_same_octets(asking: Disconnector) -> None:
    async with access_point(Word(None), Word(None), Word(DisconnectACK)) as there:
        ap = nas(vendor="hostapd", disconnect_port=there.port)
        outcome = await asking.end(ap, "127.0.0.1", SESSION)
    assert outcome == Outcome(Ending.DONE, None, 3)
    assert len(there.datagrams) == 3
    assert len(set(there.datagrams)) == 1


async def test_silence_has_an_end() -> None:
    async with Disconnector(waits_s=(0.05, 0.05)).open() as asking:
        async with access_point(Word(None)) as there:
            ap = nas(vendor="hostapd", disconnect_port=there.port)
            outcome = await asking.end(ap, "127.0.0.1", SESSION)
        assert outcome == Outcome(Ending.UNANSWERED, None, 2)
        assert asking._waiting == {}


@pytest.mark.parametrize(
    ("lie", "why"),
    [
        (Word(DisconnectACK, secret=SECRET + b"!"), "authenticator"),
        (Word(DisconnectACK, identifier_off=1), "unasked"),
        (Word(CoAACK), "code"),
        (Word(None, before=b"\x29\x00"), "malformed_short"),
    ],
)
async def test_nobody_elses_word_is_believed(asking: Disconnector, lie: Word, why: str) -> None:
    async with access_point(lie, Word(DisconnectNAK, 503)) as there:
        ap = nas(vendor="hostapd", disconnect_port=there.port)
        outcome = await asking.end(ap, "127.0.0.1", SESSION)
    assert outcome == Outcome(Ending.GONE, 503, 2)
    assert asking.counts[why] >= 1


async def test_a_word_said_twice_counts_once(asking: Disconnector) -> None:
    async with access_point(Word(DisconnectACK, twice=True)) as there:
        ap = nas(vendor="hostapd", disconnect_port=there.port)
        for _ in range(2):
            assert (await asking.end(ap, "127.0.0.1", SESSION)).ending is Ending.DONE
    assert asking.counts["unasked"] >= 1


async def test_what_nothing_names_is_not_asked(asking: Disconnector) -> None:
    outcome = await asking.end(nas(vendor="hostapd"), "127.0.0.1", ((1, b"ada"),))
    assert outcome == Outcome(Ending.UNNAMED)


async def test_where_no_way_leads_is_said_at_once(asking: Disconnector) -> None:
    # Linux sends nothing to all hosts for a socket that did not ask to.
    outcome = await asking.end(nas(vendor="hostapd"), "255.255.255.255", SESSION)
    assert outcome.ending is Ending.UNSENT


async def test_nobody_listening_is_silence() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    async with Disconnector(waits_s=(0.05,)).open() as asking:
        ap = nas(vendor="hostapd", disconnect_port=port)
        assert (await asking.end(ap, "127.0.0.1", SESSION)).ending is Ending.UNANSWERED


async def test_a_whole_house_is_ended_at_once(asking: Disconnector) -> None:
    async with access_point(Word(DisconnectACK)) as there:
        ap = nas(vendor="hostapd", disconnect_port=there.port)
        sessions = [((44, b"S%d" % number),) for number in range(SESSIONS)]
        outcomes = await asyncio.gather(
            *(asking.end(ap, "127.0.0.1", session) for session in sessions)
        )
    assert {outcome.ending for outcome in outcomes} == {Ending.DONE}
    assert {heard.get(44)[0] for heard in there.heard} == {session[0][1] for session in sessions}
