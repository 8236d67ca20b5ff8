"""Which records a record refers to: a reference in vain is warned of, never refused.

Records may come in any order, and the devices can live with a pass of somebody unknown.
"""

from typing import Any

import msgspec
from sqlalchemy import select, tuple_

from edgegate_sync.cloud.feed import Transaction
from edgegate_sync.cloud.tables import record
from edgegate_sync.wire.changes import Op
from edgegate_sync.wire.errors import FieldFault

REFERENCES: dict[str, dict[str, tuple[str, ...]]] = {
    "customer": {"team": ("team",)},
    "contract": {"holder": ("customer", "team"), "plan": ("plan",)},
    "credential": {"customer": ("customer",)},
    "pass": {"holder": ("customer", "team"), "home": ("location",), "contract": ("contract",)},
    "balance": {"pass": ("pass",)},
    "offer": {"home": ("location",)},
    "resource": {"location": ("location",)},
    "reservation": {
        "customer": ("customer",),
        "location": ("location",),
        "pass": ("pass",),
        "resource": ("resource",),
    },
    "door": {"location": ("location",), "resource": ("resource",)},
    "door_group": {"location": ("location",)},
    "plan": {"location": ("location",)},
    "device_config": {"location": ("location",)},
    "location": {"parent": ("location",)},
}
"""By kind and field, of which kinds a record of that id should be there."""


async def dangling(transaction: Transaction, kind: str, body: bytes) -> tuple[FieldFault, ...]:
    """The references of a body to records that are not there, those being written included."""
    fields: dict[str, Any] = msgspec.json.decode(body)
    wanted = {
        field: [(other, fields[field]) for other in kinds]
        for field, kinds in REFERENCES.get(kind, {}).items()
        if isinstance(fields.get(field), str) and fields[field]
    }
    if not wanted:
        return ()
    await transaction.flush()
    pairs = [pair for of_field in wanted.values() for pair in of_field]
    found = await transaction.execute(
        select(record.c.kind, record.c.id).where(
            record.c.site == transaction.site,
            tuple_(record.c.kind, record.c.id).in_(pairs),
            record.c.op == Op.PUT.value,
        )
    )
    present = {(row.kind, row.id) for row in found}
    return tuple(
        FieldFault(
            field=field,
            problem=f'there is no {" or ".join(other for other, _ in pairs)} "{pairs[0][1]}"',
            advice="It was written all the same; write what it refers to as well.",
        )
        for field, pairs in wanted.items()
        if present.isdisjoint(pairs)
    )
