"""Reads and writes the copy of the cloud's records, which can be fetched again at any time."""

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from operator import attrgetter
from typing import Any, Generic, TypeVar

import msgspec
from msgspec import Struct

from edgegate.passes import model
from edgegate.records import DeviceConfig, DoorGroup, Plan, StaffAccount

R = TypeVar("R", bound=Struct)

ROWS_TOGETHER = 32
"""Rows in one statement of `put_rows`: it takes three fifths of the time, and more are no
quicker."""

_encode = msgspec.json.Encoder().encode


def _getter(names: tuple[str, ...]) -> Callable[[Any], tuple[Any, ...]]:
    """Reads some attributes at once: a snapshot has half a million records."""
    get = attrgetter(*names)
    return get if len(names) > 1 else lambda record: (get(record),)


@dataclass(frozen=True, slots=True, eq=False)
class Kind(Generic[R]):
    """One kind of record: its table, the type of its body, and the columns it is found by."""

    name: str
    type: type[R]
    columns: tuple[str, ...] = ()
    id_field: str = "id"
    put: str = field(init=False)
    put_together: str = field(init=False)
    """Like `put`, for the values of `ROWS_TOGETHER` rows."""
    _looked_up: Callable[[R], tuple[Any, ...]] = field(init=False)
    decode: msgspec.json.Decoder[R] = field(init=False)

    def __post_init__(self) -> None:
        names = ("id", *self.columns, "body")
        marks = f"({', '.join('?' * len(names))})"
        # S608: the names are those of this module's kinds. An update, unlike a replacement, leaves
        # the row in its place.
        changes = ", ".join(f"{name} = excluded.{name}" for name in names[1:])
        for statement, count in (("put", 1), ("put_together", ROWS_TOGETHER)):
            put = (
                f"INSERT INTO {self.name} ({', '.join(names)}) "  # noqa: S608 - see above
                f"VALUES {', '.join([marks] * count)} ON CONFLICT (id) DO UPDATE SET {changes}"
            )
            object.__setattr__(self, statement, put)
        object.__setattr__(self, "_looked_up", _getter((self.id_field, *self.columns)))
        object.__setattr__(self, "decode", msgspec.json.Decoder(self.type))

    def row(self, record: R) -> tuple[Any, ...]:
        """The record as the values of `put`."""
        return (*self._looked_up(record), _encode(record))

    def rows(self, records: Iterable[R], bodies: Iterable[bytes]) -> list[tuple[Any, ...]]:
        """The same for many whose bodies are there already."""
        looked_up = map(self._looked_up, records)
        return [(*values, body) for values, body in zip(looked_up, bodies, strict=True)]


LOCATION = Kind("location", model.Location)
CUSTOMER = Kind("customer", model.Customer, ("team",))
TEAM = Kind("team", model.Team)
CONTRACT = Kind("contract", model.Contract, ("holder",))
CREDENTIAL = Kind("credential", model.Credential, ("lookup", "customer"))
PASS = Kind("pass", model.Pass, ("holder",))
BALANCE = Kind("balance", model.Balance, id_field="pass_")
DOOR = Kind("door", model.Door, ("location",))
RESOURCE = Kind("resource", model.Resource, ("location",))
RESERVATION = Kind("reservation", model.Reservation, ("customer", "resource"))
OFFER = Kind("offer", model.Offer)
PLAN = Kind("plan", Plan)
DOOR_GROUP = Kind("door_group", DoorGroup)
STAFF_ACCOUNT = Kind("staff_account", StaffAccount)
DEVICE_CONFIG = Kind("device_config", DeviceConfig)

KINDS: dict[str, Kind[Any]] = {
    kind.name: kind
    for kind in (
        *(LOCATION, CUSTOMER, TEAM, CONTRACT, CREDENTIAL, PASS, BALANCE, DOOR),
        *(RESOURCE, RESERVATION, OFFER, PLAN, DOOR_GROUP, STAFF_ACCOUNT, DEVICE_CONFIG),
    )
}
"""Every kind by the name the feed gives it."""


def put(connection: sqlite3.Connection, kind: Kind[R], record: R) -> None:
    """Store a record, in place of the one with its id."""
    connection.execute(kind.put, kind.row(record))


def put_many(connection: sqlite3.Connection, kind: Kind[R], records: Iterable[R]) -> None:
    """Store records as they come from an iterator, which need never stand in memory whole."""
    connection.executemany(kind.put, map(kind.row, records))


def put_rows(
    connection: sqlite3.Connection, kind: Kind[Any], rows: Sequence[tuple[Any, ...]]
) -> None:
    """Store rows of `Kind.row` one after the other: of those with the same id the last stands."""
    together = len(rows) - len(rows) % ROWS_TOGETHER
    values = (
        tuple(chain.from_iterable(rows[start : start + ROWS_TOGETHER]))
        for start in range(0, together, ROWS_TOGETHER)
    )
    connection.executemany(kind.put_together, values)
    connection.executemany(kind.put, rows[together:])


def delete(connection: sqlite3.Connection, kind: Kind[Any], id_: str) -> bool:
    """Remove a record; False if there was none."""
    return connection.execute(f"DELETE FROM {kind.name} WHERE id = ?", (id_,)).rowcount > 0  # noqa: S608 - a kind's name


def get(connection: sqlite3.Connection, kind: Kind[R], id_: str) -> R | None:
    """The record with that id (of a balance: its pass's id), or None."""
    found = connection.execute(f"SELECT body FROM {kind.name} WHERE id = ?", (id_,)).fetchone()  # noqa: S608 - a kind's name
    return None if found is None else kind.decode.decode(found[0])


def find(connection: sqlite3.Connection, kind: Kind[R], column: str, value: str) -> list[R]:
    """The records whose indexed `column` has that value, by their ids' order.

    Raises:
        KeyError: if the kind is not looked up by that column.
    """
    if column not in kind.columns:
        raise KeyError(f"{kind.name} is not looked up by {column}")
    found = connection.execute(
        f"SELECT body FROM {kind.name} WHERE {column} = ? ORDER BY id",  # noqa: S608 - checked names
        (value,),
    )
    return [kind.decode.decode(body) for (body,) in found]


def of_holder(connection: sqlite3.Connection, kind: Kind[R], holder: str) -> list[R]:
    """The contracts or passes of a customer or a team, by their ids' order."""
    return find(connection, kind, "holder", holder)


def every(connection: sqlite3.Connection, kind: Kind[R]) -> Iterator[R]:
    """All records of a kind, by their ids' order; read it to its end."""
    for (body,) in connection.execute(f"SELECT body FROM {kind.name} ORDER BY id"):  # noqa: S608 - a kind's name
        yield kind.decode.decode(body)


def head(connection: sqlite3.Connection) -> int:
    """The feed's number up to which this copy goes; 0 is an empty one."""
    found = connection.execute("SELECT value FROM meta WHERE name = 'head'").fetchone()
    return 0 if found is None else int(found[0])


def set_head(connection: sqlite3.Connection, number: int) -> None:
    """Move the head, in the transaction that applied the changes up to there."""
    connection.execute("INSERT OR REPLACE INTO meta VALUES ('head', ?)", (number,))


def note_unjudged(connection: sqlite3.Connection) -> None:
    """Remember, with the changes themselves, that open visits are to be judged again (S-11)."""
    connection.execute("INSERT OR REPLACE INTO meta VALUES ('unjudged', 1)")


def note_judged(connection: sqlite3.Connection) -> None:
    """Remember that they were."""
    connection.execute("DELETE FROM meta WHERE name = 'unjudged'")


def is_unjudged(connection: sqlite3.Connection) -> bool:
    """Whether open visits are still to be judged by what came."""
    return connection.execute("SELECT 1 FROM meta WHERE name = 'unjudged'").fetchone() is not None
