"""An appliance's exchange that repeats, mixes up and loses what it carries."""

import asyncio
from collections import deque
from random import Random
from typing import ClassVar, cast

from edgegate_sync.appliance.client import CloudClient
from edgegate_sync.appliance.errors import CloudError, UnreachableError
from edgegate_sync.appliance.link import Incoming
from edgegate_sync.appliance.uplink import Uplink
from edgegate_sync.wire.events import LedgerAnswer


class MeddledClient(CloudClient):
    """Sends a batch twice, an old one again, or loses the answer, by chance."""

    chance = Random(0)
    share = 0.0
    kept: ClassVar[deque[bytes]] = deque(maxlen=8)

    async def post_ledger(self, batch: bytes) -> LedgerAnswer:
        what = self.chance.random()
        if what >= self.share:
            self.kept.append(batch)
            return await super().post_ledger(batch)
        if what < self.share / 4 and self.kept:
            # One that was sent long ago comes before this one.
            await self._quietly(self.chance.choice(list(self.kept)))
        self.kept.append(batch)
        if what < self.share / 2:
            both = await asyncio.gather(
                super().post_ledger(batch), super().post_ledger(batch), return_exceptions=True
            )
            for answer in both:
                if isinstance(answer, BaseException):
                    raise answer
            return cast("LedgerAnswer", both[-1])
        answer = await super().post_ledger(batch)
        if what < self.share * 3 / 4:
            raise UnreachableError("the answer was lost")
        await self._quietly(self.chance.choice(list(self.kept)))
        return answer

    async def _quietly(self, batch: bytes) -> None:
        try:
            await super().post_ledger(batch)
        except CloudError:
            # It came too late for anybody to care.
            return


class MeddledUplink(Uplink):
    """Loses what came by the broker, by chance, and does not notice: aiomqtt's queue can do so."""

    async def _on_push(self, message: Incoming) -> None:
        if MeddledClient.chance.random() >= MeddledClient.share / 2:
            await super()._on_push(message)
