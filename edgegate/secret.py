"""Secrets: read from files or systemd credentials, never from the configuration, never printed."""

import hmac
import os
import stat
from pathlib import Path
from typing import Annotated, ClassVar, Self, final

from msgspec import Meta, Struct

from edgegate.faults import Fault, Where
from edgegate.strict import read_struct

MASK = "********"

SECRET_BYTES_MAX = 4096
"""A larger file is no secret but a mistake."""

_HOW = 'write { file = "/etc/edgegate/…" } or { credential = "…" }'


class SecretSource(Struct, frozen=True, kw_only=True):
    """Where a secret is: in a file, or in a systemd credential (LoadCredential=, systemd.exec)."""

    file: Annotated[str, Meta(pattern=r"\A/", description="the file's absolute path")] | None = None
    credential: (
        Annotated[
            str,
            Meta(pattern=r"\A[A-Za-z0-9_-][A-Za-z0-9._-]*\Z", description="a credential's name"),
        ]
        | None
    ) = None

    def __post_init__(self) -> None:
        if (self.file is None) == (self.credential is None):
            raise ValueError("must name either a file or a credential")


class Secret:
    """Bytes that print as asterisks; only `reveal()` tells them."""

    bytes_min: ClassVar[int] = 1
    __slots__ = ("_value", "source")

    def __init__(self, value: bytes, source: SecretSource) -> None:
        self._value = value
        self.source = source

    def reveal(self) -> bytes:
        """The secret itself, for the one place that uses it."""
        return self._value

    def __repr__(self) -> str:
        return MASK

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and hmac.compare_digest(self._value, other.reveal())

    def __hash__(self) -> int:
        return hash(self.source)

    def __reduce__(self) -> str:
        raise TypeError("a secret is not copied out of its process")

    @classmethod
    def read(cls, data: object, where: Where, faults: list[Fault]) -> Self | None:
        """Read the secret that `{ file = … }` or `{ credential = … }` speaks of.

        Faults never repeat what was written: it may be the secret itself. One trailing line end
        is not part of a secret that is text.
        """
        if not isinstance(data, dict):
            faults.append(where.fault("must not stand in the configuration itself", _HOW))
            return None
        source = read_struct(SecretSource, data, where, faults)
        value = None if source is None else _read_source(source, where, faults)
        if source is None or value is None:
            return None
        if len(value) < cls.bytes_min:
            problem = f"must be at least {cls.bytes_min} bytes long (got {len(value)})"
            faults.append(where.fault(problem, cls.hint(source)))
            return None
        return cls(value, source)

    @classmethod
    def hint(cls, source: SecretSource) -> str:
        """How a secret that is too short is made."""
        return f"write it into {source.file or source.credential}"


@final
class SiteKey(Secret):
    """The key of HMAC(site key, kind ‖ number), which card numbers are stored as."""

    bytes_min: ClassVar[int] = 32
    """The output of SHA-256: RFC 2104 §3 discourages shorter keys."""
    __slots__ = ()

    @classmethod
    def hint(cls, source: SecretSource) -> str:
        """How a site key is made; all devices of a site have the same."""
        return f"make one with: openssl rand -hex 32 > {source.file or source.credential}"


def _read_source(source: SecretSource, where: Where, faults: list[Fault]) -> bytes | None:
    if source.file is not None:
        return _read_file(Path(source.file), where.at("file"), faults, others_may_not_read=True)
    directory = os.environ.get("CREDENTIALS_DIRECTORY")
    if not directory:
        problem = "cannot be read: CREDENTIALS_DIRECTORY is not set"
        hint = f"systemd sets it for a unit with LoadCredential={source.credential}:/…"
        faults.append(where.at("credential").fault(problem, hint))
        return None
    # systemd guards the directory itself, whatever the modes in it.
    path = Path(directory, source.credential or "")
    return _read_file(path, where.at("credential"), faults, others_may_not_read=False)


def _read_file(
    path: Path, where: Where, faults: list[Fault], *, others_may_not_read: bool
) -> bytes | None:
    try:
        # Without O_NONBLOCK a named pipe in the file's place would hold up the start for ever.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with open(descriptor, "rb") as file:  # noqa: PTH123 - pathlib opens no descriptors
            status = os.fstat(descriptor)
            value = file.read(SECRET_BYTES_MAX + 1) if stat.S_ISREG(status.st_mode) else None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        faults.append(where.fault(f"cannot be read: {path}: {reason}"))
        return None
    if value is None:
        faults.append(where.fault(f"must be a regular file: {path}"))
        return None
    mode = stat.S_IMODE(status.st_mode)
    if others_may_not_read and mode & 0o077:
        problem = f"must be closed to everybody but its owner: {path} has mode {mode:04o}"
        faults.append(where.fault(problem, f"chmod 600 {path}"))
        return None
    if len(value) > SECRET_BYTES_MAX:
        faults.append(where.fault(f"is larger than {SECRET_BYTES_MAX} bytes: {path}"))
        return None
    return _without_line_end(value)


def _without_line_end(value: bytes) -> bytes:
    """Editors end text with a line end; in random bytes the last one is a byte like any other."""
    text = value.removesuffix(b"\n").removesuffix(b"\r")
    return text if text.isascii() and text.decode().isprintable() else value
