"""Puts together what exchanges with the cloud; imported only where there is one."""

import asyncio
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from edgegate.acts import AppActs
from edgegate.ports import DriverStatus
from edgegate_sync.appliance.client import CloudClient
from edgegate_sync.appliance.clocktrust import hear_cloud
from edgegate_sync.appliance.identity import Identity, NotEnrolledError
from edgegate_sync.appliance.renew import Renewal
from edgegate_sync.appliance.uplink import Loops, Parts, Uplink

if TYPE_CHECKING:
    from edgegate.app import App

LOOK_S = 0.5
"""How soon it is noticed that a device was enrolled."""


async def uplink_of(app: "App") -> Uplink:
    """The uplink of an appliance whose store is open; waits until the device is enrolled."""
    config = app.config
    if config.cloud is None:
        raise ValueError("no cloud is configured")
    state_dir = Path(config.device.state_dir)
    acts = AppActs(app, config.doors, state_dir, app.config_path)
    identity = await _identity(app, state_dir)

    def more(client: CloudClient) -> Loops:
        renewal = Renewal(
            identity, client, app.clock, note=app.devices.note, on_renewed=uplink.note_renewed
        )
        return {
            "uplink certificate": renewal.run,
            "uplink clock": partial(hear_cloud, client, app.clock),
        }

    uplink = Uplink(
        Parts(
            site=config.site.id,
            device=config.device.id,
            state_dir=state_dir,
            settings=config.cloud,
            identity=identity,
            keeper=app.keeper,
            thread=app.thread,
            clock=app.clock,
            stamp=app.stamp,
            board=app.devices,
            acts=acts,
            note_reached=app.keeper.note_reached,
            more=more,
        )
    )
    acts.on_pull = uplink.pull_now
    return uplink


async def _identity(app: "App", state_dir: Path) -> Identity:
    """Who this device is; as long as it is not enrolled, it is looked again."""
    configured = (app.config.site.id, app.config.device.id)
    while True:
        try:
            identity = await asyncio.to_thread(Identity.load, state_dir)
        except NotEnrolledError as error:
            why = str(error)
        else:
            if (identity.site, identity.device) == configured:
                return identity
            why = (
                f"enrolled as {identity.site}/{identity.device}, configured as"
                f" {'/'.join(configured)}: change the configuration, or enrol anew"
            )
        app.devices.note("cloud", DriverStatus.OFFLINE, why)
        await asyncio.sleep(LOOK_S)
