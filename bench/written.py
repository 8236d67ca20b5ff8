"""Compares what daemon and floor have written: a floor that writes other rows would be none."""

import sqlite3
from contextlib import closing
from pathlib import Path

from edgegate.store.connections import connect_read_only

BYTES_OFF_MAX = 0.05

_GRANTED = "edgegate.access.granted"
_ROWS = """
    SELECT type, count(*), sum(length(data)) FROM entry
    WHERE type GLOB 'edgegate.[aps]*' GROUP BY type
    UNION ALL SELECT 'debit', count(*), sum(amount) FROM debit
    UNION ALL SELECT 'coverage', count(*), sum(length(body)) FROM coverage
    UNION ALL SELECT 'session', count(*), sum(length(body)) FROM session
"""


class UnlikeError(Exception):
    """What was measured side by side did not write the same."""


def written(state: Path) -> dict[str, tuple[int, int]]:
    """Rows and bytes by kind, of all that taps write before the door opens."""
    connection: sqlite3.Connection
    with closing(connect_read_only(state / "ledger.db")) as connection:
        return {kind: (rows, size) for kind, rows, size in connection.execute(_ROWS)}


def compare(daemon: dict[str, tuple[int, int]], floor: dict[str, tuple[int, int]]) -> None:
    """Check that both wrote rows of the same kinds and sizes, the same number a tap.

    Raises:
        UnlikeError: if not.
    """
    if daemon.keys() != floor.keys():
        raise UnlikeError(f"{sorted(daemon)} beside {sorted(floor)}")
    unlike = [
        f"{kind}: {rows} rows of {size // rows} bytes, {floor_rows} of {floor_size // floor_rows}"
        for kind, (rows, size) in daemon.items()
        for floor_rows, floor_size in (floor[kind],)
        if abs(size / rows - floor_size / floor_rows) / (size / rows) > BYTES_OFF_MAX
        # A subject that starts is tapped until it answers, so of these some more may be there.
        or (rows != floor_rows and kind != _GRANTED)
    ]
    if unlike:
        raise UnlikeError("; ".join(unlike))
