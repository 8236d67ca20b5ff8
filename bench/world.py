"""The world that is tapped: a space with so many customers, three passes and one code for each.

Every twentieth customer has only passes that have expired. Records are streamed into the cache;
the world never stands in memory.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from edgegate.credentials.lookup import lookup
from edgegate.passes.model import (
    Credential,
    CredentialKind,
    Customer,
    Door,
    Hours,
    Location,
    Pass,
    Per,
    Unit,
)
from edgegate.store import cache
from edgegate.store.files import Store

LOCATION = "hq"
EXPIRED_EVERY = 20
MIX = "16 first entries that debit a use, 2 covered re-entries, 1 expired, 1 unknown of 20 taps"
_STRIDE = 7919
"""A prime: so far apart lie members who tap one after the other, so no page is warm by chance."""


def door_id(number: int) -> str:
    """The name of a door."""
    return f"door-{number:02}"


def build(state: Path, key: bytes, customers: int, doors: int) -> None:
    """Make a store whose cache holds the world."""
    store = Store.open(state)
    connection = store.cache
    connection.execute("PRAGMA query_only = OFF")
    connection.execute("BEGIN IMMEDIATE")
    cache.put(connection, cache.LOCATION, Location(id=LOCATION, timezone=_zone_at_noon()))
    places = (Door(id=door_id(n), location=LOCATION) for n in range(doors))
    cache.put_many(connection, cache.DOOR, places)
    cache.put_many(connection, cache.CUSTOMER, (_customer(n) for n in range(customers)))
    cache.put_many(connection, cache.PASS, (p for n in range(customers) for p in _passes(n)))
    credentials = (_credential(n, key) for n in range(customers))
    cache.put_many(connection, cache.CREDENTIAL, credentials)
    connection.execute("COMMIT")
    store.close()


class Taps:
    """The codes that are shown, in order, and whether each opens the door (see `MIX`).

    Two that begin at the same number show the same codes.
    """

    def __init__(self, customers: int, first: int = 0) -> None:
        self._customers = customers
        self._number = first
        self._shown = first

    def __iter__(self) -> Iterator[tuple[str, bool]]:
        while True:
            yield self._next()

    def take(self, count: int) -> list[tuple[str, bool]]:
        """The next taps."""
        return [self._next() for _ in range(count)]

    def _next(self) -> tuple[str, bool]:
        self._shown += 1
        match self._shown % 20:
            case 5 | 15:
                return _code(self._member(self._number)), True
            case 9:
                return _code(EXPIRED_EVERY * self._shown % self._customers), False
            case 19:
                return f"UNKNOWN-{self._shown:08}", False
        self._number += 1
        # A member whose passes have expired does not get in: the next one taps.
        if self._member(self._number) % EXPIRED_EVERY == 0:
            self._number += 1
        return _code(self._member(self._number)), True

    def _member(self, number: int) -> int:
        return number * _STRIDE % self._customers


def _code(number: int) -> str:
    return f"{'EXPIRED' if number % EXPIRED_EVERY == 0 else 'MEMBER-'}{number:09}"


def _zone_at_noon() -> str:
    """A zone where the business day began hours ago and does not end soon."""
    ahead = 12 - datetime.now(UTC).hour
    # The sign in these names is that of POSIX: "Etc/GMT-3" is three hours ahead of UTC.
    return f"Etc/GMT{-ahead:+d}" if ahead else "Etc/GMT"


def _customer(number: int) -> Customer:
    return Customer(id=f"customer-{number:06}", name=f"Member Number {number}", language="en")


def _passes(number: int) -> Iterator[Pass]:
    holder = f"customer-{number:06}"
    now = datetime.now(UTC).replace(microsecond=0)
    days = -3 if number % EXPIRED_EVERY == 0 else 90
    terms = ((Unit.USE, Per.DAY, 10), (Unit.USE, Per.VISIT, 20), (Unit.MINUTE, Per.DAY, 6000))
    for place, (unit, per, amount) in enumerate(terms):
        yield Pass(
            id=f"pass-{number:06}-{place}",
            holder=holder,
            name=f"{amount} {unit}s by the {per}",
            unit=unit,
            per=per,
            amount=amount,
            home=LOCATION,
            hours=(Hours(from_="00:00", to="24:00"),),
            expires_at=now + timedelta(days=days + place),
        )


def _credential(number: int, key: bytes) -> Credential:
    kind = CredentialKind.QR_STATIC
    return Credential(
        id=f"credential-{number:06}",
        customer=f"customer-{number:06}",
        kind=kind,
        lookup=lookup(key, kind, _code(number).encode()),
    )
