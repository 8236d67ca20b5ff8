"""Finds the entries in a damaged ledger by looking at every page of it, without SQLite's help.

An entry carries its own hash, so whatever decodes to a row whose hash fits is that entry, wherever
it was found; what does not fit is left. That reaches every row on every page that still can be
read, even with the header, the root or half of the file gone. Formats: sqlite.org/fileformat2.html.
"""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edgegate.store import chain, ledger
from edgegate.store.chain import Entry
from edgegate.store.connections import PAGE_BYTES

_LEAF = 0x0D
_COLUMNS = 12
_WAL_HEADER = struct.Struct(">8I")
_FRAME_HEADER = struct.Struct(">6I")
_WAL_MAGIC = 0x377F0682
_OVERFLOW_MAX = ledger.DATA_BYTES_MAX // PAGE_BYTES + 2

_PAYLOAD_LOCAL_MAX = PAGE_BYTES - 35
_PAYLOAD_LOCAL_MIN = (PAGE_BYTES - 12) * 32 // 255 - 23
_PAYLOAD_MAX = ledger.DATA_BYTES_MAX + PAGE_BYTES


def entries(path: Path) -> Iterator[Entry]:
    """Every intact entry in a closed ledger file and its write-ahead log, in no particular order.

    Raises:
        OSError: if the file cannot be read at all.
    """
    pages = _Pages(path)
    try:
        # Page 1 holds the file's header and the schema.
        for number in range(2, pages.count + 1):
            page = pages.read(number)
            for pointer in _cells(page):
                entry = _entry_at(pages, page, pointer)
                if entry is not None:
                    yield entry
    finally:
        pages.close()


class _Pages:
    """The pages of a database as they were after its last commit, as far as they can be read."""

    def __init__(self, path: Path) -> None:
        self._log = _committed_frames(path.with_name(f"{path.name}-wal"))
        self._wal = path.with_name(f"{path.name}-wal").open("rb") if self._log else None
        self._file = path.open("rb")
        own = -(-path.stat().st_size // PAGE_BYTES)
        self.count = max(own, *self._log, 0) if self._log else own

    def read(self, number: int) -> bytes:
        """A page, or what there is of it; numbers beyond the end give an empty one."""
        try:
            if self._wal is not None and number in self._log:
                self._wal.seek(self._log[number])
                return self._wal.read(PAGE_BYTES)
            self._file.seek((number - 1) * PAGE_BYTES)
            return self._file.read(PAGE_BYTES)
        except OSError:
            # A bad block of the medium costs its own pages, not the others.
            return b""

    def close(self) -> None:
        """Close the files."""
        self._file.close()
        if self._wal is not None:
            self._wal.close()


def _committed_frames(wal: Path) -> dict[int, int]:
    """Where in the log the newest committed version of each page begins.

    Frames count up to the last commit, and only as long as their running checksum fits: behind that
    lie frames of earlier rounds and of transactions that never were.
    """
    found: dict[int, int] = {}
    pending: dict[int, int] = {}
    try:
        file = wal.open("rb")
    except FileNotFoundError:
        return found
    with file:
        header = file.read(_WAL_HEADER.size)
        if len(header) < _WAL_HEADER.size:
            return found
        magic, _, page_bytes, _, salt_1, salt_2, *sums = _WAL_HEADER.unpack(header)
        order = ">" if magic & 1 else "<"
        running = _checksum(header[:24], (0, 0), order)
        if magic & ~1 != _WAL_MAGIC or page_bytes != PAGE_BYTES or running != tuple(sums):
            return found
        while len(frame := file.read(_FRAME_HEADER.size + PAGE_BYTES)) == 24 + PAGE_BYTES:
            page, size_after, *rest = _FRAME_HEADER.unpack_from(frame)
            running = _checksum(frame[:8] + frame[24:], running, order)
            if rest != [salt_1, salt_2, *running]:
                break
            pending[page] = file.tell() - PAGE_BYTES
            if size_after:
                found.update(pending)
                pending.clear()
    return found


def _checksum(data: bytes, start: tuple[int, int], order: str) -> tuple[int, int]:
    """The log's checksum (fileformat2.html, section 4.2)."""
    first, second = start
    words = iter(struct.unpack(f"{order}{len(data) // 4}I", data))
    for even, odd in zip(words, words, strict=True):
        first = (first + even + second) & 0xFFFFFFFF
        second = (second + odd + first) & 0xFFFFFFFF
    return first, second


def _cells(page: bytes) -> Iterator[int]:
    """Where the cells of a table's leaf page begin; nothing for pages of another kind."""
    if len(page) < 8 or page[0] != _LEAF:
        return
    count = int.from_bytes(page[3:5], "big")
    for at in range(8, min(8 + 2 * count, len(page) - 1), 2):
        yield int.from_bytes(page[at : at + 2], "big")


def _entry_at(pages: _Pages, page: bytes, pointer: int) -> Entry | None:
    """The intact entry whose cell is there, or None."""
    try:
        size, at = _varint(page, pointer)
        key, at = _varint(page, at)
        values = _record(_payload(pages, page, at, size))
        entry = ledger.entry_of_row((key, *values[1:]))
        return entry if len(values) == _COLUMNS and chain.is_intact(entry) else None
    except (IndexError, ValueError, TypeError, AttributeError, OverflowError, struct.error):
        # Random bytes fail in all the ways that decoding can fail.
        return None


def _payload(pages: _Pages, page: bytes, at: int, size: int) -> bytes:
    if size > _PAYLOAD_MAX:
        raise ValueError("longer than any entry")
    if size <= _PAYLOAD_LOCAL_MAX:
        return page[at : at + size]
    local = _PAYLOAD_LOCAL_MIN + (size - _PAYLOAD_LOCAL_MIN) % (PAGE_BYTES - 4)
    if local > _PAYLOAD_LOCAL_MAX:
        local = _PAYLOAD_LOCAL_MIN
    payload = page[at : at + local]
    following = int.from_bytes(page[at + local : at + local + 4], "big")
    for _ in range(_OVERFLOW_MAX):
        if len(payload) >= size or following == 0:
            break
        overflow = pages.read(following)
        payload += overflow[4:]
        following = int.from_bytes(overflow[:4], "big")
    return payload[:size]


def _record(payload: bytes) -> list[Any]:
    """The columns of a record (fileformat2.html, section 2.1)."""
    header_end, at = _varint(payload, 0)
    types = []
    while at < header_end:
        kind, at = _varint(payload, at)
        types.append(kind)
    values = []
    at = header_end
    for kind in types:
        value, at = _value(payload, at, kind)
        values.append(value)
    return values


_INTEGER_BYTES = (0, 1, 2, 3, 4, 6, 8)


def _value(payload: bytes, at: int, kind: int) -> tuple[Any, int]:
    if kind == 0:
        return None, at
    if kind < len(_INTEGER_BYTES):
        end = at + _INTEGER_BYTES[kind]
        return int.from_bytes(payload[at:end], "big", signed=True), end
    if kind in {8, 9}:
        return kind - 8, at
    if kind < 12:
        raise ValueError("a kind of value that no entry has")
    end = at + (kind - 12) // 2
    if end > len(payload):
        raise ValueError("cut off")
    raw = payload[at:end]
    return (raw.decode() if kind % 2 else raw), end


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A variable-length integer of up to nine bytes, and where it ends."""
    value = 0
    for offset in range(8):
        byte = data[at + offset]
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, at + offset + 1
    return value << 8 | data[at + 8], at + 9
