"""Moves visits with a clock that was wrong when they began: a step of it is no time anybody stayed.

A computer without a battery clock starts at the last trusted instant, hours behind, and lets
people in by that. When it learns the time, what they paid for and when their day ends is put right
before anything falls due by the new time. It is on record as a happening of its own, so that the
ledger replayed, and the cloud, come to the same.
"""

import logging
from collections.abc import Iterator
from datetime import datetime, timedelta
from functools import partial

from msgspec.structs import replace

from edgegate.passes import visits
from edgegate.passes.coverage import spending
from edgegate.passes.facts import Facts, Request, day_of
from edgegate.passes.happenings import Bought, Debited, Moved, Sold
from edgegate.passes.model import Channel, Customer, Location, Per
from edgegate.passes.state import Segment, Session
from edgegate.ports import Correction
from edgegate.store.books import Books
from edgegate.store.cache import PASS
from edgegate.store.doubtful import Doubtful

log = logging.getLogger(__name__)

DRIFT = timedelta(seconds=2)
"""By so little a clock that is right may be set."""

SAME = timedelta(seconds=1)
"""How much later an opening may have been recorded than it was dated."""

Ends = dict[tuple[str, datetime | None], datetime | None]
"""By customer and the end that was recorded, when what they bought ends by the right time."""


def follow(books: Books) -> None:
    """Move the visits that began by a clock which is put right since; a second time does nothing.

    It costs next to nothing where the clock was believed from the start.
    """
    correction = books.doubts.due()
    if correction is None:
        return
    fault = books.attempt(partial(_move_all, books, correction))
    if fault is not None:
        log.error("the visits could not be moved with the clock", exc_info=fault)
    books.doubts.note_done(correction)


def _move_all(books: Books, correction: Correction) -> None:
    now = books.doubts.now_by(correction)
    ends: Ends = {}
    moved: list[Moved] = []
    for visit in books.doubts.visits():
        by = _shift(visit, correction)
        if abs(by) > DRIFT:
            fault = books.attempt(partial(_move, books, visit, by, now, ends, moved))
            if fault is not None:
                log.error("the visit %s stays where it was", visit.session.id, exc_info=fault)
    changed_at = books.changed_at()
    if changed_at is not None and changed_at > now:
        # Else the next start would look at all visits as of an instant that is to come.
        books.note_change(now)
    _look_again(books, moved)


def _move(
    books: Books, visit: Doubtful, by: timedelta, now: datetime, ends: Ends, moved: list[Moved]
) -> None:
    """Move one visit; of those that have ended only what they bought still matters."""
    bought = tuple(_bought(books, visit, by, ends))
    h = _moved(books, visit, by, bought, ends)
    if h.closes_at is not None or any(b.until is not None and b.until > now for b in bought):
        books.record([h], now)
        moved.append(h)


def _shift(visit: Doubtful, correction: Correction) -> timedelta:
    """How much later a visit began than is said of it.

    What another process of this boot dated may have been wrong by something else.
    """
    by = correction.right(visit.since_boot_s) - visit.opened_at
    return correction.by if abs(by - correction.by) <= SAME else by


def _bought(books: Books, visit: Doubtful, by: timedelta, ends: Ends) -> Iterator[Bought]:
    """The coverages bought in a visit; when they end is judged by the time it was."""
    place = _place(books, visit.session.location)
    for h in visit.bought:
        until = _until(books, h, place, by)
        ends[h.customer, h.until] = until
        offer = h.sale.offer if isinstance(h, Sold) else None
        pass_ = h.pass_ if isinstance(h, Debited) else None
        yield Bought(pass_=pass_, offer=offer, from_=h.from_, until=until)


def _until(books: Books, h: Debited | Sold, place: Location, by: timedelta) -> datetime | None:
    if h.until is None:
        return None
    at = h.from_ + by
    if isinstance(h, Sold) or h.scope is not None:
        return day_of(place, at).ends
    p = books.record_of(PASS, h.pass_)
    if p is None or p.per is Per.WINDOW:
        return h.until + by
    nothing = Facts(customer=Customer(id=h.customer), ancestry=())
    return spending(p, Request(at=at, location=place, channel=Channel.KIOSK), nothing).until


def _moved(
    books: Books, visit: Doubtful, by: timedelta, bought: tuple[Bought, ...], ends: Ends
) -> Moved:
    session = books.session(visit.session.id)
    opened_at = visit.opened_at + by
    place = _place(books, visit.session.location)
    moved = Moved(
        session=visit.session.id,
        customer=visit.session.customer,
        location=visit.session.location,
        was=visit.opened_at,
        opened_at=opened_at,
        day=day_of(place, opened_at).name,
        bought=bought,
    )
    if session is None:
        return moved
    closing = visits.closing(place, opened_at)
    segment = _segment(session, by, ends)
    return replace(moved, closes_at=closing.at, closes_for=closing.reason, segment=segment)


def _segment(session: Session, by: timedelta, ends: Ends) -> Segment | None:
    """What runs, begun as much later; the end of a reservation or walk-up stays where it is."""
    segment = session.segment
    if segment is None:
        return None
    counted = segment.counted_from
    return replace(
        segment,
        from_=segment.from_ + by,
        counted_from=None if counted is None else counted + by,
        until=ends.get((session.customer, segment.until), segment.until)
        if segment.reservation is None
        else segment.until,
    )


def _look_again(books: Books, moved: list[Moved]) -> None:
    """Have each visit looked at as of its beginning.

    What passed meanwhile by the right time falls due then, each at its own instant.
    """
    for h in moved:
        books.set_deadline(h.session, h.opened_at if h.segment is None else h.segment.from_)


def _place(books: Books, location_id: str) -> Location:
    return books.location(location_id) or Location(id=location_id)
