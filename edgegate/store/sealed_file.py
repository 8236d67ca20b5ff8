"""A file that only a passphrase opens: named parts, encrypted as they are written.

The key is scrypt's (RFC 7914) of the passphrase and a salt of its own for each file. What follows
is AES-256-GCM in pieces, numbered and the last one marked, so that none can be changed, left out,
put elsewhere or cut off (STREAM: Hoang, Reyhanitabar, Rogaway, Vizár, "Online Authenticated-
Encryption and its Nonce-Reuse Misuse-Resistance", 2015).
"""

import os
import secrets
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from msgspec import Struct

MAGIC = b"edgegate sealed 1\n"
PIECE_BYTES = 1_048_576
TAG_BYTES = 16
SALT_BYTES = 16
HEADER_BYTES_MAX = 65_536

SCRYPT_N = 1 << 16
"""64 MiB and well under a second on a Raspberry Pi 4 (RFC 7914, section 2, with r = 8)."""

SCRYPT_N_MAX = 1 << 20
PASSPHRASE_MIN = 8

_LENGTH = struct.Struct(">I")
_PART = struct.Struct(">HQ")


class SealedFileError(Exception):
    """A file that is none of these, is damaged, or opens with another passphrase."""


class Header(Struct, frozen=True, kw_only=True):
    """What stands before the encrypted part, readable and protected."""

    kind: str
    """What it is a backup of."""
    made_at: str
    salt: bytes
    n: int = SCRYPT_N
    says: dict[str, str] = {}


def write(path: Path, passphrase: str, header: Header, parts: dict[str, Path | bytes]) -> None:
    """Write a sealed file with named parts, for its owner only; whole or not at all.

    Raises:
        ValueError: if the passphrase is too short.
        OSError: if it cannot be written.
    """
    if len(passphrase) < PASSPHRASE_MIN:
        raise ValueError(f"the passphrase must have at least {PASSPHRASE_MIN} characters")
    beside = path.with_name(f".{path.name}.new")
    beside.unlink(missing_ok=True)
    handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            text = msgspec.json.encode(header)
            file.write(MAGIC + _LENGTH.pack(len(text)) + text)
            cipher = _cipher(passphrase, header)
            _seal(file, cipher, text, _plain(parts))
            file.flush()
            os.fsync(file.fileno())
        beside.rename(path)
    finally:
        beside.unlink(missing_ok=True)


def new_header(kind: str, made_at: str, says: dict[str, str] | None = None) -> Header:
    """A header with a salt of its own."""
    return Header(kind=kind, made_at=made_at, salt=secrets.token_bytes(SALT_BYTES), says=says or {})


def read(path: Path, passphrase: str, kind: str, into: Path) -> tuple[Header, dict[str, Path]]:
    """Open a sealed file: its parts become files in the directory `into`, by their names.

    Nothing of it may be used unless this returns: only then all of it is known to be sound.

    Raises:
        SealedFileError: if it is damaged, not of that kind, or another passphrase's.
        OSError: if something cannot be read or written.
    """
    with path.open("rb") as file:
        header, text = _header(file, path)
        if header.kind != kind:
            raise SealedFileError(f"{path} is a backup of {header.kind}, not of {kind}")
        pieces = _Pieces(_opened(file, _cipher(passphrase, header), text, path))
        found: dict[str, Path] = {}
        while (part := _next_part(pieces)) is not None:
            name, size = part
            target = into / f"part-{len(found)}"
            handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with os.fdopen(handle, "wb") as out:
                pieces.copy(size, out)
            found[name] = target
    return header, found


def _cipher(passphrase: str, header: Header) -> AESGCM:
    if not (1 < header.n <= SCRYPT_N_MAX and header.n & (header.n - 1) == 0):
        raise SealedFileError("the file asks for a key that nobody makes")
    kdf = Scrypt(salt=header.salt, length=32, n=header.n, r=8, p=1)
    return AESGCM(kdf.derive(passphrase.encode()))


def _plain(parts: dict[str, Path | bytes]) -> Iterator[bytes]:
    for name, part in parts.items():
        label = name.encode()
        size = len(part) if isinstance(part, bytes) else part.stat().st_size
        yield _PART.pack(len(label), size) + label
        if isinstance(part, bytes):
            yield part
            continue
        with part.open("rb") as file:
            left = size
            while left:
                data = file.read(min(PIECE_BYTES, left))
                if not data:
                    raise OSError(f"{part} became shorter while it was read")
                left -= len(data)
                yield data


def _nonce(number: int, *, is_last: bool) -> bytes:
    return number.to_bytes(11) + bytes([is_last])


def _seal(file: BinaryIO, cipher: AESGCM, header: bytes, plain: Iterator[bytes]) -> None:
    waiting = bytearray()
    number = 0
    for data in plain:
        waiting += data
        # One byte more than a piece, so that what is left at the end is never nothing.
        while len(waiting) > PIECE_BYTES:
            piece = bytes(waiting[:PIECE_BYTES])
            del waiting[:PIECE_BYTES]
            file.write(cipher.encrypt(_nonce(number, is_last=False), piece, header))
            number += 1
    file.write(cipher.encrypt(_nonce(number, is_last=True), bytes(waiting), header))


def _header(file: BinaryIO, path: Path) -> tuple[Header, bytes]:
    if file.read(len(MAGIC)) != MAGIC:
        raise SealedFileError(f"{path} is no backup of edgegate")
    try:
        (size,) = _LENGTH.unpack(file.read(_LENGTH.size))
        if size > HEADER_BYTES_MAX:
            raise SealedFileError(f"{path} is damaged")
        text = file.read(size)
        return msgspec.json.decode(text, type=Header), text
    except (struct.error, msgspec.MsgspecError) as error:
        raise SealedFileError(f"{path} is damaged") from error


def _opened(file: BinaryIO, cipher: AESGCM, header: bytes, path: Path) -> Iterator[bytes]:
    number = 0
    sealed = file.read(PIECE_BYTES + TAG_BYTES)
    while True:
        following = file.read(PIECE_BYTES + TAG_BYTES)
        try:
            yield cipher.decrypt(_nonce(number, is_last=not following), sealed, header)
        except InvalidTag:
            what = "damaged or cut off" if number else "damaged, or has another passphrase"
            raise SealedFileError(f"{path} is {what}") from None
        if not following:
            return
        sealed, number = following, number + 1


class _Pieces:
    """The decrypted bytes, by length."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._waiting = b""

    def take(self, size: int) -> bytes:
        """So many bytes; fewer only at the end."""
        while len(self._waiting) < size:
            piece = next(self._pieces, None)
            if piece is None:
                break
            self._waiting += piece
        found, self._waiting = self._waiting[:size], self._waiting[size:]
        return found

    def copy(self, size: int, out: BinaryIO) -> None:
        """Write so many bytes into a file."""
        left = size
        while left:
            data = self.take(min(left, PIECE_BYTES))
            if not data:
                raise SealedFileError("the backup ends too early")
            out.write(data)
            left -= len(data)


def _next_part(pieces: _Pieces) -> tuple[str, int] | None:
    head = pieces.take(_PART.size)
    if not head:
        return None
    label_size, size = _PART.unpack(head)
    return pieces.take(label_size).decode(), size
