"""Which of several coverages a visit goes on: the same on every device, and the longest."""

from datetime import UTC, date, datetime, timedelta

import pytest
from msgspec.structs import replace

from edgegate.passes.facts import Facts, Request
from edgegate.passes.model import Channel, Customer, Location, Offer, Pass
from edgegate.passes.payment import by_passes
from edgegate.passes.reasons import Reason
from edgegate.passes.state import Coverage, Scope, Segment

AT = datetime(2026, 3, 2, 9, tzinfo=UTC)
END = datetime(2026, 3, 3, tzinfo=UTC)
HOUR, TICK = timedelta(hours=1), timedelta(microseconds=1)
KIOSK = Request(at=AT, location=Location(id="hq"), channel=Channel.KIOSK)
USES = Pass(id="p", holder="ana", amount=10)
BY_DAY = Offer(id="o", price=2000, currency="EUR", sold_to=())
BOUGHT = Coverage(pass_=USES.id, customer="ana", day=date(2026, 3, 2), from_=AT - HOUR, until=END)


def covered_by(coverages: tuple[Coverage, ...]) -> Facts:
    return Facts(
        customer=Customer(id="ana"),
        ancestry=("hq",),
        passes=(USES,),
        remaining={USES.id: 3},
        coverages=coverages,
        offers=(BY_DAY,),
    )


@pytest.mark.parametrize(
    ("first", "other"),
    [
        (BOUGHT, replace(BOUGHT, from_=AT - 2 * HOUR, until=END - TICK)),
        (replace(BOUGHT, until=None), replace(BOUGHT, from_=AT - 2 * HOUR)),
        (replace(BOUGHT, scope=Scope(home="hq")), replace(BOUGHT, scope=Scope(locations=("hq",)))),
    ],
    ids=["ends last", "has no end", "settled by what it allows"],
)
def test_of_two_days_that_a_pass_bought_the_longer_covers_on_every_device_o02(
    first: Coverage, other: Coverage
) -> None:
    on = Segment(from_=AT, pass_=USES.id, until=first.until, scope=first.scope)
    for coverages in ((first, other), (other, first)):
        decision = by_passes(covered_by(coverages), KIOSK)
        assert decision.reason is Reason.COVERED
        assert decision.payment is not None
        assert decision.payment.segment == on


@pytest.mark.parametrize("offer", [True, False])
def test_of_days_that_no_pass_stands_for_the_longer_covers_o02(*, offer: bool) -> None:
    """Of equally long ones the lowest id; a pass that the customer has goes before them all."""
    gone = replace(BOUGHT, pass_="z", scope=Scope(home="hq"))  # noqa: S106 - a pass of the law
    other = replace(BOUGHT, pass_=None, offer=BY_DAY.id) if offer else gone
    longest = replace(gone, pass_="y")  # noqa: S106 - a pass of the law
    short = replace(gone, pass_="a", until=END - TICK)  # noqa: S106 - a pass of the law
    known_pass = replace(BOUGHT, until=AT + TICK)
    for first, rest in (
        (known_pass, (longest, other, short)),
        (other if offer else longest, (short, longest, gone)),
    ):
        for coverages in ((first, *rest), (*rest, first)):
            decision = by_passes(covered_by(coverages), KIOSK)
            assert (decision.pass_, decision.offer) == (first.pass_, first.offer)
