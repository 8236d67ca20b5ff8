"""The page of `edgegate status`: everything the daemon knows, and nothing that moves a cursor."""

from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner
from msgspec.structs import replace
from rich.console import Console

from edgegate import synccli
from edgegate.status import Status, WifiCounts, WifiStatus
from edgegate.statustext import render
from edgegate.store.files import Store
from edgegate_sync.wire.state import (
    DeviceState,
    DiskState,
    DriverState,
    LedgerState,
    Quarantined,
)
from rig.devices import AT

STATE = DeviceState(
    at=AT,
    version="1.2.3",
    boot="b",
    uptime_s=93_784,
    head=4711,
    ledger=LedgerState(
        epoch=9,
        sequence=120,
        cursor_epoch=9,
        cursor_sequence=100,
        backlog=20,
        oldest_unsent_at=AT - timedelta(hours=2, minutes=3),
    ),
    clock="holdover",
    drivers=(
        DriverState(name="reader r", status="enabled"),
        DriverState(name="door front strike", status="offline", detail="unplugged [red]now[/red]"),
        DriverState(name="cloud", status="enabled"),
        DriverState(name="broker", status="offline", detail="refused"),
    ),
    disk=DiskState(total_bytes=32 * 2**30, free_bytes=2**30),
    temperature_c=61.4,
    certificate_expires_at=AT + timedelta(days=20),
    quarantined_count=14,
    quarantined=tuple(
        Quarantined(seq=n, kind="pass", id=f"p{n}", field="amount", error="is negative\x1b[2J")
        for n in range(12)
    ),
    unknown={"loyalty_card": 3},
)
STATUS = Status(
    running=True,
    site="mill",
    device="front",
    state=STATE,
    cloud="https://cloud.example",
    reached_at=AT,
    since={"cloud": AT - timedelta(days=3, hours=1), "broker": AT - timedelta(minutes=5)},
    clock_source="chrony",
    clock_dispute_s=400.0,
)


def page(status: Status) -> str:
    console = Console(width=110, record=True, file=None, force_terminal=False)
    with console.capture() as captured:
        console.print(render(status, AT))
    return captured.get()


@pytest.mark.parametrize(
    "said",
    [
        "mill/front, edgegate 1.2.3",
        "runs for 1 d 2 h",
        "holdover (chrony), but the cloud's clock is +400 s away",
        "https://cloud.example, reachable, for 3 d 1 h",
        "not connected: refused, for 5 min",
        "until 2026-12-10 (20 days)",
        "at 9/120, the cloud has 9/100",
        "20 entries, the oldest from 2026-11-20 07:57:00 UTC, 2 h 3 min ago",
        "up to change 4711",
        "14 could not be used",
        "loyalty_card (3)",
        "1.0 of 32.0 GiB free (3%)",
        "61 °C",
        "offline: unplugged [red]now[/red]",
        "and 4 more",
    ],
)
def test_the_page_says(said: str) -> None:
    assert said in page(STATUS)


def test_what_comes_from_outside_moves_no_cursor() -> None:
    assert "\x1b" not in page(STATUS)


def test_the_wifi_has_its_lines_where_there_is_any() -> None:
    counts = WifiCounts(
        accepted=40, refused=2, leaving=1, unanswered={"ap: refused, unsigned": 7, "x": 1}
    )
    wifi = WifiStatus(devices=12, customers=9, unknown=3, counts=counts)
    told = " ".join(page(replace(STATUS, wifi=wifi)).split())
    again = replace(counts, again=7)
    assert "40 accepted (7 at once again) and 2" in " ".join(
        page(replace(STATUS, wifi=replace(wifi, counts=again))).split()
    )
    assert "12 devices of 9 people, 3 of nobody known here, 1 to be disconnected" in told
    assert "40 accepted and 2 refused since the start" in told
    assert told.index("ap: refused, unsigned (7)") < told.index("x (1)")
    from_files = replace(STATUS, running=False, wifi=WifiStatus(devices=12, customers=9))
    assert "12 devices of 9 people " in page(from_files)
    assert "wifi" not in page(STATUS)


def test_files_say_less_and_say_so() -> None:
    state = replace(STATE, drivers=(), clock="", uptime_s=0)
    told = page(replace(STATUS, running=False, state=state, since={}))
    assert "does not answer: this is what its files tell" in told
    assert "it last answered 0 s ago" in told
    assert "clock" not in told


def test_an_appliance_without_a_cloud_says_so() -> None:
    ledger = LedgerState(epoch=1, sequence=0)
    state = replace(STATE, ledger=ledger, drivers=(), certificate_expires_at=None)
    told = page(replace(STATUS, cloud=None, state=state))
    assert "none in the configuration" in told
    assert "the cloud has nothing" in told


# The commands.


def write_config(directory: Path, state_dir: Path) -> Path:
    key = directory / "site.key"
    key.write_text("ab" * 32)
    key.chmod(0o600)
    config = directory / "config.toml"
    config.write_text(
        f'[device]\nid = "front"\nstate_dir = "{state_dir}"\n'
        f'[site]\nid = "mill"\nkey = {{ file = "{key}" }}\n'
        '[cloud]\nurl = "https://cloud.example"\n'
        f'[[door]]\nid = "d"\nstrike = {{ driver = "virtual", socket = "{directory}/b",'
        ' channel = "s" }\n'
        f'[[reader]]\nname = "r"\ndoor = "d"\ndriver = "virtual"\nsocket = "{directory}/b"\n'
        'channel = "r"\n'
    )
    return config


def test_status_reads_the_files_where_no_daemon_runs(tmp_path: Path) -> None:
    config = write_config(tmp_path, tmp_path / "state")
    Store.open(tmp_path / "state").close()
    done = CliRunner().invoke(synccli.status, ["-c", str(config), "--json"])
    assert done.exit_code == 0, done.output
    assert f"No daemon runs with {tmp_path / 'state'}." in done.stderr
    assert "This device is not enrolled" in done.stderr
    assert '"running": false' in done.stdout
    assert '"cloud": "https://cloud.example"' in done.stdout
    page_ = CliRunner().invoke(synccli.status, ["-c", str(config)])
    assert "does not answer" in page_.stdout


def test_without_files_status_ends_with_a_sentence(tmp_path: Path) -> None:
    config = write_config(tmp_path, tmp_path / "state")
    done = CliRunner().invoke(synccli.status, ["-c", str(config)])
    assert done.exit_code == 2
    assert "cannot be read" in done.stderr
    done = CliRunner().invoke(synccli.sync, ["now", "-c", str(config)])
    assert done.exit_code == 2
    assert "No daemon runs" in done.stderr


def test_status_and_sync_need_no_secret(tmp_path: Path) -> None:
    """The key may be for the unit alone (systemd), and whoever asks is not the unit."""
    config = write_config(tmp_path, tmp_path / "state")
    line = f'key = {{ file = "{tmp_path}/site.key" }}'
    config.write_text(config.read_text().replace(line, 'key = { credential = "site-key" }'))
    Store.open(tmp_path / "state").close()
    done = CliRunner().invoke(synccli.status, ["-c", str(config), "--json"])
    assert done.exit_code == 0, done.output
    assert '"site": "mill"' in done.stdout
    done = CliRunner().invoke(synccli.sync, ["now", "-c", str(config)])
    assert "No daemon runs" in done.stderr
