"""Which records came with an import, so that the next one can tell what is gone."""

from sqlalchemy import Column, Index, Table, delete

from edgegate_sync.cloud import erasure
from edgegate_sync.cloud.feed import Transaction
from edgegate_sync.cloud.metadata import metadata
from edgegate_sync.cloud.tables import Name

imported = Table(
    "imported",
    metadata,
    Column("site", Name, primary_key=True),
    Column("kind", Name, primary_key=True),
    Column("id", Name, primary_key=True),
    Column("mapping", Name, nullable=False),
    Column("run", Name, nullable=False),
    Index(None, "site", "mapping", "kind", "run"),
)
"""A record that an import wrote or found as it should be; `run` names the last one that did."""


async def forget(tx: Transaction, kind: str, record_id: str) -> None:
    """Forget where somebody came from who is erased."""
    await tx.execute(
        delete(imported).where(
            imported.c.site == tx.site, imported.c.kind == kind, imported.c.id == record_id
        )
    )


erasure.erasers.append(forget)
