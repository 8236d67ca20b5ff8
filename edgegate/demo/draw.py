"""Draws the live screen's picture: plain words first, colour only repeats them."""

import statistics
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import pairwise

from rich.console import Group, RenderableType
from rich.layout import Layout
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from edgegate.demo.cloudside import Way
from edgegate.demo.site import JON, PEOPLE, Person
from edgegate.demo.stage import Stage, Tap, Where
from edgegate.demo.watch import Visit, brief, data_of
from edgegate.doors.state import Contact
from edgegate.doors.status import DoorStatus, DoorWord
from edgegate.passes.model import CredentialKind
from edgegate.sentences import member, staff
from edgegate.store.chain import Entry

PAUSED_BEFORE = (JON,)
LEFT_COLUMNS = 33
KEYS = (
    ("o", "go through", "p", "prop open"),
    ("s", "shove open", "x", "exit button"),
    ("t", "fire alarm", "u", "(un)plug reader"),
    ("w", "tap elsewhere", "z", "unknown card"),
)
CLOUD_KEYS = (("1", "sell", "2", "top up", "3", "pause", "4", "off"),)
"""What staff do in the cloud, for whoever tapped last."""

TIMES_MS = (2, 3, 4, 6, 10)
"""Where one bar of the histogram ends and the next begins."""

BARS = " ▁▂▃▄▅▆▇█"

ALARM = "bold white on red"
GRANTED = "green"
REFUSED = "yellow"
FAINT = "dim"
KEY = "bold cyan"

WORDS: dict[DoorWord, tuple[str, str]] = {
    DoorWord.FIRE: ("FIRE, open", ALARM),
    DoorWord.NOT_ANSWERING: ("does not answer", ALARM),
    DoorWord.FORCED: ("ALARM: forced open", ALARM),
    DoorWord.HELD: ("ALARM: held open", ALARM),
    DoorWord.LOCKDOWN: ("lockdown", ALARM),
    DoorWord.KEPT_OPEN: ("kept open", GRANTED),
    DoorWord.UNLOCKED: ("UNLOCKED", GRANTED),
    DoorWord.LOCKED: ("locked", ""),
}


def draw(stage: Stage, where: Where, whom: Person, note: str) -> RenderableType:
    """The whole screen as things are now; it is rendered later and may be so elsewhere."""
    layout = Layout()
    layout.split_column(
        Layout(_header(stage), size=1),
        Layout(name="body"),
        Layout(_times(stage.wire_to_relay_ms()), size=1),
        Layout(Text(f" {note}", style="bold", no_wrap=True, overflow="ellipsis"), size=1),
    )
    layout["body"].split_row(
        Layout(name="left", size=LEFT_COLUMNS), Layout(" ", size=1), Layout(name="right")
    )
    layout["left"].split_column(
        Layout(_section(f"A letter taps at the {where.value}", _members(stage)), size=14),
        Layout(_section("Keys", _keys(KEYS)), size=5),
        Layout(_section(f"In the cloud, for {whom.name}", _keys(CLOUD_KEYS))),
    )
    layout["right"].split_column(
        Layout(_section("Doors and devices", _doors(stage)), size=5),
        Layout(_section("Taps, the newest first", _taps(stage)), ratio=3, minimum_size=8),
        Layout(_section("Inside now", _inside(stage)), ratio=1, minimum_size=4),
        Layout(_section(_ledger_title(stage), _entries(stage)), ratio=2, minimum_size=4),
    )
    return layout


def _section(title: str, content: RenderableType) -> RenderableType:
    return Group(Rule(Text(title, style="bold"), align="left", style=FAINT), content)


def _header(stage: Stage) -> RenderableType:
    line = Table.grid(expand=True)
    line.add_column()
    line.add_column(justify="right")
    line.add_row(
        Text(" edgegate demo: all is real but readers and doors", style="bold"),
        Text.assemble(("q", KEY), " quits  ", f"{stage.clock():%H:%M:%S} "),
    )
    return line


def _grid(*styles: str) -> Table:
    """Columns that are never wrapped; the last one takes the room that is left."""
    table = Table.grid(padding=(0, 1), expand=True)
    for style in styles[:-1]:
        table.add_column(style=style, no_wrap=True)
    table.add_column(style=styles[-1], no_wrap=True, ratio=1, overflow="ellipsis")
    return table


def _members(stage: Stage) -> Table:
    table = _grid(KEY, "", "")
    inside = {visit.name for visit in stage.seen.inside}
    for person in PEOPLE:
        name = Text(person.name, style="bold green" if person.name in inside else "")
        table.add_row(person.key, name, _holds(stage, person))
    return table


def _holds(stage: Stage, person: Person) -> str:
    seen = stage.seen
    holds = person.holds.format(left=seen.left.get(person.customer, 0))
    sold = seen.sold.get(person.customer)
    if person.customer in seen.paused and person not in PAUSED_BEFORE:
        return "paused by the desk"
    if sold:
        holds = (
            f"{sold} day{'s' if sold > 1 else ''} sold"
            if person.pass_ is None
            else f"{holds} +{sold}"
        )
    return holds if person.kind is CredentialKind.NFC_UID else f"{holds} (code)"


def _keys(rows: Sequence[tuple[str, ...]]) -> Table:
    table = _grid(*(KEY, "") * (len(rows[0]) // 2))
    for row in rows:
        table.add_row(*row)
    return table


def _doors(stage: Stage) -> Table:
    table = _grid("", "")
    table.add_row("Front", _door(stage.door("front")))
    table.add_row("Lounge", _door(stage.door("lounge")))
    table.add_row("Devices", _devices(stage))
    table.add_row("Cloud", _cloud(stage))
    return table


def _cloud(stage: Stage) -> Text:
    """How the exchange goes: the connection, what waits to be uploaded, the newest change."""
    cloud, seen = stage.cloud, stage.seen
    way = cloud.way()
    if cloud.doing:
        text = Text(cloud.doing, style=REFUSED)
    elif way is Way.AWAY:
        text = Text("connecting" if cloud.is_up else "stopped", style=REFUSED)
    else:
        text = Text(way.value, style=GRANTED)
    text.append(f"; {seen.waiting} waiting", style="default")
    if seen.changed_at is not None:
        text.append(f"; changed {stage.site.local(seen.changed_at):%H:%M:%S}", FAINT)
    return text


def _door(door: DoorStatus) -> Text:
    word, style = WORDS[door.word]
    text = Text.assemble((word, style))
    if door.word is DoorWord.UNLOCKED and door.until_s is not None:
        text.append(f", locks in {max(0.0, door.until_s - door.at_s):.1f} s")
    if door.contact is Contact.OPEN:
        text.append("; leaf open")
    return text


def _devices(stage: Stage) -> Text:
    offline = stage.offline()
    if not offline:
        return Text("all answer")
    return Text(f"{', '.join(offline)}: offline", style=REFUSED)


def _taps(stage: Stage) -> RenderableType:
    if not stage.taps:
        return Text("None yet.", style=FAINT)
    return Group(*(line for tap in reversed(stage.taps) for line in _tap(stage, tap)))


def _tap(stage: Stage, tap: Tap) -> Iterator[Text]:
    outcome = tap.passage.outcome
    sign, style = ("✓", GRANTED) if tap.passage.opened else ("✗", REFUSED)
    head = Text.assemble(
        (f"{sign} {tap.person.name}", f"bold {style}"), (f", {tap.where.value}", FAINT)
    )
    if outcome is not None:
        head.append(f", {stage.site.local(outcome.at):%H:%M:%S}", FAINT)
    if tap.wire_to_relay_ms is not None:
        head.append(f", {tap.wire_to_relay_ms:.1f} ms", FAINT)
    yield head
    if outcome is None:
        yield Text("  Opened at once: leaving asks nobody.")
        return
    yield Text(f"  “{member(outcome)}”")
    yield Text(f"  staff: “{staff(outcome)}”", style=FAINT)


def _inside(stage: Stage) -> RenderableType:
    if not stage.seen.inside:
        return Text("Nobody.", style=FAINT)
    table = _grid("bold", "")
    for visit in sorted(stage.seen.inside, key=_ends):
        table.add_row(visit.name, _pays(stage, visit))
    return table


def _ends(visit: Visit) -> datetime:
    """Those whose time runs out first come first."""
    return visit.empty_at or visit.until or datetime.max.replace(tzinfo=UTC)


def _pays(stage: Stage, visit: Visit) -> Text:
    if visit.empty_at is not None:
        left_s = max(0, round((visit.empty_at - datetime.now(UTC)).total_seconds()))
        text = Text(f"{left_s // 60}:{left_s % 60:02} min left", style="bold")
        text.append(
            f", then {visit.next_pass}" if visit.next_pass else ", then out", style="not bold"
        )
        return text
    if visit.until is not None:
        until = f"{stage.site.local(visit.until):%H:%M}"
        return Text(f"{visit.pass_}, until {'midnight' if until == '00:00' else until}")
    return Text(f"{visit.pass_}, no limit")


def _ledger_title(stage: Stage) -> str:
    seen = stage.seen
    chain = f"{seen.faults} FAULTS" if seen.faults else "chain holds"
    return f"Ledger: {seen.count} entries, {chain}"


def _entries(stage: Stage) -> Table:
    table = _grid(FAINT, FAINT, "")
    for entry in reversed(stage.seen.entries[-40:]):
        at = f"{stage.site.local(entry.at):%H:%M:%S}"
        table.add_row(str(entry.sequence), at, _entry(entry))
    return table


def _entry(entry: Entry) -> str:
    data = data_of(entry)
    who = data.get("customer") or data.get("name") or (entry.subject or "").partition("/")[2]
    return f"{brief(entry)} · {who}" if who else brief(entry)


def _times(times_ms: list[float]) -> Text:
    if not times_ms:
        return Text(" From the reader's wire to the door's relay: no tap yet.", style=FAINT)
    median_ms = statistics.median(times_ms)
    text = Text(f" Wire to relay: median {median_ms:.1f} ms of {len(times_ms)}  ", no_wrap=True)
    counts = list(_counts(times_ms))
    between = (f"{low}-{high}" for low, high in pairwise(TIMES_MS))
    names = [f"<{TIMES_MS[0]}", *between, f"{TIMES_MS[-1]}+"]
    for name, count in zip(names, counts, strict=True):
        bar = BARS[-(-count * (len(BARS) - 1) // max(counts))]
        text.append(f"{name} ", style=FAINT)
        text.append(f"{bar * 2} ", style=GRANTED)
    return text


def _counts(times_ms: list[float]) -> Iterator[int]:
    """How many times lie below, between and above the limits."""
    for low_ms, high_ms in pairwise((0, *TIMES_MS, float("inf"))):
        yield sum(low_ms <= time_ms < high_ms for time_ms in times_ms)
