"""Looks at the appliance's databases from beside it, as the command line does."""

from collections.abc import Iterable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from edgegate.deadlines import view
from edgegate.demo.site import PEOPLE, Person
from edgegate.passes import visits
from edgegate.passes.facts import Facts
from edgegate.passes.model import CustomerStatus, Pass, Unit
from edgegate.passes.payment import hand_over
from edgegate.passes.state import Session
from edgegate.store import cache, chain, ledger
from edgegate.store.books import Books
from edgegate.store.chain import Entry, Link
from edgegate.store.connections import connect_read_only
from edgegate.store.reading import ReadFiles, reading_books
from edgegate_sync.appliance.ledgerstate import ledger_state

ENTRIES_MAX = 1000
"""Entries remembered; the oldest go first, verified and counted."""


class Visit(Struct, frozen=True, kw_only=True):
    """Somebody who is inside, what pays for it and what follows."""

    name: str
    since: datetime
    pass_: str
    empty_at: datetime | None = None
    """When the minutes are used up; None where no minutes run."""
    until: datetime | None = None
    """When the coverage ends; None where it does not."""
    next_pass: str = ""


class Seen(Struct, frozen=True, kw_only=True):
    """What the databases said at one look."""

    entries: tuple[Entry, ...] = ()
    """The newest, oldest of them first."""
    count: int = 0
    faults: int = 0
    inside: tuple[Visit, ...] = ()
    left: dict[str, int] = {}
    """What is left of each person's pass, by the person's customer id."""
    sold: dict[str, int] = {}
    """By customer, what is left of the day passes that were sold meanwhile; nobody with none."""
    paused: frozenset[str] = frozenset()
    """Customers who are paused."""
    remaining: dict[str, int] = {}
    """What is left of each counted pass, by its id, with running minutes not taken off."""
    head: int = 0
    """The cloud's newest change that the copy has."""
    changed_at: datetime | None = None
    """When that was first seen here."""
    newest: tuple[int, int] = (0, 0)
    """Epoch and sequence of the ledger's newest entry."""
    waiting: int = 0
    """Entries that the cloud has not counted yet."""


class Watcher:
    """Follows the ledger from entry to entry, checking the chain on the way.

    `look` is for one thread at a time, and not for the event loop's.
    """

    def __init__(self, state_dir: Path) -> None:
        self._state_dir = state_dir
        self._link = Link()
        self._seen = Seen()

    def head(self) -> int:
        """The cloud's newest change that the copy has; for any thread but the event loop's.

        Raises:
            sqlite3.Error: if the copy cannot be read.
        """
        with closing(connect_read_only(self._state_dir / "cache.db")) as cache_file:
            return cache.head(cache_file)

    def look(self) -> Seen:
        """Read what came since the last look, and who is inside now.

        Raises:
            sqlite3.Error: if the databases cannot be read.
        """
        with (
            closing(connect_read_only(self._state_dir / "ledger.db")) as ledger_file,
            closing(connect_read_only(self._state_dir / "cache.db")) as cache_file,
        ):
            books = reading_books(ReadFiles(ledger_file, cache_file))
            now = datetime.now(UTC)
            came = ledger.since(ledger_file, self._link.epoch, self._link.sequence)
            faults = chain.verify(came, after=self._link)
            if came:
                last = came[-1]
                self._link = Link(epoch=last.epoch, sequence=last.sequence, hash=last.hash)
            seen = self._seen
            head = cache.head(cache_file)
            standing = ledger_state(ledger_file)
            facts = {person: _facts(books, person, now) for person in PEOPLE}
            self._seen = Seen(
                entries=(*seen.entries, *came)[-ENTRIES_MAX:],
                count=seen.count + len(came),
                faults=seen.faults + len(faults),
                inside=tuple(_visit(books, session, now) for session in books.sessions()),
                left={p.customer: _left(p, f, now) for p, f in facts.items() if f is not None},
                sold=dict(_sold(f) for f in facts.values() if f is not None and _sold(f)[1]),
                paused=frozenset(_paused(facts.values())),
                remaining=_remaining(facts.values()),
                head=head,
                changed_at=seen.changed_at if head == seen.head else now,
                newest=(standing.epoch, standing.sequence),
                waiting=standing.backlog,
            )
        return self._seen


def data_of(entry: Entry) -> dict[str, Any]:
    """An entry's data; where it speaks of a whole session, of that."""
    data: dict[str, Any] = msgspec.json.decode(entry.data or b"{}")
    session = data.get("session")
    return session if isinstance(session, dict) else data


def brief(entry: Entry) -> str:
    """An entry's kind and what matters of it: `access.granted pass`, `pass.debited 1`."""
    data = data_of(entry)
    words = [entry.type.removeprefix("edgegate.")]
    words += [str(data[key]) for key in ("reason", "amount", "cause") if data.get(key) is not None]
    if "cleared" in data:
        words.append("cleared" if data["cleared"] else "raised")
    return " ".join(words)


def _visit(books: Books, session: Session, now: datetime) -> Visit:
    facts, request = view(books, session, now)
    paying = session.segment.pass_ if session.segment is not None else None
    p = facts.pass_of(paying) if paying is not None else None
    ends = visits.deadline(session, facts, request)
    after = hand_over(facts, request.moved(ends)) if ends < session.closes_at else None
    follower = facts.pass_of(after.pass_) if after is not None and after.pass_ else None
    return Visit(
        name=facts.customer.name,
        since=session.opened_at,
        pass_=p.name if p is not None else "",
        empty_at=_empty_at(p, facts, now),
        until=session.segment.until if session.segment is not None else None,
        next_pass=follower.name if follower is not None else "",
    )


def _empty_at(p: Pass | None, facts: Facts, now: datetime) -> datetime | None:
    if p is None or p.unit is not Unit.MINUTE:
        return None
    return now + timedelta(minutes=facts.remaining[p.id]) - facts.running_time(p, now)


def _facts(books: Books, person: Person, now: datetime) -> Facts | None:
    """What is known of somebody; None before their records have come."""
    customer, location = books.customer(person.customer), books.location("house")
    if customer is None or location is None:
        return None
    return books.facts(customer, location, now)


def _left(person: Person, facts: Facts, now: datetime) -> int:
    p = facts.pass_of(person.pass_) if person.pass_ is not None else None
    if p is None or p.id not in facts.remaining:
        return 0
    running = facts.running_time(p, now) if p.unit is Unit.MINUTE else timedelta(0)
    left = timedelta(minutes=facts.remaining[p.id]) - running
    return max(0, -(-left // timedelta(minutes=1)))


def _sold(facts: Facts) -> tuple[str, int]:
    customer = facts.customer.id
    mine = f"{customer}-sold-"
    return customer, sum(n for id_, n in facts.remaining.items() if id_.startswith(mine))


def _paused(known: Iterable[Facts | None]) -> Iterator[str]:
    for facts in known:
        if facts is not None and facts.customer.status is CustomerStatus.PAUSED:
            yield facts.customer.id


def _remaining(known: Iterable[Facts | None]) -> dict[str, int]:
    return {id_: n for f in known if f is not None for id_, n in f.remaining.items()}
