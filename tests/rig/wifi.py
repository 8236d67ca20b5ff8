"""A site with an access point: the real appliance in this process, and radclient to ask it."""

import asyncio
import re
import secrets
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from edgegate.app import App
from edgegate.config import load_config
from edgegate.credentials.lookup import lookup
from edgegate.passes.model import (
    Credential,
    CredentialKind,
    Customer,
    Location,
    Pass,
    Record,
)
from edgegate.store import ledger
from edgegate.store.connections import connect_read_only
from edgegate.store.files import Store
from edgegate.wifi import verifiers
from fakes.midday import midday_zone
from fakes.sites import put_records
from rig.freeradius import free_udp_port
from rig.radius import SECRET

WAIT_S = 60.0


class Answer(NamedTuple):
    """What radclient was told."""

    code: str
    attributes: dict[str, str]
    text: str


class Eapol(NamedTuple):
    """What eapol_test saw."""

    succeeded: bool
    text: str


class WifiSite:
    """A site with the location "hq", Ana who may use its Wi-Fi, and one access point: radclient."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.state = directory / "state"
        self.state.mkdir(mode=0o700)
        self.key = secrets.token_bytes(32)
        self.key_file = self._secret("site.key", self.key)
        self.nas_file = self._secret("nas.secret", SECRET)
        self.auth_port, self.acct_port = free_ports()
        self.ahead = timedelta(0)
        """By how much the appliance's clock is ahead."""
        self.zone = midday_zone()
        self.put(Location(id="hq", timezone=self.zone))

    def _secret(self, name: str, value: bytes) -> Path:
        file = self.directory / name
        file.write_bytes(value)
        file.chmod(0o600)
        return file

    def put(self, *records: Record) -> None:
        """Write records into the cache; only while the appliance does not run."""
        store = Store.open(self.state)
        put_records(store, records)
        store.close()

    def member(self, name: str, password: str = "", **terms: Any) -> None:
        """Somebody with a pass for the Wi-Fi, and a login if there is a password."""
        given = {"amount": 10, "wifi": True} | terms
        issued = Pass(id=f"{name}-pass", holder=name, **given)
        self.put(Customer(id=name, name=name.title()), issued)
        if password:
            self.put(self.login(name, verifiers.of_generated(password.encode())))

    def login(self, name: str, verifier: str, **more: Any) -> Credential:
        """The login of somebody's."""
        kind = CredentialKind.WIFI_LOGIN
        return Credential(
            id=f"login-{name}",
            customer=name,
            kind=kind,
            lookup=self.lookup_of(name),
            verifier=verifier,
            **more,
        )

    def lookup_of(self, name: str) -> str:
        """Under what a login is looked up."""
        return lookup(self.key, CredentialKind.WIFI_LOGIN, name.encode())

    def device(self, name: str, mac: str) -> Credential:
        """A device of somebody's that is known by its address."""
        number = lookup(self.key, CredentialKind.MAC, mac.encode())
        return Credential(id=f"mac-{mac}", customer=name, kind=CredentialKind.MAC, lookup=number)

    def write_config(
        self, wifi: str = "", nas: str = "", tail: str = "", location: str = "hq"
    ) -> Path:
        """A configuration without doors, for one access point at 127.0.0.1."""
        file = self.directory / "config.toml"
        file.write_text(f"""
[device]
id = "pi"
state_dir = "{self.state}"
clock = "believed"
[site]
id = "site"
key = {{ file = "{self.key_file}" }}
[wifi]
listen = "127.0.0.1"
auth_port = {self.auth_port}
acct_port = {self.acct_port}
{wifi}
[[wifi.nas]]
id = "ap"
address = "127.0.0.1"
secret = {{ file = "{self.nas_file}" }}
location = "{location}"
{nas}
{tail}
""")
        return file

    def entries(self, kind: str) -> list[dict[str, Any]]:
        """What the ledger says in all entries of a kind, oldest first."""
        with closing(connect_read_only(self.state / "ledger.db")) as connection:
            return [
                msgspec.json.decode(entry.data)
                for entry in ledger.entries(connection)
                if entry.type == f"edgegate.{kind}" and entry.data is not None
            ]

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """What the ledger's file holds."""
        with closing(sqlite3.connect(self.state / "ledger.db")) as connection:
            return connection.execute(query).fetchall()

    @asynccontextmanager
    async def serving(self, eap: str = "yes", **config: str) -> AsyncIterator[App]:
        """The appliance at work, with both ports open and, where wanted, ready for EAP."""
        path = await asyncio.to_thread(self.write_config, **config)
        app = await asyncio.to_thread(App, await asyncio.to_thread(load_config, path))
        inner = app.clock.now
        app.clock.now = lambda: inner() + self.ahead  # type: ignore[method-assign]
        work = asyncio.create_task(app.run())
        try:
            async with asyncio.timeout(WAIT_S):
                while app.wifi is None or (eap == "yes" and app.wifi.server.eap is None):
                    if work.done():
                        await work
                    await asyncio.sleep(0.02)
            yield app
        finally:
            app.stop()
            await work

    async def ask(self, attributes: str, kind: str = "auth", **options: str) -> Answer:
        """Send one request by radclient, with a Message-Authenticator where it is an Access-."""
        port = self.auth_port if kind == "auth" else self.acct_port
        if kind == "auth":
            attributes += ", Message-Authenticator = 0x00"
        flags = [part for pair in options.items() for part in (f"-{pair[0]}", pair[1])]
        return await radclient(attributes, kind, port, *flags)

    async def eapol_test(self, network: str, attributes: str = "") -> Eapol:
        """Let hostap's own client authenticate by EAP, with these lines of a network."""
        file = self.directory / "eapol_test.conf"
        lines = "\n".join(line.strip() for line in network.strip().splitlines())
        content = f"network={{\nkey_mgmt=WPA-EAP\n{lines}\n}}\n"
        await asyncio.to_thread(file.write_text, content)
        return await eapol_test(file, self.auth_port, *attributes.split())

    async def account(self, status: str, session: str, **attributes: Any) -> Answer:
        """Send one accounting packet."""
        pairs = {"Acct-Status-Type": status, "Acct-Session-Id": f'"{session}"'}
        pairs |= {name.replace("_", "-"): value for name, value in attributes.items()}
        return await self.ask(", ".join(f"{k} = {v}" for k, v in pairs.items()), "acct")


def read_answer(text: str) -> Answer:
    """What radclient printed of the reply."""
    found = re.search(r"Received ([A-Za-z-]+) ", text)
    if found is None:
        return Answer("", {}, text)
    lines = text[found.end() :].splitlines()
    pairs = (line.strip().split(" = ", 1) for line in lines if line.startswith("\t"))
    return Answer(found[1], {pair[0]: pair[1].strip('"') for pair in pairs if len(pair) == 2}, text)


def free_ports() -> tuple[int, int]:
    """Two UDP ports at which nobody listens."""
    one = other = free_udp_port()
    while other == one:
        other = free_udp_port()
    return one, other


async def radclient(attributes: str, kind: str, port: int, *flags: str) -> Answer:
    """Send one request by FreeRADIUS's client, which signs it as its attributes and flags say."""
    command = ("radclient", "-x", *flags, f"127.0.0.1:{port}", kind, SECRET.decode())
    _, said = await _told(*command, given=attributes)
    return read_answer(said)


async def eapol_test(file: Path, port: int, *attributes: str) -> Eapol:
    """Let hostap's own client authenticate by EAP at a port, by a network that a file describes."""
    options = ("-c", str(file), "-p", str(port), "-s", SECRET.decode(), "-t60", *attributes)
    code, said = await _told("eapol_test", *options)
    return Eapol(code == 0 and said.rstrip().endswith("SUCCESS"), said)


async def _told(*command: str, given: str = "") -> tuple[int | None, str]:
    """Run a program; its exit code, and what it prints."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate(given.encode())
    return process.returncode, said.decode(errors="replace")
