"""Lets a benchmark import the servers that the tests run, when it is imported before them."""

import sys
from pathlib import Path

TESTS = str(Path(__file__).parent.parent / "tests")

if TESTS not in sys.path:
    sys.path.insert(0, TESTS)
