"""Who is on the Wi-Fi and what its server shows, for a terminal."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from edgegate.statustext import _long, _text
from edgegate.wifi.mac import is_randomised
from edgegate.wifi.present import Present
from edgegate.wifi.shown import Shown

MAC_CHARACTERS = len("02-00-00-00-00-01")

_COLUMNS = ("customer", "device", "access point", "since", "last seen", "time left", "by")


def render_present(found: Sequence[Present], now: datetime) -> RenderableType:
    """A row for each device."""
    if not found:
        return Text("Nobody is on the Wi-Fi.")
    table = Table(box=None, header_style="dim")
    for column in _COLUMNS:
        # Narrow terminals fold other columns first: nobody finds half of an address.
        whole = MAC_CHARACTERS if column == "device" else None
        table.add_column(column, overflow="fold", min_width=whole)
    for one in found:
        left = "" if one.left_s is None else _long(timedelta(seconds=one.left_s))
        table.add_row(
            _text(one.customer or "nobody known here"),
            _text(_mac(one.mac)),
            _text(one.nas),
            _text(_long(now - one.since)),
            _text(f"{_long(now - one.seen_at)} ago"),
            _text(left),
            _text(one.method),
        )
    return table


def render_certificate(found: Shown, now: datetime) -> RenderableType:
    """The whole of it, and what is wrong with it at the end."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    days = (found.ends_at - now).days
    renewal = ", renews itself" if found.renews_itself else ""
    rows = [
        ("file", found.file),
        ("names", ", ".join(found.names)),
        ("issuer", found.issuer),
        ("good until", f"{found.ends_at:%Y-%m-%d} ({days} days){renewal}"),
        ("SHA-256", found.fingerprint),
    ]
    if found.authority_ends_at is not None:
        rows.append(("authority", f"good until {found.authority_ends_at:%Y-%m-%d}"))
    for name, value in rows:
        table.add_row(_text(name), _text(value))
    faults = [_text(f"BAD   {fault}", "red") for fault in found.faults]
    return Group(table, *faults)


def _mac(mac: str) -> str:
    pairs = "-".join(mac[at : at + 2] for at in range(0, len(mac), 2))
    return f"{pairs} (private)" if mac and is_randomised(mac) else pairs
