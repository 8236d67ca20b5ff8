"""The demo's servers: the cloud, and an MQTT broker where mosquitto is installed.

They are processes of their own that end with this one, in whichever way it ends.
"""

import asyncio
import json
import os
import pwd
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from edgegate.demo import tied

HOST = "127.0.0.1"
CLIENT = "cloud"
"""The cloud's name at the broker, out of its certificate."""

STOP_S_MAX = 10.0
"""A cloud that was told to stop and still runs after this is killed."""

POLL_S = 0.02
LINE_BYTES_MAX = 65_536
LOG_LINES_SHOWN = 5

_SEARCHED = "/usr/sbin:/usr/local/sbin"
"""Where Debian has it, which is not in everybody's search path."""

_PLUGIN = "mosquitto_dynamic_security.so"
_PLUGIN_FOLDERS = ("usr/lib/*/", "usr/lib/", "usr/lib64/", "usr/local/lib/")
_RIGHTS = ("publishClientSend", "publishClientReceive", "subscribePattern", "unsubscribePattern")


class CloudPlan(Struct, frozen=True, kw_only=True):
    """How the cloud's process is to run."""

    directory: str
    port: int
    broker_port: int | None
    """None: there is no broker, and devices poll."""
    parent: int
    prepare: bool
    host: str = HOST
    client: str = CLIENT


class Prepared(Struct, frozen=True, kw_only=True):
    """What the cloud's operator has in hand before the first device comes."""

    token: str
    claim: str
    ca: str


class ServersError(Exception):
    """The cloud does not do what it should; the message says why."""


class Servers:
    """Starts and stops both."""

    def __init__(self, directory: Path) -> None:
        """Take free ports, for as long as this lives."""
        self.directory = directory
        self._reserved = [_reserve(), _reserve()]
        self.port, broker_port = (taken.getsockname()[1] for taken in self._reserved)
        self._mosquitto = _mosquitto()
        self.broker_port = broker_port if self._mosquitto is not None else None
        self._cloud: subprocess.Popen[bytes] | None = None
        self._broker: subprocess.Popen[bytes] | None = None
        self._said = b""

    @property
    def url(self) -> str:
        """Where the cloud is."""
        return f"https://{HOST}:{self.port}"

    @property
    def is_up(self) -> bool:
        """Whether the cloud's process runs."""
        return self._cloud is not None and self._cloud.poll() is None

    def start_cloud(self, *, prepare: bool = False) -> None:
        """Start it, tied to the thread that calls this; not for the event loop's own."""
        plan = CloudPlan(
            directory=str(self.directory),
            port=self.port,
            broker_port=self.broker_port,
            parent=os.getpid(),
            prepare=prepare,
        )
        text = msgspec.json.encode(plan).decode()
        command = (sys.executable, "-m", "edgegate.demo.cloudprocess", text)
        self._cloud = self._start(command, "cloud.log", subprocess.PIPE)
        if self._cloud.stdout is not None:
            os.set_blocking(self._cloud.stdout.fileno(), False)
        self._said = b""

    async def prepared(self) -> Prepared:
        """What the first cloud has prepared; the broker runs from then on.

        Raises:
            ServersError: if it ended instead.
        """
        prepared = msgspec.json.decode(await self._line(), type=Prepared)
        if self._mosquitto is not None:
            await asyncio.to_thread(self._configure_broker, self._mosquitto[1])
            command = (self._mosquitto[0], "-c", str(self.directory / "mosquitto.conf"))
            # Threads of the event loop's pool last as long as the loop, so it is tied to that.
            self._broker = await asyncio.to_thread(
                self._start, tied.command(*command), "mosquitto.log", subprocess.DEVNULL
            )
        return prepared

    async def serving(self) -> None:
        """Return when the cloud answers.

        Raises:
            ServersError: if it ended instead.
        """
        while not (await self._line()).startswith(b"Serving on "):
            pass

    async def stop_cloud(self) -> None:
        """Stop it as systemd would, and see it through."""
        cloud = self._cloud
        if cloud is None:
            return
        cloud.terminate()
        with suppress(TimeoutError):
            async with asyncio.timeout(STOP_S_MAX):
                while cloud.poll() is None:  # noqa: ASYNC110 - a process has no event
                    await asyncio.sleep(POLL_S)
        await asyncio.to_thread(self._end, cloud)
        self._cloud = None

    def close(self) -> None:
        """End both at once, whatever they do."""
        for process in (self._cloud, self._broker):
            if process is not None:
                self._end(process)
        for taken in self._reserved:
            taken.close()

    def _start(self, command: tuple[str, ...], log: str, stdout: int) -> "subprocess.Popen[bytes]":
        with (self.directory / log).open("ab") as file:
            return subprocess.Popen(  # noqa: S603 - our own programs
                command,
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=file,
                # Ctrl-C is for the demo, which ends them when it is done.
                start_new_session=True,
            )

    def _end(self, process: "subprocess.Popen[bytes]") -> None:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()

    async def _line(self) -> bytes:
        cloud = self._cloud
        if cloud is None or cloud.stdout is None:
            raise ServersError("The cloud was not started.")
        while b"\n" not in self._said:
            try:
                said = os.read(cloud.stdout.fileno(), LINE_BYTES_MAX)
            except BlockingIOError:
                # A transport would have to be closed before its event loop is.
                await asyncio.sleep(POLL_S)
                continue
            if not said:
                raise ServersError(await asyncio.to_thread(self._last_words))
            self._said += said
        line, _, self._said = self._said.partition(b"\n")
        return line

    def _last_words(self) -> str:
        log = (self.directory / "cloud.log").read_text(encoding="utf-8", errors="replace")
        return "\n    ".join(["The cloud ended:", *log.splitlines()[-LOG_LINES_SHOWN:]])

    def _configure_broker(self, plugin: Path) -> None:
        security = self.directory / "dynamic-security.json"
        security.write_text(json.dumps(_security()), encoding="utf-8")
        (self.directory / "mosquitto.conf").write_text(
            "per_listener_settings false\n"
            "allow_anonymous false\n"
            "persistence false\n"
            f"user {pwd.getpwuid(os.getuid()).pw_name}\n"
            f"plugin {plugin}\n"
            f"plugin_opt_config_file {security}\n"
            f"listener {self.broker_port} {HOST}\n"
            f"cafile {self.directory / 'trust.pem'}\n"
            f"certfile {self.directory / 'broker.pem'}\n"
            f"keyfile {self.directory / 'broker.key'}\n"
            # Who speaks is who the certificate is of, and nobody comes without one.
            "require_certificate true\n"
            "use_identity_as_username true\n",
            encoding="utf-8",
        )


@contextmanager
def serving(directory: Path) -> Iterator[Servers]:
    """Have a cloud starting, and both servers ended with the context."""
    directory.mkdir(mode=0o700)
    servers = Servers(directory)
    try:
        servers.start_cloud(prepare=True)
        yield servers
    finally:
        servers.close()


def _reserve() -> socket.socket:
    """A port that is given to nobody else.

    It is bound and does not listen: with SO_REUSEADDR on both a server may bind it too (socket(7)).
    """
    taken = socket.socket()
    taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    taken.bind((HOST, 0))
    return taken


def _mosquitto() -> tuple[str, Path] | None:
    """The broker's program and its plugin; None where either is missing."""
    program = shutil.which("mosquitto") or shutil.which("mosquitto", path=_SEARCHED)
    plugins = (path for folder in _PLUGIN_FOLDERS for path in Path("/").glob(f"{folder}{_PLUGIN}"))
    plugin = next(plugins, None)
    return (program, plugin) if program is not None and plugin is not None else None


def _security() -> dict[str, Any]:
    """At first nobody but the cloud may do anything; it lets the devices in."""
    everything = [
        {"acltype": right, "topic": topic, "priority": 0, "allow": True}
        for topic in ("#", "$CONTROL/#")
        for right in _RIGHTS
    ]
    return {
        "defaultACLAccess": dict.fromkeys(_RIGHTS[:3], False) | {"unsubscribe": True},
        "clients": [{"username": CLIENT, "roles": [{"rolename": CLIENT, "priority": 0}]}],
        "groups": [],
        "roles": [{"rolename": CLIENT, "acls": everything}],
    }
