"""An explanation foresees what time does to visits, by the line's own functions."""

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from edgegate.explain.model import CostView
from edgegate.passes.model import (
    Contract,
    Day,
    Hours,
    Location,
    Pass,
    Per,
    Unit,
)
from edgegate.passes.reasons import ClosingReason, Reason
from edgegate.store.files import Store
from fakes.memory_world import EVENING, LATE, World, rule_of


@pytest.fixture
def world() -> Iterator[World]:
    store = Store.open(":memory:")
    with closing(store):
        yield World(store)


def test_running_minutes_and_the_end_of_the_visit_are_told(world: World) -> None:
    world.put(Pass(id="m", holder="jonas", name="Hours", unit=Unit.MINUTE, amount=90))
    began = LATE - timedelta(minutes=30)
    world.enter(began)
    told = world.explain()
    p = told.passes[0]
    assert p.left is not None
    assert (p.left.remaining, p.left.running_s) == (90, 1800)
    assert rule_of(p, "F-09").why == "90 of 90 minutes left, 30 min of them running now"
    assert told.visit is not None
    assert told.visit.ends_at == began + timedelta(minutes=90)
    assert told.visit.ends_for is ClosingReason.USED_UP


def test_windows_that_touch_do_not_end_a_visit(world: World) -> None:
    hours = (Hours(from_="09:00", to="18:00"), Hours(from_="18:00", to="20:00"))
    world.put(Pass(id="u", holder="jonas", unit=Unit.UNLIMITED, hours=hours))
    world.enter(LATE)
    for at in (LATE, LATE + timedelta(hours=1)):
        visit = world.explain(at=at).visit
        assert visit is not None
        assert visit.ends_at == datetime(2026, 11, 20, 19, tzinfo=UTC)
        assert visit.ends_for is ClosingReason.WINDOW_ENDED


def test_a_visit_that_closes_before_the_instant_asked_about_covers_nothing_then(
    world: World,
) -> None:
    world.put(Pass(id="v", holder="jonas", amount=2, per=Per.VISIT))
    world.enter(LATE)
    assert world.explain().reason is Reason.COVERED
    tomorrow = world.explain(at=LATE + timedelta(days=1))
    assert (tomorrow.reason, tomorrow.visit) == (Reason.PASS, None)
    assert any("played through" in note for note in tomorrow.notes)


def test_minutes_that_will_have_run_out_are_foreseen_with_what_takes_over(world: World) -> None:
    slow = Pass(id="u", holder="jonas", unit=Unit.UNLIMITED, valid_from=LATE + timedelta(hours=1))
    world.put(Pass(id="m", holder="jonas", unit=Unit.MINUTE, amount=90), slow)
    world.enter(LATE)
    soon = world.explain(at=LATE + timedelta(minutes=89))
    assert soon.passes[1].part == "covers"
    later = world.explain(at=LATE + timedelta(hours=2))
    assert [p.stopped_at for p in later.passes] == [None, "F-09"]
    assert later.passes[1].left is not None
    assert later.passes[1].left.remaining == 0
    assert later.visit is not None
    assert later.visit.pass_ is not None
    assert (later.visit.pass_.id, later.visit.since) == ("u", LATE + timedelta(minutes=90))
    assert later.visit.ends_for is ClosingReason.CUTOFF


def test_a_coverage_outlasts_the_visit_that_closes_meanwhile(world: World) -> None:
    short = Location(
        id="mill", name="Mill Lane", timezone="Europe/Berlin", auto_checkout_after_minutes=60
    )
    world.put(short, Pass(id="p", holder="jonas", amount=1))
    world.enter(LATE)
    told = world.explain(at=LATE + timedelta(hours=2))
    assert (told.reason, told.visit) == (Reason.COVERED, None)
    assert told.passes[0].left is not None
    assert told.passes[0].left.remaining == 0


def test_what_a_pass_costs_is_told_for_the_instant_at_which_it_would_pay(world: World) -> None:
    slot = msgspec.structs.replace(EVENING, per=Per.SLOT)
    stretch = Pass(id="w", holder="jonas", amount=5, per=Per.WINDOW, window_minutes=120)
    world.put(slot, stretch, Pass(id="x", holder="jonas", amount=1, locations=("dock",)))
    world.enter(LATE)
    told = {p.id: p.cost for p in world.explain(at=LATE + timedelta(seconds=30)).passes}
    assert told["evening"] == CostView(amount=1, until=datetime(2026, 11, 20, 22, tzinfo=UTC))
    assert told["w"] == CostView(amount=0, until=LATE + timedelta(hours=2))
    assert told["x"] is None


def test_the_cutoff_goes_before_a_window_that_ends_with_it(world: World) -> None:
    world.put(Pass(id="u", holder="jonas", unit=Unit.UNLIMITED, hours=(Hours(days=(Day.FRI,)),)))
    world.enter(LATE)
    visit = world.explain().visit
    assert visit is not None
    assert visit.ends_for is ClosingReason.CUTOFF


def test_a_visit_that_began_after_the_instant_is_pointed_out(world: World) -> None:
    world.put(Pass(id="u", holder="jonas", unit=Unit.UNLIMITED))
    world.enter(LATE)
    told = world.explain(at=LATE - timedelta(hours=1))
    assert any("only after this instant" in note for note in told.notes)


def test_the_visit_of_an_unlimited_pass_ends_with_its_contract(world: World) -> None:
    ends = LATE + timedelta(hours=2)
    world.put(
        Contract(id="c", holder="jonas", plan="Pro", ends_at=ends),
        Pass(id="u", holder="jonas", unit=Unit.UNLIMITED, contract="c"),
    )
    world.enter(LATE)
    told = world.explain()
    assert told.visit is not None
    assert (told.visit.ends_at, told.visit.ends_for) == (ends, ClosingReason.CONTRACT_ENDED)
    assert [(c.plan, c.runs) for c in told.contracts] == [("Pro", True)]
