"""Cloud and appliance on one machine, without internet: real processes, set up by their CLI."""

import json
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from http.client import HTTPSConnection
from pathlib import Path
from typing import Any

import pytest

from edgegate.credentials.lookup import lookup
from edgegate.passes.model import CredentialKind
from edgegate.store.connections import connect_read_only
from edgegate.store.reading import ReadFiles, reading_books
from edgegate_emulators.board import Board

WAIT_S = 100.0
KEY = bytes(range(32))
CARD = bytes.fromhex("04A10000000A01")
EDGEGATE = (sys.executable, "-m", "edgegate")

CONFIGURATION = """\
[device]
id = "gate"
state_dir = "{top}/state"

[site]
id = "loft"
key = {{ file = "{top}/site.key" }}

[cloud]
url = "https://127.0.0.1:{port}"
pull_s = 5

[[door]]
id = "front"
release_s = 1.0
strike = {{ driver = "virtual", socket = "{top}/board", channel = "strike" }}

[[reader]]
name = "front-card"
door = "front"
driver = "virtual"
socket = "{top}/board"
channel = "reader"
"""

RECORDS = {
    "location/hall": {"id": "hall", "name": "Hall", "timezone": "Etc/UTC"},
    "door/front": {"id": "front", "location": "hall", "name": "Front door"},
    "customer/ana": {"id": "ana", "name": "Ana"},
    "credential/ana-card": {
        "id": "ana-card",
        "customer": "ana",
        "kind": "nfc_uid",
        "lookup": lookup(KEY, CredentialKind.NFC_UID, CARD),
    },
}


class Pi:
    """One machine with everything on it; `top` is its disk."""

    def __init__(self, top: Path) -> None:
        self.top = top
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self.config = top / "config.toml"
        self.config.write_text(CONFIGURATION.format(top=top, port=self.port))
        key = top / "site.key"
        key.touch(mode=0o600)
        key.write_bytes(KEY)
        self.database = ("--database", f"sqlite:///{top}/cloud/cloud.db")
        self.token = ""
        self.trust = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.board = Board(top / "board")

    def cli(self, *arguments: str) -> str:
        """What a command says; it must succeed."""
        done = subprocess.run(
            [*EDGEGATE, *arguments], capture_output=True, text=True, check=False, timeout=WAIT_S
        )
        assert done.returncode == 0, (arguments, done.stdout, done.stderr)
        return done.stdout

    def admin(self, method: str, path: str, body: object = None) -> Any:
        asking = HTTPSConnection("127.0.0.1", self.port, context=self.trust, timeout=WAIT_S)
        with closing(asking):
            asking.request(
                method,
                f"/admin/v1/sites/loft{path}",
                None if body is None else json.dumps(body),
                {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"},
            )
            answer = asking.getresponse()
            text = answer.read()
            assert answer.status == 200, text
        return json.loads(text)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Cloud and appliance run, and end well when they are told to stop."""
        listen = ("--listen", f"127.0.0.1:{self.port}")
        with (
            self._process("cloud", "serve", *self.database, *listen) as cloud,
            self._process("run", "--config", str(self.config)) as appliance,
        ):
            self.until("the cloud", self._is_serving)
            yield
            for process in (appliance, cloud):
                process.send_signal(signal.SIGTERM)
                assert process.wait(WAIT_S) == 0, self.log()

    @contextmanager
    def _process(self, *arguments: str) -> Iterator["subprocess.Popen[bytes]"]:
        with (self.top / "log").open("ab") as log:
            process = subprocess.Popen([*EDGEGATE, *arguments], stdout=log, stderr=log)
        try:
            yield process
        finally:
            process.kill()
            process.wait()

    def _is_serving(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        except OSError:
            return False
        return True

    def log(self) -> str:
        return (self.top / "log").read_text(errors="replace")[-4000:]

    def until(self, what: str, is_so: Callable[[], bool]) -> None:
        deadline_s = time.monotonic() + WAIT_S
        while not is_so():
            assert time.monotonic() < deadline_s, f"{what} did not come about:\n{self.log()}"
            time.sleep(0.1)

    def releases(self) -> int:
        return sum(released for _, released in self.board.history("strike"))

    def tap_until(self, signal_: str) -> None:
        """Tap again and again, as somebody at the door would, until the reader answers so."""
        before = len(self.board.signals("reader"))

        def answered() -> bool:
            if self.board.scan("reader", "nfc_uid", CARD.hex()):
                time.sleep(0.3)
            return signal_ in [said for _, said in self.board.signals("reader")[before:]]

        self.until(f"{signal_} at the reader", answered)

    def left(self) -> int:
        """What the appliance finds left of the pass."""
        state = self.top / "state"
        with (
            closing(connect_read_only(state / "ledger.db")) as ledger_file,
            closing(connect_read_only(state / "cache.db")) as cache_file,
        ):
            books = reading_books(ReadFiles(ledger_file, cache_file))
            customer, location = books.customer("ana"), books.location("hall")
            assert customer is not None
            assert location is not None
            return books.facts(customer, location, datetime.now(UTC)).remaining["ten"]

    def settle(self) -> None:
        """Have all entries counted, and both sides say the same."""

        def agree() -> bool:
            balance = self.admin("GET", "/records/balance/ten")["body"]
            return bool(balance["remaining"] == self.left() == 9)

        def is_told() -> bool:
            status = json.loads(self.cli("status", "--config", str(self.config), "--json"))
            return status["running"] and not status["state"]["ledger"].get("backlog")

        self.until("the same balance on both sides", agree)
        self.until("an empty backlog", is_told)


@pytest.fixture
def pi() -> Iterator[Pi]:
    top = Path(tempfile.mkdtemp(prefix="eg-"))
    made = Pi(top)
    with made.board:
        yield made
    shutil.rmtree(top)


def test_a_pass_sold_on_the_machine_itself_opens_its_door_and_both_survive_a_restart(
    pi: Pi,
) -> None:
    claim = pi.cli("cloud", "claim", *pi.database, "--site", "loft", "--device", "gate").strip()
    scopes = ("--scope", "read", "--scope", "write")
    pi.token = pi.cli("cloud", "token", *pi.database, "--name", "desk", *scopes).strip()
    pi.trust.load_verify_locations(cadata=pi.cli("cloud", "trust", *pi.database))
    pi.cli("check-config", str(pi.config))
    with pi.running():
        for path, record in RECORDS.items():
            pi.admin("PUT", f"/records/{path}", record)
        told = pi.cli(
            *("enroll", "--cloud", f"https://127.0.0.1:{pi.port}", "--claim", claim),
            *("--config", str(pi.config)),
        )
        assert "Enrolled as loft/gate" in told
        assert "polls the cloud" in told
        pi.tap_until("refused")
        assert pi.releases() == 0
        ten = {"id": "ten", "holder": "ana", "name": "Ten days", "amount": 10}
        pi.admin("PUT", "/records/pass/ten", ten)
        pi.tap_until("granted")
        pi.until("an open door", lambda: pi.releases() > 0)
        pi.settle()
    with pi.running():
        pi.tap_until("granted")
        pi.settle()
