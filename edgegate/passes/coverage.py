"""What a use buys (§4): coverage, and what it costs to be covered now."""

from datetime import datetime, timedelta

from msgspec import Struct

from edgegate.passes.facts import Facts, Request, day_of
from edgegate.passes.model import Coverage, MinuteTerms, Pass, Per, Unit
from edgegate.passes.windows import ALWAYS, current_window


class Spending(Struct, frozen=True, kw_only=True):
    """What an entry on a pass takes from it, and the coverage that it buys.

    `amount` is 0 for minutes and unlimited passes, and for a business day that is already recorded
    (C-02). `until` is None where the coverage is the session itself (C-05), or where there is none.
    """

    amount: int
    covers: bool
    until: datetime | None = None


NOTHING = Spending(amount=0, covers=False)


def covering(facts: Facts, request: Request) -> list[Coverage]:
    """The customer's coverages that the instant lies in, whatever became of their passes (C-01)."""
    return [c for c in facts.coverages if _runs(c, facts, request.at)]


def _runs(c: Coverage, facts: Facts, at: datetime) -> bool:
    if c.session is not None:
        return facts.session is not None and facts.session.id == c.session
    return c.from_ <= at and (c.until is None or at < c.until)


def costs_nothing(p: Pass, request: Request, facts: Facts) -> bool:
    """Whether an entry on the pass is paid for: it covers now, or its day is recorded (C-02)."""
    if p.unit is not Unit.USE:
        return False
    if any(c.pass_ == p.id and _runs(c, facts, request.at) for c in facts.coverages):
        return True
    return p.per is Per.DAY and _day_recorded(p, request, facts)


def _day_recorded(p: Pass, request: Request, facts: Facts) -> bool:
    if not facts.coverages:
        return False
    today = day_of(request.location, request.at).name
    return any(c.pass_ == p.id and c.day == today for c in facts.coverages)


def spending(p: Pass, request: Request, facts: Facts) -> Spending:
    """What an entry on a pass costs now, and until when it covers (C-02 to C-08)."""
    if p.unit is not Unit.USE:
        return NOTHING
    day = day_of(request.location, request.at)
    match p.per:
        case Per.DAY:
            amount = 0 if _day_recorded(p, request, facts) else 1
            return Spending(amount=amount, covers=True, until=day.ends)
        case Per.SLOT:
            window = current_window(p, request.location, request.at)
            until = day.ends if window is None or window is ALWAYS else window.ends
            return Spending(amount=1, covers=True, until=until)
        case Per.WINDOW:
            length = timedelta(minutes=p.window_minutes or 0)
            return Spending(amount=1, covers=True, until=request.at + length)
        case Per.VISIT:
            return Spending(amount=1, covers=True)


def minutes_due(terms: MinuteTerms, used: timedelta, remaining: int | None) -> int:
    """The minutes that a segment of this length costs (C-06, P-07).

    Rounded up to `increment_minutes`, at least `minimum_minutes`, at most what is left (None: the
    pass is gone and nobody knows); nothing for a segment of no length. Elapsed time counts in
    whole seconds, half-up, before it is rounded.
    """
    used_s = (used + timedelta(milliseconds=500)) // timedelta(seconds=1)
    if used_s <= 0:
        return 0
    minutes = -(-used_s // 60)
    rounded = -(-minutes // terms.increment_minutes) * terms.increment_minutes
    due = max(rounded, terms.minimum_minutes)
    return due if remaining is None else max(0, min(due, remaining))
