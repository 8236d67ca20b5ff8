"""A real hostapd and a real wpa_supplicant at the two ends of a cable, in namespaces of their own.

The access point asks the appliance over loopback; the device reaches nothing but the access point.
"""

import asyncio
import os
import shutil
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

from rig.freeradius import free_udp_port
from rig.radius import SECRET

PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
"""Debian puts both programs where only root looks."""

_HOSTAPD = """
interface={interface}
driver=wired
logger_stdout=-1
logger_stdout_level=1
ieee8021x=1
use_pae_group_addr=1
own_ip_addr=127.0.0.1
nas_identifier=lobby
auth_server_addr=127.0.0.1
auth_server_port={auth_port}
auth_server_shared_secret={secret}
acct_server_addr=127.0.0.1
acct_server_port={acct_port}
acct_server_shared_secret={secret}
radius_das_port={das_port}
radius_das_client=127.0.0.1 {secret}
radius_das_require_event_timestamp=1
radius_das_require_message_authenticator=1
"""

_SUPPLICANT = """
ctrl_interface={directory}/control
ap_scan=0
network={{
key_mgmt=IEEE8021X
eapol_flags=0
{network}
}}
"""


class Program:
    """A process with what it printed; it may be killed and started anew."""

    def __init__(self, *command: str, log: Path) -> None:
        self._command = command
        self.log = log
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start it; what it prints is added to its log."""
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self._command, stdout=log, stderr=log, stdin=asyncio.subprocess.DEVNULL
            )

    async def stop(self, by: signal.Signals = signal.SIGTERM) -> None:
        """End it; idempotent."""
        process, self._process = self._process, None
        if process is not None and process.returncode is None:
            process.send_signal(by)
            await process.wait()

    async def printed(self) -> str:
        """All that it printed so far."""
        return await asyncio.to_thread(self.log.read_text, errors="replace")


class Cable:
    """An access point, a device, and what lies between them."""

    def __init__(self, directory: Path, name: str, auth_port: int, acct_port: int) -> None:
        self._directory = directory
        self._name = name
        self.das_port = free_udp_port()
        self._point, self._device = f"p{name}", f"d{name}"
        text = _HOSTAPD.format(
            interface=self._point,
            auth_port=auth_port,
            acct_port=acct_port,
            das_port=self.das_port,
            secret=SECRET.decode(),
        )
        file = directory / "hostapd.conf"
        file.write_text(text)
        program = shutil.which("hostapd", path=PATH) or "hostapd"
        self.access_point = Program(program, "-dd", str(file), log=directory / "hostapd.log")

    async def make_room(self) -> None:
        """Make the namespace, as root may."""
        await _ip("netns", "add", self._name)

    async def lay(self) -> None:
        """Lay the cable into it."""
        await _ip(
            *("link", "add", self._point, "type", "veth"),
            *("peer", "name", self._device, "netns", self._name),
        )
        await _ip("link", "set", self._point, "up")
        await _ip("-n", self._name, "link", "set", self._device, "up")

    async def cut(self) -> None:
        """Remove both."""
        await _ip("netns", "delete", self._name)

    def device(self, network: str) -> Program:
        """A device that wants to join with these lines of a network."""
        lines = "\n".join(line.strip() for line in network.strip().splitlines())
        file = self._directory / "supplicant.conf"
        file.write_text(_SUPPLICANT.format(directory=self._directory, network=lines))
        program = shutil.which("wpa_supplicant", path=PATH) or "wpa_supplicant"
        return Program(
            *(shutil.which("ip", path=PATH) or "ip", "netns", "exec", self._name),
            *(program, "-Dwired", "-i", self._device, "-c", str(file), "-d"),
            log=self._directory / "supplicant.log",
        )


@asynccontextmanager
async def cable(directory: Path, auth_port: int, acct_port: int) -> AsyncIterator[Cable]:
    """A cable that is there for as long as the context is open."""
    made = await asyncio.to_thread(Cable, directory, uuid4().hex[:10], auth_port, acct_port)
    await made.make_room()
    try:
        await made.lay()
        yield made
    finally:
        await made.access_point.stop()
        await made.cut()


async def _ip(*arguments: str) -> None:
    program = shutil.which("ip", path=PATH) or "ip"
    process = await asyncio.create_subprocess_exec(
        program, *arguments, stderr=asyncio.subprocess.PIPE
    )
    _, said = await process.communicate()
    if process.returncode:
        raise RuntimeError(f"ip {' '.join(arguments)}: {said.decode(errors='replace')}")
