"""RADIUS packets cut or altered anywhere, against both ports; used by tests and by `make fuzz`.

Half of them are signed anew after the change, as a broken access point would, so that they get
past the authenticators and into the server that reads attributes: the real one, but for the books
behind it. Nothing may raise or be kept, memory stays as it was, and an honest client in between is
served. Whoever finds something gets it again by the same seed.
"""

import asyncio
import resource
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from edgegate.wifi.attributes import Attribute, Code, Vendor
from edgegate.wifi.duplicates import Duplicates
from edgegate.wifi.endpoint import Service
from edgegate.wifi.hiding import hide_password
from edgegate.wifi.nas import Signing
from edgegate.wifi.packet import (
    Attributes,
    MalformedPacketError,
    decode,
    encode_request,
    number,
    response_authenticator_matches,
    split,
    vendor_attribute,
)
from edgegate.wifi.turns import Turns
from rig.radius import AUTHENTICATOR, SECRET, WAIT_S, Port, nas, pap, port, unsigned
from rig.wifi_server import HALF_OPEN_MAX, PASSWORD, server

BURST = 32
HONEST = ("127.200.0.1", 1812)
HONEST_EVERY = 1024
ANSWERS_BYTES_MAX = 2048 * 600
WARM = 10_000
"""Packets after which caches are nearly as full as they get."""

GROWTH_KIB_MAX = 16 * 1024
"""Further than this no allocator's odds and ends grow; a leak of one packet each would."""

HONEST_S_MAX = 0.05
"""How long an honest client may wait behind a burst of the others: by the processor's time each
one of them, by the clock 99 of 100, for the machine may have had other things to do."""

REACHED = (
    *(("answered", f"access_{kind}") for kind in ("accept", "reject", "challenge")),
    ("answered", "accounting_response"),
    ("silent", "accounting"),
    *(
        ("refused", why)
        for why in (
            *("stranger", "code", "unsigned_eap", "message_authenticator", "authenticator"),
            *("malformed_short", "malformed_length", "malformed_cut", "malformed_attribute"),
            "malformed_message_authenticator",
        )
    ),
    *(
        ("server", why)
        for why in (
            "nothing proven",
            "accounting of no kind",
            "the device sent an EAP packet that is no response",
        )
    ),
)
"""What changed packets have to come to, or the changes are too tame to find anything."""


def corpus() -> list[bytes]:
    """A packet of each kind."""
    device = (Attribute.CALLING_STATION_ID, b"0A-1B-2C-3D-4E-5F")
    network = (Attribute.CALLED_STATION_ID, b"02-00-00-00-00-01:space")
    chap: Attributes = ((1, b"ada"), (3, bytes(range(17))), (60, bytes(16)), device)
    eap: Attributes = ((1, b"ada"), *split(79, bytes(600)), (24, b"state"), network)
    identity: Attributes = ((1, b"ada"), (79, b"\x02\0\0\x08\x01ada"), (12, number(1400)), device)
    start: Attributes = (
        (1, b"ada"),
        (40, number(1)),
        (44, b"0123456789ABCDEF"),
        (25, b"class"),
        (8, bytes(4)),
        *((kind, b"\x7f\xff\xff\xff") for kind in (42, 43, 46, 52)),
        (53, b"\xff" * 4),
        device,
        vendor_attribute(Vendor.CISCO, 1, b"audit-session-id=0a"),
        vendor_attribute(Vendor.MICROSOFT, 16, bytes(34)),
    )
    return [
        pap("ada", b"pass", device, network, (33, b"proxy")),
        unsigned(pap("ada", b"a longer password than one block")),
        unsigned(encode_request(Code.ACCESS_REQUEST, 8, eap, SECRET)),
        encode_request(Code.ACCESS_REQUEST, 2, chap, SECRET),
        encode_request(Code.ACCESS_REQUEST, 3, eap, SECRET),
        encode_request(Code.ACCESS_REQUEST, 9, identity, SECRET),
        encode_request(Code.ACCESS_REQUEST, 4, ((1, b"0a1b2c3d4e5f"), device), SECRET),
        encode_request(Code.STATUS_SERVER, 5, (), SECRET),
        encode_request(Code.ACCOUNTING_REQUEST, 6, start, SECRET),
        encode_request(Code.ACCOUNTING_REQUEST, 7, ((40, number(7)),), SECRET),
    ]


@dataclass
class Tally:
    """What came of it."""

    packets: int = 0
    honest: int = 0
    waited_s: list[float] = field(default_factory=list)
    """How long each honest client waited by the clock."""
    worked_s_max: float = 0.0
    """The most processor time until an honest client was served."""
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    grown_kib: int = 0
    """How far the process grew after it was warm; 0 in a run too short to tell."""


class Fuzzer:
    """Packets by a seed."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.corpus = corpus()
        self.tally = Tally()
        self.ports: list[Port] = []

    async def run(self, packets: int) -> Tally:
        """Send that many."""
        async with self.open() as self.ports:
            warm_kib = 0
            while self.tally.packets < packets:
                for _ in range(BURST):
                    data = self.packet()
                    self.port_of(data).ask(data, self.address())
                self.tally.packets += BURST
                await self.decided()
                for each in self.ports:
                    each.sent.clear()
                if self.tally.packets % HONEST_EVERY == 0:
                    await self.honest()
                if not warm_kib and self.tally.packets >= WARM:
                    warm_kib = held_kib()
            self.tally.grown_kib = held_kib() - warm_kib if warm_kib else 0
            for each in self.ports:
                for (_, kind, why), many in each.endpoint.counts.items():
                    self.tally.counts[kind, why] += many
            for (_, why), many in self.server.counts.items():
                self.tally.counts["server", why] += many
        return self.tally

    @asynccontextmanager
    async def open(self) -> AsyncIterator[list[Port]]:
        turns = Turns()
        self.server = server(turns)
        everybody = nas("all", "127.0.0.0/8"), nas("old", "127.0.0.0/25", signing=Signing.NO)
        async with (
            port(
                self.server.authenticate,
                *everybody,
                duplicates=Duplicates(ANSWERS_BYTES_MAX),
                turns=turns,
            ) as first,
            port(
                self.server.account,
                *everybody,
                service=Service.ACCOUNTING,
                duplicates=Duplicates(ANSWERS_BYTES_MAX),
                turns=turns,
            ) as second,
        ):
            yield [first, second]

    async def decided(self) -> None:
        """All that was asked is answered, or known to get no answer: nothing of it is kept."""
        async with asyncio.timeout(WAIT_S):
            while any(each.endpoint._duplicates._deciding for each in self.ports):  # noqa: ASYNC110 - a set has no event
                await asyncio.sleep(0)
        assert self.server.eap is not None
        assert len(self.server.eap.half_open) <= HALF_OPEN_MAX

    async def honest(self) -> None:
        """A member who comes in behind a burst of the others."""
        asked = self.ports[0]
        own = self.random.randbytes(16)
        hidden = hide_password(PASSWORD, own, SECRET)
        request = encode_request(
            Code.ACCESS_REQUEST,
            self.random.randrange(256),
            ((Attribute.USER_NAME, b"honest"), (Attribute.USER_PASSWORD, hidden)),
            SECRET,
            own,
        )
        burst = [(self.packet(), self.address()) for _ in range(BURST)]
        began_s, worked_s = time.perf_counter(), time.process_time()
        for data, address in burst:
            asked.ask(data, address)
        asked.ask(request, HONEST)
        answer = await self.answer_to(asked, HONEST)
        self.tally.waited_s.append(time.perf_counter() - began_s)
        worked_s = time.process_time() - worked_s
        self.tally.worked_s_max = max(self.tally.worked_s_max, worked_s)
        assert answer[0] == Code.ACCESS_ACCEPT
        assert response_authenticator_matches(answer, request, SECRET)
        self.tally.honest += 1

    async def answer_to(self, asked: Port, address: tuple[str, int]) -> bytes:
        async with asyncio.timeout(WAIT_S):
            while True:
                for data, sent_to in asked.sent:
                    if sent_to == address:
                        asked.sent.clear()
                        return data
                asked.more.clear()
                await asked.more.wait()

    def address(self) -> tuple[str, int]:
        """Mostly an access point's; at times a stranger's."""
        host = self.random.randrange(256)
        net = "192.0.2" if host == 0 else "127.0.0"
        return f"{net}.{host}", 1024 + self.random.randrange(8)

    def port_of(self, data: bytes) -> Port:
        """Mostly the one that the packet is for."""
        if self.random.random() < 0.05:
            return self.random.choice(self.ports)
        return self.ports[data[:1] == bytes((Code.ACCOUNTING_REQUEST,))]

    def packet(self) -> bytes:
        """One of the corpus, changed in a few places."""
        data = bytearray(self.random.choice(self.corpus))
        for _ in range(self.random.randrange(1, 4)):
            self.random.choice(CHANGES)(self.random, data, self.corpus)
        if len(data) >= 20 and self.random.random() < 0.6:
            data[2:4] = min(len(data), 4096).to_bytes(2)
        return self.signed(bytes(data)) if self.random.random() < 0.5 else bytes(data)

    def signed(self, data: bytes) -> bytes:
        """The same with authenticators that are right, where it is still a packet."""
        try:
            packet = decode(data)
        except MalformedPacketError:
            return data
        attributes = tuple(pair for pair in packet.attributes if pair[0] != 80)
        code = Code.ACCOUNTING_REQUEST if packet.code == 4 else Code.ACCESS_REQUEST
        if len(data) > 4096 - 18:
            return data
        return encode_request(code, packet.identifier, attributes, SECRET, AUTHENTICATOR)


def cut(random: Random, data: bytearray, _corpus: list[bytes]) -> None:
    del data[random.randrange(len(data) + 1) :]


def flip(random: Random, data: bytearray, _corpus: list[bytes]) -> None:
    if data:
        data[random.randrange(len(data))] ^= 1 << random.randrange(8)


def put(random: Random, data: bytearray, _corpus: list[bytes]) -> None:
    at = random.randrange(len(data) + 1)
    data[at : at + random.randrange(3)] = random.randbytes(random.randrange(6))


def splice(random: Random, data: bytearray, corpus: list[bytes]) -> None:
    other = random.choice(corpus)
    data[random.randrange(len(data) + 1) :] = other[random.randrange(len(other)) :]


def length(random: Random, data: bytearray, _corpus: list[bytes]) -> None:
    """A length that says what is there, or nearly."""
    if len(data) >= 4:
        data[2:4] = (min(len(data), 4096) + random.choice((-1, 0, 0, 0, 1))).to_bytes(2)


def attribute(random: Random, data: bytearray, _corpus: list[bytes]) -> None:
    """A whole attribute more, of any type, and a length that fits."""
    value = random.randbytes(random.choice((0, 1, 2, 3, 4, 16, 17, 253)))
    data += bytes((random.randrange(256), len(value) + 2)) + value
    length(random, data, _corpus)


CHANGES = (cut, flip, flip, put, splice, length, length, attribute, attribute)


def held_kib() -> int:
    """The memory that this process holds."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() // 1024


def campaign(count: int, seed: int) -> str:
    """The long form, for `scripts/fuzz.py`."""
    tally = asyncio.run(Fuzzer(seed).run(count))
    check(tally)
    served = served_in(tally.waited_s, tally.worked_s_max)
    most = ", ".join(f"{kind} {why} {many:,}" for (kind, why), many in tally.counts.most_common(8))
    return f"no exception; {served}; grown by {tally.grown_kib:,} KiB; {most}"


def served_in(waited_s: list[float], worked_s_max: float) -> str:
    """How soon honest clients were served.

    Raises:
        AssertionError: not soon enough.
    """
    most_s = sorted(waited_s)[int(len(waited_s) * 0.99)]
    served = (
        f"{len(waited_s):,} honest clients served, 99 of 100 within {most_s * 1000:.1f} ms, each "
        f"with {worked_s_max * 1000:.1f} ms of the processor at most"
    )
    if max(most_s, worked_s_max) > HONEST_S_MAX:
        raise AssertionError(served)
    return served


def check(tally: Tally) -> None:
    """Whether what came of it is as it has to be.

    Raises:
        AssertionError: it is not.
    """
    wrong = [why for why in tally.counts if why[0] == "failed" or why == ("dropped", "late")]
    if wrong:
        raise AssertionError(f"handlers failed: {wrong}")
    if not tally.honest:
        raise AssertionError("no honest client was served")
    if tally.grown_kib > GROWTH_KIB_MAX:
        raise AssertionError(f"the process grew by {tally.grown_kib} KiB")
    for kind, why in REACHED:
        if not tally.counts[kind, why]:
            raise AssertionError(f"nothing was {kind} for {why}: {dict(tally.counts)}")
