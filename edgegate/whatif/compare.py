"""Presents every recorded tap to two worlds, and tells which of them treat it differently."""

from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import TypeVar

from msgspec import Struct, field
from msgspec.structs import replace

from edgegate.checkin import Outcome
from edgegate.passes.happenings import Closed, Denied, Granted, Happening, Left, WifiStopped
from edgegate.passes.model import Channel
from edgegate.passes.reasons import ClosingReason, Reason
from edgegate.ports import ClockTrust
from edgegate.sentences import staff
from edgegate.store.chain import Entry
from edgegate.whatif.export import Happened
from edgegate.whatif.records import SiteRecords
from edgegate.whatif.world import Circumstances, Spent, World

BY_THE_WAY_OUT = (ClosingReason.EXIT, ClosingReason.CHECKOUT)
"""Visits that somebody ended by going; every other end comes from the rules again."""

CARRIED = frozenset(
    {
        *(Reason.CREDENTIAL_FORGED, Reason.CREDENTIAL_REPLAYED, Reason.PAYG_CEILING),
        *(Reason.INTERNAL_ERROR, Reason.STORAGE_FAILED),
    }
)
"""Refusals by what only the appliance knew then: they stay as they were."""

BY_THE_CARD = (Reason.CREDENTIAL_BLOCKED, Reason.CREDENTIAL_NOT_VALID)
"""Refusals that only the card's own record can explain."""


class Verdict(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a tap came to."""

    opens: bool
    reason: Reason
    because: Reason | None = None
    """With `flagged`: what was missing."""
    pass_: str | None = field(name="pass", default=None)
    """Which one paid or covered."""
    offer: str | None = None
    says: str | None = None
    """The sentence that staff read; a recorded verdict has none."""

    @property
    def treatment(self) -> tuple[object, ...]:
        """What makes two verdicts the same treatment."""
        return (self.opens, self.reason, self.because, self.pass_, self.offer)


class Told(Struct, frozen=True, kw_only=True):
    """A tap that is worth telling: treated differently, or not as it was recorded."""

    at: datetime
    entry: str
    """The id of the entry that recorded it."""
    location: str
    channel: Channel
    customer: str
    door: str | None = None
    recorded: Verdict
    was: Verdict | None = None
    """Under the records as they are; None where they do not know all that the tap names."""
    would_be: Verdict | None = None
    """Under the changes."""

    @property
    def differs(self) -> bool:
        """Whether the changes make a difference to it."""
        return (
            self.was is not None
            and self.would_be is not None
            and self.was.treatment != self.would_be.treatment
        )

    @property
    def reproduced(self) -> bool:
        """Whether the records as they are explain what was recorded."""
        return self.was is not None and self.was.treatment == self.recorded.treatment


class Tally(Struct):
    """The taps that the changes would turn from one verdict to another."""

    taps: int = 0
    customers: set[str] = field(default_factory=set)


class Summary(Struct, frozen=True, kw_only=True):
    """What a comparison came to in all."""

    taps: int
    carried: int
    """Of them, those that no record can change."""
    differently: int
    not_reproduced: int
    gone: int
    """Of those not reproduced: what they name is not in the records."""
    let_in_anew: int
    """Taps of members who were refused and would not be: nobody recorded how they left."""
    changes: dict[tuple[Verdict, Verdict], Tally]
    """By verdict and verdict, the passes and sentences left out."""
    customers: Counter[str]
    """Taps treated differently, by customer."""
    was: Spent
    would_be: Spent

    def most_first(self) -> list[tuple[tuple[Verdict, Verdict], Tally]]:
        """The changes, those that open or shut a door first, then those with the most taps."""
        return sorted(
            self.changes.items(),
            key=lambda item: (item[0][0].opens == item[0][1].opens, -item[1].taps),
        )


K = TypeVar("K", str, tuple[str, str])


def differing(was: Counter[K], would_be: Counter[K]) -> list[K]:
    """The keys of two counters at which they differ, sorted."""
    return sorted(key for key in was.keys() | would_be.keys() if was[key] != would_be[key])


class Comparison:
    """Two worlds side by side, and what has been counted of them so far."""

    def __init__(self, base: SiteRecords, changed: SiteRecords) -> None:
        self._base = base
        self._was = World(base)
        self._would_be = World(changed)
        self._worlds = (self._was, self._would_be)
        self._counts: Counter[str] = Counter()
        self._changes: dict[tuple[Verdict, Verdict], Tally] = {}
        self._customers: Counter[str] = Counter()

    def run(self, happened: Iterable[Happened]) -> Iterator[Told]:
        """Present what happened to both worlds, and tell what is worth it as it comes."""
        last: datetime | None = None
        for entry, happening in happened:
            last = entry.at if last is None else max(last, entry.at)
            if isinstance(happening, Granted | Denied):
                told = self._tap(entry, happening)
                if told is not None:
                    yield told
            for world in self._worlds:
                _follow(world, happening)
                world.count()
        if last is not None:
            for world in self._worlds:
                world.settle(last)
                world.count()

    @property
    def summary(self) -> Summary:
        """What it all came to, up to here."""
        return Summary(
            taps=self._counts["taps"],
            carried=self._counts["carried"],
            differently=self._counts["differently"],
            not_reproduced=self._counts["not_reproduced"],
            gone=self._counts["gone"],
            let_in_anew=self._counts["let_in_anew"],
            changes=self._changes,
            customers=self._customers,
            was=self._was.spent,
            would_be=self._would_be.spent,
        )

    def _tap(self, entry: Entry, h: Granted | Denied) -> Told | None:
        self._counts["taps"] += 1
        if self._is_carried(h) or h.customer is None:
            self._counts["carried"] += 1
            return None
        known = self._was.knows(h)
        was = would_be = None
        if known:
            then = self._circumstances(entry, h)
            was = self._was.present(h, entry.at, then)
            would_be = self._would_be.present(h, entry.at, then)
        told = Told(
            at=entry.at,
            entry=entry.id,
            location=h.location,
            channel=h.channel,
            customer=h.customer,
            door=h.door,
            recorded=_recorded(h),
            was=_verdict(was),
            would_be=_verdict(would_be),
        )
        self._count(told)
        if told.reproduced and not told.differs:
            return None
        return _with_words(told, was, would_be)

    def _is_carried(self, h: Granted | Denied) -> bool:
        """Whether no change of the records could have made another answer of it."""
        if h.reason in CARRIED or (isinstance(h, Denied) and h.fault is not None):
            return True
        return h.reason in BY_THE_CARD and self._base.get("credential", h.credential) is None

    def _circumstances(self, entry: Entry, h: Granted | Denied) -> Circumstances:
        """What the record of a tap tells of the appliance at that time (D-07 to D-09)."""
        unclear = entry.clock != ClockTrust.TRUSTED.value
        by_lease = h.reason is Reason.LEASE
        door = self._base.get("door", h.door)
        expired = h.reason is Reason.LEASE_EXPIRED or (by_lease and not unclear)
        return Circumstances(
            lockdown=h.reason is Reason.LOCKDOWN,
            clock_trusted=not (h.reason is Reason.CLOCK_UNTRUSTED or (by_lease and unclear)),
            lease_hours_over=door.lease_hours if expired and door is not None else None,
        )

    def _count(self, told: Told) -> None:
        self._counts["not_reproduced"] += not told.reproduced
        self._counts["gone"] += told.was is None
        if not told.differs or told.was is None or told.would_be is None:
            return
        self._counts["differently"] += 1
        self._counts["let_in_anew"] += told.would_be.opens and not told.was.opens
        self._customers[told.customer] += 1
        tally = self._changes.setdefault((_kind(told.was), _kind(told.would_be)), Tally())
        tally.taps += 1
        tally.customers.add(told.customer)


def _follow(world: World, happening: Happening) -> None:
    """Let a world's members go when they went."""
    match happening:
        case Closed() as h if h.reason in BY_THE_WAY_OUT:
            world.leave(h.customer, h.location, h.at, h.reason)
        case Left() as h:
            world.leave(h.customer, h.location, h.at, ClosingReason.EXIT)
        case WifiStopped() as h:
            world.wifi_stopped(h.customer, h.location, h.at)


def _recorded(h: Granted | Denied) -> Verdict:
    if isinstance(h, Denied):
        return Verdict(opens=False, reason=h.reason)
    return Verdict(opens=True, reason=h.reason, because=h.because, pass_=h.pass_, offer=h.offer)


def _verdict(outcome: Outcome | None) -> Verdict | None:
    if outcome is None:
        return None
    decision = outcome.decision
    return Verdict(
        opens=decision.opens,
        reason=decision.reason,
        because=decision.because,
        pass_=decision.pass_,
        offer=decision.offer,
    )


def _with_words(told: Told, was: Outcome | None, would_be: Outcome | None) -> Told:
    def spoken(verdict: Verdict | None, outcome: Outcome | None) -> Verdict | None:
        if verdict is None or outcome is None:
            return None
        return replace(verdict, says=staff(outcome))

    return replace(told, was=spoken(told.was, was), would_be=spoken(told.would_be, would_be))


def _kind(verdict: Verdict) -> Verdict:
    """A verdict without the passes and words of one tap."""
    return Verdict(opens=verdict.opens, reason=verdict.reason, because=verdict.because)
