"""An explanation as people and as programs read it."""

import json
import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import msgspec
import pytest
from rich.console import Console

from edgegate.explain import Explanation, explain, render, to_json
from edgegate.passes.model import Pass, Unit
from edgegate.store.files import Store
from edgegate.store.reading import open_for_reading, reading_books
from fakes.memory_world import EVENING, LATE, World, balance, lines, plain


@pytest.fixture
def world() -> Iterator[World]:
    store = Store.open(":memory:")
    with closing(store):
        yield World(store)


def test_the_text_reads_without_colour_and_colour_changes_no_letter(world: World) -> None:
    world.put(EVENING, balance("evening", 4))
    told = world.explain()
    assert plain(told) == EXPECTED
    assert "\x1b" not in plain(told)
    console = Console(width=120, force_terminal=True, color_system="standard")
    with console.capture() as captured:
        console.print(render(told))
    coloured = captured.get()
    assert "\x1b[1;33m" in coloured
    assert lines(re.sub(r"\x1b\[[0-9;]*m", "", coloured)) == EXPECTED


def test_a_long_line_goes_on_below_itself(world: World) -> None:
    world.put(Pass(id="p", holder="jonas", amount=1, door_groups=("a" * 20, "b" * 20)))
    text = plain(world.explain(), width=60).splitlines()
    at = next(number for number, line in enumerate(text) if line.startswith("   F-07"))
    assert text[at + 1].startswith(" " * 25)
    assert all(len(line) <= 60 for line in text)


EXPECTED = """\
Jonas Weber [jonas] at door Front door [front], Mill Lane [mill]
Friday 20 November at 17:59, Europe/Berlin

REFUSED: outside_hours; works Friday 20 November at 18:00
  the member reads  Your pass starts at 18:00.
  staff read        Works in 1 min.

customer  active, contact, of team Acme [acme]

1. Evening pass [evening]: stopped at F-08; the refusal names it
   F-01 state     held   active
   F-02 started   held   no start set
   F-03 not ended held   no end set
   F-04 date      held   for any date
   F-05 location  held   for every location
   F-06 audience  held   for members and contacts
   F-07 channel   held   opens every door that is no resource's
   F-08 hours     FAILED Mon\u2013Fri 18:00\u201323:00, now Friday 17:59
   F-09 balance   held   4 of 10 left
   left   4 of 10 (balance 4, 0 debited here and not counted in it)
   costs  1, covers until midnight
   works  Friday 20 November at 18:00, in 1 min"""


def test_a_name_cannot_steer_the_terminal_or_be_read_as_markup(world: World) -> None:
    world.put(Pass(id="p", holder="jonas", name="\x1b[2J[red]Day", amount=1))
    text = plain(world.explain())
    assert "\x1b" not in text
    assert "[red]Day [p]" in text


def test_json_holds_all_of_it_and_is_read_back(world: World) -> None:
    world.put(EVENING, Pass(id="m", holder="acme", unit=Unit.MINUTE, amount=90))
    world.enter(LATE)
    told = world.explain()
    text = to_json(told)
    assert msgspec.json.decode(text, type=Explanation) == told
    data = json.loads(text)
    assert data["passes"][0]["rules"][7]["id"] == "F-08"
    assert data["visit"]["pass"]["id"] == "m"
    assert data["at"] == "2026-11-20T16:59:00Z"


def test_it_reads_files_that_are_open_for_reading_only(tmp_path: Path) -> None:
    store = Store.open(tmp_path)
    world = World(store)
    world.put(EVENING, Pass(id="m", holder="jonas", unit=Unit.MINUTE, amount=90))
    store.ledger.execute("BEGIN IMMEDIATE")
    world.enter(LATE)
    store.ledger.execute("COMMIT")
    told = world.explain()
    with open_for_reading(tmp_path) as files:
        assert explain(reading_books(files), "jonas", "front", None, LATE) == told
    store.close()
