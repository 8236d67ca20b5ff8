"""The oracle and the simulator over worlds that are the same in every run.

The campaigns in tests/property draw new worlds each time, and so find more in the long run; these
tell from one run to the next whether a change of the rules is noticed (scripts/mutants.py).
"""

import logging
from collections.abc import Iterator
from random import Random

import pytest

from oracle.comparison import difference
from oracle.worlds import world
from simulator import run

WORLDS = 100


@pytest.fixture
def quiet_log() -> Iterator[None]:
    """A fault in the rules is found in the ledger; that the log tells it too helps nobody here."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("hundred", range(15))
def test_decisions_in_known_worlds_are_those_of_the_oracle(hundred: int) -> None:
    for number in range(WORLDS):
        seed = f"known/{hundred}/{number}"
        facts, request = world(Random(seed))
        assert difference(facts, request) is None, seed


@pytest.mark.usefixtures("quiet_log")
@pytest.mark.parametrize("number", range(8))
def test_nothing_that_must_not_be_happens_in_known_spaces(
    number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`simulate` with the seed alone tells a failure in fewer steps, which takes its time."""
    monkeypatch.setattr(run, "SHRINKS_MAX", 0)
    failure = run.simulate(f"known/{number}", 150)
    assert failure is None, str(failure)
