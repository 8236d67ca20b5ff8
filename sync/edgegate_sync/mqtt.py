"""A connection to an MQTT broker that ends when it is told to: aiomqtt's client, made reliable."""

import asyncio
import math
from collections.abc import Awaitable
from contextlib import ExitStack, suppress
from types import TracebackType
from typing import Any, Self, TypeVar

import aiomqtt

T = TypeVar("T")

CONNECT_END_S = 2.0
"""How long the end waits for a connection that is just being made."""


class Client(aiomqtt.Client):
    """aiomqtt's client for one connection, which can be cancelled at any moment.

    Its end takes at most its `timeout`, and closes the socket whatever that was doing.
    """

    async def _wait_for(self, fut: Awaitable[T], timeout: float | None) -> T:  # noqa: ASYNC109
        """Wait for an answer of the broker, as aiomqtt does for every one.

        It does so by `asyncio.wait_for`. Python 3.11's returns a result that comes just when its
        task is cancelled, and the cancelling is lost: a loop that publishes goes on for ever, and
        whoever waits for its end waits as long.
        """
        within_s = self.timeout if timeout is None else timeout
        try:
            async with asyncio.timeout(None if within_s == math.inf else within_s):
                return await fut
        except TimeoutError:
            raise aiomqtt.MqttError("Operation timed out") from None

    async def __aenter__(self) -> Self:
        """Connect; paho does so on a thread that cannot be cancelled, and is waited for shortly."""
        entering = asyncio.ensure_future(super().__aenter__())
        with ExitStack() as undone:
            undone.callback(self.cut)
            try:
                await asyncio.shield(entering)
            except asyncio.CancelledError:
                await asyncio.wait({entering}, timeout=CONNECT_END_S)
                # Should it come about after all, it is closed then.
                entering.add_done_callback(self._abandon)
                raise
            undone.pop_all()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        """Disconnect, or cut the connection where the broker does not let go."""
        try:
            # What ended the block is what its caller shall hear of.
            with suppress(aiomqtt.MqttError):
                await super().__aexit__(exc_type, exc, tb)
        finally:
            self.cut()

    def _abandon(self, entering: asyncio.Future[Any]) -> None:
        if not entering.cancelled():
            # Its error is looked at, as nobody else will.
            entering.exception()
        self.cut()

    def cut(self) -> None:
        """Close the socket, whatever it was doing: aiomqtt leaves one open that hung."""
        self._client._sock_close()  # noqa: SLF001 - paho drops no connection in a public way
