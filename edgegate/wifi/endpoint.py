"""A RADIUS port: who asks, whether it is genuine, whether it was asked before; then one handler."""

import asyncio
import logging
import socket
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from enum import StrEnum, unique
from functools import partial
from typing import Any

from edgegate.wifi.attributes import Attribute, Code
from edgegate.wifi.duplicates import DECIDING, TURN_S, Duplicates, Key
from edgegate.wifi.nas import Nas, NasTable, Signing
from edgegate.wifi.packet import (
    PACKET_BYTES_MAX,
    MalformedPacketError,
    Packet,
    Reply,
    decode,
    encode_reply,
    message_authenticator_matches,
    request_authenticator_matches,
)
from edgegate.wifi.turns import Turns
from edgegate.wifi.workers import Workers

IN_FLIGHT_MAX = 512
"""Requests being decided at once; a further one is dropped, and the access point asks again."""

EAP_SHARE = 0.875
"""Of these so many may be of EAP: a crowd of handshakes leaves room for logins and devices."""

READS_MAX = 8
"""Datagrams taken before everything else in the daemon gets its turn again."""

RECEIVE_BUFFER_BYTES = 1 << 20
"""What the kernel is asked to keep for a port while the daemon is busy: some thousand requests."""

SIGNERS_MAX = 4096
"""Addresses remembered to sign their requests; when full the one known longest is forgotten."""

PROXY_STATE_BYTES_MAX = 1024
"""What proxies may want repeated: a request full of it would leave no room for an answer, and
whoever writes its sender's address need not even know the secret."""

STRANGERS_MAX = 32
"""Unknown addresses remembered for whoever wonders why an access point gets no answer."""

Address = tuple[Any, ...]
"""What a socket says of a datagram's origin: host, port and, for IPv6, two more."""

Handler = Callable[[Packet, Nas], Awaitable[Reply | None]]
"""Answers one genuine request that was not seen before; None: with silence."""

Send = Callable[[bytes, Address], object]
Receive = Callable[[bytes, Address], None]
_Job = tuple[Key, Packet, Nas, Send]

_ACCESS_REQUEST = int(Code.ACCESS_REQUEST)
_STATUS_SERVER = int(Code.STATUS_SERVER)
_EAP_MESSAGE = int(Attribute.EAP_MESSAGE)
_PROXY_STATE = int(Attribute.PROXY_STATE)
_ZEROS = bytes(16)
_REJECT = Reply(Code.ACCESS_REJECT)
_ANSWERS = {int(code): code.name.lower() for code in Code}

log = logging.getLogger(__name__)


@unique
class Service(StrEnum):
    """What a port is for."""

    AUTHENTICATION = "authentication"
    ACCOUNTING = "accounting"


_REQUESTS = {
    Service.AUTHENTICATION: Code.ACCESS_REQUEST,
    Service.ACCOUNTING: Code.ACCOUNTING_REQUEST,
}


class Endpoint:
    """One port.

    `counts` holds, by (NAS id, kind, why), how often it: `answered` with a reply, `repeated` one,
    kept `silent`, `refused` a packet that is wrong or not genuine, `dropped` one for want of room,
    `failed` in its handler, could not get a reply `unsent`. A stranger's NAS id is empty.
    """

    def __init__(
        self,
        service: Service,
        table: NasTable,
        handler: Handler,
        *,
        in_flight_max: int = IN_FLIGHT_MAX,
        duplicates: Duplicates | None = None,
        turns: Turns | None = None,
    ) -> None:
        """Prepare; what works on the same event loop shares its turns."""
        self._service = service
        self._code = int(_REQUESTS[service])
        self._table = table
        self._handler = handler
        self._in_flight_max = in_flight_max
        self._eap_max = max(1, int(in_flight_max * EAP_SHARE))
        self._turns = turns if turns is not None else Turns()
        self._duplicates = duplicates if duplicates is not None else Duplicates()
        self._signers: dict[str, None] = {}
        self.counts: Counter[tuple[str, str, str]] = Counter()
        self.strangers: dict[str, int] = {}
        """How often the last unknown addresses asked."""

    @asynccontextmanager
    async def listening(self, host: str, port: int) -> AsyncIterator[Address]:
        """Answer on a port for as long as the context is open; gives the address it has.

        Raises:
            OSError: the address cannot be had.
        """
        with _bound(host, port) as bound:
            async with self.deciding(bound.sendto) as receive:
                loop = asyncio.get_running_loop()
                loop.add_reader(bound, self._read, bound, receive)
                try:
                    yield bound.getsockname()
                finally:
                    loop.remove_reader(bound)

    @asynccontextmanager
    async def deciding(self, send: Send) -> AsyncIterator[Receive]:
        """Decide what is received while the context is open; `send` takes the answers."""
        async with asyncio.TaskGroup() as tasks:
            workers = Workers(self._decide, tasks, self._in_flight_max, self._turns)
            turning = tasks.create_task(self._turn(workers), name=f"{self._service} turning")
            try:
                yield partial(self._receive, send=send, workers=workers)
            finally:
                turning.cancel()
                workers.stop()

    def _receive(self, data: bytes, address: Address, send: Send, workers: Workers[_Job]) -> None:
        """Take one datagram: answer it at once, let it be decided, or say nothing."""
        nas = self._table.find(address[0])
        if nas is None:
            self._note_stranger(address[0])
            return
        key: Key = (address, data[:20])
        known = self._duplicates.answer(key)
        if known is not None:
            self._repeat(known, nas, address, send)
            return
        try:
            packet = decode(data)
        except MalformedPacketError as error:
            self.counts[nas.id, "refused", f"malformed_{error.why}"] += 1
            return
        full = len(data) > PROXY_STATE_BYTES_MAX and _leaves_no_room(packet)
        why = "proxy_state" if full else self._objection(data, packet, nas, address)
        if why is not None:
            self.counts[nas.id, "refused", why] += 1
        elif packet.code == _STATUS_SERVER:
            self._answer(self._status(packet, nas), nas, address, send)
        elif workers.put(
            (key, packet, nas, send),
            self._in_flight_max if packet.first(_EAP_MESSAGE) is None else self._eap_max,
        ):
            self._duplicates.begin(key)
        else:
            self.counts[nas.id, "dropped", "in_flight"] += 1

    async def _decide(self, job: _Job) -> None:
        key, packet, nas, send = job
        answer: bytes | None = None
        try:
            reply = await self._handler(packet, nas)
            answer = None if reply is None else encode_reply(reply, packet, nas.secret)
        except Exception as error:
            # The one boundary of a packet: it alone is refused, and work goes on.
            log.exception("wifi: a request of %s failed", nas.id)
            self.counts[nas.id, "failed", type(error).__name__] += 1
            if packet.code == _ACCESS_REQUEST:
                answer = encode_reply(_REJECT, packet, nas.secret)
        finally:
            if answer is None:
                self._duplicates.forget(key)
            else:
                dropped = self._duplicates.settle(key, answer)
                if dropped:
                    self.counts["", "dropped", "kept_answers"] += dropped
        if answer is None:
            self.counts[nas.id, "silent", self._service] += 1
        else:
            self._answer(answer, nas, key[0], send)

    def _objection(self, data: bytes, packet: Packet, nas: Nas, address: Address) -> str | None:
        """Why a packet is not taken for genuine; None for one that is."""
        if packet.code == _STATUS_SERVER:
            # RFC 5997 §3: on either port, and always signed.
            return _signature_objection(data, packet, nas) if packet.signed_at else "unsigned"
        if packet.code != self._code:
            return "code"
        if self._service is Service.ACCOUNTING:
            return _accounting_objection(data, packet, nas)
        if packet.signed_at:
            why = _signature_objection(data, packet, nas)
            if why is None and nas.signing is Signing.AUTO and address[0] not in self._signers:
                self._note_signer(address[0])
            return why
        signing = nas.signing
        if signing is Signing.YES or (signing is Signing.AUTO and address[0] in self._signers):
            return "unsigned"
        return None if packet.first(_EAP_MESSAGE) is None else "unsigned_eap"

    def _status(self, packet: Packet, nas: Nas) -> bytes:
        """The answer to "are you there?": RFC 5997 §3."""
        code = (
            Code.ACCOUNTING_RESPONSE if self._service is Service.ACCOUNTING else Code.ACCESS_ACCEPT
        )
        return encode_reply(Reply(code), packet, nas.secret)

    def _repeat(self, known: bytes, nas: Nas, address: Address, send: Send) -> None:
        if known is DECIDING:
            self.counts[nas.id, "dropped", "deciding"] += 1
        else:
            self.counts[nas.id, "repeated", self._service] += 1
            self._send(known, nas, address, send)

    def _answer(self, answer: bytes, nas: Nas, address: Address, send: Send) -> None:
        self.counts[nas.id, "answered", _ANSWERS[answer[0]]] += 1
        self._send(answer, nas, address, send)

    def _send(self, answer: bytes, nas: Nas, address: Address, send: Send) -> None:
        try:
            send(answer, address)
        except OSError as error:
            # It is kept: the access point asks again and gets it then.
            self.counts[nas.id, "unsent", type(error).__name__] += 1

    def _note_stranger(self, host: str) -> None:
        self.counts["", "refused", "stranger"] += 1
        asked = self.strangers.pop(host, 0)
        if len(self.strangers) >= STRANGERS_MAX:
            del self.strangers[next(iter(self.strangers))]
        self.strangers[host] = asked + 1

    def _note_signer(self, host: str) -> None:
        if len(self._signers) >= SIGNERS_MAX:
            del self._signers[next(iter(self._signers))]
        self._signers[host] = None

    def _read(self, bound: socket.socket, receive: Receive) -> None:
        for _ in range(READS_MAX):
            try:
                data, address = bound.recvfrom(PACKET_BYTES_MAX)
            except BlockingIOError:
                return
            except OSError as error:
                self.counts["", "refused", type(error).__name__] += 1
                return
            receive(data, address)

    async def _turn(self, workers: Workers[_Job]) -> None:
        while True:
            await asyncio.sleep(TURN_S)
            self._duplicates.turn()
            if late := workers.dismiss():
                log.error("wifi: %d requests took longer than %d s", late, TURN_S)
                self.counts["", "dropped", "late"] += late


def _leaves_no_room(packet: Packet) -> bool:
    states = packet.every(_PROXY_STATE)
    return sum(map(len, states)) + 2 * len(states) > PROXY_STATE_BYTES_MAX


def _signature_objection(
    data: bytes, packet: Packet, nas: Nas, authenticator: bytes | None = None
) -> str | None:
    genuine = message_authenticator_matches(data, packet, nas.secret, authenticator)
    return None if genuine else "message_authenticator"


def _accounting_objection(data: bytes, packet: Packet, nas: Nas) -> str | None:
    if not request_authenticator_matches(data, nas.secret):
        return "authenticator"
    # RFC 5176 §3: zeros stand for an Authenticator that is itself a hash.
    return _signature_objection(data, packet, nas, _ZEROS) if packet.signed_at else None


def _bound(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_DGRAM)
    try:
        bound.setblocking(False)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
        bound.bind((host, port))
    except OSError:
        bound.close()
        raise
    return bound
