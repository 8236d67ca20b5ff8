"""`edgegate cloud …` as processes: first start, tokens, claims, stopping, refusing."""

import asyncio
import os
import signal
import ssl
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from aiohttp import ClientSession, TCPConnector

RUN = [sys.executable, "-c", "from edgegate.cloudcli import cloud; cloud()"]
START_S_MAX = 60


def command(top: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [*RUN, *arguments], cwd=top, capture_output=True, text=True, check=False, timeout=60
    )


@contextmanager
def served(url: str, *options: str) -> Iterator[tuple["subprocess.Popen[str]", int, str]]:
    """A process that serves: with its port and what it said until it did."""
    process = subprocess.Popen(
        [*RUN, "serve", "--database", url, "--listen", "127.0.0.1:0", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )
    try:
        assert process.stdout is not None
        said = ""
        for line in process.stdout:
            said += line
            if line.startswith("Serving on"):
                yield process, int(line.rpartition(":")[2]), said
                return
        assert process.stderr is not None
        raise AssertionError(process.stderr.read())
    finally:
        process.kill()
        process.communicate()


async def test_a_first_start_in_an_empty_place(tmp_path: Path) -> None:
    """It makes what it needs, tells no secret, serves with its own certificate, and stops."""
    url = f"sqlite:///{tmp_path}/new/cloud.db"

    async def ask(port: int, secret: str, poll: asyncio.Event) -> None:
        ca = (await asyncio.to_thread(command, tmp_path, "trust", "--database", url)).stdout
        context = ssl.create_default_context(cadata=ca)
        async with ClientSession(connector=TCPConnector(ssl=context)) as session:
            headers = {"Authorization": f"Bearer {secret}"}
            async with session.get(
                f"https://localhost:{port}/admin/v1/sites", headers=headers
            ) as response:
                assert response.status == 200
                assert [one["id"] for one in (await response.json())["sites"]] == ["north"]
        poll.set()

    claimed = await asyncio.to_thread(
        command, tmp_path, "claim", "--database", url, "--site", "north"
    )
    assert claimed.returncode == 0, claimed.stderr
    assert len(claimed.stdout.strip()) == 49
    manager = served(url, "--name", "localhost")
    process, port, said = await asyncio.to_thread(manager.__enter__)
    try:
        assert "no API token yet: make one with edgegate cloud token" in said
        assert "egt_" not in said
        made = await asyncio.to_thread(
            command, tmp_path, "token", "--database", url, "--name", "desk", "--scope", "read"
        )
        secret = made.stdout.strip()
        assert secret.startswith("egt_"), made.stderr
        assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o700
        assert stat.S_IMODE((tmp_path / "new/cloud.key").stat().st_mode) == 0o600
        await ask(port, secret, asyncio.Event())
        process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(process.wait, START_S_MAX) == 0
        assert process.stderr is not None
        log = await asyncio.to_thread(process.stderr.read)
        assert "operation=list_sites" in log
        assert "egt_" not in log
        assert "Traceback" not in log
    finally:
        await asyncio.to_thread(manager.__exit__, None, None, None)
    manager = served(url)
    process, port, said = await asyncio.to_thread(manager.__enter__)
    await asyncio.to_thread(manager.__exit__, None, None, None)
    assert "token" not in said


def test_a_token_is_made_at_the_desk(tmp_path: Path) -> None:
    made = command(
        tmp_path,
        "token",
        "--database",
        f"sqlite:///{tmp_path}/c.db",
        "--name",
        "x",
        "--scope",
        "read",
        "--days",
        "3",
    )
    assert made.returncode == 0, made.stderr
    assert made.stdout.startswith("egt_")


async def test_a_network_of_ones_own_is_open_to_webhooks_where_it_was_named(
    tmp_path: Path,
) -> None:
    url = f"sqlite:///{tmp_path}/cloud.db"
    scopes = ("--scope", "admin")
    made = await asyncio.to_thread(
        command, tmp_path, "token", "--database", url, "--name", "x", *scopes
    )
    await asyncio.to_thread(command, tmp_path, "claim", "--database", url, "--site", "north")
    ca = (await asyncio.to_thread(command, tmp_path, "trust", "--database", url)).stdout
    context = ssl.create_default_context(cadata=ca)
    headers = {"Authorization": f"Bearer {made.stdout.strip()}"}
    manager = served(url, "--name", "localhost", "--webhook-network", "192.168.7.0/24")
    _, port, _ = await asyncio.to_thread(manager.__enter__)
    answers = []
    try:
        async with ClientSession(connector=TCPConnector(ssl=context), headers=headers) as session:
            for host in ("192.168.7.20", "192.168.8.20"):
                hook = f"https://localhost:{port}/admin/v1/sites/north/webhooks/crm"
                body = {"url": f"http://{host}/edgegate", "events": ["*"]}
                async with session.put(hook, json=body) as response:
                    answers.append(response.status)
    finally:
        await asyncio.to_thread(manager.__exit__, None, None, None)
    assert answers == [200, 422]


def test_without_its_master_key_it_does_not_start(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/cloud.db"
    assert command(tmp_path, "claim", "--database", url, "--site", "north").returncode == 0
    kept = (tmp_path / "cloud.key").read_text()
    (tmp_path / "cloud.key").unlink()
    lost = command(tmp_path, "trust", "--database", url)
    assert lost.returncode == 2
    assert "put it back" in lost.stderr
    (tmp_path / "cloud.key").write_text("00" * 32)
    (tmp_path / "cloud.key").chmod(0o600)
    other = command(tmp_path, "trust", "--database", url)
    assert other.returncode == 2
    assert "another master key" in other.stderr
    (tmp_path / "cloud.key").write_text(kept)
    shown = command(tmp_path, "escrow", "--database", url, "--site", "north", "--passphrase", "x")
    assert "BEGIN ENCRYPTED PRIVATE KEY" in shown.stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("migrate", "--database", "mysql://x"), "is no database for this cloud"),
        (("trust", "--database", "postgresql://x/y"), "needs --key-file"),
        (("claim", "--database", "sqlite:///{}/c.db", "--site", "a/b"), "is no name"),
        (
            ("escrow", "--database", "sqlite:///{}/c.db", "--site", "x", "--passphrase", "x"),
            "no site",
        ),
        (("serve", "--database", "sqlite:///{}/c.db", "--no-migrate"), "edgegate cloud migrate"),
        (("serve", "--database", "sqlite:///{}/c.db", "--listen", "x:y"), "is not HOST:PORT"),
        (
            ("serve", "--database", "sqlite:///{}/c.db", "--webhook-network", "10.0.0.7/24"),
            "10.0.0.7/24 has host bits set",
        ),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(
    tmp_path: Path, arguments: tuple[str, ...], says: str
) -> None:
    told = command(tmp_path, *(text.format(tmp_path) for text in arguments))
    assert told.returncode == 2
    assert says in told.stderr
    assert "Traceback" not in told.stderr


def test_certificates_for_a_broker_of_ones_own(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/c.db"
    made = command(tmp_path, "certificate", "--database", url, "--out", "broker", "mqtt.test")
    assert made.returncode == 0, made.stderr
    assert stat.S_IMODE((tmp_path / "broker.key").stat().st_mode) == 0o600
    assert "BEGIN CERTIFICATE" in (tmp_path / "broker.pem").read_text()
