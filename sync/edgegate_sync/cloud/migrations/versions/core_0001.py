"""Sites, records, devices, keys and tokens."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

NAME = sa.String(128).with_variant(sa.String(128, collation="C"), "postgresql")
INSTANT = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Make the tables of the core."""
    _sites()
    _devices()
    _tokens()


def _of_site(table: str) -> tuple[sa.Column[str], sa.ForeignKeyConstraint]:
    return (
        sa.Column("site", NAME, nullable=False),
        sa.ForeignKeyConstraint(["site"], ["site.id"], name=f"{table}_site_fkey"),
    )


def _sites() -> None:
    op.create_table(
        "site",
        sa.Column("id", NAME, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("head", sa.BigInteger, server_default="0", nullable=False),
        sa.Column("floor", sa.BigInteger, server_default="0", nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="site_pkey"),
    )
    op.create_table(
        "sealed_key",
        sa.Column("scope", NAME, nullable=False),
        sa.Column("purpose", NAME, nullable=False),
        sa.Column("public", sa.Text, nullable=False),
        sa.Column("sealed", sa.LargeBinary, nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("scope", "purpose", name="sealed_key_pkey"),
    )
    op.create_table(
        "record",
        *_of_site("record"),
        sa.Column("kind", NAME, nullable=False),
        sa.Column("id", NAME, nullable=False),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.Column("op", NAME, nullable=False),
        sa.Column("owner", NAME),
        sa.Column("body", sa.Text),
        sa.Column("changed_at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("site", "kind", "id", name="record_pkey"),
        sa.UniqueConstraint("site", "seq", name="record_site_seq_key"),
    )
    op.create_index("record_site_kind_owner", "record", ["site", "kind", "owner"])
    op.create_table(
        "outbox",
        *_of_site("outbox"),
        sa.Column("published", sa.BigInteger, server_default="0", nullable=False),
        sa.Column("worker", NAME),
        sa.Column("leased_until", INSTANT),
        sa.PrimaryKeyConstraint("site", name="outbox_pkey"),
    )


def _devices() -> None:
    op.create_table(
        "device",
        *_of_site("device"),
        sa.Column("id", NAME, nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("seen_at", INSTANT),
        sa.Column("revoked_at", INSTANT),
        sa.Column("state", sa.Text),
        sa.Column("state_at", INSTANT),
        sa.Column("online", sa.Boolean, server_default=sa.false(), nullable=False),
        sa.PrimaryKeyConstraint("site", "id", name="device_pkey"),
    )
    op.create_table(
        "certificate",
        sa.Column("serial", NAME, nullable=False),
        sa.Column("site", NAME, nullable=False),
        sa.Column("device", NAME, nullable=False),
        sa.Column("pem", sa.Text, nullable=False),
        sa.Column("not_before", INSTANT, nullable=False),
        sa.Column("not_after", INSTANT, nullable=False),
        sa.Column("revoked_at", INSTANT),
        sa.PrimaryKeyConstraint("serial", name="certificate_pkey"),
        sa.ForeignKeyConstraint(
            ["site", "device"], ["device.site", "device.id"], name="certificate_site_device_fkey"
        ),
    )
    op.create_index("certificate_site_device", "certificate", ["site", "device"])
    op.create_table(
        "claim",
        sa.Column("hash", NAME, nullable=False),
        *_of_site("claim"),
        sa.Column("device", NAME),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("expires_at", INSTANT, nullable=False),
        sa.Column("used_at", INSTANT),
        sa.Column("used_by", NAME),
        sa.PrimaryKeyConstraint("hash", name="claim_pkey"),
    )
    op.create_index("claim_site", "claim", ["site"])


def _tokens() -> None:
    op.create_table(
        "token",
        sa.Column("id", NAME, nullable=False),
        sa.Column("hash", NAME, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("scopes", sa.Text, nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("expires_at", INSTANT),
        sa.Column("used_at", INSTANT),
        sa.Column("revoked", sa.Boolean, server_default=sa.false(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="token_pkey"),
        sa.UniqueConstraint("hash", name="token_hash_key"),
    )
    op.create_table(
        "lease",
        sa.Column("name", NAME, nullable=False),
        sa.Column("worker", NAME, nullable=False),
        sa.Column("until", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("name", name="lease_pkey"),
    )


def downgrade() -> None:
    """Drop them all."""
    names = ("lease", "token", "claim", "certificate", "device")
    for name in (*names, "outbox", "record", "sealed_key", "site"):
        op.drop_table(name)
