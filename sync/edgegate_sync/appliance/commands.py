"""Takes commands: signed, fresh, for this boot and this device, and each id once.

An id is on disk before its command is acted on, so that neither a repeated message nor a restart
acts twice. What is refused is recorded, at most once a minute for each reason, with how many came.
"""

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Any, Protocol

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from msgspec import Struct
from msgspec.structs import replace

from edgegate.ports import Clock, ClockTrust, OperatingError
from edgegate.store import sync_state
from edgegate.store.files import Store
from edgegate.store.thread import DatabaseThread, Urgency
from edgegate_sync.appliance.link import Incoming, Message, Subscription
from edgegate_sync.wire.commands import (
    Command,
    CommandName,
    CommandOutcome,
    Refusal,
    Reply,
    Verified,
    verify,
)
from edgegate_sync.wire.errors import encode
from edgegate_sync.wire.topics import Topics

log = logging.getLogger(__name__)

RECORD_EVERY_S = 60.0
"""Refusals of one kind within this time are one entry."""

ACT_S_MAX = 30.0
"""How long an act may take before it counts as failed."""

WORKERS = 4
"""So many commands are acted on at once: a long one must not let an unlock expire."""

FOR_S_MAX = 3600
DOORS_MAX = 64
DETAIL_MAX = 65_000
_NAMES = frozenset(CommandName)


class UnsupportedError(Exception):
    """This device cannot do that; the message says what."""


class ActRefusedError(Exception):
    """The command cannot be followed, as for a door that is not there; the message says why."""


class Acts(Protocol):
    """What a device does when told to; each returns a sentence of what happened.

    Every one may raise `ActRefusedError`, `UnsupportedError` or an `OperatingError`.
    """

    async def unlock(self, door: str, for_s: float | None) -> str:
        """Release a door's strike for so long; None: as long as for a grant."""

    async def lockdown(self, doors: tuple[str, ...]) -> str:
        """Begin a lockdown of these doors; none named: of all."""

    async def release(self, doors: tuple[str, ...]) -> str:
        """End the lockdown of these doors; none named: of all."""

    async def pull(self) -> str:
        """Ask the cloud for changes now."""

    async def identify(self) -> str:
        """Blink and beep, so that somebody finds the device."""

    async def self_test(self) -> str:
        """Try what can be tried without anybody noticing, and report it."""

    async def logs(self) -> str:
        """The newest lines of the log."""

    async def reload(self) -> str:
        """Read the configuration again."""

    async def reboot(self) -> str:
        """Start the computer anew."""

    async def update(self) -> str:
        """Install the newest version."""


class CommandRecord(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the ledger holds of a command, or of several that were refused for the same reason."""

    id: str
    name: str
    outcome: str
    """accepted, failed or refused."""
    refusal: str = ""
    detail: str = ""
    count: int = 1


class Commands:
    """Judges what comes on one device's command topic, and acts on what may be."""

    def __init__(  # noqa: PLR0913 - its parts, each by name
        self,
        site: str,
        device: str,
        *,
        boot: str,
        key: Callable[[], Ed25519PublicKey | None],
        clock: Clock,
        thread: DatabaseThread[Store],
        acts: Acts,
        publish: Callable[[Message], Any],
        write: Callable[[CommandRecord, Store], object],
        record_every_s: float = RECORD_EVERY_S,
    ) -> None:
        """Prepare.

        Args:
            site: the site's name.
            device: this device's name.
            boot: the nonce of this start of the process, which the state tells.
            key: the site's command key as it is now; None where none is known.
            clock: what freshness is judged by; an untrusted one judges nothing.
            thread: the database thread.
            acts: what the device can do.
            publish: sends the reply; raises `LinkDownError` without a broker.
            write: puts a record into the ledger, inside a job.
            record_every_s: see `RECORD_EVERY_S`.
        """
        self._topics = Topics(site)
        self._device = device
        self._boot = boot
        self._key = key
        self._clock = clock
        self._thread = thread
        self._acts = acts
        self._publish = publish
        self._write = write
        self._record_every_s = record_every_s
        self._refused: dict[tuple[str, str], CommandRecord] = {}
        self._came = asyncio.Event()
        self.refused = 0
        """How many were refused since the start."""

    def subscription(self) -> Subscription:
        """What the link is to listen to for this."""
        topic = self._topics.command(self._device)
        return Subscription(topic=topic, handle=self.handle, own_too=True, workers=WORKERS)

    async def run(self) -> None:
        """Record what is refused: at once, and what then comes within a minute together."""
        while True:
            await self._came.wait()
            self._came.clear()
            try:
                await self._record_refused()
            except OperatingError as error:
                log.warning("refused commands could not be recorded yet: %s", error)
                self._came.set()
            await asyncio.sleep(self._record_every_s)

    async def _record_refused(self) -> None:
        records = list(self._refused.values())
        await self._thread.run(partial(self._write_all, records), Urgency.BACKGROUND)
        for record in records:
            kind = (record.refusal, record.name)
            newest = self._refused.pop(kind)
            if newest.count > record.count:
                self._refused[kind] = replace(newest, count=newest.count - record.count)
                self._came.set()

    def _write_all(self, records: list[CommandRecord], store: Store) -> None:
        for record in records:
            self._write(record, store)

    async def handle(self, message: Incoming) -> None:
        """Take one message; whatever it is, there is an answer."""
        verified = await self._judged(message)
        command, refusal = verified.command, verified.refusal
        if command is None or refusal is not None:
            reply = self._refuse(command, refusal or Refusal.MALFORMED, verified.detail)
        else:
            reply = await self._obey(command)
        await self._publish(
            Message(
                self._topics.reply(self._device), encode(reply), correlation=message.correlation
            )
        )

    async def _judged(self, message: Incoming) -> Verified:
        key = self._key()
        if message.topic != self._topics.command(self._device) or key is None:
            why = "no command key is known" if key is None else "on another topic"
            return Verified(command=None, refusal=Refusal.FOREIGN, detail=why)
        is_trusted = self._clock.trust() is not ClockTrust.UNTRUSTED
        now = self._clock.now() if is_trusted else None
        verified = verify(message.payload, key, device=self._device, boot=self._boot, now=now)
        if verified.refusal in (Refusal.MALFORMED, Refusal.FOREIGN):
            return verified
        if message.retained:
            # The likely reason for what else is wrong with it, and so the one to name.
            return _refused(verified, Refusal.RETAINED, "a command is never retained")
        if verified.refusal is None and verified.command is not None:
            if verified.command.name not in _NAMES:
                why = f'unsupported: this version knows no "{verified.command.name}"'
                return _refused(verified, Refusal.UNKNOWN, why)
            return await self._claimed(verified, verified.command, now)
        return verified

    async def _claimed(
        self, verified: Verified, command: Command, now: datetime | None
    ) -> Verified:
        """Take the id, durably; whoever comes second gets nothing."""
        try:
            is_first = await self._thread.run(partial(self._claim, command, now))
        except OverflowError as error:
            return _refused(verified, Refusal.BUSY, str(error))
        except OperatingError as error:
            # Without its record it could be repeated.
            return _refused(verified, Refusal.BUSY, f"it cannot be recorded: {error}")
        if not is_first:
            return _refused(verified, Refusal.REPEATED, "this id was obeyed already")
        return verified

    def _claim(self, command: Command, now: datetime | None, store: Store) -> bool:
        is_first = sync_state.claim_command(
            store.ledger, self._boot, command.id, command.expires_at, now
        )
        if is_first:
            self._write(CommandRecord(id=command.id, name=command.name, outcome="accepted"), store)
        return is_first

    async def _obey(self, command: Command) -> Reply:
        try:
            async with asyncio.timeout(ACT_S_MAX):
                detail = await self._act(command)
        except UnsupportedError as error:
            return self._refuse(command, Refusal.UNKNOWN, f"unsupported: {error}")
        except ActRefusedError as error:
            return await self._failed(command, str(error))
        except TimeoutError:
            return await self._failed(command, f"not done within {ACT_S_MAX:g} s")
        except OperatingError as error:
            return await self._failed(command, str(error))
        except Exception as error:  # the boundary of one act: who asked is told, the next is taken
            log.exception("the command %s failed", command.name)
            return await self._failed(command, f"internal error: {error!r}")
        log.info("the command %s was obeyed: %s", command.name, detail)
        return Reply(id=command.id, outcome=CommandOutcome.DONE, detail=detail[:DETAIL_MAX])

    async def _act(self, command: Command) -> str:
        acts = self._acts
        match CommandName(command.name):
            case CommandName.UNLOCK:
                return await acts.unlock(_door_of(command), _for_s_of(command))
            case CommandName.LOCKDOWN:
                return await acts.lockdown(_doors_of(command))
            case CommandName.RELEASE:
                return await acts.release(_doors_of(command))
            case name:
                act: Callable[[], Any] = getattr(acts, name.value)
                return str(await act())

    async def _failed(self, command: Command, detail: str) -> Reply:
        record = CommandRecord(
            id=command.id, name=command.name, outcome="failed", detail=detail[:500]
        )
        try:
            await self._thread.run(partial(self._write, record), Urgency.DESK)
        except OperatingError as error:
            log.warning("a command that failed could not be recorded: %s", error)
        return Reply(id=command.id, outcome=CommandOutcome.FAILED, detail=detail[:DETAIL_MAX])

    # Refusing.

    def _refuse(self, command: Command | None, refusal: Refusal, detail: str) -> Reply:
        self.refused += 1
        # What stands in a foreign one is nobody's word.
        believed = command is not None and refusal is not Refusal.FOREIGN
        name = command.name if command is not None and believed and command.name in _NAMES else ""
        command_id = command.id if command is not None and believed else ""
        kind = (refusal.value, name)
        before = self._refused.get(kind)
        self._refused[kind] = CommandRecord(
            id=command_id,
            name=name,
            outcome="refused",
            refusal=refusal.value,
            detail=detail[:500],
            count=1 if before is None else before.count + 1,
        )
        if before is None:
            log.warning("a command was refused: %s: %s", refusal.value, detail)
        self._came.set()
        return Reply(
            id=command_id,
            outcome=CommandOutcome.REFUSED,
            refusal=refusal,
            detail=detail[:DETAIL_MAX],
        )


def _refused(verified: Verified, refusal: Refusal, detail: str) -> Verified:
    return Verified(command=verified.command, refusal=refusal, detail=detail)


def _door_of(command: Command) -> str:
    door = command.args.get("door")
    if not isinstance(door, str) or not door:
        raise ActRefusedError("unlock needs the name of a door")
    return door


def _for_s_of(command: Command) -> float | None:
    for_s = command.args.get("for_s")
    if for_s is None:
        return None
    if isinstance(for_s, bool) or not isinstance(for_s, int) or not 0 < for_s <= FOR_S_MAX:
        raise ActRefusedError(f"for_s must be 1 to {FOR_S_MAX} seconds")
    return float(for_s)


def _doors_of(command: Command) -> tuple[str, ...]:
    """The doors named, with commas between; none: all."""
    doors = command.args.get("doors")
    if doors is None:
        return ()
    if not isinstance(doors, str):
        raise ActRefusedError("doors must be names with commas between")
    named = tuple(name.strip() for name in doors.split(","))
    if not all(named) or len(named) > DOORS_MAX:
        raise ActRefusedError(f"doors must be 1 to {DOORS_MAX} names with commas between")
    return named
