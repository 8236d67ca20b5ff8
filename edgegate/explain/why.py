"""The facts behind each rule of the chain, in one plain clause; the chain alone judges them."""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from itertools import groupby

from msgspec import Struct

from edgegate.passes.coverage import costs_nothing
from edgegate.passes.facts import Facts, Request, day_of
from edgegate.passes.model import (
    Audience,
    Channel,
    Day,
    HolidayRule,
    Hours,
    Pass,
    PassState,
    Unit,
)
from edgegate.sentences.walltime import WallClock

DASH = "\u2013"

_STATES = {
    PassState.ACTIVE: "active",
    PassState.AWAITING_APPROVAL: "waits for approval",
    PassState.REJECTED: "turned down",
    PassState.CANCELLED: "cancelled",
}


class Scene(Struct, frozen=True, kw_only=True):
    """What the clauses are told from."""

    request: Request
    facts: Facts
    clock: WallClock
    place: Callable[[str], str]
    """The name of a location by its id."""


def why(rule: str, p: Pass, scene: Scene) -> str:
    """The facts that a rule, by its id, goes by for a pass."""
    return _CLAUSES[rule](p, scene)


def _state(p: Pass, _scene: Scene) -> str:
    return _STATES[p.state] + (", payment on hold" if p.payment_hold else "")


def _started(p: Pass, scene: Scene) -> str:
    contract = scene.facts.contract_of(p)
    starts_at = contract.starts_at if contract is not None else None
    return _bounds(p, scene, "from", "start", (p.valid_from, starts_at))


def _not_ended(p: Pass, scene: Scene) -> str:
    contract = scene.facts.contract_of(p)
    ends_at = contract.ends_at if contract is not None else None
    return _bounds(p, scene, "until", "end", (p.expires_at, ends_at))


def _bounds(
    p: Pass, scene: Scene, word: str, noun: str, bounds: tuple[datetime | None, datetime | None]
) -> str:
    """Where the pass begins or ends, and where its contract does."""
    own, of_contract = (
        f"no {noun} set" if at is None else f"{word} {scene.clock.moment(at)}" for at in bounds
    )
    if p.contract is None:
        return own
    contract = scene.facts.contract_of(p)
    if contract is None:
        return f"{own}; its contract is not known here"
    return f"{own}; its contract{_named(contract.plan)}: {of_contract}"


def _date(p: Pass, scene: Scene) -> str:
    if p.on_date is None:
        return "for any date"
    today = day_of(scene.request.location, scene.request.at).name
    return f"for {scene.clock.long_date(p.on_date)} only, today is {scene.clock.long_date(today)}"


def _location(p: Pass, scene: Scene) -> str:
    here = scene.place(scene.request.location.id)
    if p.unit is Unit.CREDIT:
        return f"a credit pass, and {here} has no price in credits"
    if p.locations:
        return f"for {_list(map(scene.place, p.locations))}; this is {here}"
    if p.home is None:
        return "for every location"
    return f"for {scene.place(p.home)} and all that lies in it; this is {here}"


def _audience(p: Pass, scene: Scene) -> str:
    if p.audience is Audience.ALL:
        return "for members and contacts"
    kind = scene.facts.kind(scene.request.at).value.removesuffix("s")
    if p.audience is not Audience.PLANS:
        return f"for {p.audience.value}; this is a {kind}"
    plans = [c.plan for c in scene.facts.active_contracts(scene.request.at)]
    return f"for members on {_list(p.plans)}; this is a {kind} on {_list(plans)}"


def _channel(p: Pass, scene: Scene) -> str:
    door = scene.request.door
    if scene.request.channel is Channel.WIFI:
        return "has Wi-Fi" if p.wifi else "has no Wi-Fi"
    if door is None:
        return "at the desk no door is asked for"
    if door.resource is not None:
        return f"opens resources: {_list(p.resources)}; this door is of {door.resource}"
    if p.door_groups:
        return f"opens groups: {_list(p.door_groups)}; this door is in: {_list(door.groups)}"
    if p.resources:
        return f"opens the doors of its resources only: {_list(p.resources)}"
    return "opens every door that is no resource's"


def _hours(p: Pass, scene: Scene) -> str:
    told = _list(_entry(entry, scene) for entry in p.hours) if p.hours else "at any hour"
    if p.holidays is HolidayRule.CLOSED:
        holiday = scene.clock.day(scene.request.at) in scene.request.location.holidays
        told += ", not on holidays" + (" (today is one)" if holiday else "")
    return f"{told}, now {_now(scene)}" if p.hours else told


def _balance(p: Pass, scene: Scene) -> str:
    remaining = scene.facts.remaining[p.id]
    match p.unit:
        case Unit.UNLIMITED:
            return "no limit"
        case Unit.CREDIT:
            return f"{remaining / 100:.2f} of {p.amount / 100:.2f} credits left"
        case Unit.USE:
            return f"{remaining} of {p.amount} left" + _paid_for(p, scene)
        case Unit.MINUTE:
            running = scene.facts.running_time(p, scene.request.at)
            now = f", {scene.clock.duration(running)} of them running now" if running else ""
            return f"{remaining} of {p.amount} minutes left{now}"


def _paid_for(p: Pass, scene: Scene) -> str:
    paid = costs_nothing(p, scene.request, scene.facts)
    return ", and this entry is paid for" if paid else ""


def _entry(entry: Hours, scene: Scene) -> str:
    """One entry of the hours, as days and times."""
    return f"{_days(entry.days, scene)} {_wall(entry.from_)}{DASH}{_wall(entry.to)}"


def _days(days: Iterable[Day], scene: Scene) -> str:
    """Weekdays, three or more in a row as a range."""
    names = scene.clock.language.weekdays_short
    numbers = [number for number, day in enumerate(Day) if day in set(days)]
    if len(numbers) == len(names):
        return "daily"
    rows = [
        [number for _, number in row]
        for _, row in groupby(enumerate(numbers), lambda pair: pair[1] - pair[0])
    ]
    return ", ".join(
        f"{names[row[0]]}{DASH}{names[row[-1]]}"
        if len(row) > 2
        else ", ".join(names[number] for number in row)
        for row in rows
    )


def _wall(wall: str) -> str:
    return wall.removeprefix("0")


def _now(scene: Scene) -> str:
    clock = scene.clock
    weekday = clock.language.weekdays[clock.day(scene.request.at).weekday()]
    return f"{weekday} {clock.wall(scene.request.at)}"


def _named(name: str) -> str:
    return f" {name}" if name else ""


def _list(names: Iterable[str]) -> str:
    return ", ".join(name for name in names if name) or "none"


_CLAUSES: Mapping[str, Callable[[Pass, Scene], str]] = {
    "F-01": _state,
    "F-02": _started,
    "F-03": _not_ended,
    "F-04": _date,
    "F-05": _location,
    "F-06": _audience,
    "F-07": _channel,
    "F-08": _hours,
    "F-09": _balance,
}
