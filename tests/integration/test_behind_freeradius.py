"""FreeRADIUS before the real appliance, by the blocks of docs/behind-freeradius.md as they are.

Only addresses, ports, secrets and how long it waits are put in. It also answers for staff of its
own, and knows EAP.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import pytest

from edgegate.app import App
from edgegate.wifi.attributes import Attribute, Code
from edgegate.wifi.packet import (
    Packet,
    Reply,
    decode,
    encode_reply,
    message_authenticator_matches,
    request_authenticator_matches,
)
from rig.freeradius import FreeRadius, free_udp_port
from rig.radius import SECRET
from rig.wifi import Answer, Eapol, WifiSite, eapol_test, radclient

PAGE = Path(__file__).parents[2] / "docs" / "behind-freeradius.md"
MEMBERS = 'Called-Station-Id = "02-00-00-00-00-FF:Members"'
PHONE = 'Calling-Station-Id = "02-00-00-00-00-01"'
LAPTOP = 'Calling-Station-Id = "02-00-00-00-00-02"'
WORD = SECRET.decode()
WAIT_S = 60.0
VLAN = 40

MODULES = """
always ok {
    rcode = ok
}
pap {
}
eap {
    default_eap_type = md5
    md5 {
    }
}
"""

SITE = """
server default {
    listen {
        type = auth
        ipaddr = 127.0.0.1
        port = {auth_port}
    }
    listen {
        type = acct
        ipaddr = 127.0.0.1
        port = {acct_port}
    }
    authorize {
        edgegate
        if (&User-Name == "staff") {
            update control {
                &Cleartext-Password := "of the house"
            }
        }
        eap {
            ok = return
        }
        pap
    }
    authenticate {
        Auth-Type PAP {
            pap
        }
        eap
    }
    preacct {
        edgegate
    }
    accounting {
        ok
    }
}
"""
"""As Debian's `default`, with what the page tells to add, and staff."""


def block(name: str) -> str:
    """A block of the page, by the file that it belongs to."""
    pattern = rf"^```\n# {re.escape(name)}\n(.*?)^```"
    found = re.search(pattern, PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    assert found is not None, name
    return found[1]


class AccessPoint(asyncio.DatagramProtocol):
    """Takes Disconnect-Requests, and does what they say."""

    def __init__(self) -> None:
        self.told: asyncio.Queue[Packet] = asyncio.Queue()
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # No subclass of it in the event loop's own eyes, though it is one in all else.
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, address: tuple[str | int, ...]) -> None:
        packet = decode(data)
        assert packet.code == Code.DISCONNECT_REQUEST
        assert request_authenticator_matches(data, SECRET)
        assert message_authenticator_matches(data, packet, SECRET, bytes(16))
        self.told.put_nowait(packet)
        assert self._transport is not None
        answer = encode_reply(Reply(Code.DISCONNECT_ACK), packet, SECRET)
        self._transport.sendto(answer, address)


class Network:
    """A site behind FreeRADIUS: what an access point sends goes to that."""

    def __init__(self, site: WifiSite) -> None:
        self.site = site
        self.disconnect_port, self.nas_port = free_udp_port(), free_udp_port()
        self.ap = AccessPoint()
        self.radius = self._freeradius()
        self.app: App

    def _freeradius(self) -> FreeRadius:
        proxy, disconnect = block("proxy.conf"), block("sites-available/edgegate-disconnect")
        for name in ("THE-SECRET-OF-STEP-1", "THE-SECRET-OF-THE-ACCESS-POINT"):
            proxy, disconnect = (text.replace(name, f'"{WORD}"') for text in (proxy, disconnect))
        proxy = (
            proxy.replace("192.0.2.10", "127.0.0.1")
            .replace("response_window = 6", "response_window = 1")
            .replace("port = 1812", f"port = {self.site.auth_port}")
            .replace("port = 1813", f"port = {self.site.acct_port}")
        )
        disconnect = (
            disconnect.replace("ipaddr = *\n    port = 3799", "ipaddr = *\n    port = {listen}")
            .replace("port = 3799", f"port = {self.nas_port}")
            .replace("192.0.2.20", "127.0.0.1")
        )
        return FreeRadius(
            self.site.directory / "freeradius",
            secret=WORD,
            top=f"proxy_requests = yes\n{proxy}",
            modules=MODULES,
            sites=f"policy {{\n{block('policy.d/edgegate')}}}\n{SITE}{disconnect}",
            values={"listen": self.disconnect_port},
        )

    @asynccontextmanager
    async def serving(self, wifi: str = "", tail: str = "") -> AsyncIterator[None]:
        """The appliance at work."""
        nas = (
            'vendor = "hostapd"\nrequire_message_authenticator = "yes"\n'
            f"disconnect_port = {self.disconnect_port}"
        )
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(
            lambda: self.ap, ("127.0.0.1", self.nas_port)
        )
        try:
            async with self.site.serving(wifi=wifi, nas=nas, tail=tail) as self.app:
                yield
        finally:
            transport.close()

    async def ask(self, attributes: str, kind: str = "auth", *options: str) -> Answer:
        """Be an access point that does not sign: FreeRADIUS signs what it sends on."""
        port = self.radius.auth_port if kind == "auth" else self.radius.acct_port
        return await radclient(attributes, kind, port, *options)

    async def login(self, password: str, *more: str) -> Answer:
        """Sign Ana in at the members' network."""
        given = ('User-Name = "ana"', f'User-Password = "{password}"', MEMBERS, *more)
        return await self.ask(", ".join(given))

    async def join(self, password: str) -> Eapol:
        """Let a device of hers join by EAP-TTLS."""
        file = self.site.directory / "eapol_test.conf"
        authority = self.site.state / "wifi" / "ca.pem"
        network = (
            'network={\nkey_mgmt=WPA-EAP\neap=TTLS\nidentity="ana"\nphase2="auth=PAP"\n'
            f'anonymous_identity="anonymous"\npassword="{password}"\nca_cert="{authority}"\n}}\n'
        )
        await asyncio.to_thread(file.write_text, network)
        calling = "-N30:s:02-00-00-00-00-FF:Members"
        return await eapol_test(file, self.radius.auth_port, calling)


@pytest.fixture
def network(tmp_path: Path) -> Iterator[Network]:
    site = WifiSite(tmp_path)
    site.member("ana", "generated-password")
    network = Network(site)
    with network.radius:
        yield network


async def test_a_password_is_decided_by_the_appliance(network: Network) -> None:
    async with network.serving(tail=f"[wifi.vlans]\ndefault = {VLAN}"):
        accepted = await network.login("generated-password", PHONE)
        refused = await network.login("wrong", PHONE)
        counts = network.app.wifi.counts() if network.app.wifi is not None else None
    assert accepted.code == "Access-Accept", accepted.text
    given = accepted.attributes
    assert 0 < int(given["Session-Timeout"]) <= 90_000
    assert given["User-Name"] == "ana"
    assert given["Acct-Interim-Interval"] == "300"
    assert given["Tunnel-Private-Group-Id:0"] == str(VLAN)
    assert refused.code == "Access-Reject"
    assert "password" in refused.attributes["Reply-Message"]
    assert counts is not None
    # Nothing came unsigned: `require_message_authenticator = "yes"` would have counted it.
    assert (counts.accepted, counts.refused, counts.unanswered) == (1, 1, {})


async def test_everybody_else_is_decided_by_freeradius(network: Network) -> None:
    staff = 'User-Name = "staff", User-Password = "of the house"'
    async with network.serving():
        elsewhere = 'Called-Station-Id = "02-00-00-00-00-FF:Office"'
        accepted = await network.ask(f"{staff}, {elsewhere}")
        stranger = await network.ask(f'User-Name = "ana", User-Password = "x", {elsewhere}')
        members = await network.ask(f"{staff}, {MEMBERS}")
        counts = network.app.wifi.counts() if network.app.wifi is not None else None
    assert accepted.code == "Access-Accept", accepted.text
    assert "Session-Timeout" not in accepted.attributes
    assert stranger.code == "Access-Reject"
    # The appliance knows no staff, and it alone decides about the members' network.
    assert members.code == "Access-Reject"
    assert counts is not None
    assert (counts.accepted, counts.refused) == (0, 1)


async def test_eap_ttls_goes_through(network: Network) -> None:
    async with network.serving():
        joined, output = await network.join("generated-password")
        turned_away, refusal = await network.join("wrong")
    assert joined, output[-3000:]
    assert "MPPE keys OK: 1  mismatch: 0" in output
    assert "Attribute 27 (Session-Timeout)" in output
    assert not turned_away
    assert "code=3 (Access-Reject)" in refusal


async def test_accounting_reaches_the_appliance(network: Network) -> None:
    async with network.serving():
        accepted = await network.login("generated-password", PHONE)
        session = (
            f'Acct-Session-Id = "S1", Class = {accepted.attributes["Class"]},'
            f' NAS-Identifier = "ap-1", {MEMBERS}, {PHONE}'
        )
        answers = [
            await network.ask(f"Acct-Status-Type = {status}, {session}", "acct")
            for status in (
                "Start",
                "Interim-Update, Acct-Session-Time = 60",
                "Stop, Acct-Session-Time = 90, Acct-Terminate-Cause = User-Request",
            )
        ]
    assert [answer.code for answer in answers] == ["Accounting-Response"] * 3, answers[0].text
    (started,) = await asyncio.to_thread(network.site.entries, "wifi.started")
    stopped = await asyncio.to_thread(network.site.entries, "wifi.stopped")
    (of_session,) = [entry for entry in stopped if entry.get("number") == "S1"]
    assert started["customer"] == of_session["customer"] == "ana"
    assert started["place"].endswith("/ap-1")
    assert of_session["seconds"] == 90


async def test_a_disconnect_goes_back_to_the_access_point(network: Network) -> None:
    """One device too many: the first is sent off, at the access point behind FreeRADIUS."""
    async with network.serving(wifi="devices_max = 1"):
        accepted = await network.login("generated-password", PHONE)
        session = f'Acct-Session-Id = "S1", Class = {accepted.attributes["Class"]}, {MEMBERS}'
        await network.ask(f"Acct-Status-Type = Start, {session}, {PHONE}", "acct")
        await network.login("generated-password", LAPTOP)
        async with asyncio.timeout(WAIT_S):
            told = await network.ap.told.get()
            entries: list[dict[str, object]] = []
            while not entries:
                await asyncio.sleep(0.05)
                entries = await asyncio.to_thread(network.site.entries, "wifi.disconnected")
    assert told.text(Attribute.ACCT_SESSION_ID) == "S1"
    assert entries[0]["outcome"] == "acked"


async def test_an_appliance_that_is_back_is_asked_again(network: Network) -> None:
    """FreeRADIUS gives it up while it is gone, and finds out by Status-Server that it is back."""
    gone = await network.login("generated-password", PHONE)
    assert gone.code != "Access-Accept"
    async with network.serving(), asyncio.timeout(WAIT_S):
        assert network.app.wifi is not None
        counts = network.app.wifi.authentication.counts
        while not counts["ap", "answered", "access_accept"]:  # noqa: ASYNC110 - a counter
            # Nobody signs in: it was asked by Status-Server.
            await asyncio.sleep(0.05)
        assert network.app.wifi.counts().accepted == 0
        accepted = await network.login("generated-password", PHONE)
    assert accepted.code == "Access-Accept", accepted.text
