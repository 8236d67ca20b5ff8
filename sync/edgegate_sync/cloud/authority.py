"""A certificate authority of one's own: P-256, ten years; leaves live 398 days.

Profiles follow RFC 5280. What a certificate request says of names and extensions is ignored: who a
device is, the claim decides.
"""

from datetime import datetime, timedelta
from ipaddress import ip_address

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from msgspec import Struct

from edgegate_sync.wire.topics import COMMON_NAME_MAX

AUTHORITY_DAYS = 3650
LEAF_DAYS = 398
"""The longest that browsers and Apple's systems accept (CA/Browser Forum ballot SC31)."""

CLOCK_SLACK = timedelta(hours=1)
"""A device whose clock is a little behind must not find its new certificate in the future."""


class RequestFaultError(ValueError):
    """A certificate request that is none, or whose key may not be certified."""


class Authority(Struct, frozen=True):
    """An authority that can sign."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def certificate_pem(self) -> str:
        """What others need in order to trust it."""
        return self.certificate.public_bytes(Encoding.PEM).decode()

    @property
    def key_pem(self) -> bytes:
        """Its private key, unencrypted: only for the vault."""
        return private_pem(self.key)

    def escrow_pem(self, passphrase: bytes) -> bytes:
        """Its private key under a passphrase, to be kept elsewhere."""
        return self.key.private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(passphrase)
        )


def private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """A private key as PKCS 8."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def new_authority(name: str, at: datetime) -> Authority:
    """An authority that signs leaves only."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:COMMON_NAME_MAX])])
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    usage = _usage(signs_certificates=True)
    builder = (
        _builder(subject, subject, key.public_key(), at, AUTHORITY_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(identifier, critical=False)
    )
    return Authority(builder.sign(key, SHA256()), key)


def load_authority(certificate_pem: str, key_pem: bytes) -> Authority:
    """An authority from what was kept of it."""
    key = load_pem_private_key(key_pem, None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise TypeError("an authority's key is of P-256")
    return Authority(x509.load_pem_x509_certificate(certificate_pem.encode()), key)


def requested_key(pem: str) -> ec.EllipticCurvePublicKey:
    """The key that a certificate request (PKCS 10, PEM) wants certified.

    Raises:
        RequestFaultError: if it is no request, is not signed with that key, or the key is not of
            P-256.
    """
    try:
        request = x509.load_pem_x509_csr(pem.encode())
        key = request.public_key()
        signed = request.is_signature_valid
    except (ValueError, TypeError, InvalidSignature, x509.UnsupportedGeneralNameType) as error:
        raise RequestFaultError("this is no certificate request (PKCS 10 in PEM)") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise RequestFaultError("the key must be of the curve P-256")
    if not signed:
        raise RequestFaultError("the request is not signed with the key that it names")
    return key


def device_certificate(
    authority: Authority, name: str, key: ec.EllipticCurvePublicKey, at: datetime
) -> x509.Certificate:
    """A client certificate for a device by its common name, "<site>/<device>"."""
    builder = _leaf(authority, name, key, at, ExtendedKeyUsageOID.CLIENT_AUTH)
    return builder.sign(authority.key, SHA256())


def server_certificate(
    authority: Authority, names: tuple[str, ...], key: ec.EllipticCurvePublicKey, at: datetime
) -> x509.Certificate:
    """A server certificate for host names and addresses; the first is its common name."""
    builder = _leaf(authority, names[0], key, at, ExtendedKeyUsageOID.SERVER_AUTH)
    alternatives = x509.SubjectAlternativeName([_general_name(name) for name in names])
    return builder.add_extension(alternatives, critical=False).sign(authority.key, SHA256())


def serial_of(certificate: x509.Certificate) -> str:
    """A certificate's serial number as the database has it."""
    return f"{certificate.serial_number:x}"


def _leaf(
    authority: Authority,
    name: str,
    key: ec.EllipticCurvePublicKey,
    at: datetime,
    purpose: x509.ObjectIdentifier,
) -> x509.CertificateBuilder:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:COMMON_NAME_MAX])])
    issuer = authority.certificate
    identifier = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return (
        _builder(subject, issuer.subject, key, at, LEAF_DAYS)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier),
            critical=False,
        )
    )


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, at: datetime, days: int
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(at - CLOCK_SLACK)
        .not_valid_after(at + timedelta(days=days))
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)
