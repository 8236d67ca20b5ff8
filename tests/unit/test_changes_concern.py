"""Whom of those inside a change of the feed concerns, and that they are judged in small bites."""

from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from edgegate import deadlines
from edgegate.checkin import enter
from edgegate.deadlines import look_again, reconsider, resume, settle
from edgegate.passes.facts import Request
from edgegate.passes.happenings import Closed, Debited
from edgegate.passes.model import (
    Audience,
    Balance,
    Channel,
    Contract,
    Credential,
    CredentialKind,
    Customer,
    Location,
    Offer,
    Pass,
    Per,
    Reservation,
    Team,
    Unit,
)
from edgegate.passes.reasons import ClosingReason
from edgegate.passes.state import Segment, Session
from edgegate.store import cache, ledger
from edgegate.store.files import Store
from edgegate.store.projection import happening_of
from edgegate_sync.appliance.apply import apply, step_of_line
from edgegate_sync.appliance.concerned import Concerned
from edgegate_sync.appliance.judging import VISITS_MAX, bites, sharing
from fakes.feed_server import gone, line_of
from fakes.memory_world import World

AT = datetime(2026, 3, 2, 9, tzinfo=UTC)
LATER = AT + timedelta(minutes=10)
HQ = Location(id="hq")
Make = Callable[[], "Site"]


def minutes(id_: str, holder: str, amount: int, **others: Any) -> Pass:
    """Minutes at the one place."""
    return Pass(id=id_, holder=holder, amount=amount, unit=Unit.MINUTE, home="hq", **others)


def left(of: str, remaining: int) -> Balance:
    """A balance of a pass."""
    return Balance(pass_=of, remaining=remaining)


class Site(World):
    """A world whose visits come from changes of the feed."""

    def feed(self, *lines: bytes) -> Concerned:
        """Apply lines as a pull does; whom they concern."""
        concerned = Concerned()
        steps = [step_of_line(line, 0) for line in lines]
        apply(steps, 99, self.store.cache, concerned)  # type: ignore[arg-type]  # no trailer
        self.books.forget_places()
        return concerned

    def come(self, customer: str, location: str = "hq", at: datetime = AT) -> None:
        """Let somebody in at the kiosk."""
        place, who = self.books.location(location), self.books.customer(customer)
        assert place is not None
        assert who is not None
        request = Request(at=at, location=place, channel=Channel.KIOSK)
        assert enter(self.books, request, who).decision.opens

    def concerned(self, *lines: bytes) -> list[str]:
        """The customers whose visits lines would have looked at."""
        found = bites(self.books, self.feed(*lines))
        inside = {s.id: s.customer for s in self.books.sessions()}
        return [inside[id_] for bite in found for id_ in bite]

    def in_bites(self, concerned: Concerned, at: datetime) -> int:
        """Look at visits as the feed does; how many jobs that took."""
        found = bites(self.books, concerned)
        settle(self.books, at)
        self.books.note_change(at)
        for number, bite in enumerate(found):
            look_again(self.books, at + timedelta(milliseconds=number), bite)
        return len(found)

    def told(self) -> list[tuple[str, Any, Any]]:
        """What the ledger says that visits cost and why they closed."""
        found = [happening_of(entry) for entry in ledger.entries(self.store.ledger)]
        debits = [("debited", h.customer, (h.pass_, h.amount)) for h in found if type(h) is Debited]
        closed = [("closed", h.customer, h.reason) for h in found if type(h) is Closed]
        return sorted(debits + closed)


@pytest.fixture
def make() -> Iterator[Make]:
    stores: list[Store] = []

    def site() -> Site:
        stores.append(Store.open(":memory:", now=lambda: 1.0))
        return Site(stores[-1])

    yield site
    for store in stores:
        store.close()


@pytest.fixture
def site(make: Make) -> Site:
    it = make()
    it.put(HQ, Location(id="annex"), Team(id="t"))
    it.put(*(Customer(id=name) for name in ("ana", "ben", "eve")), Customer(id="tom", team="t"))
    it.put(Contract(id="k", holder="zoe"), Contract(id="kb", holder="ben"))
    it.put(minutes("pa", "ana", 100), minutes("pb", "ben", 100))
    it.put(minutes("pt", "t", 100, contract="k"))
    it.put(Reservation(id="r", customer="eve", location="hq", from_=AT, until=AT + timedelta(1)))
    for name in ("ana", "ben", "eve", "tom"):
        it.come(name)
    return it


@pytest.mark.parametrize(
    ("line", "who"),
    [
        (gone(1, "pass", "pa"), ["ana"]),
        (line_of(1, Pass(id="pa", holder="zoe", amount=1)), ["ana"]),
        (line_of(1, Pass(id="new", holder="t", amount=1)), ["tom"]),
        (line_of(1, left("pb", 1)), ["ben"]),
        (line_of(1, Customer(id="tom", name="Tom")), ["tom"]),
        (gone(1, "customer", "ana"), ["ana"]),
        (line_of(1, Contract(id="k", holder="zoe", ends_at=AT)), ["tom"]),
        (line_of(1, Contract(id="kb", holder="zoe")), ["ben"]),
        (gone(1, "contract", "kb"), ["ben"]),
        (line_of(1, Contract(id="kt", holder="t")), ["tom"]),
        (gone(1, "reservation", "r"), ["eve"]),
        (line_of(1, Reservation(id="r2", customer="ben", from_=AT, until=AT)), ["ben"]),
        (line_of(1, Reservation(id="r", customer="ben", from_=AT, until=AT)), ["ben", "eve"]),
        (line_of(1, HQ), ["ana", "ben", "eve", "tom"]),
        (line_of(1, Offer(id="o", price=1)), ["ana", "ben", "eve", "tom"]),
        (gone(1, "door", "front"), ["ana", "ben", "eve", "tom"]),
        (line_of(1, Team(id="t", name="Tees")), []),
        (line_of(1, Credential(id="c", customer="ana", kind=CredentialKind.PIN)), []),
        (line_of(1, Pass(id="other", holder="zoe", amount=1)), []),
    ],
)
def test_a_change_concerns_those_who_stand_on_it(site: Site, line: bytes, who: list[str]) -> None:
    assert site.concerned(line) == who


def test_an_erased_person_concerns_whoever_is_on_their_pass(site: Site) -> None:
    site.put(minutes("pa", "zoe", 100))
    assert site.concerned(gone(1, "customer", "zoe", "erase")) == ["ana", "tom"]


def test_who_shares_a_pass_is_looked_at_together() -> None:
    def on(number: int, *passes: str) -> Session:
        segment = Segment(from_=AT, lots=passes) if passes else None
        return Session(
            id=str(number),
            customer=str(number),
            location="hq",
            opened_at=AT,
            segment=segment,
            channel=Channel.KIOSK,
            closes_at=LATER,
            closes_for=ClosingReason.CUTOFF,
        )

    sessions = [on(0, "a"), on(1), on(2, "b"), on(3, "c"), on(4, "b", "a"), on(5, "c"), on(6, "b")]
    groups = [[s.id for s in group] for group in sharing(sessions)]
    assert groups == [["0", "2", "4", "6"], ["1"], ["3", "5"]]


def team(make: Make, members: int) -> Site:
    """A team inside on its own minutes, with a few left to go on with."""
    it = make()
    it.put(HQ, Team(id="t"))
    it.put(*(Customer(id=f"m{n:02}", team="t") for n in range(members)))
    it.put(*(Customer(id=f"n{n:02}") for n in range(members)))
    it.put(minutes("first", "t", 10_000, minimum_minutes=15))
    it.put(*(minutes(f"own{n:02}", f"n{n:02}", 60) for n in range(members)))
    for n in range(members):
        it.come(f"n{n:02}")
        it.come(f"m{n:02}")
    # Whoever goes on spends a visit of these, and there are not enough for all.
    it.put(Pass(id="second", holder="t", amount=members // 2, per=Per.VISIT, home="hq"))
    return it


def test_a_team_that_ends_together_does_not_overspend(make: Make) -> None:
    members = 3 * VISITS_MAX
    whole, parts = team(make, members), team(make, members)
    # What is left pays for the minimum of some of them only.
    change = (
        line_of(1, left("first", 15 * members // 3)),
        line_of(2, Pass(id="own00", holder="n00", amount=60, audience=Audience.MEMBERS)),
    )
    whole.feed(*change)
    reconsider(whole.books, LATER)
    assert parts.in_bites(parts.feed(*change), LATER) == 2
    assert parts.told() == whole.told()
    for it in (whole, parts):
        held = [it.books.record_of(cache.PASS, name) for name in ("first", "second")]
        assert it.books.remaining(p for p in held if p) == {"first": 0, "second": 0}
        assert len(it.books.sessions()) == members // 2 + members - 1


def test_everybody_is_looked_at_a_few_at_a_time(make: Make) -> None:
    members = 2 * VISITS_MAX
    whole, parts = team(make, members), team(make, members)
    for it in (whole, parts):
        it.put(*(Pass(id=f"own{n:02}", holder="nobody", amount=1) for n in range(members)))
    reconsider(whole.books, LATER)
    assert parts.in_bites(Concerned(everybody=True), LATER) == 1 + members // VISITS_MAX
    assert parts.told() == whole.told()
    assert len(parts.books.sessions()) == members


def test_who_has_left_meanwhile_is_passed_over(site: Site) -> None:
    ids = [session.id for session in site.books.sessions()]
    ana = site.books.sessions()[0]
    deadlines.close(site.books, ana, LATER, ClosingReason.EXIT)
    look_again(site.books, LATER, ids)
    assert [s.customer for s in site.books.sessions()] == ["ben", "eve", "tom"]


def test_what_was_left_unjudged_is_judged_at_the_start(tmp_path: Path) -> None:
    with closing(Store.open(tmp_path, now=lambda: 1.0)) as store:
        it = Site(store)
        it.put(HQ, Customer(id="ana"), Customer(id="ben"))
        it.put(*(minutes(f"p{name}", name, 90) for name in ("ana", "ben")))
        for name in ("ana", "ben"):
            it.come(name)
        it.books.note_change(LATER)
        cache.delete(store.cache, cache.CUSTOMER, "ana")
        resume(it.books)
        assert len(it.books.sessions()) == 2
        cache.note_unjudged(store.cache)
        resume(it.books)
        settle(it.books, LATER + timedelta(hours=5))
        assert it.told()[:2] == [
            ("closed", "ana", ClosingReason.REVOKED),
            ("closed", "ben", ClosingReason.USED_UP),
        ]
        assert ("debited", "ana", ("pana", 10)) in it.told()
        cache.note_judged(store.cache)
        assert not it.books.is_unjudged()
