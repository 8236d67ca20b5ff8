"""Brings a database file to the schema this version knows, one numbered SQL file at a time."""

import re
import sqlite3
from functools import cache
from pathlib import Path

from edgegate.store.errors import SchemaTooNewError

SQL = Path(__file__).parent / "sql"
"""Not by importlib.resources, which brings nearly a megabyte of archive formats along."""


@cache
def scripts(family: str) -> tuple[str, ...]:
    """The SQL of `family` ("ledger" or "cache") in order; the first takes version 0 to 1.

    Raises:
        RuntimeError: if the package's files are missing or not numbered from 1 without a gap.
    """
    numbered: dict[int, str] = {}
    for file in SQL.iterdir():
        if match := re.fullmatch(rf"{family}_(\d{{3}})\.sql", file.name):
            numbered[int(match[1])] = file.read_text("utf-8")
    if not numbered or sorted(numbered) != list(range(1, len(numbered) + 1)):
        raise RuntimeError(f"the package lacks SQL files of {family}: it has {sorted(numbered)}")
    return tuple(numbered[number] for number in sorted(numbered))


def version(connection: sqlite3.Connection) -> int:
    """The schema's number as the file has it (`PRAGMA user_version`); 0 is an empty file."""
    (number,) = connection.execute("PRAGMA user_version").fetchone()
    return int(number)


def migrate(connection: sqlite3.Connection, family: str) -> int:
    """Apply what is missing, each file in a transaction of its own; return the version reached.

    Raises:
        SchemaTooNewError: if the file knows a version that this program does not.
        sqlite3.Error: if a file could not be applied; it then left nothing behind.
    """
    known = scripts(family)
    at_first = version(connection)
    if at_first > len(known):
        raise SchemaTooNewError(
            f"the {family} has schema {at_first}, this version of edgegate knows {len(known)}; "
            "install the newer version again"
        )
    for number, script in enumerate(known[at_first:], start=at_first + 1):
        apply(connection, script, number)
    return len(known)


def apply(connection: sqlite3.Connection, script: str, number: int) -> None:
    """Run one file's SQL and set `user_version` to `number`: both, or neither."""
    try:
        connection.executescript(
            f"BEGIN IMMEDIATE;\n{script}\n;PRAGMA user_version = {number};\nCOMMIT;"
        )
    except sqlite3.Error:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
