"""What this process holds, for tests that count what is left behind."""

import gc
import threading
from collections import Counter
from pathlib import Path


def held_resources() -> Counter[str]:
    """Open descriptors and threads, without emulators' own and the loop's pool of workers."""
    gc.collect()
    names = (thread.name for thread in threading.enumerate())
    held = Counter(name for name in names if not name.startswith(("pn532 ", "asyncio_")))
    held["descriptors"] = len(list(Path("/proc/self/fd").iterdir()))
    return held
