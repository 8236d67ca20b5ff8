"""The cache may be deleted at any time: whoever is inside stays so until the cloud has spoken."""

from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from edgegate.checkin import enter
from edgegate.deadlines import reconsider, resume, settle
from edgegate.passes.facts import Request
from edgegate.passes.happenings import Closed
from edgegate.passes.model import Channel, Customer, Location, Pass, Record, Unit
from edgegate.passes.reasons import ClosingReason
from edgegate.store import cache, ledger
from edgegate.store.files import Store
from edgegate.store.projection import happening_of
from fakes.memory_world import World

AT = datetime(2026, 3, 2, 9, tzinfo=UTC)
HOUR = timedelta(hours=1)
CUTOFF = datetime(2026, 3, 3, tzinfo=UTC)
HQ = Location(id="hq")
ANA = Customer(id="ana")


def closings(world: World) -> list[tuple[ClosingReason, datetime]]:
    told = (happening_of(entry) for entry in ledger.entries(world.store.ledger))
    return [(h.reason, h.at) for h in told if isinstance(h, Closed)]


def come(world: World) -> None:
    enter(world.books, Request(at=AT, location=HQ, channel=Channel.KIOSK), ANA)


@pytest.mark.parametrize(
    "held",
    [
        Pass(id="p", holder="ana", amount=10),
        Pass(id="p", holder="ana", amount=120, unit=Unit.MINUTE),
        Pass(id="p", holder="ana", unit=Unit.UNLIMITED, expires_at=AT + HOUR),
    ],
)
def test_nobody_is_sent_off_by_a_cache_that_is_made_again(tmp_path: Path, held: Pass) -> None:
    records: tuple[Record, ...] = (HQ, ANA, held)
    with closing(Store.open(tmp_path, now=lambda: 1.0)) as store:
        world = World(store)
        world.put(*records)
        come(world)
    (tmp_path / "cache.db").unlink()
    with closing(Store.open(tmp_path, now=lambda: 2.0)) as store:
        world = World(store)
        resume(world.books)
        settle(world.books, AT + 10 * HOUR)
        assert [session.customer for session in world.books.sessions()] == ["ana"]
        world.put(*records)
        world.books.forget_places()
        reconsider(world.books, AT + 10 * HOUR)
        settle(world.books, AT + 10 * HOUR)
        assert [at for _, at in closings(world)] == [AT + 10 * HOUR] * (held.unit is not Unit.USE)


def test_the_day_ends_a_visit_without_a_cache(tmp_path: Path) -> None:
    with closing(Store.open(tmp_path, now=lambda: 1.0)) as store:
        world = World(store)
        world.put(HQ, ANA, Pass(id="p", holder="ana", amount=10))
        come(world)
    (tmp_path / "cache.db").unlink()
    with closing(Store.open(tmp_path, now=lambda: 2.0)) as store:
        world = World(store)
        resume(world.books)
        settle(world.books, CUTOFF + HOUR)
        assert closings(world) == [(ClosingReason.CUTOFF, CUTOFF)]


def test_a_place_that_goes_while_the_daemon_runs_ends_nothing_by_time(tmp_path: Path) -> None:
    with closing(Store.open(tmp_path, now=lambda: 1.0)) as store:
        world = World(store)
        world.put(HQ, ANA, Pass(id="p", holder="ana", amount=120, unit=Unit.MINUTE))
        come(world)
        for kind, id_ in ((cache.LOCATION, "hq"), (cache.CUSTOMER, "ana"), (cache.PASS, "p")):
            cache.delete(store.cache, kind, id_)
        world.books.forget_places()
        settle(world.books, AT + 10 * HOUR)
        assert [session.customer for session in world.books.sessions()] == ["ana"]
