"""What the cloud's commands do on this appliance (`edgegate_sync.appliance.commands`)."""

import asyncio
import os
import shutil
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Protocol

from edgegate import logs
from edgegate.bookkeeper import Bookkeeper
from edgegate.config import ConfigError, DoorConfig, load_config
from edgegate.doors.runner import DoorRunner
from edgegate.ports import DeviceFaultError, DriverStatus, Reader, Signal
from edgegate.store.books import Books
from edgegate.supervisor import StatusBoard
from edgegate_sync.appliance.commands import ActRefusedError, UnsupportedError

BLINKS = 5
BLINK_S = 0.4
LOGS_BYTES_MAX = 32_000
"""Half of a reply: as JSON it may become twice as long."""

RELOAD_AFTER_S = 1.0
"""So long the answer has to leave before the process ends."""


class Appliance(Protocol):
    """What of the application the acts work on."""

    keeper: Bookkeeper
    doors: dict[str, DoorRunner]
    devices: StatusBoard
    readers: dict[str, Reader]
    """Those that answer now, by name."""

    def stop(self) -> None:
        """End the process in order."""


class AppActs:
    """Does what commands ask for; `uplink` checks that they may."""

    def __init__(
        self,
        app: Appliance,
        doors: Iterable[DoorConfig],
        state_dir: Path,
        config: Path | None,
    ) -> None:
        self._app = app
        self._config = config
        self._state_dir = state_dir
        self.on_pull: Callable[[], object] = lambda: None
        """Has the changes asked for; returns at once."""
        self._release_s = {door.id: door.release_s for door in doors}

    async def unlock(self, door: str, for_s: float | None) -> str:
        """Release a strike once, as for a grant; not in a lockdown, which only `release` ends."""
        runner = self._runner(door)
        if await self._app.keeper.do(lambda books: books.is_locked_down(door)):
            raise ActRefusedError(f"{door} is in a lockdown: release it first")
        release_s = for_s or self._release_s[door]
        if not runner.open(release_s):
            raise DeviceFaultError(f"the strike of {door} does not answer")
        return f"{door} is unlocked for {release_s:g} s at the most"

    async def lockdown(self, doors: tuple[str, ...]) -> str:
        """Lock first, then write it down: what restricts does not wait for storage."""
        for name in doors or tuple(self._app.doors):
            self._runner(name).lockdown(True)
        await self._app.keeper.do(partial(_lock_down, doors))
        return f"lockdown: {', '.join(doors) or 'all doors, kiosk and Wi-Fi'}"

    async def release(self, doors: tuple[str, ...]) -> str:
        """End it on record first, then at the doors."""
        for name in doors:
            self._runner(name)
        left = await self._app.keeper.do(partial(_release, doors, tuple(self._app.doors)))
        for name, runner in self._app.doors.items():
            if name not in left:
                runner.lockdown(False)
        return f"lockdown ended: {', '.join(doors) or 'everywhere'}"

    async def pull(self) -> str:
        """Have the changes asked for now; they come by themselves then."""
        self.on_pull()
        return "asking the cloud for changes"

    async def identify(self) -> str:
        """Blink and beep at each reader that answers."""
        readers = dict(self._app.readers)
        if not readers:
            raise ActRefusedError("no reader answers, so nothing can blink")
        for number in range(BLINKS):
            signal = Signal.REFUSED if number % 2 else Signal.GRANTED
            for reader in readers.values():
                reader.show(signal)
            await asyncio.sleep(BLINK_S)
        return f"blinked at {', '.join(readers)}"

    async def self_test(self) -> str:
        """Ask each device, the store and the disk how they are."""
        await self._app.keeper.do(lambda books: books.head())
        known = self._app.devices.devices()
        bad = [
            f"{name}: {device.detail or device.status.value}"
            for name, device in known.items()
            if device.status is not DriverStatus.ENABLED
        ]
        usage = await asyncio.to_thread(shutil.disk_usage, self._state_dir)
        free = f"{usage.free // 2**20} MiB of disk free"
        return f"{len(known)} devices; {'; '.join(bad) or 'all answer'}; store answers; {free}"

    async def logs(self) -> str:
        """The newest lines that fit into a reply; they hold ids, and no names and no secrets."""
        lines = logs.recent()
        if not lines:
            raise UnsupportedError("no log lines are kept here: journalctl -u edgegate")
        size, first = 0, len(lines)
        while first and (size := size + len(lines[first - 1].encode()) + 1) <= LOGS_BYTES_MAX:
            first -= 1
        return "\n".join(lines[first:])

    async def reload(self) -> str:
        """Start anew with the configuration as it is now, if that has no faults."""
        if self._config is None or "NOTIFY_SOCKET" not in os.environ:
            raise UnsupportedError("nobody would start it again: it does not run under systemd")
        try:
            await asyncio.to_thread(load_config, self._config)
        except ConfigError as error:
            raise ActRefusedError(f"the configuration has faults: {error}"[:2000]) from error
        asyncio.get_running_loop().call_later(RELOAD_AFTER_S, self._app.stop)
        return "starting anew with the configuration as it is now"

    async def reboot(self) -> str:
        """Not from inside the unit's sandbox."""
        raise UnsupportedError(
            "the unit gives the daemon no right to restart the computer: do it on the machine"
        )

    async def update(self) -> str:
        """Not from inside the unit's sandbox."""
        raise UnsupportedError(
            "the unit gives the daemon no right to install software: do it on the machine"
        )

    def _runner(self, door: str) -> DoorRunner:
        runner = self._app.doors.get(door)
        if runner is None:
            raise ActRefusedError(f'there is no door "{door}" at this device')
        return runner


def _lock_down(doors: tuple[str, ...], books: Books) -> None:
    everywhere = books.lockdown or not doors
    books.note_lockdown(books.locked_doors.union(doors), everywhere=everywhere)


def _release(doors: tuple[str, ...], known: tuple[str, ...], books: Books) -> frozenset[str]:
    """Which doors stay in a lockdown; to release one of all leaves the others in theirs."""
    left = (frozenset(known) if books.lockdown else books.locked_doors) - frozenset(doors)
    left = left if doors else frozenset()
    books.note_lockdown(left, everywhere=False)
    return left
