"""What the Wi-Fi server shows of itself, read from its files: nothing is made or renewed here."""

from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from msgspec import Struct

from edgegate.wifi.certificates import (
    AUTHORITY_PUBLIC,
    AUTHORITY_WARNING,
    DIRECTORY,
    SERVER,
    WARNING,
)
from edgegate.wifi.ownfiles import OwnFilesError, read_chain
from edgegate.wificonfig import WifiSection


class NotThereError(Exception):
    """What was looked for is not there, or cannot be read; the text says what helps."""


class Shown(Struct, frozen=True, kw_only=True):
    """The server's certificate."""

    file: str
    names: tuple[str, ...]
    issuer: str
    begins_at: datetime
    ends_at: datetime
    fingerprint: str
    """SHA-256, in hexadecimal: what a device shows when it asks whether to trust it."""
    authority_ends_at: datetime | None
    """None: devices trust an authority that is not here."""
    renews_itself: bool
    faults: tuple[str, ...]
    """What is wrong with it now, or will be soon."""


def shown(section: WifiSection, state_dir: Path, at: datetime) -> Shown:
    """What devices are shown.

    Raises:
        NotThereError: if it cannot be read.
    """
    files = section.certificate
    file = state_dir / DIRECTORY / SERVER if files is None else Path(files.chain)
    leaf = _read(file)[0]
    authority = _authority(section, state_dir)
    names = _names(leaf)
    return Shown(
        file=str(file),
        names=names,
        issuer=leaf.issuer.rfc4514_string(),
        begins_at=leaf.not_valid_before_utc,
        ends_at=leaf.not_valid_after_utc,
        fingerprint=leaf.fingerprint(SHA256()).hex(),
        authority_ends_at=None if authority is None else authority.not_valid_after_utc,
        renews_itself=files is None,
        faults=tuple(_faults(section, leaf, authority, names, at)),
    )


def pinned(section: WifiSection, state_dir: Path, ca: Path | None) -> x509.Certificate:
    """Whom devices are told to trust: the file `ca`, else the authority of what is in use.

    Raises:
        NotThereError: if nobody here knows.
    """
    if ca is not None:
        return _read(ca)[-1]
    authority = _authority(section, state_dir)
    if authority is None:
        raise NotThereError(
            "the certificate's chain does not hold the authority that devices trust: name its"
            " file with --ca"
        )
    return authority


def _authority(section: WifiSection, state_dir: Path) -> x509.Certificate | None:
    if section.certificate is None:
        return _read(state_dir / DIRECTORY / AUTHORITY_PUBLIC)[0]
    last = _read(Path(section.certificate.chain))[-1]
    return last if last.subject == last.issuer else None


def _read(file: Path) -> tuple[x509.Certificate, ...]:
    if not file.exists():
        raise NotThereError(
            f"there is no {file}: the daemon makes the appliance's own when it starts with [wifi]"
            " in its configuration"
        )
    try:
        return read_chain(file)
    except OwnFilesError as error:
        raise NotThereError(str(error)) from error


def _faults(
    section: WifiSection,
    leaf: x509.Certificate,
    authority: x509.Certificate | None,
    names: tuple[str, ...],
    at: datetime,
) -> list[str]:
    found = []
    clock = "see this computer's clock (timedatectl)"
    if at < leaf.not_valid_before_utc:
        found.append(f"it is good only from {leaf.not_valid_before_utc:%Y-%m-%d} on: {clock}")
    found += _ending("it", leaf, at, WARNING)
    if authority is not None:
        found += _ending("its authority", authority, at, AUTHORITY_WARNING)
    if section.server_name.lower() not in (name.lower() for name in names):
        told = ", ".join(names) or "nobody"
        found.append(f"it is for {told}, but devices are told {section.server_name}")
    return found


def _ending(what: str, certificate: x509.Certificate, at: datetime, soon: timedelta) -> list[str]:
    ends = certificate.not_valid_after_utc
    if ends <= at:
        return [f"{what} expired on {ends:%Y-%m-%d}: devices do not connect any more"]
    return [f"{what} expires in {(ends - at).days} days"] if ends - at <= soon else []


def _names(certificate: x509.Certificate) -> tuple[str, ...]:
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except (x509.ExtensionNotFound, ValueError):
        return ()
    return tuple(found.value.get_values_for_type(x509.DNSName))
