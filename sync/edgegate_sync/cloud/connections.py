"""The live connections of devices, so that those of a revoked certificate can be cut."""

import asyncio
from collections import defaultdict

from edgegate_sync.cloud import devices
from edgegate_sync.cloud.database import Database

LOOK_EVERY_S = 10
"""How long a revoked device may stay connected; the protocol allows a minute."""

BATCH_MAX = 500


class Connections:
    """Which transports stand on which certificate."""

    def __init__(self) -> None:
        self._transports: dict[str, set[asyncio.BaseTransport]] = defaultdict(set)

    def add(self, serial: str, transport: asyncio.BaseTransport) -> None:
        """A device used a connection."""
        self._transports[serial].add(transport)

    def cut(self, serial: str) -> int:
        """Cut all connections of a certificate, at once; how many there were."""
        cut = [t for t in self._transports.pop(serial, ()) if not t.is_closing()]
        for transport in cut:
            # Not close(): that would let a long answer run to its end first.
            if isinstance(transport, asyncio.WriteTransport):
                transport.abort()
            else:
                transport.close()
        return len(cut)

    async def look(self, database: Database) -> int:
        """Cut the connections of certificates that were revoked meanwhile; how many."""
        for serial, transports in list(self._transports.items()):
            open_ = {transport for transport in transports if not transport.is_closing()}
            if open_:
                self._transports[serial] = open_
            else:
                del self._transports[serial]
        serials = list(self._transports)
        cut = 0
        for start in range(0, len(serials), BATCH_MAX):
            async with database.reading() as connection:
                revoked = await devices.revoked_among(
                    connection, serials[start : start + BATCH_MAX]
                )
            cut += sum(self.cut(serial) for serial in revoked)
        return cut
