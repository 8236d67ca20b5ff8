"""Compares the product's decisions with the oracle's."""

from dataclasses import replace

from edgegate.passes.decide import decide
from edgegate.passes.facts import Facts, Request
from edgegate.passes.model import Unit
from edgegate.passes.payment import Decision
from oracle import decision as oracle
from oracle.chain import fails
from oracle.payers import Verdict


def difference(facts: Facts, request: Request, decision: Decision | None = None) -> str | None:
    """What the product and the oracle say where they do not agree; None: they do."""
    got = as_verdict(decide(facts, request) if decision is None else decision)
    wanted = oracle.decide(facts, request)
    if got == wanted or (waits_for_lots(wanted, facts) and is_no_lie(got, wanted, facts, request)):
        return None
    return f"decide: {got}\noracle: {wanted}"


def waits_for_lots(wanted: Verdict, facts: Facts) -> bool:
    """Whether the answer's instant depends on when several lots can pay a price together.

    The product looks at the first window of each lot after each change; that two of them first meet
    in a later window is rare, and to try them all would cost more the more lots there are.
    """
    lots = {p.id for p in facts.passes if p.unit is Unit.CREDIT}
    return wanted.stopped in lots and len(lots) > 1


def is_no_lie(got: Verdict, wanted: Verdict, facts: Facts, request: Request) -> bool:
    """Whether all is as wanted, but for an instant that is left out or is not the first."""
    if replace(got, retry_at=wanted.retry_at) != wanted:
        return False
    p, at = facts.pass_of(wanted.stopped or ""), got.retry_at
    if p is None or at is None:
        return at is None
    return at > request.at and fails(p, facts, request.moved(at)) is None


def as_verdict(decision: Decision) -> Verdict:
    """A decision as far as the oracle speaks of it: what opens, why, by what, and what it costs."""
    payment = decision.payment
    sale = payment.segment.sale if payment is not None else None
    return Verdict(
        opens=decision.opens,
        reason=decision.reason,
        because=decision.because,
        pass_=decision.pass_,
        offer=decision.offer,
        stopped=decision.stopped_pass,
        retry_at=decision.retry_at,
        takes=tuple((t.pass_, t.amount) for t in payment.spending.takes) if payment else (),
        covers_until=payment.spending.until if payment else None,
        lasts_until=payment.segment.until if payment else None,
        sold_for=sale.price if sale is not None else None,
        arrives=payment.arrives if payment else None,
    )
