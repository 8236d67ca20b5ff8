"""The tables of the reference cloud's core: sites, records, devices, keys, tokens.

A record and its newest change are one row: `seq` says when it changed, `op` how. A deleted record
stays as a row without a body until the feed is compacted, an erased one for ever, so that a device
that was away for a year still learns of it. So the feed after any number is one range of an index,
nothing is stored twice, and nothing of an erased person is left in a history.

The outbox is a cursor too: the number up to which a site's changes were published, and by whom.
"""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Dialect,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    LargeBinary,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    false,
)

from edgegate_sync.cloud.metadata import metadata

ID_LENGTH_MAX = 128

Name = String(ID_LENGTH_MAX).with_variant(String(ID_LENGTH_MAX, collation="C"), "postgresql")
"""An id or a name for machines; compared by code point on both databases."""


class InstantType(TypeDecorator[datetime]):
    """An aware instant, kept in UTC; SQLite forgets the zone, so that it is put back."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, _dialect: Dialect) -> datetime | None:
        """To UTC; a naive one is a mistake of the caller's."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value} has no time zone")
        return value.astimezone(UTC)

    def process_result_value(self, value: Any | None, _dialect: Dialect) -> datetime | None:
        """In UTC, and saying so."""
        if value is None or not isinstance(value, datetime):
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def _site() -> Column[str]:
    return Column("site", Name, ForeignKey("site.id"), primary_key=True)


site = Table(
    "site",
    metadata,
    Column("id", Name, primary_key=True),
    Column("name", Text, nullable=False),
    Column("head", BigInteger, nullable=False, server_default="0"),
    Column("floor", BigInteger, nullable=False, server_default="0"),
    Column("created_at", InstantType, nullable=False),
)
"""A space; `head` numbers its changes, and of those up to `floor` deletions are forgotten."""

sealed_key = Table(
    "sealed_key",
    metadata,
    Column("scope", Name, primary_key=True),
    Column("purpose", Name, primary_key=True),
    Column("public", Text, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    Column("created_at", InstantType, nullable=False),
)
"""The private keys, each encrypted with the master key (see `vault`), beside what is public of
them; `scope` is "cloud" or "site/<site>"."""

record = Table(
    "record",
    metadata,
    _site(),
    Column("kind", Name, primary_key=True),
    Column("id", Name, primary_key=True),
    Column("seq", BigInteger, nullable=False),
    Column("op", Name, nullable=False),
    Column("owner", Name),
    Column("body", Text),
    Column("changed_at", InstantType, nullable=False),
    UniqueConstraint("site", "seq"),
    Index(None, "site", "kind", "owner"),
)
"""The newest state of each record; `owner` is its customer, holder or team, where it has one."""

outbox = Table(
    "outbox",
    metadata,
    _site(),
    Column("published", BigInteger, nullable=False, server_default="0"),
    Column("worker", Name),
    Column("leased_until", InstantType),
)
"""Up to where a site's changes were published, and which worker is publishing until when."""

device = Table(
    "device",
    metadata,
    _site(),
    Column("id", Name, primary_key=True),
    Column("created_at", InstantType, nullable=False),
    Column("seen_at", InstantType),
    Column("revoked_at", InstantType),
    Column("state", Text),
    Column("state_at", InstantType),
    Column("online", Boolean, nullable=False, server_default=false()),
)
"""An appliance; `state` is the JSON of what it last said of itself, `online` what a broker said."""

certificate = Table(
    "certificate",
    metadata,
    Column("serial", Name, primary_key=True),
    Column("site", Name, nullable=False),
    Column("device", Name, nullable=False),
    Column("pem", Text, nullable=False),
    Column("not_before", InstantType, nullable=False),
    Column("not_after", InstantType, nullable=False),
    Column("revoked_at", InstantType),
    ForeignKeyConstraint(["site", "device"], ["device.site", "device.id"]),
    Index(None, "site", "device"),
)
"""Every client certificate that was ever given out; `serial` is lower-case hexadecimal."""

claim = Table(
    "claim",
    metadata,
    Column("hash", Name, primary_key=True),
    Column("site", Name, ForeignKey("site.id"), nullable=False),
    Column("device", Name),
    Column("created_at", InstantType, nullable=False),
    Column("expires_at", InstantType, nullable=False),
    Column("used_at", InstantType),
    Column("used_by", Name),
    Index(None, "site"),
)
"""A one-time claim code, as its SHA-256; `device` names the one it is for, if it was said."""

token = Table(
    "token",
    metadata,
    Column("id", Name, primary_key=True),
    Column("hash", Name, nullable=False, unique=True),
    Column("name", Text, nullable=False),
    Column("scopes", Text, nullable=False),
    Column("created_at", InstantType, nullable=False),
    Column("expires_at", InstantType),
    Column("used_at", InstantType),
    Column("revoked", Boolean, nullable=False, server_default=false()),
)
"""An API token, as its SHA-256; `scopes` are words between spaces."""

lease = Table(
    "lease",
    metadata,
    Column("name", Name, primary_key=True),
    Column("worker", Name, nullable=False),
    Column("until", InstantType, nullable=False),
)
"""Jobs that one worker at a time does."""
