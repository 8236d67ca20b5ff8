"""Appliances in memory under a simulated clock, and the cloud that a scenario speaks of."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from edgegate.checkin import Outcome, at_reader, enter, leave, unidentified, wifi_stopped
from edgegate.deadlines import reconsider, refresh_all_on, resume, settle, view
from edgegate.passes.coverage import minutes_due
from edgegate.passes.facts import Request
from edgegate.passes.happenings import Charged, Closed, Debited, Refunded, WifiDisconnected
from edgegate.passes.model import (
    Balance,
    Channel,
    Counted,
    Credential,
    CredentialKind,
    Direction,
    Pass,
    Record,
)
from edgegate.passes.reasons import ClosingReason
from edgegate.passes.visits import deadline
from edgegate.ports import ClockTrust
from edgegate.scenario import Arrival, AtDoor, AtLocation, Scenario, Step
from edgegate.store import cache, ledger
from edgegate.store.books import Books
from edgegate.store.cache import Kind
from edgegate.store.chain import Entry
from edgegate.store.files import Store
from edgegate.store.projection import happening_of, project, rebuild

DEVICE = "device"
"""The appliance that is meant where a scenario names none."""

ENTRIES_MAX = 100_000
"""More entries than one step of a scenario can write."""

Answer = dict[str, Any]


class Appliance:
    """One device: its own ledger and visits, and its copy of the cloud's records."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._stamp = ledger.Stamp(
            source=f"edgegate/replay/{name}",
            clock=ClockTrust.TRUSTED,
            boot_id="replay",
            monotonic_s=0.0,
        )
        self.store = Store.open(":memory:", now=lambda: 1.0)
        # Here the cloud's side writes the cache too, and there is no other transaction.
        self.store.cache.execute("PRAGMA query_only = OFF")
        self.books = Books(self.store, lambda: self._stamp)
        self._told = ledger.head(self.store.ledger)
        self._heard: list[Entry] = []

    def restart(self) -> None:
        """Die and come back: all that a process holds is gone, the tables come from the ledger."""
        before = self.books
        rebuild(self.store.ledger)
        for entry in self._heard:
            self._project(entry)
        self.books = Books(self.store, lambda: self._stamp)
        self.books.reached_at = before.reached_at
        resume(self.books)

    @property
    def has_news(self) -> bool:
        """Whether anything was written since `news` was last asked."""
        return ledger.head(self.store.ledger) != self._told

    def news(self) -> list[Entry]:
        """The entries written since this was last asked."""
        fresh = ledger.since(
            self.store.ledger, self._told.epoch, self._told.sequence, limit=ENTRIES_MAX
        )
        self._told = ledger.head(self.store.ledger)
        return fresh

    def hear(self, entries: list[Entry]) -> None:
        """Take what a peer of the same site spent into account (M-01)."""
        for entry in entries:
            happening = self._project(entry)
            if happening is not None:
                self._heard.append(entry)
                refresh_all_on(self.books, [happening.pass_], entry.at)

    def _project(self, entry: Entry) -> Debited | Refunded | None:
        happening = happening_of(entry)
        if not isinstance(happening, Debited | Refunded):
            return None
        project(self.store.ledger, happening, entry)
        return happening

    def put(
        self, kind: Kind[Any], record: Record, remaining: int | None, counted: dict[str, Counted]
    ) -> None:
        """Store a record; a pass brings its balance along, or keeps the one it has."""
        cache.put(self.store.cache, kind, record)
        if not isinstance(record, Pass):
            return
        known = cache.get(self.store.cache, cache.BALANCE, record.id)
        if remaining is None and known is not None:
            return
        left = record.amount if remaining is None else remaining
        balance = Balance(pass_=record.id, remaining=left, counted=counted)
        cache.put(self.store.cache, cache.BALANCE, balance)

    def delete(self, kind: str, record_id: str) -> None:
        """Remove a record, and with a pass its balance."""
        cache.delete(self.store.cache, cache.KINDS[kind], record_id)
        if kind == "pass":
            cache.delete(self.store.cache, cache.BALANCE, record_id)

    @property
    def counted(self) -> Counted:
        """Up to where this device's ledger goes."""
        head = ledger.head(self.store.ledger)
        return Counted(epoch=head.epoch, sequence=head.sequence)


class World:
    """The appliances of a scenario, which hear each other, and their cloud."""

    def __init__(self, scenario: Scenario) -> None:
        self._devices = {name: Appliance(name) for name in _device_names(scenario)}
        self._down = False
        self._timed: list[tuple[str, Debited]] = []
        self._passes = [r.id for _, r in scenario.records if isinstance(r, Pass)]
        for kind, record in scenario.records:
            self._put(kind, record, scenario.remaining.get(record.id))

    def run(self, step: Step, arrival: Arrival | None) -> Answer:
        """Let time run to a step's instant, do what it says, and tell what is then so."""
        happened: list[Entry] = []
        self._settle(step.at, happened)
        answer: Answer = {}
        for name in step.actions():
            answer = self._act(name, step, arrival) or {}
        self._tell(happened)
        self._settle(step.at, happened)
        books = next(iter(self._devices.values())).books
        passes = [p for p in (books.record_of(cache.PASS, i) for i in self._passes) if p]
        inside = (s.customer for device in self._devices.values() for s in device.books.sessions())
        return {
            **answer,
            "remaining": books.remaining(passes),
            "sessions": sorted(inside),
            **_since(happened),
        }

    def _settle(self, at: datetime, happened: list[Entry]) -> None:
        """Fire what fell due on each device; nothing does while the process is dead."""
        if not self._down:
            for device in self._devices.values():
                settle(device.books, at)
            self._tell(happened)

    def _tell(self, happened: list[Entry]) -> None:
        """Let each appliance hear what the others spent, and the cloud settle it."""
        for device in self._devices.values():
            news = device.news()
            happened += news
            for other in self._devices.values():
                if other is not device:
                    other.hear(news)
            for debit in map(happening_of, news):
                if isinstance(debit, Debited) and debit.counts is not None:
                    self._settle_time(device.name, debit)
        if any(device.has_news for device in self._devices.values()):
            self._tell(happened)

    def _settle_time(self, device: str, debit: Debited) -> None:
        """Refund what two devices counted of one customer's time, as the cloud does (M-02)."""
        for other, known in self._timed:
            overlap = _overlap(debit, known) if other != device else timedelta(0)
            if overlap > timedelta(0):
                # The earlier stands.
                mine = (debit.from_, device) > (known.from_, other)
                self._refund(*((device, debit) if mine else (other, known)), overlap)
        self._timed.append((device, debit))

    def _refund(self, device: str, debit: Debited, overlap: timedelta) -> None:
        if debit.counts is None or debit.until is None:
            return
        kept = minutes_due(debit.counts, debit.until - debit.from_ - overlap)
        if kept < debit.amount:
            refund = Refunded(
                pass_=debit.pass_,
                customer=debit.customer,
                location=debit.location,
                session=debit.session,
                amount=debit.amount - kept,
            )
            self._devices[device].books.record([refund], debit.until)

    def _act(self, name: str, step: Step, arrival: Arrival | None) -> Answer | None:
        action = getattr(step, name)
        actions: dict[str, Callable[[], Answer | None]] = {
            "tap": lambda: self._tap(action, step.at),
            "exit": lambda: self._exit(action, step.at),
            "checkin": lambda: self._check_in(action, step.at),
            "checkout": lambda: self._check_out(action, step.at),
            "wifi": lambda: self._wifi(action, step.at),
            "wifi_stop": lambda: self._wifi_stop(action, step.at),
            "offline": lambda: self._go_offline(step.at, offline=action),
            "lockdown": lambda: self._lock_down(on=action),
            "clock": lambda: self._trust_clock(trusted=action == "trusted"),
            "put": lambda: self._arrive(arrival, step.at),
            "delete": lambda: self._delete(step, step.at),
            "restart": self._restart,
            "down": lambda: self._go_down(down=action),
        }
        return actions[name]()

    def _device(self, named: str | None, door_id: str | None = None) -> Appliance:
        """The appliance that a step means: the one it names, its door's, or the first."""
        first = next(iter(self._devices.values()))
        door = first.books.door(door_id) if door_id is not None else None
        return self._devices.get(named or (door.device if door is not None else None) or "", first)

    def _tap(self, tap: AtDoor, at: datetime) -> Answer:
        books = self._device(tap.device, tap.door).books
        door = books.door(tap.door)
        location = books.location(door.location) if door is not None else None
        if door is None or location is None:
            raise LookupError(f'there is no door "{tap.door}"')
        if door.direction is Direction.EXIT:
            return self._exit(tap, at)
        request = Request(at=at, location=location, channel=Channel.DOOR, door=door)
        credential = _shown(tap, books)
        if credential is None:
            return _answer(unidentified(books, request, door, tap.credential or ""))
        return _answer(at_reader(books, request, credential))

    def _exit(self, way: AtDoor, at: datetime) -> Answer:
        """Leave by a door: whichever device opened the visit closes it (M-05)."""
        books = self._device(way.device, way.door).books
        door = books.door(way.door)
        credential = _shown(way, books)
        if door is not None and credential is not None:
            for device in self._devices.values():
                leave(device.books, credential.customer, door.location, at)
        return {"opens": True}

    def _check_in(self, at_kiosk: AtLocation, at: datetime) -> Answer:
        return self._ask(at_kiosk, Channel.KIOSK, at)

    def _wifi(self, at_wifi: AtLocation, at: datetime) -> Answer:
        answer = self._ask(at_wifi, Channel.WIFI, at)
        books = self._device(at_wifi.device).books
        session = books.session_of(at_wifi.customer, self._place(at_wifi))
        if answer["opens"] and session is not None:
            facts, request = view(books, session, at)
            answer["session_timeout"] = (deadline(session, facts, request) - at) // timedelta(
                seconds=1
            )
        return answer

    def _ask(self, who: AtLocation, channel: Channel, at: datetime) -> Answer:
        books = self._device(who.device).books
        location = books.location(self._place(who))
        customer = books.customer(who.customer)
        if location is None:
            raise LookupError(f'there is no location "{who.location}"')
        if customer is None:
            return {"opens": False, "reason": "unknown_credential"}
        return _answer(enter(books, Request(at=at, location=location, channel=channel), customer))

    def _check_out(self, who: AtLocation, at: datetime) -> Answer:
        for device in self._devices.values():
            leave(device.books, who.customer, self._place(who), at, ClosingReason.CHECKOUT)
        return {"opens": True}

    def _wifi_stop(self, who: AtLocation, at: datetime) -> None:
        for device in self._devices.values():
            wifi_stopped(device.books, who.customer, self._place(who), at)

    def _place(self, who: AtLocation) -> str:
        if who.location is not None:
            return who.location
        first = next(iter(self._devices.values()))
        return next(cache.every(first.store.cache, cache.LOCATION)).id

    def _go_offline(self, at: datetime, *, offline: bool) -> None:
        for device in self._devices.values():
            device.books.reached_at = at if offline else None

    def _lock_down(self, *, on: bool) -> None:
        for device in self._devices.values():
            device.books.lockdown = on

    def _trust_clock(self, *, trusted: bool) -> None:
        for device in self._devices.values():
            device.books.clock_trusted = trusted

    def _arrive(self, arrival: Arrival | None, at: datetime) -> None:
        if arrival is not None:
            if isinstance(arrival.record, Pass) and arrival.record.id not in self._passes:
                self._passes.append(arrival.record.id)
            self._put(arrival.kind, arrival.record, arrival.remaining)
            self._changed(at)

    def _delete(self, step: Step, at: datetime) -> None:
        if step.delete is not None:
            for device in self._devices.values():
                device.delete(step.delete.kind, step.delete.id)
            self._changed(at)

    def _changed(self, at: datetime) -> None:
        for device in self._devices.values():
            device.books.forget_places()
            reconsider(device.books, at)

    def _restart(self) -> None:
        for device in self._devices.values():
            device.restart()

    def _go_down(self, *, down: bool) -> None:
        self._down = down
        if not down:
            self._restart()

    def _put(self, kind: Kind[Any], record: Any, remaining: int | None) -> None:
        counted = {name: device.counted for name, device in self._devices.items()}
        for device in self._devices.values():
            device.put(kind, record, remaining, counted)


def _device_names(scenario: Scenario) -> list[str]:
    """The appliances that a scenario speaks of, in the order in which it does."""
    doors = [getattr(record, "device", None) for _, record in scenario.records]
    asked = [
        getattr(getattr(step, name), "device", None)
        for step in scenario.steps
        for name in step.actions()
    ]
    return list(dict.fromkeys(name for name in (*doors, *asked) if name)) or [DEVICE]


def _overlap(one: Debited, other: Debited) -> timedelta:
    """How long two debits counted the same customer's time on the same pass at one location."""
    same = (one.customer, one.location, one.pass_) == (other.customer, other.location, other.pass_)
    if not same or one.until is None or other.until is None:
        return timedelta(0)
    return min(one.until, other.until) - max(one.from_, other.from_)


def _shown(way: AtDoor, books: Books) -> Credential | None:
    """What somebody shows: the credential named, or a good one of the customer named."""
    if way.credential is not None:
        return books.record_of(cache.CREDENTIAL, way.credential)
    if way.customer is None:
        return None
    return Credential(id=way.customer, customer=way.customer, kind=CredentialKind.NFC_UID)


def _since(entries: list[Entry]) -> Answer:
    """What the ledgers say happened since the step before, by instant, then customer."""
    happened = [(happening_of(entry), entry.at) for entry in entries]
    closed = [h for h, _ in happened if isinstance(h, Closed)]
    charged = [(at, h.customer, h) for h, at in happened if isinstance(h, Charged)]
    gone = [(at, h.customer) for h, at in happened if isinstance(h, WifiDisconnected)]
    return {
        "closed": [
            {"customer": h.customer, "reason": h.reason, "at": h.at, "minutes": h.minutes}
            for h in sorted(closed, key=lambda h: (h.at, h.customer))
        ],
        "charged": [
            {"customer": h.customer, "offer": h.offer, "amount": h.amount}
            for _, _, h in sorted(charged, key=lambda c: c[:2])
        ],
        "wifi_disconnected": [customer for _, customer in sorted(gone)],
    }


def _answer(outcome: Outcome | None) -> Answer:
    if outcome is None:
        return {"opens": True}
    decision = outcome.decision
    answer: Answer = {"opens": decision.opens, "reason": decision.reason}
    named = {
        "because": decision.because,
        "pass": decision.pass_,
        "offer": decision.offer,
        "retry_at": decision.retry_at,
    }
    return answer | {name: value for name, value in named.items() if value is not None}
