"""Whole sites for tests: workers of the cloud as processes, a broker, and enrolled appliances.

Everything is real but wires and distances: each appliance and each worker is a process that can be
killed, and between them are proxies that can fail.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import msgspec
from aiohttp import ClientError, ClientSession, ClientTimeout, TCPConnector

from edgegate.credentials.lookup import lookup
from edgegate.passes.model import Credential, CredentialKind
from edgegate_sync.appliance.enrol import enrol
from edgegate_sync.cloud import devices, tls
from edgegate_sync.cloud.cloud import Settings, opened
from edgegate_sync.cloud.desk import ensure_site
from edgegate_sync.cloud.keys import typed
from edgegate_sync.cloud.tokens import ALL_SCOPES, create
from rig.authority import Identity
from rig.box import Task
from rig.mortal_cloud import Plan
from rig.mosquitto import ADMIN, Mosquitto
from rig.processes import Box, Worker
from rig.proxy import Proxy

KEY = bytes(range(32))


class SiteBroker(Mosquitto):
    """A broker that has a certificate of the cloud and knows the devices of its sites."""

    def __init__(self, directory: Path, server: Identity, authorities: str) -> None:
        super().__init__(directory)
        trusted = directory / "trusted.pem"
        trusted.write_text(self.authority.ca.read_text() + authorities)
        self.admin = self.authority.issue(ADMIN)
        self.cloud_ca = server.ca
        self._identity = server._replace(ca=trusted)

    def context(self) -> ssl.SSLContext:
        """Of somebody who may do everything there."""
        context = ssl.create_default_context(cafile=self.cloud_ca)
        context.load_cert_chain(self.admin.certificate, self.admin.key)
        return context


class Site:
    """A site of the cloud, its appliances, and what lies between."""

    def __init__(self, name: str, devices_: list[str], directory: Path) -> None:
        self.name = name
        self.device_names = devices_
        self.directory = directory
        self.boxes: list[Box] = []
        self.https: dict[str, Proxy] = {}
        self.mqtt: dict[str, Proxy] = {}
        self.admin: Admin


class NotDoneError(RuntimeError):
    """The cloud refuses what is asked."""

    def __init__(self, status: int, problem: str) -> None:
        super().__init__(f"{status}: {problem}")
        self.status = status


class Admin:
    """Somebody at a desk, who repeats what the cloud did not answer."""

    def __init__(self, rig: "Rig", site: str, session: ClientSession) -> None:
        self._rig = rig
        self._site = site
        self._session = session
        self.repeats = 0

    async def ask(self, method: str, path: str, body: Any = None) -> Any:
        """Ask until there is an answer that is not the cloud's own failure.

        Raises:
            NotDoneError: it is refused.
        """
        while True:
            worker = self._rig.workers[0]
            await worker.ready()
            url = f"https://localhost:{worker.port}/admin/v1/sites/{self._site}{path}"
            try:
                async with self._session.request(
                    method, url, data=None if body is None else msgspec.json.encode(body)
                ) as response:
                    text = await response.read()
                    if response.status < 500:
                        if response.status >= 400:
                            raise NotDoneError(response.status, text.decode())
                        return msgspec.json.decode(text) if text else None
            except (ClientError, OSError, TimeoutError):
                pass
            self.repeats += 1
            await asyncio.sleep(0.05)

    async def put(self, kind: str, record: Any) -> int:
        """Write a record; the feed's head after it."""
        body = msgspec.to_builtins(record)
        record_id = body.get("id", body.get("pass"))
        return int((await self.ask("PUT", f"/records/{kind}/{record_id}", body))["head"])


class Rig:
    """A cloud and a broker for any number of sites."""

    def __init__(self, url: str, directory: Path, chance: Random) -> None:
        self.url = url
        self.directory = directory
        self.chance = chance
        self.settings = Settings(database=url, key_file=directory / "cloud.key")
        self.workers: list[Worker] = []
        self.sites: list[Site] = []
        self.broker: SiteBroker | None = None
        self.ca = ""
        self.secret = ""
        self.stranger_port = 0
        """Where somebody listens who is not the cloud."""

    async def start(
        self,
        stack: AsyncExitStack,
        sites: dict[str, list[str]],
        place: Path,
        *,
        mqtt: bool = True,
        security: bool = False,
        workers: int = 1,
        **task: Any,
    ) -> None:
        """Make the sites, and start everything but the appliances."""
        await self._make(sites)
        if mqtt:
            self.broker = await self._make_broker(sites, known=not security)
            await asyncio.to_thread(self.broker.start)
            stack.callback(self.broker.kill)
        for number in range(workers):
            await self._start_worker(
                stack, number, security=security, mutant=task.get("mutant", "")
            )
        for name, names in sites.items():
            await self._join(stack, Site(name, names, self.directory / name), place, task)

    async def _make(self, sites: dict[str, list[str]]) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        async with opened(self.settings) as cloud:
            async with cloud.database.writing() as writing:
                _, self.secret = await create(writing, "test", ALL_SCOPES)
                for name in sites:
                    await ensure_site(writing, cloud.keys, name)
            authority = await cloud.keys.cloud()
            self.ca = authority.certificate_pem
            pem = await asyncio.to_thread(tls.issue, authority, ("localhost", "127.0.0.1"))
            self._authorities = "".join((await cloud.keys.authorities()).values())
        for suffix, text in ((".key", pem[0]), (".pem", pem[1]), (".ca", self.ca.encode())):
            (self.directory / "broker").with_suffix(suffix).write_bytes(text)

    async def _make_broker(self, sites: dict[str, list[str]], *, known: bool) -> SiteBroker:
        stem = self.directory / "broker"
        server = Identity(
            stem.with_suffix(".ca"), stem.with_suffix(".pem"), stem.with_suffix(".key")
        )
        broker = SiteBroker(self.directory / "mosquitto", server, self._authorities)
        for site, names in sites.items() if known else ():
            for name in names:
                broker.add_device(site, name)
        return broker

    async def _start_worker(
        self, stack: AsyncExitStack, number: int, *, security: bool, mutant: str
    ) -> None:
        broker = self.broker
        plan = Plan(
            database=self.url,
            key_file=str(self.settings.key_file),
            security=security,
            mutant=mutant,
        )
        if broker is not None:
            plan = msgspec.structs.replace(
                plan,
                broker_port=broker.port,
                broker_ca=str(broker.cloud_ca),
                certificate=str(broker.admin.certificate),
                key=str(broker.admin.key),
            )
        directory = self.directory / f"worker-{number}"
        directory.mkdir()
        worker = Worker(plan, directory)
        running = asyncio.create_task(worker.run(), name=f"worker {number}")

        async def end() -> None:
            running.cancel()
            await asyncio.wait((running,))
            await asyncio.to_thread(worker.end)

        stack.push_async_callback(end)
        await worker.ready()
        self.workers.append(worker)

    async def _join(
        self, stack: AsyncExitStack, site: Site, place: Path, more: dict[str, Any]
    ) -> None:
        """Enrol a site's appliances, each behind proxies of its own."""
        connector = TCPConnector(ssl=ssl.create_default_context(cadata=self.ca), limit=4)
        session = await stack.enter_async_context(
            ClientSession(
                connector=connector,
                headers={
                    "Authorization": f"Bearer {self.secret}",
                    "Content-Type": "application/json",
                },
                timeout=ClientTimeout(total=20),
            )
        )
        site.admin = Admin(self, site.name, session)
        for number, name in enumerate(site.device_names):
            worker = self.workers[number % len(self.workers)]
            https = Proxy(("127.0.0.1", worker.port), Random(self.chance.random()))
            await stack.enter_async_context(https.serving())
            worker.follow(https)
            site.https[name] = https
            broker_port = 0
            if self.broker is not None:
                mqtt = Proxy(("127.0.0.1", self.broker.port), Random(self.chance.random()))
                await stack.enter_async_context(mqtt.serving())
                site.mqtt[name] = mqtt
                broker_port = mqtt.port
            state = site.directory / name
            state.mkdir(mode=0o700, parents=True)
            url = f"https://localhost:{https.port}"
            await enrol(url, await self._claim(site.name, name), state)
            task = Task(
                state=str(state),
                site=site.name,
                device=name,
                url=url,
                key=KEY.hex(),
                at=datetime.fromisoformat("2026-03-02T08:00:00+00:00"),
                broker_port=broker_port,
                **more,
            )
            box = Box(place, task)
            site.boxes.append(box)
            stack.callback(box.kill)
        self.sites.append(site)

    async def _claim(self, site: str, device: str) -> str:
        async with opened(self.settings) as cloud, cloud.database.writing() as writing:
            code, _ = await devices.create_claim(writing, site, device, timedelta(hours=1))
        return typed(code, self.ca)


@asynccontextmanager
async def rig(
    url: str,
    directory: Path,
    sites: dict[str, list[str]],
    place: Path,
    seed: int = 0,
    **more: Any,
) -> AsyncIterator[Rig]:
    """A cloud, a broker and sites, until the end of the block."""
    made = Rig(url, directory, Random(seed))
    async with AsyncExitStack() as stack:
        await made.start(stack, sites, place, **more)
        yield made


def code_of(customer: str) -> Credential:
    """A static code, which is the customer's id."""
    kind = CredentialKind.QR_STATIC
    return Credential(
        id=f"code-{customer}",
        customer=customer,
        kind=kind,
        lookup=lookup(KEY, kind, customer.encode()),
    )
