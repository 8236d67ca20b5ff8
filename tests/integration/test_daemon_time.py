"""Time that passes while the daemon is off or asleep, and a clock that jumps."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import msgspec
import pytest

from edgegate import checkin
from edgegate.app import App
from edgegate.clock import SystemClock, since_boot_s
from edgegate.config import load_config
from edgegate.line import Passage
from edgegate.passes.model import (
    Credential,
    CredentialKind,
    Customer,
    Door,
    Location,
    Pass,
    Priority,
    Unit,
)
from edgegate.ports import ClockTrust, Correction
from edgegate.store import ledger
from edgegate.store.books import Books
from edgegate.store.files import Store
from edgegate.store.ledger import EntryType, Stamp
from edgegate_emulators.board import Board
from fakes.appliance import running
from fakes.robustness import WAIT_S, Place, show_code, tap, until
from fakes.sites import put_records


def test_what_changed_while_it_was_off_ends_a_visit_at_the_start(place: Place) -> None:
    """Deadlines are derived anew at each start, from what the records say then."""
    terms = Pass(id="m", holder="bob", unit=Unit.MINUTE, amount=600, priority=Priority.HIGH)
    place.site.put(terms)
    with Board(place.site.board) as board:
        with place.daemon() as daemon:
            assert tap(board, "bob") == "granted"
            assert daemon.terminate() == 0
        assert place.entries(EntryType.SESSION_CLOSED) == []
        place.site.put(msgspec.structs.replace(terms, expires_at=datetime.now(UTC)))
        with place.daemon() as daemon:
            until(lambda: bool(place.entries(EntryType.SESSION_SEGMENT)), "nothing ended")
            assert daemon.terminate() == 0
    assert place.entries(EntryType.SESSION_SEGMENT)[0]["reason"] == "expired"
    place.verify()


def test_who_taps_the_morning_after_finds_the_evening_settled_first() -> None:
    """No timer has run since: the tap itself ends yesterday's visit, as of yesterday's end."""
    store = Store.open(":memory:")
    put_records(
        store,
        [
            Location(id="hq"),
            Door(id="front", location="hq"),
            Customer(id="ana"),
            Pass(id="ten", holder="ana", amount=10),
            Credential(id="c", customer="ana", kind=CredentialKind.QR_STATIC, lookup="number"),
        ],
    )
    stamp = Stamp(source="edgegate/s/pi", clock=ClockTrust.TRUSTED, boot_id="b", monotonic_s=0.0)
    books = Books(store, lambda: stamp)
    evening = datetime(2026, 5, 4, 20, tzinfo=UTC)
    morning = datetime(2026, 5, 5, 8, tzinfo=UTC)
    for at in (evening, morning):
        outcome = checkin.present(books, "front", "number", at)
        assert outcome is not None
        assert outcome.decision.opens
    (visit,) = books.sessions()
    assert visit.opened_at == morning
    kinds = [(entry.type, entry.at) for entry in ledger.entries(store.ledger)]
    closed = kinds.index((EntryType.SESSION_CLOSED, datetime(2026, 5, 5, tzinfo=UTC)))
    assert closed < kinds.index((EntryType.ACCESS_GRANTED, morning))
    store.close()


class StepClock(SystemClock):
    """A clock that nobody set, which goes only where the test puts it."""

    def __init__(self) -> None:
        super().__init__()
        self.at = datetime(2026, 5, 4, 10, tzinfo=UTC)

    def now(self) -> datetime:
        return self.at

    def trust(self) -> ClockTrust:
        return ClockTrust.UNTRUSTED


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> StepClock:
    """The clock of every appliance in this process."""
    stepped = StepClock()
    monkeypatch.setattr("edgegate.app.SystemClock", lambda: stepped)
    return stepped


class Appliance(NamedTuple):
    """An appliance in this process, and who passes its doors."""

    app: App
    passages: "asyncio.Queue[Passage]"


@pytest.fixture
def appliance(place: Place, clock: StepClock) -> Appliance:  # noqa: ARG001 - its clock is set up
    passages: asyncio.Queue[Passage] = asyncio.Queue()
    return Appliance(App(load_config(place.config), passages.put_nowait), passages)


async def test_a_clock_that_jumps_ahead_and_back_sells_no_day_twice(
    place: Place, clock: StepClock, appliance: Appliance
) -> None:
    with Board(place.site.board) as board:
        async with running(appliance.app):
            await asyncio.to_thread(board.wait_connected, "front-reader", WAIT_S)
            for step in (timedelta(0), timedelta(days=400), -timedelta(days=400)):
                clock.at += step
                show_code(board, "ana")
                assert (await asyncio.wait_for(appliance.passages.get(), WAIT_S)).opened
    debits = await asyncio.to_thread(place.entries, EntryType.PASS_DEBITED)
    days = [debit["day"] for debit in debits if debit["amount"]]
    assert len(days) == len(set(days)), days


async def test_a_tap_after_the_clock_was_put_right_moves_the_visit_first(
    place: Place, clock: StepClock, appliance: Appliance
) -> None:
    """The appliance gives its books the clock's correction."""
    with Board(place.site.board) as board:
        async with running(appliance.app):
            await asyncio.to_thread(board.wait_connected, "front-reader", WAIT_S)
            show_code(board, "ana")
            assert (await asyncio.wait_for(appliance.passages.get(), WAIT_S)).opened
            by = timedelta(hours=3)
            clock.correction = Correction(clock.at + by, since_boot_s(), by)
            clock.at += by
            show_code(board, "ana")
            assert (await asyncio.wait_for(appliance.passages.get(), WAIT_S)).opened
    (moved,) = await asyncio.to_thread(place.entries, EntryType.SESSION_MOVED)
    assert (moved["was"], moved["opened_at"]) == ("2026-05-04T10:00:00Z", "2026-05-04T13:00:00Z")
