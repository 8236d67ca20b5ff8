"""The table of what the admin API does with webhooks."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from edgegate.passes.model import Instant
from edgegate_sync.cloud.record_operations import LIMIT, part_of_site
from edgegate_sync.cloud.webhook_events import EVENT_TYPES
from edgegate_sync.wire.enrolment import Name
from edgegate_sync.wire.operations import Body, Parameter, Place, Scope, done, told

WEBHOOKS_MAX = 20
"""Endpoints of one site."""

EVENTS_MAX = 32

WEBHOOK = Parameter("webhook", Name, "The endpoint's id.", place=Place.PATH)
NUMBER = Parameter(
    "number",
    Annotated[int, Meta(ge=1, le=2**53)],
    "The delivery's number.",
    place=Place.PATH,
)
AFTER = Parameter(
    "after", Annotated[int, Meta(ge=0, le=2**53)], "Only with greater numbers.", default=0
)
STATE = Parameter(
    "state",
    Literal["delivered", "failed", "parked"] | None,
    "Only those that went so.",
    default=None,
)

Word = Annotated[str, Meta(pattern=r"^([a-z_]+\.([a-z_]+|\*)|\*)\Z", max_length=64)]


class NewWebhook(Struct, frozen=True, kw_only=True):
    """An endpoint as it should be."""

    url: Annotated[str, Meta(min_length=1, max_length=2048)]
    """https://…; it is told by POST."""
    events: Annotated[tuple[Word, ...], Meta(min_length=1, max_length=EVENTS_MAX)]
    """Of what it is told: `access.denied`, `session.*`, or `*` for everything."""
    paused: bool = False
    """Nothing is sent meanwhile; what happens is kept for a week, and told later."""


class Webhook(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An endpoint, and how it does; never with its secret."""

    id: str
    url: str
    events: tuple[str, ...]
    paused: bool = False
    created_at: Instant
    sent: int
    """Up to which event it was told."""
    waiting: int = 0
    """How many events come after that."""
    failures: int = 0
    """How many attempts failed since the last that did not."""
    next_at: Instant | None = None
    delivered_at: Instant | None = None
    error: str | None = None
    previous_secret_until: Instant | None = None


class MadeWebhook(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An endpoint, with its secret where that is new: it is told this once."""

    webhook: Webhook
    secret: str | None = None


class Webhooks(Struct, frozen=True, kw_only=True):
    """All endpoints of a site."""

    webhooks: tuple[Webhook, ...]


class Delivery(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How the telling of one event went so far."""

    number: int
    event: str
    type: str
    state: str
    attempts: int
    status: int | None = None
    error: str | None = None
    at: Instant


class Deliveries(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Some deliveries in the order of their numbers."""

    deliveries: tuple[Delivery, ...]
    next: int | None = None


_NONE = {404: "There is no such endpoint."}
_MORE = (
    f"Events: {', '.join(f'`{name}`' for name in EVENT_TYPES)}, and every other type of ledger"
    " entry without `edgegate.`. Signed as Standard Webhooks says; see docs/webhooks.md."
)
_WEBHOOKS = part_of_site("webhooks", Scope.ADMIN, WEBHOOK, NUMBER)

WEBHOOK_OPERATIONS = (
    _WEBHOOKS.operation(
        "list_webhooks",
        "GET /webhooks",
        "List the endpoints that are told what happens.",
        told("All of them.", Webhooks),
        scope=Scope.READ,
    ),
    _WEBHOOKS.operation(
        "put_webhook",
        "PUT /webhooks/{webhook}",
        "Make an endpoint, or change one.",
        told("It is there; a new one with its secret.", MadeWebhook),
        body=Body(type=NewWebhook),
        problems={409: f"There are {WEBHOOKS_MAX} endpoints already."},
        more=_MORE,
    ),
    _WEBHOOKS.operation(
        "delete_webhook",
        "DELETE /webhooks/{webhook}",
        "Remove an endpoint.",
        done("It is gone."),
        problems=_NONE,
    ),
    _WEBHOOKS.operation(
        "rotate_webhook",
        "POST /webhooks/{webhook}/rotate",
        "Give an endpoint a new secret; the old one signs as well for another day.",
        told("The new secret, told this once.", MadeWebhook),
        problems=_NONE,
    ),
    _WEBHOOKS.operation(
        "list_deliveries",
        "GET /webhooks/{webhook}/deliveries",
        "List what an endpoint was told, and how that went.",
        told("A page.", Deliveries),
        *(LIMIT, AFTER, STATE),
        scope=Scope.READ,
        problems=_NONE,
    ),
    _WEBHOOKS.operation(
        "retry_delivery",
        "POST /webhooks/{webhook}/deliveries/{number}/retry",
        "Tell an endpoint of one event now, whatever was tried before.",
        told("How it went.", Delivery),
        problems={404: "There is no such endpoint, or the event is not kept any more."},
    ),
)
