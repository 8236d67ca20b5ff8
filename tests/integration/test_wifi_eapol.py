"""hostap's own EAP client against the EAP server: methods, versions, keys, fragments, refusals."""

import asyncio
from collections.abc import Callable
from itertools import product
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
)

from edgegate.wifi.authority import KeyKind, bundle, certificate_pem, key_pem, serial_of
from edgegate.wifi.proofs import CertificateProof, LoginProof
from rig.eap_site import EapSite, Outcome, eap_site, eapol_test
from rig.wifi_papers import SITE, authority, client, identity

KINDS: tuple[KeyKind, ...] = ("ec", "rsa")
VERSIONS = ("1.2", "1.3")
MATRIX = list(product(KINDS, VERSIONS, (300, 1024)))


def tls_version(version: str) -> str:
    """Client 2.10 speaks TLS 1.3 only where it is told to."""
    return f'phase1="tls_disable_tlsv1_3={int(version == "1.2")}"'


def certificates(directory: Path, kind: KeyKind, by: str = SITE) -> str:
    """The lines of a network that has a client certificate."""
    certificate, key = client("anna", kind, by)
    (directory / "client.pem").write_bytes(certificate_pem(certificate))
    (directory / "client.key").write_bytes(key_pem(key))
    return f'client_cert="{directory}/client.pem"\nprivate_key="{directory}/client.key"'


def trust(directory: Path, kind: KeyKind, name: str = SITE) -> str:
    """The lines of a network that knows an authority, and the server's name."""
    (directory / "ca.pem").write_bytes(certificate_pem(authority(kind, name).certificate))
    return f'ca_cert="{directory}/ca.pem"\ndomain_match="wifi.example.org"'


def ttls(directory: Path, kind: KeyKind = "ec", version: str = "1.3") -> str:
    return f"""
        eap=TTLS
        identity="anna"
        anonymous_identity="anonymous@example.org"
        password="wonderful"
        phase2="auth=PAP"
        {tls_version(version)}
        {trust(directory, kind)}
    """


def tls(directory: Path, kind: KeyKind = "ec", version: str = "1.3", by: str = SITE) -> str:
    return f"""
        eap=TLS
        identity="anna@example.org"
        {tls_version(version)}
        {trust(directory, kind)}
        {certificates(directory, kind, by)}
    """


def assert_admitted(site: EapSite, outcome: Outcome, version: str) -> None:
    assert outcome.succeeded, (site.whys, outcome.output[-3000:])
    assert "MPPE keys OK: 1  mismatch: 0" in outcome.output
    assert f"Using TLS version TLSv{version}" in outcome.output
    assert site.whys == []
    assert len(site.eap.half_open) == 0


@pytest.mark.parametrize(("kind", "version", "size"), MATRIX)
async def test_ttls_pap(kind: KeyKind, version: str, size: int, tmp_path: Path) -> None:
    async with eap_site(identity(kind)) as site:
        network = ttls(tmp_path, kind, version) + f"fragment_size={size}"
        outcome = await eapol_test(site, network, tmp_path, framed_mtu=size + 4)
    assert_admitted(site, outcome, version)
    assert site.proofs == [LoginProof("anna", b"wonderful")]
    assert site.identities == ["anonymous@example.org"]


@pytest.mark.parametrize(("kind", "version", "size"), MATRIX)
async def test_eap_tls(kind: KeyKind, version: str, size: int, tmp_path: Path) -> None:
    async with eap_site(identity(kind)) as site:
        network = tls(tmp_path, kind, version) + f"fragment_size={size}"
        outcome = await eapol_test(site, network, tmp_path, framed_mtu=size + 4)
    assert_admitted(site, outcome, version)
    assert site.proofs == [CertificateProof("anna", serial_of(client("anna", kind)[0]))]


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_pkcs12_file_as_it_is_given_out(version: str, tmp_path: Path) -> None:
    certificate, key = client()
    (tmp_path / "anna.p12").write_bytes(bundle(authority(), certificate, key, b"open sesame"))
    network = f"""
        eap=TLS
        identity="anna"
        {tls_version(version)}
        {trust(tmp_path, "ec")}
        private_key="{tmp_path}/anna.p12"
        private_key_passwd="open sesame"
    """
    async with eap_site(identity()) as site:
        assert_admitted(site, await eapol_test(site, network, tmp_path), version)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("network", [ttls, tls])
async def test_coming_again_is_proven_again(
    network: Callable[..., str], version: str, tmp_path: Path
) -> None:
    """A client that would resume its session gets a handshake, and proves everything anew."""
    lines = network(tmp_path, version=version).replace(
        'phase1="', 'phase1="tls_disable_session_ticket=0 '
    )
    async with eap_site(identity()) as site:
        outcome = await eapol_test(site, lines, tmp_path, again=2)
    assert outcome.succeeded
    assert "MPPE keys OK: 3  mismatch: 0" in outcome.output
    assert len(site.proofs) == 3
    assert site.whys == []


async def test_many_at_once(tmp_path: Path) -> None:
    directories = [tmp_path / str(number) for number in range(4)]
    for directory in directories:
        directory.mkdir()
    async with eap_site(identity()) as site:
        outcomes = await asyncio.gather(
            *(eapol_test(site, ttls(directory), directory) for directory in directories)
        )
    assert [outcome.succeeded for outcome in outcomes] == [True] * 4


def as_freeradius_tests_ttls(word: str) -> str:
    """What its ttls-pap.conf and fail-ttls-pap.conf say: nothing is pinned, all is RSA."""
    return f"""
        eap=TTLS
        identity="bob"
        anonymous_identity="anonymous@example.org"
        password="{word}"
        phase2="auth=PAP"
        """


def as_freeradius_tests_tls(directory: Path) -> str:
    """What its tls.conf and fail-tls-verify.conf say: a sealed key, and a ticket is asked for."""
    certificate, key = client("bob@example.org", "rsa")
    sealed = key.private_bytes(
        Encoding.PEM, PrivateFormat.TraditionalOpenSSL, BestAvailableEncryption(b"whatever")
    )
    (directory / "ca.pem").write_bytes(certificate_pem(authority("rsa").certificate))
    (directory / "client.pem").write_bytes(certificate_pem(certificate))
    (directory / "client.key").write_bytes(sealed)
    return f"""
        eap=TLS
        identity="user@example.org"
        ca_cert="{directory}/ca.pem"
        client_cert="{directory}/client.pem"
        private_key="{directory}/client.key"
        private_key_passwd="whatever"
        """


def with_tickets(version: str) -> str:
    return tls_version(version).replace('phase1="', 'phase1="tls_disable_session_ticket=0 ')


@pytest.mark.parametrize("version", VERSIONS)
async def test_networks_that_freeradius_admits(version: str, tmp_path: Path) -> None:
    for network in (
        as_freeradius_tests_ttls("bob") + tls_version(version),
        as_freeradius_tests_tls(tmp_path) + with_tickets(version),
    ):
        async with eap_site(identity("rsa")) as site:
            outcome = await eapol_test(site, network, tmp_path)
        assert_admitted(site, outcome, version)


@pytest.mark.parametrize("version", VERSIONS)
async def test_networks_that_freeradius_refuses(version: str, tmp_path: Path) -> None:
    """One after a handshake that succeeded, one within it; whoever comes next is served."""
    good = as_freeradius_tests_ttls("bob") + tls_version(version)
    by_certificate = as_freeradius_tests_tls(tmp_path) + with_tickets(version)
    none_counts = frozenset({serial_of(client("bob@example.org", "rsa")[0])})
    async with eap_site(identity("rsa", none_counts)) as site:
        wrong = good.replace('password="bob"', 'password="wrong-password"')
        for network in (wrong, by_certificate):
            outcome = await eapol_test(site, network, tmp_path)
            assert not outcome.succeeded
            assert "CTRL-EVENT-EAP-FAILURE" in outcome.output
            assert len(site.eap.half_open) == 0
        assert site.whys == ["not known", "the device's certificate is refused: it was revoked"]
        assert (await eapol_test(site, good, tmp_path)).succeeded


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_wrong_password(version: str, tmp_path: Path) -> None:
    network = ttls(tmp_path, version=version).replace("wonderful", "dreadful")
    async with eap_site(identity()) as site:
        outcome = await eapol_test(site, network, tmp_path)
    assert not outcome.succeeded
    assert site.proofs == [LoginProof("anna", b"dreadful")]
    assert "CTRL-EVENT-EAP-FAILURE" in outcome.output


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("network", [ttls, tls])
async def test_a_device_that_does_not_know_the_authority(
    network: Callable[..., str], version: str, tmp_path: Path
) -> None:
    lines = network(tmp_path, version=version)
    trust(tmp_path, "ec", "Somebody else")
    async with eap_site(identity()) as site:
        outcome = await eapol_test(site, lines, tmp_path)
    assert not outcome.succeeded
    assert site.whys == ["the device does not trust the server's certificate: unknown CA"]
    assert site.proofs == []


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_device_that_was_told_another_name(version: str, tmp_path: Path) -> None:
    lines = ttls(tmp_path, version=version).replace("wifi.example.org", "wifi.example.net")
    async with eap_site(identity()) as site:
        outcome = await eapol_test(site, lines, tmp_path)
    assert not outcome.succeeded
    assert site.whys == ["the device broke TLS off: see which server name it was told"]


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_certificate_of_somebody_elses_authority(version: str, tmp_path: Path) -> None:
    async with eap_site(identity()) as site:
        lines = tls(tmp_path, version=version, by="Somebody else")
        outcome = await eapol_test(site, lines, tmp_path)
    assert not outcome.succeeded
    assert site.whys == ["the device's certificate is refused: its authority is not the site's"]
    assert "unknown CA" in outcome.output


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_revoked_certificate(version: str, tmp_path: Path) -> None:
    revoked = frozenset({serial_of(client()[0])})
    async with eap_site(identity(revoked=revoked)) as site:
        outcome = await eapol_test(site, tls(tmp_path, version=version), tmp_path)
    assert not outcome.succeeded
    assert site.whys == ["the device's certificate is refused: it was revoked"]


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_certificate_that_is_refused_by_the_decision(version: str, tmp_path: Path) -> None:
    """The client must take the EAP-Failure for one: it may not believe that it is in."""
    certificate, key = client("nobody")
    async with eap_site(identity()) as site:
        lines = tls(tmp_path, version=version)
        (tmp_path / "client.pem").write_bytes(certificate_pem(certificate))
        (tmp_path / "client.key").write_bytes(key_pem(key))
        outcome = await eapol_test(site, lines, tmp_path)
    assert not outcome.succeeded
    assert site.whys == ["not known"]
    assert "CTRL-EVENT-EAP-FAILURE" in outcome.output


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ('eap=PEAP\nphase2="auth=MSCHAPV2"', "the device wants PEAP; offered here"),
        ("eap=MD5", "the device wants EAP-MD5; offered here"),
        ("eap=MSCHAPV2", "the device wants EAP-MSCHAPv2; offered here"),
        ("eap=GTC", "the device wants EAP-GTC; offered here"),
        ("eap=PWD", "the device wants EAP-pwd; offered here"),
        ('eap=TTLS\nphase2="auth=CHAP"', "EAP-TTLS with CHAP inside"),
        ('eap=TTLS\nphase2="auth=MSCHAP"', "EAP-TTLS with MSCHAP inside"),
        ('eap=TTLS\nphase2="auth=MSCHAPV2"', "EAP-TTLS with MSCHAPv2 inside"),
        ('eap=TTLS\nphase2="autheap=MD5"', "EAP-TTLS with EAP inside"),
        ('eap=TTLS\nphase2="autheap=MSCHAPV2"', "EAP-TTLS with EAP inside"),
        ('eap=TTLS\nphase2="autheap=GTC"', "EAP-TTLS with EAP inside"),
    ],
)
async def test_other_methods_are_refused_by_name(lines: str, words: str, tmp_path: Path) -> None:
    network = f'{lines}\nidentity="anna"\npassword="wonderful"\n{trust(tmp_path, "ec")}'
    async with eap_site(identity()) as site:
        outcome = await eapol_test(site, network, tmp_path)
    assert not outcome.succeeded
    assert len(site.whys) == 1
    assert words in site.whys[0]
    assert "CTRL-EVENT-EAP-FAILURE" in outcome.output


async def test_of_two_methods_the_one_in_common_is_taken(tmp_path: Path) -> None:
    network = ttls(tmp_path).replace("eap=TTLS", "eap=PEAP TTLS")
    async with eap_site(identity()) as site:
        outcome = await eapol_test(site, network, tmp_path)
    assert_admitted(site, outcome, "1.3")
