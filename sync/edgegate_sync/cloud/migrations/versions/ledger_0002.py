"""The books: entries, movements, visits, balances, renewals."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

NAME = sa.String(128).with_variant(sa.String(128, collation="C"), "postgresql")


def upgrade() -> None:
    """Make the tables of the books."""
    _ledger()
    _faults()
    _books()
    _plans()


def _ledger() -> None:
    op.create_table(
        "ledger_epoch",
        sa.Column("site", NAME, nullable=False),
        sa.Column("device", NAME, nullable=False),
        sa.Column("epoch", sa.Integer, nullable=False),
        sa.Column("sequence", sa.BigInteger, nullable=False),
        sa.Column("hash", sa.LargeBinary, nullable=False),
        sa.Column("taken_us", sa.BigInteger, nullable=False),
        sa.Column("behind", sa.BigInteger),
        sa.PrimaryKeyConstraint("site", "device", "epoch", name="ledger_epoch_pkey"),
    )
    op.create_table(
        "ledger_entry",
        sa.Column("site", NAME, nullable=False),
        sa.Column("device", NAME, nullable=False),
        sa.Column("epoch", sa.Integer, nullable=False),
        sa.Column("sequence", sa.BigInteger, nullable=False),
        sa.Column("type", sa.Text, nullable=False),
        sa.Column("at_us", sa.BigInteger, nullable=False),
        sa.Column("taken_us", sa.BigInteger, nullable=False),
        sa.Column("subject", sa.Text),
        sa.Column("clock", sa.Text, nullable=False),
        sa.Column("monotonic", sa.Text, nullable=False),
        sa.Column("salt", sa.LargeBinary),
        sa.Column("data", sa.LargeBinary),
        sa.Column("data_hash", sa.LargeBinary, nullable=False),
        sa.Column("prevhash", sa.LargeBinary, nullable=False),
        sa.Column("hash", sa.LargeBinary, nullable=False),
        sa.Column("customer", NAME),
        sa.PrimaryKeyConstraint("site", "device", "epoch", "sequence", name="ledger_entry_pkey"),
    )
    op.create_index(
        "ledger_entry_site_customer",
        "ledger_entry",
        ["site", "customer"],
        postgresql_where=sa.text("customer IS NOT NULL"),
    )


def _faults() -> None:
    op.create_table(
        "quarantine",
        sa.Column("site", NAME, nullable=False),
        sa.Column("id", NAME, nullable=False),
        sa.Column("device", NAME, nullable=False),
        sa.Column("epoch", sa.Integer),
        sa.Column("sequence", sa.BigInteger),
        sa.Column("fault", sa.Text, nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
        sa.Column("raw", sa.LargeBinary, nullable=False),
        sa.Column("hash", sa.LargeBinary),
        sa.Column("taken_us", sa.BigInteger, nullable=False),
        sa.Column("dismissed_us", sa.BigInteger),
        sa.Column("dismissed_by", sa.Text),
        sa.Column("memo", sa.Text),
        sa.PrimaryKeyConstraint("site", "id", name="quarantine_pkey"),
    )
    op.create_index("quarantine_site_device", "quarantine", ["site", "device"])
    op.create_table(
        "ledger_flag",
        sa.Column("site", NAME, nullable=False),
        sa.Column("device", NAME, nullable=False),
        sa.Column("epoch", sa.Integer, nullable=False),
        sa.Column("sequence", sa.BigInteger, nullable=False),
        sa.Column("kind", NAME, nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
        sa.Column("noticed_us", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint(
            "site", "device", "epoch", "sequence", "kind", name="ledger_flag_pkey"
        ),
    )


def _books() -> None:
    op.create_table(
        "movement",
        sa.Column("site", NAME, nullable=False),
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("device", NAME),
        sa.Column("epoch", sa.Integer),
        sa.Column("sequence", sa.BigInteger),
        sa.Column("customer", NAME),
        sa.Column("pass", NAME),
        sa.Column("location", NAME),
        sa.Column("session", sa.Text),
        sa.Column("amount", sa.BigInteger, nullable=False),
        sa.Column("money", sa.BigInteger),
        sa.Column("currency", sa.Text),
        sa.Column("at_us", sa.BigInteger, nullable=False),
        sa.Column("from_us", sa.BigInteger),
        sa.Column("ends_us", sa.BigInteger),
        sa.Column("booked_us", sa.BigInteger, nullable=False),
        sa.Column("by", sa.Text, nullable=False),
        sa.Column("memo", sa.Text),
        sa.Column("body", sa.LargeBinary),
        sa.PrimaryKeyConstraint("site", "id", name="movement_pkey"),
    )
    op.create_index("movement_site_customer_ends_us", "movement", ["site", "customer", "ends_us"])
    op.create_index("movement_site_pass", "movement", ["site", "pass"])
    op.create_table(
        "visit",
        sa.Column("site", NAME, nullable=False),
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("device", NAME, nullable=False),
        sa.Column("customer", NAME, nullable=False),
        sa.Column("location", NAME, nullable=False),
        sa.Column("opened_us", sa.BigInteger, nullable=False),
        sa.Column("closes_us", sa.BigInteger, nullable=False),
        sa.Column("closed_us", sa.BigInteger),
        sa.Column("abandoned_us", sa.BigInteger),
        sa.PrimaryKeyConstraint("site", "id", name="visit_pkey"),
    )
    op.create_index("visit_site_customer_opened_us", "visit", ["site", "customer", "opened_us"])


def _plans() -> None:
    op.create_table(
        "book",
        sa.Column("site", NAME, nullable=False),
        sa.Column("pass", NAME, nullable=False),
        sa.Column("moved", sa.BigInteger, nullable=False),
        sa.Column("watched", sa.Boolean, server_default=sa.false(), nullable=False),
        sa.Column("counted", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("site", "pass", name="book_pkey"),
    )
    op.create_table(
        "settlement_policy",
        sa.Column("site", NAME, nullable=False),
        sa.Column("location", NAME, nullable=False),
        sa.Column("outcomes", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("site", "location", name="settlement_policy_pkey"),
    )
    op.create_table(
        "renewal",
        sa.Column("site", NAME, nullable=False),
        sa.Column("contract", NAME, nullable=False),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.Column("done", sa.Integer, nullable=False),
        sa.Column("due_us", sa.BigInteger),
        sa.PrimaryKeyConstraint("site", "contract", name="renewal_pkey"),
    )
    op.create_index("renewal_site_due_us", "renewal", ["site", "due_us"])


def downgrade() -> None:
    """Drop them all."""
    names = ("renewal", "settlement_policy", "book", "visit", "movement", "ledger_flag")
    for name in (*names, "quarantine", "ledger_entry", "ledger_epoch"):
        op.drop_table(name)
