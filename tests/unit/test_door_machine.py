"""The door machine, case by case: what each event does to the strike and what is reported."""

import itertools

import pytest

from edgegate.doors.events import Cause, DoorEvent, DoorEventKind
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
    actuation,
    step,
)
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

SETTINGS = DoorSettings(exit_s=5.0, held_open_s=30.0, forced_grace_s=1.0)
CLOSED = DoorState(contact=Contact.CLOSED)


def play(
    *events: Event, state: DoorState = CLOSED, settings: DoorSettings = SETTINGS
) -> tuple[DoorState, list[Action]]:
    """The state after all events, and the actions of the last alone."""
    actions: tuple[Action, ...] = ()
    for event in events:
        state, actions = step(state, event, settings)
    return state, list(actions)


def report(kind: DoorEventKind, at_s: float, *, cleared: bool) -> Emit:
    return Emit(DoorEvent(kind=kind, at_s=at_s, cleared=cleared))


def reports(actions: list[Action]) -> list[str]:
    return [
        action.event.kind.value + ("-" if action.event.cleared else "")
        for action in actions
        if isinstance(action, Emit)
    ]


def strike(actions: list[Action]) -> list[Action]:
    return [action for action in actions if not isinstance(action, Emit)]


def test_a_grant_releases_and_its_end_locks() -> None:
    state, actions = play(Grant(at_s=10, for_s=4))
    unlocked = DoorEvent(kind=DoorEventKind.UNLOCKED, at_s=10, cause=Cause.GRANT, for_s=4)
    assert actions == [Release(4), Emit(unlocked)]
    assert play(Tick(at_s=13.9), state=state)[1] == [Release(pytest.approx(0.1))]  # type: ignore[arg-type] # equality is asked of approx
    state, actions = play(Tick(at_s=14), state=state)
    assert actions == [Lock()]
    assert (state.released, state.next_at_s) == (False, None)


def test_a_release_is_renewed_each_second_because_a_driver_may_end_it_early() -> None:
    state, _ = play(Grant(at_s=0, for_s=2.5))
    assert state.next_at_s == 1
    state, actions = play(Tick(at_s=1), state=state)
    assert actions == [Release(1.5)]
    state, _ = play(Tick(at_s=2), state=state)
    assert state.next_at_s == 2.5


@pytest.mark.parametrize("for_s", [0.0, -1.0, float("nan"), float("-inf")])
def test_a_grant_of_no_length_changes_nothing(for_s: float) -> None:
    state, actions = play(Grant(at_s=10, for_s=for_s))
    assert (state, actions) == (CLOSED, [])


def test_an_endless_grant_is_cut_to_the_limit() -> None:
    _, actions = play(Grant(at_s=0, for_s=float("inf")))
    assert strike(actions) == [Release(SETTINGS.release_s_max)]


def test_a_shorter_grant_does_not_shorten_a_longer() -> None:
    state, actions = play(Grant(at_s=0, for_s=10), Grant(at_s=0.5, for_s=2))
    assert (strike(actions), reports(actions)) == ([], ["unlocked"])
    assert state.released_until_s == 10


def test_the_door_locks_again_when_the_visitor_has_closed_it() -> None:
    state, actions = play(Grant(at_s=0, for_s=10), ContactOpened(at_s=1), ContactClosed(at_s=3))
    assert (strike(actions), reports(actions)) == ([Lock()], ["closed"])
    assert (state.released_until_s, state.next_at_s) == (3, None)


def test_without_relock_on_close_the_grant_runs_to_its_end() -> None:
    settings = DoorSettings(relock_on_close=False)
    state, actions = play(
        Grant(at_s=0, for_s=10), ContactOpened(at_s=1), ContactClosed(at_s=3), settings=settings
    )
    assert Lock() not in actions
    assert state.released_until_s == 10


def test_a_grant_given_while_the_leaf_is_open_outlives_the_closing() -> None:
    state, actions = play(
        Grant(at_s=0, for_s=5),
        ContactOpened(at_s=1),
        Grant(at_s=2, for_s=5),
        ContactClosed(at_s=3),
    )
    assert Lock() not in actions
    assert state.released_until_s == 7


def test_the_strike_locks_in_time_though_the_leaf_stands_open() -> None:
    _, actions = play(Grant(at_s=0, for_s=5), ContactOpened(at_s=1), Tick(at_s=5))
    assert actions == [Lock()]


def test_held_open_is_raised_once_and_cleared_by_closing() -> None:
    state, _ = play(Grant(at_s=0, for_s=5), ContactOpened(at_s=1), Tick(at_s=5))
    assert state.next_at_s == 35
    assert play(Tick(at_s=34.9), state=state)[1] == []
    state, actions = play(Tick(at_s=35), state=state)
    assert actions == [report(DoorEventKind.HELD, 35, cleared=False)]
    assert (state.alarm, state.next_at_s) == (Alarm.HELD, None)
    assert play(Tick(at_s=99), state=state)[1] == []
    state, actions = play(ContactClosed(at_s=100), state=state)
    assert reports(actions) == ["closed", "held-"]
    assert state.alarm is None


def test_the_held_alarm_can_be_off() -> None:
    settings = DoorSettings(held_open_s=0)
    state, actions = play(
        Grant(at_s=0, for_s=5), ContactOpened(at_s=1), Tick(at_s=9999), settings=settings
    )
    assert (reports(actions), state.next_at_s) == ([], None)


def test_keeping_a_held_door_open_makes_it_right_and_starts_again_afterwards() -> None:
    held, _ = play(Grant(at_s=0, for_s=5), ContactOpened(at_s=1), Tick(at_s=35))
    state, actions = play(KeepOpen(at_s=40, until_s=100), state=held)
    assert reports(actions) == ["unlocked", "held-"]
    state, actions = play(Tick(at_s=59), LockNow(at_s=60), state=state)
    assert (strike(actions), state.next_at_s) == ([Lock()], 90)
    assert reports(play(Tick(at_s=90), state=state)[1]) == ["held"]


def test_an_opening_that_nothing_allowed_is_forced_until_it_closes() -> None:
    state, actions = play(ContactOpened(at_s=50))
    assert reports(actions) == ["opened", "forced"]
    assert state.alarm is Alarm.FORCED
    assert reports(play(Tick(at_s=500), state=state)[1]) == []
    state, actions = play(ContactClosed(at_s=600), state=state)
    assert reports(actions) == ["closed", "forced-"]
    assert reports(play(ContactOpened(at_s=700), state=state)[1]) == ["opened", "forced"]


def test_a_leaf_that_moves_a_little_late_is_still_the_visitors() -> None:
    locked, _ = play(Grant(at_s=0, for_s=5), Tick(at_s=5))
    assert reports(play(ContactOpened(at_s=6), state=locked)[1]) == ["opened"]
    assert reports(play(ContactOpened(at_s=6.1), state=locked)[1]) == ["opened", "forced"]


def test_an_opening_heard_of_late_is_judged_by_when_it_happened() -> None:
    locked, _ = play(Grant(at_s=0, for_s=5), Tick(at_s=20))
    assert reports(play(ContactOpened(at_s=3), state=locked)[1]) == ["opened"]


def test_where_people_leave_by_a_plain_handle_nothing_is_forced() -> None:
    settings = DoorSettings(forced_alarm=False)
    assert reports(play(ContactOpened(at_s=50), settings=settings)[1]) == ["opened"]


def test_an_exit_request_releases_and_its_opening_is_not_forced() -> None:
    state, actions = play(ExitRequested(at_s=0))
    left = DoorEvent(kind=DoorEventKind.EXIT, at_s=0, cause=Cause.EXIT_BUTTON, for_s=5)
    assert actions == [Release(5), Emit(left)]
    assert reports(play(ContactOpened(at_s=2), state=state)[1]) == ["opened"]
    assert play(Tick(at_s=5), state=state)[1] == [Lock()]


def test_pressing_again_prolongs_and_is_not_reported_again() -> None:
    state, actions = play(ExitRequested(at_s=0), ExitRequested(at_s=3))
    assert actions == [Release(5)]
    assert state.released_until_s == 8


def test_the_next_one_who_leaves_is_reported_again() -> None:
    _, actions = play(ExitRequested(at_s=0), Tick(at_s=5), ExitRequested(at_s=6))
    assert reports(actions) == ["exit"]


def test_a_button_that_stays_pressed_keeps_the_way_out_open() -> None:
    state, _ = play(ExitRequested(at_s=0, pressed=True))
    for at_s in range(1, 20):
        state, actions = play(Tick(at_s=at_s), state=state)
        assert len(strike(actions)) == 1
        assert state.released_until_s > at_s + 1
    _, actions = play(ExitEnded(at_s=20), state=state)
    assert actions == [Lock()]


@pytest.mark.parametrize("locking", [LockNow(at_s=1), LockdownOn(at_s=1)])
def test_locking_ends_what_lets_in_but_not_somebodys_way_out(locking: Event) -> None:
    into, _ = play(Grant(at_s=0, for_s=20), KeepOpen(at_s=0, until_s=100))
    state, actions = play(locking, state=into)
    assert strike(actions) == [Lock()]
    assert (state.granted_until_s, state.kept_open_until_s) == (None, None)
    out, _ = play(ExitRequested(at_s=0))
    assert Lock() not in play(locking, state=out)[1]


def test_lockdown_refuses_to_keep_open_and_lets_staff_and_leavers_through() -> None:
    state, actions = play(LockdownOn(at_s=0))
    assert reports(actions) == ["lockdown"]
    assert play(KeepOpen(at_s=1, until_s=50), state=state) == (state, [])
    assert strike(play(ExitRequested(at_s=1), state=state)[1]) == [Release(5)]
    assert strike(play(Grant(at_s=1, for_s=3), state=state)[1]) == [Release(3)]
    assert play(LockdownOn(at_s=2), state=state)[1] == []
    _, actions = play(LockdownOff(at_s=3), state=state)
    assert actions == [report(DoorEventKind.LOCKDOWN, 3, cleared=True)]


def test_fire_overrides_lockdown_and_locks_only_when_cleared() -> None:
    state, actions = play(LockdownOn(at_s=0), FireRaised(at_s=1))
    assert actions == [Release(SETTINGS.fire_for_s), report(DoorEventKind.FIRE, 1, cleared=False)]
    for event in (LockNow(at_s=2), LockdownOn(at_s=3), LockdownOff(at_s=4), ContactOpened(at_s=5)):
        state, actions = play(event, state=state)
        assert strike(actions) == [Release(SETTINGS.fire_for_s)]
        assert "forced" not in reports(actions)
    state, actions = play(ContactClosed(at_s=6), state=state)
    assert strike(actions) == [Release(SETTINGS.fire_for_s)]
    _, actions = play(FireCleared(at_s=7), state=state)
    assert actions == [Lock(), report(DoorEventKind.FIRE, 7, cleared=True)]


def test_under_fire_no_door_is_open_too_long() -> None:
    held, _ = play(Grant(at_s=0, for_s=5), ContactOpened(at_s=1), Tick(at_s=35))
    assert reports(play(FireRaised(at_s=40), state=held)[1]) == ["fire", "held-"]


def test_an_exit_that_outlives_the_fire_is_cut_to_its_own_time() -> None:
    _, actions = play(FireRaised(at_s=0), ExitRequested(at_s=8), FireCleared(at_s=10))
    assert strike(actions) == [Release(3)]


def test_keeping_open_is_many_short_releases() -> None:
    state, actions = play(KeepOpen(at_s=0, until_s=3600))
    assert strike(actions) == [Release(SETTINGS.renew_for_s)]
    assert state.next_at_s == SETTINGS.renew_every_s
    _, actions = play(Tick(at_s=1), state=state)
    assert actions == [Release(SETTINGS.renew_for_s)]
    state, actions = play(Tick(at_s=3599.5), state=state)
    assert (actions, state.next_at_s) == ([Release(0.5)], 3600)
    assert play(Tick(at_s=3600), state=state)[1] == [Lock()]


def test_the_same_order_to_keep_open_is_reported_once_and_a_past_one_ends_it() -> None:
    state, actions = play(KeepOpen(at_s=0, until_s=50))
    kept = DoorEvent(kind=DoorEventKind.UNLOCKED, at_s=0, cause=Cause.KEEP_OPEN, for_s=50)
    assert actions[1:] == [Emit(kept)]
    assert reports(play(KeepOpen(at_s=1, until_s=50), state=state)[1]) == []
    assert reports(play(KeepOpen(at_s=1, until_s=20), state=state)[1]) == ["unlocked"]
    assert play(KeepOpen(at_s=1, until_s=0), state=state)[1] == [Lock()]


def test_a_door_is_not_kept_open_for_ever_by_one_order() -> None:
    state, _ = play(KeepOpen(at_s=0, until_s=float("inf")))
    assert state.kept_open_until_s == SETTINGS.keep_open_s_max


def test_a_door_found_open_is_not_forced_but_is_held_in_the_end() -> None:
    state, actions = play(ContactOpened(at_s=5), state=DoorState())
    assert actions == [Emit(DoorEvent(kind=DoorEventKind.OPENED, at_s=5, found=True))]
    assert reports(play(Tick(at_s=35), state=state)[1]) == ["held"]


def test_a_door_found_closed_is_no_news() -> None:
    state, actions = play(ContactClosed(at_s=5), state=DoorState())
    assert (state.contact, actions) == (Contact.CLOSED, [])


def test_an_alarm_outlives_its_contact_and_ends_when_the_leaf_is_found_closed() -> None:
    state, actions = play(ContactOpened(at_s=0), ContactLost(at_s=1))
    assert (state.alarm, state.contact, actions) == (Alarm.FORCED, Contact.UNKNOWN, [])
    assert play(ContactOpened(at_s=2), state=state)[1] == []
    _, actions = play(ContactClosed(at_s=2), state=state)
    closed = Emit(DoorEvent(kind=DoorEventKind.CLOSED, at_s=2, found=True))
    assert actions == [closed, report(DoorEventKind.FORCED, 2, cleared=True)]


def test_a_door_without_a_contact_raises_no_alarm() -> None:
    state, actions = play(Grant(at_s=0, for_s=5), Tick(at_s=5), Tick(at_s=500), state=DoorState())
    assert (actions, state.alarm, state.contact) == ([], None, Contact.UNKNOWN)


def test_a_strike_that_comes_back_is_told_what_is_left() -> None:
    state, _ = play(Grant(at_s=0, for_s=5))
    assert actuation(state, 2) == Release(3)
    assert actuation(state, 5) == Lock()
    assert actuation(CLOSED, 0) == Lock()
    locked, _ = play(LockNow(at_s=2), state=state)
    assert actuation(locked, 1) == Lock()


def test_the_strike_is_always_driven_before_anything_is_reported() -> None:
    kinds: list[Event] = [
        Grant(at_s=1, for_s=2),
        KeepOpen(at_s=1, until_s=9),
        ExitRequested(at_s=1),
        ContactOpened(at_s=1),
        ContactClosed(at_s=1),
        FireRaised(at_s=1),
        FireCleared(at_s=1),
        LockdownOn(at_s=1),
        LockNow(at_s=1),
    ]
    for events in itertools.permutations(kinds, 3):
        _, actions = play(*events)
        order = [isinstance(action, Emit) for action in actions]
        assert order == sorted(order)


@pytest.mark.parametrize(
    ("event", "data"),
    [
        (
            DoorEvent(kind=DoorEventKind.UNLOCKED, at_s=1, cause=Cause.GRANT, for_s=2.5),
            {"cause": "grant", "for_ms": 2500},
        ),
        (DoorEvent(kind=DoorEventKind.HELD, at_s=1, cleared=False), {"cleared": False}),
        (DoorEvent(kind=DoorEventKind.OPENED, at_s=1, found=True), {"found": True}),
        (
            DoorEvent(kind=DoorEventKind.FIRE, at_s=1, cleared=True, strike_answered=False),
            {"cleared": True, "strike_answered": False},
        ),
    ],
)
def test_the_ledger_gets_only_what_applies(event: DoorEvent, data: dict[str, object]) -> None:
    assert event.data() == data
    assert event.ledger_type == f"edgegate.door.{event.kind}"
