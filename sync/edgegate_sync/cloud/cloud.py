"""One worker of the reference cloud, put together: what its parts share, and its life."""

import asyncio
import logging
import os
import secrets
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from msgspec import Struct
from sqlalchemy import func, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from edgegate_sync.cancelling import apart
from edgegate_sync.cloud import heads, leases, migrate, tls, webhook_events
from edgegate_sync.cloud.authority import LEAF_DAYS
from edgegate_sync.cloud.broker import BrokerAddress, BrokerLink
from edgegate_sync.cloud.connections import LOOK_EVERY_S, Connections
from edgegate_sync.cloud.counters import Counters
from edgegate_sync.cloud.database import Database, fetch, open_database
from edgegate_sync.cloud.devices import Enrolment
from edgegate_sync.cloud.feed import compact
from edgegate_sync.cloud.feed_api import ANSWERS_MAX, SNAPSHOTS_MAX
from edgegate_sync.cloud.heads import Heads
from edgegate_sync.cloud.keys import CLOUD, Keys
from edgegate_sync.cloud.limits import ADMIN, DEVICE, ENROL, UNKNOWN, Limiter
from edgegate_sync.cloud.plan_renewal import renew_all
from edgegate_sync.cloud.tables import sealed_key, site, token
from edgegate_sync.cloud.vault import Vault, VaultError, create_master_key, read_master_key
from edgegate_sync.cloud.webhooks import Deliverer
from edgegate_sync.wire.enrolment import Broker

HISTORY_DAYS = 90
"""How long a deletion is remembered; a device that was away longer takes a snapshot."""

TRUST_EVERY_S = 5
"""How soon a site that another worker made may connect."""

RENEW_EVERY_S = 60

JOB_LEASE_MIN = timedelta(seconds=60)

log = logging.getLogger(__name__)


class Settings(Struct, frozen=True, kw_only=True):
    """How a worker runs."""

    database: str
    key_file: Path
    """The master key; made at the first start."""
    names: tuple[str, ...] = ("localhost", "127.0.0.1")
    """What its own certificate is for, where no other is given."""
    certificate: Path | None = None
    key: Path | None = None
    migrate: bool = True
    broker: BrokerAddress | None = None
    broker_ca: Path | None = None
    broker_certificate: Path | None = None
    broker_key: Path | None = None
    webhook_networks: tuple[str, ...] = ()
    """Networks that are not public, into which webhooks may go all the same."""
    broker_told: Broker | None = None
    """Where devices are told to find the broker."""


class Limits:
    """Who may ask how often, as far as this worker sees."""

    def __init__(self) -> None:
        self.enrol = Limiter(ENROL)
        self.unknown = Limiter(UNKNOWN)
        self.admin = Limiter(ADMIN)
        self.device = Limiter(DEVICE)


class Job(Struct, frozen=True, kw_only=True):
    """Something that one worker at a time does every so often."""

    name: str
    every_s: float
    run: "Callable[[Cloud], Awaitable[None]]"


class Cloud:
    """What the parts of one worker share; `opened` makes one."""

    def __init__(self, settings: Settings, database: Database, vault: Vault) -> None:
        self.settings = settings
        self.database = database
        self.worker = f"{socket.gethostname()[:40]}-{os.getpid()}-{secrets.token_hex(4)}"
        self.counters = Counters()
        self.limits = Limits()
        self.webhooks = Deliverer(
            database, vault, self.worker, self.counters, settings.webhook_networks
        )
        self.vault = vault
        self.keys = Keys(database, vault)
        self.heads = Heads(database)
        self.connections = Connections()
        self.enrolment = Enrolment(database, self.keys, settings.broker_told)
        self.snapshots = asyncio.Semaphore(SNAPSHOTS_MAX)
        self.answers = asyncio.Semaphore(ANSWERS_MAX)
        self.broker: BrokerLink | None = None
        self.tls: ssl.SSLContext | None = None
        self._trusted: set[str] = set()
        self._certified_at = datetime.now(UTC)
        if settings.broker is not None:
            self.broker = BrokerLink(self, settings.broker, self._broker_tls)

    async def check(self) -> None:
        """See that the database answers."""
        async with self.database.reading() as connection:
            await fetch(connection, select(func.count()).select_from(site))

    def access_changed(self) -> None:
        """A device was let in or locked out: the broker is told soon."""
        if self.broker is not None:
            self.broker.access_changed()

    async def set_up_tls(self) -> ssl.SSLContext:
        """The context of the HTTPS port."""
        authorities = await self.keys.authorities()
        context = await asyncio.to_thread(tls.server_context, ())
        self.tls = context
        await self._trust(authorities)
        settings = self.settings
        if settings.certificate is not None:
            await asyncio.to_thread(context.load_cert_chain, settings.certificate, settings.key)
        else:
            await self._certify()
        return context

    async def trust_new_sites(self) -> None:
        """Let the devices of sites connect that were made since."""
        await self._trust(await self.keys.authorities())

    async def run(self) -> None:
        """Do what goes on beside the requests, until it is cancelled."""
        async with asyncio.TaskGroup() as group:
            self._every(group, "heads", heads.LOOK_EVERY_S, self.heads.look)
            self._every(group, "revoked", LOOK_EVERY_S, self._cut_revoked)
            self._every(group, "trust", TRUST_EVERY_S, self.trust_new_sites)
            self._every(group, "certificate", 3600, self._renew_certificate)
            self._every(group, "renewal", RENEW_EVERY_S, self._renew_plans)
            for job in JOBS:
                self._every(group, job.name, job.every_s, self._once(job))
            group.create_task(self.webhooks.run(), name="cloud: webhooks")
            if self.broker is not None:
                group.create_task(self.broker.run(), name="cloud: broker")

    def _every(
        self,
        group: asyncio.TaskGroup,
        name: str,
        every_s: float,
        work: Callable[[], Awaitable[None]],
    ) -> None:
        async def loop() -> None:
            while True:
                try:
                    await apart(work())
                except (DBAPIError, PoolTimeoutError, OSError) as error:
                    # The database is away; requests say so too.
                    fields = {"task": name, "error": str(error)[:300]}
                    log.warning("no database", extra={"fields": fields})
                    self.counters.count("tasks_failed", name)
                await asyncio.sleep(every_s)

        group.create_task(loop(), name=f"cloud: {name}")

    def _once(self, job: Job) -> Callable[[], Awaitable[None]]:
        async def work() -> None:
            life = max(JOB_LEASE_MIN, timedelta(seconds=2 * job.every_s))
            if await leases.take(self.database, f"job {job.name}", self.worker, life):
                await job.run(self)

        return work

    async def _cut_revoked(self) -> None:
        cut = await self.connections.look(self.database)
        if cut:
            self.counters.count("connections_cut", by=cut)

    async def _renew_plans(self) -> None:
        """It takes a lease of its own for each site."""
        granted = await renew_all(self.database, self.worker, datetime.now(UTC))
        self.counters.count("lots_granted", by=granted)

    async def _trust(self, authorities: dict[str, str]) -> None:
        new = {s: pem for s, pem in authorities.items() if s != CLOUD and s not in self._trusted}
        if new and self.tls is not None:
            tls.trust(self.tls, new.values())
            self._trusted |= new.keys()

    async def _certify(self) -> None:
        if self.tls is not None:
            authority = await self.keys.cloud()
            await asyncio.to_thread(tls.certify, self.tls, authority, self.settings.names)
            self._certified_at = datetime.now(UTC)

    async def _renew_certificate(self) -> None:
        """Replace one's own certificate when two thirds of its life are over."""
        age = datetime.now(UTC) - self._certified_at
        if self.settings.certificate is None and age > timedelta(days=LEAF_DAYS) * 2 / 3:
            await self._certify()

    def _broker_tls(self) -> ssl.SSLContext | None:
        settings = self.settings
        return tls.client_context(
            settings.broker_ca, settings.broker_certificate, settings.broker_key
        )


async def _compact(cloud: Cloud) -> None:
    """Forget old deletions, site by site."""
    before = datetime.now(UTC) - timedelta(days=HISTORY_DAYS)
    async with cloud.database.reading() as connection:
        sites = list((await fetch(connection, select(site.c.id))).scalars())
    for one in sites:
        async with cloud.database.site(one) as transaction:
            await compact(transaction, before)


async def _sweep_webhooks(cloud: Cloud) -> None:
    await webhook_events.sweep(cloud.database, datetime.now(UTC))


async def _note_offline(cloud: Cloud) -> None:
    await webhook_events.note_offline(cloud.database, datetime.now(UTC))


JOBS: tuple[Job, ...] = (
    Job(name="compact", every_s=3600, run=_compact),
    Job(name="webhooks", every_s=3600, run=_sweep_webhooks),
    Job(name="offline", every_s=60, run=_note_offline),
)
"""What is done once, however many workers there are."""


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Cloud]:
    """A worker with its database open and of the right revision, and its keys there.

    Raises:
        VaultError: if the master key is missing, or another one.
        RevisionError: if the database is of another revision and may not be migrated.
    """
    database = await open_database(settings.database)
    try:
        await (migrate.migrate if settings.migrate else migrate.check)(database)
        vault = await _vault(database, settings.key_file)
        cloud = Cloud(settings, database, vault)
        async with database.writing() as writing:
            await cloud.keys.create_cloud(writing)
        # That the master key is the right one shows here, and not when the first device comes.
        await cloud.keys.cloud()
        yield cloud
        await leases.give_back(database, cloud.worker)
    finally:
        await database.close()


async def has_token(cloud: Cloud) -> bool:
    """Whether there is or ever was any API token."""
    async with cloud.database.reading() as connection:
        present = await fetch(connection, select(func.count()).select_from(token))
        return bool(present.scalar_one())


async def _vault(database: Database, path: Path) -> Vault:
    """The vault of the master key in a file, which is made while there is nothing to open."""
    async with database.reading() as connection:
        sealed = (
            await fetch(connection, select(func.count()).select_from(sealed_key))
        ).scalar_one()
    read = read_master_key if sealed else create_master_key
    return Vault(await asyncio.to_thread(read, path))


__all__ = ["Cloud", "Job", "Settings", "VaultError", "has_token", "opened"]
