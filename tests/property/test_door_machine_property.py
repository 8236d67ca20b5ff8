"""The door machine under any events: what must hold of a door whatever happens to it."""

import math
from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from edgegate.doors.machine import (
    ContactClosed,
    ContactLost,
    ContactOpened,
    Event,
    ExitEnded,
    ExitRequested,
    FireCleared,
    FireRaised,
    Grant,
    KeepOpen,
    LockdownOff,
    LockdownOn,
    LockNow,
    Tick,
    step,
)
from edgegate.doors.state import Action, DoorSettings, DoorState, Emit, Lock, Release

SETTINGS = DoorSettings(exit_s=4.0, held_open_s=20.0)
GAP_S = 1e-6
"""What floating point may add to a release."""

MakeEvent = Callable[[float], Event]

spans_s = st.floats(min_value=0.1, max_value=15.0)
contacts: st.SearchStrategy[MakeEvent] = st.sampled_from(
    [
        lambda at_s: ContactOpened(at_s=at_s),
        lambda at_s: ContactClosed(at_s=at_s),
        lambda at_s: ContactLost(at_s=at_s),
        lambda at_s: Tick(at_s=at_s),
    ]
)
switches: st.SearchStrategy[MakeEvent] = st.sampled_from(
    [
        lambda at_s: FireRaised(at_s=at_s),
        lambda at_s: FireCleared(at_s=at_s),
        lambda at_s: LockdownOn(at_s=at_s),
        lambda at_s: LockdownOff(at_s=at_s),
        lambda at_s: LockNow(at_s=at_s),
        lambda at_s: ExitEnded(at_s=at_s),
        lambda at_s: ExitRequested(at_s=at_s),
        lambda at_s: ExitRequested(at_s=at_s, pressed=True),
    ]
)


def granting(for_s: float) -> MakeEvent:
    return lambda at_s: Grant(at_s=at_s, for_s=for_s)


def keeping(for_s: float) -> MakeEvent:
    return lambda at_s: KeepOpen(at_s=at_s, until_s=at_s + for_s)


any_event = st.one_of(contacts, switches, spans_s.map(granting), spans_s.map(keeping))
histories = st.lists(st.tuples(st.floats(min_value=0, max_value=8), any_event), max_size=25)


class Door:
    """A door as its runner keeps it: every tick in time, and a strike that ends each release."""

    def __init__(self) -> None:
        self.state = DoorState()
        self.now_s = 100.0
        self.strike_until_s = -math.inf
        self.reported: list[tuple[str, bool | None]] = []
        self.released_s = 0.0

    def pass_time(self, for_s: float) -> None:
        end_s = self.now_s + for_s
        while (next_s := self.state.next_at_s) is not None and next_s <= end_s:
            assert next_s > self.now_s, "a tick that is always due is a loop that never sleeps"
            self._move_to(next_s)
            self.take(Tick(at_s=next_s))
        self._move_to(end_s)

    def take(self, event: Event) -> tuple[Action, ...]:
        self.state, actions = step(self.state, event, SETTINGS)
        for action in actions:
            if isinstance(action, Release):
                assert action.for_s > 0
                self.strike_until_s = self.now_s + action.for_s
            elif isinstance(action, Lock):
                self.strike_until_s = -math.inf
            else:
                self.reported.append((action.event.kind.value, action.event.cleared))
        return actions

    @property
    def released(self) -> bool:
        return self.strike_until_s > self.now_s

    def _move_to(self, at_s: float) -> None:
        self.released_s += max(0.0, min(at_s, self.strike_until_s) - self.now_s)
        self.now_s = at_s


class Law:
    """What should be in force, kept apart from the machine and as simply as can be said."""

    def __init__(self) -> None:
        self.fire = self.lockdown = self.pressed = False
        self.granted_s = self.exit_s = self.kept_s = -math.inf
        self.opened = self.passed = False

    def take(self, event: Event) -> None:
        now_s = event.at_s
        match event:
            case FireRaised() | FireCleared():
                self.fire = isinstance(event, FireRaised)
            case LockdownOn() if not self.lockdown:
                self.lockdown = True
                self.granted_s = self.kept_s = -math.inf
            case LockdownOff():
                self.lockdown = False
            case LockNow():
                self.granted_s = self.kept_s = -math.inf
            case Grant(for_s=for_s):
                self.granted_s = max(self.granted_s, now_s + for_s)
                self.passed = False
            case KeepOpen(until_s=until_s) if not self.lockdown:
                self.kept_s = until_s
            case ExitRequested(pressed=pressed):
                self.pressed |= pressed
                self.exit_s = max(self.exit_s, now_s + SETTINGS.exit_s)
                self.passed = False
            case ExitEnded():
                self.pressed = False
            case _:
                self._take_contact(event)

    def _take_contact(self, event: Event) -> None:
        if isinstance(event, ContactOpened) and not self.opened:
            self.opened = self.passed = True
        if isinstance(event, ContactClosed) and self.opened:
            self.opened = False
            if self.passed:
                self.granted_s = self.exit_s = -math.inf

    def unlocked(self, now_s: float) -> bool:
        ends_s = (self.granted_s, self.exit_s, self.kept_s)
        return self.fire or self.pressed or max(ends_s) > now_s


@given(histories)
def test_the_strike_is_released_exactly_while_something_asks_for_it(
    history: list[tuple[float, MakeEvent]],
) -> None:
    door, law = Door(), Law()
    for pause_s, make in history:
        door.pass_time(pause_s)
        assert door.released == law.unlocked(door.now_s)
        event = make(door.now_s)
        door.take(event)
        law.take(event)
        assert door.released == law.unlocked(door.now_s)
    door.take(FireCleared(at_s=door.now_s))
    door.take(ExitEnded(at_s=door.now_s))
    door.pass_time(16)
    assert not door.released


@given(histories)
def test_alarms_and_states_begin_and_end_in_turn(
    history: list[tuple[float, MakeEvent]],
) -> None:
    door = Door()
    for pause_s, make in history:
        door.pass_time(pause_s)
        door.take(make(door.now_s))
    for kind in ("held", "forced", "fire", "lockdown"):
        flags = [cleared for reported, cleared in door.reported if reported == kind]
        assert flags == [bool(number % 2) for number in range(len(flags))]
    leaf = [kind for kind, _ in door.reported if kind in {"opened", "closed"}]
    assert leaf == ["opened" if number % 2 == 0 else "closed" for number in range(len(leaf))]


@given(spans_s, st.lists(st.tuples(st.floats(min_value=0, max_value=8), contacts), max_size=20))
def test_one_grant_releases_for_no_longer_than_it_says(
    for_s: float, history: list[tuple[float, MakeEvent]]
) -> None:
    door = Door()
    door.take(Grant(at_s=door.now_s, for_s=for_s))
    for pause_s, make in history:
        door.pass_time(pause_s)
        door.take(make(door.now_s))
    door.pass_time(20)
    assert door.released_s <= for_s + GAP_S


@given(histories)
def test_whoever_asked_to_leave_can_until_the_door_was_used(
    history: list[tuple[float, MakeEvent]],
) -> None:
    door = Door()
    door.take(ContactClosed(at_s=door.now_s))
    door.take(ExitRequested(at_s=door.now_s))
    began_s = door.now_s
    for pause_s, make in history:
        door.pass_time(pause_s)
        event = make(door.now_s)
        if door.now_s >= began_s + SETTINGS.exit_s or isinstance(event, ContactOpened):
            return
        door.take(event)
        assert door.released


instants_s = st.floats(min_value=-1e9, max_value=1e9)
odd_events = st.one_of(
    st.builds(lambda make, at_s: make(at_s), any_event, instants_s),
    st.builds(lambda at_s, for_s: Grant(at_s=at_s, for_s=for_s), instants_s, st.floats()),
    st.builds(lambda at_s, until_s: KeepOpen(at_s=at_s, until_s=until_s), instants_s, st.floats()),
)


@given(st.lists(odd_events, max_size=25))
def test_no_clock_however_mad_breaks_it_or_makes_a_long_release(events: list[Event]) -> None:
    state = DoorState()
    for event in events:
        state, actions = step(state, event, SETTINGS)
        for action in actions:
            if isinstance(action, Release):
                assert 0 < action.for_s <= max(SETTINGS.release_s_max, SETTINGS.fire_for_s)
        assert [isinstance(action, Emit) for action in actions] == sorted(
            isinstance(action, Emit) for action in actions
        )
