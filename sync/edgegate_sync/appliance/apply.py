"""Carries changes of the feed into the cache: what is good, what is broken, and who is erased.

One broken record holds up nothing: it is named in the quarantine, and what it would have replaced
stays. What restricts is taken even from a broken body (promise 9). A record that requires a feature
unknown here must not be used, nor may the one before it: it is as if there were none.
"""

import sqlite3
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import msgspec
from msgspec import Raw, Struct
from msgspec.structs import replace

from edgegate import __version__
from edgegate.passes.model import Balance
from edgegate.store import cache
from edgegate_sync.appliance import quarantine
from edgegate_sync.appliance.concerned import Concerned
from edgegate_sync.appliance.ownwords import own_words
from edgegate_sync.appliance.quarantine import Counts
from edgegate_sync.wire import kinds
from edgegate_sync.wire.changes import (
    Change,
    LineInvalidError,
    Op,
    Trailer,
    decode_line,
)
from edgegate_sync.wire.errors import TooLargeError
from edgegate_sync.wire.kinds import RecordInvalidError, RecordUnusableError
from edgegate_sync.wire.restricting import restrictions, tighten
from edgegate_sync.wire.state import QUARANTINED_MAX, Quarantined

ROWS_MAX = 256
"""Rows that wait to be written together."""

UNREADABLE = "?"
"""The kind under which a line is named that does not say its own."""


class Put(Struct, frozen=True):
    """A record that may be used, as the row it becomes."""

    seq: int
    kind: cache.Kind[Any]
    id: str
    row: tuple[Any, ...]
    unknown: tuple[str, ...]


class Remove(Struct, frozen=True):
    """A record is gone; with `erases`, so are a person's traces."""

    seq: int
    kind: str
    id: str
    erases: bool


class Broken(Struct, frozen=True):
    """A record that does not validate, and what in it restricts."""

    seq: int
    kind: str
    id: str
    field: str
    error: str
    restricts: dict[str, Any]


class Unreadable(Broken, frozen=True):
    """A line that is no change; its number is not to be relied upon."""


class Unusable(Struct, frozen=True):
    """A record that requires what this version does not know."""

    seq: int
    kind: str
    id: str
    error: str


class Unknown(Struct, frozen=True):
    """A record of a kind that this version does not know."""

    seq: int
    kind: str


Step = Put | Remove | Broken | Unusable | Unknown


def step_of_line(line: bytes, after: int) -> Step | Trailer:
    """What one line of the feed comes to; `after` is the number of the one before. Never raises."""
    own = own_words(line)
    if own is None or len(own.seqs) > 1:
        return step_as_read(line, after)
    ((name, (row,)),) = own.rows.items()
    return Put(own.seqs[0], cache.KINDS[name], row[0], row, ())


def step_as_read(line: bytes, after: int) -> Step | Trailer:
    """The same for a line that is not in `own_words`."""
    try:
        decoded = decode_line(line)
    except LineInvalidError as error:
        kind, id_ = error.kind or UNREADABLE, error.id or f"after {after}"
        body = _body_of(line)
        return Unreadable(
            error.seq or after, kind, id_, error.field, error.problem, restrictions(kind, body)
        )
    except TooLargeError as error:
        return Unreadable(after, UNREADABLE, f"after {after}", "", error.problem, {})
    return decoded if isinstance(decoded, Trailer) else step_of(decoded)


def step_of(change: Change) -> Step:
    """What one change comes to; never raises."""
    kind = cache.KINDS.get(change.kind)
    if kind is None:
        return Unknown(change.seq, change.kind)
    if change.op is not Op.PUT:
        return Remove(change.seq, kind.name, change.id, change.op is Op.ERASE)
    body = change.raw
    seq, id_ = change.seq, change.id
    try:
        found = kinds.decode_record(kinds.KINDS[kind.name], id_, body, change.requires)
    except RecordUnusableError as error:
        return Unusable(seq, kind.name, id_, str(error))
    except RecordInvalidError as error:
        restricts = restrictions(kind.name, body)
        return Broken(seq, kind.name, id_, error.field, error.problem, restricts)
    return Put(seq, kind, id_, kind.row(found.record), found.unknown)


def _body_of(line: bytes) -> bytes:
    """The body in a line whose other parts may be broken."""
    try:
        return bytes(_outer.decode(line).get("body", Raw(b"null")))
    except (ValueError, RecursionError):
        return b"null"


class Writer:
    """Writes steps into a cache, those of one transaction or a whole snapshot."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        concerned: Concerned | None = None,
        standing: sqlite3.Connection | None = None,
    ) -> None:
        """Prepare.

        Args:
            connection: the cache, in a transaction of the caller's.
            concerned: where it is noted whom of those inside the changes concern.
            standing: for a snapshot: where records stand that a broken one does not replace, as
                far as that can be read. None: in the same cache.
        """
        self._cache = connection
        self._concerned = concerned
        self._standing = standing
        self._named = quarantine.keys(connection)
        self._rows: dict[str, list[tuple[Any, ...]]] = {name: [] for name in cache.KINDS}
        self._waiting = 0

    def write(self, step: Step) -> None:
        """Write a step, or let it wait to be written with others; `flush` ends it."""
        match step:
            case Put():
                self.put(step)
            case Remove():
                self._remove(step)
            case Broken():
                self._keep_out(step)
            case Unusable():
                self._take_away(step)
            case Unknown():
                quarantine.count_unknown(self._cache, step.kind)

    def flush(self) -> None:
        """Write all rows that wait."""
        for name, rows in self._rows.items():
            if rows:
                cache.put_rows(self._cache, cache.KINDS[name], rows)
                rows.clear()
        self._waiting = 0

    def _note(self, kind: str, id_: str, row: tuple[Any, ...] = ()) -> None:
        if self._concerned is not None:
            self._concerned.note(self._cache, kind, id_, row)

    def put(self, step: Put) -> None:
        """Let a record wait to be written with others."""
        if self._concerned is not None:
            self._note(step.kind.name, step.id, step.row)
        self._rows[step.kind.name].append(step.row)
        self._waiting += 1
        if self._waiting >= ROWS_MAX:
            self.flush()
        for name in step.unknown:
            quarantine.count_unknown(self._cache, f"{step.kind.name}.{name}")
        if self._named:
            self._release(step.kind.name, step.id)

    def put_own(self, rows: dict[str, list[tuple[Any, ...]]]) -> None:
        """Let the rows of `own_words` wait; for a snapshot, which concerns everybody."""
        for name, of_kind in rows.items():
            self._rows[name] += of_kind
            self._waiting += len(of_kind)
            for row in of_kind if self._named else ():
                self._release(name, row[0])
        if self._waiting >= ROWS_MAX:
            self.flush()

    def _remove(self, step: Remove) -> None:
        self.flush()
        self._delete(step.kind, step.id)
        erasure = kinds.ERASURES.get(step.kind)
        if step.erases and erasure is not None:
            self._cache.execute(
                "INSERT INTO erased VALUES (?, ?) ON CONFLICT DO NOTHING", (step.kind, step.id)
            )
            # A snapshot has nothing of them, and no index yet to look for it by.
            for kind, field in erasure.records if self._standing is None else ():
                self._delete_all_of(kind, field, step.id)

    def _delete(self, kind: str, id_: str) -> None:
        self._note(kind, id_)
        cache.delete(self._cache, cache.KINDS[kind], id_)
        self._release(kind, id_)

    def _delete_all_of(self, kind: str, field: str, id_: str) -> None:
        """Delete the records of a person, and the balances of their passes."""
        found = self._cache.execute(
            f"SELECT id FROM {kind} WHERE {field} = ?",  # noqa: S608 - names of ERASURES
            (id_,),
        ).fetchall()
        for (record,) in found:
            self._delete(kind, record)
            if kind == cache.PASS.name:
                self._delete(cache.BALANCE.name, record)

    def _keep_out(self, step: Broken) -> None:
        """Name a broken record; what stands stays, as much restricted as the broken one says."""
        self.flush()
        self._note(step.kind, step.id)
        standing = self._standing_of(step.kind, step.id)
        restricted: tuple[str, ...] = ()
        if standing is not None:
            kind = cache.KINDS[step.kind]
            tightened = tighten(step.kind, standing, step.restricts)
            restricted = tuple(
                name
                for name in step.restricts
                if getattr(tightened, name) != getattr(standing, name)
            )
            cache.put(self._cache, kind, tightened)
        self._name(step, step.field, restricted)

    def _take_away(self, step: Unusable) -> None:
        """Name a record that must not be used, and let it give no right."""
        self.flush()
        self._note(step.kind, step.id)
        if step.kind == cache.BALANCE.name:
            # Without a balance a pass would have all that was ever in it.
            standing = self._standing_of(step.kind, step.id) or Balance(pass_=step.id, remaining=0)
            left = min(0, standing.remaining)
            cache.put(self._cache, cache.BALANCE, replace(standing, remaining=left))
        else:
            cache.delete(self._cache, cache.KINDS[step.kind], step.id)
        self._name(step, "requires", ())

    def _standing_of(self, kind: str, id_: str) -> Any:
        """The record that stands; None if there is none, or none that can be read."""
        if kind not in cache.KINDS:
            return None
        try:
            found = cache.get(self._cache, cache.KINDS[kind], id_)
            if found is None and self._standing is not None:
                with suppress(sqlite3.Error):
                    found = cache.get(self._standing, cache.KINDS[kind], id_)
        except msgspec.DecodeError:
            return None
        return found

    def _name(self, step: Broken | Unusable, field: str, restricted: tuple[str, ...]) -> None:
        self._named.add((step.kind, step.id))
        record = Quarantined(
            seq=step.seq,
            kind=step.kind,
            id=step.id,
            field=field,
            error=step.error,
            restricted=restricted,
        )
        quarantine.add(self._cache, record)

    def _release(self, kind: str, id_: str) -> None:
        if (kind, id_) in self._named:
            self._named.discard((kind, id_))
            quarantine.release(self._cache, kind, id_)


def apply(
    steps: Iterable[Step],
    head: int,
    connection: sqlite3.Connection,
    concerned: Concerned | None = None,
    *,
    visits_open: bool = False,
) -> "Standing":
    """Apply changes and move the head to `head`, in the caller's transaction.

    Whom of those inside they concern is added to `concerned`; with `visits_open` it stays noted
    that these are still to be judged again.
    """
    writer = Writer(connection, concerned)
    for step in steps:
        writer.write(step)
    writer.flush()
    cache.set_head(connection, head)
    note_reader(connection)
    if visits_open:
        cache.note_unjudged(connection)
    return standing(connection)


def note_reader(connection: sqlite3.Connection) -> None:
    """Remember which version read the feed: a later one may know what this one kept out."""
    connection.execute("INSERT OR REPLACE INTO meta VALUES ('reader', ?)", (__version__,))


class Standing(Struct, frozen=True, kw_only=True):
    """How the cache stands to the feed."""

    head: int = 0
    counts: Counts = Counts()
    quarantined: tuple[Quarantined, ...] = ()
    """The newest of them."""
    is_outdated: bool = False
    """Whether another version kept something out that this one may know."""
    erases: bool = False
    """Whether there are persons whose ledger entries still have their data."""
    unjudged: bool = False
    """Whether open visits are still to be judged by what came."""


def standing(connection: sqlite3.Connection) -> Standing:
    """Read how the cache stands."""
    counts = quarantine.counts(connection)
    meta = dict(connection.execute("SELECT name, value FROM meta"))
    kept_out = counts.quarantined > 0 or bool(counts.unknown)
    return Standing(
        head=cache.head(connection),
        counts=counts,
        quarantined=tuple(quarantine.newest(connection, QUARANTINED_MAX)),
        is_outdated=kept_out and meta.get("reader") != __version__,
        erases=connection.execute("SELECT 1 FROM erased LIMIT 1").fetchone() is not None,
        unjudged=cache.is_unjudged(connection),
    )


_outer = msgspec.json.Decoder(dict[str, Raw])
