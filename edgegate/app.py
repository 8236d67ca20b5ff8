"""The composition root: the only place that knows the concrete parts and wires them together."""

import asyncio
import gc
import importlib
import logging
import os
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import sdnotify

from edgegate import logs
from edgegate.bookkeeper import Afterwards, Bookkeeper, keep_time
from edgegate.boundary import Contained
from edgegate.clock import SystemClock, boot_id, since_boot_s
from edgegate.config import Config, DoorConfig, ReaderConfig
from edgegate.control import Control
from edgegate.doors.events import Cause, DoorEvent
from edgegate.doors.runner import DoorRunner, follow
from edgegate.doors.state import DoorSettings
from edgegate.line import Line, Passage, Place
from edgegate.ports import (
    ClockTrust,
    DeviceFaultError,
    DriverStatus,
    OperatingError,
    Reader,
    Scan,
    Sensor,
    Signal,
)
from edgegate.status import StatusReporter, Whose
from edgegate.store.books import Books
from edgegate.store.files import Store
from edgegate.store.ledger import Draft, EntryType, Stamp
from edgegate.store.thread import DatabaseThread, Limits
from edgegate.store.wifi import rebuild
from edgegate.supervisor import DeviceStatus, StatusBoard, keep
from edgegate.timewatch import ClockWatch
from edgegate.wificonfig import WifiSection

log = logging.getLogger("edgegate")

TICK_S = 1.0
"""How often deadlines are looked at, at the least, and the watchdog is fed."""

DRAIN_S = 2.0
"""How long the end of the process waits for exits that are still to be recorded."""

STORE_RETRY_S = 2.0
"""How soon a store that could not be opened is tried again."""


class App:
    """One appliance, from its configuration to its doors."""

    def __init__(
        self,
        config: Config,
        on_passage: Callable[[Passage], None] = lambda _: None,
        config_path: Path | None = None,
    ) -> None:
        self.config = config
        self.config_path = config_path
        self._watch_passage = on_passage
        self._count_passage: Callable[[Passage], object] = lambda _: None
        self.clock = SystemClock()
        self._boot_id = boot_id()
        self._source = f"edgegate/{config.site.id}/{config.device.id}"
        self._notify = _notifier()
        self._fault: BaseException | None = None
        self._stop = asyncio.Event()
        self.ready = asyncio.Event()
        """Set when doors and store are there: from now on taps are answered."""
        limits = Limits(jobs_max=config.store.jobs_max, group_max=config.store.group_max)
        self.thread: DatabaseThread[Store] = DatabaseThread(self._on_fault, limits)
        self.keeper = Bookkeeper(self.thread, self.stamp, lambda: self.clock.correction)
        self.afterwards = Afterwards(self.keeper, config.store.pending_exits_max)
        self.devices = StatusBoard(self._on_device)
        self.doors = {door.id: self._runner(door) for door in config.doors}
        self.readers: dict[str, Reader] = {}
        self._uplink: Any = None
        self.wifi: Any = None
        """What answers access points, while it does."""
        self.count_verdict: Callable[[Any], object] = lambda _: None
        """Counts what an access point was told."""
        self._watch = ClockWatch(
            self.clock,
            self._boot_id,
            self.thread,
            record=partial(self._note, EntryType.DEVICE_CLOCK, f"device/{config.device.id}"),
            on_trust=self._on_trust,
        )
        self._line = Line(
            self.keeper,
            self.afterwards,
            self.doors,
            self.clock,
            config.site.key.reveal(),
            self._on_passage,
        )
        self.quiet = self._line.quiet
        """Set while nobody waits at a door: what has time is done then."""

    async def run(self) -> None:
        """Work until told to stop; then leave every strike locked and end.

        Raises:
            BaseException: a fault of the database thread or of a door's runner. The process should
                end: systemd starts it again.
        """
        async with self._signals():
            group = asyncio.create_task(self._work(), name="work")
            stop = asyncio.create_task(self._stop.wait(), name="stop")
            await asyncio.wait((group, stop), return_when=asyncio.FIRST_COMPLETED)
            self._notify("STOPPING=1")
            group.cancel()
            stop.cancel()
            await asyncio.gather(group, stop, return_exceptions=True)
            for door in self.doors.values():
                door.stop()
            await self.afterwards.drain(DRAIN_S)
            await self.thread.close()
        if self._fault is not None:
            raise self._fault
        if not group.cancelled() and (error := group.exception()) is not None:
            raise error

    def stop(self) -> None:
        """End as SIGTERM does."""
        self._stop.set()

    async def _work(self) -> None:
        async with asyncio.TaskGroup() as group:
            start = group.create_task
            for door in self.config.doors:
                self._start_door(group, door)
            if self.config.fire is not None:
                start(self._keep("fire sensor", self.config.fire.sensor, self._follow_fire))
            start(self._open_store(), name="store")
            start(self._watch.run(), name="clock")
            start(self._control(), name="control")
            start(self.afterwards.run(), name="afterwards")
            start(keep_time(self.keeper, self.clock.now, self._feed, TICK_S), name="time")
            if self.config.cloud is not None:
                start(self._exchange(), name="uplink")
            if self.config.wifi is not None:
                start(self._serve_wifi(self.config.wifi), name="wifi")
            for reader in self.config.readers:
                start(
                    self._keep(f"reader {reader.name}", reader.device, partial(self._read, reader)),
                    name=f"reader {reader.name}",
                )

    def _start_door(self, group: asyncio.TaskGroup, door: DoorConfig) -> None:
        runner = self.doors[door.id]
        name = f"door {door.id}"
        group.create_task(runner.run(), name=name)
        devices: tuple[tuple[str, Any, Any], ...] = (
            ("strike", door.strike, runner.use_strike),
            ("contact", door.contact, runner.use_contact),
            ("exit_button", door.exit_button, runner.use_exit_button),
        )
        for part, device, use in devices:
            if device is not None:
                group.create_task(self._keep(f"{name} {part}", device, use), name=f"{name} {part}")

    async def _keep(self, name: str, device: Any, use: Any) -> None:
        await keep(name, device.open, use, self.devices)

    async def _read(self, config: ReaderConfig, reader: Reader) -> None:
        door = next(d for d in self.config.doors if d.id == config.door)
        place = Place(
            reader=config.name,
            door=config.door,
            direction=config.direction,
            release_s=door.release_s,
        )
        self.readers[config.name] = reader
        try:
            async for scan in scans_of(reader):
                await self._line.scan(place, scan, partial(show_at, reader))
        finally:
            del self.readers[config.name]

    async def _follow_fire(self, sensor: Sensor) -> None:
        fire = self.config.fire
        released = self.doors if fire is None or fire.releases == "all" else fire.releases

        def on_level(active: bool, _at_s: float | None) -> None:
            for door_id in released:
                self.doors[door_id].fire(active)

        await follow(sensor, on_level)

    async def _open_store(self) -> None:
        """Open the store, again and again until it is there: doors and exits do not wait for it."""
        # Doors, exits and fire are there: reading the ledger may take longer than systemd waits.
        self._tell_ready()
        open_store = partial(Store.open, Path(self.config.device.state_dir), rebuild=rebuild)
        while True:
            try:
                await self.keeper.open(open_store)
                break
            except OperatingError as error:
                self.devices.note("store", DriverStatus.OFFLINE, str(error))
                log.error("the store could not be opened: %s", error)  # noqa: TRY400 - no trace
                await asyncio.sleep(STORE_RETRY_S)
        # What cannot be read of it now leaves the clock as it began.
        with suppress(OperatingError):
            await self._watch.load()
        self._on_trust(self.clock.trust())
        for door_id in self.keeper.locked_down(self.doors):
            self.doors[door_id].lockdown(True)
        self.devices.note("store", DriverStatus.ENABLED)
        self._note(EntryType.DEVICE_BOOTED, f"device/{self.config.device.id}", {})
        # What lives now lives for good; the collector need not look at it at every tap.
        gc.collect()
        gc.freeze()
        self.ready.set()
        section = self.config.device
        logs.event(log, "ready", device=section.id, state=section.state_dir)
        await self._check_cache()

    async def _control(self) -> None:
        """Answer `edgegate status` and `edgegate sync now`."""
        await self.ready.wait()
        section, cloud = self.config.device, self.config.cloud
        whose = Whose(
            site=self.config.site.id,
            device=section.id,
            state_dir=Path(section.state_dir),
            cloud=None if cloud is None else cloud.url,
            wifi=self.config.wifi is not None,
        )
        reporter = StatusReporter(
            whose,
            self.clock,
            self.devices,
            lambda: self._uplink,
            lambda: None if self.wifi is None else self.wifi.counts(),
        )
        async with asyncio.TaskGroup() as group:
            group.create_task(Control(whose.state_dir, reporter).run(), name="control socket")
            if self.config.metrics is not None:
                measure = self._measure(Path(self.config.metrics.file), reporter)
                group.create_task(measure, name="metrics")

    async def _measure(self, file: Path, reporter: StatusReporter) -> None:
        """Count passages from now on, and keep the file that Prometheus is told by."""
        module = await asyncio.to_thread(importlib.import_module, "edgegate.metrics")
        metrics = module.Metrics()
        self._count_passage = metrics.note
        self.count_verdict = metrics.note_verdict
        await module.keep_file(metrics, file, reporter.status, lambda: self.afterwards.dropped)

    async def _exchange(self) -> None:
        """Exchange with the cloud and with peers, beside all else."""
        await self.ready.wait()
        # Its libraries are large: they are loaded where there is a cloud, and not on the loop.
        module = await asyncio.to_thread(importlib.import_module, "edgegate.exchange")
        self._uplink = await module.uplink_of(self)
        self.keeper.on_entries = self._uplink.note_entries
        await self._uplink.run()

    async def _serve_wifi(self, section: WifiSection) -> None:
        """Answer access points, beside all else."""
        await self.ready.wait()
        try:
            # Nothing of it is loaded where there is no access point.
            module = await asyncio.to_thread(importlib.import_module, "edgegate.radius")
        except ModuleNotFoundError as error:
            why = f"{error.name} is missing: pip install edgegate[wifi]"
            self.devices.note("wifi", DriverStatus.LOAD_ERROR, why)
            return
        open_wifi = partial(module.open_wifi, self, section)
        await keep("wifi", open_wifi, module.Wifi.run, self.devices)

    async def _check_cache(self) -> None:
        """Read the whole cache beside the work: it is too large to do so before the first tap."""
        try:
            await self.keeper.check_cache()
        except OperatingError as error:
            log.error("the cache could not be checked: %s", error)  # noqa: TRY400 - no trace

    def _runner(self, door: DoorConfig) -> DoorRunner:
        settings = DoorSettings(
            exit_s=door.exit_s,
            held_open_s=door.held_open_s,
            forced_alarm=door.forced_alarm,
            relock_on_close=door.relock_on_close,
            fail_safe=getattr(door.strike.settings, "fail", "secure") == "safe",
        )
        emit = partial(self._on_door_event, door.id)
        return DoorRunner(settings, None, None, None, emit, name=f"door {door.id}")

    def stamp(self) -> Stamp:
        """Who writes an entry now, and by what clock."""
        return Stamp(
            source=self._source,
            clock=self.clock.trust(),
            boot_id=self._boot_id,
            monotonic_s=since_boot_s(),
        )

    def _on_door_event(self, door_id: str, event: DoorEvent) -> None:
        if event.cause is not Cause.GRANT:
            # What a tap opened stands in the line of its passage.
            logs.event(log, "door", door=door_id, what=event.kind.value, **event.data())
        late = timedelta(seconds=time.monotonic() - event.at_s)
        draft = Draft(
            type=EntryType(event.ledger_type),
            at=self.clock.now() - late,
            subject=f"door/{door_id}",
            data=event.data(),
        )
        self.afterwards.note(partial(_append, draft))

    def _on_device(self, name: str, device: DeviceStatus) -> None:
        logs.event(
            log, "device", device=name, status=device.status.value, why=device.detail or None
        )
        data = {"name": name, "status": device.status.value, "why": device.detail}
        self._note(EntryType.DEVICE_DRIVER, f"device/{self.config.device.id}", data)
        if self._uplink is not None:
            self._uplink.note_change()

    def _note(self, entry_type: EntryType, subject: str, data: dict[str, Any]) -> None:
        draft = Draft(type=entry_type, at=self.clock.now(), subject=subject, data=data)
        self.afterwards.note(partial(_append, draft))

    def _on_passage(self, passage: Passage) -> None:
        outcome = passage.outcome
        decision = outcome.decision if outcome is not None else None
        customer = outcome.customer if outcome is not None else None
        logs.event(
            log,
            "passage",
            door=passage.place.door,
            reader=passage.place.reader,
            direction=passage.place.direction.value,
            reason=decision.reason.value if decision is not None else None,
            customer=customer.id if customer is not None else None,
            opened=passage.opened,
            us=passage.actuated_us,
        )
        self._count_passage(passage)
        self._watch_passage(passage)

    def _on_trust(self, trust: ClockTrust) -> None:
        if self.config.device.clock == "checked":
            self.keeper.note_clock(trusted=trust is not ClockTrust.UNTRUSTED)

    def _on_fault(self, fault: BaseException) -> None:
        self._fault = fault
        self._stop.set()

    def _feed(self) -> None:
        self._notify("WATCHDOG=1")

    def _tell_ready(self) -> None:
        self._notify("READY=1")

    @asynccontextmanager
    async def _signals(self) -> AsyncIterator[None]:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        try:
            yield
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)


async def scans_of(reader: Reader) -> AsyncIterator[Scan]:
    """A reader's scans; whatever its driver raises is a fault of that reader and nobody else's.

    Raises:
        OperatingError: the reader is gone, or its driver failed.
    """
    scans = reader.scans()
    while True:
        try:
            scan = await anext(scans)
        except StopAsyncIteration:
            return
        except OperatingError:
            raise
        except Exception as error:  # the boundary of one driver: its faults restart no other door
            log.exception("a reader's driver failed")
            raise DeviceFaultError(f"its driver failed: {error!r}") from error
        yield scan


def show_at(reader: Reader, signal_: Signal) -> None:
    """Light or sound an answer; a reader that cannot is no reason to keep the door shut."""
    with Contained(log, "a reader could not show its answer"):
        reader.show(signal_)


def _notifier() -> Callable[[str], None]:
    """How systemd is told; outside of it there is nobody to tell."""
    if "NOTIFY_SOCKET" not in os.environ:
        return lambda _message: None
    notify: Callable[[str], None] = sdnotify.SystemdNotifier().notify
    return notify


def _append(draft: Draft, books: Books) -> None:
    books.append(draft)
