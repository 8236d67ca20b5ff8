"""Reads the lines of a kept answer of the feed, packed or not, within limits."""

import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import closing
from typing import IO, Protocol

from edgegate_sync.appliance.errors import SpoolFullError, TruncatedError
from edgegate_sync.wire.changes import LINE_BYTES_MAX

_PIECE_BYTES = 32_768


class _Lines(Protocol):
    def readline(self, size: int = -1, /) -> bytes: ...


def lines_of(file: IO[bytes], is_gzip: bool, bytes_max: int) -> Iterator[bytes]:
    """The lines of a kept answer; the caller's file is closed at their end.

    A line that is longer than `LINE_BYTES_MAX` is cut one byte beyond it, so that it shows.

    Raises:
        TruncatedError: the packing is damaged or ends early.
        SpoolFullError: they are more than `bytes_max` when unpacked.
        OSError: the disk fails.
    """
    with closing(file):
        # GzipFile finds its own lines at three times the cost.
        unpacked = io.BufferedReader(gzip.GzipFile(fileobj=file), _PIECE_BYTES) if is_gzip else file
        yield from _limited(unpacked, bytes_max)


def _limited(stream: _Lines, bytes_max: int) -> Iterator[bytes]:
    left = bytes_max
    within_line = False
    try:
        while line := stream.readline(LINE_BYTES_MAX + 2):
            left -= len(line)
            if left < 0:
                raise SpoolFullError(f"the feed has more than {bytes_max} bytes when unpacked")
            if not within_line:
                yield line
            within_line = not line.endswith(b"\n")
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise TruncatedError(f"the feed's packing is damaged: {error}") from error
