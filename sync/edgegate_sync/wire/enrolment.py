"""How a device becomes one of a site, and stays one: a claim code and a request for a certificate.

The private key (P-256) never leaves the device; what travels is PEM.
"""

from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from edgegate.passes.model import Instant
from edgegate_sync.wire.errors import read

PEM_BYTES_MAX = 16_384
ENROLMENT_BYTES_MAX = 65_536

Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")]
"""What sites and devices are called; `<site>/<device>` has at most 64 characters together."""

Pem = Annotated[str, Meta(min_length=1, max_length=PEM_BYTES_MAX)]
Port = Annotated[int, Meta(ge=1, le=65_535)]
Host = Annotated[str, Meta(min_length=1, max_length=253)]
ClaimCode = Annotated[str, Meta(pattern=r"^[A-Za-z0-9-]{8,64}\Z")]


class EnrolRequest(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`POST /v1/enroll`: the only request that needs no certificate."""

    claim: ClaimCode
    """Given out by the cloud, good for one device and for a while."""
    csr: Pem
    """PKCS #10, signed with the device's own key; the cloud sets the subject."""
    device: Name | None = None
    """What the device would like to be called; the claim code may say otherwise."""


class Broker(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Where MQTT is spoken: over TLS, or over WebSocket where a network lets nothing else out."""

    host: Host
    port: Port = 8883
    websocket_port: Port | None = None
    websocket_path: Annotated[str, Meta(pattern=r"^/[!-~]{0,199}\Z")] = "/mqtt"


class Renewed(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a device is given with each certificate; it keeps all of it in the place of the old."""

    site: Name
    device: Name
    certificate: Pem
    """The leaf; its common name is `<site>/<device>`."""
    ca: Pem
    """Whom the device trusts as cloud and broker; more than one while they change."""
    expires_at: Instant
    command_key: Annotated[str, Meta(min_length=44, max_length=44)]
    """The site's Ed25519 public key, 32 bytes in base64: `commands.public_key` reads it."""
    broker: Broker | None = None
    """None: there is none, and the device polls."""
    names: Annotated[tuple[Host, ...], Meta(max_length=32)] = ()
    """The names in the certificate, which renewals keep."""


class Enrolled(Renewed, frozen=True, kw_only=True):
    """The answer to `POST /v1/enroll`."""


class CloudAuthority(Struct, frozen=True, kw_only=True):
    """The answer to `GET /v1/authority`: worth something to who knows its fingerprint."""

    ca: Pem
    """The certificate of the authority that certifies the cloud's servers."""


class RenewRequest(Struct, frozen=True, kw_only=True):
    """`POST /v1/renew`, with the certificate that is to be replaced."""

    csr: Pem


_enrolled = msgspec.json.Decoder(Enrolled)
_renewed = msgspec.json.Decoder(Renewed)
_authority = msgspec.json.Decoder(CloudAuthority)


def decode_enrolled(body: bytes) -> Enrolled:
    """The cloud's answer to an enrolment, or a `MalformedError`."""
    return read(_enrolled, body, "enrolment", ENROLMENT_BYTES_MAX)


def decode_renewed(body: bytes) -> Renewed:
    """The cloud's answer to a renewal, or a `MalformedError`."""
    return read(_renewed, body, "renewal", ENROLMENT_BYTES_MAX)


def decode_authority(body: bytes) -> CloudAuthority:
    """The cloud's answer to who certifies it, or a `MalformedError`."""
    return read(_authority, body, "authority", ENROLMENT_BYTES_MAX)
