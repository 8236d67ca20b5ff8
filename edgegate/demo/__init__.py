"""`edgegate demo`: the real appliance and its cloud, with readers and doors made of software."""

import io
import os
import sys


def run_demo(*, tour: bool) -> int:
    """Show the demo live, or as a tour; the exit code is 0 only if all went as it should.

    Where the output is no terminal that a screen could be drawn on, it is the tour in any case.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A terminal that does not know a sign gets a question mark instead of an error.
        sys.stdout.reconfigure(errors="replace")
    can_draw = sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"
    try:
        print("edgegate demo: appliance and cloud are real; readers, cards and doors are software.")
        sys.stdout.flush()
        # The first line is there before this import has taken its time.
        from edgegate.demo.run import run  # noqa: PLC0415 - see above

        return run(tour=tour or not can_draw)
    except KeyboardInterrupt:
        print("Stopped.", flush=True)
        return 130
    except BrokenPipeError:
        # Nobody reads any more; the interpreter's own flush at the end would fail once again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
