"""What the tests need that take the daemon's disk, devices, clock and event loop away."""

import os
import socket
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest

from edgegate.passes.model import Customer, Pass
from edgegate.store import ledger
from edgegate.store.connections import connect_read_only
from edgegate.store.ledger import EntryType
from edgegate_emulators.board import Board
from fakes.daemon import Daemon
from fakes.sites import Site

WAIT_S = 30.0
POLL_S = 0.02
SILENCE_S = 1.0
"""Five ticks of an impatient daemon: so long without a word it has fallen silent."""

IMPATIENT = """
from edgegate import app, supervisor
supervisor.keep.__kwdefaults__["backoff"] = supervisor.Backoff(first_s=0.01, max_s=0.02)
app.STORE_RETRY_S = 0.1
app.TICK_S = 0.2
"""
"""Devices and store are tried again at once, and the watchdog is fed often."""

INJECTOR = """
import os, traceback
is_in = False
try:
    import injected
    is_in = True
finally:
    if not is_in:
        traceback.print_exc()
        os._exit(70)
"""
"""Python would print that an injection failed and go on: the test would test nothing."""

HOLDING = """
import importlib, time
from pathlib import Path
def hold(module, name, held, begun):
    inner = getattr(module, name)
    def holding(*args):
        while held.exists():
            begun.touch()
            time.sleep(0.01)
        return inner(*args)
    setattr(module, name, holding)
hold(importlib.import_module({module!r}), {name!r}, Path({held!r}), Path({begun!r}))
"""


class Hold:
    """A function of the daemon that does not get on, as on a hung disk, until it is let go."""

    def __init__(self, directory: Path, module: str, name: str) -> None:
        self._held = directory / f"held{name}"
        self._begun = directory / f"begun{name}"
        self.injected = HOLDING.format(
            module=module, name=name, held=str(self._held), begun=str(self._begun)
        )
        self._held.touch()

    def wait_begun(self) -> None:
        """Wait until the daemon hangs in it."""
        until(self._begun.exists, "it is never called")

    def let_go(self) -> None:
        """Let it get on, now and from now on."""
        self._held.unlink()


class Place(NamedTuple):
    """A site with members Ana and Bob, whose names are their codes, and its configuration."""

    site: Site
    config: Path

    def environment(self, injected: str) -> dict[str, str]:
        """What makes a Python process run these lines before its own."""
        folder = self.site.directory / "injected"
        folder.mkdir(exist_ok=True)
        (folder / "injected.py").write_text(injected)
        (folder / "sitecustomize.py").write_text(INJECTOR)
        path = [str(folder), *filter(None, [os.environ.get("PYTHONPATH")])]
        return {"PYTHONPATH": os.pathsep.join(path)}

    def daemon(self, injected: str = "", **environment: str) -> Daemon:
        """A daemon, not waited for, into which a few lines of Python were smuggled."""
        return Daemon(self.config, **environment, **self.environment(injected))

    def entries(self, kind: EntryType) -> list[dict[str, Any]]:
        """What the ledger says in all entries of a kind, oldest first."""
        with closing(connect_read_only(self.site.state / "ledger.db")) as connection:
            return [
                msgspec.json.decode(entry.data)
                for entry in ledger.entries(connection)
                if entry.type == kind and entry.data is not None
            ]

    def verify(self) -> None:
        """Fail if the ledger's chain does not hold."""
        with closing(connect_read_only(self.site.state / "ledger.db")) as connection:
            assert ledger.verify(connection) == []


@pytest.fixture
def place(tmp_path: Path) -> Place:
    site = Site(tmp_path, ("front", "back"))
    for name in ("ana", "bob"):
        site.put(
            Customer(id=name),
            Pass(id=f"{name}-ten", holder=name, amount=10),
            site.code_of(name, name),
        )
    config = site.write_config(release_s=0.2)
    with config.open("a") as file:
        file.write(
            f'[fire]\nsensor = {{ driver = "virtual", channel = "fire", socket = "{site.board}" }}'
        )
    return Place(site, config)


class Manager:
    """What systemd is for a service: a socket that takes its words."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "notify"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(self.path))

    def next_word(self, timeout_s: float = WAIT_S) -> str | None:
        """The next word, or None if none comes in time."""
        self._socket.settimeout(timeout_s)
        try:
            return self._socket.recv(1024).decode()
        except TimeoutError:
            return None

    def hear(self, word: str) -> None:
        """Wait for a word, and pass over those before it."""
        ends_s = time.monotonic() + WAIT_S
        while self.next_word() != word:
            assert time.monotonic() < ends_s, f"never said {word}"

    def forget(self) -> None:
        """Pass over all that was said until now."""
        while self.next_word(timeout_s=0.05) is not None:
            pass

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    listening = Manager(tmp_path)
    yield listening
    listening.close()


def until(condition: Callable[[], bool], what: str, timeout_s: float = WAIT_S) -> None:
    """Wait for a condition; `what` is the failure's message."""
    ends_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < ends_s, what
        time.sleep(POLL_S)


def wait_logged(daemon: Daemon, words: str, times: int = 1) -> None:
    """Wait until a daemon has logged so many lines with these words; fail if it ends instead."""
    until(
        lambda: (
            sum(words in line for line in daemon.log.copy()) >= times
            or daemon.process.poll() is not None
        ),
        f"it never logged: {words}",
    )
    assert_alive(daemon)


def wait_started(daemon: Daemon) -> None:
    """Wait until taps are answered; fail at once if the process ends instead."""
    until(lambda: daemon._ready.is_set() or daemon.process.poll() is not None, "it hangs")
    assert_alive(daemon)


def assert_alive(daemon: Daemon) -> None:
    assert daemon.process.poll() is None, "\n".join(daemon.log.copy())[-2000:]


def show_code(board: Board, code: str | bytes, door: str = "front") -> None:
    """Show a code and wait for nothing."""
    number = code if isinstance(code, bytes) else code.encode()
    assert board.scan(f"{door}-reader", "qr_static", number.hex())


def tap(board: Board, code: str | bytes, door: str = "front") -> str:
    """Show a code and return what the reader shows for it."""
    reader = f"{door}-reader"
    board.wait_connected(reader, WAIT_S)
    shown = len(board.signals(reader))
    show_code(board, code, door)
    board.wait_signals(reader, shown + 1, WAIT_S)
    return board.signals(reader)[-1][1]


def leave_by_button(board: Board, door: str = "front") -> None:
    """Press the exit button of a locked door until it opens."""
    board.wait_connected(f"{door}-exit_button", WAIT_S)
    board.wait_connected(f"{door}-strike", WAIT_S)
    board.wait_level(f"{door}-strike", False, WAIT_S)
    changes = len(board.history(f"{door}-strike"))
    board.set_sensor(f"{door}-exit_button", True)
    board.wait_changes(f"{door}-strike", changes + 1, WAIT_S)
    board.set_sensor(f"{door}-exit_button", False)


@contextmanager
def killed_at_the_end(daemon: Daemon) -> Iterator[Daemon]:
    """A daemon that is not waited for, and does not outlive the test."""
    try:
        yield daemon
    finally:
        daemon.kill()


@contextmanager
def no_directory(site: Site) -> Iterator[None]:
    """The state directory is away, and a file in its place."""
    aside = site.state.rename(site.directory / "aside")
    site.state.write_text("a file where the directory should be")
    yield
    site.state.unlink()
    aside.rename(site.state)


def overwrite(file: Path, statement: str) -> None:
    """Garbage over all pages but the first; a commit beside makes the daemon read them afresh."""
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.execute("BEGIN IMMEDIATE")
        connection.execute(statement)
        with file.open("r+b") as stream:
            stream.seek(4096)
            stream.write(b"\xa5" * (file.stat().st_size - 4096))
        connection.execute("COMMIT")
