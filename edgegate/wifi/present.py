"""Who is on the Wi-Fi now, for whoever asks at the command line: reads, and decides nothing."""

from datetime import datetime, timedelta

import msgspec
from msgspec import Struct

from edgegate.passes.model import CredentialKind
from edgegate.store import cache, wifi_rows
from edgegate.store.books import Books
from edgegate.store.wifi_rows import Grant, Online
from edgegate.wifi.attributes import Attribute
from edgegate.wifi.mac import canonical

_METHODS = {CredentialKind.WIFI_LOGIN: "login", CredentialKind.MAC: "device"}
_names = msgspec.msgpack.Decoder(tuple[tuple[int, bytes], ...]).decode


class Present(Struct, frozen=True, kw_only=True):
    """One device."""

    customer: str
    """Empty: nobody here let it in."""
    mac: str
    """As the access point told it; empty where it did not."""
    nas: str
    location: str
    since: datetime
    seen_at: datetime
    left_s: int | None
    """Until its right ends; None: nobody here knows of one."""
    method: str
    """`login`, `device`, or empty where that is not known any more."""
    received: int
    sent: int


def present(books: Books, at: datetime) -> list[Present]:
    """All devices that are on the Wi-Fi, by customer."""
    found = [_present(row, books, at) for row in wifi_rows.every_online(books.ledger)]
    return sorted(found, key=lambda one: (one.customer, one.since))


def _present(row: Online, books: Books, at: datetime) -> Present:
    granted = _granted(row, books)
    credential = None if granted is None else books.record_of(cache.CREDENTIAL, granted.credential)
    left_s = None if granted is None else max(0, (granted.until - at) // timedelta(seconds=1))
    return Present(
        customer=row.customer,
        mac=_mac(row.names),
        nas=row.nas,
        location=row.location,
        since=row.started_at,
        seen_at=row.seen_at,
        left_s=left_s,
        method="" if credential is None else _METHODS.get(credential.kind, ""),
        received=row.received,
        sent=row.sent,
    )


def _granted(row: Online, books: Books) -> Grant | None:
    """The newest Accept by which it is there."""
    newest = wifi_rows.newest_grant(books.ledger, row.place, row.station)
    if newest is not None and newest.customer == row.customer:
        return newest
    return wifi_rows.grant(books.ledger, row.class_)


def _mac(names: bytes) -> str:
    if not names:
        return ""
    told = dict(_names(names)).get(Attribute.CALLING_STATION_ID, b"")
    return canonical(told.decode(errors="replace")) or ""
