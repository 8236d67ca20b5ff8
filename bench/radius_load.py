"""The load generator: so many RADIUS conversations in flight, all replies checked.

A conversation is anything that gives a first request and answers replies (see `Conversation`); PAP
takes one exchange, EAP several. One thread, sockets of its own, the same for every server.
"""

import os
import selectors
import socket
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

from bench import radius_codec as radius

PORTS = 4
"""Sockets, each with identifiers of its own."""

IDENTIFIERS = 256
ANSWER_S_MAX = 5.0
"""A server that is silent for so long has lost the request: UDP on localhost loses nothing else."""

RETRIES_MAX = 2
BUFFER_BYTES = 4 << 20

COMMON: radius.Attributes = [
    (radius.NAS_IP_ADDRESS, bytes((127, 0, 0, 1))),
    (radius.NAS_IDENTIFIER, b"bench"),
    (radius.NAS_PORT_TYPE, (19).to_bytes(4)),
    (radius.CALLED_STATION_ID, b"02-00-00-00-00-01:bench"),
]


class LostError(Exception):
    """A server did not answer, so that nothing was measured."""


class Conversation(Protocol):
    """One client that wants in."""

    def request(self, identifier: int) -> tuple[bytes, bytes]:
        """The next request and its authenticator."""

    def take(self, reply: radius.Reply, authenticator: bytes) -> bool:
        """Look at the reply to it; whether there is a next request.

        Raises:
            WrongReplyError: it is not what should come.
        """


@dataclass(slots=True)
class Result:
    """What one run of the generator showed."""

    done: int = 0
    retried: int = 0
    took_s: float = 0.0
    seen_s: list[float] = field(default_factory=list)
    """How long each reply took."""


@dataclass(slots=True)
class _Flight:
    conversation: Conversation
    port: socket.socket
    identifier: int
    packet: bytes
    authenticator: bytes
    sent_s: float
    first_s: float
    tries: int = 1


class Load:
    """A client at one server."""

    def __init__(self, port: int, secret: bytes) -> None:
        self._secret = secret
        self._selector = selectors.DefaultSelector()
        self._free: deque[tuple[socket.socket, int]] = deque()
        self._flights: dict[tuple[socket.socket, int], _Flight] = {}
        ports = [_connect(port) for _ in range(PORTS)]
        for one in ports:
            self._selector.register(one, selectors.EVENT_READ)
        # An identifier that has become free is used again after all the others.
        self._free.extend((one, n) for n in range(IDENTIFIERS) for one in ports)
        self._ports = ports

    def close(self) -> None:
        """Close the sockets."""
        self._selector.close()
        for port in self._ports:
            port.close()

    def run(self, conversations: Iterator[Conversation], in_flight: int) -> Result:
        """Keep so many in flight until no more come, and all have ended.

        Raises:
            LostError: the server is silent.
            WrongReplyError: a reply is not what should come.
        """
        result = Result()
        begun_s = time.monotonic()
        for conversation in conversations:
            self._send(conversation)
            if len(self._flights) >= in_flight:
                self._receive(result, in_flight - 1)
        self._receive(result, 0)
        result.took_s = time.monotonic() - begun_s
        return result

    def _send(self, conversation: Conversation) -> None:
        port, identifier = self._free.popleft()
        packet, authenticator = conversation.request(identifier)
        now_s = time.monotonic()
        flight = _Flight(conversation, port, identifier, packet, authenticator, now_s, now_s)
        self._flights[port, identifier] = flight
        port.send(packet)

    def _receive(self, result: Result, left_max: int) -> None:
        """Take replies until not more than so many are in flight."""
        while len(self._flights) > left_max:
            ready = self._selector.select(ANSWER_S_MAX / 5)
            for key, _ in ready:
                if isinstance(key.fileobj, socket.socket):
                    self._take_all(key.fileobj, result)
            if not ready:
                self._retry(result)

    def _take_all(self, port: socket.socket, result: Result) -> None:
        while True:
            try:
                data = port.recv(4096)
            except BlockingIOError:
                return
            flight = self._flights.pop((port, data[1]), None)
            if flight is None:
                # The answer to a request that was sent twice, once more.
                continue
            result.seen_s.append(time.monotonic() - flight.first_s)
            self._free.append((port, flight.identifier))
            reply = radius.open_reply(data, flight.authenticator, self._secret)
            if flight.conversation.take(reply, flight.authenticator):
                self._send(flight.conversation)
            else:
                result.done += 1

    def _retry(self, result: Result) -> None:
        now_s = time.monotonic()
        for flight in self._flights.values():
            if now_s - flight.sent_s < ANSWER_S_MAX:
                continue
            if flight.tries > RETRIES_MAX:
                raise LostError(f"no answer in {now_s - flight.first_s:.0f} s")
            flight.tries += 1
            flight.sent_s = now_s
            flight.port.send(flight.packet)
            result.retried += 1


def _connect(port: int) -> socket.socket:
    one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    one.setblocking(False)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
    one.connect(("127.0.0.1", port))
    return one


class Pap:
    """One login by name and password."""

    def __init__(self, name: str, password: str, secret: bytes, *, welcome: bool = True) -> None:
        self._name = name
        self._password = password.encode()
        self._secret = secret
        self._expected = radius.ACCESS_ACCEPT if welcome else radius.ACCESS_REJECT

    def request(self, identifier: int) -> tuple[bytes, bytes]:
        authenticator = os.urandom(16)
        attributes: radius.Attributes = [
            (radius.USER_NAME, self._name.encode()),
            (radius.USER_PASSWORD, radius.hide(self._password, authenticator, self._secret)),
            (radius.CALLING_STATION_ID, station(self._name)),
            *COMMON,
        ]
        return radius.request(identifier, authenticator, attributes, self._secret), authenticator

    def take(self, reply: radius.Reply, authenticator: bytes) -> bool:  # noqa: ARG002 - no keys
        if reply.code != self._expected:
            raise radius.WrongReplyError(f"{self._name}: code {reply.code}")
        return False


def station(name: str) -> bytes:
    """A MAC address of the member's own."""
    digits = f"02{sum(name.encode()) % 256:02x}{int(''.join(filter(str.isdigit, name)) or 0):08x}"
    return "-".join(digits[at : at + 2] for at in range(0, 12, 2)).upper().encode()
