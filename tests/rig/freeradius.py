"""A real FreeRADIUS 3.2 with a directory and ports of its own; its sites are the caller's."""

import os
import re
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Self

PROGRAM = shutil.which("freeradius", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
"""Debian puts it where only root looks."""

START_S_MAX = 60.0
STOP_S_MAX = 10.0

_RADIUSD = """\
prefix = /usr
libdir = {libraries}
name = freeradius
raddbdir = {directory}
confdir = {directory}
modconfdir = /etc/freeradius/3.0/mods-config
logdir = {directory}
run_dir = {directory}
db_dir = {directory}
max_request_time = 30
cleanup_delay = 5
max_requests = 16384
security {{
    max_attributes = 200
    reject_delay = 0
    status_server = yes
}}
thread pool {{
    start_servers = 5
    max_servers = 32
    min_spare_servers = 3
    max_spare_servers = 10
    max_requests_per_server = 0
}}
log {{
    destination = stdout
}}
{top}
client local {{
    ipaddr = 127.0.0.1
    secret = "{secret}"
    require_message_authenticator = no
}}
modules {{
{modules}
}}
{sites}
"""
"""What Debian's radiusd.conf says of requests and threads; all else is the caller's.

Rejects are not delayed, so that a test of refusals does not wait a second for each.
"""


class NoFreeRadiusError(Exception):
    """FreeRADIUS is not installed."""


class FreeRadius:
    """One server on localhost.

    `modules` and `sites` are in FreeRADIUS's own language; in them `{auth_port}`, `{acct_port}`,
    `{directory}` and what `values` holds are put in, in braces doubled by nobody: only these names
    are replaced.
    """

    def __init__(
        self,
        directory: Path,
        *,
        secret: str,
        modules: str,
        sites: str,
        top: str = "proxy_requests = no",
        values: dict[str, object] | None = None,
        options: tuple[str, ...] = (),
    ) -> None:
        if PROGRAM is None:
            raise NoFreeRadiusError("FreeRADIUS is not installed: apt install freeradius")
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.auth_port, self.acct_port = free_udp_port(), free_udp_port()
        self.log = directory / "log"
        self._program = PROGRAM
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None
        known = {
            "directory": directory,
            "auth_port": self.auth_port,
            "acct_port": self.acct_port,
            **(values or {}),
        }
        text = _RADIUSD.format(
            libraries=_libraries(),
            directory=directory,
            secret=secret,
            top=_fill(top, known),
            modules=_fill(modules, known),
            sites=_fill(sites, known),
        )
        (directory / "radiusd.conf").write_text(text)
        # It will not start without dictionaries, which Debian keeps beside its configuration.
        (directory / "dictionary").write_text("$INCLUDE /usr/share/freeradius/dictionary\n")

    @property
    def pid(self) -> int:
        """The server's process."""
        assert self._process is not None
        return self._process.pid

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start it in the foreground, and wait until it serves.

        Raises:
            RuntimeError: it ended, or did not get ready.
        """
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [
                    self._program,
                    "-f",
                    "-l",
                    "stdout",
                    "-d",
                    str(self.directory),
                    "-n",
                    "radiusd",
                    *self._options,
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        ends_s = time.monotonic() + START_S_MAX
        while "Ready to process requests" not in self.log.read_text(errors="replace"):
            if self._process.poll() is not None or time.monotonic() > ends_s:
                self.stop()
                tail = self.log.read_text(errors="replace")[-4000:]
                raise RuntimeError(f"FreeRADIUS did not start:\n{tail}")
            time.sleep(0.02)

    def stop(self) -> None:
        """End it; idempotent."""
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_S_MAX)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def free_udp_port() -> int:
    """A UDP port of localhost that nobody listens at."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _libraries() -> str:
    for place in ("/usr/lib/freeradius", "/usr/lib64/freeradius", "/usr/local/lib"):
        if Path(place, "rlm_pap.so").exists():
            return place
    raise NoFreeRadiusError("FreeRADIUS has no modules: apt install freeradius")


def _fill(text: str, values: dict[str, object]) -> str:
    # Not str.format: the language is full of braces.
    return re.sub(r"\{(\w+)\}", lambda m: str(values.get(m[1], m[0])), text)
