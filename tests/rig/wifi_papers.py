"""A Wi-Fi site's certificates for tests: authorities, servers, clients, of each kind of key."""

from datetime import UTC, datetime
from functools import cache
from typing import TypeAlias

from cryptography import x509

from edgegate.wifi.authority import (
    Authority,
    Key,
    KeyKind,
    client_certificate,
    new_authority,
    new_key,
    server_certificate,
)
from edgegate.wifi.eap.identity import ServerIdentity

SERVER_NAME = "wifi.example.org"
SITE = "Example Wi-Fi"

Paper: TypeAlias = tuple[x509.Certificate, Key]


def authority(kind: KeyKind = "ec", name: str = SITE) -> Authority:
    """The same one whenever it is asked for."""
    return _authority(kind, name)


def server(kind: KeyKind = "ec") -> Paper:
    """The site's server."""
    return _server(kind)


def client(login: str = "anna", kind: KeyKind = "ec", by: str = SITE) -> Paper:
    """Somebody's certificate."""
    return _client(login, kind, by)


def identity(kind: KeyKind = "ec", revoked: frozenset[str] = frozenset()) -> ServerIdentity:
    """The server as EAP needs it."""
    certificate, key = server(kind)
    return ServerIdentity(
        [certificate],
        key,
        client_authorities=[authority(kind).certificate],
        is_revoked=revoked.__contains__,
    )


@cache
def _authority(kind: KeyKind, name: str) -> Authority:
    return new_authority(name, kind, datetime.now(UTC))


@cache
def _server(kind: KeyKind) -> Paper:
    key = new_key(kind)
    return server_certificate(_authority(kind, SITE), SERVER_NAME, key, datetime.now(UTC)), key


@cache
def _client(login: str, kind: KeyKind, by: str) -> Paper:
    key = new_key(kind)
    return client_certificate(_authority(kind, by), login, key, datetime.now(UTC)), key
