"""RADIUS packets cut or altered anywhere, against both ports; used by tests and by `make fuzz`.

Half of them are signed anew after the change, as a broken access point would, so that they get
past the authenticators and into what reads attributes. Nothing may raise, memory stays as it was,
and an honest client in between is served. Whoever finds something gets it again by the same seed.
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
from edgegate.wifi.hiding import HiddenValueError, chap_matches, reveal_password
from edgegate.wifi.mac import asked_by_mac, called_station
from edgegate.wifi.nas import Nas, Signing
from edgegate.wifi.packet import (
    Attributes,
    MalformedPacketError,
    Packet,
    Reply,
    decode,
    encode_request,
    number,
    response_authenticator_matches,
    split,
    vendor_attribute,
)
from edgegate.wifi.vendors import TEMPLATES, kept, namings
from rig.radius import AUTHENTICATOR, SECRET, WAIT_S, Port, nas, pap, port, unsigned

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
    *(
        ("refused", why)
        for why in (
            *("stranger", "code", "unsigned_eap", "message_authenticator", "authenticator"),
            *("malformed_short", "malformed_length", "malformed_cut", "malformed_attribute"),
            "malformed_message_authenticator",
        )
    ),
)
"""What changed packets have to come to, or the changes are too tame to find anything."""

VENDORS = tuple(TEMPLATES)


def corpus() -> list[bytes]:
    """A packet of each kind."""
    device = (Attribute.CALLING_STATION_ID, b"0A-1B-2C-3D-4E-5F")
    network = (Attribute.CALLED_STATION_ID, b"02-00-00-00-00-01:space")
    chap: Attributes = ((1, b"ada"), (3, bytes(range(17))), (60, bytes(16)), device)
    eap: Attributes = ((1, b"ada"), *split(79, bytes(600)), (24, b"state"), network)
    start: Attributes = (
        (1, b"ada"),
        (40, number(1)),
        (44, b"0123456789ABCDEF"),
        (25, b"class"),
        (8, bytes(4)),
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
                await asyncio.sleep(0)
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
        return self.tally

    @asynccontextmanager
    async def open(self) -> AsyncIterator[list[Port]]:
        everybody = nas("all", "127.0.0.0/8"), nas("old", "127.0.0.0/25", signing=Signing.NO)
        async with (
            port(access, *everybody, duplicates=Duplicates(ANSWERS_BYTES_MAX)) as first,
            port(
                account,
                *everybody,
                service=Service.ACCOUNTING,
                duplicates=Duplicates(ANSWERS_BYTES_MAX),
            ) as second,
        ):
            yield [first, second]

    async def honest(self) -> None:
        """A member who comes in behind a burst of the others."""
        asked = self.ports[0]
        request = encode_request(
            Code.ACCESS_REQUEST, self.random.randrange(256), ((1, b"honest"),), SECRET
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


async def access(packet: Packet, asking: Nas) -> Reply | None:
    """Reads all that a server reads of an Access-Request."""
    look(packet, asking)
    name = packet.text(Attribute.USER_NAME) or ""
    calling = packet.text(Attribute.CALLING_STATION_ID)
    called_station(packet.text(Attribute.CALLED_STATION_ID) or "")
    hidden = packet.first(Attribute.USER_PASSWORD)
    password = None
    try:
        if hidden is not None:
            password = reveal_password(hidden, packet.authenticator, asking.secret)
    except HiddenValueError:
        return Reply(Code.ACCESS_REJECT, ((Attribute.REPLY_MESSAGE, b"No."),))
    asked_by_mac(name, password, calling)
    chap_matches(b"pass", packet.first(3) or b"", packet.first(60) or packet.authenticator)
    eap = packet.concatenated(Attribute.EAP_MESSAGE)
    if eap is not None:
        return Reply(Code.ACCESS_CHALLENGE, split(Attribute.EAP_MESSAGE, eap[:1024]))
    return Reply(Code.ACCESS_ACCEPT)


async def account(packet: Packet, asking: Nas) -> Reply | None:
    """Reads all that a server reads of an Accounting-Request."""
    look(packet, asking)
    await asyncio.sleep(0)
    return Reply(Code.ACCOUNTING_RESPONSE)


def look(packet: Packet, asking: Nas) -> None:
    for kind in Attribute:
        packet.text(kind)
        packet.number(kind)
    packet.vendor(Vendor.MICROSOFT, 16)
    said = kept(packet.attributes)
    for naming in namings(VENDORS[packet.identifier % len(VENDORS)], said):
        encode_request(Code.DISCONNECT_REQUEST, packet.identifier, naming, asking.secret)


def held_kib() -> int:
    """The memory that this process holds."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() // 1024


def campaign(count: int, seed: int) -> str:
    """The long form, for `scripts/fuzz.py`."""
    tally = asyncio.run(Fuzzer(seed).run(count))
    check(tally)
    waited_s = sorted(tally.waited_s)[int(len(tally.waited_s) * 0.99)]
    served = (
        f"{tally.honest:,} honest clients served, 99 of 100 within {waited_s * 1000:.1f} ms, each "
        f"with {tally.worked_s_max * 1000:.1f} ms of the processor at most"
    )
    if max(waited_s, tally.worked_s_max) > HONEST_S_MAX:
        raise AssertionError(served)
    most = ", ".join(f"{kind} {why} {many:,}" for (kind, why), many in tally.counts.most_common(8))
    return f"no exception; {served}; grown by {tally.grown_kib:,} KiB; {most}"


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
