"""Whatever packet comes again is answered in the same octets, and decided once."""

import asyncio
import hashlib
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cryptography import x509

from edgegate.wifi import verifiers
from edgegate.wifi.attributes import AcctStatusType, Attribute, Code
from edgegate.wifi.eap.packet import Type
from edgegate.wifi.hiding import hide_password
from edgegate.wifi.packet import Attributes, Packet, decode, encode_request, number, split
from rig import eap_peer
from rig.radius import SECRET
from rig.wifi import WAIT_S, WifiSite

WORD = b"generated-password"
PHONE = (int(Attribute.CALLING_STATION_ID), b"02-00-00-00-00-01")
TIMES = 3


@pytest.fixture
def site(tmp_path: Path) -> WifiSite:
    made = WifiSite(tmp_path)
    made.member("ana", WORD.decode())
    made.member("bob")
    made.put(
        made.login("bob", verifiers.of_sealed(WORD, made.key, made.lookup_of("bob"))),
        made.device("ana", "02:00:00:00:00:01"),
    )
    return made


class AccessPoint:
    """One that loses every answer but the last of each packet."""

    def __init__(self, socket_: socket.socket) -> None:
        self._socket = socket_

    def ask(self, code: Code, attributes: Attributes, own: bytes | None = None) -> Packet:
        """Send the same octets so often; the answer, which is the same each time."""
        own = own or (None if code is Code.ACCOUNTING_REQUEST else os.urandom(16))
        request = encode_request(code, os.urandom(1)[0], attributes, SECRET, own)
        answers = set()
        for _ in range(TIMES):
            self._socket.send(request)
            answers.add(self._socket.recv(4096))
        (answer,) = answers
        return decode(answer)

    def converse(self, device: eap_peer.Device) -> Packet:
        """Let a device authenticate by EAP; the last answer."""
        eap, state = device.first(), b""
        while True:
            stated = ((int(Attribute.STATE), state),) if state else ()
            packed = (*split(Attribute.EAP_MESSAGE, eap), *stated, PHONE)
            answer = self.ask(Code.ACCESS_REQUEST, packed)
            if answer.code != Code.ACCESS_CHALLENGE:
                return answer
            state = answer.first(Attribute.STATE) or b""
            eap = device.answer(answer.concatenated(Attribute.EAP_MESSAGE) or b"")


@contextmanager
def asking(port: int) -> Iterator[AccessPoint]:
    with socket.socket(type=socket.SOCK_DGRAM) as made:
        made.settimeout(WAIT_S)
        made.connect(("127.0.0.1", port))
        yield AccessPoint(made)


async def counted(site: WifiSite, kind: str) -> int:
    found = await asyncio.to_thread(site.entries, kind)
    return len([entry for entry in found if "session" not in entry or kind != "wifi.stopped"])


def by_pap() -> tuple[Attributes, bytes]:
    own = os.urandom(16)
    hidden = hide_password(WORD, own, SECRET)
    return ((Attribute.USER_NAME, b"ana"), (Attribute.USER_PASSWORD, hidden), PHONE), own


def by_chap() -> tuple[Attributes, bytes]:
    own = os.urandom(16)
    response = hashlib.md5(b"\7" + WORD + own, usedforsecurity=False).digest()
    return ((Attribute.USER_NAME, b"bob"), (Attribute.CHAP_PASSWORD, b"\7" + response)), own


def by_address() -> tuple[Attributes, bytes]:
    return ((Attribute.USER_NAME, b"020000000001"), PHONE), os.urandom(16)


@pytest.mark.parametrize("login", [by_pap, by_chap, by_address])
async def test_a_login_without_eap(
    site: WifiSite, login: Callable[[], tuple[Attributes, bytes]]
) -> None:
    def ask() -> None:
        with asking(site.auth_port) as access_point:
            attributes, own = login()
            assert access_point.ask(Code.ACCESS_REQUEST, attributes, own).code == 2
            stranger = b"020000000009" if login is by_address else b"nobody"
            proven = (pair for pair in attributes[1:] if pair != PHONE)
            refused = ((Attribute.USER_NAME, stranger), *proven)
            assert access_point.ask(Code.ACCESS_REQUEST, refused, own).code == 3

    async with site.serving(eap="no") as app:
        await asyncio.to_thread(ask)
        counts = app.wifi.counts()
        assert (counts.accepted, counts.again, counts.refused) == (1, 0, 1)
    assert await counted(site, "wifi.accepted") == 1
    assert await counted(site, "access.granted") == 1
    assert await counted(site, "pass.debited") == 1
    assert await counted(site, "access.denied") == 1


@pytest.mark.parametrize("version", ["1.2", "1.3"])
async def test_every_packet_of_a_conversation(site: WifiSite, version: str) -> None:
    def ask() -> Packet:
        authority = x509.load_pem_x509_certificate((site.state / "wifi/ca.pem").read_bytes())
        context = eap_peer.client_context(version, authority)
        inner = eap_peer.pap("ana", WORD)
        device = eap_peer.Device(context, Type.TTLS, inner, packet_max=300)
        with asking(site.auth_port) as access_point:
            return access_point.converse(device)

    async with site.serving() as app:
        answer = await asyncio.to_thread(ask)
        assert answer.code == Code.ACCESS_ACCEPT
        assert (app.wifi.counts().accepted, len(app.wifi.server.eap.half_open)) == (1, 0)
    assert await counted(site, "wifi.accepted") == 1
    assert await counted(site, "pass.debited") == 1


async def test_accounting_of_every_kind(site: WifiSite) -> None:
    def ask() -> None:
        with asking(site.auth_port) as access_point:
            attributes, own = by_pap()
            accept = access_point.ask(Code.ACCESS_REQUEST, attributes, own)
            assert access_point.ask(Code.STATUS_SERVER, ()).code == Code.ACCESS_ACCEPT
        class_ = (int(Attribute.CLASS), accept.first(Attribute.CLASS) or b"")
        named = ((int(Attribute.ACCT_SESSION_ID), b"s1"), class_, PHONE)
        with asking(site.acct_port) as access_point:
            for status in AcctStatusType:
                told = ((int(Attribute.ACCT_STATUS_TYPE), number(status)), *named)
                answer = access_point.ask(Code.ACCOUNTING_REQUEST, told)
                assert answer.code == Code.ACCOUNTING_RESPONSE

    async with site.serving(eap="no") as app:
        await asyncio.to_thread(ask)
        repeated = app.wifi.bookkeeping.counts["ap", "repeated", "accounting"]
        assert repeated == (TIMES - 1) * len(AcctStatusType)
    assert await counted(site, "wifi.started") == 1
    assert await counted(site, "wifi.stopped") == 1
