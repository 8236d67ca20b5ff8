"""The real radclient asks a RADIUS port, and takes its answers: it checks every authenticator."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

import pytest

from edgegate.wifi.attributes import AcctStatusType, Attribute, Code
from edgegate.wifi.endpoint import Address, Endpoint, Service
from edgegate.wifi.hiding import chap_matches, reveal_password
from edgegate.wifi.mac import asked_by_mac, asked_by_mac_chap
from edgegate.wifi.nas import Nas, NasTable, Signing
from edgegate.wifi.packet import Packet, Reply, number
from rig.radius import nas, radclient

PASSWORD = b"correct horse battery staple"
MAC = "0A1B2C3D4E5F"
SIGNED = "Message-Authenticator = 0x00"
NOTATIONS = [
    *("0a1b2c3d4e5f", "0A1B2C3D4E5F", "0a:1b:2c:3d:4e:5f", "0A:1B:2C:3D:4E:5F"),
    *("0a-1b-2c-3d-4e-5f", "0A-1B-2C-3D-4E-5F", "0a1b.2c3d.4e5f", "0a1b2c-3d4e5f"),
]


@dataclass
class Site:
    """One member, one device, and what was asked."""

    authentication: Address = ()
    accounting: Address = ()
    asked: list[Packet] = field(default_factory=list)
    gate: asyncio.Event | None = None
    ports: list[Endpoint] = field(default_factory=list)

    async def access(self, packet: Packet, asking: Nas) -> Reply:
        self.asked.append(packet)
        if self.gate is not None:
            await self.gate.wait()
        name = packet.text(Attribute.USER_NAME) or ""
        calling = packet.text(Attribute.CALLING_STATION_ID)
        hidden = packet.first(Attribute.USER_PASSWORD)
        chap = packet.first(Attribute.CHAP_PASSWORD)
        if chap is not None:
            challenge = packet.first(Attribute.CHAP_CHALLENGE) or packet.authenticator
            good = name == "ada" and chap_matches(PASSWORD, chap, challenge)
            good = good or asked_by_mac_chap(name, chap, challenge, calling) == MAC
        else:
            password = hidden and reveal_password(hidden, packet.authenticator, asking.secret)
            good = name == "ada" and password == PASSWORD
            good = good or asked_by_mac(name, password, calling) == MAC
        if not good:
            return Reply(Code.ACCESS_REJECT, ((Attribute.REPLY_MESSAGE, b"Not today."),))
        return Reply(Code.ACCESS_ACCEPT, ((Attribute.SESSION_TIMEOUT, number(3600)),))

    async def account(self, packet: Packet, _asking: Nas) -> Reply:
        self.asked.append(packet)
        return Reply(Code.ACCOUNTING_RESPONSE)


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    made = Site()
    table = NasTable([nas(signing=Signing.YES)])
    made.ports = [
        Endpoint(Service.AUTHENTICATION, table, made.access),
        Endpoint(Service.ACCOUNTING, table, made.account),
    ]
    async with AsyncExitStack() as stack:
        made.authentication, made.accounting = [
            await stack.enter_async_context(port.listening("127.0.0.1", 0)) for port in made.ports
        ]
        yield made


async def test_pap(site: Site) -> None:
    asked = f'User-Name = "ada", User-Password = "{PASSWORD.decode()}", {SIGNED}'
    said = await radclient(site.authentication, "auth", asked)
    assert said.received() == ["Access-Accept"]
    assert "Session-Timeout = 3600" in said.text
    assert said.text.index("Message-Authenticator", said.text.index("Received")) < said.text.index(
        "Session-Timeout"
    )


async def test_a_wrong_password_is_refused_with_its_sentence(site: Site) -> None:
    asked = f'User-Name = "ada", User-Password = "wrong", {SIGNED}'
    said = await radclient(site.authentication, "auth", asked)
    assert said.received() == ["Access-Reject"]
    assert "Not today." in said.text


@pytest.mark.parametrize(("password", "answer"), [(PASSWORD.decode(), "Accept"), ("x", "Reject")])
async def test_chap(site: Site, password: str, answer: str) -> None:
    asked = f'User-Name = "ada", CHAP-Password = "{password}", {SIGNED}'
    said = await radclient(site.authentication, "auth", asked)
    assert said.received() == [f"Access-{answer}"]


@pytest.mark.parametrize("identifier", [0, 127, 128, 255])
async def test_chap_of_every_identifier_with_a_challenge(site: Site, identifier: int) -> None:
    challenge = bytes(range(100, 116))
    head = bytes((identifier,))
    made = head + hashlib.md5(head + PASSWORD + challenge, usedforsecurity=False).digest()
    asked = (
        f'User-Name = "ada", CHAP-Password = 0x{made.hex()}, '
        f"CHAP-Challenge = 0x{challenge.hex()}, {SIGNED}"
    )
    said = await radclient(site.authentication, "auth", asked)
    assert said.received() == ["Access-Accept"], said.text
    assert site.asked[0].first(Attribute.CHAP_PASSWORD) == made


@pytest.mark.parametrize("notation", NOTATIONS)
@pytest.mark.parametrize("repeated", ['User-Password = "{0}"', 'CHAP-Password = "{0}"', ""])
async def test_a_device_by_its_address(site: Site, notation: str, repeated: str) -> None:
    asked = [
        f'User-Name = "{notation}"',
        'Calling-Station-Id = "0A-1B-2C-3D-4E-5F"',
        repeated.format(notation),
        SIGNED,
    ]
    said = await radclient(site.authentication, "auth", ", ".join(filter(None, asked)))
    assert said.received() == ["Access-Accept"], said.text


async def test_another_device_is_refused(site: Site) -> None:
    asked = f'User-Name = "0a1b2c3d4e50", User-Password = "0a1b2c3d4e50", {SIGNED}'
    said = await radclient(site.authentication, "auth", asked)
    assert said.received() == ["Access-Reject"]


@pytest.mark.parametrize("which", ["authentication", "accounting"])
async def test_a_port_says_that_it_is_there(site: Site, which: str) -> None:
    said = await radclient(getattr(site, which), "status", SIGNED)
    kind = {"authentication": "Access-Accept", "accounting": "Accounting-Response"}[which]
    assert said.received() == [kind], said.text
    assert site.asked == []


async def test_accounting(site: Site) -> None:
    asked = 'Acct-Status-Type = Start, Acct-Session-Id = "S1", User-Name = "ada"'
    said = await radclient(site.accounting, "acct", asked)
    assert said.received() == ["Accounting-Response"], said.text
    assert site.asked[0].number(Attribute.ACCT_STATUS_TYPE) == AcctStatusType.START


async def test_another_secret_gets_no_answer(site: Site) -> None:
    asked = f'User-Name = "ada", User-Password = "x", {SIGNED}'
    said = await radclient(site.authentication, "auth", asked, "-t", "1", secret=b"another secret")
    assert said.received() == []
    assert said.status != 0
    acct = "Acct-Status-Type = Start"
    said = await radclient(site.accounting, "acct", acct, "-t", "1", secret=b"another secret")
    assert said.received() == []
    assert site.asked == []


async def test_an_unsigned_request_gets_no_answer_where_signatures_are_required(
    site: Site,
) -> None:
    asked = f'User-Name = "ada", User-Password = "{PASSWORD.decode()}"'
    said = await radclient(site.authentication, "auth", asked, "-t", "1")
    assert said.received() == []
    assert site.ports[0].counts["ap", "refused", "unsigned"] == 1


async def test_radclient_asks_again_and_is_answered_once_decided(site: Site) -> None:
    site.gate = asyncio.Event()
    asked = f'User-Name = "ada", User-Password = "{PASSWORD.decode()}", {SIGNED}'
    running = asyncio.create_task(
        radclient(site.authentication, "auth", asked, "-r", "20", "-t", "1")
    )
    counts = site.ports[0].counts
    async with asyncio.timeout(60):
        while not counts["ap", "dropped", "deciding"]:  # noqa: ASYNC110 - a count has no event
            await asyncio.sleep(0.05)
    site.gate.set()
    said = await running
    assert said.received() == ["Access-Accept"]
    assert len(site.asked) == 1


async def test_a_hundred_members_at_once(site: Site) -> None:
    asked = f'User-Name = "ada", User-Password = "{PASSWORD.decode()}", {SIGNED}'
    said = await radclient(site.authentication, "auth", asked, "-c", "100", "-p", "50", "-q")
    assert said.status == 0
    assert site.ports[0].counts["ap", "answered", "access_accept"] == 100
