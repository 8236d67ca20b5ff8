"""The Wi-Fi server's certificates on the appliance: made, renewed, given out, and watched.

In `state_dir/wifi` lie the site's authority (`authority.pem`, key and certificate together, so that
no power cut leaves one without the other; `ca.pem` is what others may have of it), the server's key
and certificate (`server.pem`), and the list of client certificates. Files are read and written: do
it on a thread. `at` is a time that can be trusted, or certificates come out with wrong dates.
"""

from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from msgspec import Struct

from edgegate.store.directory import give_to_owner, make_directory, replace_file
from edgegate.wifi.authority import (
    Authority,
    Key,
    KeyKind,
    bundle,
    certificate_pem,
    client_certificate,
    is_key_of,
    key_pem,
    load_key,
    new_authority,
    new_key,
    serial_of,
    server_certificate,
)
from edgegate.wifi.clients import Client, Clients
from edgegate.wifi.ownfiles import FILE_BYTES_MAX, read_chain, read_own_files

DIRECTORY = "wifi"
AUTHORITY = "authority.pem"
AUTHORITY_PUBLIC = "ca.pem"
SERVER = "server.pem"

RENEWAL = timedelta(days=60)
"""How long before its end the server's own certificate is replaced."""

WARNING = timedelta(days=30)
"""How long before its end a certificate that nobody here renews is warned of."""

AUTHORITY_WARNING = timedelta(days=365)
"""An authority's end means to set up every phone anew: that takes planning."""

EARLIEST = datetime(2026, 1, 1, tzinfo=UTC)
"""No time before this code was written is the right one."""

PASSWORD_CHARACTERS_MIN = 8


class CertificatesError(Exception):
    """What lies in the directory cannot be used; the message says what to do."""


class Papers(Struct, frozen=True):
    """What the server shows, and whom it trusts."""

    chain: tuple[x509.Certificate, ...]
    """The server's certificate, and behind it those that a device needs beside its trust."""
    key: Key
    trust: x509.Certificate | None
    """What devices pin; `None`: the chain's root is elsewhere, with the device or its maker."""
    client_authorities: tuple[x509.Certificate, ...]
    """Whose client certificates count."""
    renews_itself: bool
    """Whether this appliance replaces the server's certificate before its end."""


class IssuedClient(Struct, frozen=True):
    """A client certificate, once: its key is kept nowhere else."""

    serial: str
    until: datetime
    pkcs12: bytes


class Certificates:
    """The directory below a state directory."""

    def __init__(self, state_dir: Path, kind: KeyKind = "ec") -> None:
        """Name the place; nothing is read or made yet. `kind` is of keys that are made."""
        self._directory = state_dir / DIRECTORY
        self._state_dir = state_dir
        self._kind = kind
        self.clients = Clients(self._directory)

    def own(self, server_name: str, at: datetime, client_ca: Path | None = None) -> Papers:
        """The server's certificate by the site's own authority, made or renewed where it is time.

        Raises:
            CertificatesError: if the authority is damaged: making another one would lock out
                every phone, so that is for somebody to do by hand.
            OwnFilesError: if `client_ca` cannot be used.
            OSError: if something could not be written.
        """
        authority = self.authority(at)
        found = self._server(authority, server_name, at)
        certificate, key = found or self._new_server(authority, server_name, at)
        authorities = _client_authorities(client_ca) or (authority.certificate,)
        return Papers((certificate,), key, authority.certificate, authorities, renews_itself=True)

    def installers(
        self,
        chain_file: Path,
        key_file: Path,
        server_name: str,
        at: datetime,
        client_ca: Path | None = None,
    ) -> Papers:
        """The installer's own files in the place of the appliance's.

        Raises:
            OwnFilesError: if they cannot be used; it says all that is wrong.
            CertificatesError: if the site's authority, for client certificates, is damaged.
            OSError: if it could not be written.
        """
        chain, key = read_own_files(chain_file, key_file, server_name, at)
        last = chain[-1]
        has_root = last.subject == last.issuer
        sent = chain[:-1] if has_root and len(chain) > 1 else chain
        authorities = _client_authorities(client_ca) or (self.authority(at).certificate,)
        return Papers(sent, key, last if has_root else None, authorities, renews_itself=False)

    def authority(self, at: datetime) -> Authority:
        """The site's authority, made where there is none.

        Raises:
            CertificatesError: if it is damaged or expired, or the clock too wrong to make one.
            OSError: if it could not be written.
        """
        path = self._directory / AUTHORITY
        try:
            certificate, key = _load(path)
        except FileNotFoundError:
            return self._new_authority(at)
        except (OSError, ValueError) as error:
            raise CertificatesError(
                f"the site's Wi-Fi authority cannot be used ({error}): bring {path} back from a"
                " backup, or remove it and set up every device anew"
            ) from error
        if certificate.not_valid_after_utc <= at:
            ends = certificate.not_valid_after_utc
            raise CertificatesError(
                f"the site's Wi-Fi authority expired on {ends:%Y-%m-%d}: remove {path} and set up"
                " every device anew"
            )
        if not (self._directory / AUTHORITY_PUBLIC).exists():
            self._write(AUTHORITY_PUBLIC, certificate_pem(certificate))
        return Authority(certificate, key)

    def issue(
        self, login: str, password: str, at: datetime, until: datetime | None = None
    ) -> IssuedClient:
        """A client certificate for a login, as a PKCS 12 file under that password.

        Raises:
            ValueError: if the login or the password will not do.
            ClientsError: if no more are given out.
            CertificatesError: if the authority is damaged.
            OSError: if something could not be written.
        """
        if len(password) < PASSWORD_CHARACTERS_MIN:
            raise ValueError(f"a password has at least {PASSWORD_CHARACTERS_MIN} characters")
        authority = self.authority(at)
        key = new_key(self._kind)
        certificate = client_certificate(authority, login, key, at, until)
        serial, ends = serial_of(certificate), certificate.not_valid_after_utc
        self.clients.add(Client(serial=serial, until=ends, login=login), at)
        return IssuedClient(serial, ends, bundle(authority, certificate, key, password.encode()))

    def _new_authority(self, at: datetime) -> Authority:
        if at < EARLIEST:
            raise CertificatesError(
                f"the clock says {at:%Y-%m-%d}: the site's Wi-Fi authority is made once it is right"
            )
        self._make_directory()
        authority = new_authority("edgegate Wi-Fi", self._kind, at)
        self._write(AUTHORITY, key_pem(authority.key) + certificate_pem(authority.certificate))
        self._write(AUTHORITY_PUBLIC, certificate_pem(authority.certificate))
        return authority

    def _server(
        self, authority: Authority, server_name: str, at: datetime
    ) -> tuple[x509.Certificate, Key] | None:
        """What is there, if it is still good for a while; a damaged one is replaced."""
        with suppress(OSError, ValueError, TypeError, InvalidSignature, x509.ExtensionNotFound):
            certificate, key = _load(self._directory / SERVER)
            certificate.verify_directly_issued_by(authority.certificate)
            begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
            # Before there was an authority, the clock has lost its time: nothing follows from it.
            is_lost = at < authority.certificate.not_valid_before_utc
            is_current = (begins <= at or is_lost) and at < ends - RENEWAL
            if is_current and server_name in _names(certificate):
                return certificate, key
        return None

    def _new_server(
        self, authority: Authority, server_name: str, at: datetime
    ) -> tuple[x509.Certificate, Key]:
        key = new_key(self._kind)
        certificate = server_certificate(authority, server_name, key, at)
        self._write(SERVER, key_pem(key) + certificate_pem(certificate))
        return certificate, key

    def _make_directory(self) -> None:
        make_directory(self._directory)
        give_to_owner(self._directory, self._state_dir)

    def _write(self, name: str, content: bytes) -> None:
        replace_file(self._directory / name, content, self._state_dir)


def renewal_at(papers: Papers) -> datetime:
    """From when on `Certificates.own` would make a new server certificate."""
    return papers.chain[0].not_valid_after_utc - RENEWAL


def expiry_warnings(papers: Papers, at: datetime) -> Iterator[str]:
    """What runs out soon and has to be seen to by somebody; one sentence each."""
    watched: list[tuple[str, x509.Certificate, timedelta]] = [
        ("the Wi-Fi server's certificate", certificate, WARNING)
        for certificate in papers.chain
        if not papers.renews_itself or certificate.not_valid_after_utc <= at
    ]
    roots = {papers.trust, *papers.client_authorities} - {None, *papers.chain}
    watched += [("a Wi-Fi authority", root, AUTHORITY_WARNING) for root in roots if root]
    for what, certificate, before in sorted(watched, key=lambda of: of[1].not_valid_after_utc):
        ends = certificate.not_valid_after_utc
        left = ends - at
        if left <= timedelta(0):
            yield f"{what} expired on {ends:%Y-%m-%d}: devices do not connect any more"
        elif left <= before:
            yield f"{what} expires in {left.days} days, on {ends:%Y-%m-%d}"


def _client_authorities(client_ca: Path | None) -> tuple[x509.Certificate, ...]:
    return () if client_ca is None else read_chain(client_ca)


def _names(certificate: x509.Certificate) -> list[str]:
    found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    return found.value.get_values_for_type(x509.DNSName)


def _load(path: Path) -> tuple[x509.Certificate, Key]:
    """A file with a key and the certificate for it."""
    with path.open("rb") as stream:
        content = stream.read(FILE_BYTES_MAX)
    key = load_key(content)
    certificate = x509.load_pem_x509_certificate(content)
    if not is_key_of(key, certificate):
        raise ValueError("key and certificate do not belong together")
    return certificate, key
