"""Which pass pays first (O-02, O-03): a total order, the same on every device."""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

from edgegate.passes.facts import Facts
from edgegate.passes.model import Location, OrderKey, Pass, Priority, Source, Unit

NEVER = datetime.max.replace(tzinfo=UTC)
"""Stands for the expiry of a pass that has none: it comes last."""

_PRIORITY = {Priority.HIGH: 0, Priority.NORMAL: 1, Priority.LOW: 2}
_SOURCE = {source: place for place, source in enumerate(Source)}
_UNIT = {Unit.CREDIT: 0, Unit.MINUTE: 1, Unit.USE: 2, Unit.UNLIMITED: 3}

SortKey = tuple[int | str | datetime, ...]


def in_order(passes: Iterable[Pass], facts: Facts, location: Location) -> list[Pass]:
    """The passes as the location spends them, first to last."""
    return sorted(passes, key=lambda p: sort_key(p, facts, location))


def sort_key(p: Pass, facts: Facts, location: Location) -> SortKey:
    """Unlimited before the rest, personal before team, then the location's own order."""
    by_unit = OrderKey.UNIT in location.order
    personal = p.holder == facts.customer.id
    holder_first = personal == (location.holder_first == "personal")
    unlimited_first = not by_unit and p.unit is Unit.UNLIMITED
    return (
        0 if unlimited_first else 1,
        0 if holder_first else 1,
        *_location_keys(p, facts, location.order, by_unit=by_unit),
    )


def _location_keys(
    p: Pass, facts: Facts, order: tuple[OrderKey, ...], *, by_unit: bool
) -> Iterator[int | str | datetime]:
    credit_last = 1 if p.unit is Unit.CREDIT else 0
    if not by_unit and OrderKey.PRIORITY not in order:
        yield credit_last
    for key in order:
        yield _value(p, facts, key)
        if not by_unit and key is OrderKey.PRIORITY:
            yield credit_last
    yield p.id


def _value(p: Pass, facts: Facts, key: OrderKey) -> int | str | datetime:
    match key:
        case OrderKey.PRIORITY:
            return _PRIORITY[p.priority]
        case OrderKey.EXPIRES_AT:
            return p.expires_at or NEVER
        case OrderKey.SOURCE:
            return len(_SOURCE) if p.source is None else _SOURCE[p.source]
        case OrderKey.REMAINING:
            return facts.remaining[p.id]
        case OrderKey.UNIT:
            return _UNIT[p.unit]
        case OrderKey.ID:
            return p.id
