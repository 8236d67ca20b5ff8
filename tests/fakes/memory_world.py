"""A small world in an in-memory store: Mill Lane, its front door, and Jonas of team Acme."""

from datetime import UTC, datetime
from typing import Any

from rich.console import Console

from edgegate.checkin import enter
from edgegate.explain import Explanation, explain, render
from edgegate.explain.model import PassView, RuleView
from edgegate.passes.facts import Request
from edgegate.passes.model import (
    Balance,
    Channel,
    Customer,
    Day,
    Door,
    Hours,
    Location,
    Pass,
    Record,
    Team,
)
from edgegate.ports import ClockTrust
from edgegate.store import cache
from edgegate.store.books import Books
from edgegate.store.files import Store
from edgegate.store.ledger import Stamp

STAMP = Stamp(source="edgegate/test/device", clock=ClockTrust.TRUSTED, boot_id="b", monotonic_s=0.0)
WEEKDAYS = tuple(Day)[:5]
LATE = datetime(2026, 11, 20, 16, 59, tzinfo=UTC)  # Friday, 17:59 in Berlin
MILL = Location(id="mill", name="Mill Lane", timezone="Europe/Berlin")
JONAS = Customer(id="jonas", name="Jonas Weber", team="acme")
FRONT = Door(id="front", location="mill", name="Front door", groups=("street",))
EVENING = Pass(
    id="evening",
    holder="jonas",
    name="Evening pass",
    amount=10,
    hours=(Hours(days=WEEKDAYS, from_="18:00", to="23:00"),),
)


class World:
    """A store in memory with Mill Lane, its front door and Jonas of team Acme."""

    def __init__(self, store: Store) -> None:
        self.store = store
        # Here the cloud's side writes the cache too, and there is no other transaction.
        store.cache.execute("PRAGMA query_only = OFF")
        self.books = Books(store, lambda: STAMP)
        self.put(MILL, FRONT, JONAS, Team(id="acme", name="Acme"))

    def put(self, *records: Record | Balance) -> None:
        kinds: dict[type[Any], cache.Kind[Any]] = {k.type: k for k in cache.KINDS.values()}
        for record in records:
            cache.put(self.store.cache, kinds[type(record)], record)
        self.books.forget_places()

    def enter(self, at: datetime) -> None:
        location = self.books.location(MILL.id) or MILL
        request = Request(at=at, location=location, channel=Channel.DOOR, door=FRONT)
        enter(self.books, request, JONAS)

    def explain(self, at: datetime = LATE, door: str | None = "front") -> Explanation:
        """Explain, and see that nothing changed."""
        before = list(self.store.ledger.iterdump())
        explanation = explain(self.books, "jonas", door, None, at)
        assert list(self.store.ledger.iterdump()) == before
        return explanation


def balance(pass_id: str, remaining: int) -> Balance:
    return Balance(pass_=pass_id, remaining=remaining)


def rule_of(p: PassView, rule: str) -> RuleView:
    return next(r for r in p.rules if r.id == rule)


def plain(told: Explanation, width: int = 120) -> str:
    """What a console without colours shows."""
    console = Console(width=width, force_terminal=False, color_system=None)
    with console.capture() as captured:
        console.print(render(told))
    return lines(captured.get())


def lines(text: str) -> str:
    return "\n".join(line.rstrip() for line in text.splitlines())
