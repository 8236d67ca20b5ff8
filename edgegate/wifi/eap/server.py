"""The server's side of EAP: from an identity to something proven, with whoever happens to talk."""

from collections.abc import Callable, Sequence

from edgegate.wifi.eap import packet
from edgegate.wifi.eap.conversations import Conversation, HalfOpen
from edgegate.wifi.eap.eaptls import EapTls
from edgegate.wifi.eap.fragments import packet_bytes_max
from edgegate.wifi.eap.identity import ServerIdentity
from edgegate.wifi.eap.packet import EapPacket, MalformedEapError, Type, method_name
from edgegate.wifi.eap.steps import Accepted, Challenge, Failed, Ignored, Proof, Proven, Step
from edgegate.wifi.eap.tlsmethod import Broken, Done, Outcome, Proved, Send, TlsMethod
from edgegate.wifi.eap.ttls import Ttls

METHODS: dict[Type, type[TlsMethod]] = {Type.TTLS: Ttls, Type.TLS: EapTls}
"""What can be offered. A method that is not here (PEAP, type 25) is refused by its name."""

HALF_OPEN_MAX = 256
"""Conversations under way; OpenSSL 4 takes 65 KB for each within its handshake."""

ROUNDS_MAX = 150
"""Packets of one conversation: the longest message both ways in fragments of 300 bytes."""

NAMED_MAX = 3
"""Of the methods that a device asks for, so many are told."""

IDENTITY_BYTES_MAX = 253
"""What a User-Name attribute can have (RFC 2865 §5.1)."""


class EapServer:
    """All conversations; call it and the handles that it returns on one thread."""

    def __init__(
        self,
        identity: ServerIdentity,
        methods: Sequence[Type] = (Type.TTLS, Type.TLS),
        *,
        half_open_max: int = HALF_OPEN_MAX,
        now: Callable[[], float],
    ) -> None:
        """Offer these methods in this order; `now` is a monotonic clock in seconds.

        Raises:
            ValueError: if there is nothing to offer.
        """
        if not methods:
            raise ValueError("EAP without a method")
        self.identity = identity
        """Whom new conversations meet; set it when the certificate was renewed."""
        self.half_open = HalfOpen(half_open_max, now)
        self._methods = {number: METHODS[number] for number in methods}

    def step(
        self, eap: bytes, state: bytes | None, *, mtu: int | None = None, source: str = ""
    ) -> Step:
        """Take one EAP packet, joined from its EAP-Message attributes; it never raises.

        `state` is the request's State attribute and `mtu` its Framed-MTU, if it has them; `source`
        is the access point, which alone can go on with what began there.
        """
        conversation = self.half_open.find(state, source)
        if not eap:
            # RFC 3579 §2.1: an empty EAP-Message asks the server to begin.
            return self._ask_identity(source)
        try:
            response = packet.decode_response(eap)
        except MalformedEapError as error:
            why = f"the device sent {error}"
            return Ignored(why) if conversation else Failed(_failure_of(eap), why)
        if response.type == Type.IDENTITY and not (conversation and conversation.method is None):
            if conversation is not None:
                self.half_open.forget(conversation)
            begun = self.half_open.open(response.identifier, source)
            return self._identified(begun, response, mtu)
        if conversation is None:
            why = "the device goes on with a conversation that is over or was never begun"
            return Failed(packet.failure(response.identifier), why)
        return self._go_on(conversation, response, mtu)

    def _ask_identity(self, source: str) -> Challenge:
        return self._challenge(self.half_open.open(0, source), Type.IDENTITY, b"")

    def _identified(
        self, conversation: Conversation, response: EapPacket, mtu: int | None
    ) -> Challenge:
        said = response.data[:IDENTITY_BYTES_MAX].decode(errors="replace")
        conversation.identity = said if said.isprintable() else _printable(said)
        conversation.packet_max = packet_bytes_max(mtu)
        return self._offer(conversation, next(iter(self._methods)))

    def _offer(self, conversation: Conversation, number: Type) -> Challenge:
        conversation.tried.add(number)
        conversation.is_fresh = True
        conversation.method = self._methods[number](self.identity)
        return self._challenge(conversation, number, conversation.method.first)

    def _go_on(self, conversation: Conversation, response: EapPacket, mtu: int | None) -> Step:
        if response.identifier != conversation.identifier:
            return Ignored("an answer to another request than the last one")
        if conversation.is_waiting:
            return Ignored("the same again while the decision is under way")
        self.half_open.keep(conversation)
        conversation.rounds += 1
        if conversation.rounds > ROUNDS_MAX:
            return self._fail(conversation, f"more than {ROUNDS_MAX} packets in one conversation")
        if mtu is not None:
            conversation.packet_max = packet_bytes_max(mtu)
        if conversation.method is not None:
            return self._converse(conversation, conversation.method, response)
        if response.type == Type.IDENTITY:
            return self._identified(conversation, response, mtu)
        return self._fail(conversation, "the device did not say who it is")

    def _converse(self, conversation: Conversation, method: TlsMethod, response: EapPacket) -> Step:
        if response.type == Type.NAK and conversation.is_fresh:
            return self._other_method(conversation, response.data)
        if response.type != method.type:
            ours, theirs = method_name(method.type), method_name(response.type)
            return self._fail(conversation, f"the device answers {ours} with {theirs}")
        conversation.is_fresh = False
        outcome = method.respond(response.data, conversation.packet_max)
        return self._step_of(conversation, method, outcome)

    def _other_method(self, conversation: Conversation, wanted: bytes) -> Step:
        """RFC 3748 §5.3.1: the device lists what it would speak instead; zero is none."""
        for number in self._methods:
            if number in wanted and number not in conversation.tried:
                return self._offer(conversation, number)
        # Each but once: so there are not too many sentences to count by.
        names = list(dict.fromkeys(method_name(number) for number in sorted(wanted) if number))
        ours = ", ".join(method_name(number) for number in self._methods)
        theirs = f"wants {', '.join(names[:NAMED_MAX])}" if names else "wants none of the methods"
        return self._fail(conversation, f"the device {theirs}; offered here: {ours}")

    def _step_of(self, conversation: Conversation, method: TlsMethod, outcome: Outcome) -> Step:
        match outcome:
            case Send(data):
                return self._challenge(conversation, method.type, data)
            case Proved(proof):
                conversation.is_waiting = True
                handle = _Waiting(self, conversation, method, proof)
                return Proven(proof, handle, conversation.identity)
            case Done(proof):
                return self._accepted(conversation, method, proof)
            case Broken(why):
                return self._fail(conversation, why)

    def accept(
        self, conversation: Conversation, method: TlsMethod, proof: Proof
    ) -> Accepted | Challenge:
        """Go on after a decision: what a handle calls."""
        outcome = method.accept(proof, conversation.packet_max)
        if isinstance(outcome, Done):
            return self._accepted(conversation, method, proof)
        self.half_open.keep(conversation)
        return self._challenge(conversation, method.type, outcome.data)

    def refuse(self, conversation: Conversation, why: str) -> Failed:
        """End a conversation after a decision: what a handle calls."""
        return self._fail(conversation, why)

    def _challenge(self, conversation: Conversation, number: Type, data: bytes) -> Challenge:
        conversation.identifier = (conversation.identifier + 1) & 0xFF
        return Challenge(packet.request(conversation.identifier, number, data), conversation.state)

    def _accepted(self, conversation: Conversation, method: TlsMethod, proof: Proof) -> Accepted:
        self.half_open.forget(conversation)
        success = packet.success(conversation.identifier)
        return Accepted(success, method.msk(), proof, conversation.verdict)

    def _fail(self, conversation: Conversation, why: str) -> Failed:
        self.half_open.forget(conversation)
        return Failed(packet.failure(conversation.identifier), why)


class _Waiting:
    """The handle of a conversation that waits for a decision."""

    def __init__(
        self, server: EapServer, conversation: Conversation, method: TlsMethod, proof: Proof
    ) -> None:
        self._server = server
        self._conversation = conversation
        self._method = method
        self._proof = proof

    def accept(self, verdict: object = None) -> Accepted | Challenge:
        self._take()
        self._conversation.verdict = verdict
        return self._server.accept(self._conversation, self._method, self._proof)

    def refuse(self, why: str) -> Failed:
        self._take()
        return self._server.refuse(self._conversation, why)

    def _take(self) -> None:
        if not self._conversation.is_waiting:
            raise RuntimeError("a decision is taken once")
        self._conversation.is_waiting = False


def _failure_of(eap: bytes) -> bytes:
    """The refusal of something that is no EAP packet, as far as it has an identifier."""
    return packet.failure(eap[1] if len(eap) > 1 else 0)


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else "\ufffd" for c in text)
