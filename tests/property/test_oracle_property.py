"""Every decision is that of the oracle, a second implementation of PASSES §3, §4, §5 and §8."""

from collections import Counter
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import asdict

from edgegate.passes.decide import credential_fault, decide
from edgegate.passes.facts import Facts, Request
from edgegate.passes.model import Credential, CredentialKind, CredentialStatus, Pass, PassState
from edgegate.passes.reasons import Reason
from oracle import decision as oracle
from oracle.comparison import difference
from oracle.worlds import TICK, Draw, world
from rig import seeds
from simulator.appliance import Asked, decided_elsewhere

CAMPAIGN_DECISIONS = 200_000
QUICK_DECISIONS = 2_500
"""Besides the examples of Hypothesis, which are fewer but shrink."""


def told(facts: Facts, request: Request) -> str | None:
    """Where the product and the oracle do not agree: what they say, and of which world."""
    found = difference(facts, request)
    if found is None:
        return None
    known = {name: value for name, value in asdict(facts).items() if value not in ((), None)}
    things = "\n".join(f"  {name}: {value}" for name, value in known.items())
    return f"{found}\n{request}\n{things}"


def compare(seed: str, decisions: int) -> Counter[Reason]:
    """Compare so many decisions of one seed, also with those of a device that knows the same.

    What was decided is counted.
    """
    reasons: Counter[Reason] = Counter()
    for number in range(decisions):
        facts, request = world(Random(f"{seed}/{number}"))
        found = told(facts, request)
        assert found is None, f"seed {seed}/{number}\n{found}"
        decision = decide(facts, request)
        asked = Asked(facts, request, decision)
        assert decided_elsewhere(asked, Random(number)) == decision, f"seed {seed}/{number}"
        reasons[decision.reason] += 1
    return reasons


@given(st.randoms(use_true_random=False))
@settings(
    max_examples=250,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
def test_a_decision_is_that_of_the_oracle(random: Random) -> None:
    found = told(*world(random))
    assert found is None, found


def test_many_decisions_are_those_of_the_oracle() -> None:
    """The worlds are of every sort: nearly every reason of the closed list is given."""
    seed = seeds.of_this_commit()
    reasons = compare(seed, QUICK_DECISIONS)
    before_the_chain = {r for r in Reason if r.startswith(("credential", "unknown"))}
    of_faults = {Reason.INTERNAL_ERROR, Reason.STORAGE_FAILED}
    assert len(set(Reason) - before_the_chain - of_faults - set(reasons)) < 4


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_a_campaign_of_decisions_is_that_of_the_oracle(capsys: pytest.CaptureFixture[str]) -> None:
    seed = seeds.new()
    with capsys.disabled():
        print(f"\noracle: seed {seed}")
        reasons = compare(seed, CAMPAIGN_DECISIONS)
        summary = ", ".join(f"{reason} {number}" for reason, number in reasons.most_common())
        print(f"oracle: {CAMPAIGN_DECISIONS} decisions equal ({summary})")


@given(st.randoms(use_true_random=False))
@settings(max_examples=100, deadline=None)
def test_a_credential_is_refused_as_by_the_oracle_f12(random: Random) -> None:
    draw = Draw(random)
    credential = Credential(
        id="tag",
        customer="me",
        kind=CredentialKind.NFC_UID,
        status=draw.one(list(CredentialStatus)),
        valid_from=draw.near(),
        valid_until=draw.near(),
    )
    for at in (draw.at, draw.at + TICK):
        assert credential_fault(credential, at) == oracle.credential_verdict(credential, at)


def test_the_oracle_is_asked_about_passes_that_the_chain_leaves_out() -> None:
    """Cancelled passes never come so far (F-10): a world with one would prove nothing."""
    passes: list[Pass] = []
    for number in range(200):
        passes += world(Random(number))[0].passes
    assert passes
    assert all(p.state is not PassState.CANCELLED for p in passes)
