"""Reads a TOML file together with the line of every key, so that faults can name their line."""

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct

from edgegate.faults import FaultsError, KeyPath, Where

FILE_BYTES_MAX = 1 << 20
"""A larger file is refused unread: nobody writes such a configuration or scenario by hand."""


class Document(Struct, frozen=True):
    """The values of a TOML file and the line of every key, table and array element."""

    file: str
    data: dict[str, Any]
    lines: Mapping[KeyPath, int]

    @property
    def where(self) -> Where:
        """The place of the whole file, from which the places of its values are reached."""
        return Where(self.file, self.lines)


def load(path: str | Path) -> Document:
    """Read a TOML file.

    Raises:
        FaultsError: if it cannot be read, is too large, or is not TOML; with the line.
    """
    where = Where(str(path))
    try:
        with Path(path).open("rb") as file:
            content = file.read(FILE_BYTES_MAX + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise FaultsError([where.fault(f"cannot be read: {reason}")]) from error
    if len(content) > FILE_BYTES_MAX:
        raise FaultsError([where.fault(f"is larger than {FILE_BYTES_MAX} bytes")])
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise _syntax_error(where, line, "is not UTF-8 text") from error
    return loads(text, str(path))


def loads(text: str, file: str) -> Document:
    """Read TOML text; `file` is the name that faults give it.

    Raises:
        FaultsError: if it is not TOML; with the line.
    """
    where = Where(file)
    try:
        data = tomllib.loads(text)
        lines = _Scanner(text).scan()
    except RecursionError as error:
        raise FaultsError([where.fault("is nested too deeply")]) from error
    except ValueError as error:
        # TOMLDecodeError ends with "(at line 3, column 5)"; a number of too many digits has none.
        message = str(error)
        found = re.search(r" \(at (?:line (\d+), column \d+|end of document)\)\Z", message)
        if found is None:
            raise FaultsError([where.fault(f"is not valid TOML: {message}")]) from error
        line = int(found[1]) if found[1] else len(text.splitlines()) or 1
        raise _syntax_error(
            where, line, f"is not valid TOML: {message[: found.start()]}"
        ) from error
    return Document(file, data, lines)


def _syntax_error(where: Where, line: int, problem: str) -> FaultsError:
    return FaultsError([Where(where.file, {(): line}).fault(problem)])


_SPACE = re.compile(r"[ \t]*")
_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_KEY_PART = r"""(?:[A-Za-z0-9_-]+|"(?:\\.|[^"\\\n])*"|'[^'\n]*')"""
_KEY = re.compile(rf"{_KEY_PART}(?:[ \t]*\.[ \t]*{_KEY_PART})*")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+\Z")
_STRING = re.compile(
    r'"""(?:\\.|[^\\])*?"""(?:"{0,2})'
    r"|'''.*?'''(?:'{0,2})"
    r'|"(?:\\.|[^"\\\n])*"'
    r"|'[^'\n]*'",
    re.DOTALL,
)
_SCALAR = re.compile(r"[^,\]}#\n]+")


class _Scanner:
    """Finds the lines of keys in text that tomllib has found to be TOML, so it checks nothing."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._position = 0
        self._counted_to = 0
        self._line = 1
        self._lines: dict[KeyPath, int] = {}
        self._array_lengths: dict[KeyPath, int] = {}

    def scan(self) -> dict[KeyPath, int]:
        table: KeyPath = ()
        self._skip(_BLANK)
        while self._position < len(self._text):
            if self._text[self._position] == "[":
                table = self._header()
            else:
                self._pair(table)
            self._skip(_BLANK)
        return self._lines

    def _skip(self, pattern: re.Pattern[str]) -> str:
        """Move past what `pattern` matches here, and return it."""
        match = pattern.match(self._text, self._position)
        if match is None:
            raise AssertionError("tomllib accepted what the line scanner does not know")
        self._position = match.end()
        return match[0]

    def _here(self) -> int:
        self._line += self._text.count("\n", self._counted_to, self._position)
        self._counted_to = self._position
        return self._line

    def _header(self) -> KeyPath:
        """Read `[a.b]` or `[[a.b]]`; return the path of the table that it opens."""
        line = self._here()
        is_array = self._text.startswith("[[", self._position)
        self._position += 2 if is_array else 1
        self._skip(_SPACE)
        *outer, last = self._key()
        self._skip(_SPACE)
        self._position += 2 if is_array else 1
        path: KeyPath = ()
        for key in outer:
            path = self._into((*path, key), line)
        path = (*path, last)
        if not is_array:
            self._lines[path] = line
            return path
        self._lines.setdefault(path, line)
        index = self._array_lengths.get(path, 0)
        self._array_lengths[path] = index + 1
        path = (*path, index)
        self._lines[path] = line
        return path

    def _into(self, path: KeyPath, line: int) -> KeyPath:
        """The table that `path` speaks of: of an array of tables it is the last one so far."""
        self._lines.setdefault(path, line)
        length = self._array_lengths.get(path)
        return path if length is None else (*path, length - 1)

    def _pair(self, table: KeyPath) -> None:
        """Read `key = value` into `table`."""
        line = self._here()
        path = table
        for key in self._key():
            path = (*path, key)
            self._lines.setdefault(path, line)
        self._skip(_SPACE)
        self._position += 1  # the equals sign
        self._skip(_SPACE)
        self._value(path)

    def _key(self) -> list[str]:
        """Read a key, dotted or not, and return its parts without quotes."""
        text = self._skip(_KEY)
        if _BARE_KEY.match(text):
            return [text]
        parts: list[str] = []
        inner: Any = tomllib.loads(f"{text} = 0")  # tomllib knows the escapes
        while isinstance(inner, dict):
            ((part, inner),) = inner.items()
            parts.append(part)
        return parts

    def _value(self, path: KeyPath) -> None:
        character = self._text[self._position]
        if character == "[":
            self._array(path)
        elif character == "{":
            self._inline_table(path)
        else:
            self._skip(_STRING if character in "\"'" else _SCALAR)

    def _array(self, path: KeyPath) -> None:
        self._position += 1
        self._skip(_BLANK)
        index = 0
        while self._text[self._position] != "]":
            element = (*path, index)
            self._lines[element] = self._here()
            self._value(element)
            self._skip_comma()
            index += 1
        self._position += 1

    def _inline_table(self, path: KeyPath) -> None:
        self._position += 1
        self._skip(_BLANK)
        while self._text[self._position] != "}":
            self._pair(path)
            self._skip_comma()
        self._position += 1

    def _skip_comma(self) -> None:
        self._skip(_BLANK)
        if self._text[self._position] == ",":
            self._position += 1
            self._skip(_BLANK)
