"""Schedules uses and cancels them: paid when made, given back when cancelled (C-09)."""

from datetime import timedelta

from msgspec.structs import replace
from sqlalchemy import select

from edgegate.passes import chain, prices
from edgegate.passes.coverage import minutes_due
from edgegate.passes.facts import Facts, Request, day_of
from edgegate.passes.model import (
    Channel,
    Location,
    Pass,
    Per,
    Reservation,
    ReservationState,
    Resource,
    Unit,
)
from edgegate.passes.state import MinuteTerms
from edgegate.store.projection import microseconds
from edgegate_sync.cloud import problems
from edgegate_sync.cloud.adjust import By, ByHand, book_by_hand, pass_of
from edgegate_sync.cloud.balances import Books
from edgegate_sync.cloud.feed import Transaction
from edgegate_sync.cloud.known import every_record, family_of, records_of
from edgegate_sync.cloud.ledger_tables import movement
from edgegate_sync.cloud.projection import MovementKind
from edgegate_sync.wire.kinds import encode_record

LENGTH_MAX = timedelta(days=31)
"""A longer reservation is a mistake."""


async def schedule(tx: Transaction, r: Reservation, by: By) -> int:
    """Make a reservation and take what it costs from its pass; what is left of that.

    Whoever sends the same one twice makes it once.

    Raises:
        ProblemError: 409 if it may not be made, with the reason: it is over (DK-09), its pass
            would not pay for it then, or the day or the resource is taken.
    """
    await tx.lock()
    known = await tx.get("reservation", r.id)
    books = Books(tx)
    if r.pass_ is not None:
        await books.open([r.pass_])
    left = books.remaining(r.pass_) if r.pass_ is not None else None
    if known is not None:
        if known != encode_record(r):
            raise problems.conflict(f'There is another reservation "{r.id}" already.')
        return left or 0
    await _check(tx, r, by)
    if r.pass_ is None:
        await tx.put("reservation", r.id, encode_record(r))
        return 0
    p = await pass_of(tx, r.pass_)
    cost = await _cost(tx, p, r, books)
    await tx.put("reservation", r.id, encode_record(r))
    place = await _place(tx, r, p)
    what = ByHand(
        id=f"book:{r.id}",
        kind=MovementKind.BOOKING,
        amount=-cost,
        customer=r.customer,
        location=place.id,
    )
    await book_by_hand(tx, books, p, what, by)
    return books.remaining(p.id) or 0


async def cancel(tx: Transaction, reservation_id: str, by: By) -> int:
    """Cancel a reservation that nobody came for, and give back what it took (DK-10).

    What is over stays spent: whoever did not come may be given it back by hand (Q-D3).

    Raises:
        ProblemError: 404 without such a reservation, 409 if somebody came or it is over.
    """
    await tx.lock()
    found = await records_of(tx, "reservation", Reservation, [reservation_id])
    r = found.get(reservation_id)
    if r is None:
        raise problems.not_found(f'reservation "{reservation_id}" at this site')
    if r.state is ReservationState.ARRIVED:
        raise problems.conflict("Somebody came for it already.")
    if r.state is ReservationState.SCHEDULED and r.until <= by.now:
        raise problems.conflict("It is over: what it took stays spent, or is adjusted by hand.")
    if r.state is ReservationState.SCHEDULED:
        cancelled = replace(r, state=ReservationState.CANCELLED)
        await tx.put("reservation", r.id, encode_record(cancelled))
    return await _give_back(tx, r, by)


async def _give_back(tx: Transaction, r: Reservation, by: By) -> int:
    rows = await tx.execute(
        select(movement.c.id, movement.c["pass"], movement.c.amount, movement.c.location).where(
            movement.c.site == tx.site, movement.c.id.in_([f"book:{r.id}", f"book-back:{r.id}"])
        )
    )
    taken = {row["id"]: row for row in rows.mappings()}
    booking = taken.get(f"book:{r.id}")
    if booking is None:
        return 0
    p = await pass_of(tx, booking["pass"])
    books = Books(tx)
    await books.open([p.id])
    if len(taken) == 1:
        what = ByHand(
            id=f"book-back:{r.id}",
            kind=MovementKind.BOOKING_REFUND,
            amount=-booking["amount"],
            customer=r.customer,
            location=booking["location"],
        )
        await book_by_hand(tx, books, p, what, by)
    return books.remaining(p.id) or 0


async def _check(tx: Transaction, r: Reservation, by: By) -> None:
    """Whether a reservation may be made, its pass apart."""
    if r.state is not ReservationState.SCHEDULED:
        raise problems.conflict("A new reservation is scheduled.")
    if r.until <= r.from_ or r.until - r.from_ > LENGTH_MAX:
        raise problems.conflict(f"It must end after it begins, by {LENGTH_MAX.days} days at most.")
    if r.until <= by.now:
        raise problems.conflict("It is over already.")
    if await tx.get("customer", r.customer) is None:
        raise problems.not_found(f'customer "{r.customer}" at this site')
    if r.resource is not None and await _is_taken(tx, r):
        raise problems.conflict(f"{r.resource} is taken then.")


async def _is_taken(tx: Transaction, r: Reservation) -> bool:
    others = await every_record(tx, "reservation", Reservation)
    return any(
        o.resource == r.resource
        and o.state is not ReservationState.CANCELLED
        and o.from_ < r.until
        and r.from_ < o.until
        for o in others.values()
    )


async def _cost(tx: Transaction, p: Pass, r: Reservation, books: Books) -> int:
    """What a reservation takes from its pass, by the law of a check-in at its beginning."""
    place = await _place(tx, r, p)
    known = await family_of(tx, p.holder)
    remaining = {q.id: q.amount for q in known.passes.values()} | {p.id: books.remaining(p.id) or 0}
    facts = known.facts(r.customer, place.id, remaining)
    if p.id not in {q.id for q in facts.passes}:
        raise problems.conflict(f"The pass {p.id} is not {r.customer}'s.")
    request = Request(at=r.from_, location=place, channel=Channel.KIOSK)
    stop = chain.stopped(p, request, facts)
    if stop is not None:
        raise problems.conflict(f"The pass {p.id} would not pay then: {stop.reason} ({stop.rule}).")
    if p.unit is Unit.USE and p.per is Per.DAY:
        await _check_day(tx, p, r, place)
    cost = await _price(tx, p, r, request, facts)
    if cost > remaining[p.id]:
        raise problems.conflict(f"The pass {p.id} has {remaining[p.id]} left, and it costs {cost}.")
    return cost


async def _price(tx: Transaction, p: Pass, r: Reservation, request: Request, facts: Facts) -> int:
    match p.unit:
        case Unit.UNLIMITED:
            return 0
        case Unit.USE:
            return 1
        case Unit.MINUTE | Unit.CREDIT:
            terms = MinuteTerms(
                increment_minutes=p.increment_minutes, minimum_minutes=p.minimum_minutes
            )
            length = minutes_due(terms, r.until - r.from_)
    if p.unit is Unit.MINUTE:
        return length
    resource = (await records_of(tx, "resource", Resource, [r.resource or ""])).get(
        r.resource or ""
    )
    if resource is not None and resource.credit_price_hour is not None:
        return prices.credits_for(length, resource.credit_price_hour)
    return prices.check_in_credits(request.location, facts, request.at) or 0


async def _check_day(tx: Transaction, p: Pass, r: Reservation, place: Location) -> None:
    """One use of a pass a day, scheduled or checked in (DK-08)."""
    day = day_of(place, r.from_)
    others = await every_record(tx, "reservation", Reservation)
    booked = any(
        o.pass_ == p.id
        and o.customer == r.customer
        and o.state is not ReservationState.CANCELLED
        and day.starts <= o.from_ < day.ends
        for o in others.values()
    )
    rows = await tx.execute(
        select(movement.c.id).where(
            movement.c.site == tx.site,
            movement.c["pass"] == p.id,
            movement.c.customer == r.customer,
            movement.c.kind == MovementKind.DEBIT,
            movement.c.from_us >= microseconds(day.starts),
            movement.c.from_us < microseconds(day.ends),
        )
    )
    if booked or rows.first() is not None:
        raise problems.conflict(f"The pass {p.id} has a use on {day.name} already.")


async def _place(tx: Transaction, r: Reservation, p: Pass) -> Location:
    """Where a reservation is: as said, else at its resource, else where its pass has its home."""
    place = r.location
    if place is None and r.resource is not None:
        resources = await records_of(tx, "resource", Resource, [r.resource])
        place = resources[r.resource].location if r.resource in resources else None
    place = place or p.home
    locations = await every_record(tx, "location", Location)
    if place is None and len(locations) == 1:
        return next(iter(locations.values()))
    if place is None or place not in locations:
        raise problems.conflict("It must say at which location it is.")
    return locations[place]
