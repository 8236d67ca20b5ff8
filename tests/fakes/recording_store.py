"""A real store that remembers its transactions, on a database thread that a test can hold up."""

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from edgegate.store.errors import StoreUnavailableError
from edgegate.store.files import Store
from edgegate.store.thread import DatabaseThread, Limits


class Recording(Store):
    """A real store that keeps a history of its transactions and of what was asked of it."""

    def begin_history(self) -> None:
        self.history: list[str] = []
        self.repairs_to_fail = 0
        self.ledger.execute("CREATE TABLE note (text TEXT UNIQUE)")
        self.ledger.set_trace_callback(self._trace)

    def _trace(self, statement: str) -> None:
        if statement.startswith(("BEGIN", "COMMIT", "ROLLBACK")):
            self.history.append(statement)

    def recover(self, error: Exception) -> None:
        self.history.append(f"recover: {error}")
        if self.repairs_to_fail:
            self.repairs_to_fail -= 1
            raise StoreUnavailableError("still broken")

    def checkpoint(self) -> None:
        self.history.append("checkpoint")
        super().checkpoint()

    @property
    def notes(self) -> list[str]:
        return [text for (text,) in self.ledger.execute("SELECT text FROM note ORDER BY rowid")]


Thread = DatabaseThread[Recording]


class Gate:
    """A job that holds the thread until it is let go."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.go_on = threading.Event()

    def __call__(self, _store: Recording) -> str:
        self.entered.set()
        assert self.go_on.wait(60)
        return "gate"

    async def reached(self) -> None:
        assert await asyncio.to_thread(self.entered.wait, 60)


def opener(path: Path) -> Callable[[], Recording]:
    def open_store() -> Recording:
        store = Recording.open(path)
        store.begin_history()
        return store

    return open_store


@asynccontextmanager
async def serving(path: Path, limits: Limits | None = None) -> AsyncIterator[Thread]:
    faults: list[BaseException] = []
    thread: Thread = DatabaseThread(faults.append, limits)
    await thread.start(opener(path))
    try:
        yield thread
    finally:
        await thread.close()
    assert faults == []


def note(text: str) -> Callable[[Recording], str]:
    def job(store: Recording) -> str:
        store.ledger.execute("INSERT INTO note VALUES (?)", (text,))
        return text

    return job


def unexpected(fault: BaseException) -> None:
    pytest.fail(repr(fault))


def history(store: Recording) -> list[str]:
    return store.history.copy()


def notes(store: Recording) -> list[str]:
    return store.notes


def corrupt(_store: Recording) -> None:
    error = sqlite3.DatabaseError("database disk image is malformed")
    error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
    raise error


async def settle() -> None:
    """Let tasks that were made reach their first await."""
    for _ in range(3):
        await asyncio.sleep(0)
