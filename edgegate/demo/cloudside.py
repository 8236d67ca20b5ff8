"""The cloud's side of the stage: it comes up beside the appliance, and staff work in it."""

import asyncio
import importlib
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING

from edgegate.demo.servers import Servers, ServersError
from edgegate.demo.site import IDA, IDA_MINUTES, come_in, lots, records
from edgegate.demo.wiring import DEVICE
from edgegate.ports import DriverStatus

if TYPE_CHECKING:
    from edgegate.demo.desk import Desk
    from edgegate.demo.stage import Stage

POLL_S = 0.005


class Way(StrEnum):
    """How the appliance hears of the cloud's changes."""

    PUSH = "by MQTT"
    POLL = "by long poll"
    AWAY = "away"


class CloudSide:
    """What of the cloud the demo's screen and tour need."""

    def __init__(self, stage: "Stage", servers: Servers) -> None:
        """Prepare; the servers are starting."""
        self._stage = stage
        self._servers = servers
        self.desk: Desk | None = None
        self.doing = "starting"
        """What is under way; empty when nothing is."""

    @property
    def has_broker(self) -> bool:
        """Whether there is a broker to hear changes from."""
        return self._servers.broker_port is not None

    @property
    def is_up(self) -> bool:
        """Whether the cloud runs."""
        return self._servers.is_up

    def way(self) -> Way:
        """How the appliance is connected, as it says itself."""
        known = self._stage.app.devices.devices()
        up = {name for name, device in known.items() if device.status is DriverStatus.ENABLED}
        if "cloud" not in up or not self._servers.is_up:
            return Way.AWAY
        return Way.PUSH if "broker" in up else Way.POLL

    async def join(self) -> int:
        """Let the appliance become a device of the cloud; how many records it then has.

        Raises:
            ServersError: if the cloud does not come up, or will not have it.
        """
        try:
            return await self._join()
        except ServersError:
            self.doing = "did not come up"
            self._stage.changed.set()
            raise

    async def _join(self) -> int:
        # Large libraries, which no door is to wait for, and neither the cloud's start.
        desks, enrolment = await asyncio.gather(
            asyncio.to_thread(importlib.import_module, "edgegate.demo.desk"),
            asyncio.to_thread(importlib.import_module, "edgegate_sync.appliance.enrol"),
        )
        prepared = await self._servers.prepared()
        await self._servers.serving()
        site, now = self._stage.site, datetime.now(UTC)
        key = await asyncio.to_thread(site.key.read_bytes)
        space = await asyncio.to_thread(lambda: list(records(site, key, now)))
        passes = await asyncio.to_thread(lambda: list(lots(site, now)))
        self.desk = await desks.Desk(self._servers.url, prepared).__aenter__()
        head = await self.desk.furnish(space, passes)
        try:
            await enrolment.enrol(self._servers.url, prepared.claim, site.state, DEVICE)
        except enrolment.EnrolError as error:
            raise ServersError(str(error)) from error
        await self._stage.app.ready.wait()
        await self.known(head)
        came_at = datetime.now(UTC) + timedelta(seconds=site.ida_runs_out_s, minutes=-IDA_MINUTES)
        await self._stage.app.keeper.do(partial(come_in, key, IDA, came_at))
        self.doing = ""
        self._stage.changed.set()
        return len(space)

    async def known(self, head: int) -> None:
        """Return when the appliance's copy has a change."""
        while await self._stage.head() < head:  # noqa: ASYNC110 - a file has no event
            await asyncio.sleep(POLL_S)

    async def stop(self) -> None:
        """Stop the cloud; the broker goes on."""
        self.doing = "stopping"
        await self._servers.stop_cloud()
        self.doing = ""
        self._stage.changed.set()

    async def begin_start(self) -> None:
        """Start the cloud again; `started` waits for it."""
        self.doing = "starting"
        await asyncio.to_thread(self._servers.start_cloud)
        self._stage.changed.set()

    async def started(self) -> None:
        """Return when it answers.

        Raises:
            ServersError: if it ended instead.
        """
        await self._servers.serving()
        self.doing = ""
        self._stage.changed.set()

    async def close(self) -> None:
        """Leave; the servers end with their own context."""
        if self.desk is not None:
            await self.desk.__aexit__(None, None, None)
