"""What a scripted tour is written with: do something at the door, check what came of it."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import closing, suppress
from typing import TYPE_CHECKING, TypeVar

from edgegate.demo.cloudside import CloudSide
from edgegate.demo.servers import ServersError
from edgegate.demo.site import Person
from edgegate.demo.stage import Stage, Tap, Where
from edgegate.demo.watch import brief, data_of
from edgegate.doors.status import DoorWord
from edgegate.passes.reasons import Reason
from edgegate.sentences import member, staff
from edgegate.store import ledger
from edgegate.store.connections import connect_read_only
from edgegate.store.ledger import EntryType

if TYPE_CHECKING:
    from edgegate.demo.desk import Desk

R = TypeVar("R")

WAIT_S = 30.0
"""How long anything may take; a machine that is that slow opens no door in time."""

SERVERS_S_MAX = 90.0
"""How long anything may take that the cloud does: it begins by starting Python."""

POLL_S = 0.01

TAP_AGAIN_S = 4.0
"""So long after a reader came back a tap that it did not see is made again."""

TAPS_MAX = 5


class UnexpectedError(Exception):
    """Something did not go as it should."""

    def __init__(self, what: str, expected: object, came: object) -> None:
        """Say what it was about, and both sides of it."""
        super().__init__(f"{what}: expected {expected!r}, came {came!r}")
        self.what = what
        self.expected = expected
        self.came = came
        self.step = ""
        """During what it was."""


def expect(what: str, expected: object, came: object) -> None:
    """Go on if both are equal.

    Raises:
        UnexpectedError: if they are not.
    """
    if expected != came:
        raise UnexpectedError(what, expected, came)


class Script:
    """The vocabulary of a tour; whatever does not come within `WAIT_S` is an `UnexpectedError`."""

    def __init__(self, stage: Stage, say: Callable[[str], None]) -> None:
        """Play on a stage whose appliance runs, and `say` what happens."""
        self.stage = stage
        self.say = say
        self._granted_when_moved: list[int] = []
        self._forgotten_ns = 0
        stage.board.on_change("front-strike", self._count_granted)

    async def until(
        self,
        what: str,
        condition: Callable[[], bool],
        came: Callable[[], object] = lambda: "nothing",
    ) -> None:
        """Wait until something is so."""
        try:
            async with asyncio.timeout(WAIT_S):
                # Sockets, threads and files change what is waited for: no event tells of them all.
                while not condition():  # noqa: ASYNC110 - see above
                    await asyncio.sleep(POLL_S)
        except TimeoutError:
            raise UnexpectedError(what, f"within {WAIT_S:g} s", came()) from None

    @property
    def cloud(self) -> CloudSide:
        """The cloud's side."""
        return self.stage.cloud

    def desk(self) -> "Desk":
        """The desk, once the cloud has come up."""
        if self.cloud.desk is None:
            raise UnexpectedError("the cloud", "up", self.cloud.doing)
        return self.cloud.desk

    async def working(self, work: Awaitable[R]) -> R:
        """Wait for something that the cloud does."""
        try:
            async with asyncio.timeout(SERVERS_S_MAX):
                return await work
        except TimeoutError:
            raise UnexpectedError(
                "the cloud", f"an answer within {SERVERS_S_MAX:g} s", self.stage.offline()
            ) from None
        except ServersError as error:
            raise UnexpectedError("the cloud", "that it works", str(error)) from error

    async def answered(self, person: Person, where: Where, reason: Reason) -> Tap:
        """Tap for somebody, and wait for the answer, which must be this one."""
        await self._tap(person, where)
        tap = self.stage.taps[-1]
        expect(f"the answer to {person.name}", reason, reason_of(tap))
        opens = tap.passage.outcome is not None and tap.passage.outcome.decision.opens
        expect(f"whether the door opened for {person.name}", opens, tap.passage.opened)
        return tap

    async def _tap(self, person: Person, where: Where) -> None:
        """Tap, and once more where the reader was away: a machine under load loses its line."""
        before, going = self._last(), self.stage.interruptions()
        self.stage.tap(person, where)

        def is_answered() -> bool:
            return self._last() is not before

        for _ in range(TAPS_MAX):
            with suppress(TimeoutError):
                async with asyncio.timeout(TAP_AGAIN_S):
                    while not is_answered():  # noqa: ASYNC110 - as in `until`
                        await asyncio.sleep(POLL_S)
                return
            if self.stage.interruptions() != going and not self.stage.offline():
                going = self.stage.interruptions()
                self.stage.tap(person, where)
        await self.until(f"an answer to {person.name}", is_answered, self.stage.offline)

    async def word(self, word: DoorWord, door: str = "front") -> None:
        """Wait until a door is in this state, by its own word."""
        await self.until(
            f"the state of the {door} door to be {word.value}",
            lambda: self.stage.door(door).word is word,
            lambda: self.stage.door(door).word.value,
        )

    async def level(self, door: str, *, released: bool) -> None:
        """Wait until the strike's own line has this level."""
        await self.until(
            f"the level of the strike ({door}) to be {released}",
            lambda: self.stage.board.level(f"{door}-strike") is released,
            lambda: not released,
        )

    async def walk_through(self) -> None:
        """Let somebody open the front door and shut it behind them, and wait for the lock."""
        self.stage.move_leaf(is_open=True)
        await asyncio.sleep(0.05)
        self.stage.move_leaf(is_open=False)
        await self.word(DoorWord.LOCKED)
        await self.level("front", released=False)

    async def recorded(self, text: str, person: Person | None = None) -> None:
        """Wait until the ledger has such an entry, of this person if one is named."""
        found: list[str] = []
        try:
            async with asyncio.timeout(WAIT_S):
                while text not in found:
                    await self.stage.look()
                    found = self.entries(person)
                    await asyncio.sleep(POLL_S)
        except TimeoutError:
            raise UnexpectedError("the ledger", text, found[-5:]) from None

    def entries(self, person: Person | None = None) -> list[str]:
        """The ledger as last looked at, in brief, of one person if one is named."""
        return [
            brief(entry)
            for entry in self.stage.seen.entries
            if person is None or data_of(entry).get("customer") == person.customer
        ]

    def levels(self, door: str = "front") -> list[bool]:
        """How the strike's line has changed since `forget_moves`: True is released."""
        history = self.stage.board.history(f"{door}-strike")
        return [level for at_ns, level in history if at_ns > self._forgotten_ns]

    def forget_moves(self) -> None:
        """Have what the strikes did so far count no more."""
        self._forgotten_ns = time.monotonic_ns()
        self._granted_when_moved.clear()

    def granted_when_moved(self) -> int:
        """How many grants the ledger held as the strike first moved since `forget_moves`."""
        return self._granted_when_moved[0] if self._granted_when_moved else 0

    def _last(self) -> Tap | None:
        return self.stage.taps[-1] if self.stage.taps else None

    def _count_granted(self, _at_ns: int, released: bool) -> None:
        """Look into the ledger from the board's own thread, before anybody sees the strike move."""
        if not released or self._granted_when_moved:
            return
        with closing(connect_read_only(self.stage.site.state / "ledger.db")) as connection:
            entries = list(ledger.entries(connection))
        self._granted_when_moved.append(
            sum(entry.type == EntryType.ACCESS_GRANTED for entry in entries)
        )


def quoted(tap: Tap) -> str:
    """The sentence that the member reads; empty for somebody who leaves."""
    outcome = tap.passage.outcome
    return f"“{member(outcome)}”" if outcome is not None else ""


def quoted_for_staff(tap: Tap) -> str:
    """The sentence that staff read; empty for somebody who leaves."""
    outcome = tap.passage.outcome
    return f"“{staff(outcome)}”" if outcome is not None else ""


def reason_of(tap: Tap) -> Reason | None:
    """Why it opened or not; None for somebody who leaves."""
    outcome = tap.passage.outcome
    return outcome.decision.reason if outcome is not None else None
