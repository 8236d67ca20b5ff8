"""A real mosquitto 2 for tests: mutual TLS, names from certificates, rights by device."""

import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from rig.authority import Authority, Identity

START_S_MAX = 20.0
PLUGIN_FOLDERS = ("/usr/lib/*/", "/usr/lib/", "/usr/lib64/", "/usr/local/lib/")
ADMIN = "cloud"
"""The user name that may do everything, the dynamic security plugin's commands included."""

_ACLS = ("publishClientSend", "publishClientReceive", "subscribePattern", "unsubscribePattern")


class Mosquitto:
    """One broker, with a directory and ports of its own that it keeps over restarts."""

    def __init__(self, directory: Path, authority: Authority | None = None) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.authority = authority or Authority(directory / "ca")
        self.port, self.websocket_port = _free_port(), _free_port()
        self.host = "localhost"
        self._identity = self.authority.issue("localhost")
        self._process: subprocess.Popen[bytes] | None = None
        self._devices: dict[str, list[tuple[str, str]]] = {}
        self.log = directory / "mosquitto.log"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()

    def add_device(self, site: str, device: str) -> Identity:
        """Let a device in with its own topics; before `start`, or take effect by `restart`."""
        own = f"edgegate/1/{site}"
        self._devices[f"{site}/{device}"] = [
            ("send", f"{own}/devices/{device}/#"),
            ("send", f"{own}/ledger/{device}"),
            ("send", f"{own}/ledger/{device}/#"),
            ("send", f"{own}/ledger/+/request"),
            ("send", f"{own}/devices/+/ledger"),
            ("hear", f"{own}/feed"),
            ("hear", f"{own}/ledger/#"),
            ("hear", f"{own}/devices/{device}/#"),
        ]
        return self.authority.issue(f"{site}/{device}")

    def start(self) -> None:
        """Start it and wait until it takes connections; nothing of an earlier run is kept."""
        configuration = self.directory / "mosquitto.conf"
        configuration.write_text(self._configuration())
        security = self.directory / "dynamic-security.json"
        security.write_text(json.dumps(self._security()))
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [_program(), "-c", str(configuration)], stdout=log, stderr=log
            )
        self._wait()

    def stop(self) -> None:
        """End it as systemd does: it says goodbye to its clients."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(START_S_MAX)
            self._process = None

    def kill(self) -> None:
        """End it as a power cut does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(START_S_MAX)
            self._process = None

    def restart(self) -> None:
        """Kill it and start it again: all sessions and retained messages are lost."""
        self.kill()
        self.start()

    def pause(self) -> None:
        """Let it hang with its connections open: to its clients it looks half-open."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on after `pause`."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        os.kill(self._process.pid, number)

    def _wait(self) -> None:
        deadline_s = time.monotonic() + START_S_MAX
        for port in (self.port, self.websocket_port):
            while True:
                assert self._process is not None
                if self._process.poll() is not None or time.monotonic() > deadline_s:
                    raise AssertionError(f"mosquitto did not start:\n{self.log.read_text()}")
                try:
                    socket.create_connection(("127.0.0.1", port), 1).close()
                    break
                except OSError:
                    time.sleep(0.02)

    def _configuration(self) -> str:
        tls = (
            f"cafile {self._identity.ca}\n"
            f"certfile {self._identity.certificate}\n"
            f"keyfile {self._identity.key}\n"
            "require_certificate true\n"
            "use_identity_as_username true\n"
        )
        return (
            "per_listener_settings false\n"
            "allow_anonymous false\n"
            "persistence false\n"
            # The test's own process reads the log while the broker's user would be another.
            f"user {_user()}\n"
            f"plugin {_plugin()}\n"
            f"plugin_opt_config_file {self.directory / 'dynamic-security.json'}\n"
            f"listener {self.port} 127.0.0.1\n{tls}"
            f"listener {self.websocket_port} 127.0.0.1\nprotocol websockets\n{tls}"
        )

    def _security(self) -> dict[str, Any]:
        everything = [("send", "#"), ("hear", "#"), ("send", "$CONTROL/#"), ("hear", "$CONTROL/#")]
        rights = {ADMIN: everything, **self._devices}
        return {
            "defaultACLAccess": dict.fromkeys(_ACLS[:3], False) | {"unsubscribe": True},
            "clients": [
                {"username": name, "roles": [{"rolename": name, "priority": 0}]} for name in rights
            ],
            "groups": [],
            "roles": [{"rolename": name, "acls": _acls(held)} for name, held in rights.items()],
        }


def _acls(rights: list[tuple[str, str]]) -> list[dict[str, Any]]:
    kinds = {"send": _ACLS[:1], "hear": _ACLS[1:]}
    return [
        {"acltype": kind, "topic": topic, "priority": 0, "allow": True}
        for right, topic in rights
        for kind in kinds[right]
    ]


def _program() -> str:
    found = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")
    if found is None:
        raise AssertionError(
            "these tests need mosquitto 2: install the Debian package mosquitto"
            " (apt install mosquitto)"
        )
    return found


def _plugin() -> Path:
    for folder in PLUGIN_FOLDERS:
        for path in Path("/").glob(f"{folder.lstrip('/')}mosquitto_dynamic_security.so"):
            return path
    raise AssertionError(
        "these tests need mosquitto's dynamic security plugin: install the Debian package mosquitto"
    )


def _user() -> str:
    return pwd.getpwuid(os.getuid()).pw_name


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
