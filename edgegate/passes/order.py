"""Which pass pays first (O-02, O-03): a total order, the same on every device."""

from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime

from edgegate.passes.facts import Facts
from edgegate.passes.model import HolderFirst, Location, OrderKey, Pass, Priority, Source, Unit

NEVER = datetime.max.replace(tzinfo=UTC)
"""Stands for the expiry of a pass that has none: it comes last."""

NO_NUMBER = 2**63
"""Stands for what is left of an unlimited pass: more than any number (O-02)."""

_UNLIMITED, _CREDIT = Unit.UNLIMITED, Unit.CREDIT
_PRIORITY = {Priority.HIGH: 0, Priority.NORMAL: 1, Priority.LOW: 2}
_SOURCE = {source: place for place, source in enumerate(Source)}
_UNIT = {Unit.CREDIT: 0, Unit.MINUTE: 1, Unit.USE: 2, Unit.UNLIMITED: 3}

SortKey = tuple[int | str | datetime, ...]
KeyPart = Callable[[Pass], int | str | datetime]


def in_order(passes: Iterable[Pass], facts: Facts, location: Location) -> list[Pass]:
    """The passes as the location spends them, first to last."""
    return sorted(passes, key=order_of(facts, location))


def first_in_order(passes: Iterable[Pass], facts: Facts, location: Location) -> Pass:
    """The pass that the location spends first: key after key, until one pass is left.

    Raises:
        ValueError: if there is none.
    """
    left = list(passes)
    for part in _parts(facts, location):
        if len(left) == 1:
            break
        values = [part(p) for p in left]
        first = min(values)
        if values.count(first) < len(values):
            left = [p for p, value in zip(left, values, strict=True) if value == first]
    return left[0]


def order_of(facts: Facts, location: Location) -> Callable[[Pass], SortKey]:
    """What passes are sorted by: unlimited, personal or team, then the location's own order."""
    parts = tuple(_parts(facts, location))
    return lambda p: tuple([part(p) for part in parts])


def _parts(facts: Facts, location: Location) -> Iterator[KeyPart]:
    by_unit = OrderKey.UNIT in location.order
    if not by_unit:
        yield lambda p: p.unit is not _UNLIMITED
    customer, personal_first = facts.customer.id, location.holder_first == HolderFirst.PERSONAL
    yield lambda p: (p.holder == customer) is not personal_first
    if not by_unit and OrderKey.PRIORITY not in location.order:
        yield _credit_last
    remaining = facts.remaining
    known: dict[OrderKey, KeyPart] = {
        OrderKey.PRIORITY: lambda p: _PRIORITY[p.priority],
        OrderKey.EXPIRES_AT: lambda p: p.expires_at or NEVER,
        OrderKey.SOURCE: lambda p: len(_SOURCE) if p.source is None else _SOURCE[p.source],
        OrderKey.REMAINING: lambda p: NO_NUMBER if p.unit is _UNLIMITED else remaining[p.id],
        OrderKey.UNIT: lambda p: _UNIT[p.unit],
        OrderKey.ID: lambda p: p.id,
    }
    for key in location.order:
        yield known[key]
        if key is OrderKey.PRIORITY and not by_unit:
            yield _credit_last
    yield known[OrderKey.ID]


def _credit_last(p: Pass) -> int:
    return p.unit is _CREDIT
