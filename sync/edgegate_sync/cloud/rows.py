"""How the books' rows are written in sets, and read back as the values that the rules take."""

from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

import msgspec
from sqlalchemy import (
    BigInteger,
    Boolean,
    Executable,
    Integer,
    LargeBinary,
    String,
    Table,
    Text,
    func,
    text,
)
from sqlalchemy.dialects import sqlite
from sqlalchemy.types import TypeEngine

from edgegate.passes.happenings import Debited, Refunded
from edgegate.store.chain import Entry
from edgegate.store.projection import instant
from edgegate_sync.cloud.feed import Transaction
from edgegate_sync.cloud.usage import Return, Use, Visit

Row = dict[str, Any]

_debited = msgspec.json.Decoder(Debited).decode
_refunded = msgspec.json.Decoder(Refunded).decode


async def upsert(
    tx: Transaction,
    table: Table,
    rows: Sequence[Row],
    following: Iterable[str] = (),
    kept: Iterable[str] = (),
) -> None:
    """Insert rows; where the key is there the row stays, but for the columns that are named.

    Those `following` take the new value, those `kept` only if it is not NULL.
    """
    if not rows:
        return
    columns, then = tuple(rows[0]), (tuple(following), tuple(kept))
    if tx.writing.is_sqlite:
        await tx.execute(_upsert(table, *then), rows)
    else:
        arrays = {f"c{n}": [row[name] for row in rows] for n, name in enumerate(columns)}
        await tx.execute(_upsert_arrays(table, columns, *then), arrays)


@cache
def _upsert(table: Table, following: tuple[str, ...], kept: tuple[str, ...]) -> Executable:
    """One of a few statements: to make one takes longer than to run it."""
    statement = sqlite.insert(table)
    keys = [column.name for column in table.primary_key]
    new: dict[str, Any] = {name: statement.excluded[name] for name in following}
    new |= {name: func.coalesce(statement.excluded[name], table.c[name]) for name in kept}
    if not new:
        return statement.on_conflict_do_nothing(index_elements=keys)
    return statement.on_conflict_do_update(index_elements=keys, set_=new)


@cache
def _upsert_arrays(
    table: Table, columns: tuple[str, ...], following: tuple[str, ...], kept: tuple[str, ...]
) -> Executable:
    """The same for PostgreSQL: all rows in one execution, a column an array (a third the time)."""
    arrays = (
        f"CAST(:c{n} AS {_ARRAYS[type(table.c[name].type)]}[])" for n, name in enumerate(columns)
    )
    new = [f'"{name}" = excluded."{name}"' for name in following]
    new += [f'"{name}" = coalesce(excluded."{name}", "{table.name}"."{name}")' for name in kept]
    keys = ", ".join(f'"{column.name}"' for column in table.primary_key)
    names = ", ".join(f'"{name}"' for name in columns)
    # S608: names of this package's tables and columns, and nothing else.
    return text(
        f'INSERT INTO "{table.name}" ({names}) SELECT * FROM unnest({", ".join(arrays)})'  # noqa: S608 - see above
        f" ON CONFLICT ({keys}) DO {'UPDATE SET ' + ', '.join(new) if new else 'NOTHING'}"
    )


_ARRAYS: dict[type[TypeEngine[Any]], str] = {
    String: "text",
    Text: "text",
    BigInteger: "bigint",
    Integer: "integer",
    LargeBinary: "bytea",
    Boolean: "boolean",
}


def entry_of(site: str, row: Any) -> Entry:
    """A stored entry as its device wrote it."""
    return Entry(
        epoch=row.epoch,
        sequence=row.sequence,
        source=f"edgegate/{site}/{row.device}",
        type=row.type,
        at=instant(row.at_us),
        subject=row.subject,
        clock=row.clock,
        monotonic=row.monotonic,
        salt=row.salt,
        data=row.data,
        data_hash=row.data_hash,
        prevhash=row.prevhash,
        hash=row.hash,
    )


def use_of(row: Any) -> Use:
    """A debit's row as a use."""
    return Use(
        id=row.id,
        position=(row.device, row.epoch, row.sequence),
        at=instant(row.at_us),
        spent=_debited(row.body),
    )


def return_of(row: Any) -> Return:
    """A refund's row as a return."""
    return Return(
        position=(row.device, row.epoch, row.sequence),
        at=instant(row.at_us),
        refund=_refunded(row.body),
    )


def visit_of(row: Any) -> Visit:
    """A visit's row as a visit; one that the cloud settled ended then."""
    ended = row.closed_us if row.closed_us is not None else row.abandoned_us
    return Visit(
        id=row.id,
        customer=row.customer,
        location=row.location,
        device=row.device,
        opened_at=instant(row.opened_us),
        closes_at=instant(row.closes_us),
        closed_at=None if ended is None else instant(ended),
    )
