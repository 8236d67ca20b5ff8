"""Answers given lately: a request that comes again gets the same bytes and is decided once.

Kept in two generations: a look into both is all it costs, and turning them drops the older one
whole. An answer is so kept for one to two turns.
"""

from typing import Final

KEPT_BYTES_MAX = 32 << 20
"""What is kept takes no more. When full, the older half goes before its time, and is counted: a
crowd's handshakes at 1,700 answers a second come to 12 s at the least, logins without EAP to 30.
RFC 5080 §2.2.2 asks for 5 s; an access point that asks again later than that gets a new decision,
which finds its device inside already and spends nothing."""

ENTRY_BYTES = 512
"""What an answer takes beside its own bytes: its key, and their place in the table."""

TURN_S = 30.0
"""RFC 5080 §2.2.2 wants 5 to 30 seconds. That of the longest an answer may be kept for two of
them costs room only: the Authenticator in its key is no other request's."""

Key = tuple[tuple[str | int, ...], bytes]
"""Address and port it came from; its code, identifier, length and authenticator."""

DECIDING: Final = b""
"""The answer of a request that is being decided."""


class Duplicates:
    """Requests lately answered, and those being decided."""

    def __init__(self, bytes_max: int = KEPT_BYTES_MAX) -> None:
        self._half_bytes_max = bytes_max // 2
        self._newer_bytes = 0
        self._newer: dict[Key, bytes] = {}
        self._older: dict[Key, bytes] = {}
        self._deciding: set[Key] = set()

    def __len__(self) -> int:
        return len(self._newer) + len(self._older) + len(self._deciding)

    def answer(self, key: Key) -> bytes | None:
        """The answer already given, `DECIDING`, or None for a request never seen."""
        answer = self._newer.get(key)
        if answer is None:
            answer = self._older.get(key)
            if answer is None and key in self._deciding:
                return DECIDING
        return answer

    def begin(self, key: Key) -> None:
        """A request is being decided from now on."""
        self._deciding.add(key)

    def settle(self, key: Key, answer: bytes) -> int:
        """A request was decided, and its answer stays; how many others went before their time."""
        self._deciding.discard(key)
        dropped = 0
        size = len(answer) + ENTRY_BYTES
        if self._newer and self._newer_bytes + size > self._half_bytes_max:
            dropped = len(self._older)
            self.turn()
        self._newer[key] = answer
        self._newer_bytes += size
        return dropped

    def forget(self, key: Key) -> None:
        """A request got no answer: when it comes again, it is tried again."""
        self._deciding.discard(key)

    def turn(self) -> None:
        """Drop what is older than one turn; due every `TURN_S`."""
        self._older = self._newer
        self._newer = {}
        self._newer_bytes = 0
