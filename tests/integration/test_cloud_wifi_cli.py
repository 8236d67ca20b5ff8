"""Wi-Fi logins and devices from the cloud's command line."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from edgegate.cli import main


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    key = tmp_path / "site.key"
    key.write_text("0123456789abcdef" * 4 + "\n")
    assert run(tmp_path, "demo-data", "--site-key", str(key)).exit_code == 0
    return tmp_path


def run(directory: Path, *arguments: str) -> Result:
    where = ["--database", f"sqlite:///{directory}/cloud.db"]
    return CliRunner().invoke(main, ["cloud", arguments[0], *where, *arguments[1:]])


def customer_of(directory: Path) -> str:
    with closing(sqlite3.connect(directory / "cloud.db")) as connection:
        query = "SELECT id FROM record WHERE kind = 'customer' ORDER BY id LIMIT 1"
        return str(connection.execute(query).fetchone()[0])


def test_a_login_and_a_device_are_made(directory: Path) -> None:
    who = ("--site", "demo", "--customer", customer_of(directory))
    made = run(directory, "wifi-login", *who, "--name", "desk-laptop")
    assert made.exit_code == 0, made.output
    assert "login:    desk-laptop" in made.output
    taken = run(directory, "wifi-login", *who, "--name", "Desk-Laptop")
    assert (taken.exit_code, "login of that name" in taken.output) == (2, True)
    told = run(directory, "wifi-login", *who, "--json")
    assert set(json.loads(told.output)) == {"credential", "name", "password"}
    device = run(directory, "wifi-device", *who, "00-11-22-33-44-5f")
    assert "00112233445F" in device.output
    wrong = run(directory, "wifi-device", *who, "00-11-22")
    assert (wrong.exit_code, "The mac is no MAC address" in wrong.output) == (2, True)


def test_what_is_missing_is_said(directory: Path) -> None:
    nobody = run(directory, "wifi-login", "--site", "demo", "--customer", "zoe")
    assert (nobody.exit_code, 'no customer "zoe"' in nobody.output) == (2, True)
    nowhere = run(directory, "wifi-login", "--site", "mars", "--customer", "zoe")
    assert (nowhere.exit_code, 'no site "mars"' in nowhere.output) == (2, True)
