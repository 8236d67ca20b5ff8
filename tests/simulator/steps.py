"""What can happen in a simulated space, and how it is told like a scenario."""

from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Any

import msgspec

from edgegate.passes.model import Record
from edgegate.store import cache
from edgegate.store.books import Books
from oracle.clock import INSTANT
from oracle.worlds import Draw
from simulator import spaces
from simulator.spaces import CUSTOMERS, DOORS, PLACES

KIND_OF: dict[type[Any], cache.Kind[Any]] = {kind.type: kind for kind in cache.KINDS.values()}

HIDDEN = ("tick", "crash", "outage")
"""What must leave no trace in the ledger: a look at the clock, a restart, a time without power."""

WEIGHTS = {
    "tap": 48,
    "exit": 8,
    "checkin": 12,
    "checkout": 4,
    "wifi": 14,
    "wifi_stop": 10,
    "put": 8,
    "delete": 2,
    "crash": 2,
    "outage": 1,
    "offline": 1,
    "online": 4,
    "tick": 6,
    "lockdown": 1,
    "release": 12,
    "untrust": 1,
    "trust": 8,
    "clock": 1,
}
"""How often each thing happens; "clock" sets it back, where it may."""

SCALE = [name for name, weight in WEIGHTS.items() for _ in range(weight)]

WORDS = {"crash": 'restart = "crash"', "offline": "offline = true", "online": "offline = false"}


@dataclass(frozen=True)
class Step:
    """One thing that happens at an instant, complete in itself: others may be left out."""

    at: datetime
    action: str
    customer: str | None = None
    place: str | None = None
    """A door for taps and exits, else a location."""
    record: Record | None = None
    remaining: int | None = None

    def text(self) -> str:
        """The step as in a scenario file, as far as those have a word for it."""
        return f"[[step]]\nat = {self.at.isoformat()}\n{self._action_text()}"

    def _action_text(self) -> str:
        match self.action:
            case "tap" | "exit":
                return f'{self.action} = {{ customer = "{self.customer}", door = "{self.place}" }}'
            case "checkin" | "checkout" | "wifi" | "wifi_stop":
                who = f'customer = "{self.customer}", location = "{self.place}"'
                return f"{self.action} = {{ {who} }}"
            case "put" | "delete" if self.record is not None:
                return self._change_text(self.record)
            case _:
                return WORDS.get(self.action, f"# {self.action}")

    def _change_text(self, record: Record) -> str:
        kind = KIND_OF[type(record)].name
        if self.action == "delete":
            return f'delete = {{ kind = "{kind}", id = "{record.id}" }}'
        extra = {} if self.remaining is None else {"remaining": self.remaining}
        return f'put = {{ kind = "{kind}", body = {toml(record, extra)} }}'


def toml(record: Record, extra: dict[str, Any] | None = None) -> str:
    """A record as an inline table, without what is as by default."""
    said = {"id": record.id}
    for known in msgspec.structs.fields(record):
        value = getattr(record, known.name)
        if known.name != "id" and value != known.default and value not in ((), {}, None):
            said[known.encode_name] = value
    pairs = (f"{name} = {inline(value)}" for name, value in (said | (extra or {})).items())
    return "{ " + ", ".join(pairs) + " }"


def inline(value: Any) -> str:
    """A value as TOML has it."""
    match value:
        case bool() | int():
            text = str(value).lower()
        case datetime() | date():
            text = value.isoformat()
        case tuple() | list():
            text = "[" + ", ".join(inline(part) for part in value) + "]"
        case dict():
            text = "{ " + ", ".join(f"{k} = {inline(v)}" for k, v in value.items()) + " }"
        case msgspec.Struct():
            text = inline(msgspec.to_builtins(value))
        case _:
            text = f'"{value}"'
    return text


def scenario(records: list[Record], steps: list[Step]) -> str:
    """A space and what happened in it, like a scenario file."""
    tables = [f"[[{KIND_OF[type(r)].name}]]  # {toml(r)}" for r in records]
    return "\n".join(tables) + "\n\n" + "\n\n".join(step.text() for step in steps)


def next_step(draw: Draw, books: Books, *, clock_steps: bool) -> Step:
    """Something that happens next, often just when something falls due."""
    action = draw.one(SCALE)
    if action == "clock" and clock_steps:
        draw.at -= draw.number(1, 90) * draw.one([timedelta(seconds=1), timedelta(minutes=1)])
        return Step(at=draw.at, action="tick")
    draw.at = later(draw, books)
    customer, place = draw.one(CUSTOMERS), draw.one([*[PLACES[0]] * 3, *PLACES])
    step = Step(draw.at, "tick" if action == "clock" else action)
    match action:
        case "tap":
            step = replace(step, customer=customer, place=draw.one(DOORS[place]))
        case "exit":
            out = "out" if place == "house" else "annex-out"
            step = replace(step, customer=customer, place=out)
        case "checkin" | "checkout" | "wifi":
            step = replace(step, customer=customer, place=place)
        case "wifi_stop":
            # Somebody who is on it, if there is anybody: else it would hardly ever matter (S-06).
            on = [(s.customer, s.location) for s in books.sessions() if s.wifi]
            customer, place = draw.one(on or [(customer, place)])
            step = replace(step, customer=customer, place=place)
        case "put":
            left = draw.one([0, 1, 5, 60]) if draw.maybe(1, 5) else None
            step = replace(step, record=spaces.change(draw), remaining=left)
        case "delete":
            step = replace(step, record=spaces.change(draw))
    return step


def later(draw: Draw, books: Books) -> datetime:
    """Moments, minutes or hours later, or at, just before or just after a deadline."""
    deadline = books.next_deadline()
    if deadline is not None and deadline > draw.at and draw.maybe(1, 4):
        beside = deadline + draw.number(-1, 1) * draw.one([INSTANT, timedelta(seconds=1)])
        if beside > draw.at:
            return beside
    unit = draw.one([timedelta(seconds=7), timedelta(minutes=1), timedelta(minutes=20)])
    far = timedelta(hours=draw.number(1, 16)) if draw.maybe(1, 20) else draw.number(1, 5) * unit
    return draw.at + far
