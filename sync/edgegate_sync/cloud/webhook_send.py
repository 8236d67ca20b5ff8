"""Sends one webhook: signed as Standard Webhooks says, and only to where it may go.

An address is resolved by this module alone, and what it resolves to is what is connected to, so
that a name cannot point elsewhere between the look and the connection. Redirects are not followed.
"""

import base64
import hashlib
import hmac
import ipaddress
import secrets
import socket
import ssl
from collections.abc import Iterable
from urllib.parse import urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from msgspec import Struct

SECRET_PREFIX = "whsec_"  # noqa: S105 - what every such secret begins with
SECRET_BYTES = 32

URL_MAX = 2048
SEND_S_MAX = 15
"""How long an address may take for its answer."""

HEADER_BYTES_MAX = 8190

_Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class AddressRefusedError(OSError):
    """An address to which no webhook may go."""


class Outcome(Struct, frozen=True, kw_only=True):
    """How an attempt ended: `status` if there was an answer, else `error`."""

    status: int | None = None
    error: str = ""

    @property
    def is_done(self) -> bool:
        """Whether the other side has it."""
        return self.status is not None and 200 <= self.status < 300


def new_secret() -> bytes:
    """What a new endpoint's webhooks are signed with."""
    return secrets.token_bytes(SECRET_BYTES)


def secret_text(secret: bytes) -> str:
    """A secret as it is told, once."""
    return SECRET_PREFIX + base64.b64encode(secret).decode()


def signature(secret: bytes, message_id: str, timestamp: int, body: bytes) -> str:
    """`v1,` and HMAC-SHA-256 over id, timestamp and body (Standard Webhooks, "Signature")."""
    signed = f"{message_id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(secret, signed, hashlib.sha256).digest()).decode()


def headers(keys: Iterable[bytes], message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The headers of a webhook, signed with each secret that is good now."""
    return {
        "Content-Type": "application/json",
        "User-Agent": "edgegate-webhooks",
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(signature(k, message_id, timestamp, body) for k in keys),
    }


class Guard:
    """Where webhooks may go: everywhere in the public internet, and into networks named here."""

    def __init__(self, allowed: Iterable[str] = ()) -> None:
        self._allowed: tuple[_Network, ...] = tuple(map(ipaddress.ip_network, allowed))

    def check_url(self, url: str) -> None:
        """See that a URL can be one: https, or http into an allowed network by its address.

        Raises:
            ValueError: if it cannot, saying why.
        """
        if len(url) > URL_MAX or not url.isascii() or not url.isprintable() or " " in url:
            raise ValueError(f"must be an ASCII URL of at most {URL_MAX} characters")
        parts = urlsplit(url)
        if not parts.hostname or parts.username is not None or parts.fragment:
            raise ValueError("must be like https://host/path, without a user and without #")
        # A port that is none raises ValueError here.
        address = _address_of(parts.hostname) if parts.port != 0 else None
        if parts.scheme != "https" and not (
            parts.scheme == "http" and address is not None and self._is_named(address)
        ):
            raise ValueError("must be https://")
        if address is not None and not self.admits(address):
            raise ValueError(f"{parts.hostname} is no public address")

    def admits(self, address: _Address) -> bool:
        """Whether webhooks may go to an address."""
        return self._is_named(address) or all(
            one.is_global and not one.is_multicast and not one.is_reserved
            for one in _meant(address)
        )

    def _is_named(self, address: _Address) -> bool:
        return any(address in network for network in self._allowed)


class GuardedResolver(AbstractResolver):
    """Resolves names to addresses that the guard admits; the others are as if not there."""

    def __init__(self, guard: Guard, inner: AbstractResolver) -> None:
        self._guard = guard
        self._inner = inner

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """The addresses of a host that may be connected to."""
        found = await self._inner.resolve(host, port, family)
        good = [one for one in found if self._guard.admits(ipaddress.ip_address(one["host"]))]
        if not good:
            raise AddressRefusedError(f"{host} has no public address")
        return good

    async def close(self) -> None:
        """Close what really resolves."""
        await self._inner.close()


def open_session(guard: Guard, context: ssl.SSLContext) -> aiohttp.ClientSession:
    """What webhooks are sent with: no cookies, no proxy, nothing kept of an answer."""
    resolver = GuardedResolver(guard, aiohttp.ThreadedResolver())
    connector = aiohttp.TCPConnector(resolver=resolver, ssl=context, use_dns_cache=False)
    return aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=SEND_S_MAX),
        auto_decompress=False,
        max_line_size=HEADER_BYTES_MAX,
        max_field_size=HEADER_BYTES_MAX,
    )


async def send(
    session: aiohttp.ClientSession, guard: Guard, url: str, body: bytes, fields: dict[str, str]
) -> Outcome:
    """Post a webhook once; never raises for what the other side does."""
    try:
        # What was allowed when the endpoint was made may not be so any more.
        guard.check_url(url)
        async with session.post(url, data=body, headers=fields, allow_redirects=False) as response:
            return Outcome(status=response.status)
    except TimeoutError:
        return Outcome(error=f"no answer within {SEND_S_MAX} s")
    except (aiohttp.ClientError, OSError, ValueError) as error:
        return Outcome(error=str(error)[:300] or type(error).__name__)


def _address_of(host: str) -> _Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _meant(address: _Address) -> tuple[_Address, ...]:
    """An address, and the one of the older protocol that it stands for."""
    if isinstance(address, ipaddress.IPv4Address):
        return (address,)
    if address.ipv4_mapped is not None:
        return (address.ipv4_mapped,)
    if address.sixtofour is not None:
        return (address, address.sixtofour)
    if address.teredo is not None:
        return (address, *address.teredo)
    if address in ipaddress.IPv6Network("64:ff9b::/96"):
        # RFC 6052: the last 32 bits are where a translator sends it.
        return (ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF),)
    return (address,)
