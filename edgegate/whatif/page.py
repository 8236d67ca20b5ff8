"""The answer to a what-if for a terminal: each tap as it comes, then what it all came to."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from zoneinfo import ZoneInfo

from edgegate.passes.model import Unit
from edgegate.whatif.compare import Summary, Told, Verdict, differing
from edgegate.whatif.names import WAYS, Names
from edgegate.whatif.records import SiteRecords
from edgegate.whatif.study import Study

NAMES_MAX = 12
"""So many members are named in the summary, those with the most taps; JSON names all."""

WIDTH_MAX = 24
"""The widest column of doors or of members; a longer name stands out of it."""

SPENT_MAX = 12
"""So many passes of each unit are named, those with the greatest differences; JSON names all."""

Row = tuple[str, str, str, str]


def lines(study: Study, *, list_not_reproduced: bool) -> Iterator[str]:
    """Run a study and tell it line by line."""
    for line in _Page(study, list_not_reproduced=list_not_reproduced).lines():
        # A name from the cloud must not move a terminal's cursor.
        yield "".join(c if c.isprintable() else "\ufffd" for c in line)


class _Page:
    """The lines of an answer for a terminal."""

    def __init__(self, study: Study, *, list_not_reproduced: bool) -> None:
        self._study = study
        self._names = Names(study.base, study.changed)
        self._list_not_reproduced = list_not_reproduced
        self._ways = _width([*WAYS.values(), *_called(study.base, "door")])
        self._members = _width(_called(study.base, "customer"))

    def lines(self) -> Iterator[str]:
        yield from self._head()
        day = None
        shown = 0
        for told in self._study.run():
            if not told.differs and not self._list_not_reproduced:
                continue
            local = self._names.local(told)
            if local.date() != day:
                day = local.date()
                yield ""
                yield _day(local)
            shown += 1
            yield self._tap(told, local)
        if not shown:
            yield ""
            yield "Nobody would have been treated differently."
        yield from self._summary(self._study.summary)

    def _head(self) -> Iterator[str]:
        study = self._study
        yield f"What if {study.title}" if study.title else "What if"
        entries = sum(file.entries for file in study.files)
        span = ""
        if study.first is not None and study.last is not None:
            zone = self._names.zone(next(iter(study.base.by_kind["location"]), None))
            first, last = (at.astimezone(ZoneInfo(zone)) for at in (study.first, study.last))
            span = f", {_day(first)} {_wall(first)} to {_day(last)} {_wall(last)} ({zone})"
        yield f"{_count(entries, 'entry')} in {_count(len(study.files), 'file')}{span}"
        for note in study.notes:
            yield f"Note: {note}"

    def _tap(self, told: Told, local: datetime) -> str:
        way = self._names.way(told).ljust(self._ways)
        member = self._names.member(told.customer).ljust(self._members)
        place = f"  {_wall(local):>5}  {way}  {member}"
        if not told.differs or told.was is None or told.would_be is None:
            now = "not in the records" if told.was is None else self._full(told.was)
            return f"{place}  recorded as {self._full(told.recorded)}; replayed: {now}"
        text = f"{place}  {self._full(told.was)} → {self._full(told.would_be)}"
        if not told.reproduced:
            text += f" [recorded as {self._full(told.recorded)}]"
        return text

    def _full(self, verdict: Verdict) -> str:
        """`in: covered by Day passes (In again, nothing used.)`."""
        by = ""
        if verdict.pass_ is not None or verdict.offer is not None:
            payer = self._names.payer(verdict.pass_, verdict.offer)
            by = f" by {payer}" if payer not in (verdict.says or "") else ""
        says = f" ({verdict.says})" if verdict.says else ""
        return f"{_short(verdict)}{by}{says}"

    def _summary(self, summary: Summary) -> Iterator[str]:
        yield ""
        yield "Summary"
        taps, how = _count(summary.taps, "tap"), _how(summary)
        yield f"  {taps}, {summary.differently:,} treated differently{how}"
        for (was, would_be), tally in summary.most_first():
            members = _count(len(tally.customers), "member")
            yield f"  {tally.taps:>7,}  {_turn(was, would_be)}, {members}"
        yield from self._affected(summary)
        yield from self._spent(summary)
        yield from self._caveats(summary)

    def _affected(self, summary: Summary) -> Iterator[str]:
        if not summary.customers:
            return
        most = summary.customers.most_common(NAMES_MAX)
        names = ", ".join(f"{self._names.member(id_)} ({taps:,})" for id_, taps in most)
        rest = len(summary.customers) - len(most)
        more = f" and {rest:,} more" if rest else ""
        yield f"  Members affected: {len(summary.customers):,}: {names}{more}"

    def _spent(self, summary: Summary) -> Iterator[str]:
        was, would_be = summary.was.visits, summary.would_be.visits
        rows = [*self._pass_rows(summary), *self._offer_rows(summary)]
        if was != would_be:
            rows.append(_row("Visits", was, would_be, _whole, ""))
        if not rows:
            return
        rows.insert(0, ("", "was", "would be", "difference"))
        widths = [max(len(row[column]) for row in rows) for column in range(3)]
        yield ""
        yield "Spent"
        for row in rows:
            numbers = f"{row[1].rjust(widths[1])}  {row[2].rjust(widths[2])}"
            yield f"  {row[0].ljust(widths[0])}  {numbers}  {row[3]}"

    def _pass_rows(self, summary: Summary) -> Iterator[Row]:
        """The passes with the greatest differences first, unit by unit; few of many, and all."""
        was, would_be = summary.was.passes, summary.would_be.passes
        by_unit: dict[Unit, list[str]] = {}
        for id_ in differing(was, would_be):
            by_unit.setdefault(self._names.unit(id_), []).append(id_)
        for unit, ids in sorted(by_unit.items()):
            ids.sort(key=lambda id_: -abs(would_be[id_] - was[id_]))
            for id_ in ids[:SPENT_MAX]:
                yield _row(self._names.pass_(id_), was[id_], would_be[id_], *UNITS[unit])
            if len(ids) > 1:
                name = f"All {len(ids):,} that differ"
                sums = sum(was[id_] for id_ in ids), sum(would_be[id_] for id_ in ids)
                yield _row(name, *sums, *UNITS[unit])

    def _offer_rows(self, summary: Summary) -> Iterator[Row]:
        was, would_be = summary.was.offers, summary.would_be.offers
        for key in differing(was, would_be):
            name = f"Pay as you go: {self._names.offer(key[0])}"
            yield _row(name, was[key], would_be[key], _hundredths, key[1])

    def _caveats(self, summary: Summary) -> Iterator[str]:
        if summary.not_reproduced:
            yield ""
            taps = _count(summary.not_reproduced, "tap")
            gone = f" ({summary.gone:,} name what is gone)" if summary.gone else ""
            yield f"{taps} could not be reproduced: records changed since{gone}."
            if not self._list_not_reproduced:
                yield "--not-reproduced lists them."
        if summary.carried:
            yield ""
            one = summary.carried == 1
            taps = "1 tap" if one else f"{summary.carried:,} taps"
            yield (
                f"{taps} of unknown cards, or at faults, {'was' if one else 'were'} left as"
                f" {'it was' if one else 'they were'}."
            )
        if summary.let_in_anew:
            yield ""
            yield (
                "Nobody recorded how those who were refused would have left: such a visit runs"
                " until a rule ends it."
            )


def _called(records: SiteRecords, kind: str) -> list[str]:
    return [records.name_of(kind, id_) for id_ in records.by_kind[kind]]


def _width(names: list[str]) -> int:
    return min(WIDTH_MAX, max(map(len, names), default=0))


def _short(verdict: Verdict) -> str:
    """`in: pass`, `in: flagged, used_up`, `refused: used_up`."""
    because = f", {verdict.because.value}" if verdict.because is not None else ""
    return f"{'in' if verdict.opens else 'refused'}: {verdict.reason.value}{because}"


def _how(summary: Summary) -> str:
    """How many would be refused, how many let in, how many let in or refused all the same."""
    counts: Counter[str] = Counter()
    for (was, would_be), tally in summary.changes.items():
        if was.opens != would_be.opens:
            counts["let in" if would_be.opens else "refused"] += tally.taps
        else:
            counts["in" if was.opens else "refused all the same"] += tally.taps
    said = {
        "refused": "would be refused",
        "let in": "would be let in",
        "in": "in as before, on other grounds",
        "refused all the same": "refused as before, on other grounds",
    }
    told = [f"{counts[key]:,} {words}" for key, words in said.items() if counts[key]]
    return f": {', '.join(told)}" if told else ""


def _turn(was: Verdict, would_be: Verdict) -> str:
    if was == would_be:
        return f"{_short(was)}, on another pass"
    return f"{_short(was)} → {_short(would_be)}"


def _day(local: datetime) -> str:
    return f"{local:%A} {local.day} {local:%B %Y}"


def _wall(local: datetime) -> str:
    return f"{local.hour}:{local.minute:02}"


def _count(number: int, noun: str) -> str:
    many = "entries" if noun == "entry" else f"{noun}s"
    return f"{number:,} {noun if number == 1 else many}"


def _row(name: str, was: int, would_be: int, write: Callable[[int], str], noun: str) -> Row:
    """`Ana: Day passes  10  5  -5 uses`."""
    more = write(abs(would_be - was))
    plural = "s" if noun.islower() and more != "1" else ""
    sign = "+" if would_be > was else "-"
    return name, write(was), write(would_be), f"{sign}{more} {noun}{plural}".rstrip()


def _whole(number: int) -> str:
    return f"{number:,}"


def _hundredths(number: int) -> str:
    return f"{number / 100:,.2f}"


UNITS: Mapping[Unit, tuple[Callable[[int], str], str]] = {
    Unit.USE: (_whole, "use"),
    Unit.MINUTE: (_whole, "minute"),
    Unit.CREDIT: (_hundredths, "credit"),
    Unit.UNLIMITED: (_whole, "use"),
}
"""How what is spent of a pass is written, and what one of it is called."""
