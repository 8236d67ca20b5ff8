"""Which client certificates were given out, and which of them count no more: a file of its own.

Whoever writes takes a lock and reads anew, as the daemon and the command line both write. A name
is forgotten with the revocation: the serial number is all that is needed then.
"""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TypeVar

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from edgegate.store.directory import give_to_owner, make_directory, replace_file

CLIENTS_MAX = 10_000
"""More certificates than that are not given out; those that expired leave the list."""

FILE_BYTES_MAX = 4_194_304
_T = TypeVar("_T")


class ClientsError(Exception):
    """The list cannot be used or holds no more; with no list, nobody may come in by EAP-TLS."""


class Client(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One certificate."""

    serial: str
    """In lower-case hexadecimal."""
    until: datetime
    login: str = ""
    """Whose it is; empty once it is revoked."""
    revoked_at: datetime | None = None


class _Content(Struct, frozen=True):
    clients: tuple[Client, ...] = ()


class Clients:
    """The list in a directory; everything but `is_revoked` reads or writes files: use a thread."""

    def __init__(self, directory: Path) -> None:
        """Name the directory; `reload` comes first."""
        self._file = directory / "clients.json"
        self._lock = directory / "clients.lock"
        self._directory = directory
        self._revoked: frozenset[str] = frozenset()
        self._read: tuple[int, int, int] | None = None
        """Which file was read last: every writer puts a new one in its place."""

    def is_revoked(self, serial: str) -> bool:
        """Whether that certificate counts no more, as of the last reading."""
        return serial in self._revoked

    def follow(self) -> None:
        """Read the file again where it is another one than last time.

        Raises:
            ClientsError: as `reload`.
        """
        if _identity(self._file) != self._read:
            self.reload()

    def reload(self) -> tuple[Client, ...]:
        """Read the file again, as another process may have written it.

        Raises:
            ClientsError: if it is damaged; what was read before stays in force.
        """
        read = _identity(self._file)
        try:
            with self._file.open("rb") as stream:
                content = stream.read(FILE_BYTES_MAX + 1)
            clients = msgspec.json.decode(content, type=_Content).clients
        except FileNotFoundError:
            clients = ()
        except (OSError, msgspec.DecodeError) as error:
            raise ClientsError(f"{self._file} cannot be read: {error}") from error
        self._revoked = frozenset(client.serial for client in clients if client.revoked_at)
        self._read = read
        return clients

    def add(self, client: Client, at: datetime) -> None:
        """Put one on the list.

        Raises:
            ClientsError: if it holds no more, or cannot be read or written.
        """

        def added(clients: tuple[Client, ...]) -> tuple[tuple[Client, ...], None]:
            kept = tuple(other for other in clients if other.until > at)
            if len(kept) >= CLIENTS_MAX:
                raise ClientsError(f"{CLIENTS_MAX} certificates are given out: revoking is no help")
            return (*kept, client), None

        self._change(added)

    def revoke(self, serial: str, at: datetime, until: datetime) -> None:
        """Let a certificate count no more, whoever signed it; `until` is when it expires anyway.

        Raises:
            ClientsError: if the list cannot be read or written.
        """

        def revoked(clients: tuple[Client, ...]) -> tuple[tuple[Client, ...], None]:
            others = tuple(client for client in clients if client.serial != serial)
            return (*others, Client(serial=serial, until=until, revoked_at=at)), None

        self._change(revoked)

    def revoke_all(self, login: str, at: datetime) -> tuple[str, ...]:
        """Let all certificates of a login count no more; the serial numbers of those that did.

        Raises:
            ClientsError: if the list cannot be read or written.
        """

        def revoked(clients: tuple[Client, ...]) -> tuple[tuple[Client, ...], tuple[str, ...]]:
            theirs = {c.serial for c in clients if c.login == login and not c.revoked_at}
            changed = tuple(
                replace(client, login="", revoked_at=at) if client.serial in theirs else client
                for client in clients
            )
            return changed, tuple(sorted(theirs))

        return self._change(revoked)

    def _change(self, change: Callable[[tuple[Client, ...]], tuple[tuple[Client, ...], _T]]) -> _T:
        try:
            with self._locked():
                clients, answer = change(self.reload())
                replace_file(
                    self._file, msgspec.json.encode(_Content(clients)), self._directory.parent
                )
                self.reload()
        except OSError as error:
            raise ClientsError(f"{self._file} cannot be written: {error}") from error
        return answer

    @contextmanager
    def _locked(self) -> Iterator[None]:
        make_directory(self._directory)
        give_to_owner(self._directory, self._directory.parent)
        handle = os.open(self._lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            give_to_owner(self._lock, self._directory.parent)
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)


def _identity(file: Path) -> tuple[int, int, int] | None:
    """What tells a file from the one that replaces it; None where there is none."""
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
