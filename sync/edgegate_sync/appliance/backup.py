"""Backs an appliance up and restores it: ledger, identity, Wi-Fi authority; the cache comes alone.

A restored ledger lacks what was recorded after the backup, and would give numbers anew that the
cloud knows already: that is a fork. So it begins a new epoch before anything is recorded, and no
number is given twice. Where a card is copied by other means, the cloud notices and asks for it.
"""

import sqlite3
import tempfile
import time
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from msgspec import Struct

from edgegate import __version__
from edgegate.store import ledger, sealed_file, standing
from edgegate.store.connections import connect_read_only
from edgegate.store.directory import (
    DirectoryLock,
    flush,
    give_to_owner,
    make_directory,
    remove,
    set_aside,
)
from edgegate.store.sealed_file import SealedFileError
from edgegate_sync.appliance.identity import DIRECTORY, ENROLMENT, PAPER

KIND = "appliance"
LEDGER = "ledger.db"
IDENTITY = (PAPER, ENROLMENT)

WIFI = "wifi"
WIFI_AUTHORITY = "authority.pem"
"""With another one every phone would have to be set up anew (edgegate/wifi/certificates.py)."""

WIFI_FILES = (WIFI_AUTHORITY, "ca.pem", "clients.json")


class Restored(Struct, frozen=True, kw_only=True):
    """What a restored appliance begins with."""

    made_at: str
    epoch: int
    """The new epoch of its ledger."""
    has_identity: bool


def make(state_dir: Path, out: Path, passphrase: str) -> None:
    """Write a backup of an appliance, which may be running; blocks.

    Raises:
        FileNotFoundError: if there is no ledger.
        ValueError: if the passphrase is too short.
        OSError, sqlite3.Error: if something cannot be read or written.
    """
    source = state_dir / LEDGER
    if not source.exists():
        raise FileNotFoundError(f"there is no ledger in {state_dir}")
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".backup-") as directory:
        copy = Path(directory, LEDGER)
        with closing(connect_read_only(source)) as reading, closing(sqlite3.connect(copy)) as to:
            reading.backup(to)
            to.execute("PRAGMA journal_mode = DELETE")
        parts: dict[str, Path | bytes] = {LEDGER: copy}
        for name in IDENTITY:
            file = state_dir / DIRECTORY / name
            if file.exists():
                parts[name] = file.read_bytes()
        for name in WIFI_FILES:
            file = state_dir / WIFI / name
            if file.exists():
                parts[f"{WIFI}-{name}"] = file.read_bytes()
        now = datetime.now(UTC).isoformat(timespec="seconds")
        header = sealed_file.new_header(KIND, now, {"version": __version__})
        sealed_file.write(out, passphrase, header, parts)


def restore(state_dir: Path, source: Path, passphrase: str, *, replace: bool = False) -> Restored:
    """Put a backup into a state directory whose appliance is not running; blocks.

    Raises:
        StoreInUseError: if the appliance is running.
        SealedFileError: if the backup is damaged, or opens with another passphrase.
        FileExistsError: if there is a ledger already and it is not to be replaced; what is replaced
            is set aside, and its entries that were not uploaded are then only there.
    """
    make_directory(state_dir)
    target = state_dir / LEDGER
    lock = DirectoryLock(state_dir)
    try:
        if target.exists() and not replace:
            raise FileExistsError(f"{target} is there already: say --replace to set it aside")
        with tempfile.TemporaryDirectory(dir=state_dir, prefix=".restore-") as made:
            header, parts = sealed_file.read(source, passphrase, KIND, Path(made))
            if LEDGER not in parts:
                raise SealedFileError(f"{source} has no ledger")
            epoch = _begin_epoch(parts[LEDGER])
            if target.exists():
                set_aside(target, time.time())
            # How another ledger's tables stood.
            remove(standing.path_of(state_dir))
            has_identity = _put_identity(state_dir, parts)
            _put_wifi(state_dir, parts)
            # Last: with the ledger in its place the appliance is restored.
            parts[LEDGER].rename(target)
            flush(state_dir)
    finally:
        lock.release()
    return Restored(made_at=header.made_at, epoch=epoch, has_identity=has_identity)


def _begin_epoch(path: Path) -> int:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if found != "ok":
            raise SealedFileError(f"the ledger in it is damaged: {found}")
        return ledger.begin_epoch(connection, time.time())


def _put_identity(state_dir: Path, parts: dict[str, Path]) -> bool:
    if PAPER not in parts or ENROLMENT not in parts:
        return False
    directory = state_dir / DIRECTORY
    directory.mkdir(mode=0o700, exist_ok=True)
    for name in IDENTITY:
        parts[name].replace(directory / name)
    flush(directory)
    return True


def _put_wifi(state_dir: Path, parts: dict[str, Path]) -> None:
    """Put the Wi-Fi's authority back; one that is there meanwhile is set aside.

    Of the same authority the list of revoked certificates that is there is the newer one, and
    stays.
    """
    found = {name: parts[f"{WIFI}-{name}"] for name in WIFI_FILES if f"{WIFI}-{name}" in parts}
    if WIFI_AUTHORITY not in found:
        return
    directory = state_dir / WIFI
    make_directory(directory)
    give_to_owner(directory, state_dir)
    there = directory / WIFI_AUTHORITY
    is_same = there.exists() and there.read_bytes() == found[WIFI_AUTHORITY].read_bytes()
    for name, part in found.items():
        target = directory / name
        if target.exists() and is_same:
            continue
        if target.exists():
            set_aside(target, time.time())
        part.replace(target)
        give_to_owner(target, state_dir)
    flush(directory)
