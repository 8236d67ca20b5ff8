"""Single keys from a terminal, which gets its own settings back however the reading ends."""

import os
import re
import termios
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_INPUT_FLAGS, _LOCAL_FLAGS, _CHARACTERS = 0, 3, 6
"""Places in the list of `termios.tcgetattr`."""

_BYTES_MAX = 256
_SEQUENCE = re.compile(r"\x1b(\[[0-?]*[ -/]*[@-~]|O.|.)?")
"""What arrows and the like send: an escape and what belongs to it (ECMA-48, 5.4)."""


@contextmanager
def single_keys(descriptor: int) -> Iterator[None]:
    """Have the terminal hand over each key at once and unseen; Ctrl-C still interrupts.

    Ctrl-Z and Ctrl-S do nothing meanwhile: a stopped process could not put the screen back, and a
    stopped output would hold up the screen.
    """
    before = termios.tcgetattr(descriptor)
    during = termios.tcgetattr(descriptor)
    during[_INPUT_FLAGS] &= ~termios.IXON
    during[_LOCAL_FLAGS] &= ~(termios.ICANON | termios.ECHO)
    # A zero is `_POSIX_VDISABLE` on Linux: no character does it.
    changes = {termios.VMIN: 1, termios.VTIME: 0, termios.VSUSP: b"\0"}
    for place, value in changes.items():
        during[_CHARACTERS][place] = value
    try:
        termios.tcsetattr(descriptor, termios.TCSANOW, during)
        yield
    finally:
        # A terminal that was closed has no settings to get back.
        with suppress(termios.error):
            termios.tcflush(descriptor, termios.TCIFLUSH)
            termios.tcsetattr(descriptor, termios.TCSANOW, before)


def pressed(descriptor: int) -> str | None:
    """The letters and signs that were typed; empty for arrows and the like, None at the end."""
    try:
        data = os.read(descriptor, _BYTES_MAX)
    except OSError:
        return None
    if not data:
        return None
    return _SEQUENCE.sub("", data.decode("ascii", errors="ignore"))
