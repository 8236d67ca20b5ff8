"""Visits that began by a clock nobody believed: its step is no time that anybody stayed (T3)."""

from collections.abc import Callable, Iterator
from datetime import datetime

import pytest

from edgegate import checkin
from edgegate.clock import HOLDOVER_S_MAX, Kept, Word
from edgegate.deadlines import reconsider, resume
from edgegate.passes import visits
from edgegate.passes.happenings import (
    Charged,
    Closed,
    Debited,
    Moved,
    Refunded,
    SegmentEnded,
)
from edgegate.passes.model import (
    Channel,
    Customer,
    Hours,
    Kind,
    Location,
    Offer,
    Pass,
    Per,
    Record,
    Unit,
)
from edgegate.passes.reasons import ClosingReason, Reason
from edgegate.ports import ClockTrust
from edgegate.store import sync_state
from fakes.doubting_device import ANA, HOUR, Device, at
from fakes.fake_time import Computer

MINUTES = Pass(id="minutes", holder="ana", unit=Unit.MINUTE, amount=600)
OFFER = Offer(
    id="hourly",
    unit=Unit.MINUTE,
    amount=60,
    price=2000,
    currency="EUR",
    sold_to=(Kind.CONTACTS,),
)
BEN = Customer(id="ben")
TEAM = (Customer(id="ana", team="acme"), Customer(id="ben", team="acme"))

Make = Callable[..., Device]


@pytest.fixture
def computer(monkeypatch: pytest.MonkeyPatch) -> Computer:
    """It thinks that it is 10:00 on Friday the 20th, and that is all it knows."""
    return Computer(monkeypatch)


@pytest.fixture
def device(computer: Computer) -> Iterator[Make]:
    made: list[Device] = []

    def make(*records: Record) -> Device:
        made.append(Device(computer, *records))
        return made[-1]

    yield make
    for one in made:
        one.replay()
        one.store.close()


def test_minutes_are_counted_by_the_time_that_passed(device: Make) -> None:
    pi = device(MINUTES)
    assert pi.enter().decision.reason is Reason.PASS
    assert pi.clock.trust() is ClockTrust.UNTRUSTED
    pi.passes(10)
    pi.step(3)
    pi.passes(10)
    visit = pi.visit()
    assert visit is not None
    assert visit.opened_at == at(20, 13)
    pi.leave()
    assert [d.amount for d in pi.happened(Debited)] == [20]
    assert [c.minutes for c in pi.happened(Closed)] == [20]
    assert pi.clock.now() == at(20, 13, 20)


def test_pay_as_you_go_is_charged_for_the_time_that_passed(device: Make) -> None:
    pi = device(OFFER)
    assert pi.enter().decision.reason is Reason.PAYG
    pi.passes(10)
    pi.step(3)
    pi.passes(10)
    pi.leave()
    assert [(c.used_s, c.amount) for c in pi.happened(Charged)] == [(1200, 667)]


@pytest.mark.parametrize("hours", [3.0, 14.0, 75.0, -2.0, -240.0])
def test_no_cutoff_falls_into_the_step(device: Make, hours: float) -> None:
    """By the right time the visit still runs within its day, whatever day it seemed to be."""
    pi = device(MINUTES)
    pi.enter()
    pi.passes(5)
    pi.step(hours)
    pi.passes(15)
    visit = pi.visit()
    assert visit is not None
    assert visit.opened_at == at(20, 10) + hours * HOUR
    midnight = visit.opened_at.replace(hour=0) + 24 * HOUR
    assert visit.closes_at == midnight
    assert pi.books.next_deadline() == min(midnight, visit.opened_at + 10 * HOUR)
    assert pi.happened(SegmentEnded) == []
    pi.leave()
    assert [d.amount for d in pi.happened(Debited)] == [20]


def test_what_is_really_due_falls_due_as_of_its_instant(device: Make) -> None:
    """They came at 23:50 by the right time: the day ended ten minutes later."""
    pi = device(MINUTES)
    pi.enter()
    pi.passes(15)
    pi.step(13 + 50 / 60)
    pi.passes(1)
    (closed,) = pi.happened(Closed)
    assert (closed.reason, closed.at, closed.minutes) == (ClosingReason.CUTOFF, at(21, 0), 10)


def test_automatic_check_out_counts_from_when_they_came(device: Make) -> None:
    pi = device(MINUTES, Location(id="hq", auto_checkout_after_minutes=30))
    pi.enter()
    pi.passes(20)
    pi.step(3)
    pi.passes(9)
    assert pi.visit() is not None
    pi.passes(2)
    (closed,) = pi.happened(Closed)
    assert (closed.reason, closed.at) == (ClosingReason.AUTO_CHECKOUT, at(20, 13, 30))
    assert closed.minutes == 30


def test_a_bought_day_is_the_day_that_it_was(device: Make) -> None:
    pi = device(Pass(id="ten", holder="ana", amount=10))
    pi.enter()
    pi.passes(5)
    pi.step(75)
    pi.passes(5)
    (moved,) = pi.happened(Moved)
    assert (moved.day, moved.closes_at) == (at(23, 0).date(), at(24, 0))
    pi.leave()
    assert pi.enter().decision.reason is Reason.COVERED
    assert [d.amount for d in pi.happened(Debited)] == [1]
    pi.passes(11 * 60)
    pi.enter()
    assert [d.amount for d in pi.happened(Debited)] == [1, 1]


def test_a_window_lasts_as_long_as_was_bought(device: Make) -> None:
    """Even for who left before the clock was put right, and comes again."""
    hour = Pass(id="hour", holder="ana", amount=10, per=Per.WINDOW, window_minutes=60)
    pi = device(hour, Pass(id="bens", holder="ben", unit=Unit.MINUTE, amount=600), BEN)
    pi.enter()
    pi.passes(10)
    pi.leave()
    pi.enter(BEN)
    pi.passes(10)
    pi.leave(BEN)
    pi.step(3)
    pi.passes(30)
    again = pi.enter()
    assert (again.decision.reason, again.ends_at) == (Reason.COVERED, at(20, 14))
    # Of who left for good nothing was still running.
    assert [h.customer for h in pi.happened(Moved)] == ["ana"]


def test_a_visit_on_what_an_earlier_one_bought_ends_with_it(device: Make) -> None:
    hour = Pass(id="hour", holder="ana", amount=1, per=Per.WINDOW, window_minutes=60)
    pi = device(hour)
    pi.enter()
    pi.passes(10)
    pi.leave()
    pi.passes(10)
    pi.enter()
    pi.step(3)
    pi.passes(39)
    visit = pi.visit()
    assert visit is not None
    assert visit.segment is not None
    assert visit.segment.until == at(20, 14)
    assert pi.happened(SegmentEnded) == []
    pi.passes(2)
    assert [(c.reason, c.at) for c in pi.happened(Closed)[1:]] == [
        (ClosingReason.WINDOW_ENDED, at(20, 14))
    ]


def test_hours_that_are_over_by_the_right_time_end_the_visit(device: Make) -> None:
    office = Pass(
        id="office",
        holder="ana",
        unit=Unit.MINUTE,
        amount=600,
        hours=(Hours(from_="09:00", to="12:00"),),
    )
    pi = device(office)
    pi.enter()
    pi.passes(5)
    pi.step(3)
    pi.passes(1)
    (closed,) = pi.happened(Closed)
    assert (closed.reason, closed.at) == (ClosingReason.WINDOW_ENDED, at(20, 13))
    assert pi.happened(Debited) == []


def test_two_on_one_pass_use_it_up_together_by_the_right_time(device: Make) -> None:
    """The one was there before; what the other seemed to have used ends nobody's visit."""
    team = Pass(id="shared", holder="acme", unit=Unit.MINUTE, amount=240)
    pi = device(team, *TEAM)
    ana, ben = TEAM
    pi.enter(ana)
    pi.passes(30)
    pi.begin("another-boot")
    pi.enter(ben)
    pi.passes(10)
    pi.step(2)
    pi.passes(10)
    visit = pi.visit(ben)
    assert visit is not None
    assert visit.opened_at == at(20, 12, 30)
    # Ana has used 150 minutes by then; what is left lasts them half as long.
    assert pi.books.next_deadline() == at(20, 13, 15)


def test_a_visit_of_another_boot_stays_where_it_is(device: Make) -> None:
    """It was there while the power was off."""
    pi = device(MINUTES)
    pi.enter()
    pi.passes(10)
    pi.begin("another-boot")
    pi.passes(5)
    pi.step(3)
    pi.passes(5)
    pi.leave()
    assert pi.happened(Moved) == []
    assert [d.amount for d in pi.happened(Debited)] == [200]


def test_a_visit_that_began_by_a_believed_clock_stays_where_it_is(
    device: Make, computer: Computer
) -> None:
    computer.in_step = True
    pi = device(MINUTES)
    pi.enter()
    computer.step(3 * 3600, in_step=False)
    pi.passes(10)
    assert pi.clock.trust() is ClockTrust.HOLDOVER
    assert pi.clock.hear(Word("chrony", computer.wall, computer.since_boot_s, 60.0))
    pi.passes(10)
    pi.leave()
    assert pi.happened(Moved) == []
    assert [d.amount for d in pi.happened(Debited)] == [200]


def test_a_visit_by_a_believed_clock_stays_though_another_process_doubts(
    device: Make, computer: Computer
) -> None:
    """That process could not write down that it was believed."""
    computer.in_step = True
    pi = device(MINUTES, BEN, Pass(id="bens", holder="ben", unit=Unit.MINUTE, amount=600))
    pi.enter()
    computer.in_step = False
    pi.begin()
    pi.enter(BEN)
    pi.passes(5)
    pi.step(1)
    pi.passes(5)
    assert [h.customer for h in pi.happened(Moved)] == ["ben"]
    pi.leave()
    assert [d.amount for d in pi.happened(Debited)] == [70]


def test_a_clock_that_was_without_a_source_for_too_long_moves_who_came_since(
    device: Make, computer: Computer
) -> None:
    computer.in_step = True
    pi = device(Pass(id="minutes", holder="ana", unit=Unit.MINUTE, amount=600))
    assert pi.clock.trust() is ClockTrust.TRUSTED
    computer.in_step = False
    computer.passes(HOLDOVER_S_MAX + 1)
    pi.enter()
    pi.passes(5)
    pi.step(500 / 3600)
    pi.passes(5)
    pi.leave()
    assert [d.amount for d in pi.happened(Debited)] == [10]


def test_all_that_was_dated_by_it_moves(device: Make) -> None:
    pi = device(Offer(id="day", price=2000, sold_to=(Kind.CONTACTS,)))
    pi.enter()
    visit = pi.visit()
    assert visit is not None
    pi.passes(5)
    pi.step(75)
    pi.passes(5)
    assert pi.books.last_move("ana", "hq") == ("entry", at(23, 13))
    assert pi.books.sold_after(visit.id, at(23, 12)) == {"day"}
    begun = pi.store.ledger.execute("SELECT location, day FROM begun").fetchall()
    assert begun == [("hq", "2026-11-23")]
    (coverage,) = pi.books.facts(ANA, pi.location, pi.clock.now()).coverages
    assert (coverage.day, coverage.from_) == (at(23, 0).date(), at(23, 13))
    assert coverage.until == at(24, 0)


def test_a_later_step_of_the_believed_clock_moves_nobody_again(
    device: Make, computer: Computer
) -> None:
    pi = device(MINUTES)
    pi.enter()
    pi.passes(5)
    pi.step(3)
    pi.passes(5)
    computer.step(3600, in_step=False)
    assert pi.clock.hear(Word("chrony", computer.wall, computer.since_boot_s, 60.0))
    pi.passes(5)
    assert len(pi.happened(Moved)) == 1
    pi.leave()
    assert [d.amount for d in pi.happened(Debited)] == [75]


def test_time_does_not_go_back_while_the_clock_is_believed(
    device: Make, computer: Computer
) -> None:
    """A step back of the computer's clock, the kernel's word included, changes nothing here."""
    computer.in_step = True
    pi = device(MINUTES)
    pi.enter()
    pi.passes(10)
    before = pi.clock.now()
    for in_step in (False, True):
        computer.step(-3600, in_step=in_step)
        pi.passes(1)
        assert pi.clock.now() > before
        before = pi.clock.now()
    pi.leave()
    assert pi.happened(Moved) == []
    assert [d.amount for d in pi.happened(Debited)] == [12]


def test_a_process_that_starts_again_moves_what_the_one_before_let_in(device: Make) -> None:
    """Its clock began again at the last trusted instant, as far behind as it was then and more."""
    pi = device(MINUTES, BEN, Pass(id="bens", holder="ben", unit=Unit.MINUTE, amount=600))
    kept = Kept(at(20, 18), "another-boot", 5.0)
    pi.clock.restore(kept, "this-boot")
    pi.enter()
    pi.passes(10)
    pi.begin()
    pi.clock.restore(kept, "this-boot")
    pi.enter(BEN)
    pi.passes(10)
    pi.step(24)
    pi.passes(10)
    for customer in (ANA, BEN):
        pi.leave(customer)
    assert [d.amount for d in pi.happened(Debited)] == [30, 20]
    assert [h.opened_at for h in pi.happened(Moved)] == [at(21, 10), at(21, 10, 10)]


def test_visits_are_moved_once(device: Make) -> None:
    pi = device(MINUTES)
    pi.enter()
    pi.passes(5)
    pi.step(3)
    pi.passes(5)
    pi.store.ledger.execute("DELETE FROM meta WHERE name = 'corrected'")
    pi.passes(5)
    assert len(pi.happened(Moved)) == 1
    pi.leave()
    assert [d.amount for d in pi.happened(Debited)] == [15]


def test_a_start_after_a_step_back_looks_at_no_visit_as_of_the_future(device: Make) -> None:
    pi = device(MINUTES)
    pi.enter()
    pi.passes(5)
    reconsider(pi.books, pi.clock.now())
    pi.step(-240)
    pi.passes(5)
    resume(pi.books)
    assert pi.books.next_deadline() == at(10, 20)


def test_drift_moves_nobody(device: Make) -> None:
    pi = device(MINUTES)
    pi.enter()
    pi.passes(5)
    pi.step(1.5 / 3600)
    pi.passes(5)
    assert pi.happened(Moved) == []


def test_one_visit_that_cannot_be_moved_holds_up_no_other(
    device: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    pi = device(MINUTES, BEN, Pass(id="bens", holder="ben", unit=Unit.MINUTE, amount=600))
    pi.enter()
    pi.enter(BEN)
    pi.passes(5)
    closing = visits.closing

    asked: list[datetime] = []

    def poisoned(location: Location, opened_at: datetime) -> visits.Closing:
        asked.append(opened_at)
        if len(asked) == 1:
            raise ZeroDivisionError
        return closing(location, opened_at)

    monkeypatch.setattr(visits, "closing", poisoned)
    pi.step(3)
    pi.passes(5)
    assert [h.customer for h in pi.happened(Moved)] == ["ben"]
    pi.leave(BEN)
    assert [d.amount for d in pi.happened(Debited)] == [10]


def test_an_exit_noted_before_the_step_is_dated_right(device: Make) -> None:
    pi = device(MINUTES)
    pi.enter()
    pi.passes(10)
    noted, noted_s = pi.clock.now(), pi.computer.since_boot_s
    pi.step(3)
    pi.passes(1)
    assert pi.books.doubts.dated(noted, noted_s) == at(20, 13, 10)
    now = pi.clock.now()
    assert pi.books.doubts.dated(now, pi.computer.since_boot_s) == now


def test_who_was_seen_last_by_wifi_gets_back_what_was_spent_later(device: Make) -> None:
    """What was spent when they came stays spent, on whichever side of the step that lies."""
    day = Pass(id="ten", holder="ana", amount=10, wifi=True)
    pi = device(day, Location(id="hq", wifi_presence=True, wifi_idle_minutes=15))
    pi.enter(channel=Channel.WIFI)
    pi.passes(5)
    checkin.wifi_stopped(pi.books, "ana", "hq", pi.clock.now())
    pi.step(-5)
    pi.passes(16)
    (closed,) = pi.happened(Closed)
    assert (closed.reason, closed.at) == (ClosingReason.WIFI_IDLE, at(20, 5, 5))
    assert pi.happened(Refunded) == []


def test_a_peer_that_hears_of_it_covers_for_as_long(device: Make, computer: Computer) -> None:
    pi, back = device(Pass(id="ten", holder="ana", amount=10)), Device(computer)
    pi.enter()
    pi.step(75)
    pi.passes(5)
    for entry in pi.entries():
        sync_state.apply_heard(back.store.ledger, entry)
    (coverage,) = back.books.facts(ANA, back.location, pi.clock.now()).coverages
    assert (coverage.from_, coverage.until) == (at(23, 13), at(24, 0))
    back.store.close()
