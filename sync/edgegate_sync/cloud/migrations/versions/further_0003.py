"""Imports and webhooks: where records came from, who is told what, and how that went."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

NAME = sa.String(128).with_variant(sa.String(128, collation="C"), "postgresql")
INSTANT = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Make the tables of imports and webhooks."""
    _imports()
    _webhooks()
    _deliveries()


def _imports() -> None:
    op.create_table(
        "imported",
        sa.Column("site", NAME, nullable=False),
        sa.Column("kind", NAME, nullable=False),
        sa.Column("id", NAME, nullable=False),
        sa.Column("mapping", NAME, nullable=False),
        sa.Column("run", NAME, nullable=False),
        sa.PrimaryKeyConstraint("site", "kind", "id", name="imported_pkey"),
    )
    op.create_index(
        "imported_site_mapping_kind_run", "imported", ["site", "mapping", "kind", "run"]
    )


def _webhooks() -> None:
    op.create_table(
        "webhook",
        sa.Column("site", NAME, nullable=False),
        sa.Column("id", NAME, nullable=False),
        sa.Column("url", sa.Text, nullable=False),
        sa.Column("events", sa.Text, nullable=False),
        sa.Column("paused", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("secret", sa.LargeBinary, nullable=False),
        sa.Column("previous", sa.LargeBinary),
        sa.Column("previous_until", INSTANT),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("sent", sa.BigInteger, nullable=False),
        sa.Column("failures", sa.Integer, nullable=False, server_default="0"),
        sa.Column("next_at", INSTANT),
        sa.Column("delivered_at", INSTANT),
        sa.Column("error", sa.Text),
        sa.Column("worker", NAME),
        sa.Column("leased_until", INSTANT),
        sa.PrimaryKeyConstraint("site", "id", name="webhook_pkey"),
        sa.ForeignKeyConstraint(["site"], ["site.id"], name="webhook_site_fkey"),
    )


def _deliveries() -> None:
    op.create_table(
        "webhook_event",
        sa.Column("site", NAME, nullable=False),
        sa.Column("id", NAME, nullable=False),
        sa.Column("number", sa.BigInteger, nullable=False),
        sa.Column("type", NAME, nullable=False),
        sa.Column("noted_at", INSTANT, nullable=False),
        sa.Column("customer", NAME),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("site", "id", name="webhook_event_pkey"),
    )
    op.create_index("webhook_event_site_number", "webhook_event", ["site", "number"], unique=True)
    op.create_index("webhook_event_noted_at", "webhook_event", ["noted_at"])
    op.create_table(
        "webhook_delivery",
        sa.Column("site", NAME, nullable=False),
        sa.Column("webhook", NAME, nullable=False),
        sa.Column("number", sa.BigInteger, nullable=False),
        sa.Column("event", NAME, nullable=False),
        sa.Column("type", NAME, nullable=False),
        sa.Column("state", NAME, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("status", sa.Integer),
        sa.Column("error", sa.Text),
        sa.Column("at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("site", "webhook", "number", name="webhook_delivery_pkey"),
    )
    op.create_index("webhook_delivery_at", "webhook_delivery", ["at"])
