"""Certificates for both servers and the stations: one authority, EC P-256, made for each run."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

SERVER_NAME = "wifi.bench.example"


@dataclass(frozen=True, slots=True)
class Certificates:
    """Files, all PEM."""

    authority: Path
    server_chain: Path
    server_key: Path
    station: Path
    """A station's certificate and key in one file."""
    server_name: str = SERVER_NAME


def make(directory: Path, member: str) -> Certificates:
    """Make them; the station's is that of a member."""
    directory.mkdir()
    issuer_key = ec.generate_private_key(ec.SECP256R1())
    issuer = _sign("Bench CA", issuer_key.public_key(), "Bench CA", issuer_key, None)
    server_key = ec.generate_private_key(ec.SECP256R1())
    server = _sign(
        SERVER_NAME,
        server_key.public_key(),
        "Bench CA",
        issuer_key,
        ExtendedKeyUsageOID.SERVER_AUTH,
    )
    own_key = ec.generate_private_key(ec.SECP256R1())
    own = _sign(
        member, own_key.public_key(), "Bench CA", issuer_key, ExtendedKeyUsageOID.CLIENT_AUTH
    )
    files = Certificates(
        directory / "ca.pem",
        directory / "server.pem",
        directory / "server.key",
        directory / "station.pem",
    )
    files.authority.write_bytes(_pem(issuer))
    files.server_chain.write_bytes(_pem(server))
    files.server_key.write_bytes(_pem_key(server_key))
    files.server_key.chmod(0o600)
    files.station.write_bytes(_pem(own) + _pem_key(own_key))
    return files


def _sign(
    subject: str,
    key: ec.EllipticCurvePublicKey,
    issuer: str,
    issuer_key: ec.EllipticCurvePrivateKey,
    usage: x509.ObjectIdentifier | None,
) -> x509.Certificate:
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(subject))
        .issuer_name(_name(issuer))
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=2))
        .add_extension(x509.BasicConstraints(ca=usage is None, path_length=None), critical=True)
    )
    if usage is not None:
        builder = builder.add_extension(
            x509.SubjectAlternativeName([x509.DNSName(subject)]), critical=False
        ).add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
    return builder.sign(issuer_key, hashes.SHA256())


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _pem_key(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
