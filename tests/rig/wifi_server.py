"""The real RADIUS server with nothing behind it: it reads and answers, and asks what is made up."""

import asyncio
import time
from typing import cast

import msgspec

from edgegate.clock import SystemClock
from edgegate.passes.reasons import Reason
from edgegate.ports import OperatingError
from edgegate.wifi.access import Access, Asking, Verdict
from edgegate.wifi.accounting import Accounting
from edgegate.wifi.attributes import Code
from edgegate.wifi.eap.server import EapServer
from edgegate.wifi.packet import encode_request
from edgegate.wifi.proofs import LoginProof, Proof
from edgegate.wifi.server import OCTETS_MAX, Server
from edgegate.wifi.sessions import Report
from edgegate.wifi.turns import Turns
from edgegate.wifi.vendors import TEMPLATES, namings
from rig.radius import SECRET
from rig.wifi_papers import identity

PASSWORD = b"pass"
"""Whoever says it comes in."""

HALF_OPEN_MAX = 64

_VENDORS = tuple(TEMPLATES)
_names = msgspec.msgpack.Decoder(tuple[tuple[int, bytes], ...]).decode


class _Decider:
    """Looks at all that was made of a request, and decides by the password alone."""

    def station(self, mac: str) -> str:
        return mac

    async def decide(self, proof: Proof, asking: Asking) -> Verdict:
        await asyncio.sleep(0)
        assert asking.place.isprintable()
        _name(asking.names)
        if isinstance(proof, LoginProof) and proof.password == PASSWORD:
            return Verdict(
                reason=Reason.COVERED,
                accepted=True,
                customer="ada",
                class_="0" * 24,
                session_timeout_s=1 << 40,
                vlan=len(asking.station) + 1,
            )
        return Verdict(reason=Reason.NO_PASS, sentence="No." * 99)


class _Bookkeeping:
    """Looks at all that was made of a packet of accounting."""

    async def take(self, report: Report) -> None:
        await asyncio.sleep(0)
        assert (report.number + report.place + (report.class_ or "")).isprintable()
        assert report.seconds >= 0
        assert min(report.received, report.sent) >= 0
        assert max(report.received, report.sent) <= OCTETS_MAX
        _name(report.names)
        if sum(report.number.encode()) % 2:
            raise OperatingError("the storage is full")


def _name(kept: bytes) -> None:
    """Name a session as a Disconnect-Request would, to each kind of access point."""
    if kept:
        vendor = _VENDORS[len(kept) % len(_VENDORS)]
        for naming in namings(vendor, _names(kept)):
            encode_request(Code.DISCONNECT_REQUEST, 1, naming, SECRET)


def server(turns: Turns) -> Server:
    """One that offers every method."""
    made = Server(
        cast("Access", _Decider()),
        cast("Accounting", _Bookkeeping()),
        SystemClock(),
        methods=("eap-ttls", "eap-tls", "pap", "chap", "mac"),
        interim_s=300,
        turns=turns,
    )
    made.eap = EapServer(identity(), half_open_max=HALF_OPEN_MAX, now=time.monotonic)
    return made
