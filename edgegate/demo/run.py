"""Sets the demo up, runs it in one of its two forms, and takes it down without a trace."""

import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgegate.demo.servers import serving
from edgegate.demo.wiring import CLOUD

DIRECTORY_CHARACTERS_MAX = 60
"""In a longer name a Unix socket finds no room (107 bytes, unix(7))."""

FAILED = 1


def run(*, tour: bool) -> int:
    """Run in a directory that is gone afterwards, unless something failed: then it may tell why.

    Raises:
        BrokenPipeError: if nobody reads any more what is said.
        KeyboardInterrupt: if Ctrl-C came before or after the appliance ran.
    """
    directory = _new_directory()
    keep = True
    try:
        with _interrupted_by(signal.SIGTERM, signal.SIGHUP):
            code = _run_in(directory, tour=tour)
        keep = code == FAILED
    except (BrokenPipeError, KeyboardInterrupt):
        keep = False
        raise
    finally:
        if keep:
            print(f"Its logs, ledger and configuration are kept in {directory}.", flush=True)
        else:
            shutil.rmtree(directory)
    return code


def _new_directory() -> Path:
    usual = tempfile.gettempdir()
    # For everybody to write to, and mkdtemp makes one in it that is for its owner only.
    where = usual if len(usual) <= DIRECTORY_CHARACTERS_MAX else "/tmp"  # noqa: S108 - mkdtemp's is private
    return Path(tempfile.mkdtemp(prefix="edgegate-", dir=where))


def _run_in(directory: Path, *, tour: bool) -> int:
    started_s = time.monotonic()
    with serving(directory / CLOUD) as servers:
        # The cloud starts meanwhile: this import takes as long as it does.
        from edgegate.demo.play import play_in  # noqa: PLC0415 - see above

        return play_in(directory, servers, tour=tour, started_s=started_s)


@contextmanager
def _interrupted_by(*numbers: signal.Signals) -> Iterator[None]:
    """Have these signals end the demo as Ctrl-C does, while the appliance does not see to them."""
    before = [(number, signal.signal(number, signal.default_int_handler)) for number in numbers]
    try:
        yield
    finally:
        for number, handler in before:
            signal.signal(number, handler)
