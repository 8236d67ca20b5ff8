"""What the feed brought and could not be used, by name, and what a later version would know.

Every function takes the cache's connection and works inside the caller's transaction.
"""

import sqlite3

import msgspec
from msgspec import Struct

from edgegate_sync.wire.state import Quarantined

NAMED_MAX = 1000
"""So many records are named; what is quarantined beyond them is counted only."""

UNKNOWN_MAX = 256
"""So many kinds and fields are counted by their names; the others together under `OTHERS`."""

OTHERS = "…"
_ERROR_CHARACTERS_MAX = 500
_FIELD_CHARACTERS_MAX = 200
_fields = msgspec.json.Decoder(tuple[str, ...])


class Counts(Struct, frozen=True, kw_only=True):
    """How much of the feed cannot be used."""

    quarantined: int = 0
    unknown: dict[str, int] = {}
    """By kind (`loyalty_card`) or kind and field (`pass.colour`)."""


def add(connection: sqlite3.Connection, record: Quarantined) -> None:
    """Name a record, in place of what was said of it before."""
    known = connection.execute(
        "SELECT 1 FROM quarantine WHERE kind = ? AND id = ?", (record.kind, record.id)
    ).fetchone()
    if known is None and _count(connection) >= NAMED_MAX:
        connection.execute(
            "INSERT INTO meta VALUES ('unnamed', 1) ON CONFLICT DO UPDATE SET value = value + 1"
        )
        return
    connection.execute(
        "INSERT OR REPLACE INTO quarantine VALUES (?, ?, ?, ?, ?, ?)",
        (
            record.kind,
            record.id,
            record.seq,
            record.field[:_FIELD_CHARACTERS_MAX],
            record.error[:_ERROR_CHARACTERS_MAX],
            msgspec.json.encode(record.restricted).decode(),
        ),
    )


def keys(connection: sqlite3.Connection) -> set[tuple[str, str]]:
    """Kind and id of every record that is named."""
    return set(connection.execute("SELECT kind, id FROM quarantine"))


def release(connection: sqlite3.Connection, kind: str, id_: str) -> None:
    """Forget a record: a good one came, or it is gone."""
    connection.execute("DELETE FROM quarantine WHERE kind = ? AND id = ?", (kind, id_))


def newest(connection: sqlite3.Connection, limit: int) -> list[Quarantined]:
    """The records that came last, newest first."""
    rows = connection.execute(
        "SELECT kind, id, seq, field, error, restricted FROM quarantine"
        " ORDER BY seq DESC, kind, id LIMIT ?",
        (limit,),
    )
    return [
        Quarantined(
            kind=kind, id=id_, seq=seq, field=field, error=error, restricted=_fields.decode(names)
        )
        for kind, id_, seq, field, error, names in rows
    ]


def count_unknown(connection: sqlite3.Connection, name: str) -> None:
    """Count a kind or field that this version does not know."""
    known = connection.execute("SELECT 1 FROM unknown WHERE name = ?", (name,)).fetchone()
    if known is None:
        (names,) = connection.execute("SELECT count(*) FROM unknown").fetchone()
        name = name if names < UNKNOWN_MAX - 1 else OTHERS
    connection.execute(
        "INSERT INTO unknown VALUES (?, 1) ON CONFLICT DO UPDATE SET count = count + 1", (name,)
    )


def counts(connection: sqlite3.Connection) -> Counts:
    """How much there is of both."""
    found = connection.execute("SELECT value FROM meta WHERE name = 'unnamed'").fetchone()
    unnamed = 0 if found is None else int(found[0])
    unknown = dict(connection.execute("SELECT name, count FROM unknown ORDER BY name"))
    return Counts(quarantined=_count(connection) + unnamed, unknown=unknown)


def _count(connection: sqlite3.Connection) -> int:
    (count,) = connection.execute("SELECT count(*) FROM quarantine").fetchone()
    return int(count)
