"""Uploads the ledger from its cursor: in order, counted once, and never held up by one entry.

Entries are read beside the daemon's work, on a connection of their own, a batch at a time. What the
cloud has is what it says it has: the cursor moves there and nowhere else. An entry that it will not
take even alone is remembered by name, tried again now and then, and stays in the ledger.

Each answer says what the cloud has, and where nothing is sent it is asked now and then: a cloud
that was restored from a backup lacks what it had, and is sent it again.
"""

import asyncio
import logging
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Protocol, TypeVar

from msgspec import Struct

from edgegate.ports import OperatingError
from edgegate.store import ledger, sync_state
from edgegate.store.chain import Entry
from edgegate.store.connections import connect_read_only
from edgegate.store.errors import StoreUnavailableError
from edgegate.store.files import Store
from edgegate.store.sync_state import Place
from edgegate.store.thread import DatabaseThread, Urgency
from edgegate_sync.appliance import resend
from edgegate_sync.appliance.backoff import Backoff
from edgegate_sync.appliance.errors import AnswerInvalidError, RefusedError
from edgegate_sync.wire.events import (
    BATCH_ENTRIES_MAX,
    LedgerAnswer,
    Outcome,
    Stored,
    encode_batch,
)

log = logging.getLogger(__name__)

T = TypeVar("T")

GATHER_S = 0.02
"""How long a new entry waits for those that come with it."""

IDLE_S = 60.0
"""How often the ledger is looked at where nobody says that there is something new."""

COMPARE_S = 300.0
"""How long the cloud may say nothing of what it has before it is asked."""

RETRY_REFUSED_S = 3600.0
"""How often entries that the cloud would not take are tried again: it may have learned."""

REFUSED_IN_A_ROW_MAX = 16
"""After so many entries that were refused alone it is the cloud that is wrong, not they."""

PROGRESS_ENTRIES = 10_000
"""After so many entries of one long upload a line in the log says how far it is."""

EPOCH_PLAUSIBLE_MAX = ledger.EPOCH_MAX - 1_000_000
"""Epochs are seconds of the clock; a later one would leave none to begin after it."""

BAD_BATCH = frozenset({400, 413, 422})
"""The HTTP statuses that speak of what was sent; any other says that the cloud cannot do it now."""


class Cloud(Protocol):
    """What the upload asks of the cloud; `client.CloudClient` is one."""

    async def post_ledger(self, batch: bytes) -> LedgerAnswer:
        """Send a batch, or raise a `CloudError`."""

    async def ask_ledger(self) -> LedgerAnswer:
        """Up to where the cloud has this ledger, or raise a `CloudError`."""


class Standing(Struct, frozen=True, kw_only=True):
    """What an answer came to."""

    cursor: Place
    fault: str = ""
    """What it shows to be wrong with the ledger; empty where all is well."""
    epoch_begun: int | None = None
    missing: Place | None = None
    """The first entry that the cloud lacks although it had it: from there on it is sent again."""
    lost: tuple[str, ...] = ()
    """What the cloud lacks and this ledger has no more, as far as it was not known before."""


class Uploader:
    """Carries one device's ledger to the cloud."""

    def __init__(  # noqa: PLR0913 - its parts, each by name
        self,
        thread: DatabaseThread[Store],
        path: Path,
        cloud: Cloud,
        *,
        now_s: Callable[[], float] = time.time,
        on_fault: Callable[[str], object] = lambda _why: None,
        on_progress: Callable[[], object] = lambda: None,
        on_missing: Callable[[], object] = lambda: None,
        backoff: Backoff | None = None,
    ) -> None:
        """Prepare.

        Args:
            thread: the database thread; cursor and epoch are written there.
            path: the ledger's file.
            cloud: where to.
            now_s: the wall clock, for the number of a new epoch.
            on_fault: called with what an answer shows to be wrong with this ledger.
            on_progress: called whenever the cursor moved.
            on_missing: called when the cloud turns out to be older than it was.
            backoff: the waits after failures.
        """
        self._thread = thread
        self._path = path
        self._cloud = cloud
        self._now_s = now_s
        self._on_fault = on_fault
        self._on_progress = on_progress
        self._on_missing = on_missing
        self._backoff = backoff or Backoff()
        self._came = asyncio.Event()
        self._retry = asyncio.Event()
        self._compare_at_s = 0.0
        self._limit = BATCH_ENTRIES_MAX
        self._refused_in_a_row = 0
        self._retry_refused_at_s = 0.0
        self.sent = 0
        """How many entries the cloud has counted since the start."""
        self.detail = ""
        """Why nothing is uploaded now; empty where all is well."""

    def wake(self) -> None:
        """There are new entries; returns at once, and many calls make one upload."""
        self._came.set()

    def retry(self) -> None:
        """The cloud answers again: wait no longer, and ask what it has."""
        self._retry.set()
        self.compare()

    def compare(self) -> None:
        """The cloud may be another than it was: ask what it has, as soon as it is its turn."""
        self._compare_at_s = 0.0
        self._came.set()

    async def run(self) -> None:
        """Upload what there is and what comes, for ever."""
        while True:
            self._came.clear()
            self._retry.clear()
            try:
                await self.upload_all()
            except OperatingError as error:
                self._compare_at_s = 0.0
                self._note(str(error))
                asked_s = getattr(error, "retry_after_s", None) or 0.0
                await _wait(self._retry, asked_s + self._backoff.delay_s())
                continue
            self._note("")
            self._backoff.reset()
            await _wait(self._came, IDLE_S)
            await asyncio.sleep(GATHER_S)

    async def upload_all(self) -> None:
        """Upload until nothing is left.

        Raises:
            OperatingError: it cannot go on now.
        """
        if time.monotonic() >= self._compare_at_s:
            # Before anything new is sent: a tail that was cut off would else be written over. Noted
            # first: who asks for it meanwhile asks for another one.
            self._compare_at_s = time.monotonic() + COMPARE_S
            await self._settle([], await self._cloud.ask_ledger())
        await self._retry_refused()
        cursor = await self._read(sync_state.uploaded)
        told = self.sent
        while entries := await self._read(partial(_after, cursor, self._limit)):
            cursor = await self._send(cursor, entries)
            if self.sent - told >= PROGRESS_ENTRIES:
                told = self.sent
                backlog = await self._read(sync_state.backlog)
                log.info("uploaded %d entries, %d are left", self.sent, backlog.entries)

    async def _read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        return await read_beside(self._path, work)

    async def _send(self, cursor: Place, entries: list[Entry]) -> Place:
        """Send what fits of `entries`; the cursor after it."""
        batch = await asyncio.to_thread(encode_batch, entries)
        sent = entries[: batch.count]
        try:
            answer = await self._cloud.post_ledger(batch.body)
        except RefusedError as error:
            if error.status not in BAD_BATCH:
                raise
            if batch.count > 1:
                self._limit = batch.count // 2
                return cursor
            return await self._pass_over(sent[0], error)
        self._limit = min(BATCH_ENTRIES_MAX, self._limit * 2)
        self._refused_in_a_row = 0
        return await self._count(cursor, sent, answer)

    async def _count(self, cursor: Place, sent: list[Entry], answer: LedgerAnswer) -> Place:
        standing = await self._settle(sent, answer)
        if standing.cursor <= cursor and standing.missing is None:
            raise OperatingError(
                f"the cloud took {len(sent)} entries and counts up to "
                f"{answer.epoch}/{answer.counted} only"
            )
        self.sent += len(sent)
        self._on_progress()
        return standing.cursor

    async def _settle(self, sent: list[Entry], answer: LedgerAnswer) -> Standing:
        standing = await self._thread.run(
            partial(_settle, sent, answer, self._now_s()), Urgency.BACKGROUND
        )
        if standing.fault:
            log.error("the cloud's answer shows: %s", standing.fault)
            self._on_fault(standing.fault)
        if standing.epoch_begun is not None:
            log.warning("the ledger begins epoch %d", standing.epoch_begun)
        for lost in standing.lost:
            log.error("%s", lost)
            self._on_fault(lost)
        if standing.missing is not None:
            log.warning("the cloud lacks what it had: it is sent %d/%d again", *standing.missing)
            self._on_missing()
        return standing

    async def _pass_over(self, entry: Entry, error: RefusedError) -> Place:
        """Let an entry wait that is refused alone, so that it holds up nothing."""
        if self._refused_in_a_row >= REFUSED_IN_A_ROW_MAX:
            raise error
        self._refused_in_a_row += 1
        log.error("the cloud does not take the entry %s: %s", entry.id, _why(error))
        place = Place(entry.epoch, entry.sequence)
        await self._thread.run(partial(_refuse, place, _why(error)), Urgency.BACKGROUND)
        self._on_progress()
        return place

    async def _retry_refused(self) -> None:
        if time.monotonic() < self._retry_refused_at_s:
            return
        for entry in await self._read(_refused):
            batch = await asyncio.to_thread(encode_batch, [entry])
            try:
                answer = await self._cloud.post_ledger(batch.body)
            except RefusedError as error:
                if error.status not in BAD_BATCH:
                    raise
                continue
            await self._settle([entry], answer)
        self._retry_refused_at_s = time.monotonic() + RETRY_REFUSED_S

    def _note(self, detail: str) -> None:
        if detail and not self.detail:
            log.warning("the ledger cannot be uploaded: %s", detail)
        self.detail = detail


async def _wait(event: asyncio.Event, for_s: float) -> None:
    try:
        async with asyncio.timeout(for_s):
            await event.wait()
    except TimeoutError:
        pass


async def read_beside(path: Path, work: Callable[[sqlite3.Connection], T]) -> T:
    """Read the ledger on a connection and a thread of its own, so that no tap waits for it.

    Raises:
        StoreUnavailableError: it cannot be read now.
    """
    return await asyncio.to_thread(_read_beside, path, work)


def _read_beside(path: Path, work: Callable[[sqlite3.Connection], T]) -> T:
    try:
        with closing(connect_read_only(path)) as connection:
            return work(connection)
    except sqlite3.Error as error:
        raise StoreUnavailableError(f"the ledger cannot be read: {error}") from error


def _why(error: RefusedError) -> str:
    return error.problem.detail or error.problem.title


def _after(cursor: Place, limit: int, connection: sqlite3.Connection) -> list[Entry]:
    return ledger.since(connection, cursor.epoch, cursor.sequence, limit)


def _refused(connection: sqlite3.Connection) -> list[Entry]:
    """The entries that the cloud would not take; retention may have removed some."""
    found = []
    for quarantined in sync_state.quarantined(connection):
        if quarantined.outcome == "refused":
            place = quarantined.place
            entries = ledger.since(connection, place.epoch, place.sequence - 1, 1)
            found += [e for e in entries if (e.epoch, e.sequence) == place]
    return found


def _settle(sent: list[Entry], answer: LedgerAnswer, now_s: float, store: Store) -> Standing:
    """Carry an answer into the ledger's file: cursor, what was put aside, a new epoch."""
    connection = store.ledger
    before = sync_state.uploaded(connection)
    if answer.epoch > EPOCH_PLAUSIBLE_MAX:
        raise AnswerInvalidError(f"the cloud speaks of epoch {answer.epoch}")
    own = ledger.head(connection)
    head = Place(own.epoch, own.sequence)
    counted = Place(answer.epoch, answer.counted)
    fault = _fault(connection, head, answer)
    put_aside = {
        Place(s.epoch, s.sequence): s.why
        for s in answer.settled
        if s.outcome is Outcome.QUARANTINED
    }
    for entry in sent:
        place = Place(entry.epoch, entry.sequence)
        if place not in put_aside:
            sync_state.accept(connection, place)
    for place, why in put_aside.items():
        sync_state.quarantine(connection, place, Outcome.QUARANTINED, why)
    # Beyond what was sent its word counts only where it names the same entry as this ledger.
    last = max([before, *(Place(e.epoch, e.sequence) for e in sent)])
    sync_state.set_uploaded(
        connection, counted if _agrees(connection, answer) else min(counted, last)
    )
    begun = None
    if (fault or answer.begin_epoch) and own.epoch <= answer.epoch:
        begun = ledger.begin_epoch(connection, max(now_s, answer.epoch + 1))
    missing, lost = _compare(connection, sent, answer.stored)
    return Standing(
        cursor=sync_state.uploaded(connection),
        fault=fault,
        epoch_begun=begun,
        missing=missing if missing is not None and missing <= before else None,
        lost=tuple(lost),
    )


def _compare(
    connection: sqlite3.Connection, sent: list[Entry], stored: tuple[Stored, ...] | None
) -> tuple[Place | None, list[str]]:
    """Go back to what the cloud lacks of what it had; that, and what it can be sent no more."""
    if stored is None:
        return None, []
    untaken = [(e.epoch, e.sequence) for e in sent]
    while untaken and not resend.covers(stored, Place(*untaken[-1])):
        untaken.pop()
    for place in (Place(*u) for u in untaken):
        # It has what came behind it: sending this one again would not change that.
        if not resend.covers(stored, place):
            sync_state.quarantine(connection, place, "refused", "the cloud did not keep it")
    missing = resend.first_missing(connection, stored)
    if missing is not None:
        sync_state.go_back(connection, Place(missing.epoch, missing.sequence - 1))
    return missing, resend.note_lost(connection, stored)


def _agrees(connection: sqlite3.Connection, answer: LedgerAnswer) -> bool:
    own = sync_state.hash_at(connection, Place(answer.epoch, answer.counted))
    return own is not None and own.hex() == answer.head_hash


def _fault(connection: sqlite3.Connection, head: Place, answer: LedgerAnswer) -> str:
    """What the cloud's head shows of this ledger; empty where they agree."""
    counted = Place(answer.epoch, answer.counted)
    where = f"{counted.epoch}/{counted.sequence}"
    if answer.begin_epoch:
        return f"the cloud has other entries up to {where}: this ledger is an older copy"
    if answer.head_hash is None or counted.sequence == 0:
        return ""
    own = sync_state.hash_at(connection, counted)
    if own is None:
        if counted > head:
            return f"the cloud has entries up to {where}, this ledger has not: it was cut off"
        return ""
    if own.hex() != answer.head_hash:
        return f"the cloud has another entry {where} than this ledger"
    return ""


def _refuse(place: Place, why: str, store: Store) -> None:
    sync_state.quarantine(store.ledger, place, "refused", why)
    sync_state.set_uploaded(store.ledger, place)
