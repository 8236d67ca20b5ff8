"""Runs one door: steps its machine with what happens, drives its strike, follows its sensors.

Commands are plain calls that drive the strike before they return: nothing is awaited between a
decision and the lock. Everything here belongs to the event loop's thread.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from msgspec.structs import replace

from edgegate.doors import machine
from edgegate.doors.events import Cause, DoorEvent
from edgegate.doors.state import DoorSettings, DoorState, Emit, Lock, Release
from edgegate.doors.status import DoorStatus, SensorPresence, status_of
from edgegate.ports import DeviceAbsentError, OperatingError, Sensor, Strike

RETRY_S = 1.0
"""How soon a strike that did not answer is told again what it should do."""

log = logging.getLogger(__name__)


async def follow(sensor: Sensor, on_level: Callable[[bool, float | None], None]) -> None:
    """Tell the level as it is now, its instant None, then each change with its instant; for ever.

    Raises:
        OperatingError: when the sensor goes away.
    """
    on_level(sensor.active, None)
    async for edge in sensor.edges():
        on_level(edge.active, edge.read_ns / 1e9)
    raise DeviceAbsentError("the sensor ended without saying why")


class DoorRunner:
    """One door: its state, its strike, its sensors.

    Devices come and go: `use_strike`, `use_contact` and `use_exit_button` are what
    `supervisor.keep` takes for them. Those given to the constructor are open already and nobody
    opens them again: when one goes, the door goes on without it.

    `emit` gets each event as it happens, must return at once, and must not raise.
    """

    def __init__(
        self,
        settings: DoorSettings,
        strike: Strike | None,
        contact: Sensor | None,
        exit_button: Sensor | None,
        emit: Callable[[DoorEvent], None],
        clock_s: Callable[[], float] = time.monotonic,
        *,
        name: str = "door",
    ) -> None:
        self._settings = settings
        self._emit = emit
        self._clock_s = clock_s
        self._name = name
        self._state = DoorState()
        self._given = (strike, contact, exit_button)
        self._strike: Strike | None = None
        self._strike_failed = asyncio.Event()
        self._failure: OperatingError | None = None
        self._fault: Exception | None = DeviceAbsentError("no strike yet")
        self._contact_sensor = SensorPresence.NONE
        self._exit_button = SensorPresence.NONE
        self._woken = asyncio.Event()
        self._broken: Exception | None = None
        self._stopped = False
        if strike is not None:
            self.attach_strike(strike)

    def open(self, for_s: float) -> bool:
        """Unlock for a grant; whether the strike took it. Whoever decided knows of a lockdown."""
        self._step(machine.Grant(at_s=self._clock_s(), for_s=for_s))
        return self._released_for_sure()

    def exit(self, cause: Cause = Cause.EXIT_READER) -> bool:
        """Unlock for somebody who leaves; whether the strike took it."""
        self._step(machine.ExitRequested(at_s=self._clock_s(), cause=cause))
        return self._released_for_sure()

    def keep_open(self, until_s: float) -> bool:
        """Keep unlocked until an instant of the clock; whether it is so now.

        A later call replaces the order, an instant that has passed ends it. A lockdown refuses it
        and ends it for good: whoever keeps a schedule asks again afterwards.
        """
        self._step(machine.KeepOpen(at_s=self._clock_s(), until_s=until_s))
        return self._state.kept_open_until_s is not None and self._released_for_sure()

    def lock(self) -> None:
        """End grants and keeping open; fire and somebody's way out stay."""
        self._step(machine.LockNow(at_s=self._clock_s()))

    def fire(self, active: bool) -> None:
        """Follow the fire input: released for as long as it is active."""
        event = machine.FireRaised if active else machine.FireCleared
        self._step(event(at_s=self._clock_s()))

    def lockdown(self, on: bool) -> None:
        """Begin or end a lockdown: it locks at once and lets people leave."""
        event = machine.LockdownOn if on else machine.LockdownOff
        self._step(event(at_s=self._clock_s()))

    def tick(self) -> None:
        """Let time pass; `run` does so whenever it is due."""
        self._step(machine.Tick(at_s=self._clock_s()))

    def status(self) -> DoorStatus:
        """The door as it is now."""
        return status_of(
            self._state,
            at_s=self._clock_s(),
            fault=None if self._fault is None else str(self._fault),
            contact_sensor=self._contact_sensor,
            exit_button=self._exit_button,
        )

    def attach_strike(self, strike: Strike) -> None:
        """Drive this strike from now on, beginning with what the door should be now."""
        self._strike = strike
        self._failure = None
        self._strike_failed.clear()
        self._drive(machine.actuation(self._state, self._clock_s()))
        self._woken.set()

    def detach_strike(self, strike: Strike, why: Exception | None = None) -> None:
        """Leave this strike locked, if it still listens, and drive it no more."""
        if self._strike is strike:
            self._leave_locked()
            self._strike = None
            self._fault = why or DeviceAbsentError("the strike was taken away")

    async def use_strike(self, strike: Strike) -> None:
        """Drive this strike until it fails a command or goes away.

        Raises:
            OperatingError: why it is of no more use; the door then shows `not answering`.
        """
        failure: Exception = DeviceAbsentError("the strike was taken away")
        self.attach_strike(strike)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(strike.watch(), name=f"{self._name} strike watch")
                group.create_task(self._command_failed(), name=f"{self._name} strike commands")
        except* OperatingError as failures:
            failure = failures.exceptions[0]
        finally:
            self.detach_strike(strike, failure)
        raise failure

    async def use_contact(self, contact: Sensor) -> None:
        """Follow this contact until it goes away; the leaf is then where nobody knows.

        Raises:
            OperatingError: when the contact goes away.
        """
        try:
            await follow(contact, self._on_contact)
        finally:
            self._contact_sensor = SensorPresence.LOST
            self._step(machine.ContactLost(at_s=self._clock_s()))

    async def use_exit_button(self, button: Sensor) -> None:
        """Follow this button until it goes away; it then counts as let go.

        Raises:
            OperatingError: when the button goes away.
        """
        try:
            await follow(button, self._on_exit_button)
        finally:
            self._exit_button = SensorPresence.LOST
            self._step(machine.ExitEnded(at_s=self._clock_s()))

    async def run(self) -> None:
        """Keep the door's time for ever, and follow the sensors of the constructor.

        However it ends, the strike is left locked (`stop`).

        Raises:
            ExceptionGroup: of a fault in the door's own code, whichever call met it: the process
                must end.
        """
        _, contact, button = self._given
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._keep_time(), name=f"{self._name} time")
                if contact is not None:
                    use = self._until_gone(self.use_contact(contact), "contact")
                    group.create_task(use, name=f"{self._name} contact")
                if button is not None:
                    use = self._until_gone(self.use_exit_button(button), "exit button")
                    group.create_task(use, name=f"{self._name} exit button")
        finally:
            self.stop()

    def stop(self) -> None:
        """Leave the strike locked; a fail-safe one stays released while fire is active.

        Final: what still happens while the other tasks end must not release it again.
        """
        self._leave_locked()
        self._stopped = True

    async def _command_failed(self) -> None:
        await self._strike_failed.wait()
        if self._failure is not None:
            raise self._failure

    async def _keep_time(self) -> None:
        while True:
            if self._broken is not None:
                raise self._broken
            self._woken.clear()
            try:
                async with asyncio.timeout(self._wait_s()):
                    await self._woken.wait()
            except TimeoutError:
                self._on_time()

    def _wait_s(self) -> float | None:
        waits_s = []
        if self._state.next_at_s is not None:
            waits_s.append(max(0.0, self._state.next_at_s - self._clock_s()))
        if self._strike is not None and self._fault is not None:
            waits_s.append(RETRY_S)
        return min(waits_s, default=None)

    def _on_time(self) -> None:
        self.tick()
        if self._fault is not None:
            self._drive(machine.actuation(self._state, self._clock_s()))

    async def _until_gone(self, use: Awaitable[None], what: str) -> None:
        try:
            await use
        except OperatingError as error:
            log.warning("%s: the %s is gone: %s", self._name, what, error)

    def _on_contact(self, active: bool, at_s: float | None) -> None:
        self._contact_sensor = SensorPresence.ANSWERING
        # The instant of the change decides whether it was allowed, not when it was heard of.
        now_s = self._clock_s()
        event = machine.ContactOpened if active else machine.ContactClosed
        self._step(event(at_s=now_s if at_s is None else min(at_s, now_s)))

    def _on_exit_button(self, active: bool, _: float | None) -> None:
        self._exit_button = SensorPresence.ANSWERING
        # Whoever pressed has the whole time from now on, even if it was heard of late.
        now_s = self._clock_s()
        if active:
            self._step(machine.ExitRequested(at_s=now_s, pressed=True))
        else:
            self._step(machine.ExitEnded(at_s=now_s))

    def _step(self, event: machine.Event) -> None:
        try:
            self._state, actions = machine.step(self._state, event, self._settings)
            for action in actions:
                if isinstance(action, Emit):
                    self._emit(self._with_answer(action.event))
                else:
                    self._drive(action)
        except Exception as error:  # raised on, and again by `run`: a broken door ends the process
            self._broken = error
            raise
        finally:
            self._woken.set()

    def _with_answer(self, event: DoorEvent) -> DoorEvent:
        asks = event.kind in machine.RELEASING and event.cleared is not True
        return replace(event, strike_answered=self._released_for_sure()) if asks else event

    def _drive(self, action: Release | Lock) -> None:
        if self._strike is None or self._stopped:
            return
        try:
            if isinstance(action, Release):
                self._strike.release(action.for_s)
            else:
                self._strike.lock()
        except OperatingError as error:
            if self._fault is None:
                log.warning("%s: the strike does not answer: %s", self._name, error)
            self._fault = self._failure = error
            self._strike_failed.set()
        else:
            if self._fault is not None:
                log.info("%s: the strike answers", self._name)
            self._fault = None

    def _released_for_sure(self) -> bool:
        return self._state.released and self._fault is None and not self._stopped

    def _leave_locked(self) -> None:
        if self._strike is None:
            return
        if self._state.fire and self._settings.fail_safe:
            self._strike.leave_released()
            return
        try:
            self._strike.lock()
        except OperatingError as error:
            log.warning("%s: the strike could not be left locked: %s", self._name, error)
