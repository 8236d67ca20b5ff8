"""Brings a site's records, its export and the changes together, and says what is to be known."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path

from msgspec import Struct

from edgegate.faults import FAULTS_MAX, Fault, FaultsError
from edgegate.passes.happenings import Happening
from edgegate.store.chain import GENESIS, Entry
from edgegate.whatif.changes import Changes, read_changes
from edgegate.whatif.compare import Comparison, Summary, Told
from edgegate.whatif.export import Checked, check, happened
from edgegate.whatif.records import Known, Rewind, SiteRecords


class Study(Struct, kw_only=True):
    """One question, with all that is needed to answer it."""

    title: str
    exports: Sequence[Path]
    base: SiteRecords
    """The records as they are, taken back to the beginning of the export."""
    changed: SiteRecords
    files: list[Checked]
    notes: list[str]
    """What makes the answer less certain, a sentence each."""
    first: datetime | None
    """The first and last instant that the export tells of."""
    last: datetime | None
    comparison: Comparison

    def run(self) -> Iterator[Told]:
        """Replay the export, and tell each tap that is worth it as it comes."""
        yield from self.comparison.run(happened(self.exports))

    @property
    def summary(self) -> Summary:
        """What it came to, once it has run."""
        return self.comparison.summary


class _Reach:
    """How far an export goes, in time and at which entries it begins."""

    def __init__(self) -> None:
        self.first: datetime | None = None
        self.last: datetime | None = None
        self._begins: dict[str, Entry] = {}

    def note(self, entry: Entry) -> None:
        self.first = entry.at if self.first is None else min(self.first, entry.at)
        self.last = entry.at if self.last is None else max(self.last, entry.at)
        known = self._begins.get(entry.source)
        if known is None or (entry.epoch, entry.sequence) < (known.epoch, known.sequence):
            self._begins[entry.source] = entry

    def late(self) -> Iterator[Entry]:
        """The first entries of those devices whose ledger began before the export does."""
        return (entry for entry in self._begins.values() if entry.prevhash != GENESIS)


def prepare(exports: Sequence[Path], changes: Path, known: Known) -> Study:
    """Check an export and a file of changes, and make both worlds ready.

    Raises:
        FaultsError: with everything that is wrong with any of the files.
    """
    rewind, reach = Rewind(known), _Reach()

    def note(entry: Entry, happening: Happening | None) -> None:
        rewind.note(entry, happening)
        reach.note(entry)

    files: list[Checked] = []
    faults: list[Fault] = []
    try:
        files += check(exports, note)
    except FaultsError as error:
        faults += error.faults
    base = rewind.records()
    read = Changes(title="", records=base)
    try:
        read = read_changes(changes, base)
    except FaultsError as error:
        faults += error.faults
    if faults:
        raise FaultsError(faults[:FAULTS_MAX])
    return Study(
        title=read.title,
        exports=exports,
        base=base,
        changed=read.records,
        files=files,
        notes=list(_notes(files, rewind, reach)),
        first=reach.first,
        last=reach.last,
        comparison=Comparison(base, read.records),
    )


def _notes(files: list[Checked], rewind: Rewind, reach: _Reach) -> Iterator[str]:
    for file in files:
        for sentence in file.chain:
            yield f"The chain of {file.file} is broken at {sentence}."
    erased = sum(file.erased for file in files)
    if erased:
        entries = "1 entry was" if erased == 1 else f"{erased} entries were"
        yield f"{entries} erased and left out; what they told and spent is not known."
    for entry in reach.late():
        yield (
            f"The ledger of {entry.device} began before entry {entry.epoch}/{entry.sequence}, where"
            " the export begins: visits and day passes begun earlier are not known."
        )
    for device, counted in rewind.beyond().items():
        yield (
            f"The records have counted what {device} spent up to entry"
            f" {counted.epoch}/{counted.sequence}, past the end of the export: what was spent"
            " in between is missing from the beginning."
        )
    for device in rewind.unheard():
        yield f"The records have counted {device}, of which the export holds nothing."
