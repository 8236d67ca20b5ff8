"""What of a change from the cloud an open visit may stand on (S-11)."""

import sqlite3
from typing import Any

PLACES = frozenset({"location", "door", "resource", "offer"})
"""What every visit may stand on."""

HELD = frozenset({"pass", "contract", "reservation"})
"""What somebody holds: the first column that it is looked up by says who."""

_FORMER = {
    "contract": "SELECT holder FROM contract WHERE id = ?",
    "reservation": "SELECT customer FROM reservation WHERE id = ?",
}
"""Who held it before; whoever's visit rides on a pass is found by the pass."""


class Concerned:
    """What has changed, by the ids of records and of those who hold or held them.

    Cards, teams by themselves, plans, groups, staff and settings end no visit.
    """

    def __init__(self, *, everybody: bool = False) -> None:
        """Begin with everything, or with nothing."""
        self.everybody = everybody
        self.holders: set[str] = set()
        """Customers and teams."""
        self.passes: set[str] = set()
        self.contracts: set[str] = set()

    def note(
        self, connection: sqlite3.Connection, kind: str, id_: str, row: tuple[Any, ...] = ()
    ) -> None:
        """Note that a record is about to change; `row` is the one that comes in its place."""
        if kind in PLACES:
            self.everybody = True
        elif kind in ("pass", "balance"):
            self.passes.add(id_)
        elif kind == "customer":
            self.holders.add(id_)
        elif kind == "contract":
            self.contracts.add(id_)
        if kind in _FORMER:
            self.holders.update(*connection.execute(_FORMER[kind], (id_,)))
        if row and kind in HELD:
            self.holders.add(row[1])
