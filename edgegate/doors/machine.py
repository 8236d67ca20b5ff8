"""What a door is: a pure machine from a state and one event to the next state and what to do.

It knows no clock, device or log. Whoever runs it (`edgegate.doors.runner`) brings the instants, in
seconds of a monotonic clock, drives the strike as told, and steps it with a `Tick` when
`DoorState.next_at_s` has come.

Four things can hold a door unlocked, and the strike is locked whenever none of them is in force:
a grant, an exit request, being kept open, and fire. A grant or exit is one release with its end in
it. What has no near end (kept open, fire, an exit button that is still pressed) is many short
releases, each renewed before it runs out, so that a caller who hangs leaves the door locked.

The strike locks when its time is over though the leaf may stand open then. A strike's latch and a
magnet take the leaf as it closes, and a bolt that must not be thrown in the open has a controller
of its own that waits for the frame; to stay released until the leaf closes would leave the door to
everybody for as long as somebody puts a chair in it. When a leaf that opened under a release
has closed again the strike locks early, so that nobody slips in behind. A grant given while the
leaf stood open outlives that, for it belongs to the next person.
"""

from msgspec import Struct
from msgspec.structs import replace

from edgegate.doors.events import Cause, DoorEvent, DoorEventKind
from edgegate.doors.state import (
    Action,
    Alarm,
    Contact,
    DoorSettings,
    DoorState,
    Emit,
    Lock,
    Release,
)

RELEASING = frozenset({DoorEventKind.UNLOCKED, DoorEventKind.EXIT, DoorEventKind.FIRE})
"""The reports that claim a release, and so say whether the strike took it."""

Outcome = tuple[DoorState, tuple[DoorEvent, ...]]
"""The state that an event leaves, and what is reported of it."""


class Event(Struct, frozen=True, kw_only=True):
    """Something that happens to a door; by itself, as `Tick`, only time passes."""

    at_s: float

    def apply(self, state: DoorState, settings: DoorSettings) -> Outcome:  # noqa: ARG002 - for others
        """What the event changes and reports; the strike and the held alarm follow in `step`."""
        return state, ()

    def _report(self, kind: DoorEventKind, *, cleared: bool | None = None) -> DoorEvent:
        return DoorEvent(kind=kind, at_s=self.at_s, cleared=cleared)


class Tick(Event, frozen=True):
    """The instant in `next_at_s` has come."""


class Grant(Event, frozen=True):
    """Somebody may come in: unlock for a while. Whoever decided knows of a lockdown."""

    for_s: float

    def apply(self, state: DoorState, settings: DoorSettings) -> Outcome:
        """Release; a grant that is not positive changes nothing, one never shortens another."""
        for_s = min(self.for_s, settings.release_s_max)
        if not for_s > 0:
            return state, ()
        until_s = _later(state.granted_until_s, self.at_s + for_s)
        unlocked = DoorEvent(
            kind=DoorEventKind.UNLOCKED, at_s=self.at_s, cause=Cause.GRANT, for_s=for_s
        )
        return replace(state, granted_until_s=until_s, passed=False), (unlocked,)


class KeepOpen(Event, frozen=True):
    """Stay unlocked until an instant; replaces an earlier order, and one in the past ends it."""

    until_s: float

    def apply(self, state: DoorState, settings: DoorSettings) -> Outcome:
        """Keep open; a lockdown refuses it, and the same order again is not reported again."""
        until_s = min(self.until_s, self.at_s + settings.keep_open_s_max)
        if state.lockdown or until_s == state.kept_open_until_s:
            return state, ()
        if not until_s > self.at_s:
            return replace(state, kept_open_until_s=None), ()
        unlocked = DoorEvent(
            kind=DoorEventKind.UNLOCKED,
            at_s=self.at_s,
            cause=Cause.KEEP_OPEN,
            for_s=until_s - self.at_s,
        )
        return replace(state, kept_open_until_s=until_s), (unlocked,)


class LockNow(Event, frozen=True):
    """Lock: ends grants and keeping open, but neither fire nor somebody's way out."""

    def apply(self, state: DoorState, settings: DoorSettings) -> Outcome:  # noqa: ARG002 - each event is applied alike
        """End what let people in."""
        return replace(state, granted_until_s=None, kept_open_until_s=None), ()


class ExitRequested(Event, frozen=True):
    """Somebody wants to leave; never refused (PASSES D-06)."""

    cause: Cause = Cause.EXIT_BUTTON
    pressed: bool = False
    """The button is still down: the way out stays open until `ExitEnded`."""

    def apply(self, state: DoorState, settings: DoorSettings) -> Outcome:
        """Release; while one request is in force another prolongs it and is not reported."""
        asked = replace(
            state,
            exit_until_s=_later(state.exit_until_s, self.at_s + settings.exit_s),
            exit_pressed=state.exit_pressed or self.pressed,
            passed=False,
        )
        if state.exit_pressed or state.exit_until_s is not None:
            return asked, ()
        event = DoorEvent(
            kind=DoorEventKind.EXIT, at_s=self.at_s, cause=self.cause, for_s=settings.exit_s
        )
        return asked, (event,)


class ExitEnded(Event, frozen=True):
    """The exit button was let go, or is gone; the release runs out by itself."""

    def apply(self, state: DoorState, settings: DoorSettings) -> Outcome:  # noqa: ARG002 - each event is applied alike
        """Nobody presses any more."""
        return replace(state, exit_pressed=False), ()


class ContactOpened(Event, frozen=True):
    """The leaf is open; from an unknown contact this is how it was found."""

    def apply(self, state: DoorState, settings: DoorSettings) -> Outcome:
        """Begin an opening, forced if nothing allowed it and it was seen to happen."""
        if state.opened:
            return replace(state, contact=Contact.OPEN), ()
        found = state.contact is Contact.UNKNOWN
        opened = DoorEvent(kind=DoorEventKind.OPENED, at_s=self.at_s, found=found)
        after = replace(
            state, contact=Contact.OPEN, opened=True, opened_at_s=self.at_s, passed=True
        )
        allowed = _stands_open(state) or (
            self.at_s <= state.released_until_s + settings.forced_grace_s
        )
        if found or allowed or not settings.forced_alarm:
            return after, (opened,)
        forced = self._report(DoorEventKind.FORCED, cleared=False)
        return replace(after, alarm=Alarm.FORCED), (opened, forced)


class ContactClosed(Event, frozen=True):
    """The leaf is closed; from an unknown contact this is how it was found."""

    def apply(self, state: DoorState, settings: DoorSettings) -> Outcome:
        """End the opening, its alarm, and the release that it used."""
        after = replace(state, contact=Contact.CLOSED, opened=False, alarm=None)
        if not state.opened:
            return after, ()
        found = state.contact is Contact.UNKNOWN
        reports = [DoorEvent(kind=DoorEventKind.CLOSED, at_s=self.at_s, found=found)]
        if state.alarm is not None:
            reports.append(self._report(DoorEventKind(state.alarm.value), cleared=True))
        if settings.relock_on_close and state.passed:
            after = replace(after, granted_until_s=None, exit_until_s=None)
        return after, tuple(reports)


class ContactLost(Event, frozen=True):
    """The contact no longer answers; an alarm stays until the leaf is known to be closed."""

    def apply(self, state: DoorState, settings: DoorSettings) -> Outcome:  # noqa: ARG002 - each event is applied alike
        """Nothing is known of the leaf."""
        return replace(state, contact=Contact.UNKNOWN), ()


class FireRaised(Event, frozen=True):
    """The fire input is active: release, whatever else is so (PASSES D-07)."""

    def apply(self, state: DoorState, settings: DoorSettings) -> Outcome:  # noqa: ARG002 - each event is applied alike
        """Once an episode."""
        if state.fire:
            return state, ()
        return replace(state, fire=True), (self._report(DoorEventKind.FIRE, cleared=False),)


class FireCleared(Event, frozen=True):
    """The fire input is quiet again."""

    def apply(self, state: DoorState, settings: DoorSettings) -> Outcome:  # noqa: ARG002 - each event is applied alike
        """Once an episode."""
        if not state.fire:
            return state, ()
        return replace(state, fire=False), (self._report(DoorEventKind.FIRE, cleared=True),)


class LockdownOn(Event, frozen=True):
    """Nobody but staff comes in: ends grants and keeping open; leaving stays possible."""

    def apply(self, state: DoorState, settings: DoorSettings) -> Outcome:  # noqa: ARG002 - each event is applied alike
        """Once an episode; what was kept open before does not come back by itself."""
        if state.lockdown:
            return state, ()
        after = replace(state, lockdown=True, granted_until_s=None, kept_open_until_s=None)
        return after, (self._report(DoorEventKind.LOCKDOWN, cleared=False),)


class LockdownOff(Event, frozen=True):
    """The lockdown is over."""

    def apply(self, state: DoorState, settings: DoorSettings) -> Outcome:  # noqa: ARG002 - each event is applied alike
        """Once an episode."""
        if not state.lockdown:
            return state, ()
        return replace(state, lockdown=False), (self._report(DoorEventKind.LOCKDOWN, cleared=True),)


def step(
    state: DoorState, event: Event, settings: DoorSettings
) -> tuple[DoorState, tuple[Action, ...]]:
    """The state after an event and what is to be done now, the strike before any report.

    Total: no order of events and no instant, were it earlier than the one before, makes it raise.
    """
    state = _without_expired(state, event.at_s)
    state, reports = event.apply(state, settings)
    state, strike = _actuated(state, event.at_s, settings)
    state, held = _held_judged(state, event.at_s, settings)
    state = replace(state, next_at_s=_next_at_s(state, event.at_s, settings))
    return state, (*strike, *(Emit(report) for report in (*reports, *held)))


def actuation(state: DoorState, at_s: float) -> Release | Lock:
    """What a strike that has just come, or failed before, must be told now."""
    for_s = state.released_until_s - at_s
    return Release(for_s) if state.released and for_s > 0 else Lock()


def _later(earlier_s: float | None, later_s: float) -> float:
    return later_s if earlier_s is None else max(earlier_s, later_s)


def _stands_open(state: DoorState) -> bool:
    """Whether the door is unlocked with no near end: openings are allowed and never too long."""
    return state.fire or state.exit_pressed or state.kept_open_until_s is not None


def _without_expired(state: DoorState, at_s: float) -> DoorState:
    def running(until_s: float | None) -> float | None:
        return None if until_s is None or until_s <= at_s else until_s

    return replace(
        state,
        granted_until_s=running(state.granted_until_s),
        exit_until_s=running(state.exit_until_s),
        kept_open_until_s=running(state.kept_open_until_s),
    )


def _wanted_until_s(state: DoorState, at_s: float, settings: DoorSettings) -> float:
    """Until when the strike should be released as things stand; not after `at_s`: locked."""
    ends_s = [
        until_s for until_s in (state.granted_until_s, state.exit_until_s) if until_s is not None
    ]
    if state.kept_open_until_s is not None:
        ends_s.append(min(state.kept_open_until_s, at_s + settings.renew_for_s))
    if state.exit_pressed:
        ends_s.append(at_s + settings.renew_for_s)
    if state.fire:
        ends_s.append(at_s + settings.fire_for_s)
    return max(ends_s, default=float("-inf"))


def _actuated(
    state: DoorState, at_s: float, settings: DoorSettings
) -> tuple[DoorState, tuple[Release | Lock, ...]]:
    """Tell the strike what changed, and again what is so whenever time is due.

    A driver may lock before the time asked for (`ports.Strike`), hence the renewals of a grant.
    """
    until_s = _wanted_until_s(state, at_s, settings)
    if until_s > at_s:
        due = state.next_at_s is not None and at_s >= state.next_at_s
        if state.released and until_s == state.released_until_s and not due:
            return state, ()
        after = replace(state, released=True, released_until_s=until_s)
        return after, (Release(min(until_s - at_s, _release_s_max(settings))),)
    if not state.released:
        return state, ()
    ended_s = min(state.released_until_s, at_s)
    return replace(state, released=False, released_until_s=ended_s), (Lock(),)


def _release_s_max(settings: DoorSettings) -> float:
    """No single release is longer, even if the instants make no sense."""
    return max(settings.release_s_max, settings.exit_s, settings.renew_for_s, settings.fire_for_s)


def _held_at_s(state: DoorState, settings: DoorSettings) -> float | None:
    """When the opening of now becomes too long, if it can."""
    if settings.held_open_s == 0 or state.contact is not Contact.OPEN:
        return None
    if state.alarm is not None or _stands_open(state):
        return None
    return max(state.opened_at_s, state.released_until_s) + settings.held_open_s


def _held_judged(
    state: DoorState, at_s: float, settings: DoorSettings
) -> tuple[DoorState, tuple[DoorEvent, ...]]:
    """Raise the held alarm when it is time; an opening that is now allowed is held no more."""
    if state.alarm is Alarm.HELD and _stands_open(state):
        event = DoorEvent(kind=DoorEventKind.HELD, at_s=at_s, cleared=True)
        return replace(state, alarm=None), (event,)
    held_at_s = _held_at_s(state, settings)
    if held_at_s is None or at_s < held_at_s:
        return state, ()
    event = DoorEvent(kind=DoorEventKind.HELD, at_s=at_s, cleared=False)
    return replace(state, alarm=Alarm.HELD), (event,)


def _next_at_s(state: DoorState, at_s: float, settings: DoorSettings) -> float | None:
    """When time alone will change something or a release is to be renewed."""
    instants_s = [_held_at_s(state, settings)]
    if state.released:
        instants_s += [state.released_until_s, at_s + settings.renew_every_s]
    return min((instant_s for instant_s in instants_s if instant_s is not None), default=None)
