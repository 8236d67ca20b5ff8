"""Runs a program that ends when its parent does, however that one ends: `python -m …tied`."""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1
"""prctl(2), PR_SET_PDEATHSIG; it outlasts execve(2) of an ordinary program."""


def tie(parent: int) -> None:
    """Have the kernel kill this process once the thread of its parent that started it is gone.

    Raises:
        OSError: if the kernel will not.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != parent:
        # It was gone already, and nobody would tell.
        os._exit(1)


def command(*program: str) -> tuple[str, ...]:
    """What to start in place of a program so that it is tied to the process that calls this."""
    return (sys.executable, "-m", "edgegate.demo.tied", str(os.getpid()), *program)


if __name__ == "__main__":
    tie(int(sys.argv[1]))
    os.execvp(sys.argv[2], sys.argv[2:])  # noqa: S606 - the program that was asked for
