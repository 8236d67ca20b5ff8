"""The stage of the demo: emulated readers and doors, and the real appliance wired to them."""

import asyncio
import signal
import sqlite3
import time
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from datetime import UTC, datetime
from enum import StrEnum
from functools import partial

from msgspec import Struct

from edgegate.app import App
from edgegate.config import Config
from edgegate.demo.cloudside import CloudSide
from edgegate.demo.servers import Servers
from edgegate.demo.site import Person, Site
from edgegate.demo.watch import Seen, Watcher
from edgegate.doors.status import DoorStatus
from edgegate.line import Passage
from edgegate.passes.model import CredentialKind
from edgegate.ports import DriverStatus
from edgegate_emulators.board import Board
from edgegate_emulators.cards import MifareClassic
from edgegate_emulators.pn532 import Pn532
from edgegate_emulators.scanner import SerialScanner

TAPS_MAX = 200
"""Taps remembered; the oldest are forgotten first."""

CARD_LIES_S = 0.3
"""How long a tapped card lies on the reader."""

DOORS = ("front", "lounge")
_LOOK_FOR_CARD = 0x4A
"""InListPassiveTarget (NXP UM0701-02, 7.3.5): a card is found by one of these."""


class Where(StrEnum):
    """Where somebody taps."""

    FRONT = "front door"
    LOUNGE = "lounge"
    OUT = "way out"


class Tap(Struct, kw_only=True):
    """A tap and what came of it."""

    person: Person
    where: Where
    passage: Passage
    wire_ns: int
    """`time.monotonic_ns()` when the emulated reader sent its bytes."""
    wire_to_relay_ms: float | None = None
    """None until the board saw the strike move, and where it had nothing to move."""


class _Sent(Struct, frozen=True):
    """What an emulated reader was given to read."""

    person: Person
    where: Where
    at_ns: int
    was_open: bool


class Devices:
    """The emulated hardware: it exists before the appliance starts and after it has ended."""

    def __init__(self, board: Board, card_reader: Pn532, scanner: SerialScanner) -> None:
        self.board = board
        self.card_reader = card_reader
        self.scanner = scanner


@contextmanager
def devices(site: Site) -> Iterator[Devices]:
    """Plug in everything that the site's configuration names."""
    with (
        Board(site.board) as board,
        Pn532(site.card_reader) as card_reader,
        SerialScanner(site.scanner) as scanner,
    ):
        yield Devices(board, card_reader, scanner)


class Stage:
    """The running appliance, and all that can be done to it from the outside."""

    def __init__(self, site: Site, config: Config, hardware: Devices, servers: Servers) -> None:
        self.site = site
        self.board = hardware.board
        self.card_reader = hardware.card_reader
        self.scanner = hardware.scanner
        self.app = App(config, self._on_passage, site.config)
        self.cloud = CloudSide(self, servers)
        self.taps: deque[Tap] = deque(maxlen=TAPS_MAX)
        self.seen = Seen()
        self.plugged = True
        """Whether the card reader's cable is in."""
        self.changed = asyncio.Event()
        """Set whenever a tap was answered or a strike moved; whoever waits for it clears it."""
        self.joining: asyncio.Task[int] | None = None
        """Becomes done when the appliance is a device of the cloud and has its records."""
        self._names = [name for name, _ in config.devices()]
        self._plugging = asyncio.Lock()
        self._watcher = Watcher(site.state)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._sent: dict[str, _Sent] = {}
        self._waiting: dict[str, Tap] = {}
        self._released_ns: dict[str, int] = {}
        self._taking_away: asyncio.TimerHandle | None = None
        for door in DOORS:
            self.board.on_change(f"{door}-strike", partial(self._on_strike, door))

    def begin(self) -> None:
        """Hear from the board's thread from now on, on the event loop that runs."""
        self._loop = asyncio.get_running_loop()

    async def look(self) -> Seen:
        """Look at the databases."""
        # While a snapshot takes the place of the copy there may be a moment without one.
        with suppress(sqlite3.Error):
            self.seen = await asyncio.to_thread(self._watcher.look)
        return self.seen

    async def head(self) -> int:
        """The cloud's newest change that the appliance has; 0 where it cannot be told now."""
        with suppress(sqlite3.Error):
            return await asyncio.to_thread(self._watcher.head)
        return 0

    def door(self, door: str) -> DoorStatus:
        """A door as the appliance sees it."""
        return self.app.doors[door].status()

    def clock(self) -> datetime:
        """The clock on the wall of the space."""
        return self.site.local(datetime.now(UTC))

    def offline(self) -> dict[str, str]:
        """The configured devices that do not work now, each with the reason."""
        known = self.app.devices.devices()
        return {
            name: known[name].detail if name in known else "not there yet"
            for name in self._names
            if name not in known or known[name].status is not DriverStatus.ENABLED
        }

    def interruptions(self) -> dict[str, float]:
        """Since when each device is as it is: another answer later on is an interruption."""
        known = self.app.devices.devices()
        return {name: known[name].since_s for name in self._names if name in known}

    def tap(self, person: Person, where: Where) -> None:
        """Show somebody's card or code at a reader."""
        if where is not Where.FRONT:
            reader, door = ("lounge", "lounge") if where is Where.LOUNGE else ("front-out", "front")
            self._note_sent(reader, door, person, where, time.monotonic_ns())
            self.board.scan(reader, person.kind.value, person.number.hex())
        elif person.kind is CredentialKind.NFC_UID:
            was_at_ns = self.card_reader.present(MifareClassic(person.number))
            self._note_sent("front-card", "front", person, where, was_at_ns)
            if self._taking_away is not None:
                self._taking_away.cancel()
            loop = asyncio.get_running_loop()
            self._taking_away = loop.call_later(CARD_LIES_S, self.card_reader.remove)
        else:
            sent_ns = self.scanner.scan(person.number.decode())
            self._note_sent("front-code", "front", person, where, sent_ns)

    def move_leaf(self, *, is_open: bool) -> None:
        """Open or shut the leaf of the front door."""
        self.board.set_sensor("front-contact", is_open)

    def leaf_is_open(self) -> bool:
        """Whether the leaf of the front door stands open."""
        return self.board.level("front-contact")

    async def press_exit(self) -> None:
        """Press the exit button of the front door, and let it go."""
        self.board.set_sensor("front-exit-button", True)
        await asyncio.sleep(0.1)
        self.board.set_sensor("front-exit-button", False)

    def raise_fire(self, *, active: bool) -> None:
        """Let the fire alarm begin or end."""
        self.board.set_sensor("fire", active)

    async def plug_card_reader(self, *, plugged: bool) -> None:
        """Pull the card reader's cable, or put it back."""
        self.plugged = plugged
        reader = self.card_reader
        async with self._plugging:
            await asyncio.to_thread(reader.replug if plugged else reader.unplug)

    def wire_to_relay_ms(self) -> list[float]:
        """The times of all taps that moved a strike, from the reader's bytes to the strike."""
        return [tap.wire_to_relay_ms for tap in self.taps if tap.wire_to_relay_ms is not None]

    def _note_sent(self, reader: str, door: str, person: Person, where: Where, at_ns: int) -> None:
        was_open = self.board.level(f"{door}-strike")
        self._sent[reader] = _Sent(person, where, at_ns, was_open)

    def _on_passage(self, passage: Passage) -> None:
        sent = self._sent.pop(passage.place.reader, None)
        if sent is None:
            return
        wire_ns = sent.at_ns
        if passage.place.reader == "front-card":
            wire_ns = self._answered_ns(time.monotonic_ns() - passage.actuated_us * 1000)
        tap = Tap(person=sent.person, where=sent.where, passage=passage, wire_ns=wire_ns)
        self.taps.append(tap)
        if passage.opened and not sent.was_open:
            self._waiting[passage.place.door] = tap
            self._match(passage.place.door)
        self.changed.set()

    def _answered_ns(self, read_ns: int) -> int:
        """When the emulated chip got the question that it answered by the card read at `read_ns`.

        Its answer follows at once, so this is the wire's time or a little before it.
        """
        looks = (c.at_ns for c in reversed(self.card_reader.commands) if c.code == _LOOK_FOR_CARD)
        return next((at_ns for at_ns in looks if at_ns <= read_ns), read_ns)

    def _on_strike(self, door: str, at_ns: int, released: bool) -> None:
        """Hand what the board's thread saw over to the event loop."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._strike_moved, door, at_ns, released)

    def _strike_moved(self, door: str, at_ns: int, released: bool) -> None:
        if released:
            self._released_ns[door] = at_ns
            self._match(door)
        self.changed.set()

    def _match(self, door: str) -> None:
        """Answer and movement of the strike come by two threads, in either order."""
        tap, released_ns = self._waiting.get(door), self._released_ns.get(door)
        if tap is not None and released_ns is not None and released_ns >= tap.wire_ns:
            tap.wire_to_relay_ms = (released_ns - tap.wire_ns) / 1e6
            del self._waiting[door]


class EndedError(Exception):
    """The appliance was told to stop from the outside, by Ctrl-C for one."""


@asynccontextmanager
async def running(stage: Stage) -> AsyncIterator[None]:
    """Run the appliance as long as the context lasts.

    Raises:
        EndedError: if the appliance was stopped meanwhile; the context's body is cancelled.
        BaseException: the fault by which the appliance ended.
    """
    work = asyncio.create_task(stage.app.run(), name="appliance")
    body = asyncio.current_task()
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, stage.app.stop)
    stage.begin()
    joining = stage.joining = asyncio.create_task(stage.cloud.join(), name="joining")
    leaving = False

    def ended(_: asyncio.Task[None]) -> None:
        if not leaving and body is not None:
            body.cancel()

    work.add_done_callback(ended)
    try:
        await stage.app.ready.wait()
        yield
    except asyncio.CancelledError:
        if not work.done() or body is None:
            raise
        body.uncancel()
        await work
        raise EndedError from None
    finally:
        leaving = True
        joining.cancel()
        # What it failed by was told to whoever waited for it.
        await asyncio.gather(joining, return_exceptions=True)
        await stage.cloud.close()
        stage.app.stop()
        await work
