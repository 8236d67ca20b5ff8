"""Ends a session at its access point before its time: Disconnect- and CoA-Requests (RFC 5176)."""

import asyncio
import logging
import socket
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from enum import StrEnum, unique
from ipaddress import ip_address
from typing import Any

from msgspec import Struct

from edgegate.wifi.attributes import Attribute, Code, ErrorCause
from edgegate.wifi.nas import Nas
from edgegate.wifi.packet import (
    PACKET_BYTES_MAX,
    Attributes,
    MalformedPacketError,
    Packet,
    decode,
    encode_request,
    message_authenticator_matches,
    number,
    response_authenticator_matches,
)
from edgegate.wifi.vendors import namings

IN_FLIGHT_MAX = 64
"""Requests under way at once; further ones wait. Identifiers reach to 256."""

WAITS_S = (1.0, 2.0, 4.0, 8.0)
"""How long each try waits for an answer: RFC 5080 §2.2.1, begun sooner as nobody else asks."""

_READS_MAX = 64
_IDENTIFIERS = 256
_GOES_ON = frozenset(
    {
        ErrorCause.UNSUPPORTED_ATTRIBUTE,
        ErrorCause.MISSING_ATTRIBUTE,
        ErrorCause.NAS_IDENTIFICATION_MISMATCH,
        ErrorCause.INVALID_REQUEST,
        ErrorCause.INVALID_ATTRIBUTE_VALUE,
    }
)
"""Refusals of the way a session was named: another way may do."""

log = logging.getLogger(__name__)


@unique
class Ending(StrEnum):
    """What came of a request."""

    DONE = "done"
    """The NAS says so (ACK)."""
    GONE = "gone"
    """The NAS knows no such session (NAK 503)."""
    REFUSED = "refused"
    """Any other NAK."""
    UNANSWERED = "unanswered"
    UNNAMED = "unnamed"
    """Nothing is known that would name the session to this kind of NAS."""
    UNSENT = "unsent"
    """There is no way to the NAS's address."""


class Outcome(Struct, frozen=True):
    """What came of a request, in the NAS's words where it gave any."""

    ending: Ending
    cause: int | None = None
    """Error-Cause of the last NAK (`attributes.ErrorCause`, or a number of a later RFC)."""
    tries: int = 0
    """Datagrams sent."""


class _Waiting(Struct):
    """A request under way."""

    request: bytes
    secret: bytes
    answers: tuple[Code, Code]
    answered: "asyncio.Future[Packet]"


class Disconnector:
    """Sends requests to access points, as one client with one socket for each IP version.

    Args:
        wait_s: how long each try waits.
        now_s: the time of day, for Event-Timestamp; hostapd drops what is 300 s off.
    """

    def __init__(
        self,
        *,
        waits_s: tuple[float, ...] = WAITS_S,
        now_s: Callable[[], float] = time.time,
    ) -> None:
        self._waits_s = waits_s
        self._now_s = now_s
        self._sockets: dict[int, socket.socket] = {}
        self._waiting: dict[tuple[str, int, int], _Waiting] = {}
        self._identifier = 0
        self._room = asyncio.Semaphore(IN_FLIGHT_MAX)
        self.counts: Counter[str] = Counter()
        """Answers that were not taken, by why."""

    @asynccontextmanager
    async def open(self) -> AsyncIterator["Disconnector"]:
        """Have the sockets for as long as the context is open."""
        loop = asyncio.get_running_loop()
        try:
            for family in (socket.AF_INET, socket.AF_INET6):
                try:
                    made = socket.socket(family, socket.SOCK_DGRAM)
                except OSError:
                    continue  # A board without IPv6 has no access points there.
                self._sockets[4 if family == socket.AF_INET else 6] = made
                made.setblocking(False)
                loop.add_reader(made, self._read, made)
            yield self
        finally:
            for made in self._sockets.values():
                loop.remove_reader(made)
                made.close()
            self._sockets.clear()

    async def end(self, nas: Nas, host: str, session: Attributes) -> Outcome:
        """End a session.

        Args:
            nas: the NAS it is on.
            host: the address its requests came from.
            session: what the NAS said of it (`vendors.kept`).
        """
        answers = Code.DISCONNECT_ACK, Code.DISCONNECT_NAK
        return await self._ask(Code.DISCONNECT_REQUEST, answers, nas, host, session)

    async def change_timeout(
        self, nas: Nas, host: str, session: Attributes, timeout_s: int
    ) -> Outcome:
        """Give a session another Session-Timeout, in seconds from now (RFC 5176 §3.2)."""
        extra = ((int(Attribute.SESSION_TIMEOUT), number(timeout_s)),)
        answers = Code.COA_ACK, Code.COA_NAK
        return await self._ask(Code.COA_REQUEST, answers, nas, host, session, extra)

    async def _ask(
        self,
        code: Code,
        answers: tuple[Code, Code],
        nas: Nas,
        host: str,
        session: Attributes,
        extra: Attributes = (),
    ) -> Outcome:
        """Ask with each way to name the session until one is understood."""
        outcome = Outcome(Ending.UNNAMED)
        tries = 0
        async with self._room:
            for naming in namings(nas.vendor, session):
                outcome = await self._ask_once(code, answers, nas, host, naming + extra)
                tries += outcome.tries
                if outcome.ending is not Ending.REFUSED or outcome.cause not in _GOES_ON:
                    break
        return Outcome(outcome.ending, outcome.cause, tries)

    async def _ask_once(
        self, code: Code, answers: tuple[Code, Code], nas: Nas, host: str, naming: Attributes
    ) -> Outcome:
        key = self._free(host, nas.disconnect_port)
        stamped = (*naming, (int(Attribute.EVENT_TIMESTAMP), number(int(self._now_s()))))
        request = encode_request(code, key[2], stamped, nas.secret)
        answered: asyncio.Future[Packet] = asyncio.get_running_loop().create_future()
        self._waiting[key] = _Waiting(request, nas.secret, answers, answered)
        try:
            return await self._send(key, request, answered, answers[0])
        finally:
            del self._waiting[key]

    async def _send(
        self,
        key: tuple[str, int, int],
        request: bytes,
        answered: "asyncio.Future[Packet]",
        good: Code,
    ) -> Outcome:
        """Send the same octets until there is an answer (RFC 5176 §2.3: a retransmission)."""
        out = self._sockets.get(ip_address(key[0]).version)
        for tries, wait_s in enumerate(self._waits_s, start=1):
            try:
                if out is None:
                    return Outcome(Ending.UNSENT)
                out.sendto(request, key[:2])
            except BlockingIOError:
                self.counts["blocked"] += 1
            except OSError as error:
                log.warning("wifi: no way to %s: %s", key[0], error)
                return Outcome(Ending.UNSENT, None, tries)
            try:
                answer = await asyncio.wait_for(asyncio.shield(answered), wait_s)
            except TimeoutError:
                continue
            return _outcome(answer, good, tries)
        return Outcome(Ending.UNANSWERED, None, len(self._waits_s))

    def _free(self, host: str, port: int) -> tuple[str, int, int]:
        """An identifier that is not under way to this port; there are more than requests."""
        host = str(ip_address(host))
        for _ in range(_IDENTIFIERS):
            self._identifier = (self._identifier + 1) % _IDENTIFIERS
            if (host, port, self._identifier) not in self._waiting:
                break
        return host, port, self._identifier

    def _read(self, made: socket.socket) -> None:
        for _ in range(_READS_MAX):
            try:
                data, address = made.recvfrom(PACKET_BYTES_MAX)
            except OSError:
                return  # Nothing is left, or an access point's host says that nobody listens.
            why = self._take(data, address)
            if why is not None:
                self.counts[why] += 1

    def _take(self, data: bytes, address: tuple[Any, ...]) -> str | None:
        """Give an answer to who waits for it; why it is none."""
        try:
            packet = decode(data)
        except MalformedPacketError as error:
            return f"malformed_{error.why}"
        waiting = self._waiting.get((address[0], address[1], packet.identifier))
        if waiting is None or waiting.answered.done():
            return "unasked"
        if packet.code not in waiting.answers:
            return "code"
        if not response_authenticator_matches(data, waiting.request, waiting.secret):
            return "authenticator"
        if packet.signed_at and not message_authenticator_matches(
            data, packet, waiting.secret, waiting.request[4:20]
        ):
            return "message_authenticator"
        waiting.answered.set_result(packet)
        return None


def _outcome(answer: Packet, good: Code, tries: int) -> Outcome:
    if answer.code == good:
        return Outcome(Ending.DONE, None, tries)
    cause = answer.number(Attribute.ERROR_CAUSE)
    gone = cause == ErrorCause.SESSION_CONTEXT_NOT_FOUND
    return Outcome(Ending.GONE if gone else Ending.REFUSED, cause, tries)
