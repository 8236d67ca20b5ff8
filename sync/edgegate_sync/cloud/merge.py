"""Merging devices (M-02): what two of them spent for one stay is paid for once.

The outcome is a function of the set of uses, not of the order in which they were uploaded: they
are looked at in the order in which they happened, and each use that still stands covers what came
after it. Nothing here asks whether an entry was right; it only says what is given back.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from itertools import groupby

from msgspec import Struct

from edgegate.passes import chain
from edgegate.passes.coverage import cost
from edgegate.passes.facts import Request
from edgegate.passes.model import Channel
from edgegate.passes.windows import is_open
from edgegate_sync.cloud.usage import Known, Use, Visit, elapsed


class Spending(Struct, frozen=True, kw_only=True):
    """What one device took for one thing: an entry, or a stretch of time, from one or more lots."""

    uses: tuple[Use, ...]
    net: tuple[int, ...]
    """What each use still comes to after what its own device gave back."""
    ends_at: datetime

    @property
    def first(self) -> Use:
        """The use that stands for all."""
        return self.uses[0]

    @property
    def total(self) -> int:
        """What all of it comes to."""
        return sum(self.net)


def merged(
    uses: Iterable[Use], back: Mapping[str, int], visits: Mapping[str, Visit], known: Known
) -> dict[str, int]:
    """What M-02 gives back of one customer's uses, by the id of the use.

    `back` is what their own devices gave back of them, `visits` by id those that the uses name.
    """
    found: dict[str, int] = {}
    uses_standing: list[Spending] = []
    times_standing: list[Spending] = []
    for spending in _spendings(uses, back, visits):
        if spending.first.spent.counts is not None:
            found |= _time_given_back(spending, times_standing)
            times_standing.append(spending)
        elif any(_covers(earlier, spending, known) for earlier in uses_standing):
            found |= {u.id: n for u, n in zip(spending.uses, spending.net, strict=True) if n}
        elif spending.total or not any(u.spent.amount for u in spending.uses):
            # What its device took back altogether covers nobody any more.
            uses_standing.append(spending)
    return found


def _spendings(
    uses: Iterable[Use], back: Mapping[str, int], visits: Mapping[str, Visit]
) -> list[Spending]:
    """The uses as they belong together, in the order in which they happened."""
    ordered = sorted(uses, key=_key)
    groups = (tuple(group) for _, group in groupby(ordered, key=lambda u: _key(u)[:-1]))
    return [
        Spending(
            uses=group,
            net=tuple(u.spent.amount - back.get(u.id, 0) for u in group),
            ends_at=_ends_at(group[0], visits.get(group[0].spent.session)),
        )
        for group in groups
    ]


def _key(use: Use) -> tuple[datetime, str, int, str, bool, int]:
    device, epoch, sequence = use.position
    spent = use.spent
    return spent.from_, device, epoch, spent.session, spent.counts is None, sequence


def _ends_at(use: Use, visit: Visit | None) -> datetime:
    spent = use.spent
    if spent.counts is not None:
        until = use.at if spent.until is None else spent.until
        return until if visit is None else max(spent.from_, min(until, visit.ends_at))
    if spent.until is not None:
        return spent.until
    return spent.from_ if visit is None else visit.ends_at


def _covers(earlier: Spending, later: Spending, known: Known) -> bool:
    """Whether somebody who spends was covered then by what another device had spent."""
    one, other = earlier.first.spent, later.first.spent
    if earlier.first.device == later.first.device or not one.covers:
        return False
    if not one.from_ <= other.from_ < earlier.ends_at:
        return False
    p = known.passes.get(one.pass_)
    terms = one.scope or p
    if terms is None:
        return one.location == other.location
    place = known.location(other.location)
    request = Request(at=other.from_, location=place, channel=Channel.KIOSK)
    facts = known.facts(other.customer, other.location, {})
    if not chain.within(terms, request, facts):
        return False
    return p is None or one.scope is not None or is_open(p, place, other.from_)


def _time_given_back(spending: Spending, standing: Sequence[Spending]) -> dict[str, int]:
    """What a stretch counted too much, where other devices counted the same time before it."""
    spent = spending.first.spent
    spans = [
        (earlier.first.spent.from_, earlier.ends_at)
        for earlier in standing
        if earlier.first.device != spending.first.device and _same_time(earlier, spending)
    ]
    overlap = elapsed(spans, spent.from_, spending.ends_at)
    if spent.counts is None or not overlap:
        return {}
    kept = min(spending.total, cost(spent.counts, spending.ends_at - spent.from_ - overlap))
    return _from_the_last(spending, spending.total - kept)


def _same_time(one: Spending, other: Spending) -> bool:
    """One stay at one place, or one pass: there a customer's time counts once (C-06)."""
    shared = {u.spent.pass_ for u in one.uses} & {u.spent.pass_ for u in other.uses}
    return bool(shared) or one.first.spent.location == other.first.spent.location


def _from_the_last(spending: Spending, amount: int) -> dict[str, int]:
    found = {}
    for use, net in zip(reversed(spending.uses), reversed(spending.net), strict=True):
        part = min(amount, net)
        if part:
            found[use.id] = part
            amount -= part
    return found
