"""The real appliance against who knows the network, an access point's address, or even a secret."""

import asyncio
import hashlib
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from edgegate.wifi import verifiers
from edgegate.wifi.attributes import AcctStatusType, Attribute, Code
from edgegate.wifi.hiding import hide_password
from edgegate.wifi.packet import Packet, TypeAndValue, decode, encode_request, number
from rig.radius import SECRET, unsigned
from rig.wifi import WAIT_S, WifiSite

WORD = "generated-password"
PHONE = (int(Attribute.CALLING_STATION_ID), b"02-00-00-00-00-01")
ALL_ONES = b"\xff" * 4


@pytest.fixture
def site(tmp_path: Path) -> WifiSite:
    made = WifiSite(tmp_path)
    made.member("ana", WORD)
    return made


@contextmanager
def asking(port: int) -> Iterator[socket.socket]:
    with socket.socket(type=socket.SOCK_DGRAM) as made:
        made.settimeout(WAIT_S)
        made.connect(("127.0.0.1", port))
        yield made


async def answer_to(port: int, request: bytes) -> Packet:
    """What the appliance answers to these octets."""

    def ask() -> Packet:
        with asking(port) as made:
            made.send(request)
            return decode(made.recv(4096))

    return await asyncio.to_thread(ask)


def access(name: str, word: str = WORD, *more: TypeAndValue) -> bytes:
    own = os.urandom(16)
    hidden = hide_password(word.encode(), own, SECRET)
    pairs = ((Attribute.USER_NAME, name.encode()), (Attribute.USER_PASSWORD, hidden), *more)
    return encode_request(Code.ACCESS_REQUEST, own[0], pairs, SECRET, own)


def accounting(status: AcctStatusType, session: bytes, *more: TypeAndValue) -> bytes:
    pairs = ((Attribute.ACCT_STATUS_TYPE, number(status)), (Attribute.ACCT_SESSION_ID, session))
    return encode_request(Code.ACCOUNTING_REQUEST, 7, (*pairs, *more), SECRET)


async def joined(site: WifiSite) -> TypeAndValue:
    """Ana signs in; the Class that she got."""
    answer = await answer_to(site.auth_port, access("ana", WORD, PHONE))
    assert answer.code == Code.ACCESS_ACCEPT
    return int(Attribute.CLASS), answer.first(Attribute.CLASS) or b""


async def test_counters_beyond_all_bounds_count_nothing_and_stop_nobody(site: WifiSite) -> None:
    beyond = tuple(
        (int(kind), ALL_ONES)
        for kind in (
            Attribute.ACCT_SESSION_TIME,
            Attribute.ACCT_INPUT_OCTETS,
            Attribute.ACCT_INPUT_GIGAWORDS,
            Attribute.ACCT_OUTPUT_OCTETS,
            Attribute.ACCT_OUTPUT_GIGAWORDS,
            Attribute.ACCT_DELAY_TIME,
        )
    )
    minute = (int(Attribute.ACCT_SESSION_TIME), number(60))
    async with site.serving(eap="no") as app:
        told = (await joined(site), PHONE)
        statuses = AcctStatusType.START, AcctStatusType.INTERIM_UPDATE, AcctStatusType.STOP
        for name in (b"odd", b"even"):
            start = accounting(statuses[0], name, *told)
            assert (await answer_to(site.acct_port, start)).code == Code.ACCOUNTING_RESPONSE
        await answer_to(site.acct_port, accounting(statuses[1], b"even", *told, minute))
        for status in statuses:
            packet = accounting(status, b"odd", *told, *beyond)
            assert (await answer_to(site.acct_port, packet)).code == Code.ACCOUNTING_RESPONSE
            await app.wifi.accounting.flush()
    query = "SELECT number, seconds, received, started_at > 0 FROM wifi_session ORDER BY number"
    assert site.rows(query) == [("even", 60, 0, 1), ("odd", 0, 0, 1)]


async def test_names_that_would_draw_on_a_terminal_are_written_in_hex(site: WifiSite) -> None:
    name = (int(Attribute.NAS_IDENTIFIER), b"lobby\nERROR forged \x1b[2J")
    async with site.serving(eap="no"):
        for word in (b"\x1b[2J", b"\xff\xfe", "Wände".encode()):
            packet = accounting(AcctStatusType.START, word, await joined(site), PHONE, name)
            assert (await answer_to(site.acct_port, packet)).code == Code.ACCOUNTING_RESPONSE
    started = await asyncio.to_thread(site.entries, "wifi.started")
    assert [entry["number"] for entry in started] == [b"\x1b[2J".hex(), "fffe", "Wände"]
    assert all(entry["place"].isprintable() for entry in started)


async def test_who_has_only_an_access_points_address_lets_no_device_in(site: WifiSite) -> None:
    await asyncio.to_thread(site.put, site.device("ana", "AA:BB:CC:DD:EE:FF"))
    name, own = (int(Attribute.USER_NAME), b"aabbccddeeff"), os.urandom(16)
    response = hashlib.md5(b"\1" + name[1] + own, usedforsecurity=False).digest()
    for_all = ((), ((int(Attribute.CHAP_PASSWORD), b"\1" + response),))
    empty = (int(Attribute.USER_PASSWORD), hide_password(b"", own, SECRET))
    async with site.serving(eap="no") as app:
        for more in for_all:
            forged = unsigned(encode_request(Code.ACCESS_REQUEST, 1, (name, *more), b"x" * 16, own))
            assert (await answer_to(site.auth_port, forged)).code == Code.ACCESS_REJECT
        assert app.wifi.server.counts["ap", "a device's address, unsigned"] == 2
        old = unsigned(encode_request(Code.ACCESS_REQUEST, 2, (name, empty), SECRET, own))
        assert (await answer_to(site.auth_port, old)).code == Code.ACCESS_ACCEPT
        signed = encode_request(Code.ACCESS_REQUEST, 3, (name,), SECRET, own)
        assert (await answer_to(site.auth_port, signed)).code == Code.ACCESS_ACCEPT
    nas = 'require_message_authenticator = "no"'
    async with site.serving(eap="no", nas=nas):
        assert (await answer_to(site.auth_port, forged)).code == Code.ACCESS_ACCEPT


async def test_a_password_is_not_guessed_and_its_owners_phone_comes_in(
    site: WifiSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verifiers, "_verified", lambda _verifier, password: password == b"right")
    chosen = await asyncio.to_thread(verifiers.of_chosen, b"right")
    await asyncio.to_thread(site.put, site.login("ana", chosen))
    async with site.serving(eap="no"):
        assert (await answer_to(site.auth_port, access("ana", "right", PHONE))).code == 2
    # The appliance begins anew, and knows no password any more.
    async with site.serving(eap="no") as app:
        refused = [await answer_to(site.auth_port, access("ana", f"{n}")) for n in range(10)]
        assert {answer.code for answer in refused} == {Code.ACCESS_REJECT}
        again = await answer_to(site.auth_port, access("ana", "right"))
        assert again.code == Code.ACCESS_REJECT
        assert again.first(Attribute.REPLY_MESSAGE) == refused[0].first(Attribute.REPLY_MESSAGE)
        counted = app.wifi.counts().unanswered
        assert counted == {"ap: too many wrong passwords for one login": 1}
        assert (await answer_to(site.auth_port, access("ana", "right", PHONE))).code == 2


async def test_no_watch_and_no_sentence_tells_which_logins_there_are(
    site: WifiSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verifiers, "_verified", lambda _verifier, password: password == b"right")
    chosen = await asyncio.to_thread(verifiers.of_chosen, b"right")
    await asyncio.to_thread(site.member, "bob")
    await asyncio.to_thread(site.put, site.login("bob", chosen))
    told: list[str] = []

    async def pretend(_slowly: object) -> None:
        told.append("pretended")

    monkeypatch.setattr(verifiers.Slowly, "pretend", pretend)
    asked: tuple[tuple[str, str, list[str]], ...] = (
        ("ana", "wrong", ["pretended"]),
        ("nobody", "wrong", ["pretended"]),
        ("bob", "wrong", []),
        # It is known by now that it does not fit.
        ("bob", "wrong", ["pretended"]),
        ("bob", "right", []),
        ("ana", WORD, []),
    )
    sentences = set()
    async with site.serving(eap="no"):
        for name, word, expected in asked:
            told.clear()
            answer = await answer_to(site.auth_port, access(name, word))
            assert told == expected, name
            if answer.code == Code.ACCESS_REJECT:
                sentences.add(answer.first(Attribute.REPLY_MESSAGE))
    assert len(sentences) == 1
