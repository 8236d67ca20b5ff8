"""Forgets what other devices spent once the cloud has counted it: balances have it, for ever.

Own debits stay: visits refer to them, and the ledger's entries tell them anew. Those of others have
no entries here, and without this their table would grow as long as the site lives.
"""

from msgspec import Struct, field

from edgegate.passes.model import Counted
from edgegate.store import cache
from edgegate.store.files import Store

PASSES_MAX = 128
"""So many passes are looked at in one job: no tap waits for more."""

# The next passes in the table, each found by one step into its key.
_PASSES = """
WITH RECURSIVE next(pass) AS (
    SELECT min(pass) FROM debit WHERE pass > ?1
    UNION ALL
    SELECT (SELECT min(pass) FROM debit WHERE pass > next.pass) FROM next WHERE pass IS NOT NULL
    LIMIT ?2
)
SELECT pass FROM next WHERE pass IS NOT NULL
"""
_FORGET = "DELETE FROM debit WHERE pass = ? AND device = ? AND (epoch, sequence) <= (?, ?)"


class Sweep(Struct):
    """One way through the table, a job at a time; the next one begins with what this one saw."""

    own: str
    """This device's name."""
    after: str = ""
    """The pass that was looked at last; empty at the beginning and the end."""
    forgotten: int = 0
    """How many debits went since the start."""
    counted: dict[str, tuple[int, int]] = field(default_factory=dict)
    """By device, the latest entry that any balance is known to have in it."""


def sweep(at: Sweep, store: Store) -> None:
    """Look at some passes more; `at.after` is empty when that were all."""
    rows = store.ledger.execute(_PASSES, (at.after, PASSES_MAX)).fetchall()
    for (pass_id,) in rows:
        balance = cache.get(store.cache, cache.BALANCE, pass_id)
        if balance is not None:
            _note(at, balance.counted)
            places = {device: (c.epoch, c.sequence) for device, c in balance.counted.items()}
        elif cache.get(store.cache, cache.PASS, pass_id) is None:
            # It is gone, or comes with a balance that is younger than all that were seen here.
            places = at.counted
        else:
            places = {}
        for device, place in places.items():
            if device != at.own:
                done = store.ledger.execute(_FORGET, (pass_id, device, *place))
                at.forgotten += done.rowcount
    at.after = rows[-1][0] if len(rows) == PASSES_MAX else ""


def _note(at: Sweep, counted: dict[str, Counted]) -> None:
    for device, place in counted.items():
        known = at.counted.get(device, (0, 0))
        at.counted[device] = max(known, (place.epoch, place.sequence))
