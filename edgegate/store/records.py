"""The cloud's records, as a decision looks them up: read only, and by id or holder."""

import sqlite3
from collections.abc import Iterable, Iterator
from typing import Protocol, TypeVar

import msgspec

from edgegate.passes.model import (
    Contract,
    Credential,
    Customer,
    Door,
    Location,
    Offer,
    Pass,
)
from edgegate.store import cache

R = TypeVar("R", bound=msgspec.Struct)

ANCESTORS_MAX = 16
"""How deep locations may lie in each other; a deeper or circular tree is cut there."""


class Files(Protocol):
    """The two database files, as whoever recovers them leaves them now."""

    @property
    def ledger(self) -> sqlite3.Connection:
        """What this device did; only entries are ever added."""

    @property
    def cache(self) -> sqlite3.Connection:
        """The copy of the cloud's records; the line only reads it."""


class Records:
    """What the cloud said last; places and offers are remembered for as long as they stand."""

    def __init__(self, store: Files) -> None:
        self._store = store
        self._places_of = store.cache
        self._locations: dict[str, Location | None] = {}
        self._doors: dict[str, Door | None] = {}
        self._offers: tuple[Offer, ...] | None = None

    def forget_places(self) -> None:
        """Read locations and doors afresh; called after each change of the cache."""
        self._locations.clear()
        self._doors.clear()
        self._offers = None

    def is_unjudged(self) -> bool:
        """Whether open visits are still to be looked at after a change (S-11)."""
        return cache.is_unjudged(self._store.cache)

    def location(self, location_id: str) -> Location | None:
        """A location by its id."""
        self._follow_file()
        if location_id not in self._locations:
            self._locations[location_id] = self.record_of(cache.LOCATION, location_id)
        return self._locations[location_id]

    def door(self, door_id: str) -> Door | None:
        """A door by its id."""
        self._follow_file()
        if door_id not in self._doors:
            self._doors[door_id] = self.record_of(cache.DOOR, door_id)
        return self._doors[door_id]

    def customer(self, customer_id: str) -> Customer | None:
        """A customer by their id."""
        return self.record_of(cache.CUSTOMER, customer_id)

    def record_of(self, kind: cache.Kind[R], record_id: str) -> R | None:
        """A record of the cloud's by its id."""
        return cache.get(self._store.cache, kind, record_id)

    def credential(self, lookup: str) -> Credential | None:
        """A credential by its keyed hash."""
        found = cache.find(self._store.cache, cache.CREDENTIAL, "lookup", lookup)
        return found[0] if found else None

    def offers(self) -> tuple[Offer, ...]:
        """Every pay-as-you-go offer."""
        self._follow_file()
        if self._offers is None:
            self._offers = tuple(cache.every(self._store.cache, cache.OFFER))
        return self._offers

    def hung_on(self, passes: Iterable[Pass], held: Iterable[Contract]) -> Iterator[Contract]:
        """The contracts of other holders that passes hang on."""
        known = {c.id for c in held}
        for contract_id in sorted({p.contract for p in passes if p.contract is not None} - known):
            found = self.record_of(cache.CONTRACT, contract_id)
            if found is not None:
                yield found

    def ancestry(self, location: Location) -> tuple[str, ...]:
        """A location's id and those of all that it lies in, nearest first."""
        ids = [location.id]
        parent = location.parent
        while parent is not None and parent not in ids and len(ids) < ANCESTORS_MAX:
            ids.append(parent)
            above = self.location(parent)
            parent = above.parent if above is not None else None
        return tuple(ids)

    def _follow_file(self) -> None:
        """Places are remembered for as long as the cache is the same file."""
        if self._places_of is not self._store.cache:
            self._places_of = self._store.cache
            self.forget_places()

    def held_by(self, customer: Customer, kind: cache.Kind[R]) -> list[R]:
        """The passes or contracts of a customer and of their team."""
        held = cache.of_holder(self._store.cache, kind, customer.id)
        if customer.team is not None:
            held += cache.of_holder(self._store.cache, kind, customer.team)
        return held
