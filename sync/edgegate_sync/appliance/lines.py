"""Reads the lines of a kept answer of the feed, packed or not, within limits."""

import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import closing
from typing import IO

from edgegate_sync.appliance.errors import SpoolFullError, TruncatedError
from edgegate_sync.wire.changes import LINE_BYTES_MAX

BLOCK_BYTES = 8192
"""A block of lines is longer by its last line at most: twice as much is no quicker to read, and
one line in other words than this version's own slows its whole block down."""

_PIECE_BYTES = 32_768
_CUT_BYTES = LINE_BYTES_MAX + 2


def lines_of(file: IO[bytes], is_gzip: bool, bytes_max: int) -> Iterator[bytes]:
    """The lines of a kept answer one by one, otherwise like `blocks_of`."""
    for block in blocks_of(file, is_gzip, bytes_max):
        yield from io.BytesIO(block)


def blocks_of(file: IO[bytes], is_gzip: bool, bytes_max: int) -> Iterator[bytes]:
    """Some whole lines of a kept answer at a time; the caller's file is closed at their end.

    A line that is longer than `LINE_BYTES_MAX` is cut one byte beyond it, so that it shows.

    Raises:
        TruncatedError: the packing is damaged or ends early.
        SpoolFullError: they are more than `bytes_max` when unpacked.
        OSError: the disk fails.
    """
    with closing(file):
        # GzipFile has small pieces, and finds the end of a line at three times the cost.
        unpacked = io.BufferedReader(gzip.GzipFile(fileobj=file), _PIECE_BYTES) if is_gzip else file
        try:
            yield from _limited(unpacked, bytes_max)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise TruncatedError(f"the feed's packing is damaged: {error}") from error


def _limited(stream: IO[bytes], bytes_max: int) -> Iterator[bytes]:
    left = bytes_max
    within_line = False
    while True:
        piece = b"" if within_line else stream.read(BLOCK_BYTES)
        piece += stream.readline(_CUT_BYTES)
        if not piece:
            return
        left -= len(piece)
        if left < 0:
            raise SpoolFullError(f"the feed has more than {bytes_max} bytes when unpacked")
        if not within_line:
            # Only the last line can be too long: the others are within the block.
            yield piece[: piece.rfind(b"\n", 0, -1) + 1 + _CUT_BYTES]
        within_line = not piece.endswith(b"\n")
