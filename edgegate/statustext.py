"""How an appliance is doing, for a terminal."""

from collections.abc import Iterator
from datetime import datetime, timedelta

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from edgegate.ports import ClockTrust, DriverStatus
from edgegate.status import Status, WifiStatus
from edgegate_sync.wire.state import DeviceState, DriverState

NAMED_MAX = 10
"""So many quarantined records are shown; `--json` has them all."""

CERTIFICATE_SOON = timedelta(days=30)
DISK_SHARE_MIN = 0.05
_GOOD, _FAIR, _BAD, _PLAIN = "green", "yellow", "red", ""
_OWN = ("cloud", "broker", "certificate")
"""What has a line of its own."""


def render(status: Status, now: datetime) -> RenderableType:
    """The whole page; `now` is when it is read."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value, style in _rows(status, now):
        table.add_row(_text(name), _text(value, style))
    parts: list[RenderableType] = [table]
    if status.state.quarantined:
        parts += [Text("\nnot usable", style="bold"), _quarantined(status.state)]
    return Group(*parts)


def _rows(status: Status, now: datetime) -> Iterator[tuple[str, str, str]]:
    state = status.state
    yield "appliance", f"{status.site}/{status.device}, edgegate {state.version}", _PLAIN
    if status.running:
        yield "daemon", f"runs for {_long(timedelta(seconds=state.uptime_s))}", _GOOD
        yield _clock(status)
    else:
        yield "daemon", "does not answer: this is what its files tell", _BAD
    yield from _cloud(status, now)
    yield from _ledger(state, now)
    yield from _feed(state)
    if status.wifi is not None:
        yield from _wifi(status.wifi)
    yield from _machine(state, now)
    for driver in state.drivers:
        if driver.name not in _OWN:
            yield driver.name, _driver(driver, status, now), _style(driver)


def _clock(status: Status) -> tuple[str, str, str]:
    trust = status.state.clock
    source = f" ({status.clock_source})" if status.clock_source else ""
    if status.clock_dispute_s:
        source += f", but the cloud's clock is {status.clock_dispute_s:+.0f} s away"
    styles = {ClockTrust.TRUSTED.value: _GOOD, ClockTrust.HOLDOVER.value: _FAIR}
    return "clock", f"{trust}{source}", styles.get(trust, _BAD)


def _cloud(status: Status, now: datetime) -> Iterator[tuple[str, str, str]]:
    if status.cloud is None:
        yield "cloud", "none in the configuration", _PLAIN
        return
    drivers = {driver.name: driver for driver in status.state.drivers}
    text, style = status.cloud, _PLAIN
    if (cloud := drivers.get("cloud")) is not None:
        is_reached = cloud.status == DriverStatus.ENABLED
        text += ", reachable" if is_reached else f", not reachable: {cloud.detail}"
        text, style = text + _since(status, "cloud", now), _GOOD if is_reached else _BAD
    elif status.running:
        text += ", not reached yet"
    if status.reached_at is not None and style is not _GOOD:
        text += f"; it last answered {_ago(now, status.reached_at)}"
    yield "cloud", text, style
    if (broker := drivers.get("broker")) is not None:
        is_up = broker.status == DriverStatus.ENABLED
        told = "connected" if is_up else f"not connected: {broker.detail}"
        yield "broker", told + _since(status, "broker", now), _GOOD if is_up else _FAIR
    expires_at = status.state.certificate_expires_at
    fault = drivers.get("certificate")
    if expires_at is not None:
        left = expires_at - now
        style = _GOOD if left > CERTIFICATE_SOON else _FAIR if left > timedelta(0) else _BAD
        detail = f": {fault.detail}" if fault is not None and fault.detail else ""
        text = f"until {expires_at:%Y-%m-%d} ({left.days} days){detail}"
        yield "certificate", text, _BAD if detail else style
    elif fault is not None and fault.detail:
        yield "certificate", fault.detail, _BAD


def _ledger(state: DeviceState, now: datetime) -> Iterator[tuple[str, str, str]]:
    ledger = state.ledger
    sent = f"{ledger.cursor_epoch}/{ledger.cursor_sequence}" if ledger.cursor_epoch else "nothing"
    yield "ledger", f"at {ledger.epoch}/{ledger.sequence}, the cloud has {sent}", _PLAIN
    oldest = ledger.oldest_unsent_at
    if oldest is None:
        yield "to upload", "nothing", _GOOD
    else:
        lag = f"the oldest from {oldest:%Y-%m-%d %H:%M:%S} UTC, {_ago(now, oldest)}"
        yield "to upload", f"{ledger.backlog} entries, {lag}", _FAIR


def _feed(state: DeviceState) -> Iterator[tuple[str, str, str]]:
    more = ", a snapshot is being built" if state.snapshot else ""
    yield "records", f"up to change {state.head}{more}", _PLAIN
    if state.quarantined_count:
        yield "quarantine", f"{state.quarantined_count} could not be used", _BAD
    if state.unknown:
        names = ", ".join(f"{name} ({count})" for name, count in sorted(state.unknown.items()))
        yield "unknown", f"kept out, as of a later version: {names}", _FAIR


def _wifi(wifi: WifiStatus) -> Iterator[tuple[str, str, str]]:
    unknown = f", {wifi.unknown} of nobody known here" if wifi.unknown else ""
    devices = f"{wifi.devices} devices of {wifi.customers} people{unknown}"
    if wifi.counts is None:
        yield "on the wifi", devices, _PLAIN
        return
    counts = wifi.counts
    again = f" ({counts.again} at once again)" if counts.again else ""
    told = f"{counts.accepted} accepted{again} and {counts.refused} refused since the start"
    leaving = f", {counts.leaving} to be disconnected" if counts.leaving else ""
    yield "on the wifi", f"{devices}{leaving}; {told}", _FAIR if counts.leaving else _GOOD
    worst = sorted(counts.unanswered.items(), key=lambda item: -item[1])
    for why, count in worst[:NAMED_MAX]:
        yield "wifi packets", f"{why} ({count})", _FAIR


def _machine(state: DeviceState, now: datetime) -> Iterator[tuple[str, str, str]]:
    if state.disk is not None:
        free, total = state.disk.free_bytes, state.disk.total_bytes
        share = free / total if total else 0.0
        text = f"{free / 2**30:.1f} of {total / 2**30:.1f} GiB free ({share:.0%})"
        yield "disk", text, _GOOD if share > DISK_SHARE_MIN else _BAD
    if state.temperature_c is not None:
        yield "temperature", f"{state.temperature_c:.0f} °C", _PLAIN
    if state.at < now - timedelta(minutes=1):
        yield "as of", _ago(now, state.at), _FAIR


def _driver(driver: DriverState, status: Status, now: datetime) -> str:
    detail = f": {driver.detail}" if driver.detail else ""
    return f"{driver.status}{detail}{_since(status, driver.name, now)}"


def _style(driver: DriverState) -> str:
    styles = {DriverStatus.ENABLED.value: _GOOD, DriverStatus.DISABLED.value: _PLAIN}
    return styles.get(driver.status, _BAD)


def _since(status: Status, name: str, now: datetime) -> str:
    since = status.since.get(name)
    return "" if since is None else f", for {_long(now - since)}"


def _quarantined(state: DeviceState) -> Table:
    table = Table(box=None, header_style="dim")
    for column in ("kind", "id", "field", "why"):
        table.add_column(column, overflow="fold")
    for record in state.quarantined[:NAMED_MAX]:
        table.add_row(*map(_text, (record.kind, record.id, record.field, record.error)))
    left = state.quarantined_count - min(NAMED_MAX, len(state.quarantined))
    if left > 0:
        table.add_row(Text(f"and {left} more", style="dim"))
    return table


def _text(text: str, style: str = "") -> Text:
    """What comes from outside is text: no markup, and nothing that moves a terminal's cursor."""
    return Text("".join(c if c.isprintable() else "\ufffd" for c in text), style=style)


def _ago(now: datetime, at: datetime) -> str:
    return f"{_long(now - at)} ago" if at <= now else f"{_long(at - now)} ahead"


def _long(time: timedelta) -> str:
    """A span in its two largest units."""
    left_s = max(0, int(time.total_seconds()))
    units = ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s"))
    found: list[str] = []
    for size, unit in units:
        count, left_s = divmod(left_s, size)
        if count or (unit == "s" and not found):
            found.append(f"{count} {unit}")
        elif found:
            break
    return " ".join(found[:2])
