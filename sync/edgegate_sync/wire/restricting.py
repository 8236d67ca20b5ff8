"""What restricts somebody is taken even from a body that is otherwise invalid.

A card that was blocked must not go on opening doors because the same record has a broken name.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, TypeVar

import msgspec
from msgspec import Raw, Struct

from edgegate.passes.model import CredentialStatus, CustomerStatus, PassState, ReservationState
from edgegate.records import StaffStatus

R = TypeVar("R", bound=Struct)

Tighter = Callable[[Any, Any], bool]
"""Whether the second value restricts more than the first."""


def _by_rank(ranks: Sequence[StrEnum]) -> Tighter:
    return lambda old, new: ranks.index(new) > ranks.index(old)


def _sooner(old: datetime | None, new: datetime) -> bool:
    return old is None or new < old


class Restriction(Struct, frozen=True, kw_only=True):
    """A field that restricts: its type, and which of two values restricts more."""

    field: str
    """Its name on the wire, which is also the attribute's."""
    type: Any
    tighter: Tighter


def _ends(field: str) -> Restriction:
    return Restriction(field=field, type=datetime, tighter=_sooner)


def _ranked(field: str, *ranks: StrEnum) -> Restriction:
    return Restriction(field=field, type=type(ranks[0]), tighter=_by_rank(ranks))


RESTRICTING: dict[str, tuple[Restriction, ...]] = {
    "customer": (
        _ranked("status", CustomerStatus.ACTIVE, CustomerStatus.PAUSED, CustomerStatus.DISABLED),
        Restriction(field="staff", type=bool, tighter=lambda old, new: old and not new),
    ),
    "contract": (_ends("ends_at"),),
    "credential": (
        _ranked("status", CredentialStatus.ACTIVE, CredentialStatus.BLOCKED),
        _ends("valid_until"),
    ),
    "pass": (
        _ranked(
            "state",
            PassState.ACTIVE,
            PassState.AWAITING_APPROVAL,
            PassState.REJECTED,
            PassState.CANCELLED,
        ),
        Restriction(field="payment_hold", type=bool, tighter=lambda old, new: new and not old),
        _ends("expires_at"),
    ),
    "reservation": (
        _ranked(
            "state",
            ReservationState.SCHEDULED,
            ReservationState.ARRIVED,
            ReservationState.CANCELLED,
        ),
        _ends("until"),
    ),
    "staff_account": (
        _ranked("status", StaffStatus.ACTIVE, StaffStatus.DISABLED),
        _ends("valid_until"),
    ),
}
"""By kind, the fields that restrict; kinds that are not here have none."""


def restrictions(kind: str, body: bytes | Raw) -> dict[str, Any]:
    """The restricting values that can be read out of a body, by field; never raises.

    Each is read by itself: a broken one does not hide another. What is no JSON object has none.
    """
    fields = RESTRICTING.get(kind, ())
    try:
        present = _outer.decode(body) if fields else {}
    except (ValueError, RecursionError):
        return {}
    found = {}
    for restriction in fields:
        value = _read(restriction, present.get(restriction.field))
        if value is not None:
            found[restriction.field] = value
    return found


def _read(restriction: Restriction, text: Raw | None) -> Any:
    if text is None:
        return None
    try:
        value = msgspec.json.decode(text, type=restriction.type)
        if isinstance(value, datetime):
            return None if value.tzinfo is None else value.astimezone(UTC)
    except (ValueError, OverflowError, RecursionError):
        return None
    return value


def tighten(kind: str, record: R, found: Mapping[str, Any]) -> R:
    """`record` with those values of `found` that restrict more than its own; itself if none does.

    A broken body may take a right away. It never gives one back: that waits for a whole record.
    """
    tighter = {
        restriction.field: found[restriction.field]
        for restriction in RESTRICTING.get(kind, ())
        if restriction.field in found
        and restriction.tighter(getattr(record, restriction.field), found[restriction.field])
    }
    return msgspec.structs.replace(record, **tighter) if tighter else record


_outer = msgspec.json.Decoder(dict[str, Raw])
