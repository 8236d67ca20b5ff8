"""The TLS contexts of the cloud: what devices connect to, and with what it connects to a broker.

Reading files and making keys blocks: call these on a thread.
"""

import os
import ssl
import tempfile
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from edgegate_sync.cloud.authority import Authority, private_pem, server_certificate


def server_context(authorities: Iterable[str]) -> ssl.SSLContext:
    """A context that asks for a client certificate, and takes those of our authorities alone."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # Enrolment and the admin API have none; who needs one is checked for each request.
    context.verify_mode = ssl.CERT_OPTIONAL
    trust(context, authorities)
    return context


def trust(context: ssl.SSLContext, authorities: Iterable[str]) -> None:
    """Take certificates of further authorities too, from the next connection on."""
    text = "".join(authorities)
    if text:
        context.load_verify_locations(cadata=text)


def certify(context: ssl.SSLContext, authority: Authority, names: tuple[str, ...]) -> None:
    """Give a server a new key and a certificate for these names, from its next connection on."""
    key, certificate = issue(authority, names)
    with tempfile.TemporaryDirectory() as top:
        path = Path(top) / "server.pem"
        # Python's ssl reads keys from files only; this one is gone in a moment.
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(key + certificate)
        context.load_cert_chain(path)


def issue(authority: Authority, names: tuple[str, ...]) -> tuple[bytes, bytes]:
    """A new key and server certificate for these names, both PEM: for a broker, for example."""
    key = ec.generate_private_key(ec.SECP256R1())
    made = server_certificate(authority, names, key.public_key(), datetime.now(UTC))
    return private_pem(key), made.public_bytes(Encoding.PEM)


def client_context(ca: Path | None, certificate: Path | None, key: Path | None) -> ssl.SSLContext:
    """What the cloud connects to its broker with."""
    context = ssl.create_default_context(cafile=None if ca is None else str(ca))
    if certificate is not None:
        context.load_cert_chain(certificate, key)
    return context
