"""A RADIUS port: who asks, whether it is genuine, whether it was asked before; then one handler."""

from collections.abc import Awaitable, Callable

from edgegate.wifi.nas import Nas
from edgegate.wifi.packet import Packet, Reply

Handler = Callable[[Packet, Nas], Awaitable[Reply | None]]
"""Answers one genuine request that was not seen before; None: with silence."""
