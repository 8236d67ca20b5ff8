"""Reads CSV files line by line, and tells by a header which file of a product it is.

Nothing is guessed of a file but what plain rules give: a byte order mark is dropped; the delimiter
is what stands most often between the header's names; the encoding is as the caller says.
"""

import csv
from collections.abc import Callable, Iterable, Iterator
from typing import Literal

from msgspec import Struct

from edgegate_sync.cloud.mappings import FileMapping, Mapping, Source

Encoding = Literal["utf-8", "cp1252"]

DELIMITERS = (",", ";", "\t")
BOM = b"\xef\xbb\xbf"

LINES_MAX = 1_000_000
"""Lines of one file; what is longer is refused as a whole."""

COLUMNS_MAX = 300


class ImportFault(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One thing that is wrong in a file."""

    file: str
    line: int
    """From 1, the header's; of a row that has several lines, the first."""
    column: str = ""
    problem: str
    advice: str = ""


class CsvFile(Struct, frozen=True, kw_only=True):
    """A file that is to be imported; it is read twice, so that nothing of it stays in memory."""

    name: str
    open: Callable[[], Iterable[bytes]]
    """Its lines, with their ends."""
    table: str = ""
    """Which file of the product it is, where its header does not tell."""
    encoding: Encoding = "utf-8"


class FileFaultyError(Exception):
    """A file of which no row can be read."""

    def __init__(self, fault: ImportFault) -> None:
        super().__init__(fault.problem)
        self.fault = fault


class Row(Struct, frozen=True):
    """One row by the normalised names of its columns."""

    line: int
    values: dict[str, str]


class Header(Struct, frozen=True, kw_only=True):
    """The columns of a file: as they are written, by their normalised names."""

    columns: dict[str, str]

    def column(self, source: Source) -> str | None:
        """Which column of the file a source reads, normalised; None if it has none of them."""
        return next((key for name in source.names if (key := plain(name)) in self.columns), None)


def plain(name: str) -> str:
    """A column's name without what products write differently."""
    return "".join(c for c in name.casefold() if c.isalnum())


def rows(file: CsvFile, faults: list[ImportFault]) -> Iterator[Header | Row]:
    """The header, then each row that is not empty; what cannot be read is added to `faults`.

    Raises:
        FileFaultyError: if nothing of the file can be read.
    """
    lines = _decoded(file, faults)
    first = next(lines, "")
    line = 1
    while first and not first.strip():
        first, line = next(lines, ""), line + 1
    delimiter = _delimiter_line(first)
    if delimiter:
        # The first line of what Excel writes for itself.
        first, line = next(lines, ""), line + 1
    if not first.strip():
        raise _faulty(file, line, "the file is empty", "Export it again, with its header.")
    delimiter = delimiter or _delimiter(first)
    reader = csv.reader(_with(first, lines), delimiter=delimiter, strict=True)
    header = _header(file, line, reader)
    yield header
    keys = list(header.columns)
    before = reader.line_num
    while True:
        try:
            cells = next(reader, None)
        except csv.Error as error:
            problem = f"cannot be read from here on: {error}"
            advice = "Look for a quotation mark that is not closed, and save the file again."
            faults.append(_fault(file, line + before, problem, advice))
            return
        if cells is None:
            return
        at, before = line + before, reader.line_num
        if at > LINES_MAX:
            problem = f"has more than {LINES_MAX} lines"
            faults.append(_fault(file, at, problem, "Split it into several files."))
            return
        row = _row(file, at, keys, cells, faults)
        if row is not None:
            yield row


def recognise(file: CsvFile, header: Header, mapping: Mapping) -> tuple[str, FileMapping]:
    """Which of a product's files this is.

    Raises:
        FileFaultyError: if it is none of them, or may be several.
    """
    if file.table:
        chosen = mapping.files.get(file.table)
        if chosen is None:
            there = ", ".join(mapping.files)
            raise _faulty(file, 1, f'{mapping.title} has no file "{file.table}"', f"Say: {there}.")
        missing = _missing(header, chosen)
        if missing:
            raise _faulty(file, 1, f"lacks {missing}", "Export it with that column.")
        return file.table, chosen
    known = {
        name: _known_columns(header, one)
        for name, one in mapping.files.items()
        if not _missing(header, one)
    }
    best = max(known.values(), default=0)
    names = [name for name, count in known.items() if count == best]
    if len(names) == 1:
        return names[0], mapping.files[names[0]]
    if not names:
        raise _faulty(file, 1, f"is no file that {mapping.title} exports", _wanted(header, mapping))
    several = " or ".join(names)
    raise _faulty(file, 1, f"may be {several}", "Say which with --table NAME=FILE (or `table`).")


def _missing(header: Header, mapping: FileMapping) -> str:
    for group in mapping.needs:
        if not any(plain(name) in header.columns for name in group):
            return f'the column "{group[0]}"'
    return ""


def _known_columns(header: Header, mapping: FileMapping) -> int:
    """How many columns of the header this file of the product has a use for."""
    used = set()
    for record in mapping.records:
        for field in record.fields:
            for source in record.sources(field):
                used |= {plain(name) for name in (*source.names, *source.join)}
    return len(used & header.columns.keys())


def _wanted(header: Header, mapping: Mapping) -> str:
    """The file that comes nearest, and what it lacks."""
    nearest = max(mapping.files, key=lambda name: _known_columns(header, mapping.files[name]))
    return f"For {nearest} it lacks {_missing(header, mapping.files[nearest])}."


def _decoded(file: CsvFile, faults: list[ImportFault]) -> Iterator[str]:
    for line, text in enumerate(file.open(), start=1):
        data = text.removeprefix(BOM) if line == 1 else text
        try:
            yield data.decode(file.encoding)
        except UnicodeDecodeError as error:
            problem = f"has the byte 0x{data[error.start]:02x}, which is not {file.encoding}"
            other = "cp1252" if file.encoding == "utf-8" else "utf-8"
            advice = f"Save the file as UTF-8, or say that its encoding is {other}."
            faults.append(_fault(file, line, problem, advice))
            yield data.decode(file.encoding, errors="replace")


def _delimiter_line(first: str) -> str:
    text = first.strip("\r\n")
    is_one = text.startswith("sep=") and len(text) == len("sep=") + 1
    return text[-1] if is_one and text[-1] in DELIMITERS else ""


def _delimiter(header: str) -> str:
    """What stands most often outside quotes; a comma where nothing does."""
    outside = "".join(header.split('"')[::2])
    return max(DELIMITERS, key=outside.count)


def _with(first: str, rest: Iterable[str]) -> Iterator[str]:
    yield first
    yield from rest


def _header(file: CsvFile, line: int, reader: Iterator[list[str]]) -> Header:
    try:
        cells = next(reader)
    except csv.Error as error:
        raise _faulty(file, line, f"its header cannot be read: {error}", "") from error
    if len(cells) > COLUMNS_MAX:
        raise _faulty(file, line, f"has more than {COLUMNS_MAX} columns", "Leave some out.")
    columns: dict[str, str] = {}
    for place, cell in enumerate(cells, start=1):
        key = plain(cell) or f" {place}"
        # Of two columns with one name the first counts; the second keeps its place.
        columns[key if key not in columns else f" {place}"] = cell.strip()
    return Header(columns=columns)


def _row(
    file: CsvFile, line: int, keys: list[str], cells: list[str], faults: list[ImportFault]
) -> Row | None:
    if not any(cell.strip() for cell in cells):
        return None
    if len(cells) > len(keys) and any(cell.strip() for cell in cells[len(keys) :]):
        problem = f"has {len(cells)} cells, the header {len(keys)}"
        advice = "Put what contains the delimiter into quotation marks."
        faults.append(_fault(file, line, problem, advice))
        return None
    if any("\0" in cell for cell in cells):
        faults.append(_fault(file, line, "has the character U+0000", "Take it out."))
        return None
    return Row(line, dict(zip(keys, (cell.strip() for cell in cells), strict=False)))


def _fault(file: CsvFile, line: int, problem: str, advice: str) -> ImportFault:
    return ImportFault(file=file.name, line=line, problem=problem, advice=advice)


def _faulty(file: CsvFile, line: int, problem: str, advice: str) -> FileFaultyError:
    return FileFaultyError(_fault(file, line, problem, advice))
