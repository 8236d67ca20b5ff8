"""How this appliance is doing: as its daemon tells, or as far as its files do."""

import asyncio
import shutil
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing, suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Protocol

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from edgegate import __version__
from edgegate.clock import SystemClock
from edgegate.passes.model import Instant
from edgegate.store import cache, sync_state, wifi_rows
from edgegate.store.connections import connect_read_only
from edgegate.store.errors import StoreUnavailableError
from edgegate.supervisor import DeviceStatus, StatusBoard
from edgegate_sync.appliance import quarantine
from edgegate_sync.appliance.ledgerstate import ledger_state, own_quarantined
from edgegate_sync.wire.state import QUARANTINED_MAX, DeviceState, DiskState, DriverState

STATUS_BYTES_MAX = 1_048_576


class Whose(Struct, frozen=True, kw_only=True):
    """Which appliance it is, out of its configuration."""

    site: str
    device: str
    state_dir: Path
    cloud: str | None = None
    """The cloud's address; None where there is none."""
    wifi: bool = False
    """Whether it answers access points."""


class WifiCounts(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What access points were told since the start."""

    accepted: int = 0
    again: int = 0
    """Of these, how often a device proved itself again that had just come in: not recorded."""
    refused: int = 0
    leaving: int = 0
    """Devices that are to be disconnected, and are not yet."""
    unanswered: dict[str, int] = {}
    """How often a packet came to nothing, by access point and why."""


class WifiStatus(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Who is on the Wi-Fi."""

    devices: int
    customers: int
    unknown: int = 0
    """Sessions of which nobody knows whose they are."""
    counts: WifiCounts | None = None


class Status(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How an appliance is doing."""

    running: bool
    """Whether the daemon said so; else it was read from the files, and what only it knows lacks."""
    site: str
    device: str
    state: DeviceState
    cloud: str | None = None
    reached_at: Instant | None = None
    """When the cloud last answered, as far as it was written down: each minute."""
    since: dict[str, Instant] = {}
    """By the name of a driver, since when it is as it is; "cloud" and "broker" are among them."""
    clock_source: str = ""
    """Who vouches for the time, or did last."""
    clock_dispute_s: float = 0.0
    """By how much the cloud's clock is ahead of NTP, if that is much."""
    wifi: WifiStatus | None = None
    """None where it answers no access points."""


class Progress(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How far `edgegate sync now` is."""

    head: int
    backlog: int
    pulled: bool
    done: bool = False
    why: str = ""
    """What is in the way, in a sentence."""


class Exchange(Protocol):
    """What the status needs of the exchange with the cloud."""

    pulls: int
    """How many pulls were complete since the start."""

    async def collect(self) -> DeviceState | None:
        """The state as the cloud is told; None while it cannot be."""

    def sync_now(self) -> None:
        """Pull and upload now; returns at once."""


class StatusReporter:
    """Tells how a running appliance is doing."""

    def __init__(
        self,
        whose: Whose,
        clock: SystemClock,
        board: StatusBoard,
        exchange: Callable[[], Exchange | None],
        wifi: Callable[[], WifiCounts | None] = lambda: None,
    ) -> None:
        """Prepare; `exchange` and `wifi` give None where there is none, or none yet."""
        self._whose = whose
        self._clock = clock
        self._board = board
        self._exchange = exchange
        self._wifi = wifi
        self._started_s = time.monotonic()

    async def status(self) -> Status:
        """How it is doing now.

        Raises:
            OperatingError: the store cannot be read.
        """
        found = await asyncio.to_thread(from_files, self._whose, self._clock.now())
        devices = self._board.devices()
        exchange = self._exchange()
        told = None if exchange is None else await exchange.collect()
        state = told or replace(
            found.state,
            uptime_s=int(time.monotonic() - self._started_s),
            clock=self._clock.trust().value,
            drivers=tuple(_driver(name, device) for name, device in devices.items()),
        )
        now, now_s = self._clock.now(), time.monotonic()
        return replace(
            found,
            running=True,
            state=state,
            since={name: now - timedelta(seconds=now_s - d.since_s) for name, d in devices.items()},
            clock_source=self._clock.source,
            clock_dispute_s=self._clock.dispute_s,
            wifi=None if found.wifi is None else replace(found.wifi, counts=self._wifi()),
        )

    async def progress(self, pulls: int) -> Progress:
        """How far a synchronisation is that began when there were so many pulls.

        Raises:
            OperatingError: the store cannot be read.
        """
        status = await self.status()
        state = status.state
        exchange = self._exchange()
        is_pulled = exchange is not None and exchange.pulls > pulls
        why = {driver.name: driver.detail for driver in state.drivers if driver.detail}
        return Progress(
            head=state.head,
            backlog=state.ledger.backlog,
            pulled=is_pulled,
            done=is_pulled and state.ledger.backlog == 0,
            why=next((why[name] for name in ("cloud", "certificate", "ledger") if name in why), ""),
        )

    def begin_sync(self) -> int | None:
        """Pull and upload now; how many pulls there were. None: there is no cloud."""
        exchange = self._exchange()
        if exchange is None:
            return None
        pulls = exchange.pulls
        exchange.sync_now()
        return pulls


def from_files(whose: Whose, now: datetime, expires_at: datetime | None = None) -> Status:
    """How an appliance is doing as far as its files tell; for any thread.

    Raises:
        StoreUnavailableError: they are not there, or cannot be read.
    """
    state_dir = whose.state_dir
    source = f"edgegate/{whose.site}/{whose.device}"
    try:
        with closing(connect_read_only(state_dir / "ledger.db")) as connection:
            standing = ledger_state(connection)
            own = own_quarantined(connection, source)
            reached_at = sync_state.reached_at(connection)
            devices, customers, nobodys = wifi_rows.counts(connection) if whose.wifi else (0, 0, 0)
        with closing(connect_read_only(state_dir / "cache.db")) as connection:
            head = cache.head(connection)
            counts = quarantine.counts(connection)
            named = tuple(quarantine.newest(connection, QUARANTINED_MAX))
    except sqlite3.Error as error:
        raise StoreUnavailableError(
            f"the databases in {state_dir} cannot be read: {error}"
        ) from error
    state = DeviceState(
        at=now,
        version=__version__,
        boot="",
        uptime_s=0,
        head=head,
        ledger=standing,
        clock="",
        disk=_disk(state_dir),
        certificate_expires_at=expires_at,
        quarantined_count=counts.quarantined + len(own),
        quarantined=(*named, *own)[-QUARANTINED_MAX:],
        unknown=counts.unknown,
    )
    return Status(
        running=False,
        site=whose.site,
        device=whose.device,
        state=state,
        cloud=whose.cloud,
        reached_at=reached_at,
        wifi=WifiStatus(devices=devices, customers=customers, unknown=nobodys)
        if whose.wifi
        else None,
    )


def decode_status(text: bytes) -> Status:
    """What the daemon said.

    Raises:
        ValueError: if it is no status.
    """
    return msgspec.json.decode(text, type=Status)


def _driver(name: str, device: DeviceStatus) -> DriverState:
    return DriverState(name=name[:200], status=device.status.value, detail=device.detail[:500])


def _disk(directory: Path) -> DiskState | None:
    with suppress(OSError):
        usage = shutil.disk_usage(directory)
        return DiskState(total_bytes=usage.total, free_bytes=usage.free)
    return None
