"""Replays scenario files through the line's own functions, with a simulated clock and in memory."""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
from msgspec import UNSET, Struct

from edgegate.checkin import Outcome, at_reader, enter, leave, wifi_stopped
from edgegate.deadlines import reconsider, resume, settle, view
from edgegate.passes.facts import Request
from edgegate.passes.happenings import Charged, Closed, WifiDisconnected
from edgegate.passes.model import (
    Balance,
    Channel,
    Counted,
    Credential,
    CredentialKind,
    Pass,
)
from edgegate.passes.reasons import ClosingReason
from edgegate.passes.visits import deadline
from edgegate.ports import ClockTrust
from edgegate.scenario import Arrival, AtDoor, AtLocation, Scenario, Step
from edgegate.store import cache, ledger
from edgegate.store.books import Books
from edgegate.store.cache import Kind
from edgegate.store.files import Store
from edgegate.store.projection import happening_of, rebuild

DEVICE = "device"
SOURCE = f"edgegate/replay/{DEVICE}"
STAMP = ledger.Stamp(source=SOURCE, clock=ClockTrust.TRUSTED, boot_id="replay", monotonic_s=0.0)


PLAIN = (
    *("opens", "reason", "because", "pass", "offer", "retry_at", "sessions"),
    *("session_timeout", "wifi_disconnected"),
)
"""What is compared as it stands."""


class Difference(Struct, frozen=True):
    """What came out otherwise than expected; `step` counts from 1."""

    step: int
    field: str
    expected: Any
    got: Any


class Replayed(Struct, frozen=True):
    """What came of a scenario."""

    file: str
    title: str
    passed: bool
    failed: list[Difference]
    steps: list[dict[str, Any]]


def replay(scenario: Scenario) -> Replayed:
    """Run a scenario and compare each step with what it expects."""
    world = World(scenario)
    failed: list[Difference] = []
    steps = []
    for number, step in enumerate(scenario.steps):
        result = world.run(step, scenario.arrivals.get(number))
        steps.append({"at": step.at, **result})
        failed += _differences(number + 1, step, result)
    return Replayed(
        file=scenario.file,
        title=scenario.title,
        passed=not failed,
        failed=failed,
        steps=steps,
    )


class World:
    """One appliance in memory, and a cloud that sends it what the scenario says."""

    def __init__(self, scenario: Scenario) -> None:
        self._store = Store.open(":memory:")
        # Here the cloud's side writes the cache too, and there is no other transaction.
        self._store.cache.execute("PRAGMA query_only = OFF")
        self._books = Books(self._store, lambda: STAMP)
        self._down = False
        self._seen = 0
        for kind, record in scenario.records:
            self._put(kind, record, scenario.remaining.get(record.id))
        self._passes = [r.id for _, r in scenario.records if isinstance(r, Pass)]

    def run(self, step: Step, arrival: Arrival | None) -> dict[str, Any]:
        """Let time run to a step's instant, do what it says, and tell what is then so."""
        books = self._books
        if not self._down:
            settle(books, step.at)
        answer: dict[str, Any] = {}
        for name in step.actions():
            answer = self._act(name, step, arrival) or {}
        if not self._down:
            settle(books, step.at)
        passes = [p for p in (books.record_of(cache.PASS, i) for i in self._passes) if p]
        return {
            **answer,
            "remaining": books.remaining(passes),
            "sessions": sorted(s.customer for s in books.sessions()),
            **self._since(),
        }

    def _act(self, name: str, step: Step, arrival: Arrival | None) -> dict[str, Any] | None:
        action = getattr(step, name)
        actions: dict[str, Callable[[], dict[str, Any] | None]] = {
            "tap": lambda: self._tap(action, step.at),
            "exit": lambda: self._exit(action, step.at),
            "checkin": lambda: self._check_in(action, step.at),
            "checkout": lambda: self._check_out(action, step.at),
            "wifi": lambda: self._wifi(action, step.at),
            "wifi_stop": lambda: self._wifi_stop(action, step.at),
            "offline": lambda: self._go_offline(step.at, offline=action),
            "put": lambda: self._arrive(arrival, step.at),
            "delete": lambda: self._delete(step, step.at),
            "restart": self._restart,
            "down": lambda: self._go_down(down=action),
        }
        return actions[name]()

    def _tap(self, tap: AtDoor, at: datetime) -> dict[str, Any]:
        books = self._books
        door = books.door(tap.door)
        location = books.location(door.location) if door is not None else None
        if door is None or location is None:
            raise LookupError(f'there is no door "{tap.door}"')
        request = Request(at=at, location=location, channel=Channel.DOOR, door=door)
        credential = self._shown(tap)
        if credential is None:
            return {"opens": False, "reason": "unknown_credential"}
        return _answer(at_reader(books, request, credential))

    def _shown(self, tap: AtDoor) -> Credential | None:
        """What somebody shows: the credential named, or a good one of the customer named."""
        if tap.credential is not None:
            return self._books.record_of(cache.CREDENTIAL, tap.credential)
        if tap.customer is None:
            return None
        return Credential(id=tap.customer, customer=tap.customer, kind=CredentialKind.NFC_UID)

    def _enter(self, customer_id: str, request: Request) -> dict[str, Any]:
        customer = self._books.customer(customer_id)
        if customer is None:
            return {"opens": False, "reason": "unknown_credential"}
        return _answer(enter(self._books, request, customer))

    def _exit(self, way: AtDoor, at: datetime) -> dict[str, Any]:
        door = self._books.door(way.door)
        customer = way.customer
        if way.credential is not None:
            credential = self._books.record_of(cache.CREDENTIAL, way.credential)
            customer = credential.customer if credential is not None else None
        if door is not None and customer is not None:
            leave(self._books, customer, door.location, at)
        return {"opens": True}

    def _check_in(self, at_kiosk: AtLocation, at: datetime) -> dict[str, Any]:
        location = self._books.location(self._place(at_kiosk))
        if location is None:
            raise LookupError(f'there is no location "{at_kiosk.location}"')
        request = Request(at=at, location=location, channel=Channel.KIOSK)
        return self._enter(at_kiosk.customer, request)

    def _wifi(self, at_wifi: AtLocation, at: datetime) -> dict[str, Any]:
        books = self._books
        location = books.location(self._place(at_wifi))
        if location is None:
            raise LookupError(f'there is no location "{at_wifi.location}"')
        request = Request(at=at, location=location, channel=Channel.WIFI)
        answer = self._enter(at_wifi.customer, request)
        session = books.session_of(at_wifi.customer, location.id)
        if answer["opens"] and session is not None:
            facts, view_request = view(books, session, at)
            ends_at = deadline(session, facts, view_request)
            answer["session_timeout"] = (ends_at - at) // timedelta(seconds=1)
        return answer

    def _wifi_stop(self, at_wifi: AtLocation, at: datetime) -> None:
        wifi_stopped(self._books, at_wifi.customer, self._place(at_wifi), at)

    def _go_offline(self, at: datetime, *, offline: bool) -> None:
        self._books.reached_at = at if offline else None

    def _check_out(self, at_kiosk: AtLocation, at: datetime) -> dict[str, Any]:
        place = self._place(at_kiosk)
        leave(self._books, at_kiosk.customer, place, at, ClosingReason.CHECKOUT)
        return {"opens": True}

    def _place(self, at_kiosk: AtLocation) -> str:
        if at_kiosk.location is not None:
            return at_kiosk.location
        return next(cache.every(self._store.cache, cache.LOCATION)).id

    def _arrive(self, arrival: Arrival | None, at: datetime) -> None:
        if arrival is not None:
            if isinstance(arrival.record, Pass) and arrival.record.id not in self._passes:
                self._passes.append(arrival.record.id)
            self._put(arrival.kind, arrival.record, arrival.remaining)
            self._changed(at)

    def _delete(self, step: Step, at: datetime) -> None:
        if step.delete is not None:
            cache.delete(self._store.cache, cache.KINDS[step.delete.kind], step.delete.id)
            if step.delete.kind == "pass":
                cache.delete(self._store.cache, cache.BALANCE, step.delete.id)
            self._changed(at)

    def _changed(self, at: datetime) -> None:
        self._books.forget_places()
        reconsider(self._books, at)

    def _restart(self) -> None:
        """Die and come back: all that a process holds is gone, the tables come from the ledger."""
        rebuild(self._store.ledger)
        self._books = Books(self._store, lambda: STAMP)
        resume(self._books)

    def _go_down(self, *, down: bool) -> None:
        self._down = down
        if not down:
            self._restart()

    def _put(self, kind: Kind[Any], record: Any, remaining: int | None) -> None:
        cache.put(self._store.cache, kind, record)
        if not isinstance(record, Pass):
            return
        known = cache.get(self._store.cache, cache.BALANCE, record.id)
        if remaining is None and known is not None:
            return
        head = ledger.head(self._store.ledger)
        counted = {DEVICE: Counted(epoch=head.epoch, sequence=head.sequence)}
        left = record.amount if remaining is None else remaining
        balance = Balance(pass_=record.id, remaining=left, counted=counted)
        cache.put(self._store.cache, cache.BALANCE, balance)

    def _since(self) -> dict[str, Any]:
        """What the ledger says happened since the step before, by instant, then customer."""
        entries = list(ledger.entries(self._store.ledger))
        fresh = [(happening_of(entry), entry.at) for entry in entries[self._seen :]]
        self._seen = len(entries)
        closed = [h for h, _ in fresh if isinstance(h, Closed)]
        charged = [(h, at) for h, at in fresh if isinstance(h, Charged)]
        gone = [(h, at) for h, at in fresh if isinstance(h, WifiDisconnected)]
        return {
            "closed": [
                {"customer": h.customer, "reason": h.reason, "at": h.at, "minutes": h.minutes}
                for h in sorted(closed, key=lambda h: (h.at, h.customer))
            ],
            "charged": [
                {"customer": h.customer, "offer": h.offer, "amount": h.amount}
                for h, _ in sorted(charged, key=lambda pair: (pair[1], pair[0].customer))
            ],
            "wifi_disconnected": [
                h.customer for h, _ in sorted(gone, key=lambda pair: (pair[1], pair[0].customer))
            ],
        }


def _answer(outcome: Outcome | None) -> dict[str, Any]:
    if outcome is None:
        return {"opens": True}
    decision = outcome.decision
    answer: dict[str, Any] = {"opens": decision.opens, "reason": decision.reason}
    named = {
        "because": decision.because,
        "pass": decision.pass_,
        "offer": decision.offer,
        "retry_at": decision.retry_at,
    }
    return answer | {name: value for name, value in named.items() if value is not None}


def _differences(number: int, step: Step, result: dict[str, Any]) -> Iterator[Difference]:
    expected = step.expect
    for name in PLAIN:
        want = getattr(expected, "pass_" if name == "pass" else name)
        if want is not UNSET and result.get(name) != want:
            yield Difference(number, name, want, result.get(name))
    if expected.remaining is not UNSET:
        for pass_id, left in expected.remaining.items():
            if result["remaining"].get(pass_id) != left:
                got = result["remaining"].get(pass_id)
                yield Difference(number, f"remaining.{pass_id}", left, got)
    if expected.closed is not UNSET and not _like(expected.closed, result["closed"]):
        yield Difference(number, "closed", expected.closed, result["closed"])
    if expected.charged is not UNSET and not _like(expected.charged, result["charged"]):
        yield Difference(number, "charged", expected.charged, result["charged"])


def _like(expected: Sequence[Struct], got: list[dict[str, Any]]) -> bool:
    """Whether as many things happened as expected, each as far as it is described."""
    wanted = [msgspec.to_builtins(visit, builtin_types=(datetime,)) for visit in expected]
    return len(wanted) == len(got) and all(
        all(visit[name] == want[name] for name in want)
        for want, visit in zip(wanted, got, strict=True)
    )


def scenario_files(paths: tuple[Path, ...]) -> list[Path]:
    """The scenario files that are meant: the files named, and those in the folders named."""
    found: list[Path] = []
    for path in paths:
        found += sorted(path.rglob("*.toml")) if path.is_dir() else [path]
    return found
