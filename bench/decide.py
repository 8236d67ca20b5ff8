"""How long a decision takes by itself, and how its cost grows: no disk, no reader."""

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from bench.report import Bar, Figure, print_json, print_table
from edgegate import checkin
from edgegate.passes.decide import decide
from edgegate.passes.facts import Facts, Request
from edgegate.passes.model import Channel, Customer, Door, Hours, Location, Pass, Team, Unit
from edgegate.ports import ClockTrust
from edgegate.store import cache
from edgegate.store.books import Books
from edgegate.store.files import Store
from edgegate.store.ledger import Stamp

AT = datetime(2026, 3, 4, 10, 30, tzinfo=UTC)
HQ = Location(id="hq", timezone="Europe/Berlin", day_cutoff="03:00")
FRONT = Door(id="front", location="hq")
OFFICE = (Hours(from_="08:00", to="20:00"), Hours(from_="21:00", to="23:00"))
STAMP = Stamp(
    source="edgegate/bench/pi", clock=ClockTrust.TRUSTED, boot_id="bench", monotonic_s=0.0
)


def facts(passes: int, holder: str = "team") -> Facts:
    """A member of a team whose passes are of all kinds; a few of them could pay.

    They are decoded one by one, as the line reads them: no two share a part.
    """
    written = (cache.PASS.row(_pass(number, holder)) for number in range(passes))
    held = tuple(cache.PASS.decode.decode(body) for *_, body in written)
    return Facts(
        customer=Customer(id="ana", team="team"),
        ancestry=("hq",),
        passes=held,
        remaining={p.id: p.amount for p in held},
    )


def _pass(number: int, holder: str) -> Pass:
    expired = number % 3 == 0
    return Pass(
        id=f"pass-{number:04}",
        holder=holder,
        unit=Unit.MINUTE if number % 5 == 0 else Unit.USE,
        amount=number % 7,
        home="hq",
        hours=OFFICE if number % 2 else (),
        expires_at=AT + timedelta(days=-1 if expired else number),
    )


def median_s(act: Callable[[], object], seconds: float) -> float:
    """The median of as many runs as fit into the time."""
    taken: list[float] = []
    until_s = time.perf_counter() + seconds
    while time.perf_counter() < until_s or len(taken) < 5:
        begun_s = time.perf_counter()
        act()
        taken.append(time.perf_counter() - begun_s)
    return statistics.median(taken)


def decision(passes: int) -> Callable[[], object]:
    """One decision with so many passes."""
    known = facts(passes)
    request = Request(at=AT, location=HQ, channel=Channel.DOOR, door=FRONT)
    return lambda: decide(known, request)


def growth_by_passes(seconds: float) -> float:
    """How much longer a decision takes with twice the passes; the two take turns."""
    single, double = decision(1000), decision(2000)
    return statistics.median(
        median_s(double, seconds / 20) / median_s(single, seconds / 20) for _ in range(10)
    )


def a_site(customers: int) -> Store:
    """A site in memory; every customer has a pass."""
    store = Store.open(":memory:")
    store.cache.execute("PRAGMA query_only = OFF")
    cache.put(store.cache, cache.LOCATION, HQ)
    cache.put(store.cache, cache.DOOR, FRONT)
    cache.put(store.cache, cache.TEAM, Team(id="team"))
    cache.put_many(store.cache, cache.CUSTOMER, (Customer(id=f"c{n}") for n in range(customers)))
    passes = (
        Pass(id=f"p{n}", holder=f"c{n}", unit=Unit.MINUTE, amount=10_000, home="hq")
        for n in range(customers)
    )
    cache.put_many(store.cache, cache.PASS, passes)
    return store


def visits_s(visits: int, members: int, customers: int) -> list[float]:
    """What each visit takes, in and out, through the line's functions and a ledger in memory.

    The visitors are the first `members` of the site's customers; half of them are inside.
    """
    store = a_site(customers)
    books = Books(store, lambda: STAMP)
    coming = [Customer(id=f"c{n}") for n in range(members)]
    taken: list[float] = []
    step = timedelta(hours=12) / visits
    for number in range(visits):
        at = AT + number * step
        begun_s = time.perf_counter()
        request = Request(at=at, location=HQ, channel=Channel.DOOR, door=FRONT)
        checkin.enter(books, request, coming[number % members])
        left = number - members // 2
        if left >= 0:
            checkin.leave(books, f"c{left % members}", "hq", at)
        taken.append(time.perf_counter() - begun_s)
    store.close()
    return taken


def growth_by_customers(visits: int) -> float:
    """How much longer the same visits take where the site has a hundred times the customers."""
    few = statistics.median(visits_s(visits, members=100, customers=100))
    many = statistics.median(visits_s(visits, members=100, customers=10_000))
    return many / few


def figures(*, quick: bool) -> list[Figure]:
    """The figures and their bars."""
    seconds = 1.0 if quick else 5.0
    visits = 2_000 if quick else 10_000
    small, large = median_s(decision(30), seconds), median_s(decision(1000), seconds)
    day = sum(visits_s(visits, members=1000, customers=1000)) * 10_000 / visits
    growth = statistics.median(growth_by_customers(visits // 4) for _ in range(3))
    return [
        Figure("decide_30_us", small * 1e6, "µs", "30 passes", Bar("<", 150)),
        Figure("decide_1000_ms", large * 1e3, "ms", "1,000 passes of one team", Bar("<", 3)),
        Figure("replay_10000_s", day, "s", f"{visits:,} visits measured", Bar("<", 10)),
        Figure(
            "growth_passes",
            growth_by_passes(seconds),
            "",
            "2,000 passes beside 1,000: 2 is linear",
            Bar("<=", 2.3),
        ),
        Figure(
            "growth_customers",
            growth,
            "",
            "the same visits where 10,000 customers are known beside 100: 1 is not at all",
            Bar("<=", 1.2),
        ),
    ]


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="shorter, a fifth of the day")
    parser.add_argument("--json", action="store_true", help="print JSON only")
    arguments = parser.parse_args()
    measured = figures(quick=arguments.quick)
    if arguments.json:
        print_json("decide", measured)
    else:
        print_table("decide", measured)
    return 0


if __name__ == "__main__":
    sys.exit(main())
