"""Whatever a device says, the EAP server answers and holds no more than it may."""

import gc
import tracemalloc

from rig.eap_fuzz import Fuzzer


def test_conversations_with_anything_in_them_raise_nothing() -> None:
    tally = Fuzzer(seed=5).run(300)
    assert tally.conversations == 300
    assert set(tally.steps) == {"Accepted", "Challenge", "Failed", "Ignored", "Proven"}
    assert len(tally.whys) > 12


def test_what_is_held_does_not_grow_with_what_was_said() -> None:
    fuzzer = Fuzzer(seed=6)
    fuzzer.run(100)
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        fuzzer.run(200)
        gc.collect()
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert grown < 300_000
