"""What the exchange with the cloud and the site's other devices remembers in the ledger's file.

Every function takes the ledger's connection and works inside the caller's transaction.
"""

import sqlite3
from datetime import datetime, timedelta
from hashlib import sha256
from typing import NamedTuple

from edgegate.passes.happenings import (
    Arrived,
    Charged,
    Closed,
    Debited,
    Granted,
    Happening,
    Left,
    Moved,
    Refunded,
    Sold,
)
from edgegate.store.chain import Entry
from edgegate.store.ledger import key_of
from edgegate.store.projection import happening_of, instant, microseconds, project

QUARANTINED_MAX = 1000
"""So many entries are remembered as not taken; the oldest goes, and stays in ledger and log."""

COMMANDS_MAX = 10_000
"""So many commands of one boot are remembered."""

EXPIRED_FOR = timedelta(hours=1)
"""How long a command must have expired for its id to be forgotten: clocks are set back."""

EPOCHS_MAX = 4
"""Of how many of a device's epochs it is remembered what was heard; the oldest goes."""

_LOW = 0xFFFFFFFF


class Place(NamedTuple):
    """An entry's place in a ledger; (0, 0) is before the first."""

    epoch: int
    sequence: int


class Range(NamedTuple):
    """Entries of one epoch without a gap, both ends included."""

    first: int
    last: int


class Quarantined(NamedTuple):
    """An own entry that the cloud would not take ("refused") or put aside ("quarantined").

    Or the first of those that neither the cloud nor this ledger has any more ("lost").
    """

    place: Place
    outcome: str
    why: str


class Backlog(NamedTuple):
    """What is still to be uploaded."""

    entries: int
    oldest_at: datetime | None


# The upload.


def uploaded(ledger: sqlite3.Connection) -> Place:
    """The newest entry that the cloud has."""
    key = _cursor(ledger, "uploaded") or 0
    return Place(key >> 32, key & _LOW)


def set_uploaded(ledger: sqlite3.Connection, place: Place) -> None:
    """Move the upload on to this entry; this never moves it back."""
    ledger.execute(
        "INSERT INTO sync_cursor VALUES ('uploaded', ?)"
        " ON CONFLICT DO UPDATE SET value = max(value, excluded.value)",
        (key_of(*place),),
    )


def go_back(ledger: sqlite3.Connection, place: Place) -> None:
    """Upload again what follows this entry: the cloud has it no more."""
    ledger.execute(
        "UPDATE sync_cursor SET value = min(value, ?) WHERE name = 'uploaded'", (key_of(*place),)
    )


def backlog(ledger: sqlite3.Connection) -> Backlog:
    """How many entries wait to be uploaded, and since when the oldest of them does.

    They are not counted one by one: an epoch has no gaps. Of one that lost entries to a damaged
    disk so many more are told.
    """
    key = key_of(*uploaded(ledger))
    count, oldest_us = 0, None
    while first := _first_after(ledger, key):
        ends = (first[0] >> 32) + 1 << 32
        (key,) = ledger.execute("SELECT max(key) FROM entry WHERE key <= ?", (ends - 1,)).fetchone()
        count += key - first[0] + 1
        oldest_us = first[1] if oldest_us is None else oldest_us
    return Backlog(count, None if oldest_us is None else instant(oldest_us))


def _first_after(ledger: sqlite3.Connection, key: int) -> tuple[int, int] | None:
    """Key and instant of the oldest entry after a key."""
    found: tuple[int, int] | None = ledger.execute(
        "SELECT key, at FROM entry WHERE key > ? ORDER BY key LIMIT 1", (key,)
    ).fetchone()
    return found


def hash_at(ledger: sqlite3.Connection, place: Place) -> bytes | None:
    """The hash of an own entry; None if there is none, forgotten ones included."""
    found = ledger.execute("SELECT hash FROM entry WHERE key = ?", (key_of(*place),)).fetchone()
    return None if found is None else found[0]


def quarantine(ledger: sqlite3.Connection, place: Place, outcome: str, why: str) -> None:
    """Remember by name that the cloud would not take an entry, or put it aside."""
    ledger.execute(
        "INSERT OR REPLACE INTO quarantined VALUES (?, ?, ?)", (key_of(*place), outcome, why)
    )
    ledger.execute(
        "DELETE FROM quarantined WHERE key NOT IN"
        " (SELECT key FROM quarantined ORDER BY key DESC LIMIT ?)",
        (QUARANTINED_MAX,),
    )


def accept(ledger: sqlite3.Connection, place: Place) -> None:
    """Forget that an entry was not taken: it was now."""
    ledger.execute("DELETE FROM quarantined WHERE key = ?", (key_of(*place),))


def quarantined(ledger: sqlite3.Connection, limit: int = 100) -> list[Quarantined]:
    """The newest entries that the cloud would not take or put aside, oldest of them first."""
    rows = ledger.execute(
        "SELECT key, outcome, why FROM quarantined ORDER BY key DESC LIMIT ?", (limit,)
    ).fetchall()
    return [
        Quarantined(Place(key >> 32, key & _LOW), outcome, why)
        for key, outcome, why in reversed(rows)
    ]


# The lease (D-08).


def reached_at(ledger: sqlite3.Connection) -> datetime | None:
    """When the cloud last answered, as far as it was noted."""
    us = _cursor(ledger, "reached")
    return None if us is None else instant(us)


def set_reached(ledger: sqlite3.Connection, at: datetime) -> None:
    """Note that the cloud answered."""
    ledger.execute("INSERT OR REPLACE INTO sync_cursor VALUES ('reached', ?)", (microseconds(at),))


# The clock (T1): a floor for a computer that starts without a battery clock.


class Trusted(NamedTuple):
    """The last trusted instant."""

    at: datetime
    since_boot_s: float | None
    """Seconds since this boot's start at that instant; None if that was an earlier boot."""


def trusted(ledger: sqlite3.Connection, boot_id: str) -> Trusted | None:
    """The last trusted instant that was noted; `boot_id` is that of this boot."""
    us = _cursor(ledger, "trusted")
    if us is None:
        return None
    since_us = _cursor(ledger, "trusted_since_boot")
    is_same = since_us is not None and _cursor(ledger, "trusted_boot") == _boot_number(boot_id)
    return Trusted(instant(us), since_us / 1e6 if is_same and since_us is not None else None)


def set_trusted(
    ledger: sqlite3.Connection, at: datetime, boot_id: str, since_boot_s: float
) -> None:
    """Note the last trusted instant, and when after this boot's start it was."""
    ledger.executemany(
        "INSERT OR REPLACE INTO sync_cursor VALUES (?, ?)",
        [
            ("trusted", microseconds(at)),
            ("trusted_boot", _boot_number(boot_id)),
            ("trusted_since_boot", round(since_boot_s * 1e6)),
        ],
    )


def _boot_number(boot_id: str) -> int:
    """A boot's name as a number that SQLite can hold."""
    return int.from_bytes(sha256(boot_id.encode()).digest()[:7])


def _cursor(ledger: sqlite3.Connection, name: str) -> int | None:
    found = ledger.execute("SELECT value FROM sync_cursor WHERE name = ?", (name,)).fetchone()
    return None if found is None else int(found[0])


# Commands.


def claim_command(
    ledger: sqlite3.Connection,
    boot: str,
    command_id: str,
    expires_at: datetime,
    now: datetime | None,
) -> bool:
    """Take a command's id for the one act it allows; whether it was still free.

    All ids of this boot are kept, whatever the clock says; one more than `COMMANDS_MAX` takes the
    place of one that has expired. `now` is None where the clock is not believed.

    Raises:
        OverflowError: if there is no room: no id is known to have expired.
    """
    ledger.execute("DELETE FROM command_id WHERE boot <> ?", (boot,))
    (count,) = ledger.execute("SELECT count(*) FROM command_id").fetchone()
    if count >= COMMANDS_MAX:
        _make_room(ledger, now)
    claimed = ledger.execute(
        "INSERT INTO command_id VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
        (command_id, boot, microseconds(expires_at)),
    )
    return claimed.rowcount == 1


def _make_room(ledger: sqlite3.Connection, now: datetime | None) -> None:
    freed = 0
    if now is not None:
        freed = ledger.execute(
            "DELETE FROM command_id WHERE expires_at < ?", (microseconds(now - EXPIRED_FOR),)
        ).rowcount
    if not freed:
        raise OverflowError(f"{COMMANDS_MAX} commands are remembered, and none has expired")


# Peers (M-01).


def hear(ledger: sqlite3.Connection, device: str, epoch: int, heard: Range) -> None:
    """Note that these entries of another device are carried into the tables, or need not be."""
    first, last = heard
    near = (device, epoch, last + 1, first - 1)
    rows = ledger.execute(
        "SELECT first, last FROM heard WHERE device = ? AND epoch = ? AND first <= ? AND last >= ?",
        near,
    ).fetchall()
    ledger.execute(
        "DELETE FROM heard WHERE device = ? AND epoch = ? AND first <= ? AND last >= ?", near
    )
    first = min([first, *(row[0] for row in rows)])
    last = max([last, *(row[1] for row in rows)])
    ledger.execute("INSERT INTO heard VALUES (?, ?, ?, ?)", (device, epoch, first, last))
    ledger.execute(
        "DELETE FROM heard WHERE device = ?1 AND epoch NOT IN"
        " (SELECT DISTINCT epoch FROM heard WHERE device = ?1 ORDER BY epoch DESC LIMIT ?2)",
        (device, EPOCHS_MAX),
    )


def has_heard(ledger: sqlite3.Connection, device: str, place: Place) -> bool:
    """Whether an entry of another device is in the tables already."""
    found = ledger.execute(
        "SELECT 1 FROM heard WHERE device = ?1 AND epoch = ?2 AND first <= ?3 AND last >= ?3",
        (device, *place),
    ).fetchone()
    return found is not None


def knows(ledger: sqlite3.Connection, device: str, epoch: int) -> bool:
    """Whether anything of that epoch of another device was ever heard."""
    found = ledger.execute(
        "SELECT 1 FROM heard WHERE device = ? AND epoch = ? LIMIT 1", (device, epoch)
    ).fetchone()
    return found is not None


def first_gap(ledger: sqlite3.Connection, device: str, head: Place) -> Range | None:
    """The first entries up to another device's head that were not heard."""
    due = 1
    for first, last in ledger.execute(
        "SELECT first, last FROM heard WHERE device = ? AND epoch = ? ORDER BY first",
        (device, head.epoch),
    ):
        if first > due:
            return Range(due, min(first - 1, head.sequence)) if due <= head.sequence else None
        due = last + 1
    return Range(due, head.sequence) if due <= head.sequence else None


def apply_heard(ledger: sqlite3.Connection, entry: Entry) -> bool:
    """Carry an entry of another device into the tables; whether it was new.

    Its visits stay its own (M-05): what counts here is what it spent, whom that covers and from
    when, what it sold and who came and went.

    Raises:
        msgspec.ValidationError: if its data is not what its type says.
    """
    place = Place(entry.epoch, entry.sequence)
    if has_heard(ledger, entry.device, place):
        return False
    happening = happening_of(entry)
    if isinstance(happening, _OF_PEERS):
        _project_heard(ledger, happening, entry)
    hear(ledger, entry.device, entry.epoch, Range(entry.sequence, entry.sequence))
    return True


_OF_PEERS = (Granted, Debited, Refunded, Sold, Charged, Arrived, Moved, Closed, Left)
_MOVES = (Granted, Closed, Left)


def _project_heard(ledger: sqlite3.Connection, happening: Happening, entry: Entry) -> None:
    if not isinstance(happening, _MOVES) or _is_news(ledger, happening, entry):
        project(ledger, happening, entry)
    elif isinstance(happening, Closed):
        # It came late, out of a gap: where the customer is now is known better.
        ledger.execute(
            "DELETE FROM coverage WHERE customer = ? AND session = ?",
            (happening.customer, happening.session),
        )


def _is_news(ledger: sqlite3.Connection, move: Granted | Closed | Left, entry: Entry) -> bool:
    at = entry.at if isinstance(move, Granted) else move.at
    later = ledger.execute(
        "SELECT 1 FROM moved WHERE customer = ? AND location = ? AND at > ?",
        (move.customer, move.location, microseconds(at)),
    ).fetchone()
    if later is not None:
        return False
    if not isinstance(move, Granted):
        return True
    begun = ledger.execute(
        "SELECT 1 FROM begun WHERE location = ? AND day > ?", (move.location, move.day.isoformat())
    ).fetchone()
    return begun is None
