#!/usr/bin/env python3
"""Throws what is cut or altered anywhere at what listens to the air; the long form of the tests.

    scripts/fuzz.py                         every campaign in full
    scripts/fuzz.py packets --count 50000   one of them, so often
    scripts/fuzz.py packets --seed 7        again what a seed found

Exit 1 at the first exception, leak or honest client that was not served in time. A campaign is a
module of tests/rig with `campaign(count, seed)`: it raises where something is wrong, and returns
what it has to say.
"""

import argparse
import importlib
import random
import sys
import time
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(TOP), *(str(TOP / name) for name in ("drivers", "sync", "emulators", "tests"))]

CAMPAIGNS = {
    "packets": ("rig.wifi_fuzz", 1_000_000),
    "conversations": ("rig.eap_fuzz", 100_000),
}
"""The module of each campaign, and how often in full."""


def main() -> int:
    """Run the campaigns named, or all."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("campaign", nargs="*", choices=[*CAMPAIGNS, []])
    parser.add_argument("--count", type=int)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    arguments = parser.parse_args()
    for name in arguments.campaign or CAMPAIGNS:
        module, count = CAMPAIGNS[name]
        count = arguments.count or count
        print(f"{name}: {count:,} with seed {arguments.seed}", flush=True)
        began_s = time.monotonic()
        said = importlib.import_module(module).campaign(count, arguments.seed)
        print(f"{name}: {said} ({time.monotonic() - began_s:.0f} s)", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
