"""What the admin API does with records: each is checked by the wire's types first."""

import asyncio
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any

import msgspec
from aiohttp import web
from msgspec import Raw
from sqlalchemy import Row, select

from edgegate.store.projection import microseconds
from edgegate_sync.cloud import erasure, problems, reckon
from edgegate_sync.cloud.database import fetch
from edgegate_sync.cloud.feed import Transaction, standing
from edgegate_sync.cloud.record_operations import (
    BULK_MAX,
    BulkItem,
    BulkWritten,
    Erased,
    Page,
    Stored,
    Written,
)
from edgegate_sync.cloud.references import dangling
from edgegate_sync.cloud.server import Asked, Handler, answer
from edgegate_sync.cloud.tables import record
from edgegate_sync.wire.changes import BODY_BYTES_MAX, Op
from edgegate_sync.wire.errors import FAULTS_MAX, FieldFault, MalformedError, fault_of, read
from edgegate_sync.wire.kinds import (
    ERASURES,
    KINDS,
    PASS,
    KindUnknownError,
    RecordUnusableError,
    decode_record,
    encode_record,
    kind_of,
)

TRANSACTION_MAX = 500
"""Records in one transaction of a bulk request that is not all or nothing."""

_columns = (record.c.id, record.c.seq, record.c.body)
_item = msgspec.json.Decoder(BulkItem)
_array = msgspec.json.Decoder(list[Raw])
_body = msgspec.json.Decoder(dict[str, Raw])


class FaultyError(Exception):
    """A record that may not be written, and in what ways."""

    def __init__(self, faults: tuple[FieldFault, ...]) -> None:
        super().__init__(faults[0].problem)
        self.faults = faults


def checked(kind: str, record_id: str, body: bytes) -> bytes:
    """A body as it is kept, in its one spelling: validated, defaults left out.

    Raises:
        FaultyError: if it does not validate, is of another id, or has a field that nobody knows:
            the cloud is where a mistyped field must show.
    """
    try:
        found = decode_record(kind_of(kind), record_id, body)
    except KindUnknownError as error:
        raise FaultyError((FieldFault(field="kind", problem=str(error)),)) from error
    except (MalformedError, RecordUnusableError) as error:
        fault = (
            fault_of(error) if isinstance(error, MalformedError) else FieldFault(problem=str(error))
        )
        raise FaultyError((fault,)) from error
    if found.unknown:
        raise FaultyError(
            tuple(
                FieldFault(field=path, problem="there is no such field", advice="Leave it out.")
                for path in found.unknown
            )
        )
    text = encode_record(found.record)
    if len(text) > BODY_BYTES_MAX:
        problem = f"has {len(text)} bytes, {BODY_BYTES_MAX} at most"
        raise FaultyError((FieldFault(problem=problem),))
    return text


async def list_records(kind: str, asked: Asked) -> web.StreamResponse:
    """A page of records in the order of their ids."""
    limit, owner = asked.values["limit"], asked.values["owner"]
    statement = select(*_columns).where(
        record.c.site == asked.site,
        record.c.kind == kind,
        record.c.op == Op.PUT.value,
        record.c.id > asked.values["cursor"],
    )
    if owner is not None:
        statement = statement.where(record.c.owner == owner)
    async with asked.cloud.database.reading() as connection:
        await standing(connection, asked.site)
        found = await fetch(connection, statement.order_by(record.c.id).limit(limit))
        records = tuple(_stored(row) for row in found)
    more = records[-1].id if len(records) == limit else None
    return answer(Page(records=records, next=more))


async def get_record(kind: str, asked: Asked) -> web.StreamResponse:
    """One record."""
    statement = select(*_columns).where(
        record.c.site == asked.site,
        record.c.kind == kind,
        record.c.id == asked.values["id"],
        record.c.op == Op.PUT.value,
    )
    async with asked.cloud.database.reading() as connection:
        row = (await fetch(connection, statement)).one_or_none()
    if row is None:
        raise problems.not_found(f'{kind} "{asked.values["id"]}" at this site')
    return answer(_stored(row))


async def put_record(kind: str, asked: Asked) -> web.StreamResponse:
    """Create or replace a record; what it refers to in vain is a warning."""
    record_id = asked.values["id"]
    try:
        body = await asyncio.to_thread(checked, kind, record_id, asked.raw)
    except FaultyError as error:
        raise problems.invalid(error.faults) from error
    async with asked.cloud.database.site(asked.site) as transaction:
        await transaction.put(kind, record_id, body)
        if kind == PASS.name:
            await _settle(transaction, [record_id])
        warnings = await dangling(transaction, kind, body)
    return answer(Written(head=transaction.head or 0, warnings=warnings))


async def delete_record(kind: str, asked: Asked) -> web.StreamResponse:
    """Delete a record."""
    async with asked.cloud.database.site(asked.site) as transaction:
        await transaction.delete(kind, asked.values["id"])
    return answer(Written(head=transaction.head or 0))


async def erase_record(kind: str, asked: Asked) -> web.StreamResponse:
    """Erase a person."""
    async with asked.cloud.database.site(asked.site) as transaction:
        count = await erasure.erase(transaction, kind, asked.values["id"])
    return answer(Erased(head=transaction.head or 0, records=count))


async def put_records(asked: Asked) -> web.StreamResponse:
    """Write many records from a JSON array."""
    try:
        items = await asyncio.to_thread(read, _array, asked.raw, "body", len(asked.raw))
    except MalformedError as error:
        raise problems.of_malformed(error) from error
    return await _bulk(asked, items)


async def put_record_lines(asked: Asked) -> web.StreamResponse:
    """Write many records, one on each line; empty lines are passed over, but counted."""
    return await _bulk(asked, asked.raw.split(b"\n"))


async def _bulk(asked: Asked, items: Sequence[bytes | Raw]) -> web.StreamResponse:
    if len(items) > BULK_MAX:
        problem = f"has {len(items)} changes, {BULK_MAX} at most: send them in parts"
        raise problems.invalid([FieldFault(problem=problem)])
    good, faults = await asyncio.to_thread(_sorted_out, items)
    if faults and asked.values["all_or_nothing"]:
        raise problems.invalid(faults)
    step = len(good) if asked.values["all_or_nothing"] else TRANSACTION_MAX
    async with asked.cloud.database.reading() as connection:
        head = (await standing(connection, asked.site)).head
    for start in range(0, len(good), max(1, step)):
        async with asked.cloud.database.site(asked.site) as transaction:
            await _write(transaction, good[start : start + step])
        head = transaction.head or head
    return answer(BulkWritten(written=len(good), head=head, faults=tuple(faults[:FAULTS_MAX])))


def _sorted_out(items: Iterable[bytes | Raw]) -> tuple[list[BulkItem], list[FieldFault]]:
    """The changes that may be made, and what is wrong with the others."""
    good: list[BulkItem] = []
    faults: list[FieldFault] = []
    for line, text in enumerate(items, start=1):
        if not bytes(text).strip():
            continue
        try:
            good.append(_item_of(text))
        except FaultyError as error:
            faults.extend(msgspec.structs.replace(fault, line=line) for fault in error.faults)
    return good, faults


def _item_of(text: bytes | Raw) -> BulkItem:
    """One change of a bulk request; its body becomes the text that is kept."""
    try:
        item = read(_item, text, "change", 2 * BODY_BYTES_MAX)
        if item.op is not Op.PUT:
            _check_deletion(item)
            return item
        body = _body.decode(text).get("body", Raw(b"null"))
    except MalformedError as error:
        raise FaultyError((fault_of(error),)) from error
    return msgspec.structs.replace(item, body=checked(item.kind, item.id, bytes(body)))


def _check_deletion(item: BulkItem) -> None:
    if item.op is Op.ERASE:
        raise MalformedError("change", "erases a person, which has an operation of its own", "op")
    if item.kind not in KINDS or "\0" in item.id:
        raise MalformedError("change", "names no record that there could be", "id")


async def _write(transaction: Transaction, items: Sequence[BulkItem]) -> None:
    for item in items:
        if item.op is Op.PUT:
            await transaction.put(item.kind, item.id, item.body)
        else:
            await transaction.delete(item.kind, item.id)
    passes = [item.id for item in items if item.kind == PASS.name and item.op is Op.PUT]
    for start in range(0, len(passes), TRANSACTION_MAX):
        await _settle(transaction, passes[start : start + TRANSACTION_MAX])


async def _settle(transaction: Transaction, pass_ids: Sequence[str]) -> None:
    """Let the balances of passes follow what was written of them."""
    await transaction.flush()
    await reckon.refresh(transaction, pass_ids, microseconds(datetime.now(UTC)))


def _stored(row: Row[Any]) -> Stored:
    return Stored(id=row.id, seq=row.seq, body=Raw(row.body.encode()))


HANDLERS: dict[str, Handler] = {
    "put_records": put_records,
    "put_record_lines": put_record_lines,
    **{f"list_{kind}": partial(list_records, kind) for kind in KINDS},
    **{f"get_{kind}": partial(get_record, kind) for kind in KINDS},
    **{f"put_{kind}": partial(put_record, kind) for kind in KINDS},
    **{f"delete_{kind}": partial(delete_record, kind) for kind in KINDS},
    **{f"erase_{kind}": partial(erase_record, kind) for kind in ERASURES},
}
"""By operation."""
