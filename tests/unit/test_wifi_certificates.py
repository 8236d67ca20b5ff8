"""The Wi-Fi server's certificates: made once, renewed in time, never at the cost of the phones."""

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import pkcs12
from cryptography.x509.oid import ExtendedKeyUsageOID

from edgegate.wifi.authority import KeyKind, certificate_pem, key_pem, new_key, serial_of
from edgegate.wifi.certificates import (
    Certificates,
    CertificatesError,
    Papers,
    expiry_warnings,
    renewal_at,
)
from edgegate.wifi.clients import CLIENTS_MAX, Client, Clients, ClientsError
from edgegate.wifi.eap.identity import IdentityError, ServerIdentity
from edgegate.wifi.eap.packet import Type
from edgegate.wifi.eap.server import EapServer
from edgegate.wifi.eap.steps import Accepted, Failed
from edgegate.wifi.ownfiles import OwnFilesError, Trouble
from edgegate.wifi.proofs import CertificateProof
from rig.eap_peer import Device, admitted, client_context

NOW = datetime.now(UTC).replace(microsecond=0)
NAME = "wifi.example.org"
DAY = timedelta(days=1)


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def identity_of(papers: Papers, certificates: Certificates) -> ServerIdentity:
    return ServerIdentity(
        papers.chain,
        papers.key,
        client_authorities=papers.client_authorities,
        is_revoked=certificates.clients.is_revoked,
    )


@pytest.mark.parametrize("kind", ["ec", "rsa"])
def test_what_is_made_is_what_phones_accept(kind: KeyKind, tmp_path: Path) -> None:
    papers = Certificates(tmp_path, kind).own(NAME, NOW)
    assert papers.trust is not None
    (server,) = papers.chain
    server.verify_directly_issued_by(papers.trust)
    extensions = server.extensions
    names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == [NAME]
    purposes = extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(purposes) == [ExtendedKeyUsageOID.SERVER_AUTH]
    assert server.not_valid_after_utc - server.not_valid_before_utc <= 825 * DAY
    assert not extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    root = papers.trust.extensions.get_extension_for_class(x509.BasicConstraints)
    assert (root.critical, root.value.ca, root.value.path_length) == (True, True, 0)
    wanted = ec.EllipticCurvePrivateKey if kind == "ec" else rsa.RSAPrivateKey
    assert isinstance(papers.key, wanted)


def test_keys_are_for_their_owner_alone_and_nothing_is_left_over(tmp_path: Path) -> None:
    certificates = Certificates(tmp_path)
    certificates.own(NAME, NOW)
    certificates.issue("anna", "open sesame", NOW)
    found = {path.name: mode(path) for path in (tmp_path / "wifi").iterdir()}
    files = ("authority.pem", "ca.pem", "server.pem", "clients.json", "clients.lock")
    assert found == dict.fromkeys(files, 0o600)
    assert mode(tmp_path / "wifi") == 0o700
    assert b"PRIVATE" not in (tmp_path / "wifi/ca.pem").read_bytes()


def test_the_same_is_found_again(tmp_path: Path) -> None:
    first = Certificates(tmp_path).own(NAME, NOW)
    second = Certificates(tmp_path).own(NAME, NOW + 100 * DAY)
    assert (second.chain, second.trust) == (first.chain, first.trust)


def test_the_certificate_is_renewed_before_its_end_under_the_same_authority(tmp_path: Path) -> None:
    certificates = Certificates(tmp_path)
    before = certificates.own(NAME, NOW)
    due = renewal_at(before)
    assert certificates.own(NAME, due - timedelta(seconds=1)).chain == before.chain
    after = certificates.own(NAME, due)
    assert after.chain != before.chain
    assert after.trust == before.trust
    assert renewal_at(after) > due + 700 * DAY


@pytest.mark.parametrize(
    "damage", ["another name", "cut", "gone", "another key", "of a wrong clock"]
)
def test_a_server_certificate_that_will_not_do_is_replaced(damage: str, tmp_path: Path) -> None:
    certificates = Certificates(tmp_path)
    before = certificates.own(NAME, NOW)
    file = tmp_path / "wifi/server.pem"
    name, at = NAME, NOW
    match damage:
        case "another name":
            name = "radius.example.org"
        case "cut":
            file.write_bytes(file.read_bytes()[:-40])
        case "gone":
            file.unlink()
        case "another key":
            file.write_bytes(key_pem(new_key("ec")) + certificate_pem(*before.chain))
        case _:
            file.unlink()
            before = certificates.own(NAME, NOW + 100 * DAY)
    after = certificates.own(name, at)
    assert after.chain != before.chain
    assert after.trust == before.trust
    assert certificates.own(name, at).chain == after.chain


def test_a_clock_that_has_lost_its_time_changes_nothing(tmp_path: Path) -> None:
    certificates, lost = Certificates(tmp_path), datetime(1970, 1, 1, 1, tzinfo=UTC)
    with pytest.raises(CertificatesError, match="the clock says 1970-01-01"):
        certificates.own(NAME, lost)
    assert list(tmp_path.iterdir()) == []
    before = certificates.own(NAME, NOW)
    assert certificates.own(NAME, lost).chain == before.chain
    renewed = certificates.own(NAME, NOW + 800 * DAY)
    assert certificates.own(NAME, lost).chain == renewed.chain


def test_a_server_certificate_of_another_authority_is_replaced(tmp_path: Path) -> None:
    certificates = Certificates(tmp_path)
    certificates.own(NAME, NOW)
    (tmp_path / "wifi/authority.pem").unlink()
    papers = certificates.own(NAME, NOW)
    assert papers.trust is not None
    papers.chain[0].verify_directly_issued_by(papers.trust)


@pytest.mark.parametrize("content", [b"", b"-----BEGIN", b"\xff" * 99])
def test_a_damaged_authority_is_not_replaced(content: bytes, tmp_path: Path) -> None:
    certificates = Certificates(tmp_path)
    certificates.own(NAME, NOW)
    file = tmp_path / "wifi/authority.pem"
    file.write_bytes(content)
    with pytest.raises(CertificatesError, match=r"authority\.pem back from a backup"):
        certificates.own(NAME, NOW)
    assert file.read_bytes() == content


def test_an_authority_at_its_end_says_so(tmp_path: Path) -> None:
    certificates = Certificates(tmp_path)
    papers = certificates.own(NAME, NOW)
    assert papers.trust is not None
    ends = papers.trust.not_valid_after_utc
    with pytest.raises(CertificatesError, match="expired on"):
        certificates.own(NAME, ends)
    late = certificates.own(NAME, ends - 10 * DAY)
    assert late.chain[0].not_valid_after_utc <= ends
    assert list(expiry_warnings(late, ends - 10 * DAY)) == [
        f"a Wi-Fi authority expires in 10 days, on {ends:%Y-%m-%d}"
    ]
    assert list(expiry_warnings(papers, NOW)) == []


def test_what_others_may_have_of_the_authority_is_put_back(tmp_path: Path) -> None:
    certificates = Certificates(tmp_path)
    papers = certificates.own(NAME, NOW)
    public = tmp_path / "wifi/ca.pem"
    public.unlink()
    certificates.own(NAME, NOW)
    assert papers.trust == x509.load_pem_x509_certificate(public.read_bytes())


def test_a_client_certificate_comes_in_and_once_revoked_no_more(tmp_path: Path) -> None:
    certificates = Certificates(tmp_path)
    papers = certificates.own(NAME, NOW)
    issued = certificates.issue("anna", "open sesame", NOW)
    key, certificate, others = pkcs12.load_key_and_certificates(issued.pkcs12, b"open sesame")
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    assert certificate is not None
    assert others == [papers.trust]
    assert serial_of(certificate) == issued.serial
    with pytest.raises(ValueError, match="password"):
        pkcs12.load_key_and_certificates(issued.pkcs12, b"open barley")
    assert papers.trust is not None
    context = client_context("1.3", papers.trust, (certificate, key))
    eap = EapServer(identity_of(papers, certificates), now=lambda: 0.0)
    step = admitted(eap, Device(context, Type.TLS))
    assert isinstance(step, Accepted)
    assert step.proof == CertificateProof("anna", issued.serial)
    # Another process revokes; this one reads the list again.
    assert Certificates(tmp_path).clients.revoke_all("anna", NOW) == (issued.serial,)
    certificates.clients.reload()
    step = admitted(eap, Device(context, Type.TLS))
    assert isinstance(step, Failed)
    assert "revoked" in step.why


@pytest.mark.parametrize(
    ("login", "password"),
    [("anna", "short"), ("", "open sesame"), ("a" * 65, "open sesame"), ("a\nb", "open sesame")],
)
def test_what_cannot_be_issued_is_refused_and_not_listed(
    login: str, password: str, tmp_path: Path
) -> None:
    certificates = Certificates(tmp_path)
    with pytest.raises(ValueError, match="characters"):
        certificates.issue(login, password, NOW)
    assert certificates.clients.reload() == ()


def test_a_client_certificate_ends_when_it_is_told_to(tmp_path: Path) -> None:
    issued = Certificates(tmp_path).issue("anna", "open sesame", NOW, until=NOW + 30 * DAY)
    assert issued.until == NOW + 30 * DAY


def test_revoking_is_remembered_until_the_certificate_ends(tmp_path: Path) -> None:
    clients = Clients(tmp_path / "wifi")
    clients.revoke("ab", NOW, NOW + 10 * DAY)
    clients.add(Client(serial="cd", until=NOW + 20 * DAY, login="bert"), NOW)
    again = Clients(tmp_path / "wifi")
    assert [client.serial for client in again.reload()] == ["ab", "cd"]
    assert (again.is_revoked("ab"), again.is_revoked("cd")) == (True, False)
    clients.add(Client(serial="ef", until=NOW + 20 * DAY, login="carl"), NOW + 10 * DAY)
    assert [client.serial for client in again.reload()] == ["cd", "ef"]
    clients.revoke("cd", NOW, NOW + 20 * DAY)
    assert "bert" not in (tmp_path / "wifi/clients.json").read_text()
    assert clients.is_revoked("cd")


def test_a_damaged_list_is_said_and_what_was_known_stays_in_force(tmp_path: Path) -> None:
    clients = Clients(tmp_path / "wifi")
    clients.revoke("ab", NOW, NOW + DAY)
    file = tmp_path / "wifi/clients.json"
    for content in (b"", b"{", b'{"clients":[{"serial":1}]}'):
        file.write_bytes(content)
        with pytest.raises(ClientsError, match="cannot be read"):
            clients.reload()
        with pytest.raises(ClientsError, match="cannot be read"):
            clients.revoke("cd", NOW, NOW + DAY)
        assert file.read_bytes() == content
    assert clients.is_revoked("ab")


def test_the_list_has_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgegate.wifi.clients.CLIENTS_MAX", 3)
    assert CLIENTS_MAX > 3
    clients = Clients(tmp_path / "wifi")
    for serial in ("a", "b", "c"):
        clients.add(Client(serial=serial, until=NOW + DAY), NOW)
    with pytest.raises(ClientsError, match="3 certificates"):
        clients.add(Client(serial="d", until=NOW + DAY), NOW)
    # A restriction has its place always.
    clients.revoke("z", NOW, NOW + DAY)
    assert clients.is_revoked("z")
    clients.add(Client(serial="d", until=NOW + 3 * DAY), NOW + 2 * DAY)


def test_files_that_cannot_be_written_are_an_error_of_the_list(tmp_path: Path) -> None:
    (tmp_path / "wifi").write_bytes(b"a file where a directory should be")
    with pytest.raises(ClientsError, match="cannot be written"):
        Clients(tmp_path / "wifi").revoke("ab", NOW, NOW + DAY)


class InstallersFiles:
    """Files as an installer brings them; good ones, until a test spoils them."""

    def __init__(self, directory: Path) -> None:
        self.chain, self.key = directory / "chain.pem", directory / "server.key"
        self.root = ec.generate_private_key(ec.SECP256R1())
        self.middle = ec.generate_private_key(ec.SECP256R1())
        self.leaf: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey = new_key("ec")
        self.names = [NAME]
        self.purposes = [ExtendedKeyUsageOID.SERVER_AUTH]
        self.begins, self.ends = NOW - DAY, NOW + 200 * DAY

    def certificates(self) -> list[x509.Certificate]:
        root = self.signed("Root", self.root, "Root", self.root)
        middle = self.signed("Middle", self.middle, "Root", self.root)
        return [self.signed("Leaf", self.leaf, "Middle", self.middle), middle, root]

    def signed(
        self,
        subject: str,
        key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey,
        issuer: str,
        by: ec.EllipticCurvePrivateKey,
    ) -> x509.Certificate:
        def named(name: str) -> x509.Name:
            return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])

        is_leaf = subject == "Leaf"
        builder = x509.CertificateBuilder(named(issuer), named(subject), key.public_key(), 7)
        builder = builder.not_valid_before(self.begins if is_leaf else NOW - 400 * DAY)
        builder = builder.not_valid_after(self.ends if is_leaf else NOW + 4000 * DAY)
        basic = x509.BasicConstraints(ca=not is_leaf, path_length=None)
        builder = builder.add_extension(basic, critical=True)
        if is_leaf and self.names:
            names = x509.SubjectAlternativeName([x509.DNSName(name) for name in self.names])
            builder = builder.add_extension(names, critical=False)
        if is_leaf and self.purposes:
            builder = builder.add_extension(x509.ExtendedKeyUsage(self.purposes), critical=False)
        return builder.sign(by, SHA256())

    def write(self, chain: list[x509.Certificate] | None = None) -> None:
        self.chain.write_bytes(certificate_pem(*(chain or self.certificates())))
        self.key.write_bytes(key_pem(self.leaf))
        self.key.chmod(0o640)

    def troubles(self, tmp_path: Path) -> list[Trouble]:
        certificates = Certificates(tmp_path)
        with pytest.raises(OwnFilesError) as caught:
            certificates.installers(self.chain, self.key, NAME, NOW)
        for trouble in caught.value.troubles:
            assert str(trouble.file) in str(caught.value)
            assert trouble.words in str(caught.value)
        return [trouble.trouble for trouble in caught.value.troubles]


@pytest.fixture
def files(tmp_path: Path) -> InstallersFiles:
    return InstallersFiles(tmp_path)


def test_the_installers_files_take_the_place_of_the_appliances(
    files: InstallersFiles, tmp_path: Path
) -> None:
    chain = files.certificates()
    files.write(chain)
    certificates = Certificates(tmp_path)
    papers = certificates.installers(files.chain, files.key, NAME.upper(), NOW)
    # The root is what devices have already.
    assert papers.chain == tuple(chain[:2])
    assert papers.trust == chain[2]
    assert papers.client_authorities == (certificates.authority(NOW).certificate,)
    step = admitted(
        EapServer(identity_of(papers, certificates), now=lambda: 0.0),
        Device(client_context("1.2", chain[2])),
    )
    assert isinstance(step, Accepted)
    files.write(chain[:2])
    assert certificates.installers(files.chain, files.key, NAME, NOW).trust is None


def test_another_authority_may_sign_client_certificates(
    files: InstallersFiles, tmp_path: Path
) -> None:
    root = files.certificates()[2]
    other = tmp_path / "clients.pem"
    other.write_bytes(certificate_pem(root))
    assert Certificates(tmp_path).own(NAME, NOW, client_ca=other).client_authorities == (root,)
    other.write_bytes(b"none")
    with pytest.raises(OwnFilesError, match="no certificate in PEM"):
        Certificates(tmp_path).own(NAME, NOW, client_ca=other)


def test_each_trouble_with_the_files_has_its_name(files: InstallersFiles, tmp_path: Path) -> None:
    assert files.troubles(tmp_path) == [Trouble.UNREADABLE, Trouble.UNREADABLE]
    files.write()
    files.key.write_bytes(key_pem(new_key("ec")))
    assert files.troubles(tmp_path) == [Trouble.KEY_MISMATCH]
    files.key.write_bytes(b"no key")
    assert files.troubles(tmp_path) == [Trouble.NO_KEY]
    files.write()
    files.key.chmod(0o644)
    assert files.troubles(tmp_path) == [Trouble.KEY_OPEN_TO_OTHERS]
    files.write()
    files.chain.write_bytes(b"no certificate")
    assert files.troubles(tmp_path) == [Trouble.NO_CERTIFICATE]
    files.chain.write_bytes(b"x" * 300_000)
    assert files.troubles(tmp_path) == [Trouble.UNREADABLE]


@pytest.mark.parametrize(
    ("spoil", "trouble"),
    [
        ({"names": ["other.example.org"]}, Trouble.NAME_MISSING),
        ({"names": []}, Trouble.NAME_MISSING),
        ({"purposes": [ExtendedKeyUsageOID.CLIENT_AUTH]}, Trouble.NOT_FOR_SERVERS),
        ({"purposes": []}, Trouble.NOT_FOR_SERVERS),
        ({"ends": NOW - timedelta(minutes=1)}, Trouble.EXPIRED),
        ({"begins": NOW + timedelta(minutes=1)}, Trouble.NOT_YET_VALID),
        ({"ends": NOW + 826 * DAY}, Trouble.LIVES_TOO_LONG),
    ],
)
def test_each_trouble_with_the_certificate_has_its_name(
    spoil: dict[str, object], trouble: Trouble, files: InstallersFiles, tmp_path: Path
) -> None:
    for name, value in spoil.items():
        setattr(files, name, value)
    files.write()
    assert files.troubles(tmp_path) == [trouble]


def test_a_weak_key_and_a_broken_chain_have_their_names(
    files: InstallersFiles, tmp_path: Path
) -> None:
    files.leaf = rsa.generate_private_key(65_537, 1024)  # noqa: S505 - that is the point
    files.write()
    assert files.troubles(tmp_path) == [Trouble.KEY_TOO_WEAK]
    files.leaf = new_key("ec")
    leaf, middle, root = files.certificates()
    files.write([leaf, root, middle])
    assert files.troubles(tmp_path) == [Trouble.CHAIN_BROKEN, Trouble.CHAIN_BROKEN]
    files.write([leaf, *[middle] * 8])
    assert files.troubles(tmp_path) == [Trouble.CHAIN_BROKEN]


def test_several_troubles_are_told_at_once(files: InstallersFiles, tmp_path: Path) -> None:
    files.names, files.purposes, files.ends = [], [], NOW - timedelta(hours=1)
    files.write()
    files.key.write_bytes(key_pem(new_key("rsa")))
    assert files.troubles(tmp_path) == [
        Trouble.EXPIRED,
        Trouble.NAME_MISSING,
        Trouble.NOT_FOR_SERVERS,
        Trouble.KEY_MISMATCH,
    ]


def test_what_nobody_here_renews_is_warned_of(files: InstallersFiles, tmp_path: Path) -> None:
    files.write()
    papers = Certificates(tmp_path).installers(files.chain, files.key, NAME, NOW)
    ends = files.ends
    assert list(expiry_warnings(papers, ends - 31 * DAY)) == []
    assert list(expiry_warnings(papers, ends - 30 * DAY)) == [
        f"the Wi-Fi server's certificate expires in 30 days, on {ends:%Y-%m-%d}"
    ]
    (words,) = expiry_warnings(papers, ends)
    assert words.startswith(f"the Wi-Fi server's certificate expired on {ends:%Y-%m-%d}")


def test_a_key_that_is_anothers_makes_no_identity(tmp_path: Path) -> None:
    papers = Certificates(tmp_path).own(NAME, NOW)
    with pytest.raises(IdentityError):
        ServerIdentity(papers.chain, new_key("ec"))


@pytest.mark.parametrize("module", ["edgegate.app", "edgegate.cli", "edgegate.wifi.certificates"])
def test_tls_for_eap_is_loaded_only_where_eap_is_spoken(module: str) -> None:
    code = f"import sys, {module}; sys.exit('OpenSSL' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
