"""The tables of the cloud's books: what devices uploaded, and what it comes to.

Entries are kept as they came. Whatever changes a pass or costs money is a movement, whoever made
it: a device by an entry, the cloud by merging and settling, staff by hand. What is left of a pass
is its amount and the sum of its movements, so that one query can always prove a balance. Names of
movements are made of what they are for, and so none is ever made twice.

Instants are whole microseconds since 1970 in UTC. The bulky tables name no foreign key: their
writers hold the site's row, and a check for each row would cost more than the row.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    Table,
    Text,
    false,
)

from edgegate_sync.cloud.metadata import metadata
from edgegate_sync.cloud.tables import Name

ledger_epoch = Table(
    "ledger_epoch",
    metadata,
    Column("site", Name, primary_key=True),
    Column("device", Name, primary_key=True),
    Column("epoch", Integer, primary_key=True, autoincrement=False),
    Column("sequence", BigInteger, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    Column("taken_us", BigInteger, nullable=False),
    Column("behind", BigInteger),
)
"""How far a device's ledger was taken in: its newest entry, stored or quarantined.

`behind` is the last sequence that the device had when it came with less than that.
"""

ledger_entry = Table(
    "ledger_entry",
    metadata,
    Column("site", Name, nullable=False),
    Column("device", Name, nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Column("type", Text, nullable=False),
    Column("at_us", BigInteger, nullable=False),
    Column("taken_us", BigInteger, nullable=False),
    Column("subject", Text),
    Column("clock", Text, nullable=False),
    Column("monotonic", Text, nullable=False),
    Column("salt", LargeBinary),
    Column("data", LargeBinary),
    Column("data_hash", LargeBinary, nullable=False),
    Column("prevhash", LargeBinary, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    Column("customer", Name),
    PrimaryKeyConstraint("site", "device", "epoch", "sequence"),
)
"""An entry as its device wrote it; erased ones have no salt, no data and no customer.

`taken_us` is when its batch was taken in: the same for all that came in one.
"""

Index(
    "ledger_entry_site_customer",
    ledger_entry.c.site,
    ledger_entry.c.customer,
    postgresql_where=ledger_entry.c.customer.is_not(None),
)

quarantine = Table(
    "quarantine",
    metadata,
    Column("site", Name, primary_key=True),
    Column("id", Name, primary_key=True),
    Column("device", Name, nullable=False),
    Column("epoch", Integer),
    Column("sequence", BigInteger),
    Column("fault", Text, nullable=False),
    Column("detail", Text, nullable=False),
    Column("raw", LargeBinary, nullable=False),
    Column("hash", LargeBinary),
    Column("taken_us", BigInteger, nullable=False),
    Column("dismissed_us", BigInteger),
    Column("dismissed_by", Text),
    Column("memo", Text),
)
"""What could not be taken for what it says it is; the name is made of its bytes."""

Index("quarantine_site_device", quarantine.c.site, quarantine.c.device)

ledger_flag = Table(
    "ledger_flag",
    metadata,
    Column("site", Name, primary_key=True),
    Column("device", Name, primary_key=True),
    Column("epoch", Integer, primary_key=True, autoincrement=False),
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),
    Column("kind", Name, primary_key=True),
    Column("detail", Text, nullable=False),
    Column("noticed_us", BigInteger, nullable=False),
)
"""Where a device's chain has a gap or a break, or was cut off; gone when it is mended."""

movement = Table(
    "movement",
    metadata,
    Column("site", Name, nullable=False),
    Column("id", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("device", Name),
    Column("epoch", Integer),
    Column("sequence", BigInteger),
    Column("customer", Name),
    Column("pass", Name),
    Column("location", Name),
    Column("session", Text),
    Column("amount", BigInteger, nullable=False),
    Column("money", BigInteger),
    Column("currency", Text),
    Column("at_us", BigInteger, nullable=False),
    Column("from_us", BigInteger),
    Column("ends_us", BigInteger),
    Column("booked_us", BigInteger, nullable=False),
    Column("by", Text, nullable=False),
    Column("memo", Text),
    Column("body", LargeBinary),
    PrimaryKeyConstraint("site", "id"),
)
"""Something that a pass gained or lost (`amount`, in its unit), or that costs `money`.

`body` is the happening that a device recorded; `from_us` to `ends_us` is what it covers or counts.
"""

Index("movement_site_customer_ends_us", movement.c.site, movement.c.customer, movement.c.ends_us)
Index("movement_site_pass", movement.c.site, movement.c["pass"])

visit = Table(
    "visit",
    metadata,
    Column("site", Name, nullable=False),
    Column("id", Text, nullable=False),
    Column("device", Name, nullable=False),
    Column("customer", Name, nullable=False),
    Column("location", Name, nullable=False),
    Column("opened_us", BigInteger, nullable=False),
    Column("closes_us", BigInteger, nullable=False),
    Column("closed_us", BigInteger),
    Column("abandoned_us", BigInteger),
    PrimaryKeyConstraint("site", "id"),
)
"""A session; `abandoned_us` is when the cloud settled it because its device is lost (M-05)."""

Index("visit_site_customer_opened_us", visit.c.site, visit.c.customer, visit.c.opened_us)

book = Table(
    "book",
    metadata,
    Column("site", Name, primary_key=True),
    Column("pass", Name, primary_key=True),
    Column("moved", BigInteger, nullable=False),
    Column("watched", Boolean, nullable=False, server_default=false()),
    Column("counted", Text, nullable=False),
)
"""What a pass's movements add up to, and up to which entry of each device (M-01).

`watched` is set once something was settled or changed by hand: then it is played through again.
"""

settlement_policy = Table(
    "settlement_policy",
    metadata,
    Column("site", Name, primary_key=True),
    Column("location", Name, primary_key=True),
    Column("outcomes", Text, nullable=False),
)
"""What is tried when a pass is overdrawn (M-03); the location "" is the site's own."""

renewal = Table(
    "renewal",
    metadata,
    Column("site", Name, primary_key=True),
    Column("contract", Name, primary_key=True),
    Column("seq", BigInteger, nullable=False),
    Column("done", Integer, nullable=False),
    Column("due_us", BigInteger),
)
"""Which renewal of a contract was granted last (-1: none), as of a state of the contract, and when
the next one comes; None: never.
"""

Index("renewal_site_due_us", renewal.c.site, renewal.c.due_us)
