"""What is left of passes: the books' sums, and the `balance` records made of them (M-01)."""

from collections.abc import Iterable, Mapping

import msgspec
from msgspec import Struct
from sqlalchemy import func, select

from edgegate.passes.model import Balance, Counted, Pass
from edgegate_sync.cloud.feed import Transaction
from edgegate_sync.cloud.known import records_of
from edgegate_sync.cloud.ledger_tables import book, movement
from edgegate_sync.cloud.rows import upsert

REMAINING_MAX = 1_000_000_000
"""What a balance record can say; a sum beyond it is said as this."""

_counted = msgspec.json.Decoder(dict[str, Counted]).decode


class Book(Struct, kw_only=True):
    """A pass's line in the books."""

    pass_: str
    moved: int = 0
    watched: bool = False
    counted: dict[str, Counted] = {}


class Books:
    """The books of the passes that one transaction touches; `write` ends it."""

    def __init__(self, tx: Transaction) -> None:
        self._tx = tx
        self._books: dict[str, Book] = {}
        self._passes: dict[str, Pass] = {}

    async def open(self, pass_ids: Iterable[str]) -> None:
        """Read the lines of passes, where they are not open yet; the site has to be locked."""
        missing = sorted(set(pass_ids) - self._books.keys())
        if not missing:
            return
        found = await self._tx.execute(
            select(book.c["pass"], book.c.moved, book.c.watched, book.c.counted).where(
                book.c.site == self._tx.site, book.c["pass"].in_(missing)
            )
        )
        for row in found.mappings():
            self._books[row["pass"]] = Book(
                pass_=row["pass"],
                moved=row["moved"],
                watched=bool(row["watched"]),
                counted=_counted(row["counted"]),
            )
        for pass_id in missing:
            self._books.setdefault(pass_id, Book(pass_=pass_id))
        self._passes |= await records_of(self._tx, "pass", Pass, missing)

    def move(self, amounts: Mapping[str, int]) -> None:
        """Add up what open passes gained or lost."""
        for pass_id, amount in amounts.items():
            self._books[pass_id].moved += amount

    def watch(self, pass_ids: Iterable[str]) -> None:
        """Let open passes be played through again whenever something more is counted."""
        for pass_id in pass_ids:
            self._books[pass_id].watched = True

    def count(self, pass_ids: Iterable[str], device: str, counted: Counted) -> None:
        """Note up to which entry of a device open passes were counted."""
        for pass_id in pass_ids:
            self._books[pass_id].counted = self._books[pass_id].counted | {device: counted}

    def remaining(self, pass_id: str) -> int | None:
        """What is left of an open pass; None: there is no such pass."""
        p = self._passes.get(pass_id)
        return None if p is None else p.amount + self._books[pass_id].moved

    @property
    def unsettled(self) -> list[Pass]:
        """The open passes that are overdrawn, or were once settled or changed by hand."""
        return [
            p
            for p in self._passes.values()
            if self._books[p.id].watched or p.amount + self._books[p.id].moved < 0
        ]

    async def write(self) -> None:
        """Write every open line, and the balances of passes that are there."""
        rows = [
            {
                "site": self._tx.site,
                "pass": line.pass_,
                "moved": line.moved,
                "watched": line.watched,
                "counted": msgspec.json.encode(line.counted).decode(),
            }
            for line in self._books.values()
        ]
        await upsert(self._tx, book, rows, ("moved", "watched", "counted"))
        for p in self._passes.values():
            line = self._books[p.id]
            remaining = max(-REMAINING_MAX, min(p.amount + line.moved, REMAINING_MAX))
            balance = Balance(pass_=p.id, remaining=remaining, counted=line.counted)
            await self._tx.put("balance", p.id, balance)


async def audit(tx: Transaction) -> dict[str, int]:
    """Where a pass's line in the books is not the sum of its movements: by pass, the difference.

    Empty, always; for whoever does not believe it.
    """
    sums = (
        select(movement.c["pass"], func.sum(movement.c.amount).label("moved"))
        .where(movement.c.site == tx.site, movement.c["pass"].is_not(None))
        .group_by(movement.c["pass"])
    )
    summed = {row[0]: int(row.moved) for row in await tx.execute(sums)}
    lines = {
        row[0]: row.moved
        for row in await tx.execute(
            select(book.c["pass"], book.c.moved).where(book.c.site == tx.site)
        )
    }
    return {
        pass_id: lines.get(pass_id, 0) - summed.get(pass_id, 0)
        for pass_id in summed.keys() | lines.keys()
        if lines.get(pass_id, 0) != summed.get(pass_id, 0)
    }
