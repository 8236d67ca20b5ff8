"""A RADIUS port on real sockets: either version of IP, a flood, and an address that is taken."""

import asyncio
import socket

import pytest

from edgegate.wifi.endpoint import Address, Endpoint, Service
from edgegate.wifi.nas import NasTable
from rig.radius import SECRET, Desk, nas, pap, radclient

ADA = 'User-Name = "ada", User-Password = "pass", Message-Authenticator = 0x00'
FLOOD = 20_000


def endpoint(desk: Desk, network: str = "127.0.0.0/8") -> Endpoint:
    return Endpoint(Service.AUTHENTICATION, NasTable([nas(network=network)]), desk.handle)


async def test_ipv6() -> None:
    desk = Desk()
    async with endpoint(desk, "::1/128").listening("::1", 0) as address:
        said = await radclient((f"[{address[0]}]", address[1]), "auth", ADA, "-6")
    assert said.received() == ["Access-Accept"], said.text


async def test_ipv4_at_a_port_for_both() -> None:
    desk = Desk()
    async with endpoint(desk).listening("::", 0) as address:
        said = await radclient(("127.0.0.1", address[1]), "auth", ADA)
    assert said.received() == ["Access-Accept"], said.text


async def test_an_address_that_is_taken_is_said_so() -> None:
    desk = Desk()
    async with endpoint(desk).listening("127.0.0.1", 0) as address:
        with pytest.raises(OSError, match="in use"):
            async with endpoint(desk).listening("127.0.0.1", address[1]):
                pass
        said = await radclient(address, "auth", ADA)
    assert said.received() == ["Access-Accept"]


async def test_a_port_that_was_closed_is_free_again() -> None:
    desk = Desk()
    made = endpoint(desk)
    async with made.listening("127.0.0.1", 0) as address:
        pass
    async with made.listening("127.0.0.1", address[1]) as again:
        assert again == address
        said = await radclient(again, "auth", ADA)
    assert said.received() == ["Access-Accept"]


async def test_a_flood_leaves_room_for_everybody_else() -> None:
    desk = Desk()
    async with endpoint(desk).listening("127.0.0.1", 0) as address:
        flood = asyncio.create_task(asyncio.to_thread(throw, address))
        turns = 0
        while not flood.done():
            await asyncio.sleep(0.001)
            turns += 1
        said = await radclient(address, "auth", ADA, "-r", "5", "-t", "5")
    assert said.received() == ["Access-Accept"]
    assert turns > 10
    assert len(desk.asked) >= 2


def throw(address: Address) -> None:
    """Datagrams as fast as they go: noise, and requests of another secret."""
    noise = [b"noise", bytes(20), pap(), pap()[:-1] + b"\0", bytes(4096)]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
        for number in range(FLOOD):
            out.sendto(noise[number % len(noise)], address)


async def test_another_secret_among_good_requests_changes_nothing() -> None:
    desk = Desk()
    async with endpoint(desk).listening("127.0.0.1", 0) as address:
        wrong, right = await asyncio.gather(
            radclient(address, "auth", ADA, "-c", "5", "-t", "1", secret=SECRET + b"!"),
            radclient(address, "auth", ADA, "-c", "5"),
        )
    assert wrong.received() == []
    assert right.received() == ["Access-Accept"] * 5
