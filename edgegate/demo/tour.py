"""The scripted tour: each step does something, says what came of it, and checks that it is so."""

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import TYPE_CHECKING

from edgegate.demo.cloudside import Way
from edgegate.demo.script import (
    SERVERS_S_MAX,
    Script,
    UnexpectedError,
    expect,
    quoted,
    quoted_for_staff,
    reason_of,
)
from edgegate.demo.site import (
    ANA,
    BEN,
    CLEO,
    DANA,
    EMIL,
    FAY,
    GIL,
    HUGO,
    IDA,
    JON,
    KIM,
    LEA,
    MIA,
    STRANGER,
    Pace,
    Person,
)
from edgegate.demo.stage import DOORS, Tap, Where
from edgegate.demo.watch import Seen
from edgegate.doors.status import DoorWord
from edgegate.passes.reasons import Reason

if TYPE_CHECKING:
    from edgegate.demo.desk import Standing

PACE = Pace(open_s=30.0, exit_s=2.0, held_open_s=0.5, ida_runs_out_s=7.2)
"""A grant outlasts all waiting: a door that locks in time was locked by the leaf that closed."""

CARD_AWAY_S = 1.0
"""A card that comes back after this counts as tapped again (`away_ms` of the reader)."""

DANA_STAYS_S = 0.6
"""From half a second on time counts, and then as a whole minute (C-06)."""

FORCED_AFTER_S = 1.2
"""An opening this long after the lock is nobody's late step through the door."""

AGREE_POLL_S = 0.1

LEFT = {"ana-days": 1, "team-days": 0, "dana-minutes": 11, "ida-minutes": 0, "ida-days": 2}
"""What is left at the end, by pass."""

_MINUTE = "%Y-%m-%d %H:%M"

REFUSALS: dict[Person, tuple[str, Reason]] = {
    EMIL: ("a pass for mornings", Reason.OUTSIDE_HOURS),
    FAY: ("passes that ended", Reason.EXPIRED),
    GIL: ("a pass to be approved", Reason.NOT_APPROVED),
    JON: ("a paused membership", Reason.CUSTOMER_PAUSED),
    KIM: ("a card reported lost", Reason.CREDENTIAL_BLOCKED),
    STRANGER: ("an unknown card", Reason.UNKNOWN_CREDENTIAL),
}
"""Who is refused at the front door, with what, and why."""


class Tour(Script):
    """One tour on a stage whose appliance runs."""

    @property
    def steps(self) -> tuple[tuple[str, Callable[[], Awaitable[list[str]]]], ...]:
        """What is done, in order; each step returns what is worth telling of it."""
        return (
            (
                "It starts: card reader, code scanner, two doors and fire input all answer.",
                self._start,
            ),
            ("The exit button opens at once; the record follows.", self._exit_button),
            (
                "Propped open, then shoved open: two alarms, each over once the door is shut.",
                self._alarms,
            ),
            ("The fire alarm unlocks both doors; they lock when it is over.", self._fire),
            (
                "Meanwhile a cloud has come up: members and passes come from there.",
                self._join,
            ),
            ("Ana taps her card; 2 of her 10 day passes are left.", self._grant),
            (
                "She walks in, the door locks behind her; she taps again, and nothing is used.",
                self._again,
            ),
            ("Ben and Cleo tap at once; their team has one use left.", self._last_use),
            ("Others are refused, each told why or when:", self._refusals),
            ("The lounge is for members: Hugo may, Ana may not.", self._lounge),
            (
                "Mia has no pass; staff sell her a day in the cloud, and her card opens the door.",
                self._sale,
            ),
            (
                "The cloud is stopped. Dana pays by the minute all the same: one minute is used.",
                self._minutes,
            ),
            (
                "The card reader is unplugged: codes still work. Plugged in again, it comes back.",
                self._replug,
            ),
            (
                "Ida, inside, runs out of minutes: her visit goes on, on her day pass.",
                self._hand_over,
            ),
            (
                "The cloud is back: all was counted once, and both agree what is left.",
                self._agree,
            ),
            ("All of it is in the ledger.", self._ledger),
        )

    async def play(self) -> None:
        """Play all steps.

        Raises:
            UnexpectedError: at the first thing that is not as it should be.
        """
        for title, step in self.steps:
            try:
                lines = await step()
            except UnexpectedError as error:
                error.step = title
                raise
            self.say(f"✓ {title}")
            for line in lines:
                self.say(f"    {line}")

    async def _start(self) -> list[str]:
        await self.until("all devices work", lambda: not self.stage.offline(), self.stage.offline)
        return []

    async def _join(self) -> list[str]:
        if self.stage.joining is None:
            raise UnexpectedError("the cloud", "starting", "not started")
        count = await self.working(self.stage.joining)
        seen = await self.stage.look()
        expect("who is inside", [IDA.name], [visit.name for visit in seen.inside])
        now, since = self.stage.clock(), self.stage.site.local(seen.inside[0].since)
        return [
            f"Enrolled with a claim code; {count} records were put by its admin API and are here.",
            f"It is {now:%H:%M} there. Ida is inside since {since:%H:%M}; her visit goes on.",
        ]

    async def _grant(self) -> list[str]:
        self.forget_moves()
        tap = await self.answered(ANA, Where.FRONT, Reason.PASS)
        await self.word(DoorWord.UNLOCKED)
        await self.until("the time to the strike", lambda: tap.wire_to_relay_ms is not None)
        # The board shows the level once everybody who listens to it, so the count too, is done.
        await self.level("front", released=True)
        # Ida's own entry was the first.
        expect("grants on record as the strike moved", 2, self.granted_when_moved())
        await self.stage.look()
        expect(
            "Ana's entries",
            ["access.granted pass", "pass.debited 1", "session.opened"],
            self.entries(ANA),
        )
        return [f"{quoted(tap)} Recorded, then unlocked: {tap.wire_to_relay_ms:.1f} ms."]

    async def _again(self) -> list[str]:
        await self.walk_through()
        expect("levels of the strike", [True, False], self.levels())
        await asyncio.sleep(CARD_AWAY_S)
        tap = await self.answered(ANA, Where.FRONT, Reason.COVERED)
        await self.walk_through()
        await self.stage.look()
        expect("Ana's uses spent", 1, self.entries(ANA).count("pass.debited 1"))
        return [f"{quoted(tap)}"]

    async def _last_use(self) -> list[str]:
        before = len(self.stage.taps)
        self.stage.tap(BEN, Where.FRONT)
        self.stage.tap(CLEO, Where.FRONT)
        await self.until("two answers", lambda: len(self.stage.taps) >= before + 2)
        taps = sorted(list(self.stage.taps)[before:], key=lambda tap: not tap.passage.opened)
        expect("the answers", [Reason.PASS, Reason.USED_UP], [reason_of(tap) for tap in taps])
        await self.walk_through()
        await self.stage.look()
        spent = [*self.entries(BEN), *self.entries(CLEO)].count("pass.debited 1")
        expect("uses of the team spent", 1, spent)
        return [f"{tap.person.name}: {quoted(tap)}" for tap in taps]

    async def _refusals(self) -> list[str]:
        moves = len(self.levels())
        lines = []
        for person, (holds, reason) in REFUSALS.items():
            tap = await self.answered(person, Where.FRONT, reason)
            lines.append(f"{person.name} with {holds}: {quoted(tap)}")
            if person is EMIL:
                self._check_retry(tap)
        expect("moves of the strike", moves, len(self.levels()))
        return lines

    def _check_retry(self, tap: Tap) -> None:
        """A morning pass works again at 8:00 of the next day, on the space's clock."""
        outcome = tap.passage.outcome
        retry_at = outcome.decision.retry_at if outcome is not None else None
        tomorrow = self.stage.clock().date() + timedelta(days=1)
        came = self.stage.site.local(retry_at).strftime(_MINUTE) if retry_at else None
        expect("when a morning pass works again", f"{tomorrow} 08:00", came)

    async def _lounge(self) -> list[str]:
        moves = len(self.levels("lounge"))
        refused = await self.answered(ANA, Where.LOUNGE, Reason.OTHER_AUDIENCE)
        expect("moves of the lounge's strike", moves, len(self.levels("lounge")))
        await self.answered(HUGO, Where.LOUNGE, Reason.MEMBERSHIP)
        await self.level("lounge", released=True)
        return [f"Ana: {quoted(refused)} Staff read: {quoted_for_staff(refused)}"]

    async def _sale(self) -> list[str]:
        refused = await self.answered(MIA, Where.FRONT, Reason.NO_PASS)
        way = Way.PUSH if self.cloud.has_broker else Way.POLL
        await self.until(f"changes to come {way}", lambda: self.cloud.way() is way, self.cloud.way)
        await asyncio.sleep(CARD_AWAY_S)
        head = await self.working(self.desk().sell_day(MIA))
        answered_s = time.monotonic()
        await self.working(self.cloud.known(head))
        known_ms = (time.monotonic() - answered_s) * 1000
        tap = await self.answered(MIA, Where.FRONT, Reason.PASS)
        await self.walk_through()
        return [
            quoted(refused),
            f"{known_ms:.0f} ms after the cloud's answer the door knew it, {way}.",
            quoted(tap),
        ]

    async def _minutes(self) -> list[str]:
        await self.working(self.cloud.stop())
        tap = await self.answered(DANA, Where.FRONT, Reason.PASS)
        await self.walk_through()
        await asyncio.sleep(DANA_STAYS_S)
        self.stage.tap(DANA, Where.OUT)
        # The exit reader opens first and is recorded afterwards.
        await self.word(DoorWord.UNLOCKED)
        await self.level("front", released=True)
        await self.recorded("door.exit exit_reader")
        await self.recorded("session.closed exit", DANA)
        await self.walk_through()
        visit = ["access.granted pass", "session.opened", "pass.debited 1", "session.closed exit"]
        expect("Dana's entries", visit, self.entries(DANA))
        expect("whether the cloud runs", False, self.cloud.is_up)
        # It has until it is needed again.
        await self.cloud.begin_start()
        return [f"{quoted(tap)}"]

    async def _exit_button(self) -> list[str]:
        await self.word(DoorWord.LOCKED)
        await self.stage.press_exit()
        await self.word(DoorWord.UNLOCKED)
        await self.level("front", released=True)
        await self.recorded("door.exit exit_button")
        await self.walk_through()
        return []

    async def _alarms(self) -> list[str]:
        await self.stage.press_exit()
        await self.word(DoorWord.UNLOCKED)
        self.stage.move_leaf(is_open=True)
        await self.word(DoorWord.HELD)
        self.stage.move_leaf(is_open=False)
        await self.word(DoorWord.LOCKED)
        await asyncio.sleep(FORCED_AFTER_S)
        self.stage.move_leaf(is_open=True)
        await self.word(DoorWord.FORCED)
        self.stage.move_leaf(is_open=False)
        await self.word(DoorWord.LOCKED)
        for alarm in ("held", "forced"):
            await self.recorded(f"door.{alarm} raised")
            await self.recorded(f"door.{alarm} cleared")
        return []

    async def _fire(self) -> list[str]:
        self.stage.raise_fire(active=True)
        for door in DOORS:
            await self.word(DoorWord.FIRE, door)
            await self.level(door, released=True)
        self.stage.raise_fire(active=False)
        for door in DOORS:
            await self.word(DoorWord.LOCKED, door)
            await self.level(door, released=False)
        await self.recorded("door.fire raised")
        await self.recorded("door.fire cleared")
        return []

    async def _replug(self) -> list[str]:
        reader = "reader front-card"
        await self.stage.plug_card_reader(plugged=False)
        await self.until(f"{reader} offline", lambda: reader in self.stage.offline())
        # A code still opens while the card reader is gone.
        await self.answered(HUGO, Where.FRONT, Reason.UNLIMITED)
        await self.walk_through()
        await self.stage.plug_card_reader(plugged=True)
        await self.until("all devices work", lambda: not self.stage.offline(), self.stage.offline)
        await self.answered(LEA, Where.FRONT, Reason.STAFF)
        await self.walk_through()
        return []

    async def _hand_over(self) -> list[str]:
        await self.recorded("session.segment used_up", IDA)
        visit = next(visit for visit in self.stage.seen.inside if visit.name == IDA.name)
        expect("the pass that Ida's visit goes on with", "Day pass", visit.pass_)
        over = ["pass.debited 57", "session.segment used_up", "pass.debited 1", "session.segment"]
        expect("Ida's entries", over, self.entries(IDA)[-4:])
        return []

    async def _agree(self) -> list[str]:
        await self.working(self.cloud.started())
        seen = self.stage.seen
        theirs = await self.working(self.desk().standing())
        try:
            async with asyncio.timeout(SERVERS_S_MAX):
                # Entries come and go up one by one, and balances come back after them.
                while (theirs.counted, theirs.remaining) != (seen.newest, _same(theirs, seen)):
                    await asyncio.sleep(AGREE_POLL_S)
                    theirs = await self.desk().standing()
                    seen = await self.stage.look()
        except TimeoutError:
            ours = (seen.newest, _same(theirs, seen))
            came = (theirs.counted, theirs.remaining)
            raise UnexpectedError("what the cloud has", ours, came) from None
        expect("faults that the cloud found", 0, theirs.faults)
        left = theirs.remaining
        expect("what the cloud says is left", LEFT, {id_: left.get(id_) for id_ in LEFT})
        return [
            f"{seen.newest[1]} entries are there; {len(left)} balances are the same in both:",
            f"Dana has {left['dana-minutes']} minutes left, Ana {left['ana-days']} day.",
        ]

    async def _ledger(self) -> list[str]:
        await self.word(DoorWord.LOCKED)
        seen = await self.stage.look()
        expect("faults of the chain", 0, seen.faults)
        granted = [entry for entry in self.entries() if entry.startswith("access.granted")]
        # Ida, Ana twice, one of the team, Hugo twice, Mia, Dana, Lea.
        expect("grants", 9, len(granted))
        denied = [entry for entry in self.entries() if entry.startswith("access.denied")]
        # Besides those above: the other one of the team, Ana at the lounge, and Mia at first.
        expect("refusals", len(REFUSALS) + 3, len(denied))
        times_ms = self.stage.wire_to_relay_ms()
        median_ms = statistics.median(times_ms)
        return [
            f"{seen.count} entries; the chain of hashes holds from the first to the last.",
            f"From a reader's wire to the door's relay: {median_ms:.1f} ms (median of these taps).",
        ]


def _same(theirs: "Standing", seen: Seen) -> dict[str, int | None]:
    """What is left here of the passes of which something was ever used or added."""
    return {id_: seen.remaining.get(id_) for id_ in theirs.remaining}
