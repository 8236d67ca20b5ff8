"""The table of the admin API: sites, devices, commands, tokens, and every module's operations."""

from http import HTTPMethod
from typing import Annotated

from msgspec import Meta, Raw, Struct

from edgegate.passes.model import Instant
from edgegate_sync.cloud.csv_import_api import IMPORT_OPERATIONS
from edgegate_sync.cloud.metrics import METRICS_OPERATIONS
from edgegate_sync.cloud.record_operations import BASE, CURSOR, LIMIT, RECORD_OPERATIONS, SITE
from edgegate_sync.cloud.tokens import Scope as TokenScope
from edgegate_sync.cloud.tokens import Token
from edgegate_sync.cloud.usage_operations import USAGE_OPERATIONS
from edgegate_sync.cloud.webhook_operations import WEBHOOK_OPERATIONS
from edgegate_sync.wire.commands import CommandArgs, CommandName, Reply
from edgegate_sync.wire.enrolment import Name
from edgegate_sync.wire.kinds import KINDS
from edgegate_sync.wire.openapi import Document
from edgegate_sync.wire.operations import Answer, Body, Operation, Parameter, Place, Scope

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


_NO_SITE = {404: "There is no such site."}
_NO_DEVICE = {404: "There is no such device."}

SITE_OPERATIONS = (
    Operation(
        name="list_sites",
        method=HTTPMethod.GET,
        path="/admin/v1/sites",
        tag="sites",
        says="List the sites, page by page.",
        scope=Scope.READ,
        parameters=(LIMIT, CURSOR),
        answers={200: Answer("A page.", Body(type=Sites))},
    ),
    Operation(
        name="create_site",
        method=HTTPMethod.POST,
        path="/admin/v1/sites",
        tag="sites",
        says="Make a site with an authority of its own.",
        scope=Scope.ADMIN,
        body=Body(type=NewSite),
        answers={201: Answer("It is made.", Body(type=Site))},
        problems={409: "There is a site of that id."},
    ),
    Operation(
        name="get_site",
        method=HTTPMethod.GET,
        path=BASE,
        tag="sites",
        says="Read one site.",
        scope=Scope.READ,
        parameters=(SITE,),
        answers={200: Answer("The site.", Body(type=Site))},
        problems=_NO_SITE,
    ),
)

DEVICE_OPERATIONS = (
    Operation(
        name="create_claim",
        method=HTTPMethod.POST,
        path=f"{BASE}/claims",
        tag="devices",
        says="Make a claim code, with which one device can enrol once.",
        scope=Scope.DEVICES,
        parameters=(SITE,),
        body=Body(type=NewClaim),
        answers={201: Answer("The code, told this once.", Body(type=Claim))},
        problems=_NO_SITE,
    ),
    Operation(
        name="list_devices",
        method=HTTPMethod.GET,
        path=f"{BASE}/devices",
        tag="devices",
        says="List the devices of a site with their last states, page by page.",
        scope=Scope.DEVICES,
        parameters=(SITE, LIMIT, CURSOR),
        answers={200: Answer("A page.", Body(type=Devices))},
        problems=_NO_SITE,
    ),
    Operation(
        name="get_device",
        method=HTTPMethod.GET,
        path=f"{BASE}/devices/{{device}}",
        tag="devices",
        says="Read one device with its last state.",
        scope=Scope.DEVICES,
        parameters=(SITE, DEVICE),
        answers={200: Answer("The device.", Body(type=Device))},
        problems=_NO_DEVICE,
    ),
    Operation(
        name="revoke_device",
        method=HTTPMethod.POST,
        path=f"{BASE}/devices/{{device}}/revoke",
        tag="devices",
        says="Lock a device out: its certificates are refused and its connections cut.",
        scope=Scope.DEVICES,
        parameters=(SITE, DEVICE),
        answers={204: Answer("It is locked out within a minute.")},
        problems=_NO_DEVICE,
    ),
    Operation(
        name="command_device",
        method=HTTPMethod.POST,
        path=f"{BASE}/devices/{{device}}/commands",
        tag="devices",
        says="Have a device do something now, and hear what came of it.",
        scope=Scope.DEVICES,
        parameters=(SITE, DEVICE),
        body=Body(type=NewCommand),
        answers={200: Answer("What the device says.", Body(type=Reply))},
        problems={
            **_NO_DEVICE,
            409: "The device has not said anything yet, so that no command can be made for it.",
            503: "There is no broker, or it is away.",
            504: "The device did not answer; the command is void by now.",
        },
        more="A command expires within ten seconds and is obeyed once; it is never kept for later.",
    ),
)

TOKEN_OPERATIONS = (
    Operation(
        name="list_tokens",
        method=HTTPMethod.GET,
        path="/admin/v1/tokens",
        tag="tokens",
        says="List the API tokens without their secrets.",
        scope=Scope.ADMIN,
        answers={200: Answer("All of them.", Body(type=Tokens))},
    ),
    Operation(
        name="create_token",
        method=HTTPMethod.POST,
        path="/admin/v1/tokens",
        tag="tokens",
        says="Make an API token.",
        scope=Scope.ADMIN,
        body=Body(type=NewToken),
        answers={201: Answer("The token, its secret told this once.", Body(type=MadeToken))},
        problems={409: "There are too many tokens."},
    ),
    Operation(
        name="revoke_token",
        method=HTTPMethod.DELETE,
        path="/admin/v1/tokens/{token}",
        tag="tokens",
        says="Make an API token worthless.",
        scope=Scope.ADMIN,
        parameters=(TOKEN,),
        answers={204: Answer("It is worthless.")},
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
        "usage": "What was used: corrections, approvals, bookings, histories, quarantine.",
        **{kind: f"Records of kind {kind.replace('_', ' ')}." for kind in KINDS},
    },
)
"""The admin API as it is published."""
