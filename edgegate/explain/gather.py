"""Asks the rules for every pass what they ask themselves for a decision; nothing is recorded."""

from collections.abc import Iterator
from datetime import datetime

import click

from edgegate.checkin import Outcome
from edgegate.explain.foresee import files_of, foreseen
from edgegate.explain.model import (
    ContractView,
    CostView,
    CoverageView,
    Explanation,
    LeftView,
    Named,
    PassView,
    RuleView,
    VisitView,
)
from edgegate.explain.visit import end_of
from edgegate.explain.why import Scene, why
from edgegate.passes import chain, coverage
from edgegate.passes.decide import decide
from edgegate.passes.facts import Request, runs
from edgegate.passes.model import Channel, Customer, Direction, Location, Pass, PassState
from edgegate.passes.order import in_order
from edgegate.passes.payment import Decision, payment_by
from edgegate.passes.reasons import Reason
from edgegate.passes.state import Coverage, Segment
from edgegate.sentences import member, staff
from edgegate.sentences.english import ENGLISH
from edgegate.sentences.walltime import WallClock
from edgegate.store import cache
from edgegate.store.books import Books


class UnknownIdError(click.ClickException):
    """What an explanation was asked about is not among the records; the message says what."""

    exit_code = 2


def explain(
    books: Books, customer_id: str, door_id: str | None, location_id: str | None, at: datetime
) -> Explanation:
    """Why a customer may enter by a door at an instant, or not; by no door: at the front desk.

    It goes by the records of now, and by what time alone does to open visits until the instant.
    Without a door the location may be left out where there is only one.

    Raises:
        UnknownIdError: if customer, door or location are not known, or it is not clear which
            location is meant.
    """
    customer = books.customer(customer_id)
    if customer is None:
        raise UnknownIdError(f'there is no customer "{customer_id}"')
    request = _request(books, door_id, location_id, at)
    with foreseen(books, at) as then:
        teller = _Teller(then, customer, request)
        return teller.explanation(played_through=then is not books)


def _request(books: Books, door_id: str | None, location_id: str | None, at: datetime) -> Request:
    if door_id is None:
        return Request(at=at, location=_location(books, location_id), channel=Channel.KIOSK)
    door = books.door(door_id)
    if door is None:
        raise UnknownIdError(f'there is no door "{door_id}"')
    if location_id not in (None, door.location):
        raise UnknownIdError(f'door "{door_id}" is not at "{location_id}" but "{door.location}"')
    location = _location(books, door.location)
    return Request(at=at, location=location, channel=Channel.DOOR, door=door)


def _location(books: Books, location_id: str | None) -> Location:
    if location_id is not None:
        location = books.location(location_id)
        if location is None:
            raise UnknownIdError(f'there is no location "{location_id}"')
        return location
    known = list(cache.every(files_of(books).cache, cache.LOCATION))
    if len(known) != 1:
        ids = ", ".join(location.id for location in known[:20])
        raise UnknownIdError(f"which location is meant? ({ids or 'none is known yet'})")
    return known[0]


class _Teller:
    """Tells of one customer and one request."""

    def __init__(self, books: Books, customer: Customer, request: Request) -> None:
        self._books = books
        self._customer = customer
        self._request = request
        self._facts = books.facts(customer, request.location, request.at)
        self._decision = decide(self._facts, request)
        zone = request.location.timezone
        self._clock = WallClock(zone=zone, now=request.at, language=ENGLISH)

    def explanation(self, *, played_through: bool) -> Explanation:
        request, customer, decision = self._request, self._customer, self._decision
        door = request.door
        outcome = self._outcome()
        visit = self._visit()
        return Explanation(
            at=request.at,
            zone=request.location.timezone,
            location=Named(request.location.id, request.location.name),
            door=None if door is None else Named(door.id, door.name),
            channel=request.channel,
            customer=Named(customer.id, customer.name),
            status=customer.status,
            staff=customer.staff,
            kind=self._facts.kind(request.at),
            team=None if customer.team is None else self._holder(customer.team),
            exit=door is not None and door.direction is Direction.EXIT,
            opens=decision.opens,
            reason=decision.reason,
            retry_at=decision.retry_at,
            member_reads=member(outcome),
            staff_read=staff(outcome),
            passes=tuple(self._passes()),
            contracts=tuple(self._contracts()),
            coverages=tuple(self._coverages()),
            visit=visit,
            notes=tuple(self._notes(visit, played_through=played_through)),
        )

    def _outcome(self) -> Outcome:
        """The decision as the member would have heard of it."""
        decision, facts = self._decision, self._facts
        pass_id = decision.pass_ or decision.stopped_pass
        spent = decision.payment.spending.amount if decision.payment is not None else 0
        segment = decision.payment.segment if decision.payment is not None else None
        if segment is None and decision.reason is Reason.COVERED and facts.session is not None:
            segment = facts.session.segment
        return Outcome(
            at=self._request.at,
            decision=decision,
            customer=self._customer,
            location=self._request.location,
            pass_=facts.pass_of(pass_id) if pass_id is not None else None,
            remaining=facts.remaining[pass_id] - spent if pass_id is not None else None,
            ends_at=segment.until if segment is not None else None,
        )

    # Passes.

    def _passes(self) -> Iterator[PassView]:
        ordered = in_order(self._facts.passes, self._facts, self._request.location)
        for place, p in enumerate(ordered, start=1):
            yield self._pass(p, place)
        holders = [h for h in (self._customer.id, self._customer.team) if h is not None]
        for holder in holders:
            for p in cache.of_holder(files_of(self._books).cache, cache.PASS, holder):
                if p.state is PassState.CANCELLED:
                    held_by = self._holder(p.holder)
                    yield PassView(
                        id=p.id, name=p.name, holder=held_by, state=p.state, part=None, place=None
                    )

    def _pass(self, p: Pass, place: int) -> PassView:
        request, facts = self._request, self._facts
        stop = chain.stopped(p, request, facts)
        retry_at = None if stop is None else chain.retry_at(p, request, facts)
        pays_at = request.at if stop is None else retry_at
        cost = None if pays_at is None else self._cost(p, request.moved(pays_at))
        return PassView(
            id=p.id,
            name=p.name,
            holder=self._holder(p.holder),
            state=p.state,
            part=_part(p, self._decision),
            place=place,
            rules=tuple(self._rules(p)),
            stopped_at=None if stop is None else stop.rule,
            left=self._left(p),
            cost=cost,
            retry_at=retry_at,
        )

    def _rules(self, p: Pass) -> Iterator[RuleView]:
        request, facts = self._request, self._facts
        scene = Scene(request=request, facts=facts, clock=self._clock, place=self._place)
        for rule, check in chain.CHAIN:
            reason = check(p, request, facts)
            name = check.__name__.replace("_", " ")
            clause = why(rule, p, scene)
            yield RuleView(id=rule, name=name, held=reason is None, reason=reason, why=clause)

    def _left(self, p: Pass) -> LeftView:
        known = self._books.record_of(cache.BALANCE, p.id)
        before = known.remaining if known is not None else p.amount
        remaining = self._facts.remaining[p.id]
        running = self._facts.running_time(p, self._request.at)
        return LeftView(
            unit=p.unit,
            amount=p.amount,
            balance=known.remaining if known is not None else None,
            debits_not_counted=before - remaining,
            remaining=remaining,
            running_s=int(running.total_seconds()),
        )

    def _cost(self, p: Pass, request: Request) -> CostView:
        spending = payment_by([p], request, self._facts).spending
        running = [c for c in coverage.covering(self._facts, request) if c.pass_ == p.id]
        if running:
            return CostView(amount=0, until=running[0].until)
        return CostView(amount=spending.amount, until=spending.until)

    # What surrounds them.

    def _contracts(self) -> Iterator[ContractView]:
        for c in self._facts.contracts:
            yield ContractView(
                id=c.id,
                holder=self._holder(c.holder),
                plan=c.plan,
                starts_at=c.starts_at,
                ends_at=c.ends_at,
                runs=runs(c, self._request.at),
            )

    def _coverages(self) -> Iterator[CoverageView]:
        running = coverage.covering(self._facts, self._request)
        for c in self._facts.coverages:
            yield CoverageView(
                pass_=self._named(c),
                day=c.day,
                from_=c.from_,
                until=c.until,
                runs=c in running,
            )

    def _visit(self) -> VisitView | None:
        session = self._facts.session
        if session is None:
            return None
        ends_at, ends_for = end_of(self._books, session)
        segment = session.segment
        return VisitView(
            id=session.id,
            opened_at=session.opened_at,
            pass_=self._named(segment) if segment is not None else None,
            since=segment.from_ if segment is not None else None,
            ends_at=ends_at,
            ends_for=ends_for,
        )

    def _notes(self, visit: VisitView | None, *, played_through: bool) -> Iterator[str]:
        if played_through:
            yield "Open visits were played through to this instant, as if nobody came or went."
        if visit is not None and visit.opened_at > self._request.at:
            yield "The visit that is open began only after this instant."
        if self._request.door is not None and self._decision.opens and not self._customer.staff:
            yield "Whether there is a lockdown is known to the running appliance only."

    # Names.

    def _place(self, location_id: str) -> str:
        location = self._books.location(location_id)
        return location.name if location is not None and location.name else location_id

    def _named(self, paying: Coverage | Segment) -> Named:
        """What pays, by its name: a pass, else an offer or a reservation by its id."""
        p = self._facts.pass_of(paying.pass_) if paying.pass_ is not None else None
        reservation = paying.reservation if isinstance(paying, Segment) else None
        known = paying.pass_ or paying.offer or reservation or ""
        return Named(known, p.name if p is not None else "")

    def _holder(self, holder_id: str) -> Named:
        if holder_id == self._customer.id:
            return Named(holder_id, self._customer.name)
        team = self._books.record_of(cache.TEAM, holder_id)
        return Named(holder_id, team.name if team is not None else "")


def _part(p: Pass, decision: Decision) -> str | None:
    if p.id == decision.stopped_pass:
        return "refused"
    if p.id != decision.pass_:
        return None
    return "covers" if decision.reason is Reason.COVERED else "pays"
