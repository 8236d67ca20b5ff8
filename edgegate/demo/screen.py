"""The live screen: keys tap cards and move the door, and everything the appliance does is seen."""

import asyncio
import signal
import sys
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, TypeAlias

from rich.console import Console, RenderableType
from rich.live import Live

from edgegate.demo.draw import draw
from edgegate.demo.keys import pressed, single_keys
from edgegate.demo.servers import ServersError
from edgegate.demo.site import MIA, PEOPLE, STRANGER, Pace, Person
from edgegate.demo.stage import Stage, Where
from edgegate.passes.model import CredentialKind

if TYPE_CHECKING:
    from edgegate.demo.desk import Desk

Asking: TypeAlias = Callable[["Desk", Person], Coroutine[Any, Any, str]]
"""Has staff do something in the cloud for somebody; what to say of it."""

PACE = Pace(open_s=4.0, exit_s=4.0, held_open_s=2.0, ida_runs_out_s=45.0)

FRAME_S = 0.25
"""How often countdowns move; what happens is drawn sooner."""

FRAME_S_MIN = 0.05
"""No frame follows another sooner, however much happens."""

LOOK_S = 1.0
"""How often the databases are looked at while nothing happens."""

WALK_S = 1.2
"""How long somebody who goes through has the leaf open."""

ACTIONS_MAX = 16
"""Actions that may be under way; a key pressed for one more does nothing."""

SWITCH_S = 0.0005
"""For how long a thread may keep the others waiting; Python's own choice is ten times that."""

TOP_UP = 5
"""Uses or minutes that staff add."""

STRANGER_KEY = "z"
QUIT_KEY = "q"


class Keyboard:
    """Does what the keys say."""

    def __init__(self, stage: Stage, group: asyncio.TaskGroup) -> None:
        """Act on a stage whose appliance runs; what takes its time is a task of the group."""
        self._stage = stage
        self._group = group
        self._under_way: set[asyncio.Task[None]] = set()
        self._people = {person.key: person for person in PEOPLE} | {STRANGER_KEY: STRANGER}
        self._actions: dict[str, Callable[[], None]] = {
            "o": lambda: self.begin(self._go_through()),
            "p": self._prop,
            "s": self._shove,
            "x": self._exit,
            "t": self._fire,
            "u": lambda: self.begin(self._plug()),
            "w": self._elsewhere,
            "1": lambda: self._ask(self._sell),
            "2": lambda: self._ask(self._top_up),
            "3": lambda: self._ask(self._pause),
            "4": lambda: self.begin(self._toggle_cloud()),
            QUIT_KEY: self.end,
        }
        self.where = Where.FRONT
        self.whom = MIA
        """Who tapped last: what staff do in the cloud is for them."""
        self.note = "The cloud is starting; members and passes come from it in a moment."
        self.quit = False

    def read(self, descriptor: int) -> None:
        """Take what was typed; the end of the input is the end of the show."""
        keys = pressed(descriptor)
        if keys is None:
            self.end()
            return
        for key in keys.lower():
            if key in self._people:
                self._tap(self._people[key])
            elif key in self._actions:
                self._actions[key]()
                self._stage.changed.set()
            elif key.isprintable():
                self.note = f'Nothing happens at "{key}"; the keys are on the left, q quits.'
                self._stage.changed.set()

    def end(self) -> None:
        """End the show, and what is under way with it."""
        self.quit = True
        for task in self._under_way:
            task.cancel()
        self._stage.changed.set()

    def begin(self, action: Coroutine[Any, Any, None]) -> None:
        """Have something under way until it is done or the show ends."""
        if len(self._under_way) >= ACTIONS_MAX or self.quit:
            action.close()
            return
        task = self._group.create_task(action, name="key")
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    def _tap(self, person: Person) -> None:
        is_card = person.kind is CredentialKind.NFC_UID
        what = "card" if is_card else "code"
        self.note = f"{person.name} shows a {what} at the {self.where.value}."
        if person is not STRANGER:
            self.whom = person
        if is_card and self.where is Where.FRONT and not self._stage.plugged:
            self.note = "The card reader is unplugged and reads no card; u plugs it in."
            self._stage.changed.set()
            return
        # The answer is drawn as it comes: a frame in between would only take its time from it.
        self._stage.tap(person, self.where)

    def _may_open(self) -> bool:
        """Whether the leaf is shut and the strike lets it go; if not, say so."""
        if self._stage.leaf_is_open():
            self.note = "The door stands open already; p lets it fall shut."
        elif not self._stage.board.level("front-strike"):
            self.note = "The door is locked and does not move; s shoves it open."
        else:
            return True
        return False

    async def _go_through(self) -> None:
        if not self._may_open():
            return
        self.note = "Somebody goes through, and the door falls shut: it locks at once."
        self._stage.move_leaf(is_open=True)
        await asyncio.sleep(WALK_S)
        self._stage.move_leaf(is_open=False)

    def _prop(self) -> None:
        if self._stage.leaf_is_open():
            self.note = "The door falls shut."
            self._stage.move_leaf(is_open=False)
        elif self._may_open():
            self.note = "The door is propped open: soon that is an alarm. p lets it go."
            self._stage.move_leaf(is_open=True)

    def _shove(self) -> None:
        if self._stage.leaf_is_open():
            self.note = "The door stands open already; p lets it fall shut."
            return
        self.note = "The door was shoved open; p lets it fall shut."
        self._stage.move_leaf(is_open=True)

    def _exit(self) -> None:
        self.note = "Somebody inside pressed the exit button."
        self.begin(self._stage.press_exit())

    def _fire(self) -> None:
        active = not self._stage.board.level("fire")
        self.note = "The fire alarm sounds; t ends it." if active else "The fire alarm is over."
        self._stage.raise_fire(active=active)

    async def _plug(self) -> None:
        plugged = not self._stage.plugged
        self.note = "The card reader is plugged in." if plugged else "The card reader is unplugged."
        await self._stage.plug_card_reader(plugged=plugged)

    def _elsewhere(self) -> None:
        places = list(Where)
        self.where = places[(places.index(self.where) + 1) % len(places)]
        self.note = f"Letters now tap at the {self.where.value}."

    async def greet(self) -> None:
        """Say when members and passes are there, or why they are not."""
        if self._stage.joining is None:
            return
        try:
            # It is the stage's own, which ends it when it is time.
            count = await asyncio.shield(self._stage.joining)
        except ServersError as error:
            self.note = f"The cloud did not come up: {error}"
        else:
            self.note = f"{count} records came from the cloud. A letter taps at the front door."
        self._stage.changed.set()

    def _ask(self, action: Asking) -> None:
        """Have staff do something for whoever tapped last."""
        cloud = self._stage.cloud
        if cloud.desk is None or cloud.doing or not cloud.is_up:
            self.note = "The cloud does not run: staff can do nothing there now."
            return
        self.begin(self._answered(action, cloud.desk))

    async def _answered(self, action: Asking, desk: "Desk") -> None:
        try:
            self.note = await action(desk, self.whom)
        except ServersError as error:
            self.note = f"In the cloud: {error}"
        self._stage.changed.set()

    async def _sell(self, desk: "Desk", person: Person) -> str:
        head = await desk.sell_day(person)
        return f"Staff sold {person.name} a day pass: {await self._known(head)}."

    async def _top_up(self, desk: "Desk", person: Person) -> str:
        if person.pass_ is None:
            return f"{person.name} has no pass to top up; 1 sells one."
        left = await desk.top_up(person.pass_, TOP_UP)
        known = await self._known(await desk.head())
        return f"Staff added {TOP_UP} to {person.name}'s pass, {left} left: {known}."

    async def _pause(self, desk: "Desk", person: Person) -> str:
        paused = person.customer not in self._stage.seen.paused
        head = await desk.pause(person, paused=paused)
        done = "paused" if paused else "let go on"
        return f"Staff {done} {person.name}'s membership: {await self._known(head)}."

    async def _known(self, head: int) -> str:
        answered_s = time.monotonic()
        await self._stage.cloud.known(head)
        return f"the door knew {(time.monotonic() - answered_s) * 1000:.0f} ms after"

    async def _toggle_cloud(self) -> None:
        cloud = self._stage.cloud
        if cloud.doing:
            self.note = f"Wait a moment; the cloud: {cloud.doing}."
        elif cloud.is_up:
            self.note = "The cloud is stopped: doors go on, and what they record waits."
            await cloud.stop()
        else:
            self.note = "The cloud starts again; what waited is counted once."
            await cloud.begin_start()
            try:
                await cloud.started()
            except ServersError as error:
                self.note = str(error)


async def show(stage: Stage) -> None:
    """Show the screen until somebody quits; the terminal is then as it was before."""
    descriptor = sys.stdin.fileno()
    loop = asyncio.get_running_loop()
    live = Live(
        console=Console(),
        screen=True,
        auto_refresh=False,
        redirect_stdout=False,
        redirect_stderr=False,
    )
    async with asyncio.TaskGroup() as group:
        keyboard = Keyboard(stage, group)
        keyboard.begin(keyboard.greet())
        with single_keys(descriptor), _often_switching(), _drawing(live):
            loop.add_reader(descriptor, keyboard.read, descriptor)
            loop.add_signal_handler(signal.SIGWINCH, stage.changed.set)
            try:
                await _draw_until_quit(stage, keyboard, live)
            finally:
                loop.remove_signal_handler(signal.SIGWINCH)
                loop.remove_reader(descriptor)


@contextmanager
def _drawing(live: Live) -> Iterator[None]:
    """Have a screen of its own for as long as the context lasts."""
    live.start()
    try:
        yield
    finally:
        # A terminal that was closed needs no putting back.
        with suppress(OSError):
            live.stop()


@contextmanager
def _often_switching() -> Iterator[None]:
    """Let threads take turns sooner than usual, so that a frame being drawn delays a tap less."""
    before_s = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_S)
    try:
        yield
    finally:
        sys.setswitchinterval(before_s)


async def _draw_until_quit(stage: Stage, keyboard: Keyboard, live: Live) -> None:
    looked_s = float("-inf")
    while not keyboard.quit:
        if stage.changed.is_set() or time.monotonic() - looked_s > LOOK_S:
            stage.changed.clear()
            await stage.look()
            looked_s = time.monotonic()
        try:
            await _refresh(live, draw(stage, keyboard.where, keyboard.whom, keyboard.note))
        except OSError:
            # The terminal was closed.
            keyboard.end()
        await asyncio.sleep(FRAME_S_MIN)
        try:
            async with asyncio.timeout(FRAME_S - FRAME_S_MIN):
                await stage.changed.wait()
        except TimeoutError:
            continue


async def _refresh(live: Live, picture: RenderableType) -> None:
    """Draw in a thread, so that a slow terminal holds up no door, and see it through."""
    drawing = asyncio.ensure_future(asyncio.to_thread(live.update, picture, refresh=True))
    try:
        await asyncio.shield(drawing)
    except asyncio.CancelledError:
        await drawing
        raise
