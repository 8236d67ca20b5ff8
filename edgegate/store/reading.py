"""Reading the databases beside a running appliance: for the command line, never for a decision."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import click

from edgegate.ports import ClockTrust
from edgegate.store.books import Books
from edgegate.store.connections import connect_read_only
from edgegate.store.ledger import Stamp


@dataclass(frozen=True, slots=True)
class ReadFiles:
    """Both files, open to be looked at."""

    ledger: sqlite3.Connection
    cache: sqlite3.Connection


@contextmanager
def open_for_reading(state_dir: Path) -> Iterator[ReadFiles]:
    """Open the databases of a state directory without changing them.

    Raises:
        click.ClickException: if they are not there or cannot be read; it says so in a sentence.
    """
    if not (state_dir / "ledger.db").exists():
        raise click.ClickException(
            f"there is no ledger.db in {state_dir}: the appliance has not run there, or --state-dir"
            " or --config should name another place"
        )
    try:
        with (
            closing(connect_read_only(state_dir / "ledger.db")) as ledger,
            closing(connect_read_only(state_dir / "cache.db")) as cache,
        ):
            yield ReadFiles(ledger, cache)
    except sqlite3.Error as error:
        raise click.ClickException(
            f"the databases in {state_dir} cannot be read: {error}"
        ) from error


def reading_books(files: ReadFiles) -> Books:
    """The books of files that are only looked at; recording in them fails."""
    return Books(files, _no_stamp)


def _no_stamp() -> Stamp:
    return Stamp(source="", clock=ClockTrust.UNTRUSTED, boot_id="", monotonic_s=0.0)
