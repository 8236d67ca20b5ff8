"""The table of the admin API: sites, devices, commands, tokens, and every module's operations."""

from typing import Annotated

from msgspec import Meta, Raw, Struct

from edgegate.passes.model import Instant
from edgegate_sync.cloud.csv_import_api import IMPORT_OPERATIONS
from edgegate_sync.cloud.metrics import METRICS_OPERATIONS
from edgegate_sync.cloud.record_operations import (
    ADMIN,
    CURSOR,
    LIMIT,
    RECORD_OPERATIONS,
    SITE,
    part_of_site,
)
from edgegate_sync.cloud.tokens import Scope as TokenScope
from edgegate_sync.cloud.tokens import Token
from edgegate_sync.cloud.usage_operations import USAGE_OPERATIONS
from edgegate_sync.cloud.webhook_operations import WEBHOOK_OPERATIONS
from edgegate_sync.cloud.wifi_operations import WIFI_OPERATIONS
from edgegate_sync.wire.commands import CommandArgs, CommandName, Reply
from edgegate_sync.wire.enrolment import Name
from edgegate_sync.wire.kinds import KINDS
from edgegate_sync.wire.openapi import Document
from edgegate_sync.wire.operations import Body, Operation, Parameter, Part, Place, Scope, done, told

CLAIM_MINUTES_MAX = 30 * 24 * 60

DEVICE = Parameter("device", Name, "The device's name.", place=Place.PATH)
TOKEN = Parameter("token", Annotated[str, Meta(max_length=32)], "The token's id.", place=Place.PATH)
Label = Annotated[str, Meta(max_length=200, pattern=r"^[^\x00]*\Z")]


class NewSite(Struct, frozen=True, kw_only=True):
    """A site that is to be."""

    id: Name
    name: Label = ""


class Site(Struct, frozen=True, kw_only=True):
    """A space with its own devices, records and authority."""

    id: str
    name: str
    head: int
    created_at: Instant


class Sites(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Some sites in the order of their ids."""

    sites: tuple[Site, ...]
    next: str | None = None


class Device(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A device, and what it last said of itself (`DeviceState`)."""

    id: str
    created_at: Instant
    seen_at: Instant | None = None
    revoked_at: Instant | None = None
    online: bool = False
    """Whether it is connected to the broker; without a broker `seen_at` tells."""
    state_at: Instant | None = None
    state: Raw


class Devices(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Some devices in the order of their names."""

    devices: tuple[Device, ...]
    next: str | None = None


class NewClaim(Struct, frozen=True, kw_only=True):
    """What a claim code is for: a named device, which may be replaced by it, or any new one."""

    device: Name | None = None
    minutes: Annotated[int, Meta(ge=1, le=CLAIM_MINUTES_MAX)] = 24 * 60


class Claim(Struct, frozen=True, kw_only=True):
    """A claim code, told this once."""

    claim: str
    typed: str
    """What to type on the device: the code, and behind "@" by which authority it knows the cloud;
    without that where the cloud has a certificate of a public one."""
    expires_at: Instant
    ca: str
    """Whom the device will trust, as PEM; so that it need not trust blindly when it enrols."""
    ca_fingerprint: str
    """The SHA-256 of that certificate, in hexadecimal."""


class NewCommand(Struct, frozen=True, kw_only=True):
    """What a device is to do, at once or not at all."""

    name: CommandName
    args: Annotated[CommandArgs, Meta(max_length=16)] = {}


class NewToken(Struct, frozen=True, kw_only=True):
    """A token that is to be."""

    name: Label
    scopes: Annotated[tuple[TokenScope, ...], Meta(min_length=1, max_length=5)]
    expires_at: Instant | None = None


class MadeToken(Struct, frozen=True, kw_only=True):
    """A token with its secret, told this once."""

    token: Token
    secret: str


class Tokens(Struct, frozen=True, kw_only=True):
    """All tokens, without their secrets."""

    tokens: tuple[Token, ...]


_SITES = Part("sites", Scope.READ, base=ADMIN, known=(SITE,))

SITE_OPERATIONS = (
    _SITES.operation(
        "list_sites",
        "GET /sites",
        "List the sites, page by page.",
        told("A page.", Sites),
        *(LIMIT, CURSOR),
    ),
    _SITES.operation(
        "create_site",
        "POST /sites",
        "Make a site with an authority of its own.",
        told("It is made.", Site, 201),
        scope=Scope.ADMIN,
        body=Body(type=NewSite),
        problems={409: "There is a site of that id."},
    ),
    _SITES.operation(
        "get_site",
        "GET /sites/{site}",
        "Read one site.",
        told("The site.", Site),
        problems={404: "There is no such site."},
    ),
)

_DEVICES = part_of_site("devices", Scope.DEVICES, DEVICE)
_NO_DEVICE = {404: "There is no such device."}

DEVICE_OPERATIONS = (
    _DEVICES.operation(
        "create_claim",
        "POST /claims",
        "Make a claim code, with which one device can enrol once.",
        told("The code, told this once.", Claim, 201),
        body=Body(type=NewClaim),
    ),
    _DEVICES.operation(
        "list_devices",
        "GET /devices",
        "List the devices of a site with their last states, page by page.",
        told("A page.", Devices),
        *(LIMIT, CURSOR),
    ),
    _DEVICES.operation(
        "get_device",
        "GET /devices/{device}",
        "Read one device with its last state.",
        told("The device.", Device),
        problems=_NO_DEVICE,
    ),
    _DEVICES.operation(
        "revoke_device",
        "POST /devices/{device}/revoke",
        "Lock a device out: its certificates are refused and its connections cut.",
        done("It is locked out within a minute."),
        problems=_NO_DEVICE,
    ),
    _DEVICES.operation(
        "command_device",
        "POST /devices/{device}/commands",
        "Have a device do something now, and hear what came of it.",
        told("What the device says.", Reply),
        body=Body(type=NewCommand),
        problems={
            **_NO_DEVICE,
            409: "The device has not said anything yet, so that no command can be made for it.",
            503: "There is no broker, or it is away.",
            504: "The device did not answer; the command is void by now.",
        },
        more="A command expires within ten seconds and is obeyed once; it is never kept for later.",
    ),
)

_TOKENS = Part("tokens", Scope.ADMIN, base=ADMIN, known=(TOKEN,))

TOKEN_OPERATIONS = (
    _TOKENS.operation(
        "list_tokens",
        "GET /tokens",
        "List the API tokens without their secrets.",
        told("All of them.", Tokens),
    ),
    _TOKENS.operation(
        "create_token",
        "POST /tokens",
        "Make an API token.",
        told("The token, its secret told this once.", MadeToken, 201),
        body=Body(type=NewToken),
        problems={409: "There are too many tokens."},
    ),
    _TOKENS.operation(
        "revoke_token",
        "DELETE /tokens/{token}",
        "Make an API token worthless.",
        done("It is worthless."),
        problems={404: "There is no such token."},
    ),
)

ADMIN_OPERATIONS: tuple[Operation, ...] = (
    *SITE_OPERATIONS,
    *DEVICE_OPERATIONS,
    *TOKEN_OPERATIONS,
    *RECORD_OPERATIONS,
    *USAGE_OPERATIONS,
    *IMPORT_OPERATIONS,
    *WEBHOOK_OPERATIONS,
    *WIFI_OPERATIONS,
    *METRICS_OPERATIONS,
)
"""The admin API."""

ADMIN_DOCUMENT = Document(
    title="edgegate cloud: admin API",
    says=(
        "Manages the records, devices and tokens of an edgegate cloud. Ask with"
        " `Authorization: Bearer egt_…`; a token has scopes, and each operation names the one that"
        " it needs. Every error is a problem (RFC 9457)."
    ),
    operations=ADMIN_OPERATIONS,
    tags={
        "sites": "Spaces, each with its own devices, records and authority.",
        "devices": "Appliances: how they come in, how they do, what they are told to do.",
        "tokens": "Who may use this API.",
        "records": "Records of all kinds at once.",
        "import": "What other products export.",
        "webhooks": "Who is told what happens.",
        "metrics": "What Prometheus reads.",
        "wifi": "What people's devices prove themselves by, and blocking of any credential.",
        "usage": "What was used: corrections, approvals, bookings, histories, quarantine.",
        **{kind: f"Records of kind {kind.replace('_', ' ')}." for kind in KINDS},
    },
)
"""The admin API as it is published."""
