"""The state directory: who may use it, and how files come and go in it without being lost."""

import fcntl
import os
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from pathlib import Path

from edgegate.store.errors import StoreInUseError

_COMPANIONS = ("", "-wal", "-shm")
"""A database file and what SQLite keeps beside it."""


class DirectoryLock:
    """Keeps a second daemon out of a state directory; it ends with the process at the latest."""

    def __init__(self, directory: Path) -> None:
        """Take the lock.

        Raises:
            StoreInUseError: if another process has it.
            OSError: if the file cannot be made.
        """
        self._file = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        with ExitStack() as undone:
            undone.callback(os.close, self._file)
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = os.pread(self._file, 32, 0).decode("ascii", "replace").strip()
                raise StoreInUseError(f"{directory} is in use by process {holder}") from None
            undone.pop_all()
        # Only the message of another process misses the number where the disk is full.
        with suppress(OSError):
            os.ftruncate(self._file, 0)
            os.pwrite(self._file, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Give the lock up; safe to call again."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def make_directory(directory: Path) -> None:
    """Make the directory, for its owner only."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    directory.chmod(0o700)


def make_file(path: Path) -> None:
    """Make an empty file for its owner only, in place of none; SQLite's companions follow suit."""
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))


def replace_file(path: Path, content: bytes, owner: Path) -> None:
    """Put a file in another's place, whole or not at all, for the owner of a directory alone.

    What root writes on the command line the daemon's user can read; it is on disk afterwards.
    """
    beside = path.with_name(f"{path.name}.new")
    beside.unlink(missing_ok=True)
    handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    give_to_owner(beside, owner)
    beside.replace(path)
    flush(path.parent)


def give_to_owner(path: Path, owner: Path) -> None:
    """Let whoever has the directory `owner` have a file or directory that root made."""
    if os.geteuid() == 0:
        status = owner.stat()
        os.chown(path, status.st_uid, status.st_gid)


def remove(path: Path) -> None:
    """Remove a database file and its companions, if they are there."""
    for suffix in _COMPANIONS:
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def remove_companions(path: Path) -> None:
    """Remove what SQLite keeps beside a database that is closed and has all of its log in it."""
    for suffix in _COMPANIONS[1:]:
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def rename(path: Path, to: Path) -> None:
    """Rename a closed database and its companions, and make that outlast a power cut."""
    for suffix in _COMPANIONS:
        source = path.with_name(path.name + suffix)
        if source.exists():
            source.rename(to.with_name(to.name + suffix))
    flush(path.parent)


def flush(directory: Path) -> None:
    """Write a directory's names to the disk."""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def set_aside(path: Path, now_s: float) -> Path:
    """Rename a corrupt database to "<name>.corrupt-<time>" and return that path."""
    stamp = datetime.fromtimestamp(now_s, UTC).strftime("%Y%m%dT%H%M%S")
    aside = path.with_name(f"{path.name}.corrupt-{stamp}")
    number = 1
    while aside.exists():
        number += 1
        aside = path.with_name(f"{path.name}.corrupt-{stamp}.{number}")
    rename(path, aside)
    return aside


def corrupt_copies(path: Path) -> list[Path]:
    """What was set aside of a database, oldest first."""
    found = path.parent.glob(f"{path.name}.corrupt-*")
    return sorted(
        (file for file in found if not file.name.endswith(_COMPANIONS[1:])),
        key=lambda file: (file.stat().st_mtime_ns, file.name),
    )
