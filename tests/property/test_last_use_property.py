"""Two readers, two members of one team, the team's last use: exactly one of them gets in."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgegate import checkin
from edgegate.bookkeeper import Bookkeeper
from edgegate.passes.decide import decide
from edgegate.passes.facts import Facts, Request, day_of
from edgegate.passes.model import Channel, Customer, Door, Location, Pass
from edgegate.passes.payment import Decision
from edgegate.ports import ClockTrust
from edgegate.store.books import Books
from edgegate.store.files import Store
from edgegate.store.ledger import Stamp
from edgegate.store.thread import DatabaseThread
from fakes.sites import put_records

AT = datetime(2026, 3, 2, 9, tzinfo=UTC)
HQ = Location(id="hq")
FRONT, BACK = Door(id="front", location="hq"), Door(id="back", location="hq")

Entry = Callable[[Bookkeeper, Customer, Door, datetime], Awaitable[Decision]]


def stamp() -> Stamp:
    return Stamp(source="edgegate/site/pi", clock=ClockTrust.TRUSTED, boot_id="b", monotonic_s=0.0)


async def enter_as_one_job(
    keeper: Bookkeeper, customer: Customer, door: Door, at: datetime
) -> Decision:
    """The line's way: facts, decision and record are one plain function."""
    request = Request(at=at, location=HQ, channel=Channel.DOOR, door=door)
    outcome = await keeper.do(lambda books: checkin.enter(books, request, customer))
    return outcome.decision


async def enter_with_an_await_between(
    keeper: Bookkeeper, customer: Customer, door: Door, at: datetime
) -> Decision:
    """The mutant: the loop may run somebody else between the facts and the record."""
    request = Request(at=at, location=HQ, channel=Channel.DOOR, door=door)
    facts: Facts = await keeper.do(lambda books: books.facts(customer, HQ, at))
    decision = decide(facts, request)
    if decision.payment is None:
        return decision

    def record(books: Books) -> None:
        checkin._go_in(books, facts, request, decision, None)

    await keeper.do(record)
    return decision


async def granted(entry: Entry, uses: int, members: int) -> int:
    """How many of the members get in who tap at the same instant at two doors."""
    thread: DatabaseThread[Store] = DatabaseThread(on_fault=lambda _fault: None)
    keeper = Bookkeeper(thread, stamp)
    customers = [Customer(id=f"m{number}", team="team") for number in range(members)]

    def open_store() -> Store:
        store = Store.open(":memory:")
        put_records(store, [HQ, FRONT, BACK, Pass(id="p", holder="team", amount=uses), *customers])
        return store

    await keeper.open(open_store)
    try:
        taps = [
            entry(keeper, customer, (FRONT, BACK)[number % 2], AT + timedelta(seconds=number))
            for number, customer in enumerate(customers)
        ]
        return sum(decision.opens for decision in await asyncio.gather(*taps))
    finally:
        await thread.close()


@given(uses=st.integers(1, 4), members=st.integers(2, 8))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_as_many_members_get_in_as_uses_are_left(uses: int, members: int) -> None:
    got_in = asyncio.run(granted(enter_as_one_job, uses, members))
    assert got_in == min(uses, members)


def test_an_await_between_facts_and_record_spends_the_last_use_twice() -> None:
    """The property above would catch the mutant: it lets both in."""
    day_of(HQ, AT)  # The zone's file is read before the loop runs, in which the mutant decides.
    assert asyncio.run(granted(enter_with_an_await_between, 1, 2)) == 2


async def test_two_readers_and_one_last_use() -> None:
    for _ in range(5):
        assert await granted(enter_as_one_job, 1, 2) == 1
