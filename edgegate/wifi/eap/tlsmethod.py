"""What EAP-TLS and EAP-TTLS have in common: a TLS handshake in fragments, an alert, an end."""

from abc import ABC, abstractmethod
from functools import cached_property
from typing import ClassVar, TypeAlias

from msgspec import Struct
from OpenSSL.SSL import Context

from edgegate.wifi.eap.fragments import (
    ACKNOWLEDGEMENT,
    START,
    FragmentError,
    Incoming,
    Outgoing,
    is_acknowledgement,
)
from edgegate.wifi.eap.identity import ServerIdentity
from edgegate.wifi.eap.packet import Type
from edgegate.wifi.eap.steps import MSK_BYTES, Proof
from edgegate.wifi.eap.tls import TlsConnection, TlsError


class Send(Struct, frozen=True):
    """Send this, behind the method's type."""

    data: bytes


class Proved(Struct, frozen=True):
    """The device proved this; nothing is sent before the decision."""

    proof: Proof


class Done(Struct, frozen=True):
    """The device knows that it is let in; the conversation is over."""

    proof: Proof


class Broken(Struct, frozen=True):
    """The method failed; the conversation is over."""

    why: str


Outcome: TypeAlias = Send | Proved | Done | Broken


class TlsMethod(ABC):
    """One conversation of one method."""

    type: ClassVar[Type]

    def __init__(self, identity: ServerIdentity) -> None:
        self._identity = identity
        self._incoming = Incoming()
        self._outgoing = Outgoing()
        self._alerted: str | None = None
        self._accepted: Proof | None = None

    @property
    def first(self) -> bytes:
        """What opens the method, behind its type."""
        return START

    def respond(self, data: bytes, packet_max: int) -> Outcome:
        """Take what a device sent behind the type; packets of ours are no larger than that."""
        try:
            if self._outgoing.is_under_way:
                if not is_acknowledgement(data):
                    return Broken("the device did not acknowledge a fragment")
                return Send(self._outgoing.next(packet_max))
            message = self._incoming.take(data)
            if message is None:
                return Send(ACKNOWLEDGEMENT)
            return self._take(message, packet_max)
        except FragmentError as error:
            return Broken(f"the device sent {error}")
        except TlsError as error:
            return self._alert(str(error), packet_max)

    def accept(self, proof: Proof, packet_max: int) -> Send | Done:
        """Go on after the decision that what was proven is enough."""
        self._accepted = proof
        last = self._last_words()
        return Done(proof) if last is None else self._send(last, packet_max)

    def msk(self) -> bytes:
        """The master session key, once the handshake is complete."""
        return self._tls.key_material(self.type)[:MSK_BYTES]

    def _take(self, message: bytes, packet_max: int) -> Outcome:
        if self._alerted is not None:
            return Broken(self._alerted)
        self._tls.feed(message)
        if self._accepted is not None:
            # On TLS 1.3 a device that cannot go along says so by an alert.
            self._tls.read(0)
            return Done(self._accepted)
        if self._tls.handshake():
            return self._established(packet_max)
        output = self._tls.output()
        return self._send(output, packet_max) if output else Broken("a TLS message cut short")

    def _alert(self, why: str, packet_max: int) -> Outcome:
        """Tell the device why (RFC 5216 §2.1.3); it answers, and only then it is over."""
        output = b"" if self._accepted else self._tls.output()
        if not output:
            return Broken(why)
        self._alerted = why
        return self._send(output, packet_max)

    def _send(self, message: bytes, packet_max: int) -> Send:
        return Send(self._outgoing.send(message, packet_max))

    @cached_property
    def _tls(self) -> TlsConnection:
        """Made when the device goes along: many want another method than the first one."""
        return TlsConnection(self._context(self._identity))

    @abstractmethod
    def _context(self, identity: ServerIdentity) -> Context:
        """What of the server's identity the method needs."""

    @abstractmethod
    def _established(self, packet_max: int) -> Outcome:
        """Go on after the handshake, for each message that comes then and before the decision."""

    @abstractmethod
    def _last_words(self) -> bytes | None:
        """What the device must have got before EAP-Success; `None` if nothing."""
