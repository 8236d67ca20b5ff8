"""Who is on the Wi-Fi, as a terminal shows it."""

import io
from datetime import UTC, datetime, timedelta

from rich.console import Console

from edgegate.wifi.present import Present
from edgegate.wifitext import render_present

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


def test_a_narrow_terminal_shows_addresses_whole() -> None:
    ana = Present(
        customer="c-anastasia-example",
        mac="020000000001",
        nas="lobby-east",
        location="hq",
        since=NOW - timedelta(hours=3, minutes=53),
        seen_at=NOW - timedelta(minutes=4, seconds=58),
        left_s=46 * 60 + 26,
        method="login",
        received=0,
        sent=0,
    )
    out = io.StringIO()
    Console(file=out, width=80, color_system=None).print(render_present([ana], NOW))
    assert "02-00-00-00-00-01" in out.getvalue()
