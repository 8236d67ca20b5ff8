"""A site's own authority for Wi-Fi: what it signs for the server and for people's devices.

Profiles follow RFC 5280; phones pin this authority, so it outlives what it signs by far.
"""

from datetime import datetime, timedelta
from typing import Literal, TypeAlias

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    pkcs12,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from msgspec import Struct

Key: TypeAlias = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
KeyKind: TypeAlias = Literal["ec", "rsa"]
"""P-256, or RSA of 2048 bits for devices that know nothing else."""

AUTHORITY_DAYS = 20 * 365
"""Renewing it means to set every phone up anew."""

SERVER_DAYS = 820
"""Apple's systems take no server certificate of more than 825 days (support article 103769)."""

CLIENT_DAYS = 3 * 365

CLOCK_SLACK = timedelta(days=1)
"""A device whose clock is behind must not find a new certificate in the future."""

NAME_CHARACTERS_MAX = 64
"""RFC 5280, appendix A: ub-common-name."""

_PKCS12_ROUNDS = 20_000
"""Windows reads no more than 600,000; the password is made for one use."""

_RSA_BITS = 2048
_RSA_EXPONENT = 65_537


class Authority(Struct, frozen=True):
    """An authority that can sign."""

    certificate: x509.Certificate
    key: Key


def new_key(kind: KeyKind) -> Key:
    """A new private key."""
    if kind == "ec":
        return ec.generate_private_key(ec.SECP256R1())
    return rsa.generate_private_key(_RSA_EXPONENT, _RSA_BITS)


def new_authority(name: str, kind: KeyKind, at: datetime) -> Authority:
    """An authority that signs leaves only."""
    key = new_key(kind)
    subject = _common_name(name)
    builder = (
        _builder(subject, subject, key, at, timedelta(days=AUTHORITY_DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    return Authority(builder.sign(key, SHA256()), key)


def server_certificate(
    authority: Authority, server_name: str, key: Key, at: datetime
) -> x509.Certificate:
    """What the server shows; phones compare `server_name` with the name they were told."""
    builder = _leaf(authority, server_name, key, at, timedelta(days=SERVER_DAYS))
    return (
        builder.add_extension(_extended_usage(ExtendedKeyUsageOID.SERVER_AUTH), critical=False)
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName(server_name)]),
            critical=False,
        )
        .sign(authority.key, SHA256())
    )


def client_certificate(
    authority: Authority, login: str, key: Key, at: datetime, until: datetime | None = None
) -> x509.Certificate:
    """What a person's device shows in the place of a password.

    Raises:
        ValueError: if the login is empty or too long for a certificate.
    """
    if not 0 < len(login) <= NAME_CHARACTERS_MAX or not login.isprintable():
        raise ValueError(f"a login for a certificate has 1 to {NAME_CHARACTERS_MAX} characters")
    life = timedelta(days=CLIENT_DAYS) if until is None else until - at
    builder = _leaf(authority, login, key, at, life).add_extension(
        _extended_usage(ExtendedKeyUsageOID.CLIENT_AUTH), critical=False
    )
    return builder.sign(authority.key, SHA256())


def bundle(authority: Authority, certificate: x509.Certificate, key: Key, password: bytes) -> bytes:
    """A certificate with its key as a PKCS 12 file, as phones and laptops take it."""
    # The older of the two encryptions: Apple's and Android's importers do not know the newer one.
    encryption = (
        PrivateFormat.PKCS12.encryption_builder()
        .kdf_rounds(_PKCS12_ROUNDS)
        .key_cert_algorithm(pkcs12.PBES.PBESv1SHA1And3KeyTripleDESCBC)
        .hmac_hash(SHA1())  # noqa: S303 - see above
        .build(password)
    )
    name = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value
    label = name if isinstance(name, bytes) else name.encode()
    return pkcs12.serialize_key_and_certificates(
        label, key, certificate, [authority.certificate], encryption
    )


def certificate_pem(*chain: x509.Certificate) -> bytes:
    """Certificates as text."""
    return b"".join(certificate.public_bytes(Encoding.PEM) for certificate in chain)


def key_pem(key: Key) -> bytes:
    """A private key as PKCS 8 without a password: only for files of mode 0600."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def load_key(pem: bytes) -> Key:
    """A private key from text.

    Raises:
        ValueError: if it is none, has a password, or is neither RSA nor of an elliptic curve.
    """
    try:
        key = load_pem_private_key(pem, None)
    except TypeError as error:
        raise ValueError("the key has a password: remove it (openssl pkey)") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise ValueError("the key must be RSA or of an elliptic curve")  # noqa: TRY004
    return key


def is_key_of(key: Key, certificate: x509.Certificate) -> bool:
    """Whether a private key belongs to a certificate."""
    ours = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    theirs = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return ours == theirs


def serial_of(certificate: x509.Certificate) -> str:
    """A certificate's serial number as text, as it is everywhere else."""
    return f"{certificate.serial_number:x}"


def _leaf(
    authority: Authority, name: str, key: Key, at: datetime, life: timedelta
) -> x509.CertificateBuilder:
    issuer = authority.certificate
    identifier = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    # None outlives its authority: devices would not say why they refuse it.
    life = min(life, issuer.not_valid_after_utc - at)
    return (
        _builder(_common_name(name), issuer.subject, key, at, life)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(
            _usage(signs_certificates=False, is_rsa=isinstance(key, rsa.RSAPrivateKey)),
            critical=True,
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier),
            critical=False,
        )
    )


def _builder(
    subject: x509.Name, issuer: x509.Name, key: Key, at: datetime, life: timedelta
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(at - CLOCK_SLACK)
        .not_valid_after(at + life)
    )


def _common_name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:NAME_CHARACTERS_MAX])])


def _extended_usage(purpose: x509.ObjectIdentifier) -> x509.ExtendedKeyUsage:
    return x509.ExtendedKeyUsage([purpose])


def _usage(*, signs_certificates: bool, is_rsa: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=is_rsa,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )
