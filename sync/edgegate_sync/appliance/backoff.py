"""How long to wait before the next try: full jitter below a cap that doubles.

Devices that lost the same broker or cloud must not all come back at the same instant; full jitter
spreads them over the whole wait (Marc Brooker, "Exponential Backoff And Jitter", 2015).
"""

import random
from collections.abc import Callable

DOUBLINGS_MAX = 32
"""Doubling further would change nothing: the cap is reached long before."""


class Backoff:
    """The waits of one thing that is tried again and again."""

    def __init__(
        self,
        first_s: float = 0.5,
        max_s: float = 60.0,
        chance: Callable[[], float] = random.random,
    ) -> None:
        """Wait up to `first_s` after the first failure, at most up to `max_s`."""
        self._first_s = first_s
        self._max_s = max_s
        self._chance = chance
        self.failures = 0
        """How many there were since the last success."""

    def delay_s(self) -> float:
        """Count a failure, and say how long to wait after it."""
        doublings = min(self.failures, DOUBLINGS_MAX)
        self.failures += 1
        return min(self._max_s, self._first_s * 2.0**doublings) * self._chance()

    def reset(self) -> None:
        """Begin anew after a success."""
        self.failures = 0
