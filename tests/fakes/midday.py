"""A zone in which it is about midday now, for tests whose appliance goes by the real clock.

A pass that is good until midnight would end within the test where that runs late in the evening.
"""

from datetime import UTC, datetime

MIDDAY_H = 12


def midday_zone() -> str:
    """An IANA zone of a fixed offset; their signs are the other way round (POSIX)."""
    return f"Etc/GMT{datetime.now(UTC).hour - MIDDAY_H:+d}"
