"""EAP against the whole appliance: hostap's own client, a pass, and what comes of it."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    pkcs12,
)

from edgegate import radius
from edgegate.passes.model import Unit
from edgegate.wifi.certificates import Certificates
from rig.wifi import WifiSite

WORD = "generated-word"


@pytest.fixture
def site(tmp_path: Path) -> WifiSite:
    made = WifiSite(tmp_path)
    made.member("ana", WORD, unit=Unit.MINUTE, amount=30)
    return made


def ttls(site: WifiSite, word: str = WORD, version: str = "1.3") -> str:
    return f"""
        eap=TTLS
        identity="ana"
        anonymous_identity="anonymous"
        password="{word}"
        phase2="auth=PAP"
        phase1="tls_disable_tlsv1_3={int(version == "1.2")}"
        ca_cert="{site.state}/wifi/ca.pem"
        domain_match="wifi.edgegate.internal"
    """


def client_certificate(site: WifiSite, login: str) -> str:
    """A network's lines for a certificate of that login."""
    made = Certificates(site.state)
    issued = made.issue(login, "password-of-file", datetime.now(UTC))
    key, certificate, _ = pkcs12.load_key_and_certificates(issued.pkcs12, b"password-of-file")
    assert key is not None
    assert certificate is not None
    (site.directory / "client.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
    (site.directory / "client.key").write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )
    return f"""
        eap=TLS
        identity="whatever"
        ca_cert="{site.state}/wifi/ca.pem"
        client_cert="{site.directory}/client.pem"
        private_key="{site.directory}/client.key"
        domain_match="wifi.edgegate.internal"
    """


@pytest.mark.parametrize("version", ["1.2", "1.3"])
async def test_a_login_in_a_tunnel_joins_by_its_pass(site: WifiSite, version: str) -> None:
    async with site.serving():
        outcome = await site.eapol_test(ttls(site, version=version))
        assert outcome.succeeded, outcome.text[-3000:]
        assert "MPPE keys OK: 1  mismatch: 0" in outcome.text
        assert "Attribute 27 (Session-Timeout) length=6" in outcome.text
        assert "Attribute 85 (Acct-Interim-Interval) length=6" in outcome.text
    (accepted,) = await asyncio.to_thread(site.entries, "wifi.accepted")
    assert (accepted["customer"], accepted["nas"]) == ("ana", "ap")


@pytest.mark.parametrize(("vendor", "told"), [("hostapd", True), ("unifi", True), ("cisco", False)])
async def test_a_refusal_in_the_tunnel_says_why_where_that_does_no_harm(
    site: WifiSite, vendor: str, told: bool
) -> None:
    async with site.serving(nas=f'vendor = "{vendor}"'):
        outcome = await site.eapol_test(ttls(site, word="wrong"))
        assert not outcome.succeeded
        assert ("Attribute 18 (Reply-Message)" in outcome.text) is told
        assert ("Name or password doesn" in outcome.text) is told
        assert "Attribute 79 (EAP-Message) length=6" in outcome.text


@pytest.mark.parametrize("version", ["1.2", "1.3"])
async def test_a_client_certificate_joins_until_it_is_revoked(
    site: WifiSite, version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(radius, "REVOKED_LOOK_S", 0.1)
    network = await asyncio.to_thread(client_certificate, site, "ana")
    network += f'phase1="tls_disable_tlsv1_3={int(version == "1.2")}"'
    async with site.serving():
        outcome = await site.eapol_test(network)
        assert outcome.succeeded, outcome.text[-3000:]
        assert "MPPE keys OK: 1  mismatch: 0" in outcome.text
        clients = Certificates(site.state).clients
        await asyncio.to_thread(clients.revoke_all, "ana", datetime.now(UTC))
        for _ in range(100):
            await asyncio.sleep(0.1)
            if not (outcome := await site.eapol_test(network)).succeeded:
                break
        assert not outcome.succeeded


@pytest.mark.parametrize("method", ["TTLS", "TLS"])
async def test_an_expired_pass_is_refused_whatever_was_proven(site: WifiSite, method: str) -> None:
    ended = datetime.now(UTC) - timedelta(minutes=1)
    await asyncio.to_thread(site.member, "ana", WORD, expires_at=ended)
    by_certificate = await asyncio.to_thread(client_certificate, site, "ana")
    network = ttls(site) if method == "TTLS" else by_certificate
    async with site.serving(nas='vendor = "hostapd"'):
        outcome = await site.eapol_test(network)
        assert not outcome.succeeded
        assert "CTRL-EVENT-EAP-FAILURE" in outcome.text
        assert "Attribute 18 (Reply-Message)" in outcome.text
    (denied,) = await asyncio.to_thread(site.entries, "access.denied")
    assert (denied["customer"], denied["reason"]) == ("ana", "expired")


async def test_a_certificate_of_nobody_is_refused(site: WifiSite) -> None:
    network = await asyncio.to_thread(client_certificate, site, "nobody")
    async with site.serving(nas='vendor = "hostapd"'):
        outcome = await site.eapol_test(network)
        assert not outcome.succeeded
        assert "Name or password doesn" in outcome.text


async def test_without_a_certificate_everything_but_eap_works(site: WifiSite) -> None:
    config = 'certificate = { chain = "/nowhere/chain.pem", key = "/nowhere/key.pem" }'
    async with site.serving(wifi=config, eap="no") as app:
        outcome = await site.eapol_test(ttls(site))
        assert not outcome.succeeded
        answer = await site.ask(f'User-Name = "ana", User-Password = "{WORD}"')
        assert answer.code == "Access-Accept"
        assert app.devices.devices()["wifi certificate"].detail
