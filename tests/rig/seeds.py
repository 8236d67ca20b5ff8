"""The seeds of random worlds: a commit gets the same verdict each time, a soak draws new ones."""

import subprocess
import time
from pathlib import Path


def of_this_commit() -> str:
    """Named by the commit that is checked out, so that what fails there fails again.

    Each commit meets new worlds all the same. Without a repository it is a new seed each time.
    """
    said = subprocess.run(
        ("git", "-C", str(Path(__file__).parent), "rev-parse", "--short=12", "HEAD"),
        capture_output=True,
        text=True,
        check=False,
    )
    seed = said.stdout.strip() if said.returncode == 0 else new()
    print(f"seed {seed}")
    return seed


def new() -> str:
    """One that was never used."""
    return str(time.time_ns())
