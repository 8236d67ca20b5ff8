"""The appliance's exchange with its cloud and its peers: the parts, and the loops they run in.

Nothing here stands in the way of a door: what fails is tried again, and what fails unexpectedly is
recorded, ends one round of its own loop and nothing else.
"""

import asyncio
import logging
import secrets
import ssl
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import NamedTuple, Protocol

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from edgegate.bookkeeper import Bookkeeper
from edgegate.config import CloudSection
from edgegate.ports import Clock, DriverStatus, OperatingError
from edgegate.store.files import Store
from edgegate.store.ledger import Draft, EntryType, Stamp, append
from edgegate.store.thread import DatabaseThread
from edgegate.supervisor import StatusBoard
from edgegate_sync.appliance.backoff import Backoff
from edgegate_sync.appliance.client import CloudClient
from edgegate_sync.appliance.commands import Acts, CommandRecord, Commands
from edgegate_sync.appliance.errors import CloudError
from edgegate_sync.appliance.feed import Feed, Pulled
from edgegate_sync.appliance.keep import Keeping
from edgegate_sync.appliance.link import (
    Broker,
    Incoming,
    Link,
    LinkDownError,
    Message,
    Subscription,
)
from edgegate_sync.appliance.peers import Peers
from edgegate_sync.appliance.reach import Reach
from edgegate_sync.appliance.renew import (
    REVOKED_PAUSE_S,
    CertificateRevokedError,
    raise_if_revoked,
)
from edgegate_sync.appliance.state import FeedStanding, Outlets, Sources, StateReporter
from edgegate_sync.appliance.upload import Uploader
from edgegate_sync.cancelling import apart
from edgegate_sync.wire import enrolment
from edgegate_sync.wire.changes import decode_message
from edgegate_sync.wire.errors import MalformedError
from edgegate_sync.wire.state import DeviceState
from edgegate_sync.wire.topics import Topics

log = logging.getLogger(__name__)

NONCE_BYTES = 16
Loops = dict[str, Callable[[], Awaitable[None]]]
"""What is run beside each other, by name."""

POLL_PAUSE_S = 0.2
"""The least time between two long polls, should a cloud answer them at once."""

EMPTY_PAUSE_S = 5.0
"""The same while the cloud has no records: what is asked for then is answered at once."""

COMMAND_ENTRY = "edgegate.device.command"


class Identity(Protocol):
    """Who this device is, as its enrolment and renewals left it."""

    def tls(self) -> ssl.SSLContext:
        """Certificate, key and whom to trust, read from disk; called on a thread."""

    def command_key(self) -> Ed25519PublicKey | None:
        """The site's key that signs commands."""

    def broker(self) -> enrolment.Broker | None:
        """The broker that the cloud named."""

    def expires_at(self) -> datetime | None:
        """When the certificate does."""


class Parts(NamedTuple):
    """What the exchange is given by the appliance."""

    site: str
    device: str
    state_dir: Path
    settings: CloudSection
    identity: Identity
    keeper: Bookkeeper
    thread: DatabaseThread[Store]
    clock: Clock
    stamp: Callable[[], Stamp]
    board: StatusBoard
    acts: Acts
    note_reached: Callable[[datetime | None], object]
    """Told when the cloud was last reached while it is out of reach, and None while it is not."""
    more: Callable[[CloudClient], Loops] = lambda _client: {}
    """What else goes on for as long as one certificate is the newest."""


class Uplink:
    """One appliance's exchange. `run` does all of it; what else there is returns at once."""

    def __init__(self, parts: Parts) -> None:
        """Prepare; the store must be open before `run`."""
        self._parts = parts
        self._topics = Topics(parts.site)
        self.boot = secrets.token_urlsafe(NONCE_BYTES)
        """The nonce that commands to this run of the process must name."""
        self.feed = Feed(parts.keeper, parts.thread, parts.state_dir, parts.clock.now)
        self.reach = Reach(
            parts.state_dir / "ledger.db", parts.thread, parts.clock, parts.note_reached
        )
        self.keeping = Keeping(parts.keeper, parts.thread, parts.state_dir, parts.clock.now)
        self.peers = Peers(
            parts.site,
            parts.device,
            thread=parts.thread,
            state_dir=parts.state_dir,
            publish=self._publish,
        )
        self.commands = Commands(
            parts.site,
            parts.device,
            boot=self.boot,
            key=parts.identity.command_key,
            clock=parts.clock,
            thread=parts.thread,
            acts=parts.acts,
            publish=self._reply,
            write=self._write,
        )
        self.link: Link | None = None
        self.uploader: Uploader | None = None
        self.state: StateReporter | None = None
        self.faults = 0
        """How many rounds ended in something unexpected since the start."""
        self.pulls = 0
        """How many pulls were complete since the start."""
        self._due = asyncio.Event()
        self._moved = asyncio.Event()
        self._renewed = asyncio.Event()

    def note_entries(self) -> None:
        """The ledger has new entries."""
        self.peers.wake()
        if self.uploader is not None:
            self.uploader.wake()

    def note_change(self) -> None:
        """Something that the state tells has changed: a device came or went."""
        if self.state is not None:
            self.state.changed()

    def pull_now(self) -> None:
        """Ask for changes now."""
        self._due.set()

    def sync_now(self) -> None:
        """Pull and upload now; returns at once."""
        self._due.set()
        if self.uploader is not None:
            self.uploader.retry()

    async def collect(self) -> DeviceState | None:
        """The state as the cloud is told; None before there is any exchange.

        Raises:
            OperatingError: the ledger cannot be read.
        """
        return None if self.state is None else await self.state.collect()

    def note_renewed(self) -> None:
        """The certificate is a new one: connect anew with it."""
        self._renewed.set()

    async def run(self) -> None:
        """Exchange for ever; whatever ends it is tried again."""
        await self._keep("uplink", self._with_certificate)

    async def _with_certificate(self) -> None:
        """Everything, for as long as one certificate is the newest."""
        # First: until then the doors take the cloud to be there.
        await self.reach.start()
        await self.feed.start()
        await self.peers.load()
        self._renewed.clear()
        try:
            context = await asyncio.to_thread(self._parts.identity.tls)
        except (OSError, ValueError) as error:
            raise CloudError(f"the device's certificate cannot be read: {error}") from error
        try:
            async with CloudClient(self._parts.settings.url, context) as client:
                await apart(self._exchange(client))
        except* CertificateRevokedError as errors:
            await self._rest(str(errors.exceptions[0]))

    async def _rest(self, why: str) -> None:
        """Leave a cloud alone that has locked this device out, but for a question now and then."""
        log.error("no exchange for now: %s", why)
        self.reach.silent()
        self._note("certificate", DriverStatus.OFFLINE, why)
        with suppress(TimeoutError):
            async with asyncio.timeout(REVOKED_PAUSE_S):
                await self._renewed.wait()

    async def _exchange(self, client: CloudClient) -> None:
        self.state = self._reporter(client)
        self.uploader = Uploader(
            self._parts.thread,
            self._parts.state_dir / "ledger.db",
            client,
            now_s=lambda: self._parts.clock.now().timestamp(),
            on_fault=partial(self._note, "ledger", DriverStatus.SELF_CHECK_FAILED),
            on_progress=self._on_uploaded,
            on_missing=self._on_missing,
        )
        self.link = self._new_link(self.state.will)
        loops: Loops = {
            "uplink pull": partial(self._pull, client),
            "uplink upload": self.uploader.run,
            "uplink state": self.state.run,
            "uplink tidy": self._tidy,
            "uplink keep": self.keeping.run,
        }
        if self.link is not None:
            loops["uplink link"] = self.link.run
            loops["uplink peers"] = self.peers.run
            loops["uplink commands"] = self.commands.run
        loops |= self._parts.more(client)
        async with asyncio.TaskGroup() as group:
            work = [
                group.create_task(self._keep(name, loop), name=name) for name, loop in loops.items()
            ]
            await self._renewed.wait()
            for task in work:
                task.cancel()

    def _new_link(self, will: Message) -> Link | None:
        parts = self._parts
        brokers = brokers_of(parts.settings, parts.identity.broker())
        if not brokers:
            return None
        feed = Subscription(
            topic=self._topics.feed, handle=self._on_push, on_lost=self._due.set, own_too=True
        )
        return Link(
            brokers,
            f"{parts.site}/{parts.device}",
            tls=parts.identity.tls,
            will=will,
            heartbeat=self.peers.heartbeat,
            subscriptions=[feed, self.commands.subscription(), *self.peers.subscriptions()],
            on_up=self._on_up,
            on_down=self._on_down,
            on_fault=self._on_message_fault,
        )

    def _reporter(self, client: CloudClient) -> StateReporter:
        parts = self._parts
        return StateReporter(
            parts.site,
            parts.device,
            boot=self.boot,
            clock=parts.clock,
            state_dir=parts.state_dir,
            sources=Sources(
                drivers=parts.board.devices,
                feed=self._feed_standing,
                certificate_expires_at=parts.identity.expires_at,
            ),
            outlets=Outlets(is_up=self._is_linked, publish=self._publish, put=client.put_state),
        )

    async def _keep(self, name: str, loop: Callable[[], Awaitable[None]]) -> None:
        """Run a loop for ever."""
        backoff = Backoff(first_s=1.0)
        while True:
            try:
                await apart(loop())
                backoff.reset()
                continue
            except CertificateRevokedError:
                raise
            except OperatingError as error:
                log.warning("%s: %s", name, error)
            except Exception as error:  # the boundary of one part of the exchange: doors stay up
                self.faults += 1
                log.exception("%s failed unexpectedly and begins again", name)
                self._note(name, DriverStatus.SELF_CHECK_FAILED, repr(error))
            await asyncio.sleep(backoff.delay_s())

    # Changes from the cloud.

    async def _pull(self, client: CloudClient) -> None:
        """Pull at once, then whenever it is due; where there is no broker, by long poll."""
        backoff = Backoff()
        wait_s = 0
        while True:
            self._due.clear()
            try:
                pulled = await apart(self.feed.pull(client, wait_s))
            except OperatingError as error:
                raise_if_revoked(error)
                if isinstance(error, CloudError):
                    self.reach.silent()
                    self._note("cloud", DriverStatus.OFFLINE, str(error))
                wait_s = 0
                asked_s = getattr(error, "retry_after_s", None) or 0.0
                await asyncio.sleep(asked_s + POLL_PAUSE_S)
                # Whoever hears of the cloud by another way, or asks for it, need not wait.
                await self._until_due(backoff.delay_s())
                continue
            backoff.reset()
            await self._on_pulled(pulled)
            wait_s = 0 if self._is_linked() else self._parts.settings.wait_s
            pause_s = float(self._parts.settings.pull_s)
            if wait_s:
                pause_s = POLL_PAUSE_S if pulled.head else EMPTY_PAUSE_S
            await self._until_due(pause_s)

    async def _until_due(self, wait_s: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                await self._due.wait()

    async def _on_pulled(self, pulled: Pulled) -> None:
        if self.uploader is not None:
            if not self.reach.is_reached:
                self.uploader.retry()
            elif pulled.snapshot:
                # One that was restored from a backup cannot go on from where this device is.
                self.uploader.compare()
        await self.reach.answered()
        self.pulls += 1
        self._note("cloud", DriverStatus.ENABLED, "")
        if pulled.changes:
            self.note_change()

    async def _on_push(self, message: Incoming) -> None:
        """Apply what the feed's topic says; whatever does not fit is pulled."""
        is_applied = False
        try:
            is_applied = await self.feed.apply_push(decode_message(message.payload))
        except MalformedError as error:
            log.warning("a message of the feed is none: %s", error)
        finally:
            if is_applied:
                self.note_change()
            else:
                self._due.set()

    # What follows from others.

    def _on_up(self) -> None:
        self._note("broker", DriverStatus.ENABLED, "")
        self._due.set()
        self.peers.wake()
        if self.uploader is not None:
            self.uploader.compare()
        self.note_change()

    def _on_down(self, why: str) -> None:
        self._note("broker", DriverStatus.OFFLINE, why)
        # From now on changes come by long poll.
        self._due.set()

    def _on_uploaded(self) -> None:
        self._moved.set()
        self.note_change()

    def _on_missing(self) -> None:
        """The cloud was restored from a backup: its feed went on from there too."""
        self.feed.wants_snapshot = True
        self._due.set()

    async def _tidy(self) -> None:
        """Erase what had to be uploaded first."""
        while True:
            await self._moved.wait()
            self._moved.clear()
            await self.feed.erase_uploaded()

    def _on_message_fault(self, topic: str, error: Exception) -> None:
        self.faults += 1
        self._note("uplink link", DriverStatus.SELF_CHECK_FAILED, f"{topic}: {error!r}")

    def _note(self, name: str, status: DriverStatus, detail: str) -> None:
        if self._parts.board.note(name, status, detail):
            self.note_change()

    def _is_linked(self) -> bool:
        return self.link is not None and self.link.is_up

    async def _publish(self, message: Message) -> None:
        if self.link is None:
            raise LinkDownError("there is no broker")
        await self.link.publish(message)

    async def _reply(self, message: Message) -> None:
        # What was done is recorded by now.
        self.note_entries()
        await self._publish(message)

    def _write(self, record: CommandRecord, store: Store) -> None:
        draft = Draft(
            type=EntryType(COMMAND_ENTRY),
            at=self._parts.clock.now(),
            subject=f"device/{self._parts.device}",
            data=record,
        )
        append(store.ledger, [draft], self._parts.stamp())

    async def _feed_standing(self) -> FeedStanding:
        standing = self.feed.standing
        return FeedStanding(
            head=standing.head,
            is_snapshot=self.feed.in_snapshot,
            quarantined_count=standing.counts.quarantined,
            quarantined=standing.quarantined,
            unknown=dict(standing.counts.unknown),
        )


def brokers_of(settings: CloudSection, named: enrolment.Broker | None) -> tuple[Broker, ...]:
    """The ways to the broker: the site's own where one is configured, else the cloud's."""
    own = settings.broker
    if own is not None:
        return (Broker(host=own.host, port=own.port, transport=own.transport, path=own.path),)
    if named is None:
        return ()
    direct = Broker(host=named.host, port=named.port)
    if named.websocket_port is None:
        return (direct,)
    port, path = named.websocket_port, named.websocket_path
    return (direct, Broker(host=named.host, port=port, transport="websockets", path=path))
