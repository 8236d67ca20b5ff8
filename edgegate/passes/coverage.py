"""What a use buys (§4): coverage, and what it costs to be covered now."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from msgspec import Struct

from edgegate.passes.facts import Facts, Request
from edgegate.passes.model import Pass, Per
from edgegate.passes.prices import credits_for
from edgegate.passes.state import Coverage, MinuteTerms, Scope
from edgegate.passes.windows import ALWAYS, current_window


class Take(Struct, frozen=True):
    """So much of one pass: uses, or hundredths of a credit."""

    pass_: str
    amount: int


class Spending(Struct, frozen=True, kw_only=True):
    """What an entry takes from passes, and the coverage that it buys.

    `takes` is empty for minutes and unlimited passes; a business day that is already recorded takes
    0 (C-02), credits may take from several lots (C-07). `until` is None where the coverage is the
    session itself (C-05), or where there is none.
    """

    takes: tuple[Take, ...] = ()
    until: datetime | None = None
    scope: Scope | None = None

    @property
    def amount(self) -> int:
        """What it takes in all."""
        return sum(take.amount for take in self.takes)


NOTHING = Spending()


def covering(facts: Facts, request: Request) -> list[Coverage]:
    """The customer's coverages that the instant lies in, whatever became of their passes (C-01)."""
    return [c for c in facts.coverages if _runs(c, facts, request.at)]


def _runs(c: Coverage, facts: Facts, at: datetime) -> bool:
    if c.session is not None:
        return facts.session is not None and facts.session.id == c.session
    return c.from_ <= at and (c.until is None or at < c.until)


def costs_nothing(p: Pass, request: Request, facts: Facts) -> bool:
    """Whether an entry on a pass of uses is paid for: covered now, or its day recorded (C-02)."""
    if any(_runs(c, facts, request.at) for c in facts.coverages_on(p.id)):
        return True
    return p.per is Per.DAY and _day_recorded(p, request, facts)


def _day_recorded(p: Pass, request: Request, facts: Facts) -> bool:
    return any(c.day == request.day.name for c in facts.coverages_on(p.id))


def day_sold(offer_id: str, request: Request, facts: Facts) -> bool:
    """Whether an offer was sold for this business day already (P-02)."""
    return any(c.offer == offer_id and c.day == request.day.name for c in facts.coverages)


def spending(p: Pass, request: Request, facts: Facts) -> Spending:
    """What an entry on a pass that is counted in uses costs now, and until when it covers."""
    day = request.day
    amount = 1
    until: datetime | None = None
    match p.per:
        case Per.DAY:
            amount = 0 if _day_recorded(p, request, facts) else 1
            until = day.ends
        case Per.SLOT:
            window = current_window(p, request.location, request.at)
            until = day.ends if window is None or window is ALWAYS else window.ends
        case Per.WINDOW:
            until = request.at + timedelta(minutes=p.window_minutes or 0)
        case Per.VISIT:
            until = None
    return Spending(takes=(Take(p.id, amount),), until=until)


def credit_spending(lots: Sequence[Pass], price: int, request: Request, facts: Facts) -> Spending:
    """What a check-in for credits takes from its lots, in their order (C-07).

    It covers until the next cutoff whatever becomes of the lots; where and by which way stays
    what it was for the first of them.
    """
    takes: list[Take] = []
    due = price
    for lot in lots:
        part = min(due, credits_left(facts, request.at)[lot.id])
        due -= part
        if part or not takes:
            takes.append(Take(lot.id, part))
    first = lots[0]
    scope = Scope(
        home=first.home,
        locations=first.locations,
        door_groups=first.door_groups,
        wifi=first.wifi,
        resources=first.resources,
    )
    until = request.day.ends
    return Spending(takes=tuple(takes), until=until, scope=scope)


def credits_left(facts: Facts, at: datetime) -> Mapping[str, int]:
    """What is left of each credit pass after the hours that run now (F-09).

    They count as what they would cost if they ended at the instant, taken from their lots in turn.
    """
    if at not in facts.credits_by_instant:
        left = dict(facts.remaining)
        for first_lot in sorted({r.pass_ for r in facts.running}):
            for r, used in facts.times_on(first_lot, at):
                if r.counts is not None and r.counts.credit_price_hour is not None:
                    _take_in_turn(left, (r.pass_, *r.lots), cost(r.counts, used))
        facts.credits_by_instant[at] = left
    return facts.credits_by_instant[at]


def _take_in_turn(left: dict[str, int], lots: Sequence[str], due: int) -> None:
    for lot in lots:
        part = max(0, min(due, left.get(lot, 0)))
        if part:
            left[lot] -= part
            due -= part


def cost(terms: MinuteTerms, used: timedelta) -> int:
    """What so much time costs: minutes, or credits by the hour (C-06, C-07)."""
    minutes = minutes_due(terms, used)
    hourly = terms.credit_price_hour
    return minutes if hourly is None else credits_for(minutes, hourly)


def minutes_due(terms: MinuteTerms, used: timedelta) -> int:
    """The minutes that a segment of this length costs (C-06, P-07).

    Rounded up to `increment_minutes`, at least `minimum_minutes`; nothing for a segment of no
    length. Elapsed time counts in whole seconds, half-up, before it is rounded.
    """
    used_s = (used + timedelta(milliseconds=500)) // timedelta(seconds=1)
    if used_s <= 0:
        return 0
    minutes = -(-used_s // 60)
    rounded = -(-minutes // terms.increment_minutes) * terms.increment_minutes
    return max(rounded, terms.minimum_minutes)
