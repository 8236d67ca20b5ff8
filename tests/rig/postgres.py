"""A throw-away PostgreSQL for tests: its own directory and socket, fast because it may lose all."""

import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

START_S_MAX = 60

PORT = 5432
"""Names the socket's file only: it listens on no network, so that rigs cannot meet."""

SETTINGS = {
    "listen_addresses": "",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "shared_buffers": "32MB",
    "max_connections": "100",
    "autovacuum": "off",
    "log_min_messages": "warning",
}

_names = count(1)


@dataclass(frozen=True)
class Postgres:
    """A server that runs; `database()` makes an empty database in it."""

    programs: Path
    directory: Path

    def database(self) -> str:
        """The SQLAlchemy URL of a new, empty database."""
        name = f"rig_{os.getpid()}_{next(_names)}"
        self.psql(f'CREATE DATABASE "{name}"')
        return self.url(name)

    def url(self, name: str) -> str:
        """The SQLAlchemy URL of a database of this server."""
        return f"postgresql+asyncpg://postgres@/{name}?host={self.directory}&port={PORT}"

    def psql(self, sql: str, database: str = "postgres") -> str:
        """Run SQL and return what it prints, without headings."""
        command: list[str | Path] = [
            self.programs / "psql",
            "-X",
            "-q",
            "-A",
            "-t",
            "-v",
            "ON_ERROR_STOP=1",
        ]
        options: list[str | Path] = [
            "-h",
            self.directory,
            "-p",
            str(PORT),
            "-U",
            "postgres",
            "-d",
            database,
        ]
        done = _run([*command, *options, "-c", sql])
        return done.stdout.strip()


@contextmanager
def postgres(settings: Mapping[str, str] | None = None) -> Iterator[Postgres]:
    """Run a new server until the end of the block, with settings of its own besides `SETTINGS`."""
    programs = _programs()
    # Not pytest's own directory: a socket's path has at most 107 bytes, and `postgres`, who is
    # not root, must be able to walk there.
    with tempfile.TemporaryDirectory(prefix="eg-pg-", ignore_cleanup_errors=True) as top:
        directory = Path(top)
        if os.getuid() == 0:
            shutil.chown(directory, "postgres")
        data = directory / "data"
        initdb: list[str | Path] = [
            programs / "initdb",
            "-D",
            data,
            "-U",
            "postgres",
            "-A",
            "trust",
            "-N",
        ]
        _run([*initdb, "--no-locale", "-E", "UTF8"], as_owner=True)
        chosen = {**SETTINGS, **(settings or {})}
        with (data / "postgresql.conf").open("a", encoding="utf-8") as file:
            file.writelines(f"{name} = '{value}'\n" for name, value in chosen.items())
            file.write(f"unix_socket_directories = '{directory}'\n")
        with (directory / "log").open("wb") as log:
            command = [str(programs / "postgres"), "-D", str(data), "-p", str(PORT)]
            server = subprocess.Popen(command, stderr=log, user=_owner(), cwd="/")
        try:
            running = Postgres(programs, directory)
            _wait(running, server)
            yield running
        finally:
            # SIGQUIT ends it without a checkpoint that nobody needs.
            server.send_signal(3)
            server.wait(START_S_MAX)


def _programs() -> Path:
    places = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    found = [place for place in places if (place / "initdb").exists()]
    if found:
        return found[0]
    on_path = shutil.which("initdb")
    if on_path is None:
        raise RuntimeError(
            "PostgreSQL is not on this machine, and the tests need it: apt install postgresql-15"
        )
    return Path(on_path).resolve().parent


def _owner() -> str | None:
    """PostgreSQL refuses to run as root; Debian's package brings a user for it."""
    if os.getuid() != 0:
        return None
    try:
        pwd.getpwnam("postgres")
    except KeyError:
        raise RuntimeError(
            "root needs a user postgres to run PostgreSQL as: apt install postgresql-15"
        ) from None
    return "postgres"


def _run(
    command: Sequence[str | Path], *, as_owner: bool = False
) -> "subprocess.CompletedProcess[str]":
    done = subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        text=True,
        check=False,
        timeout=START_S_MAX,
        user=_owner() if as_owner else None,
        cwd="/",
    )
    if done.returncode:
        raise RuntimeError(f"{command[0]} failed: {done.stderr or done.stdout}")
    return done


def _wait(running: Postgres, server: "subprocess.Popen[bytes]") -> None:
    ends_s = time.monotonic() + START_S_MAX
    while True:
        try:
            running.psql("SELECT 1")
        except RuntimeError as error:
            if server.poll() is not None or time.monotonic() > ends_s:
                log = (running.directory / "log").read_text(encoding="utf-8", errors="replace")
                raise RuntimeError(f"PostgreSQL did not start: {log or error}") from error
            time.sleep(0.05)
        else:
            return
