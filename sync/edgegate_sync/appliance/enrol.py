"""Makes this computer a device of a site: a claim code becomes a key, a certificate, and trust.

With a fingerprint behind the claim code, whom the cloud is known by is fetched over a connection
that is not believed, compared, and only then the claim code is told, over one that is. Without it
the public authorities say whether this is the cloud's server.
"""

import asyncio
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from edgegate_sync.appliance import identity
from edgegate_sync.appliance.client import CloudClient, Timing
from edgegate_sync.appliance.errors import CloudError, RefusedError, UnreachableError
from edgegate_sync.appliance.identity import Identity, Trust
from edgegate_sync.wire.claims import ClaimFaultError, TypedClaim, is_of, read_claim
from edgegate_sync.wire.enrolment import Enrolled, EnrolRequest
from edgegate_sync.wire.errors import MalformedError, ProblemType

# What OpenSSL calls them (openssl-verify, "Diagnostics"): X509_V_ERR_…
_NOT_YET_VALID = 9
_HAS_EXPIRED = 10
_OTHER_NAME = (62, 64)


class EnrolError(Exception):
    """The device could not be enrolled; the message says why and what to do."""


async def enrol(
    url: str,
    claim: str,
    state_dir: Path,
    device: str | None = None,
    timing: Timing | None = None,
) -> Identity:
    """Enrol this computer, and put its identity into the state directory.

    Args:
        url: where the cloud is, like "https://cloud.example:8443".
        claim: as it was typed, with or without a fingerprint.
        state_dir: the appliance's state directory.
        device: what it would like to be called, where the claim code does not say.
        timing: see `Timing`.

    Raises:
        EnrolError: with a sentence for whoever installs it; the claim code is then as good as it
            was, unless that says otherwise.
    """
    _check_url(url)
    try:
        typed = read_claim(claim)
    except ClaimFaultError as error:
        raise EnrolError(str(error)) from error
    trust: Trust = "own" if typed.print else "public"
    with _told(url):
        context = await _context(url, typed, timing)
    try:
        key = await asyncio.to_thread(identity.next_key, state_dir)
        request = EnrolRequest(claim=typed.code, csr=identity.request_pem(key), device=device)
        with _told(url, typed):
            async with CloudClient(url, context, timing) as client:
                enrolled = await client.enroll(request)
        return await asyncio.to_thread(_adopt, state_dir, enrolled, key, trust)
    except OSError as error:
        raise EnrolError(f"the identity cannot be written: {error}") from error


def _adopt(
    state_dir: Path, enrolled: Enrolled, key: ec.EllipticCurvePrivateKey, trust: Trust
) -> Identity:
    try:
        return identity.adopt(state_dir, enrolled, key, trust)
    except (ValueError, MalformedError) as error:
        raise EnrolError(f"what the cloud gave cannot be used: {error}") from error


def _check_url(url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme != "https" or not parts.hostname or parts.path not in ("", "/"):
        raise EnrolError(
            f'{url!r} is no address of a cloud: it looks like "https://cloud.example:8443"'
        )


async def _context(url: str, typed: TypedClaim, timing: Timing | None) -> ssl.SSLContext:
    """Whom to believe to be the cloud's server."""
    if typed.print is None:
        return await asyncio.to_thread(ssl.create_default_context)
    stranger = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # What comes over this connection is compared with the fingerprint, and nothing secret goes out.
    stranger.check_hostname = False
    stranger.verify_mode = ssl.CERT_NONE
    async with CloudClient(url, stranger, timing) as client:
        told = await client.authority()
    try:
        certificate = x509.load_pem_x509_certificate(told.ca.encode())
    except ValueError as error:
        raise EnrolError(f"{url} names an authority that is none: {error}") from error
    der = certificate.public_bytes(Encoding.DER)
    if not is_of(typed.print, der):
        raise EnrolError(
            f"{url} is another cloud than the one that the claim code is of, or somebody stands"
            ' between: its authority is not the one behind the "@". The claim code was not told.'
        )
    # Nothing but this one certificate, whatever else stood beside it.
    return identity.server_trust(certificate.public_bytes(Encoding.PEM).decode(), "own")


@contextmanager
def _told(url: str, typed: TypedClaim | None = None) -> Iterator[None]:
    """Turn what the connection may fail by into a sentence for whoever installs the device."""
    try:
        yield
    except RefusedError as error:
        raise EnrolError(_refusal(url, error)) from error
    except UnreachableError as error:
        raise EnrolError(_obstacle(url, error.__cause__ or error, typed)) from error
    except CloudError as error:
        raise EnrolError(f"{url} does not answer as a cloud does: {error}") from error


def _refusal(url: str, error: RefusedError) -> str:
    if error.problem.type == ProblemType.CLAIM_UNKNOWN:
        return (
            "the cloud does not take this claim code: it is mistyped, was used before, or has"
            " expired. A code is good for one device and for a day; make a new one in the cloud"
            " (`edgegate cloud claim`)"
        )
    if error.status == 404:
        return f"{url} answers, but is no edgegate cloud"
    if error.status == 429:
        wait_s = error.retry_after_s or 60.0
        return f"there were too many tries from here: wait {wait_s:.0f} s and try again"
    return f"the cloud refuses: {error.problem.detail or error.problem.title}"


def _obstacle(url: str, cause: BaseException, typed: TypedClaim | None) -> str:
    host = urlsplit(url).hostname
    fault = getattr(cause, "certificate_error", None)
    if isinstance(fault, ssl.SSLCertVerificationError):
        return _distrust(url, fault, typed)
    if isinstance(cause, aiohttp.ClientConnectorDNSError):
        return f"there is no host {host}, or no network here to look it up: {cause}"
    if isinstance(cause, aiohttp.ClientConnectorSSLError):
        return f"{url} speaks no TLS that this device speaks: {cause}"
    if isinstance(cause, aiohttp.ClientConnectorError):
        return f"there is no way to {url}: {cause}"
    if isinstance(cause, TimeoutError):
        return f"{url} does not answer: is there a firewall in between?"
    return f"{url} cannot be reached: {cause}"


def _distrust(url: str, fault: ssl.SSLCertVerificationError, typed: TypedClaim | None) -> str:
    now = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
    if fault.verify_code == _NOT_YET_VALID:
        return (
            f"this device's clock is wrong: it says {now}, when the certificate of {url} was not"
            " valid yet. Wait for NTP, or set the clock, and try again"
        )
    if fault.verify_code == _HAS_EXPIRED:
        return (
            f"the certificate of {url} has expired, or this device's clock is wrong: it says {now}"
        )
    if fault.verify_code in _OTHER_NAME:
        return (
            f"the server's certificate is not for {urlsplit(url).hostname}: take the name that the"
            " cloud was set up with (`edgegate cloud serve --name`)"
        )
    if typed is not None and typed.print is not None:
        return (
            f"the certificate of {url} is not of the authority behind the claim code's"
            ' "@". If the cloud has a certificate of a public authority, leave out "@" and what'
            " follows"
        )
    return (
        f"no public authority vouches for {url}: a cloud with its own authority gives a claim code"
        f' with an "@" and 20 more characters in it; take all of that ({fault.verify_message})'
    )
