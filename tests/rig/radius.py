"""A RADIUS port under test, and access points that ask it: by hand, and by the real radclient."""

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import ip_network
from typing import Any

from edgegate.wifi.attributes import Attribute, Code
from edgegate.wifi.endpoint import Address, Endpoint, Handler, Receive, Service
from edgegate.wifi.hiding import hide_password
from edgegate.wifi.nas import Nas, NasTable
from edgegate.wifi.packet import Packet, Reply, encode_request

SECRET = b"a secret of more than sixteen"
HERE = ("127.0.0.1", 40000)
WAIT_S = 30.0
AUTHENTICATOR = bytes(range(16))


def nas(id_: str = "ap", network: str = "127.0.0.1/32", **more: Any) -> Nas:
    return Nas(id=id_, network=ip_network(network), **{"secret": SECRET, **more})


def pap(
    name: str = "ada", password: bytes = b"pass", *more: tuple[int, bytes], identifier: int = 1
) -> bytes:
    """A signed Access-Request."""
    attributes = (
        (Attribute.USER_NAME, name.encode()),
        (Attribute.USER_PASSWORD, hide_password(password, AUTHENTICATOR, SECRET)),
        *more,
    )
    return encode_request(
        Code.ACCESS_REQUEST, identifier, attributes, SECRET, authenticator=AUTHENTICATOR
    )


def unsigned(packet: bytes) -> bytes:
    """The same request without its Message-Authenticator, which stands first."""
    rest = packet[20 + 18 :]
    return packet[:2] + (20 + len(rest)).to_bytes(2) + packet[4:20] + rest


@dataclass
class Desk:
    """A handler that keeps what it was asked, and answers as it is told."""

    reply: Reply | None = field(default_factory=lambda: Reply(Code.ACCESS_ACCEPT))
    asked: list[Packet] = field(default_factory=list)
    error: Exception | None = None
    gate: asyncio.Event | None = None
    """Each request waits here, where there is one."""

    async def handle(self, packet: Packet, _nas: Nas) -> Reply | None:
        self.asked.append(packet)
        if self.gate is not None:
            await self.gate.wait()
        if self.error is not None:
            raise self.error
        return self.reply


class Port:
    """An endpoint with its answers, in the order they were sent."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.receive: Receive
        self.sent: list[tuple[bytes, Address]] = []
        self.more = asyncio.Event()
        self.unsent: OSError | None = None
        """What sending comes to, where it is not well."""

    def send(self, data: bytes, address: Address) -> None:
        if self.unsent is not None:
            raise self.unsent
        self.sent.append((data, address))
        self.more.set()

    def ask(self, data: bytes, address: Address = HERE) -> None:
        self.receive(data, address)

    async def answers(self, count: int) -> list[bytes]:
        """The answers, once there are so many."""
        async with asyncio.timeout(WAIT_S):
            while len(self.sent) < count:
                self.more.clear()
                await self.more.wait()
        await settled()
        return [data for data, _ in self.sent]

    def count(self, kind: str) -> dict[str, int]:
        """What was counted of a kind, by why."""
        return {why: number for (_, k, why), number in self.endpoint.counts.items() if k == kind}


async def settled() -> None:
    """Let everything that can go on go on."""
    for _ in range(20):
        await asyncio.sleep(0)


@asynccontextmanager
async def port(
    handler: Handler,
    *all_nas: Nas,
    service: Service = Service.AUTHENTICATION,
    **more: Any,
) -> AsyncIterator[Port]:
    """An endpoint without a socket."""
    made = Port(Endpoint(service, NasTable(all_nas or (nas(),)), handler, **more))
    async with made.endpoint.deciding(made.send) as made.receive:
        yield made


@dataclass
class Said:
    """What radclient printed."""

    status: int
    text: str

    def received(self) -> list[str]:
        """The kinds of the packets that it got."""
        return re.findall(r"^Received (\S+) ", self.text, re.MULTILINE)


async def radclient(
    address: Address, command: str, attributes: str, *options: str, secret: bytes = SECRET
) -> Said:
    """Run radclient with these attributes, and say what it printed; it checks every answer."""
    arguments: Sequence[str] = ("-x", "-r", "1", "-t", "10", *options)
    process = await asyncio.create_subprocess_exec(
        "radclient",
        *arguments,
        f"{address[0]}:{address[1]}",
        command,
        secret.decode(),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    out, _ = await asyncio.wait_for(process.communicate(attributes.encode()), WAIT_S * 2)
    return Said(process.returncode or 0, out.decode(errors="replace"))
