"""An explanation for a terminal, which reads as well without colour."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import NamedTuple

from rich.console import Group
from rich.table import Table
from rich.text import Text

from edgegate.explain.model import (
    ContractView,
    CostView,
    CoverageView,
    Explanation,
    LeftView,
    Named,
    PassView,
    VisitView,
)
from edgegate.passes.model import CustomerStatus, Unit
from edgegate.sentences.english import ENGLISH
from edgegate.sentences.walltime import WallClock

_HELD, _FAILED, _HEAD, _QUIET = "green", "bold yellow", "bold", "dim"
_PARTS = {"pays": "this one pays", "covers": "this one covers", "refused": "the refusal names it"}


def render(explanation: Explanation) -> Group:
    """The explanation for a console; without colours it says the same."""
    return Group(*(_laid_out(line) for line in _Page(explanation).lines()))


class Line(NamedTuple):
    """One line; where it is too long for the terminal, the text goes on below itself."""

    text: str
    style: str = ""
    label: str = ""


Lines = Iterator[Line]


def _laid_out(line: Line) -> Text | Table:
    text = Text(_printable(line.text), style=line.style)
    if not line.label:
        return text
    grid = Table.grid()
    grid.add_column(no_wrap=True)
    grid.add_column()
    grid.add_row(Text(line.label, style=line.style), text)
    return grid


def _printable(text: str) -> str:
    """A name from the cloud must not move a terminal's cursor."""
    return "".join(c if c.isprintable() else "\ufffd" for c in text)


class _Page:
    """The lines of one explanation, each with its style."""

    def __init__(self, explanation: Explanation) -> None:
        self._told = explanation
        self._clock = WallClock(zone=explanation.zone, now=explanation.at, language=ENGLISH)

    def lines(self) -> Lines:
        yield from self._answer()
        yield from self._customer()
        for p in self._told.passes:
            yield Line("")
            yield from self._pass(p)
        if not self._told.passes:
            yield Line("")
            yield Line("No passes.")
        for note in self._told.notes:
            yield Line("")
            yield Line(note, _QUIET, label="Note: ")

    def _answer(self) -> Lines:
        told = self._told
        way = "the front desk" if told.door is None else f"door {_both(told.door)}"
        yield Line(f"{_both(told.customer)} at {way}, {_both(told.location)}", _HEAD)
        yield Line(f"{self._clock.moment(told.at)}, {told.zone}")
        yield Line("")
        if told.exit:
            yield Line("OPENS: it leads out, and leaving is never refused. At an entry:", _HELD)
        verdict = f"{'OPENS' if told.opens else 'REFUSED'}: {told.reason.value}"
        if told.retry_at is not None:
            verdict += f"; works {self._clock.moment(told.retry_at)}"
        yield Line(verdict, _HELD if told.opens else _FAILED)
        yield Line(told.member_reads, label="  the member reads  ")
        yield Line(told.staff_read, label="  staff read        ")
        yield Line("")

    def _customer(self) -> Lines:
        told = self._told
        kind = "staff" if told.staff else told.kind.value.removesuffix("s")
        team = f", of team {_both(told.team)}" if told.team is not None else ""
        style = "" if told.status is CustomerStatus.ACTIVE else _FAILED
        yield Line(f"{told.status.value}, {kind}{team}", style, label="customer  ")
        for contract in told.contracts:
            yield Line(self._contract(contract), label="contract  ")
        for coverage in told.coverages:
            yield Line(self._coverage(coverage), label="coverage  ")
        if told.visit is not None:
            yield Line(self._visit(told.visit), label="visit     ")

    def _contract(self, c: ContractView) -> str:
        starts = f"from {self._clock.moment(c.starts_at)}" if c.starts_at else "without a start"
        ends = f"until {self._clock.moment(c.ends_at)}" if c.ends_at else "without an end"
        holder = "" if c.holder.id == self._told.customer.id else f", of {_both(c.holder)}"
        running = "runs" if c.runs else "does not run"
        return f"{_both(Named(c.id, c.plan))}{holder}: {running}; {starts}, {ends}"

    def _coverage(self, c: CoverageView) -> str:
        until = "as long as the visit" if c.until is None else f"until {self._clock.until(c.until)}"
        running = "runs" if c.runs else "does not run"
        return f"{_both(c.pass_)}: {running}; from {self._clock.moment(c.from_)} {until}"

    def _visit(self, visit: VisitView) -> str:
        pays = "on no pass"
        if visit.pass_ is not None and visit.since is not None:
            pays = f"on {_both(visit.pass_)} since {self._clock.wall(visit.since)}"
        end = f"{self._clock.moment(visit.ends_at)} ({visit.ends_for.value})"
        return f"open since {self._clock.moment(visit.opened_at)}, {pays}; ends {end}"

    def _pass(self, p: PassView) -> Lines:
        holder = "" if p.holder.id == self._told.customer.id else f", of {_both(p.holder)}"
        head = f"{_both(Named(p.id, p.name))}{holder}"
        if p.place is None:
            yield Line(f"{head}: {p.state.value}, so it does not count", _QUIET)
            return
        part = f"; {_PARTS[p.part]}" if p.part is not None else ""
        got = "survives" if p.stopped_at is None else f"stopped at {p.stopped_at}"
        yield Line(f"{p.place}. {head}: {got}{part}", _HEAD)
        for rule in p.rules:
            verdict = "held  " if rule.held else "FAILED"
            style = _HELD if rule.held else _FAILED
            yield Line(rule.why, style, label=f"   {rule.id} {rule.name:<9} {verdict} ")
        if p.left is not None:
            yield Line(self._left(p.left), label="   left   ")
        if p.left is not None and p.cost is not None:
            yield Line(self._cost(p.cost, p.left.unit), label="   costs  ")
        if p.stopped_at is not None:
            yield Line(self._works(p.retry_at), label="   works  ")

    def _left(self, left: LeftView) -> str:
        if left.unit is Unit.UNLIMITED:
            return "no limit"
        text = f"{_count(left.remaining, left.unit)} of {_count(left.amount, left.unit)}"
        told = "no balance known" if left.balance is None else f"balance {left.balance}"
        text += f" ({told}, {left.debits_not_counted} debited here and not counted in it"
        if left.running_s:
            text += f", {self._clock.duration(timedelta(seconds=left.running_s))} running now"
        return f"{text})"

    def _cost(self, cost: CostView, unit: Unit) -> str:
        if unit is Unit.MINUTE:
            return "the minutes of the visit"
        if unit is Unit.UNLIMITED:
            return "nothing"
        amount = _count(cost.amount, unit) if cost.amount else "nothing"
        if cost.until is None:
            return f"{amount}, for this visit"
        return f"{amount}, covers until {self._clock.until(cost.until)}"

    def _works(self, retry_at: datetime | None) -> str:
        if retry_at is None:
            return "never, if only time passes"
        wait = retry_at - self._told.at
        soon = f", in {self._clock.duration(wait)}" if wait < timedelta(days=1) else ""
        return f"{self._clock.moment(retry_at)}{soon}"


def _count(count: int, unit: Unit) -> str:
    match unit:
        case Unit.MINUTE:
            return f"{count} min"
        case Unit.CREDIT:
            return f"{count / 100:.2f} credits"
        case _:
            return f"{count}"


def _both(named: Named) -> str:
    """Name and id, as far as there is a name."""
    return f"{named.name} [{named.id}]" if named.name else f"[{named.id}]"
