"""Random spaces live through weeks of visits, and what must always be so is so after each step."""

import itertools
import logging
import time
from collections.abc import Iterator

import pytest

from edgegate.passes import coverage
from edgegate.passes.facts import Facts, Request
from edgegate.passes.model import Pass
from rig import seeds
from simulator.run import STEPS_A_SPACE, simulate

STEADY_S = 45.0
CLOCK_SET_BACK_S = 15.0
"""How long spaces live in `make test`, in seconds; `make soak` counts their steps."""

CAMPAIGN_STEPS = 1_000_000


@pytest.fixture(autouse=True)
def quiet_log() -> Iterator[None]:
    """A fault in the rules is found in the ledger, and logged in every attempt to shrink it."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def live(for_s: float, *, steady: bool) -> None:
    """Let one new space live after another; a failure says by which seed it comes again."""
    seed = seeds.of_this_commit()
    ends_s = time.monotonic() + for_s
    for number in itertools.count():
        failure = simulate(f"{seed}/{number}", steady=steady)
        assert failure is None, str(failure)
        if time.monotonic() > ends_s:
            print(f"{(number + 1) * STEPS_A_SPACE} steps")
            return


def test_nothing_that_must_not_be_happens() -> None:
    live(STEADY_S, steady=True)


def test_nothing_breaks_under_a_clock_that_is_set_back() -> None:
    live(CLOCK_SET_BACK_S, steady=False)


def test_a_rule_that_is_broken_is_found_and_told_in_a_few_steps(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without C-02 a day costs as many uses as it has visits, and the simulator says so."""

    def never(_p: Pass, _request: Request, _facts: Facts) -> bool:
        return False

    monkeypatch.setattr(coverage, "_day_recorded", never)
    monkeypatch.setattr(coverage, "covering", lambda _facts, _request: [])
    failures = (simulate(f"broken/{number}") for number in range(40))
    failure = next(f for f in failures if f is not None)
    assert len(failure.steps) <= 6
    assert str(failure).startswith("seed broken/")
    assert "[[step]]" in str(failure)


@pytest.mark.soak
@pytest.mark.timeout(6 * 3600)
def test_a_million_steps(capsys: pytest.CaptureFixture[str]) -> None:
    with capsys.disabled():
        done = 0
        while done < CAMPAIGN_STEPS:
            seed = seeds.new()
            steady = done % (10 * STEPS_A_SPACE) != 0
            failure = simulate(seed, steady=steady)
            assert failure is None, str(failure)
            done += STEPS_A_SPACE
            if done % (100 * STEPS_A_SPACE) == 0:
                print(f"\nsimulator: {done} steps, seed {seed}", end="")
