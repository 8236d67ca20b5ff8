"""EAP conversations cut, altered, mixed and repeated anywhere; used by tests and by `make fuzz`.

Nothing that the server does with them may raise; what it holds stays bounded, and an honest device
in between is served. The same seed alters alike, though TLS draws numbers of its own.
"""

import time
from collections import Counter
from dataclasses import dataclass, field
from random import Random

from OpenSSL import SSL

from edgegate.wifi.eap.packet import Type
from edgegate.wifi.eap.server import EapServer
from edgegate.wifi.eap.steps import Accepted, Challenge, Failed, Ignored, Proven, Step
from rig.eap_peer import Device, admitted, client_context, pap
from rig.wifi_fuzz import held_kib, served_in
from rig.wifi_papers import authority, client, identity

HALF_OPEN_MAX = 64
ROUNDS_MAX = 40
HONEST_EVERY = 50
WARM = 5000
GROWN_KIB_MAX = 4096
WHYS_MAX = 1000
"""Reasons are counted by: whatever is said, there are not more."""
ALTERED_AT_MAX = 12
"""Few conversations are longer, but where fragments are small."""


class Clock:
    """Time that a fuzzer makes pass."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@dataclass
class Tally:
    """What came of it."""

    conversations: int = 0
    steps: Counter[str] = field(default_factory=Counter)
    whys: Counter[str] = field(default_factory=Counter)
    honest: int = 0
    waited_s: list[float] = field(default_factory=list)
    """How long each honest device's whole conversation took, the device's own share too."""
    worked_s_max: float = 0.0
    """The most processor time of one of them."""
    grown_kib: int = 0
    """How far the process grew after it was warm; 0 in a run too short to tell."""


class Fuzzer:
    """Conversations by a seed against one server; `run` may be called again and again."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.clock = Clock()
        self.server = EapServer(identity(), half_open_max=HALF_OPEN_MAX, now=self.clock)
        trusted = authority().certificate
        self.contexts: list[tuple[Type, SSL.Context]] = []
        for version in ("1.2", "1.3"):
            self.contexts += [
                (Type.TTLS, client_context(version, trusted)),
                (Type.TLS, client_context(version, trusted, client())),
                (Type.TLS, client_context(version, trusted, client(by="Somebody else"))),
            ]
        self.heard: list[tuple[bytes, bytes]] = []
        """Packets and States of conversations before, to be brought up again."""
        self.tally = Tally()

    def run(self, conversations: int) -> Tally:
        """Hold that many; an honest one in between must come in."""
        warm_kib = 0
        for number in range(conversations):
            self.converse()
            self.tally.conversations += 1
            if number % HONEST_EVERY == 0:
                self.honest()
            assert len(self.server.half_open) <= HALF_OPEN_MAX
            if number == WARM:
                warm_kib = held_kib()
        self.tally.grown_kib = held_kib() - warm_kib if warm_kib else 0
        return self.tally

    def honest(self) -> None:
        """A device that does everything right."""
        method, context = self.contexts[0]
        began_s, worked_s = time.perf_counter(), time.process_time()
        step = admitted(self.server, Device(context, method))
        self.tally.waited_s.append(time.perf_counter() - began_s)
        worked_s = time.process_time() - worked_s
        self.tally.worked_s_max = max(self.tally.worked_s_max, worked_s)
        self.tally.honest += 1
        assert isinstance(step, Accepted), step

    def converse(self) -> None:
        """One conversation with anything in it."""
        random = self.random
        method, context = random.choice(self.contexts)
        device = Device(
            context,
            method,
            packet_max=random.choice((64, 300, 1024, 3000)),
            inner=self.inner(),
            eager=random.random() < 0.5,
            wants=random.randbytes(random.randrange(4)) if random.random() < 0.1 else b"",
        )
        eap, state = device.first(), None
        alter_at = random.randrange(ALTERED_AT_MAX)
        for turn in range(ROUNDS_MAX):
            if turn >= alter_at and random.random() < 0.5:
                eap, state = self.altered(eap, state)
            step = self.step(eap, state)
            if isinstance(step, Proven):
                step = self.decided(step)
            if not isinstance(step, Challenge):
                return
            state = step.state
            if random.random() < 0.02:
                return
            eap = self.answer(device, step.eap)
            self.heard.append((eap, state))
            del self.heard[:-100]

    def answer(self, device: Device, eap: bytes) -> bytes:
        """What the device says; once it was lied about, it may be at a loss."""
        try:
            return device.answer(eap)
        except (AssertionError, ValueError, SSL.Error):
            return device.response(eap[1], device.method, self.random.randbytes(20))

    def decided(self, step: Proven) -> Step:
        if self.random.random() < 0.5:
            return step.conversation.refuse("no pass")
        return step.conversation.accept()

    def step(self, eap: bytes, state: bytes | None) -> Step:
        self.clock.now_s += 31.0 if self.random.random() < 0.002 else self.random.random() / 10
        mtu = self.random.choice((None, None, 0, 60, 304, 1400, 1 << 31))
        step = self.server.step(eap, state, mtu=mtu)
        self.tally.steps[type(step).__name__] += 1
        if isinstance(step, Challenge):
            assert len(step.eap) <= 1024
            assert int.from_bytes(step.eap[2:4]) == len(step.eap)
        if isinstance(step, Failed | Ignored):
            assert step.why.isprintable()
            self.tally.whys[step.why] += 1
        if isinstance(step, Failed):
            assert len(step.eap) == 4
            assert step.eap[0] == 4
        return step

    def inner(self) -> bytes:
        """What stands in the tunnel, mostly as it should."""
        inner = pap()
        if self.random.random() < 0.5:
            inner, _ = self.altered(inner, None)
        return inner * self.random.choice((1, 1, 1, 1, 40, 200))

    def altered(self, eap: bytes, state: bytes | None) -> tuple[bytes, bytes | None]:
        """The same, but not quite."""
        random = self.random
        at = random.randrange(len(eap) + 1)
        # Within the first bytes stand code, length, type and flags: more goes wrong there.
        near = min(at, random.randrange(13))
        cut = eap[: max(at, 5)]
        old, older = random.choice(self.heard or [(eap, state)])
        return random.choice(
            (
                (eap[:at], state),
                (eap[:at] + random.randbytes(random.randrange(1, 30)) + eap[at:], state),
                (eap[:at] + random.randbytes(1) + eap[at + 1 :], state),
                (eap[:near] + random.randbytes(1) + eap[near + 1 :], state),
                (cut[:2] + len(cut).to_bytes(2) + cut[4:], state),
                (random.randbytes(random.randrange(40)), state),
                (eap, random.choice((None, b"", random.randbytes(16)))),
                (old, state),
                (old, older),
            )
        )


def campaign(count: int, seed: int) -> str:
    """The long form, for `scripts/fuzz.py`."""
    tally = Fuzzer(seed).run(count)
    served = served_in(tally.waited_s, tally.worked_s_max)
    if tally.grown_kib > GROWN_KIB_MAX:
        raise AssertionError(f"the process grew by {tally.grown_kib} KiB")
    if len(tally.whys) > WHYS_MAX:
        raise AssertionError(f"{len(tally.whys)} different reasons")
    steps = ", ".join(f"{kind} {many:,}" for kind, many in tally.steps.most_common())
    return (
        f"no exception; {served}; grown by {tally.grown_kib:,} KiB; "
        f"{len(tally.whys)} reasons; {steps}"
    )
