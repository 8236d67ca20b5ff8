"""A receiver of webhooks that verifies them, and can be told to misbehave."""

import asyncio
import base64
import hashlib
import hmac
import json
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer


class Receiver:
    """What it was told, in order; `statuses` are what it answers next, then 200."""

    def __init__(self) -> None:
        self.secret = ""
        self.events: list[dict[str, Any]] = []
        self.ids: list[str] = []
        self.verified: list[bool] = []
        self.statuses: deque[int] = deque()
        self.goes_on = asyncio.Event()
        self.goes_on.set()
        self.url = ""
        self.followed = 0
        """How often a redirect was followed, which no webhook should be."""
        self._came = asyncio.Event()

    @asynccontextmanager
    async def serving(self) -> AsyncIterator["Receiver"]:
        """Listen on a free port of this machine."""
        app = web.Application()
        app.router.add_post("/hook", self._post)
        app.router.add_get("/elsewhere", self._follow)
        async with TestServer(app, host="127.0.0.1") as server:
            self.url = str(server.make_url("/hook"))
            yield self

    async def wait(self, count: int) -> None:
        """Wait until it was told so often, refused attempts included."""
        async with asyncio.timeout(30):
            while len(self.ids) < count:
                self._came.clear()
                await self._came.wait()

    async def _follow(self, _request: web.Request) -> web.Response:
        self.followed += 1
        return web.Response()

    async def _post(self, request: web.Request) -> web.Response:
        body = await request.read()
        self.ids.append(request.headers["webhook-id"])
        self.verified.append(verified(self.secret, dict(request.headers), body))
        self._came.set()
        await self.goes_on.wait()
        status = self.statuses.popleft() if self.statuses else 200
        if status == 200:
            self.events.append(json.loads(body))
        headers = {"Location": "/elsewhere"} if status == 302 else {}
        return web.Response(status=status, headers=headers)


def verified(secret: str, headers: dict[str, str], body: bytes) -> bool:
    """What a receiver does by the specification, without any code of the sender's."""
    found = {name.lower(): value for name, value in headers.items()}
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = f"{found['webhook-id']}.{found['webhook-timestamp']}.".encode() + body
    expected = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    return f"v1,{expected}" in found["webhook-signature"].split()
