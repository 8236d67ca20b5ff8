"""The order of spending (O-02, O-03) where keys are left out or stand in other places."""

from itertools import permutations

import pytest

from edgegate.passes.facts import Facts
from edgegate.passes.model import Customer, Location, OrderKey, Pass, Priority, Unit
from edgegate.passes.order import first_in_order, in_order

CREDIT = Pass(id="a", holder="ana", unit=Unit.CREDIT)
USE = Pass(id="b", holder="ana", unit=Unit.USE)
USE_TOO = Pass(id="c", holder="ana", unit=Unit.USE)
LOW_USE = Pass(id="d", holder="ana", unit=Unit.USE, priority=Priority.LOW)
UNLIMITED = Pass(id="e", holder="ana", unit=Unit.UNLIMITED, priority=Priority.LOW)


@pytest.mark.parametrize(
    ("order", "ids"),
    [
        ((), "ebcda"),
        ((OrderKey.ID,), "ebcda"),
        ((OrderKey.PRIORITY,), "ebcad"),
        ((OrderKey.UNIT,), "abcde"),
        ((OrderKey.PRIORITY, OrderKey.UNIT), "abcde"),
        ((OrderKey.UNIT, OrderKey.PRIORITY), "abcde"),
        ((OrderKey.REMAINING, OrderKey.UNIT), "dcabe"),
    ],
)
def test_the_order_is_the_same_however_the_passes_come_o02_o03(
    order: tuple[OrderKey, ...], ids: str
) -> None:
    """The lowest id comes first in the end, also where the location's order does not name it."""
    facts = Facts(
        customer=Customer(id="ana"),
        ancestry=("hq",),
        remaining={"a": 3, "b": 3, "c": 2, "d": 1, "e": 0},
    )
    location = Location(id="hq", order=order)
    for passes in permutations((CREDIT, USE, USE_TOO, LOW_USE, UNLIMITED)):
        assert "".join(p.id for p in in_order(passes, facts, location)) == ids


def test_unlimited_is_more_than_any_number_o02() -> None:
    order = (OrderKey.REMAINING, OrderKey.UNIT)
    most = 1_000_000_000
    facts = Facts(customer=Customer(id="ana"), ancestry=("hq",), remaining={"b": most, "e": 0})
    location = Location(id="hq", order=order)
    for passes in permutations((USE, UNLIMITED)):
        assert [p.id for p in in_order(passes, facts, location)] == ["b", "e"]
        assert first_in_order(passes, facts, location) is USE


def test_of_no_passes_none_is_the_first_o02() -> None:
    facts = Facts(customer=Customer(id="ana"), ancestry=("hq",))
    with pytest.raises(ValueError, match="empty"):
        first_in_order((), facts, Location(id="hq"))
