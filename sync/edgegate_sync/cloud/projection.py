"""What entries leave in the books: movements of passes and money, and visits (pure)."""

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from msgspec import Struct

from edgegate.passes.happenings import (
    Arrived,
    Charged,
    Closed,
    Debited,
    Happening,
    Opened,
    Refunded,
    Sold,
)
from edgegate.store.chain import Entry
from edgegate.store.projection import microseconds
from edgegate_sync.cloud.intake import Fresh
from edgegate_sync.cloud.rows import Row

VISIT_US = 36 * 3_600 * 1_000_000
"""No visit is longer: it ends at its business day's cutoff, whose days have 25 hours at most."""

UNBOUND = timedelta(hours=36)
"""How long a coverage that ends with its visit lasts at most."""


class MovementKind:
    """Why a pass gained or lost something, or money is due."""

    DEBIT = "debit"
    REFUND = "refund"
    SOLD = "sold"
    CHARGE = "charge"
    MERGE = "merge"
    """Given back, as two devices spent it for one stay (M-02)."""
    MOVED = "moved"
    CHARGED = "charged"
    FORGIVEN = "forgiven"
    PAID = "paid"
    """What a pass paid for another that was overdrawn (M-03)."""
    ADJUSTMENT = "adjustment"
    BOOKING = "booking"
    BOOKING_REFUND = "booking_refund"
    ABANDONED = "abandoned"
    """What a visit came to whose device is lost (M-05)."""
    GRANTED = "granted"
    EXPIRED = "expired"
    APPROVAL = "approval"


SETTLEMENTS = (
    MovementKind.MOVED,
    MovementKind.CHARGED,
    MovementKind.FORGIVEN,
    MovementKind.PAID,
)

BY_HAND = (
    MovementKind.ADJUSTMENT,
    MovementKind.BOOKING,
    MovementKind.BOOKING_REFUND,
    MovementKind.ABANDONED,
)
"""What changes a pass though no device used it: at its instant, and before what comes later."""


class Touched(Struct, kw_only=True):
    """What a batch changes, ready to be written."""

    movements: list[Row]
    visits: dict[str, Row]
    """By id; `opened_us` is None where only the end is known."""
    arrived: list[str]
    """Reservations."""
    unbound: dict[str, Row]
    """By visit, the use that covers as long as it lasts: entries tell the use first."""
    spans: dict[str, tuple[int, int]]
    """By customer: the time in which what devices spent may have to be merged anew."""


def project(site: str, fresh: Iterable[Fresh], now_us: int) -> Touched:
    """What entries that were not known before leave in the books."""
    touched = Touched(movements=[], visits={}, arrived=[], unbound={}, spans={})
    for one in fresh:
        if one.happening is not None:
            _project(touched, site, one.entry, one.happening, now_us)
    return touched


def _project(touched: Touched, site: str, entry: Entry, h: Happening, now_us: int) -> None:
    match h:
        case Debited():
            row = _debit(site, entry, h, now_us)
            touched.movements.append(row)
            if h.visit_only:
                touched.unbound[h.session] = row
            widen(touched, h.customer, row["from_us"], row["ends_us"])
        case Refunded():
            touched.movements.append(_movement(site, entry, h, now_us) | _refund(h))
            at_us = microseconds(entry.at)
            widen(touched, h.customer, at_us - VISIT_US, at_us + VISIT_US)
        case Sold():
            touched.movements.append(_movement(site, entry, h, now_us) | _sale(entry, h))
        case Charged():
            charge = {"kind": MovementKind.CHARGE, "money": h.amount, "currency": h.currency}
            touched.movements.append(_movement(site, entry, h, now_us) | charge)
        case Opened():
            _open(touched, site, entry, h)
        case Closed():
            _close(touched, site, entry, h)
        case Arrived():
            touched.arrived.append(h.reservation)


def _movement(site: str, entry: Entry, h: Debited | Refunded | Sold | Charged, now_us: int) -> Row:
    device = entry.device
    return {
        "site": site,
        "id": entry.id,
        "device": device,
        "epoch": entry.epoch,
        "sequence": entry.sequence,
        "customer": h.customer,
        "pass": None,
        "location": h.location,
        "session": h.session,
        "amount": 0,
        "money": None,
        "currency": None,
        "at_us": microseconds(entry.at),
        "from_us": None,
        "ends_us": None,
        "booked_us": now_us,
        "by": device,
        "memo": None,
        "body": entry.data,
    }


def _debit(site: str, entry: Entry, h: Debited, now_us: int) -> Row:
    ends = h.until
    if ends is None:
        ends = h.from_ + UNBOUND if h.visit_only else entry.at
    return _movement(site, entry, h, now_us) | {
        "kind": MovementKind.DEBIT,
        "pass": h.pass_,
        "amount": -h.amount,
        "from_us": microseconds(h.from_),
        "ends_us": microseconds(max(ends, h.from_)),
    }


def _refund(h: Refunded) -> Row:
    return {"kind": MovementKind.REFUND, "pass": h.pass_, "amount": h.amount}


def _sale(entry: Entry, h: Sold) -> Row:
    return {
        "kind": MovementKind.SOLD,
        "from_us": microseconds(h.from_),
        "ends_us": microseconds(entry.at if h.until is None else h.until),
    }


def _open(touched: Touched, site: str, entry: Entry, h: Opened) -> None:
    s = h.session
    known = touched.visits.get(s.id, {})
    touched.visits[s.id] = {
        "site": site,
        "id": s.id,
        "device": entry.device,
        "customer": s.customer,
        "location": s.location,
        "opened_us": microseconds(s.opened_at),
        "closes_us": microseconds(s.closes_at),
        "closed_us": known.get("closed_us"),
    }
    opened_us, closes_us = microseconds(s.opened_at), microseconds(s.closes_at)
    use = touched.unbound.get(s.id)
    if use is not None:
        use["ends_us"] = max(use["from_us"], closes_us)
    widen(touched, s.customer, opened_us, closes_us)


def _close(touched: Touched, site: str, entry: Entry, h: Closed) -> None:
    at_us = microseconds(h.at)
    known: dict[str, Any] = touched.visits.get(h.session) or {
        "site": site,
        "id": h.session,
        "device": entry.device,
        "customer": h.customer,
        "location": h.location,
        "opened_us": None,
        "closes_us": at_us,
    }
    touched.visits[h.session] = known | {"closed_us": at_us}
    widen(touched, h.customer, at_us - VISIT_US, at_us + VISIT_US)


def widen(touched: Touched, customer: str, from_us: int, until_us: int) -> None:
    """Let the time in which a customer's uses may have to be merged anew hold this one."""
    known = touched.spans.get(customer, (from_us, until_us))
    touched.spans[customer] = min(known[0], from_us), max(known[1], until_us)
