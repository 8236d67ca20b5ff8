"""Hears from the cloud's authenticated answers what time it is, for the effective clock.

The header comes over TLS from a server whose certificate was checked, so it is fresh and genuine
where NTP is neither; but it has whole seconds, and is as late as the answer was. So it vouches for
the wall clock where that is near enough, and sets the clock itself only where it is not.
"""

import asyncio
import time
from datetime import UTC, datetime, timedelta

from edgegate.clock import CLOUD, SystemClock, Word, since_boot_s
from edgegate_sync.appliance.client import CloudClient, CloudTime

AGREE_S = 2.0
"""What may differ beyond the header's whole second and the answer's way."""

ROUND_TRIP_S_MAX = 5.0
"""An answer that took longer, such as that of a long poll, says nothing of the time."""

GOOD_FOR_S = 600.0
"""How long the cloud's word counts; it is asked each minute."""

LOOK_S = 1.0

_HALF_S = timedelta(seconds=0.5)
"""A header that leaves the fraction out is behind by so much on average (RFC 9110, 6.6.1)."""


def word_of(told: CloudTime, clock: SystemClock) -> Word | None:
    """What an answer of the cloud says of the time now; None if it took too long.

    The wall clock is taken where that is near enough, else the clock itself: whole seconds would
    make it jump to and fro.
    """
    if told.round_trip_s > ROUND_TRIP_S_MAX:
        return None
    age = timedelta(seconds=time.monotonic() - told.received_s)
    # On average the header was written half a way ago.
    now = told.at + _HALF_S + timedelta(seconds=told.round_trip_s / 2) + age
    bound = timedelta(seconds=AGREE_S + 1.0 + told.round_trip_s)
    candidates = (datetime.now(UTC), clock.now())
    at = next((candidate for candidate in candidates if abs(candidate - now) <= bound), now)
    return Word(CLOUD, at, since_boot_s(), GOOD_FOR_S)


async def hear_cloud(client: CloudClient, clock: SystemClock) -> None:
    """Let the clock hear what the cloud's answers say, for ever."""
    heard: CloudTime | None = None
    while True:
        told = client.time
        if told is not None and told is not heard:
            heard = told
            word = word_of(told, clock)
            if word is not None:
                clock.hear(word)
        await asyncio.sleep(LOOK_S)
