"""Rate limits: a bucket of tokens for each address and each API token.

The buckets are this worker's own: behind several workers a client has as many times the rate.
That keeps guessing and floods bounded, which is what they are for, without a shared store.
"""

import time
from collections import OrderedDict
from collections.abc import Callable

from msgspec import Struct


class Rate(Struct, frozen=True):
    """How often: `burst` at once, and `per_s` again in each second."""

    burst: float
    per_s: float


ENROL = Rate(burst=10, per_s=1 / 30)
"""Of one address: guessing a claim code of 100 bits is hopeless anyway."""

UNKNOWN = Rate(burst=20, per_s=0.5)
"""Requests of one address that failed to prove who they are."""

ADMIN = Rate(burst=200, per_s=50)
"""Of one API token."""

DEVICE = Rate(burst=200, per_s=20)
"""Of one device."""

BUCKETS_MAX = 10_000
"""Clients remembered; when full, who was longest silent is forgotten, with a full bucket."""


class _Bucket(Struct):
    tokens: float
    at_s: float


class Limiter:
    """The buckets of one kind of client."""

    def __init__(self, rate: Rate, *, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._rate = rate
        self._clock_s = clock_s
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def take(self, client: str) -> float:
        """Take one token; 0 if there was one, else after how many seconds there will be."""
        wait_s = self.wait_s(client)
        if wait_s == 0:
            self._buckets[client].tokens -= 1
        return wait_s

    def wait_s(self, client: str) -> float:
        """After how many seconds a client may come; 0 is now. Takes nothing."""
        now_s = self._clock_s()
        bucket = self._buckets.setdefault(client, _Bucket(self._rate.burst, now_s))
        self._buckets.move_to_end(client)
        if len(self._buckets) > BUCKETS_MAX:
            self._buckets.popitem(last=False)
        grown = bucket.tokens + (now_s - bucket.at_s) * self._rate.per_s
        bucket.tokens, bucket.at_s = min(self._rate.burst, grown), now_s
        return 0 if bucket.tokens >= 1 else (1 - bucket.tokens) / self._rate.per_s
