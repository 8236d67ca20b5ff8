"""The tables of webhooks: who is told, of what, and how that went."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
    false,
)

from edgegate_sync.cloud.metadata import metadata
from edgegate_sync.cloud.tables import InstantType, Name

webhook = Table(
    "webhook",
    metadata,
    Column("site", Name, ForeignKey("site.id"), primary_key=True),
    Column("id", Name, primary_key=True),
    Column("url", Text, nullable=False),
    Column("events", Text, nullable=False),
    Column("paused", Boolean, nullable=False, server_default=false()),
    Column("secret", LargeBinary, nullable=False),
    Column("previous", LargeBinary),
    Column("previous_until", InstantType),
    Column("created_at", InstantType, nullable=False),
    Column("sent", BigInteger, nullable=False),
    Column("failures", Integer, nullable=False, server_default="0"),
    Column("next_at", InstantType),
    Column("delivered_at", InstantType),
    Column("error", Text),
    Column("worker", Name),
    Column("leased_until", InstantType),
)
"""An address that is told: of events that match a word of `events`, up to `sent` so far.

Its secrets are sealed (see `vault`); the one before the newest is good until an instant.
"""

webhook_event = Table(
    "webhook_event",
    metadata,
    Column("site", Name, primary_key=True),
    Column("id", Name, primary_key=True),
    Column("number", BigInteger, nullable=False),
    Column("type", Name, nullable=False),
    Column("noted_at", InstantType, nullable=False),
    Column("customer", Name),
    Column("body", LargeBinary, nullable=False),
)
"""What somebody is to be told, in the order of the site's numbers; kept for some days."""

Index("webhook_event_site_number", webhook_event.c.site, webhook_event.c.number, unique=True)
Index("webhook_event_noted_at", webhook_event.c.noted_at)

webhook_delivery = Table(
    "webhook_delivery",
    metadata,
    Column("site", Name, primary_key=True),
    Column("webhook", Name, primary_key=True),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("event", Name, nullable=False),
    Column("type", Name, nullable=False),
    Column("state", Name, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("status", Integer),
    Column("error", Text),
    Column("at", InstantType, nullable=False),
)
"""How the telling of one event to one address went: delivered, failed (for now) or parked."""

Index("webhook_delivery_at", webhook_delivery.c.at)
