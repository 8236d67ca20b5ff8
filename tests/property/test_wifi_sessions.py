"""Accounting in any order, and twice: time never runs backwards, nobody ends another's.

"Close stale" once ended the sessions of everybody (PITFALLS R10).
"""

from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from edgegate.checkin import enter
from edgegate.passes.facts import Request
from edgegate.passes.model import Channel, Customer, Location, Pass
from edgegate.ports import ClockTrust
from edgegate.store import wifi, wifi_rows
from edgegate.store.books import Books
from edgegate.store.files import Store
from edgegate.store.ledger import Stamp
from edgegate.store.wifi_rows import Online
from edgegate.wifi.access import right_of
from edgegate.wifi.refusals import Refusals
from edgegate.wifi.sessions import OURS, Report, Rules, Status, take, tend
from fakes.sites import put_records

BEGIN = datetime(2026, 5, 4, 8, tzinfo=UTC)
PEOPLE = ("ana", "bob")
PLACES = ("ap/1/", "ap/2/")
CLASSES = tuple(f"{who}@{place}" for who in PEOPLE for place in PLACES)
RULES = Rules(interim=timedelta(minutes=5), devices_max=9)


def opened() -> Books:
    """Both are on the Wi-Fi, and were accepted at both places."""
    store = Store.open(":memory:")
    records = [Pass(id=f"{who}-p", holder=who, wifi=True, amount=9) for who in PEOPLE]
    put_records(store, [Location(id="hq"), *(Customer(id=who) for who in PEOPLE), *records])
    stamp = Stamp(source="edgegate/s/pi", clock=ClockTrust.TRUSTED, boot_id="b", monotonic_s=0.0)
    books = Books(store, lambda: stamp)
    location = books.location("hq")
    assert location is not None
    for who in PEOPLE:
        request = Request(at=BEGIN, location=location, channel=Channel.WIFI)
        enter(books, request, Customer(id=who))
        visit, until = right_of(books, who, "hq", BEGIN)
        for place in PLACES:
            accepted = wifi.Accepted(
                class_=f"{who}@{place}",
                customer=who,
                location="hq",
                nas="ap",
                place=place,
                station=f"phone of {who}",
                visit=visit,
                until=until,
            )
            wifi.record(books, accepted, BEGIN)
    return books


packets = st.builds(
    lambda status, class_, place, number, minute, seconds: Report(
        status=status,
        nas="ap",
        place=place,
        location="hq",
        at=BEGIN + timedelta(minutes=minute),
        told_at=BEGIN + timedelta(minutes=minute),
        number=number,
        class_=class_,
        station=f"phone of {(class_ or 'nobody@').partition('@')[0]}",
        seconds=seconds,
        received=seconds * 100,
        names=b"named",
    ),
    st.sampled_from(Status),
    st.sampled_from([*CLASSES, "unknown", None]),
    st.sampled_from(PLACES),
    st.sampled_from(["1", "2"]),
    st.integers(0, 60),
    st.integers(0, 4000),
)


def every(books: Books) -> dict[wifi_rows.Key, Online]:
    rows = books.ledger.execute("SELECT place, number, station, customer FROM wifi_session")
    found = (wifi_rows.online(books.ledger, tuple(row)) for row in rows.fetchall())
    return {row.key: row for row in found if row is not None}


@settings(max_examples=150, deadline=None)
@given(
    told=st.lists(packets, min_size=1, max_size=25),
    again=st.lists(st.integers(0, 24), max_size=10),
)
def test_no_order_of_packets_shortens_a_session_or_ends_anothers(
    told: list[Report], again: list[int]
) -> None:
    books = opened()
    refusals = Refusals()
    for report in [*told, *(told[number % len(told)] for number in again)]:
        before = every(books)
        take(report, RULES, refusals, books)
        for key, row in every(books).items():
            was = before.get(key)
            if was is None:
                assert key[0] == report.place
                continue
            assert row.seconds >= was.seconds
            assert row.received >= was.received
            assert row.seen_at >= was.seen_at
            concerned = key[:3] == (report.place, report.number, report.station)
            whole = report.status in (Status.ON, Status.OFF) and key[0] == report.place
            assert row == was or concerned or whole
            if was.stopped_at is not None and was.why not in OURS:
                assert row == was
        assert before.keys() <= every(books).keys()


@settings(max_examples=60, deadline=None)
@given(told=st.lists(packets, min_size=1, max_size=15))
def test_the_same_packet_twice_is_as_once(told: list[Report]) -> None:
    once, twice = opened(), opened()
    for report in told:
        take(report, RULES, Refusals(), once)
        take(report, RULES, Refusals(), twice)
        before = twice.appended
        take(report, RULES, Refusals(), twice)
        assert twice.appended == before
    assert every(once) == every(twice)


@settings(max_examples=60, deadline=None)
@given(told=st.lists(packets, min_size=1, max_size=15), minute=st.integers(60, 90))
def test_who_fell_silent_was_there_until_they_were_heard_last(
    told: list[Report], minute: int
) -> None:
    books = opened()
    for report in told:
        take(report, RULES, Refusals(), books)
    before = every(books)
    now = BEGIN + timedelta(minutes=minute)
    ended = tend({}, now, BEGIN - timedelta(hours=1), RULES, Refusals(), books)
    for key, row in every(books).items():
        silent = before[key].stopped_at is None and now - before[key].seen_at > timedelta(
            minutes=15
        )
        assert (key in ended) == silent
        if silent:
            assert row.stopped_at == before[key].seen_at
        else:
            assert row == before[key]
    for who in PEOPLE:
        session = books.session_of(who, "hq")
        if session is not None and session.idle_since is not None:
            assert session.idle_since <= now
