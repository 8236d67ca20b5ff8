"""Watches the clock: asks its sources, keeps the last trusted instant, and records what changed."""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import Any

import msgspec
from msgspec import Struct

from edgegate.clock import KERNEL, Kept, Step, SystemClock, Word, since_boot_s
from edgegate.ports import ClockTrust, OperatingError
from edgegate.store import sync_state
from edgegate.store.files import Store
from edgegate.store.sync_state import Trusted
from edgegate.store.thread import DatabaseThread, Urgency
from edgegate.timesources import GOOD_FOR_S, Answer, ask

log = logging.getLogger(__name__)

LOOK_S = 1.0
"""How soon a change of trust is noticed."""

ASK_EVERY_S = 15.0
"""How often the sources are asked while the kernel alone does not vouch."""

KEEP_EVERY_S = 60.0
"""How often the last trusted instant is written down, at the most."""

CONFIRM_S = 30.0
"""How long the kernel must vouch for a clock that was moved, where nothing can be asked but it."""


class ClockRecord(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the ledger holds of the clock, in an entry `edgegate.device.clock`."""

    trust: ClockTrust
    was: ClockTrust
    source: str
    """Who vouches, or did last: kernel, chrony, systemd, rtc, cloud."""
    step_s: float = 0.0
    """By how much the clock was set."""
    before: datetime | None = None
    """What it said when it was set."""
    since: datetime | None = None
    """From when on, by what it said, it was not to be believed; absent if it was."""


class ClockWatch:
    """The one who looks after a clock; `run` does all of it."""

    def __init__(
        self,
        clock: SystemClock,
        boot_id: str,
        thread: DatabaseThread[Store],
        *,
        record: Callable[[dict[str, Any]], object],
        on_trust: Callable[[ClockTrust], object] = lambda _trust: None,
        ask_sources: Callable[[datetime | None], Answer] = ask,
    ) -> None:
        """Prepare.

        Args:
            clock: whom to look after.
            boot_id: this boot's name.
            thread: the database thread; the store must be open before `load`.
            record: puts the data of an entry into the ledger (`ClockRecord`); returns at once.
            on_trust: told how far the clock can be believed, at the start and on each change.
            ask_sources: asks them, on a thread; see `edgegate.timesources.ask`.
        """
        self._clock = clock
        self._boot_id = boot_id
        self._thread = thread
        self._record = record
        self._on_trust = on_trust
        self._ask_sources = ask_sources
        self._trust: ClockTrust | None = None
        self._floor: datetime | None = None
        self._asked_s = self._kept_s = float("-inf")
        self._doubted_s: float | None = None
        self._loaded = asyncio.Event()

    async def load(self) -> None:
        """Let the clock go on from what was kept before.

        Raises:
            OperatingError: the store is not to be had now.
        """
        found = await self._thread.run(partial(_trusted, self._boot_id))
        if found is not None:
            self._floor = found.at
            is_same = found.since_boot_s is not None
            kept = Kept(found.at, self._boot_id if is_same else "", found.since_boot_s or 0.0)
            self._clock.restore(kept, self._boot_id)
        self._loaded.set()

    async def run(self) -> None:
        """Look after the clock, for ever, once it is loaded."""
        await self._loaded.wait()
        while True:
            await self.look()
            await asyncio.sleep(LOOK_S)

    async def look(self) -> None:
        """Do what is due now."""
        now_s = since_boot_s()
        trust = self._clock.trust()
        is_kernel = trust is ClockTrust.TRUSTED and self._clock.source == KERNEL
        if not is_kernel and now_s - self._asked_s >= ASK_EVERY_S:
            self._asked_s = now_s
            answer = await asyncio.to_thread(self._ask_sources, self._floor)
            self._hear(answer, now_s)
        if not self._clock.is_in_doubt:
            self._doubted_s = None
        self._tell()
        if self._clock.trust() is ClockTrust.TRUSTED and now_s - self._kept_s >= KEEP_EVERY_S:
            self._kept_s = now_s
            await self._write_down()

    def _hear(self, answer: Answer, now_s: float) -> None:
        """Take the sources' word, and the kernel's alone where it stands long enough."""
        if answer.word is not None:
            self._clock.hear(answer.word)
        if answer.denial:
            log.warning("the clock is not followed: %s", answer.denial)
        if not self._clock.is_in_doubt or answer.denial:
            self._doubted_s = None
            return
        if self._doubted_s is None:
            self._doubted_s = now_s
        elif now_s - self._doubted_s >= CONFIRM_S:
            self._clock.hear(Word(KERNEL, datetime.now(UTC), since_boot_s(), GOOD_FOR_S))

    def _tell(self) -> None:
        """Record what changed since the last look."""
        trust, was = self._clock.trust(), self._trust
        steps: list[Step | None] = [*self._clock.take_steps()]
        if trust is not was:
            self._trust = trust
            self._on_trust(trust)
            steps = steps or [None]
        for step in steps:
            record = self._record_of(step, trust, was or ClockTrust.UNTRUSTED)
            log.log(
                logging.WARNING if step is not None or trust is not ClockTrust.TRUSTED else 20,
                "the clock is %s (%s), set by %g s",
                *(trust.value, record.source or "nobody vouches for it", record.step_s),
            )
            self._record(msgspec.to_builtins(record))

    def _record_of(self, step: Step | None, trust: ClockTrust, was: ClockTrust) -> ClockRecord:
        if step is None:
            return ClockRecord(trust=trust, was=was, source=self._clock.source)
        return ClockRecord(
            trust=trust,
            was=was,
            source=step.source,
            step_s=round(step.by_s, 3),
            before=step.before,
            since=step.since,
        )

    async def _write_down(self) -> None:
        kept = self._clock.kept(self._boot_id)
        if kept is None:
            return
        self._floor = kept.at
        # The next one is a minute away, and says more.
        with suppress(OperatingError):
            await self._thread.run(partial(_keep, kept), Urgency.BACKGROUND)


def _trusted(boot_id: str, store: Store) -> Trusted | None:
    return sync_state.trusted(store.ledger, boot_id)


def _keep(kept: Kept, store: Store) -> None:
    sync_state.set_trusted(store.ledger, *kept)
