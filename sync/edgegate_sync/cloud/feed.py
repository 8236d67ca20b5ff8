"""Writes a site's records so that a reader of the feed never skips one, and reads them back.

The numbers of a transaction's changes are taken from the site's row, which stays locked until the
commit: whoever has a higher number commits later. A reader that sees the head of a state sees all
changes up to it.
"""

from collections.abc import AsyncGenerator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct
from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from edgegate_sync.cancelling import finished
from edgegate_sync.cloud.tables import outbox, record, site
from edgegate_sync.wire.changes import Op

if TYPE_CHECKING:
    from edgegate_sync.cloud.database import Writing

PENDING_MAX = 500
"""Changes that wait in memory before they are written, within their transaction."""

BATCH_MAX = 256
"""Rows that stand in memory at once when the feed is read."""


class SiteUnknownError(LookupError):
    """There is no such site."""


class HistoryGoneError(LookupError):
    """The changes after that number are not all known any more: a snapshot is due."""


class Row(Struct, frozen=True, kw_only=True):
    """A record's newest state, as the feed tells it."""

    seq: int
    kind: str
    id: str
    op: Op
    body: str | None
    """JSON; None where it is gone."""


class Standing(Struct, frozen=True, kw_only=True):
    """How far a site's feed goes."""

    head: int
    floor: int


class _Belonging(Struct):
    """The fields of a body that say to whom it belongs; whichever of them is there."""

    customer: str | None = None
    holder: str | None = None
    team: str | None = None


_belonging = msgspec.json.Decoder(_Belonging, strict=False)


class Transaction:
    """The changes to one site's records that one commit makes; see `Database.site`."""

    def __init__(self, writing: "Writing", site_id: str) -> None:
        self.site = site_id
        self.writing = writing
        self.head: int | None = None
        """The site's head after this transaction; None while it has changed no record."""
        self._pending: dict[tuple[str, str], dict[str, Any]] = {}
        self.execute = writing.execute

    async def put(self, kind: str, record_id: str, body: bytes | Struct) -> None:
        """Write a record; `body` is JSON that was validated, or what becomes it."""
        data = msgspec.json.encode(body) if isinstance(body, Struct) else body
        await self._change(kind, record_id, Op.PUT, data.decode(), owner_of(data))

    async def delete(self, kind: str, record_id: str) -> None:
        """Delete a record; that there was none is no error."""
        await self._change(kind, record_id, Op.DELETE)

    async def erase(self, kind: str, record_id: str) -> None:
        """Erase a record: devices are told for ever that nothing of it may be kept."""
        await self._change(kind, record_id, Op.ERASE)

    async def get(self, kind: str, record_id: str) -> bytes | None:
        """A record's body as JSON, this transaction's own changes included; None if it is gone."""
        pending = self._pending.get((kind, record_id))
        if pending is not None:
            body = pending["body"]
        else:
            body = (
                await self.execute(
                    select(record.c.body).where(
                        record.c.site == self.site,
                        record.c.kind == kind,
                        record.c.id == record_id,
                    )
                )
            ).scalar_one_or_none()
        return None if body is None else body.encode()

    async def lock(self) -> int:
        """Let nobody else change this site's records until the commit; its head at present.

        Whoever computes a record from what it was, as a balance, calls this first.

        Raises:
            SiteUnknownError: if there is no such site.
        """
        found = await self.execute(
            select(site.c.head).where(site.c.id == self.site).with_for_update()
        )
        head = found.scalar_one_or_none()
        if head is None:
            raise SiteUnknownError(self.site)
        return int(head)

    async def flush(self) -> None:
        """Number and write what is pending; the commit does it too."""
        if not self._pending:
            return
        rows = list(self._pending.values())
        self._pending.clear()
        head = (
            await self.execute(
                update(site)
                .where(site.c.id == self.site)
                .values(head=site.c.head + len(rows))
                .returning(site.c.head)
            )
        ).scalar_one_or_none()
        if head is None:
            raise SiteUnknownError(self.site)
        for seq, row in enumerate(rows, start=head - len(rows) + 1):
            row["seq"] = seq
        upsert = (sqlite if self.writing.is_sqlite else postgresql).insert(record)
        new = {name: upsert.excluded[name] for name in ("seq", "op", "owner", "body", "changed_at")}
        await self.execute(
            upsert.on_conflict_do_update(index_elements=["site", "kind", "id"], set_=new), rows
        )
        self.head = int(head)

    async def _change(
        self, kind: str, record_id: str, op: Op, body: str | None = None, owner: str | None = None
    ) -> None:
        key = (kind, record_id)
        # Of several changes to one record in one transaction the last one is the change.
        self._pending.pop(key, None)
        self._pending[key] = {
            "site": self.site,
            "kind": kind,
            "id": record_id,
            "op": op.value,
            "owner": owner,
            "body": body,
            "changed_at": datetime.now(UTC),
        }
        if len(self._pending) >= PENDING_MAX:
            await self.flush()


def owner_of(body: bytes) -> str | None:
    """To whom a record belongs: its customer, its holder or its team; None if to nobody."""
    try:
        belonging = _belonging.decode(body)
    except msgspec.ValidationError:
        return None
    return belonging.customer or belonging.holder or belonging.team


async def standing(connection: AsyncConnection, site_id: str) -> Standing:
    """How far a site's feed goes, in the state that this connection sees.

    Raises:
        SiteUnknownError: if there is no such site.
    """
    found = await finished(
        connection.execute(select(site.c.head, site.c.floor).where(site.c.id == site_id))
    )
    row = found.one_or_none()
    if row is None:
        raise SiteUnknownError(site_id)
    return Standing(head=row.head, floor=row.floor)


async def since(connection: AsyncConnection, site_id: str, after: int) -> Standing:
    """How far the feed goes, once it is sure that all changes after that number are known.

    Raises:
        SiteUnknownError: if there is no such site.
        HistoryGoneError: if deletions after it were compacted, or the cloud is older than the
            device (it was restored from a backup).
    """
    now = await standing(connection, site_id)
    if after > now.head or (after and after < now.floor):
        raise HistoryGoneError(f"{after} is not between {now.floor} and {now.head}")
    return now


async def changes(
    connection: AsyncConnection,
    site_id: str,
    after: int,
    until: int,
    *,
    with_deletions: bool = False,
) -> AsyncGenerator[list[Row], None]:
    """The changes with numbers in (after, until] in their order, a batch at a time.

    After 0 it is a snapshot: what was deleted is left out, unless it is asked for; what was erased
    is not.
    """
    columns = (record.c.seq, record.c.kind, record.c.id, record.c.op, record.c.body)
    statement = select(*columns).where(record.c.site == site_id, record.c.seq <= until)
    if after == 0 and not with_deletions:
        statement = statement.where(record.c.op != Op.DELETE.value)
    statement = statement.order_by(record.c.seq).limit(BATCH_MAX)
    while True:
        found = await finished(connection.execute(statement.where(record.c.seq > after)))
        rows = [
            Row(seq=row.seq, kind=row.kind, id=row.id, op=Op(row.op), body=row.body)
            for row in found
        ]
        if rows:
            yield rows
        if len(rows) < BATCH_MAX:
            return
        after = rows[-1].seq


async def compact(transaction: Transaction, before: datetime) -> int:
    """Forget the deletions from before an instant; how many there were.

    A device that stands before the last of them is told to take a snapshot. What was erased is
    never forgotten.
    """
    await transaction.lock()
    old = (
        (record.c.site == transaction.site)
        & (record.c.op == Op.DELETE.value)
        & (record.c.changed_at < before)
    )
    floor = (await transaction.execute(select(func.max(record.c.seq)).where(old))).scalar_one()
    if floor is None:
        return 0
    await transaction.execute(
        update(site).where(site.c.id == transaction.site, site.c.floor < floor).values(floor=floor)
    )
    forgotten = await transaction.execute(delete(record).where(old))
    return forgotten.rowcount


async def create_site(writing: "Writing", site_id: str, name: str) -> None:
    """Make a site without any record.

    Raises:
        IntegrityError: (SQLAlchemy's) if there is one of that id.
    """
    await writing.execute(
        insert(site).values(id=site_id, name=name, created_at=datetime.now(UTC), head=0, floor=0)
    )
    await writing.execute(insert(outbox).values(site=site_id, published=0))
