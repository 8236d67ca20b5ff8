"""What one packet of an EAP conversation comes to, for whoever answers the RADIUS request."""

from typing import Protocol, TypeAlias

from msgspec import Struct

from edgegate.wifi.proofs import CertificateProof, LoginProof

Proof: TypeAlias = LoginProof | CertificateProof

MSK_BYTES = 64
"""RFC 3748 §7.10: `msk[:32]` is MS-MPPE-Recv-Key, `msk[32:]` is MS-MPPE-Send-Key (RFC 2548)."""


class Challenge(Struct, frozen=True):
    """The conversation goes on: send Access-Challenge with this EAP packet and State."""

    eap: bytes
    state: bytes


class Accepted(Struct, frozen=True):
    """The conversation ended well: send Access-Accept with this EAP-Success and the keys."""

    eap: bytes
    msk: bytes
    proof: Proof
    verdict: object
    """What was given to `Handle.accept`."""


class Failed(Struct, frozen=True):
    """The conversation ended: send Access-Reject with this EAP-Failure."""

    eap: bytes
    why: str
    """One sentence for whoever runs the network, without secrets or line ends in it.

    It is one of a limited number, whatever devices send: it can be counted by.
    """


class Ignored(Struct, frozen=True):
    """A packet that belongs nowhere (RFC 3748 §4.1): send nothing; the conversation waits on."""

    why: str


class Handle(Protocol):
    """A conversation that has proven something and waits for the decision; use it once."""

    def accept(self, verdict: object = None) -> Accepted | Challenge:
        """Let the device in.

        With EAP-TLS a round trip comes first: then `step` returns `Accepted` later, with the same
        `verdict` in it.
        """

    def refuse(self, why: str) -> Failed:
        """Send the device away."""


class Proven(Struct, frozen=True):
    """The device has proven something: decide, then call the handle."""

    proof: Proof
    conversation: Handle
    identity: str
    """What the device called itself outside of the tunnel: proven by nothing, often anonymous."""


Step: TypeAlias = Challenge | Proven | Accepted | Failed | Ignored
