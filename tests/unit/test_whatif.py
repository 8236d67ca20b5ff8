"""A site's recorded taps again: what is reproduced, what would be different, what it would cost."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from msgspec.structs import replace

from edgegate.passes.happenings import Denied
from edgegate.passes.model import (
    Channel,
    Contract,
    Counted,
    CredentialStatus,
    Customer,
    Door,
    Kind,
    LeaseRule,
    Location,
    Offer,
    Pass,
    Priority,
    Reservation,
    ReservationState,
    Team,
    Unit,
)
from edgegate.passes.reasons import ClosingReason, Reason
from edgegate.ports import ClockTrust
from edgegate.whatif import Study, Told, Verdict, prepare, world
from edgegate.whatif.page import lines
from edgegate.whatif.records import from_cache
from fakes.recorded_site import RecordedSite, card_of, minutes

NINE = datetime(2026, 3, 2, 9, tzinfo=UTC)  # Monday
DAY = timedelta(days=1)
RUNNING_OUT = (
    Pass(
        id="quick",
        holder="ben",
        unit=Unit.MINUTE,
        priority=Priority.HIGH,
        amount=5,
        home="mill",
        wifi=True,
    ),
    Pass(id="spare", holder="ben", amount=5, home="mill", wifi=True),
)
"""Five minutes on the Wi-Fi, then a day: somebody who is long gone gets what is too much back."""

NO_CHANGE = '[[location]]\nid = "mill"\nname = "Mill"\n'


@pytest.fixture
def site(tmp_path: Path) -> Iterator[RecordedSite]:
    site = furnished(RecordedSite(tmp_path))
    yield site
    site.close()


def furnished(site: RecordedSite) -> RecordedSite:
    site.put(
        Location(id="mill", wifi_presence=True, payg=(Kind.CONTACTS,)),
        Door(id="front", location="mill", groups=("street",)),
        Door(id="lounge", location="mill", groups=("lounge", "street")),
        Customer(id="ana", name="Ana Berger"),
        Customer(id="ben", name="Ben Okafor", team="acme"),
        Customer(id="cleo", name="Cleo Marsh", team="acme"),
        Customer(id="lea", name="Lea", staff=True),
        Team(id="acme", name="Acme"),
        Contract(id="k", holder="acme", plan="Team"),
        Pass(id="days", name="Day passes", holder="ana", amount=5, home="mill", wifi=True),
        Pass(id="hours", name="Hours", holder="acme", unit=Unit.MINUTE, amount=600, home="mill"),
    )
    return site


Answer = tuple[Study, list[Told]]
Ask = Callable[..., Answer]


@pytest.fixture
def ask(tmp_path: Path, site: RecordedSite) -> Ask:
    def asked(changes: str, *exports: Path) -> Answer:
        file = tmp_path / "changes.toml"
        file.write_text(changes)
        known = from_cache(site.state / "cache.db")
        study = prepare(exports or (site.export(),), file, known)
        return study, list(study.run())

    return asked


def turns(told: list[Told]) -> list[tuple[str, str | None, str | None]]:
    return [(t.customer, _reason(t.was), _reason(t.would_be)) for t in told]


def _reason(verdict: Verdict | None) -> str | None:
    return None if verdict is None else verdict.reason.value


def test_every_way_in_and_out_is_reproduced(site: RecordedSite, ask: Ask) -> None:
    for day in range(3):
        at = NINE + day * DAY
        site.tap("ana", "front", at)
        site.ask("ana", "mill", Channel.WIFI, at + minutes(1))
        site.tap("ana", "lounge", at + minutes(2))
        site.wifi_stop("ana", "mill", at + minutes(100))
        site.ask("ben", "mill", Channel.KIOSK, at + minutes(110))
        site.tap("cleo", "front", at + minutes(120))
        site.leave("cleo", "mill", at + minutes(150))
        site.leave("ben", "mill", at + minutes(170), ClosingReason.CHECKOUT)
        site.leave("lea", "mill", at + minutes(175))
        site.tap("lea", "front", at + minutes(180))
        site.tap("nobody", "front", at + minutes(181))
        site.tap("ana", "gone", at + minutes(182))
    study, told = ask(NO_CHANGE)
    assert told == []
    summary = study.summary
    assert (summary.taps, summary.carried, summary.not_reproduced) == (24, 6, 0)
    assert summary.was == summary.would_be
    assert summary.was.passes == {"days": 3, "hours": 3 * (60 + 30)}
    assert summary.was.visits == 9
    assert study.notes == []


def test_what_the_cloud_has_counted_is_put_back(site: RecordedSite, ask: Ask) -> None:
    for day in range(3):
        site.tap("ana", "front", NINE + day * DAY)
    site.count("days")
    site.tap("ana", "front", NINE + 3 * DAY)
    study, told = ask(NO_CHANGE)
    assert (told, study.base.remaining["days"]) == ([], 5)
    assert study.summary.was.visits == 4
    _, told = ask('[[pass]]\nid = "days"\namount = 3\n')
    assert turns(told) == [("ana", "pass", "used_up")]
    assert told[0].at == NINE + 3 * DAY
    assert told[0].was is not None
    assert told[0].was.says == "In. Day passes used, 1 of 5 left."


def test_a_refund_that_was_counted_is_taken_off_again(site: RecordedSite, ask: Ask) -> None:
    site.put(*RUNNING_OUT)
    site.ask("ben", "mill", Channel.WIFI, NINE)
    site.wifi_stop("ben", "mill", NINE + minutes(1))
    site.tap("ana", "front", NINE + minutes(30))
    assert site.count("quick").remaining == 4
    assert site.count("spare").remaining == 5
    study, told = ask(NO_CHANGE)
    assert told == []
    assert (study.base.remaining["quick"], study.base.remaining["spare"]) == (5, 5)
    assert study.summary.was.passes == {"quick": 1, "spare": 0, "days": 1}


def test_other_uses_other_doors_and_another_day_make_a_difference(
    site: RecordedSite, ask: Ask
) -> None:
    for day in range(2):
        site.tap("ana", "front", NINE + day * DAY)
        site.tap("ben", "front", NINE + day * DAY + minutes(1))
        site.tap("ana", "lounge", NINE + day * DAY + minutes(2))
        site.leave("ben", "mill", NINE + day * DAY + minutes(61))
        site.tap("ana", "front", NINE + day * DAY + timedelta(hours=16))
    study, told = ask('[[pass]]\nid = "days"\nremaining = 1\n')
    assert turns(told) == [
        ("ana", "pass", "used_up"),
        ("ana", "covered", "used_up"),
        ("ana", "covered", "used_up"),
        ("ana", "pass", "used_up"),
    ]
    assert (study.summary.was.passes["days"], study.summary.would_be.passes["days"]) == (3, 1)
    _, told = ask('[[door]]\nid = "lounge"\npolicy = "membership"\n')
    assert turns(told) == [("ana", "covered", "other_audience")] * 2
    study, told = ask('[[location]]\nid = "mill"\nday_cutoff = "03:00"\n')
    assert turns(told) == [
        ("ana", "pass", "covered"),
        ("ana", "covered", "pass"),
        ("ana", "pass", "covered"),
    ]
    assert study.summary.would_be.passes == {"days": 2, "hours": 120}


def test_the_summary_counts_by_reason_by_member_and_what_is_spent(
    site: RecordedSite, ask: Ask
) -> None:
    site.put(
        Offer(id="desk", unit=Unit.MINUTE, amount=60, price=600, currency="EUR", home="mill",
              sold_to=(Kind.CONTACTS,))
    )  # fmt: skip
    for day in range(2):
        site.tap("ana", "front", NINE + day * DAY)
        site.tap("ben", "front", NINE + day * DAY)
        site.leave("ben", "mill", NINE + day * DAY + minutes(30))
        site.leave("ana", "mill", NINE + day * DAY + minutes(90))
    study, told = ask(
        '[[pass]]\nid = "days"\nstate = "cancelled"\n[[pass]]\nid = "hours"\namount = 40\n'
    )
    summary = study.summary
    assert turns(told) == [("ana", "pass", "payg"), ("ana", "pass", "payg")]
    assert summary.customers == {"ana": 2}
    ((kinds, tally),) = summary.most_first()
    assert [kind.reason for kind in kinds] == [Reason.PASS, Reason.PAYG]
    assert (tally.taps, tally.customers) == (2, {"ana"})
    assert (summary.was.passes, summary.was.offers) == ({"days": 2, "hours": 60}, {})
    assert summary.would_be.passes == {"hours": 40}
    assert summary.would_be.offers == {("desk", "EUR"): 1800}
    assert (summary.was.visits, summary.would_be.visits) == (4, 4)


def test_who_was_refused_may_be_let_in_and_nobody_knows_when_they_left(
    site: RecordedSite, ask: Ask
) -> None:
    site.put(Customer(id="dan", name="Dan"))
    site.tap("dan", "front", NINE)
    study, told = ask('[[pass]]\nid = "dans"\nnew = true\nholder = "dan"\namount = 1\n')
    assert turns(told) == [("dan", "no_pass", "pass")]
    assert (told[0].recorded.opens, told[0].reproduced, told[0].differs) == (False, True, True)
    assert study.summary.let_in_anew == 1
    assert study.summary.would_be.passes == {"dans": 1}


def test_a_reservation_that_was_kept_is_kept_again(site: RecordedSite, ask: Ask) -> None:
    own = Reservation(
        id="r", customer="cleo", location="mill", from_=NINE, until=NINE + minutes(300)
    )
    site.put(own, Pass(id="hours", holder="acme", unit=Unit.MINUTE, amount=0))
    site.tap("cleo", "front", NINE)
    site.put(replace(own, state=ReservationState.ARRIVED))
    _, told = ask(NO_CHANGE)
    assert told == []
    _, told = ask('[[reservation]]\nid = "r"\nstate = "cancelled"\n')
    assert turns(told) == [("cleo", "reservation", "used_up")]


def test_records_that_changed_since_are_no_difference_but_are_counted(
    site: RecordedSite, ask: Ask
) -> None:
    site.tap("ana", "front", NINE)
    site.tap("ben", "front", NINE)
    site.put(Pass(id="days", holder="ana", amount=5, payment_hold=True))
    study, told = ask(NO_CHANGE)
    assert [(t.differs, t.reproduced) for t in told] == [(False, False)]
    assert told[0].recorded.reason is Reason.PASS
    assert turns(told) == [("ana", "payment_hold", "payment_hold")]
    assert (study.summary.not_reproduced, study.summary.differently) == (1, 0)
    _, told = ask('[[pass]]\nid = "days"\npayment_hold = false\n')
    assert [(t.differs, t.reproduced) for t in told] == [(True, False)]


def test_a_tap_of_whom_or_where_nobody_knows_any_more_is_not_judged(
    site: RecordedSite, ask: Ask
) -> None:
    site.put(Customer(id="dan"), Door(id="side", location="mill"))
    site.tap("dan", "front", NINE)
    site.tap("ana", "side", NINE)
    site.remove("customer", "dan")
    site.remove("door", "side")
    study, told = ask(NO_CHANGE)
    assert turns(told) == [("dan", None, None), ("ana", None, None)]
    assert (study.summary.gone, study.summary.not_reproduced) == (2, 2)


def test_a_card_is_judged_by_its_record_and_else_as_it_was(site: RecordedSite, ask: Ask) -> None:
    blocked = replace(card_of("ana"), status=CredentialStatus.BLOCKED)
    site.put(blocked)
    site.tap("ana", "front", NINE)
    _, told = ask('[[credential]]\nid = "card-ana"\nstatus = "active"\n')
    assert turns(told) == [("ana", "credential_blocked", "pass")]
    site.remove("credential", "card-ana")
    study, told = ask(NO_CHANGE)
    assert (told, study.summary.carried) == ([], 1)


def test_a_card_that_is_somebody_elses_now_was_theirs_who_tapped(
    site: RecordedSite, ask: Ask
) -> None:
    site.tap("ana", "front", NINE)
    site.put(replace(card_of("ana"), customer="ben"))
    assert ask(NO_CHANGE)[1] == []
    site.remove("credential", "card-ana")
    assert ask(NO_CHANGE)[1] == []


def test_each_tap_meets_the_circumstances_it_met_then(site: RecordedSite, ask: Ask) -> None:
    site.books.lockdown = True
    assert site.tap("ana", "front", NINE) == "lockdown"
    site.books.lockdown = False
    site.books.reached_at = NINE - timedelta(hours=80)
    assert site.tap("ana", "front", NINE + minutes(1)) == "lease_expired"
    site.books.reached_at = None
    site.books.clock_trusted, site.clock = False, ClockTrust.UNTRUSTED
    assert site.tap("ana", "front", NINE + minutes(2)) == "clock_untrusted"
    site.put(Door(id="front", location="mill", lease_rule=LeaseRule.ALLOW_KNOWN))
    site.put(Customer(id="dan"))
    assert site.tap("dan", "front", NINE + minutes(3)) == "lease"
    site.books.clock_trusted, site.clock = True, ClockTrust.TRUSTED
    site.books.reached_at = NINE - timedelta(hours=80)
    assert site.tap("dan", "front", NINE + minutes(4)) == "lease"
    site.books.reached_at = None
    site.put(Door(id="front", location="mill", groups=("street",)))
    site.tap("ben", "front", NINE + minutes(5))
    _, told = ask('[[customer]]\nid = "ana"\nstaff = true\n')
    assert turns([t for t in told if t.differs]) == [
        ("ana", "lockdown", "staff"),
        ("ana", "lease_expired", "staff"),
        ("ana", "clock_untrusted", "staff"),
    ]
    _, told = ask('[[door]]\nid = "front"\nlease_rule = "allow_known"\n')
    assert turns(told) == [
        ("ana", "lease_expired", "pass"),
        ("ana", "clock_untrusted", "covered"),
        ("dan", "clock_untrusted", "lease"),
        ("dan", "lease_expired", "lease"),
    ]


def test_what_only_the_appliance_knew_stays_as_it_was(site: RecordedSite, ask: Ask) -> None:
    fault = Denied(
        location="mill", channel=Channel.DOOR, reason=Reason.INTERNAL_ERROR, customer="ana",
        fault="trace",
    )  # fmt: skip
    forged = Denied(
        location="mill", channel=Channel.DOOR, reason=Reason.CREDENTIAL_FORGED, customer="ana",
        door="front",
    )  # fmt: skip
    site.books.record([fault, forged], NINE)
    study, told = ask('[[pass]]\nid = "days"\nstate = "cancelled"\n')
    assert (told, study.summary.carried) == ([], 2)


def test_two_devices_are_one_site(tmp_path: Path, site: RecordedSite, ask: Ask) -> None:
    other = furnished(RecordedSite(tmp_path, "pi-2"))
    site.tap("ana", "front", NINE)
    other.tap("ben", "front", NINE + minutes(1))
    other.tap("ben", "lounge", NINE + minutes(3))
    site.tap("ana", "lounge", NINE + minutes(4))
    other.leave("ben", "mill", NINE + minutes(31))
    exports = site.export(), other.export()
    other.close()
    study, told = ask(NO_CHANGE, *exports)
    assert told == []
    assert study.summary.was.passes == {"days": 1, "hours": 30}
    _, told = ask('[[location]]\nid = "mill"\ncapacity = 1\n', *exports)
    assert turns(told) == [("ben", "pass", "location_full"), ("ben", "covered", "location_full")]


def test_what_makes_the_answer_less_certain_is_said(
    tmp_path: Path, site: RecordedSite, ask: Ask
) -> None:
    site.tap("ana", "front", NINE)
    site.tap("ben", "front", NINE)
    site.erase(2)
    counted = {"pi": Counted(epoch=2**31 - 1, sequence=7), "pi-9": Counted(epoch=1, sequence=1)}
    balance = site.count("days")
    site.put(replace(balance, counted=counted))
    file = tmp_path / "late.jsonl"
    file.write_text("".join(site.export().read_text().splitlines(keepends=True)[1:]))
    file.write_text(file.read_text().replace('"reason":"pass"', '"reason":"free"'))
    study, told = ask(NO_CHANGE, file)
    chain, erased, late, beyond, unheard = study.notes
    assert chain.startswith(f"The chain of {file} is broken at entry ")
    assert erased == "1 entry was erased and left out; what they told and spent is not known."
    assert "of pi began before entry" in late
    assert "what pi spent up to entry 2147483647/7, past the end of the export" in beyond
    assert unheard == "The records have counted pi-9, of which the export holds nothing."
    assert [t.reproduced for t in told] == [False]


def test_whoever_left_after_their_visit_had_ended_may_still_have_been_inside(
    site: RecordedSite, ask: Ask
) -> None:
    site.tap("ben", "front", NINE + minutes(14 * 60 + 30))
    site.leave("ben", "mill", NINE + minutes(15 * 60 + 10))
    site.tap("ana", "front", NINE + DAY)
    study, _ = ask('[[location]]\nid = "mill"\nday_cutoff = "03:00"\n')
    assert study.summary.was.passes["hours"] == 30
    assert study.summary.would_be.passes["hours"] == 40


def test_time_runs_to_the_end_of_the_export(site: RecordedSite, ask: Ask) -> None:
    site.tap("ben", "front", NINE)
    site.tap("nobody", "front", NINE + DAY)
    assert ask(NO_CHANGE)[0].summary.was.passes == {"hours": 600}


def test_forgetting_what_no_open_visit_needs_changes_nothing(
    site: RecordedSite, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.put(*RUNNING_OUT)
    for day in range(2):
        at = NINE + day * DAY
        site.ask("ben", "mill", Channel.WIFI, at)
        site.wifi_stop("ben", "mill", at + minutes(1))
        for minute in range(2, 30, 2):
            site.tap("ana", "front", at + minutes(minute))
            site.leave("ana", "mill", at + minutes(minute + 1))
    study, told = ask(NO_CHANGE)
    assert study.summary.was.passes == {"quick": 2, "spare": 0, "days": 2}
    monkeypatch.setattr(world, "KEPT_ENTRIES", 1)
    again, told_again = ask(NO_CHANGE)
    assert told == told_again
    assert study.summary == again.summary


def test_nothing_is_written(site: RecordedSite, ask: Ask) -> None:
    site.tap("ana", "front", NINE)
    before = {file: file.read_bytes() for file in site.state.iterdir()}
    ask('[[pass]]\nid = "days"\namount = 1\n', site.export())
    assert {file: file.read_bytes() for file in site.state.iterdir()} == before


def test_lines_name_the_place_where_there_are_several(tmp_path: Path, site: RecordedSite) -> None:
    site.put(Location(id="hill", name="Hill", timezone="Asia/Tokyo"))
    site.put(Pass(id="days", name="Day passes", holder="ana", amount=5, wifi=True))
    site.tap("ana", "front", NINE)
    site.ask("ana", "hill", Channel.WIFI, NINE)
    site.ask("ana", "hill", Channel.KIOSK, NINE + 9 * DAY)
    file = tmp_path / "rejected.toml"
    file.write_text('[[pass]]\nid = "days"\nstate = "rejected"\n')
    study = prepare([site.export()], file, from_cache(site.state / "cache.db"))
    told = [line for line in lines(study, list_not_reproduced=False) if "Ana" in line]
    assert [line.partition("  Ana")[0].rstrip() for line in told[:3]] == [
        "   9:00  mill, front",
        "  18:00  Hill, Wi-Fi",
        "  18:00  Hill, Front desk",
    ]
