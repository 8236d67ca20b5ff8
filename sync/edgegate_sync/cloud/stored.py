"""Which entries of a device the cloud has, as ranges, so that the device sees what is not there.

A range begins with an epoch, or behind a gap, which is flagged when it comes about; so it takes a
few rows to tell, however long the ledger is.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import ColumnElement, Select, Table, func, select

from edgegate_sync.cloud.intake import Fault, FlagKind
from edgegate_sync.cloud.ledger_tables import ledger_entry, ledger_flag, quarantine
from edgegate_sync.cloud.stow import Head
from edgegate_sync.wire.events import STORED_MAX, Stored


def stored_query(site: str, device: str) -> Select[Any]:
    """The newest gaps: the entry behind each, and the last one before it, stored or quarantined."""
    return (
        select(
            ledger_flag.c.epoch,
            ledger_flag.c.sequence,
            _last_before(ledger_entry).label("entry"),
            _last_before(quarantine, quarantine.c.fault != Fault.FORK).label("parked"),
        )
        .where(
            ledger_flag.c.site == site,
            ledger_flag.c.device == device,
            ledger_flag.c.kind == FlagKind.GAP,
        )
        .order_by(ledger_flag.c.epoch.desc(), ledger_flag.c.sequence.desc())
        .limit(STORED_MAX)
    )


def _last_before(table: Table, *where: ColumnElement[bool]) -> ColumnElement[Any]:
    return (
        select(func.max(table.c.sequence))
        .where(
            table.c.site == ledger_flag.c.site,
            table.c.device == ledger_flag.c.device,
            table.c.epoch == ledger_flag.c.epoch,
            table.c.sequence < ledger_flag.c.sequence,
            *where,
        )
        .correlate(ledger_flag)
        .scalar_subquery()
    )


def stored_in(heads: Mapping[int, Head], rows: Iterable[Any]) -> tuple[Stored, ...]:
    """The newest ranges, oldest first; `rows` are those of `stored_query`."""
    gaps: dict[int, list[tuple[int, int]]] = {}
    for row in rows:
        gaps.setdefault(row.epoch, []).append((row.sequence, max(row.entry or 0, row.parked or 0)))
    found: list[Stored] = []
    for epoch in sorted(heads, reverse=True):
        last = heads[epoch].sequence
        for behind, before in gaps.get(epoch, ()):
            found.append(Stored(epoch=epoch, first=behind, last=last))
            last = before
        if last:
            found.append(Stored(epoch=epoch, first=1, last=last))
    return tuple(reversed(found[:STORED_MAX]))
