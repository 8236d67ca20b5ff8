"""The servers of a fleet's bench: PostgreSQL, mosquitto, and workers of the cloud as processes."""

import asyncio
import json
import os
import signal
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import ExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, Self

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from sqlalchemy import NullPool, insert
from sqlalchemy.ext.asyncio import create_async_engine

from bench import fleet_ledger, rig_path  # noqa: F401 - so that `rig` is found
from bench.fleet_devices import Fleet
from edgegate.passes.model import Customer, Location, Pass
from edgegate_sync.cloud import dynsec, tls
from edgegate_sync.cloud.authority import device_certificate, private_pem, serial_of
from edgegate_sync.cloud.cloud import Cloud, Settings, opened
from edgegate_sync.cloud.desk import ensure_site
from edgegate_sync.cloud.tables import certificate, device
from edgegate_sync.cloud.tokens import ALL_SCOPES, create
from edgegate_sync.wire.topics import common_name
from rig.authority import Identity
from rig.mosquitto import ADMIN, Mosquitto
from rig.postgres import Postgres, postgres

START_S_MAX = 60
SETTINGS = {
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "autovacuum": "on",
    "shared_buffers": "256MB",
}
"""PostgreSQL as somebody runs it who wants to keep what is in it."""

TICKS_PER_S = os.sysconf("SC_CLK_TCK")

Sites = dict[str, list[str]]
"""The devices of each site."""


def sites_of(devices: int, per_site: int) -> Sites:
    """So many devices, so many at each site."""
    made: Sites = {}
    for number in range(devices):
        made.setdefault(f"site-{number // per_site:03}", []).append(f"door-{number % per_site}")
    return made


def cpu_s(pids: Iterable[int]) -> float:
    """What these processes have used so far, with what their ended children had."""
    ticks = 0
    for pid in pids:
        try:
            text = Path(f"/proc/{pid}/stat").read_text(encoding="ascii")
        except FileNotFoundError:
            # It ended: its parent has its time.
            continue
        # utime, stime, cutime and cstime (proc(5)); the name before them may hold spaces.
        ticks += sum(map(int, text.rpartition(") ")[2].split()[11:15]))
    return ticks / TICKS_PER_S


def children_of(pid: int) -> list[int]:
    """The processes that a process has begun."""
    listed = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii")
    return [int(one) for one in listed.split()]


def _piped(pipe: IO[bytes] | None) -> IO[bytes]:
    if pipe is None:
        raise RuntimeError("a process without a pipe")
    return pipe


class Broker(Mosquitto):
    """A mosquitto that has a certificate of the cloud, and trusts and knows the sites' devices."""

    def __init__(self, directory: Path, server: Identity, authorities: str, sites: Sites) -> None:
        super().__init__(directory)
        trusted = directory / "trusted.pem"
        trusted.write_text(self.authority.ca.read_text() + authorities)
        self.admin = self.authority.issue(ADMIN)
        self._identity = server._replace(ca=trusted)
        self._sites = sites

    @property
    def pid(self) -> int:
        """Its process."""
        if self._process is None:
            raise RuntimeError("the broker is not started yet")
        return self._process.pid

    def _security(self) -> dict[str, Any]:
        """What the cloud would tell it of each device, one by one."""
        made = super()._security()
        for site, names in self._sites.items():
            for name in names:
                user = common_name(site, name)
                role = {"rolename": user}
                made["clients"].append({"username": user, "roles": [role | {"priority": 0}]})
                made["roles"].append(role | {"acls": dynsec.rights(site, name)})
        return made


class Child:
    """A process that is told lines of JSON, and answers each."""

    def __init__(self, fleet: Fleet) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.fleet_devices"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self._stdin, self._stdout = _piped(self._process.stdin), _piped(self._process.stdout)
        self.pid = self._process.pid
        self._stdin.write(msgspec.json.encode(fleet) + b"\n")

    async def ask(self, do: str, **more: Any) -> dict[str, Any]:
        """Have something done."""
        return await asyncio.to_thread(self._ask, {"do": do, **more})

    def _ask(self, asked: dict[str, Any]) -> dict[str, Any]:
        self._stdin.write(json.dumps(asked).encode() + b"\n")
        self._stdin.flush()
        line = self._stdout.readline()
        if not line:
            raise RuntimeError(f"a process of devices ended while it should {asked['do']}")
        told: dict[str, Any] = json.loads(line)
        return told

    def end(self) -> None:
        """End it, and its devices' connections."""
        self._stdin.close()
        self._process.wait(START_S_MAX)
        self._stdout.close()


class Worker:
    """`edgegate cloud serve` as a process."""

    def __init__(self, url: str, key_file: Path, directory: Path, broker: Broker) -> None:
        self.log = directory / "worker.log"
        command = [sys.executable, "-m", "edgegate", "cloud", "serve", "--listen", "127.0.0.1:0"]
        command += ["--database", url, "--key-file", str(key_file), "--no-migrate"]
        command += ["--broker", f"{broker.host}:{broker.port}", "--log-level", "warning"]
        command += ["--broker-ca", str(directory / "ca.pem")]
        command += ["--broker-cert", str(broker.admin.certificate)]
        command += ["--broker-key", str(broker.admin.key)]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log)
        self.pid = self._process.pid
        self._stdout = _piped(self._process.stdout)
        for line in self._stdout:
            if line.startswith(b"Serving on"):
                self.url = f"https://localhost:{int(line.rpartition(b':')[2])}"
                return
        raise RuntimeError(f"a worker does not start:\n{self.log.read_text()[-2000:]}")

    def end(self) -> None:
        """Tell it to stop, as systemd does."""
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(START_S_MAX)
        self._stdout.close()


class Rig:
    """PostgreSQL with one database for each run, and what each run starts."""

    def __init__(self, stack: ExitStack) -> None:
        self.server: Postgres = stack.enter_context(postgres(SETTINGS))
        data = self.server.directory / "data"
        # The first line of it is the server's process (PostgreSQL 15 manual, 70.1).
        self.postmaster = int((data / "postmaster.pid").read_text().split()[0])

    def postgres_cpu_s(self) -> float:
        """What PostgreSQL has used so far."""
        return cpu_s([self.postmaster, *children_of(self.postmaster)])

    @asynccontextmanager
    async def connected(self, url: str) -> AsyncIterator[Any]:
        """A bare connection of asyncpg to a database."""
        engine = create_async_engine(url, poolclass=NullPool)
        async with engine.connect() as connection:
            yield (await connection.get_raw_connection()).driver_connection
        await engine.dispose()


class Run:
    """One fleet on a database of its own."""

    def __init__(self, rig: Rig, directory: Path, sites: Sites) -> None:
        directory.mkdir()
        self.rig = rig
        self.directory = directory
        self.sites = sites
        self.url = rig.server.database()
        self.key_file = directory / "cloud.key"
        self.workers: list[Worker] = []
        self.children: list[Child] = []
        self.secret = ""
        self.broker_pid = 0
        self._stack = ExitStack()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_error: object) -> None:
        await asyncio.to_thread(self._stack.close)

    async def start(self, workers: int, processes: int) -> None:
        """Make the sites with their devices, and start the servers; the devices do not join yet."""
        async with opened(Settings(database=self.url, key_file=self.key_file)) as cloud:
            async with cloud.database.writing() as writing:
                _, self.secret = await create(writing, "bench", ALL_SCOPES)
                for site in self.sites:
                    await ensure_site(writing, cloud.keys, site)
            for site, names in self.sites.items():
                await self._furnish(cloud, site, names)
            ours = await cloud.keys.cloud()
            server_key, server_pem = tls.issue(ours, ("localhost", "127.0.0.1"))
            authorities = "".join((await cloud.keys.authorities()).values())
        identity = Identity(*(self.directory / name for name in ("ca.pem", "mqtt.pem", "mqtt.key")))
        for file, text in zip(
            identity, (ours.certificate_pem.encode(), server_pem, server_key), strict=True
        ):
            file.write_bytes(text)
        broker = Broker(self.directory / "mosquitto", identity, authorities, self.sites)
        await asyncio.to_thread(self._start, broker, workers, processes)

    async def _furnish(self, cloud: Cloud, site: str, names: list[str]) -> None:
        """A site's records, and its devices with their certificates."""
        now = datetime.now(UTC)
        authority = await cloud.keys.site(site)
        made = {}
        for name in names:
            key = ec.generate_private_key(ec.SECP256R1())
            subject = common_name(site, name)
            made[name] = device_certificate(authority, subject, key.public_key(), now)
            stem = self.directory / f"{site}_{name}"
            stem.with_suffix(".key").write_bytes(private_pem(key))
            stem.with_suffix(".pem").write_bytes(made[name].public_bytes(Encoding.PEM))
        issued = [
            {
                "serial": serial_of(one),
                "site": site,
                "device": name,
                "pem": one.public_bytes(Encoding.PEM).decode(),
                "not_before": one.not_valid_before_utc,
                "not_after": one.not_valid_after_utc,
            }
            for name, one in made.items()
        ]
        async with cloud.database.site(site) as tx:
            rows = [{"site": site, "id": name, "created_at": now} for name in names]
            await tx.execute(insert(device), rows)
            await tx.execute(insert(certificate), issued)
            place = fleet_ledger.LOCATION
            await tx.put("location", place, Location(id=place))
            for member, uses in fleet_ledger.members(names):
                pass_id = fleet_ledger.pass_of(member)
                await tx.put("customer", member, Customer(id=member))
                await tx.put("pass", pass_id, Pass(id=pass_id, holder=member, amount=uses))

    def _start(self, broker: Broker, workers: int, processes: int) -> None:
        self._stack.enter_context(broker)
        self.broker_pid = broker.pid
        for _ in range(workers):
            worker = Worker(self.url, self.key_file, self.directory, broker)
            self._stack.callback(worker.end)
            self.workers.append(worker)
        everybody = [(site, name) for site, names in self.sites.items() for name in names]
        for number in range(processes):
            fleet = Fleet(
                directory=str(self.directory),
                devices=everybody[number::processes],
                workers=[worker.url for worker in self.workers],
                broker=(broker.host, broker.port),
            )
            child = Child(fleet)
            self._stack.callback(child.end)
            self.children.append(child)

    async def ask(self, do: str, **more: Any) -> Sequence[dict[str, Any]]:
        """Have all processes of devices do something at once."""
        return await asyncio.gather(*(child.ask(do, **more) for child in self.children))

    def workers_cpu_s(self) -> float:
        """What the workers have used so far."""
        return cpu_s(worker.pid for worker in self.workers)

    def context(self) -> ssl.SSLContext:
        """Of somebody at a desk."""
        return ssl.create_default_context(cafile=self.directory / "ca.pem")
