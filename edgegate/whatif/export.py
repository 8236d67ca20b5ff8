"""Reads what `edgegate ledger export` wrote: line by line, with every fault named at its line."""

import heapq
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Annotated, NamedTuple

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from edgegate.faults import FAULTS_MAX, Fault, FaultsError, Where
from edgegate.passes.happenings import Happening, SegmentBegan, SegmentEnded
from edgegate.passes.model import Instant
from edgegate.store import chain
from edgegate.store.chain import Entry, Link
from edgegate.store.ledger import DATA_BYTES_MAX, EntryType
from edgegate.store.projection import TYPES, happening_of
from edgegate.strict import Options, read_struct

LINE_BYTES_MAX = 2 * DATA_BYTES_MAX
"""More than any entry takes, its envelope included; a longer line is no entry."""

YEARS = range(1970, 9000)
"""Which years an entry's instant may have: enough on both sides for a clock that was wrong."""

_FROM_JSON = Options(native_times=False)

Digest = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]


class _Envelope(Struct, frozen=True, kw_only=True):
    clock: str
    datahash: Digest
    epoch: Annotated[int, Meta(ge=0)]
    id: str
    monotonic: str
    prevhash: Digest
    salt: Annotated[str, Meta(pattern=r"^([0-9a-f]{2})*\Z")] | None = None
    sequence: Annotated[int, Meta(ge=1)]
    source: str
    specversion: Annotated[str, Meta(pattern=r"^1\.0\Z")]
    subject: str | None = None
    time: Instant
    type: str


class _Event(_Envelope, frozen=True, kw_only=True):
    data: Raw | UnsetType = UNSET


_event = msgspec.json.Decoder(_Event).decode


class Happened(NamedTuple):
    """An entry about a visit, and what it holds."""

    entry: Entry
    happening: Happening


class Span(Struct, frozen=True, kw_only=True):
    """A run of one device's entries of one epoch in one file."""

    file: str
    source: str
    epoch: int
    first: int
    last: int


class Checked(Struct, kw_only=True):
    """What is in one file of an export."""

    file: str
    entries: int = 0
    erased: int = 0
    """Entries whose data was erased: whatever they told is left out."""
    chain: list[str] = []
    """Where the chain of hashes is broken, a sentence each."""


def check(
    paths: Sequence[Path], note: Callable[[Entry, Happening | None], None]
) -> Iterator[Checked]:
    """Read each file whole, follow its chain, and let `note` see every entry.

    Raises:
        FaultsError: after the last file, if any of them cannot be used.
    """
    faults: list[Fault] = []
    spans: list[Span] = []
    for path in paths:
        yield _check_one(path, note, faults, spans)
    faults += _twice(spans)
    if faults:
        raise FaultsError(faults[:FAULTS_MAX])


def happened(paths: Sequence[Path]) -> Iterator[Happened]:
    """What the checked files tell of visits: each device's in its order, all together by time."""
    yield from heapq.merge(*map(_happened_in, paths), key=lambda h: (h.entry.at, h.entry.source))


def _happened_in(path: Path) -> Iterator[Happened]:
    for entry, happening in _entries(path, []):
        if happening is not None:
            yield Happened(entry, happening)


def _check_one(
    path: Path,
    note: Callable[[Entry, Happening | None], None],
    faults: list[Fault],
    spans: list[Span],
) -> Checked:
    found = Checked(file=str(path))

    def seen() -> Iterator[Entry]:
        for entry, happening in _entries(path, faults):
            found.entries += 1
            found.erased += entry.data is None
            note(entry, happening)
            yield msgspec.structs.replace(entry, hash=chain.entry_hash(entry))

    for source, run in groupby(seen(), key=lambda entry: entry.source):
        found.chain += _follow(str(path), source, run, spans)
    return found


def _follow(file: str, source: str, run: Iterator[Entry], spans: list[Span]) -> Iterator[str]:
    """Follow the chain of one device's entries; what came before the first is not judged."""
    first = next(run)
    known = {first.epoch: [first.sequence, first.sequence]}

    def measured() -> Iterator[Entry]:
        yield first
        for entry in run:
            least, most = known.setdefault(entry.epoch, [entry.sequence, entry.sequence])
            known[entry.epoch] = [min(least, entry.sequence), max(most, entry.sequence)]
            yield entry

    before = Link(epoch=first.epoch, sequence=first.sequence - 1, hash=first.prevhash)
    entries = measured()
    for fault in chain.verify(entries, after=before):
        yield f"entry {fault.epoch}/{fault.sequence} of {source}: {fault.detail}"
    for _ in entries:
        # Where the chain has too many faults, the rest is still to be read and checked.
        pass
    for epoch, (least, most) in known.items():
        spans.append(Span(file=file, source=source, epoch=epoch, first=least, last=most))


def _twice(spans: list[Span]) -> Iterator[Fault]:
    """The entries that are in two files: every tap in them would be counted twice."""
    for number, span in enumerate(spans):
        for other in spans[:number]:
            same = (span.source, span.epoch) == (other.source, other.epoch)
            if same and span.first <= other.last and other.first <= span.last:
                first, last = max(span.first, other.first), min(span.last, other.last)
                where = Where(span.file)
                yield where.fault(
                    f"entries {span.epoch}/{first} to {span.epoch}/{last} of {span.source} are in"
                    f" {other.file} as well",
                    "name each entry's file once",
                )


def _entries(path: Path, faults: list[Fault]) -> Iterator[tuple[Entry, Happening | None]]:
    """The good entries of a file and, where it is about a visit and not erased, what each tells."""
    for number, line in _lines(path, faults):
        where = Where(str(path), {(): number})
        entry = _entry(line, where, faults)
        if entry is None:
            if number == 1 and not line.lstrip().startswith(b"{"):
                # A database, or an export that was packed: no line of it will be better.
                return
            continue
        good, happening = _happening(entry, where.at("data"), faults)
        if good:
            yield entry, happening


def _lines(path: Path, faults: list[Fault]) -> Iterator[tuple[int, bytes]]:
    where = Where(str(path))
    if path.exists() and not path.is_file():
        faults.append(where.fault("must be a file: it is read twice"))
        return
    try:
        with path.open("rb") as file:
            number = 0
            while (line := file.readline(LINE_BYTES_MAX + 1)) and len(faults) < FAULTS_MAX:
                number += 1
                if len(line) > LINE_BYTES_MAX:
                    here = Where(str(path), {(): number})
                    faults.append(here.fault(f"is longer than {LINE_BYTES_MAX} bytes", _MAKE))
                    return
                if line.strip():
                    yield number, line
    except OSError as error:
        faults.append(where.fault(f"cannot be read: {error.strerror or error}"))


_MAKE = "`edgegate ledger export` writes one entry per line"


def _entry(line: bytes, where: Where, faults: list[Fault]) -> Entry | None:
    try:
        event = _event(line)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        faults += _envelope_faults(line, where, error)
        return None
    if event.time.year not in YEARS:
        years = f"must be in a year from {YEARS[0]} to {YEARS[-1]}"
        faults.append(where.at("time").fault(f"{years} (got {event.time.isoformat()})"))
        return None
    return Entry(
        epoch=event.epoch,
        sequence=event.sequence,
        source=event.source,
        type=event.type,
        at=event.time,
        subject=event.subject,
        clock=event.clock,
        monotonic=event.monotonic,
        salt=None if event.salt is None else bytes.fromhex(event.salt),
        data=None if isinstance(event.data, UnsetType) else bytes(event.data),
        data_hash=bytes.fromhex(event.datahash),
        prevhash=bytes.fromhex(event.prevhash),
        hash=b"",
    )


def _envelope_faults(line: bytes, where: Where, error: Exception) -> list[Fault]:
    """Everything that is wrong with a line, one fault each."""
    try:
        data = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError):
        data = None
    if not isinstance(data, dict) or "type" not in data:
        return [where.fault("is not an entry of a ledger", _MAKE)]
    faults: list[Fault] = []
    data.pop("data", None)
    read_struct(_Envelope, data, where, faults, _FROM_JSON)
    return faults or [where.fault(f"is not an entry of a ledger: {error}", _MAKE)]


def _happening(entry: Entry, where: Where, faults: list[Fault]) -> tuple[bool, Happening | None]:
    """Whether the data are good, and what they tell of a visit."""
    kind = _kind_of(entry)
    if kind is None or entry.data is None:
        return True, None
    count_before = len(faults)
    happening = None
    try:
        happening = happening_of(entry)
    except (msgspec.DecodeError, UnicodeDecodeError, TypeError) as error:
        data = msgspec.json.decode(entry.data)
        read_struct(kind, data, where, faults, _FROM_JSON)
        if len(faults) == count_before:
            faults.append(where.fault(f"is not what a {entry.type} holds: {error}"))
    at = getattr(happening, "at", None)
    if at is not None and at.tzinfo is None:
        faults.append(where.at("at").fault("needs an offset, like Z"))
    return len(faults) == count_before, happening


def _kind_of(entry: Entry) -> type[Happening] | None:
    """The type of what an entry tells of a visit; None: it is about something else."""
    if entry.type == EntryType.SESSION_SEGMENT:
        return SegmentBegan if b'"segment"' in (entry.data or b"") else SegmentEnded
    return next((kind for kind, name in TYPES.items() if name == entry.type), None)
