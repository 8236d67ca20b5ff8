"""Keeps private keys in the database, encrypted with a master key that is not in it.

Any worker can then sign, a stolen database cannot, and a backup of the database together with the
master key's file is the escrow: with both, every site's authority can be had again. Sealed is
AES-256-GCM (NIST SP 800-38D) with a random 96-bit nonce before it, bound to the key's place.
"""

import os
import secrets
import stat
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_BYTES = 32
NONCE_BYTES = 12


class VaultError(RuntimeError):
    """A master key that is missing, unsafe or another one than that which sealed."""


class Vault:
    """Seals and opens with one master key."""

    def __init__(self, master_key: bytes) -> None:
        if len(master_key) != KEY_BYTES:
            raise VaultError(f"a master key has {KEY_BYTES} bytes, not {len(master_key)}")
        self._cipher = AESGCM(master_key)

    def seal(self, scope: str, purpose: str, key: bytes) -> bytes:
        """A private key, encrypted for its place in the table."""
        nonce = secrets.token_bytes(NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, key, f"{scope}\0{purpose}".encode())

    def open(self, scope: str, purpose: str, sealed: bytes) -> bytes:
        """The private key that was sealed.

        Raises:
            VaultError: if this is not the master key that sealed it, or not its place.
        """
        nonce, body = sealed[:NONCE_BYTES], sealed[NONCE_BYTES:]
        try:
            return self._cipher.decrypt(nonce, body, f"{scope}\0{purpose}".encode())
        except InvalidTag:
            raise VaultError(
                f"the key {purpose} of {scope} was sealed with another master key:"
                " put back the key file that belongs to this database"
            ) from None


def read_master_key(path: Path) -> bytes:
    """The master key in a file.

    Raises:
        VaultError: if it is not there, others than its owner may read it, or it is none.
    """
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        text = path.read_text(encoding="ascii")
    except FileNotFoundError:
        raise VaultError(
            f"{path} is not there, and the database has keys that it opens: put it back"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise VaultError(f"{path} cannot be read: {error}") from error
    if mode & 0o077:
        raise VaultError(f"{path} may be read by others than its owner: chmod 600 {path}")
    try:
        key = bytes.fromhex(text.strip())
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise VaultError(f"{path} is no master key: it must hold {KEY_BYTES} bytes in hexadecimal")
    return key


def create_master_key(path: Path) -> bytes:
    """A new master key, in a file that only its owner may read; an existing one is kept."""
    key = secrets.token_bytes(KEY_BYTES)
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return read_master_key(path)
    with os.fdopen(handle, "w", encoding="ascii") as file:
        file.write(key.hex() + "\n")
        file.flush()
        os.fsync(file.fileno())
    return key
