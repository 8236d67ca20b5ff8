"""The conversations under way: so many at most, and none that has fallen silent."""

from collections import Counter, OrderedDict
from collections.abc import Callable
from secrets import token_bytes

from edgegate.wifi.eap.fragments import packet_bytes_max
from edgegate.wifi.eap.tlsmethod import TlsMethod

SILENCE_S_MAX = 30.0
"""A conversation in which nothing comes for that long is forgotten."""

STATE_BYTES = 16


class Conversation:
    """One device's way through EAP."""

    __slots__ = (
        "identifier",
        "identity",
        "is_fresh",
        "is_waiting",
        "method",
        "packet_max",
        "rounds",
        "source",
        "spoke_at_s",
        "state",
        "tried",
        "verdict",
    )

    def __init__(self, state: bytes, identifier: int, source: str) -> None:
        self.state = state
        self.source = source
        """By which access point it came: nobody else can go on with it."""
        self.identifier = identifier
        """That of the request which the device is to answer."""
        self.identity = ""
        self.method: TlsMethod | None = None
        self.tried: set[int] = set()
        self.is_fresh = True
        """Whether the device may still ask for another method (RFC 3748 §5.3.1)."""
        self.packet_max = packet_bytes_max(None)
        self.rounds = 0
        self.spoke_at_s = 0.0
        self.is_waiting = False
        """Whether it waits for the decision on what was proven."""
        self.verdict: object = None


class HalfOpen:
    """A table by State; when it is full, the conversation that was silent longest goes.

    It goes at the access point that has most of them: a flood at one leaves room to the others.
    """

    def __init__(self, size_max: int, now: Callable[[], float]) -> None:
        self._size_max = size_max
        self._now = now
        # In the order in which they spoke last.
        self._conversations: OrderedDict[bytes, Conversation] = OrderedDict()
        self._sizes: Counter[str] = Counter()
        self.dropped = 0
        """How many conversations gave way to others."""
        self.expired = 0
        """How many fell silent."""

    def __len__(self) -> int:
        return len(self._conversations)

    def find(self, state: bytes | None, source: str) -> Conversation | None:
        """The conversation with that State by that access point, if it is still under way."""
        before_s = self._now() - SILENCE_S_MAX
        while self._conversations:
            silent = next(iter(self._conversations.values()))
            if silent.spoke_at_s > before_s:
                break
            self.forget(silent)
            self.expired += 1
        found = None if state is None else self._conversations.get(state)
        return found if found is not None and found.source == source else None

    def open(self, identifier: int, source: str) -> Conversation:
        """A new conversation, in which the device said something with that identifier."""
        conversation = Conversation(token_bytes(STATE_BYTES), identifier, source)
        self.keep(conversation)
        return conversation

    def keep(self, conversation: Conversation) -> None:
        """Hold a conversation that has just spoken."""
        conversation.spoke_at_s = self._now()
        self.forget(conversation)
        self._conversations[conversation.state] = conversation
        self._sizes[conversation.source] += 1
        if len(self._conversations) > self._size_max:
            most = max(self._sizes.values())
            every = self._conversations.values()
            self.forget(next(c for c in every if self._sizes[c.source] == most))
            self.dropped += 1

    def forget(self, conversation: Conversation) -> None:
        """Let go of a conversation, if it is there."""
        if self._conversations.pop(conversation.state, None) is None:
            return
        self._sizes[conversation.source] -= 1
        if not self._sizes[conversation.source]:
            del self._sizes[conversation.source]
