"""Tells how the device is doing: on change, and each minute."""

import asyncio
import logging
import shutil
import sqlite3
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from msgspec import Struct

from edgegate import __version__
from edgegate.ports import Clock, OperatingError
from edgegate.supervisor import DeviceStatus
from edgegate_sync.appliance.ledgerstate import ledger_state, own_quarantined
from edgegate_sync.appliance.link import Message
from edgegate_sync.appliance.upload import read_beside
from edgegate_sync.wire.errors import encode
from edgegate_sync.wire.state import (
    QUARANTINED_MAX,
    STATE_EVERY_S,
    DeviceState,
    DiskState,
    DriverState,
    LastWill,
    LedgerState,
    Quarantined,
)
from edgegate_sync.wire.topics import Topics

log = logging.getLogger(__name__)

SETTLE_S = 1.0
"""How long a change waits for those that come with it; also the least time between two states."""

DRIVERS_MAX = 512
TEMPERATURE = Path("/sys/class/thermal/thermal_zone0/temp")
"""Thousandths of a degree (kernel, Documentation/driver-api/thermal/sysfs-api)."""


class FeedStanding(Struct, frozen=True, kw_only=True):
    """Where the copy of the cloud's records stands."""

    head: int = 0
    is_snapshot: bool = False
    quarantined_count: int = 0
    quarantined: tuple[Quarantined, ...] = ()
    unknown: dict[str, int] = {}


class Sources(NamedTuple):
    """Where a state comes from; each is asked anew for each state."""

    drivers: Callable[[], dict[str, DeviceStatus]]
    feed: Callable[[], Awaitable[FeedStanding]]
    certificate_expires_at: Callable[[], datetime | None]


class Outlets(NamedTuple):
    """Where a state goes: to the broker, and where there is none to the cloud."""

    is_up: Callable[[], bool]
    publish: Callable[[Message], Awaitable[None]]
    put: Callable[[bytes], Awaitable[None]]


class StateReporter:
    """Collects and sends one device's state."""

    def __init__(  # noqa: PLR0913 - its parts, each by name
        self,
        site: str,
        device: str,
        *,
        boot: str,
        clock: Clock,
        state_dir: Path,
        sources: Sources,
        outlets: Outlets,
        every_s: float = STATE_EVERY_S,
    ) -> None:
        """Prepare; `boot` is the nonce of this start of the process."""
        self._topic = Topics(site).state(device)
        self._source = f"edgegate/{site}/{device}"
        self._boot = boot
        self._clock = clock
        self._state_dir = state_dir
        self._sources = sources
        self._outlets = outlets
        self._every_s = every_s
        self._started_s = time.monotonic()
        self._changed = asyncio.Event()

    @property
    def will(self) -> Message:
        """What the broker says when it loses the device."""
        return Message(self._topic, encode(LastWill()), retain=True)

    def changed(self) -> None:
        """Something that a state tells has changed; returns at once."""
        self._changed.set()

    async def run(self) -> None:
        """Send the state on change, and each minute, for ever."""
        while True:
            try:
                await self._send()
            except OperatingError as error:
                # The next one is not far, and says more.
                log.info("the state could not be told: %s", error)
            await asyncio.sleep(SETTLE_S)
            with suppress(TimeoutError):
                async with asyncio.timeout(self._every_s):
                    await self._changed.wait()
                    await asyncio.sleep(SETTLE_S)

    async def _send(self) -> None:
        self._changed.clear()
        text = encode(await self.collect())
        if self._outlets.is_up():
            await self._outlets.publish(Message(self._topic, text, retain=True))
        else:
            await self._outlets.put(text)

    async def collect(self) -> DeviceState:
        """The state as it is now.

        Raises:
            OperatingError: the ledger cannot be read.
        """
        standing, own = await read_beside(self._state_dir / "ledger.db", self._ledger)
        feed = await self._sources.feed()
        disk, temperature_c = await asyncio.to_thread(self._measure)
        # Own entries that the cloud would not take are named beside records that were not usable.
        named = (*feed.quarantined, *own)[-QUARANTINED_MAX:]
        return DeviceState(
            at=self._clock.now(),
            version=__version__,
            boot=self._boot,
            uptime_s=int(time.monotonic() - self._started_s),
            head=feed.head,
            ledger=standing,
            clock=self._clock.trust().value,
            snapshot=feed.is_snapshot,
            drivers=self._drivers(),
            disk=disk,
            temperature_c=temperature_c,
            certificate_expires_at=self._sources.certificate_expires_at(),
            quarantined_count=feed.quarantined_count + len(own),
            quarantined=named,
            unknown=feed.unknown,
        )

    def _ledger(
        self, connection: sqlite3.Connection
    ) -> tuple[LedgerState, tuple[Quarantined, ...]]:
        return ledger_state(connection), own_quarantined(connection, self._source)

    def _drivers(self) -> tuple[DriverState, ...]:
        found = list(self._sources.drivers().items())[:DRIVERS_MAX]
        return tuple(
            DriverState(name=name[:200], status=device.status.value, detail=device.detail[:500])
            for name, device in found
        )

    def _measure(self) -> tuple[DiskState | None, float | None]:
        disk = temperature_c = None
        with suppress(OSError):
            usage = shutil.disk_usage(self._state_dir)
            disk = DiskState(total_bytes=usage.total, free_bytes=usage.free)
        with suppress(OSError, ValueError):
            temperature_c = int(TEMPERATURE.read_text(encoding="ascii")) / 1000
        return disk, temperature_c
