"""An access point that takes Disconnect- and CoA-Requests, with pyrad, which nobody here wrote."""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from pyrad.packet import CoAPacket

from rig.radius import SECRET


@dataclass
class Word:
    """What it says to one request."""

    code: int | None
    """None: nothing."""
    cause: int | None = None
    secret: bytes = SECRET
    identifier_off: int = 0
    twice: bool = False
    before: bytes = b""
    """Octets that it says first."""


@dataclass
class AccessPoint(asyncio.DatagramProtocol):
    """Answers each request by the next word, the last one for ever; what it heard stays."""

    words: list[Word]
    heard: list[CoAPacket] = field(default_factory=list)
    genuine: list[bool] = field(default_factory=list)
    datagrams: list[bytes] = field(default_factory=list)
    transport: Any = None
    port: int = 0

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.port = transport.get_extra_info("sockname")[1]

    def datagram_received(self, data: bytes, address: Any) -> None:
        packet = CoAPacket(packet=data, secret=SECRET)
        self.datagrams.append(data)
        self.heard.append(packet)
        self.genuine.append(
            packet.VerifyCoARequest() and bool(packet.verify_message_authenticator())
        )
        word = self.words[min(len(self.heard), len(self.words)) - 1]
        if word.before:
            self.transport.sendto(word.before, address)
        if word.code is None:
            return
        reply = packet.CreateReply()
        reply.secret = word.secret
        reply.code = word.code
        reply.id = (packet.id + word.identifier_off) % 256
        if word.cause is not None:
            OrderedDict.__setitem__(reply, 101, [word.cause.to_bytes(4)])
        for _ in range(1 + word.twice):
            self.transport.sendto(reply.ReplyPacket(), address)


@asynccontextmanager
async def access_point(*words: Word) -> AsyncIterator[AccessPoint]:
    loop = asyncio.get_running_loop()
    made = AccessPoint(list(words))
    transport, _ = await loop.create_datagram_endpoint(lambda: made, local_addr=("127.0.0.1", 0))
    try:
        yield made
    finally:
        transport.close()
