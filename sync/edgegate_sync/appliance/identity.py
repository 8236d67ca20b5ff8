"""Who this device is: its own key, the certificate for it, and whom it trusts, in a directory.

`identity/device.pem` has the private key and the certificate together, so that no power cut leaves
one without the other; `identity/enrolment.json` has what else the cloud said. The key is made here
and never leaves. What is written is on disk before it takes the place of what was there.
"""

import ssl
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, Self

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from msgspec import Struct

from edgegate.store.directory import give_to_owner, replace_file
from edgegate_sync.wire import commands
from edgegate_sync.wire.enrolment import Broker, Renewed
from edgegate_sync.wire.errors import MalformedError
from edgegate_sync.wire.topics import of_common_name

DIRECTORY = "identity"
PAPER = "device.pem"
ENROLMENT = "enrolment.json"
NEXT_KEY = "next.key"
FILE_BYTES_MAX = 262_144
"""No file of an identity is larger; one that is, is none."""

Trust = Literal["own", "public"]


class NotEnrolledError(ValueError):
    """This device has no identity, or not one that can be used; the message says what to do."""


class Enrolment(Struct, frozen=True, kw_only=True):
    """What is kept of an enrolment, but for key and certificate."""

    site: str
    device: str
    ca: str
    command_key: str
    trust: Trust
    """Whether servers are trusted that a public authority certified, besides the cloud's own."""
    broker: Broker | None = None
    names: tuple[str, ...] = ()


class Identity:
    """A device's identity as it is on disk; reading and writing block, so do it on a thread."""

    def __init__(
        self, directory: Path, enrolment: Enrolment, certificate: x509.Certificate
    ) -> None:
        """Hold what was read; `load` is what to call."""
        self._directory = directory
        self._enrolment = enrolment
        self._certificate = certificate
        self.renewed_s: float | None = None
        """When it was renewed last in this process, by the monotonic clock."""

    @classmethod
    def load(cls, state_dir: Path) -> Self:
        """Read the identity in a state directory.

        Raises:
            NotEnrolledError: if there is none, or it is damaged.
        """
        directory = state_dir / DIRECTORY
        try:
            enrolment = msgspec.json.decode(_read(directory / ENROLMENT), type=Enrolment)
            paper = _read(directory / PAPER)
            certificate = x509.load_pem_x509_certificate(paper)
            key = load_pem_private_key(paper, None)
            commands.public_key(enrolment.command_key)
        except FileNotFoundError as error:
            raise NotEnrolledError(
                "this device is not enrolled: run `edgegate enroll --cloud URL --claim CODE`"
            ) from error
        except PermissionError as error:
            raise NotEnrolledError(f"the device's identity cannot be read: {error}") from error
        except (OSError, ValueError, TypeError, MalformedError) as error:
            raise NotEnrolledError(
                f"the device's identity is damaged, enrol it anew: {error}"
            ) from error
        if not _belongs(certificate, key, enrolment):
            raise NotEnrolledError(
                f"the files in {directory} do not belong together: enrol the device anew"
            )
        return cls(directory, enrolment, certificate)

    @property
    def site(self) -> str:
        """The site's name."""
        return self._enrolment.site

    @property
    def device(self) -> str:
        """This device's name."""
        return self._enrolment.device

    @property
    def names(self) -> tuple[str, ...]:
        """The names in the certificate, which renewals keep."""
        return self._enrolment.names

    @property
    def serial(self) -> int:
        """The certificate's serial number, which is random."""
        return self._certificate.serial_number

    @property
    def life(self) -> tuple[datetime, datetime]:
        """From when until when the certificate is good."""
        return self._certificate.not_valid_before_utc, self._certificate.not_valid_after_utc

    def tls(self) -> ssl.SSLContext:
        """Certificate, key and whom to trust, read from disk as they are now.

        Raises:
            OSError: if they cannot be read (an `ssl.SSLError` is one).
        """
        context = server_trust(self._enrolment.ca, self._enrolment.trust)
        context.load_cert_chain(self._directory / PAPER)
        return context

    def command_key(self) -> Ed25519PublicKey | None:
        """The site's key that signs commands."""
        return commands.public_key(self._enrolment.command_key)

    def broker(self) -> Broker | None:
        """The broker that the cloud named."""
        return self._enrolment.broker

    def expires_at(self) -> datetime | None:
        """When the certificate does."""
        return self.life[1]

    def next_key(self) -> ec.EllipticCurvePrivateKey:
        """The key for the certificate that follows; see the function of that name.

        Raises:
            OSError: if it could not be written.
        """
        return next_key(self._directory.parent)

    def renew(self, renewed: Renewed, key: ec.EllipticCurvePrivateKey) -> None:
        """Take the certificate that follows, here and on disk.

        Raises:
            ValueError: if it is another device's, or not for that key.
            MalformedError: if the command key is none.
            OSError: if it could not be written; the present one stays.
        """
        if (renewed.site, renewed.device) != (self.site, self.device):
            raise ValueError(
                f"the certificate is for {renewed.site}/{renewed.device}, not for this device"
            )
        enrolment, certificate = _write(self._directory, renewed, key, self._enrolment.trust)
        self._enrolment, self._certificate = enrolment, certificate


def adopt(
    state_dir: Path, enrolled: Renewed, key: ec.EllipticCurvePrivateKey, trust: Trust
) -> Identity:
    """Put a new identity into a state directory, in place of one that is there.

    Raises:
        ValueError: if what the cloud gave does not fit the key.
        MalformedError: if the command key is none.
        OSError: if it could not be written.
    """
    directory = _make_directory(state_dir)
    enrolment, certificate = _write(directory, enrolled, key, trust)
    return Identity(directory, enrolment, certificate)


def next_key(state_dir: Path) -> ec.EllipticCurvePrivateKey:
    """The key for the next certificate: the one made before, if its answer never came.

    A claim code is good for one key: so a try whose answer was lost can be made again.

    Raises:
        OSError: if it could not be written.
    """
    path = _make_directory(state_dir) / NEXT_KEY
    with suppress(FileNotFoundError, ValueError, TypeError):
        found = load_pem_private_key(_read(path), None)
        if isinstance(found, ec.EllipticCurvePrivateKey):
            return found
    key = ec.generate_private_key(ec.SECP256R1())
    _replace(path, _private_pem(key))
    return key


def request_pem(key: ec.EllipticCurvePrivateKey) -> str:
    """A certificate request (PKCS 10) for a key; the cloud says who it is for."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    return builder.sign(key, SHA256()).public_bytes(Encoding.PEM).decode()


def server_trust(ca: str, trust: Trust) -> ssl.SSLContext:
    """A context that knows the cloud's servers, without a certificate of one's own."""
    context = ssl.create_default_context(cadata=ca)
    if trust == "public":
        context.load_default_certs()
    return context


def _write(
    directory: Path, given: Renewed, key: ec.EllipticCurvePrivateKey, trust: Trust
) -> tuple[Enrolment, x509.Certificate]:
    """Write what the cloud gave; the certificate last, as it says which of them counts."""
    certificate = x509.load_pem_x509_certificate(given.certificate.encode())
    enrolment = Enrolment(
        site=given.site,
        device=given.device,
        ca=given.ca,
        command_key=given.command_key,
        trust=trust,
        broker=given.broker,
        names=given.names,
    )
    # Whatever of it is no good shows before anything is written.
    try:
        server_trust(given.ca, trust)
    except ssl.SSLError as error:
        raise ValueError(f"the authority is no certificate: {error}") from error
    commands.public_key(given.command_key)
    if not _belongs(certificate, key, enrolment):
        raise ValueError("the certificate is not for this device's key")
    _replace(directory / ENROLMENT, msgspec.json.encode(enrolment))
    _replace(directory / PAPER, _private_pem(key) + certificate.public_bytes(Encoding.PEM))
    (directory / NEXT_KEY).unlink(missing_ok=True)
    return enrolment, certificate


def _belongs(certificate: x509.Certificate, key: object, enrolment: Enrolment) -> bool:
    """Whether key, certificate and the rest are of one device."""
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        return False
    named = certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    if len(named) != 1:
        return False
    ours, theirs = (_public_der(k) for k in (key.public_key(), certificate.public_key()))
    name = of_common_name(str(named[0].value))
    return ours == theirs and name == (enrolment.site, enrolment.device)


def _public_der(key: object) -> bytes:
    if not isinstance(key, ec.EllipticCurvePublicKey):
        return b""
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _make_directory(state_dir: Path) -> Path:
    directory = state_dir / DIRECTORY
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    give_to_owner(directory, state_dir)
    return directory


def _replace(path: Path, content: bytes) -> None:
    replace_file(path, content, path.parent.parent)


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        content = file.read(FILE_BYTES_MAX + 1)
    if len(content) > FILE_BYTES_MAX:
        raise ValueError(f"{path.name} is too large")
    return content


def renewal_due(identity: Identity) -> datetime:
    """When two thirds of the certificate's life are over, and a little later.

    By up to a twentieth of its life, which its serial number decides: devices that were set up
    together do not all come on the same day, and a restart changes nothing.
    """
    begins, ends = identity.life
    life = ends - begins
    share = (identity.serial & 0xFFFF) / 0x10000
    return begins + life * 2 / 3 + life / 20 * share


def is_expired(identity: Identity, now: datetime | None = None) -> bool:
    """Whether the certificate is no longer good."""
    at = now or datetime.now(UTC)
    return at > identity.life[1]
