"""A device that lets people in by a clock which nobody believed at first, with a real store."""

from datetime import UTC, datetime, timedelta
from typing import Any

from edgegate import checkin
from edgegate.clock import SystemClock
from edgegate.deadlines import settle
from edgegate.passes.facts import Request
from edgegate.passes.happenings import Happening
from edgegate.passes.model import Channel, Customer, Door, Kind, Location, Record
from edgegate.passes.reasons import ClosingReason
from edgegate.passes.state import Session
from edgegate.store import ledger
from edgegate.store.books import Books
from edgegate.store.chain import Entry
from edgegate.store.files import Store
from edgegate.store.ledger import Stamp
from edgegate.store.projection import TABLES, happening_of, rebuild
from fakes.fake_time import Computer
from fakes.sites import put_records

HQ = Location(id="hq", day_cutoff="00:00", payg=(Kind.CONTACTS,))
FRONT = Door(id="front", location="hq")
ANA = Customer(id="ana")


class Device:
    """One appliance's books, clock and people at its door, in a computer's time."""

    def __init__(self, computer: Computer, *records: Record) -> None:
        self.computer = computer
        self.store = Store.open(":memory:")
        self.location = next((r for r in records if isinstance(r, Location)), HQ)
        put_records(self.store, [self.location, FRONT, ANA, *records])
        self.begin()

    def begin(self, boot: str = "this-boot") -> None:
        """Start the process, in this boot or another; nobody believes the clock yet."""
        self.boot = boot
        self.clock = SystemClock()
        self.books = Books(self.store, self._stamp)
        self.books.doubts.corrected = lambda: self.clock.correction

    def _stamp(self) -> Stamp:
        return Stamp(
            source="edgegate/north/pi",
            clock=self.clock.trust(),
            boot_id=self.boot,
            monotonic_s=self.computer.since_boot_s,
        )

    def passes(self, minutes: float) -> None:
        """Let real time pass, as the timer sees it each minute."""
        for _ in range(int(minutes)):
            self.computer.passes(60)
            settle(self.books, self.clock.now())
        self.computer.passes((minutes - int(minutes)) * 60)

    def step(self, hours: float) -> None:
        """NTP finds out how late it is."""
        self.computer.passes(1).step(hours * 3600, in_step=True)
        self.computer.passes(-1)

    def enter(self, customer: Customer = ANA, channel: Channel = Channel.DOOR) -> checkin.Outcome:
        at = self.clock.now()
        settle(self.books, at)
        door = FRONT if channel is Channel.DOOR else None
        location = self.books.location(self.location.id)
        assert location is not None
        request = Request(at=at, location=location, channel=channel, door=door)
        return checkin.enter(self.books, request, customer)

    def leave(self, customer: Customer = ANA) -> Session | None:
        return checkin.leave(
            self.books, customer.id, self.location.id, self.clock.now(), ClosingReason.EXIT
        )

    def visit(self, customer: Customer = ANA) -> Session | None:
        return self.books.session_of(customer.id, self.location.id)

    def entries(self) -> list[Entry]:
        return list(ledger.entries(self.store.ledger))

    def happened(self, kind: type[Any]) -> list[Any]:
        found: list[Happening | None] = [happening_of(entry) for entry in self.entries()]
        return [h for h in found if isinstance(h, kind)]

    def state(self) -> dict[str, list[tuple[Any, ...]]]:
        """What the tables hold that entries are carried into; deadlines are derived."""
        columns = {"session": "id, customer, location, pass, body"}
        found = {}
        for table in TABLES:
            query = f"SELECT {columns.get(table, '*')} FROM {table}"  # noqa: S608 - names of tables
            found[table] = sorted(self.store.ledger.execute(query).fetchall(), key=repr)
        return found

    def replay(self) -> None:
        """See that the ledger read from empty leaves the same state, and its chain is sound."""
        before = self.state()
        rebuild(self.store.ledger)
        assert self.state() == before
        assert ledger.verify(self.store.ledger) == []


def at(day: int, hour: int, minute: int = 0) -> datetime:
    """An instant of November 2026."""
    return datetime(2026, 11, day, hour, minute, tzinfo=UTC)


HOUR = timedelta(hours=1)
