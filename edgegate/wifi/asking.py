"""The access point's side of RADIUS, for a test from this computer: ask, wait, check the answer."""

import os
import socket
from ipaddress import ip_address

from edgegate.wifi.attributes import Code
from edgegate.wifi.nas import Nas
from edgegate.wifi.packet import (
    PACKET_BYTES_MAX,
    Attributes,
    MalformedPacketError,
    Packet,
    decode,
    encode_request,
    message_authenticator_matches,
    response_authenticator_matches,
)

WAIT_S = 3.0
TRIES = 2
"""The database may be at work; an access point asks again as well (RFC 2865 §2.4)."""

_SIGNED = (Code.ACCESS_REQUEST, Code.STATUS_SERVER)


class SilenceError(Exception):
    """Nothing came."""


class ClosedError(Exception):
    """Nobody listens there."""


class ForgedError(Exception):
    """What came was not made with the secret."""


class Line:
    """A socket to one port, with the secret of one access point."""

    def __init__(self, nas: Nas, host: str, port: int) -> None:
        """Name both ends; `nas.network` is the address to ask from."""
        family = socket.AF_INET6 if ip_address(host).version == 6 else socket.AF_INET
        self._secret = nas.secret
        self._number = 0
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        self._socket.settimeout(WAIT_S)
        try:
            source = nas.network.network_address
            if source.version == ip_address(host).version:
                self._socket.bind((str(source), 0))
            self._socket.connect((host, port))
        except OSError:
            self._socket.close()
            raise

    def close(self) -> None:
        """Give the socket back."""
        self._socket.close()

    def ask(
        self, code: Code, attributes: Attributes, authenticator: bytes | None = None
    ) -> tuple[Packet, bytes]:
        """The answer, and the Authenticator of the request that it answers.

        Raises:
            SilenceError: nothing came.
            ClosedError: nobody listens there.
            ForgedError: the answer was not made with the secret.
        """
        self._number = (self._number + 1) % 256
        own = authenticator or (os.urandom(16) if code in _SIGNED else None)
        request = encode_request(code, self._number, attributes, self._secret, own)
        for _ in range(TRIES):
            try:
                self._socket.send(request)
                answer = self._socket.recv(PACKET_BYTES_MAX)
            except TimeoutError:
                continue
            except OSError as error:
                raise ClosedError(error.strerror or str(error)) from error
            return self._checked(answer, request), request[4:20]
        raise SilenceError

    def _checked(self, answer: bytes, request: bytes) -> Packet:
        try:
            packet = decode(answer)
        except MalformedPacketError as error:
            raise ForgedError(str(error)) from error
        if not response_authenticator_matches(answer, request, self._secret):
            raise ForgedError("its authenticator is of another secret")
        signed = packet.signed_at != 0
        if signed and not message_authenticator_matches(
            answer, packet, self._secret, request[4:20]
        ):
            raise ForgedError("its Message-Authenticator is of another secret")
        return packet
