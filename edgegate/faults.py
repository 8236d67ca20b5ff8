"""What is wrong in a file that people write, said so that they can mend it."""

import difflib
import json
import re
from collections.abc import Iterable, Mapping

from msgspec import Struct

KeyPath = tuple[str | int, ...]
"""The way to a value: `("reader", 0, "port")` is `reader[0].port`."""

FAULTS_MAX = 100
"""How many faults are kept of one reading; the first hundred are enough to begin with."""

WORD_MAX = 64
"""How much of a wrong word is compared and shown, in characters."""

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+\Z")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


class Fault(Struct, frozen=True):
    """One thing that is wrong; prints as `config.toml:12: reader[0].port: must be …; did you …`."""

    file: str
    line: int | None
    field: str
    problem: str
    suggestion: str = ""

    def __str__(self) -> str:
        """The fault as one line, as compilers print theirs."""
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        words = f"{self.problem}; {self.suggestion}" if self.suggestion else self.problem
        line = ": ".join(part for part in (place, self.field, words) if part)
        return _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", line)


class FaultsError(Exception):
    """A file cannot be used; `faults` says all that is wrong with it, by line."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = tuple(sorted(faults, key=lambda fault: (fault.file, fault.line or 0)))
        super().__init__(*self.faults)

    def __str__(self) -> str:
        """Each fault on its own line."""
        return "\n".join(str(fault) for fault in self.faults)


class Where(Struct, frozen=True):
    """A place in a file: which file, which value, and the line nearest to it where lines exist."""

    file: str
    lines: Mapping[KeyPath, int] = {}
    path: KeyPath = ()

    def at(self, *keys: str | int) -> "Where":
        """The place further in."""
        return Where(self.file, self.lines, self.path + keys)

    @property
    def line(self) -> int | None:
        """The line of the value or, as for a missing key, of the nearest table around it."""
        for length in range(len(self.path), -1, -1):
            if (line := self.lines.get(self.path[:length])) is not None:
                return line
        return None

    @property
    def field(self) -> str:
        """The path as people write it."""
        return field_name(self.path)

    def fault(self, problem: str, suggestion: str = "") -> Fault:
        """A fault at this place."""
        return Fault(self.file, self.line, self.field, problem, suggestion)


def field_name(path: KeyPath) -> str:
    """Write `("reader", 0, "port")` as `reader[0].port`, keys that need quotes in quotes."""
    text = ""
    for key in path:
        if isinstance(key, int):
            text += f"[{key}]"
        else:
            word = key if _BARE_KEY.match(key) else json.dumps(key[:WORD_MAX])
            text += f".{word}" if text else word
    return text


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The question that names the known word nearest to `word`, or nothing."""
    spelled = {name.casefold(): name for name in known}
    near = difflib.get_close_matches(word[:WORD_MAX].casefold(), spelled, n=1)
    return f'did you mean "{spelled[near[0]]}"?' if near else ""
