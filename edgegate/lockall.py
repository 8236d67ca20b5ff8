"""Drives every strike to locked, for when the appliance has stopped however it stopped."""

import asyncio
from contextlib import AsyncExitStack

from edgegate.config import Config, DoorConfig
from edgegate.ports import LibraryMissingError, OperatingError

DEVICE_S_MAX = 3.0
"""How long one device may take: a door must not wait for another one's hardware."""


async def lock_all(config: Config) -> list[str]:
    """Lock every strike and leave it locked; what could not be done is returned in sentences.

    A fail-safe strike whose door the fire input releases is left alone while fire is active, or
    while nobody can say whether it is: without power it is open, and so it shall stay.
    """
    released = await _released_by_fire(config)
    faults = await asyncio.gather(
        *(_lock(door) for door in config.doors if door.id not in released)
    )
    return [fault for fault in faults if fault is not None]


async def _lock(door: DoorConfig) -> str | None:
    try:
        async with asyncio.timeout(DEVICE_S_MAX), AsyncExitStack() as stack:
            strike = await stack.enter_async_context(door.strike.open())
            strike.lock()
    except (OperatingError, LibraryMissingError, TimeoutError) as error:
        return f"door {door.id} could not be locked: {error or 'its strike did not answer'}"
    return None


async def _released_by_fire(config: Config) -> frozenset[str]:
    fire = config.fire
    if fire is None:
        return frozenset()
    safe = {d.id for d in config.doors if getattr(d.strike.settings, "fail", "secure") == "safe"}
    released = safe if fire.releases == "all" else safe & set(fire.releases)
    if not released:
        return frozenset()
    try:
        async with asyncio.timeout(DEVICE_S_MAX), AsyncExitStack() as stack:
            sensor = await stack.enter_async_context(fire.sensor.open())
            active = sensor.active
    except (OperatingError, LibraryMissingError, TimeoutError):
        active = True
    return frozenset(released) if active else frozenset()
