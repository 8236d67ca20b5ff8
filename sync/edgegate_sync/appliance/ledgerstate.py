"""Where a device's ledger and its upload stand, as its state tells it."""

import sqlite3

from edgegate.store import ledger, sync_state
from edgegate.store.chain import entry_id
from edgegate_sync.wire.state import QUARANTINED_MAX, LedgerState, Quarantined

_SENTENCE_MAX = 500


def ledger_state(connection: sqlite3.Connection) -> LedgerState:
    """Where the ledger and its upload stand."""
    head = ledger.head(connection)
    cursor = sync_state.uploaded(connection)
    backlog = sync_state.backlog(connection)
    return LedgerState(
        epoch=head.epoch,
        sequence=head.sequence,
        cursor_epoch=cursor.epoch,
        cursor_sequence=cursor.sequence,
        backlog=backlog.entries,
        oldest_unsent_at=backlog.oldest_at,
    )


def own_quarantined(connection: sqlite3.Connection, source: str) -> tuple[Quarantined, ...]:
    """The own entries that the cloud would not take or put aside, by name."""
    return tuple(
        Quarantined(
            seq=found.place.sequence,
            kind="ledger",
            id=entry_id(source, *found.place),
            error=f"{found.outcome}: {found.why}"[:_SENTENCE_MAX],
        )
        for found in sync_state.quarantined(connection, QUARANTINED_MAX)
    )
