"""Which open visits the books find, and in which order."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from edgegate.passes.happenings import Opened
from edgegate.passes.model import Channel
from edgegate.passes.reasons import ClosingReason
from edgegate.passes.state import MinuteTerms, Segment, Session
from edgegate.ports import ClockTrust
from edgegate.store.books import NAMED_MAX, Books
from edgegate.store.files import Store
from edgegate.store.ledger import Stamp

AT = datetime(2026, 5, 4, 12, tzinfo=UTC)
STAMP = Stamp(source="edgegate/site/box", clock=ClockTrust.TRUSTED, boot_id="b", monotonic_s=1.0)
TERMS = MinuteTerms(increment_minutes=1, minimum_minutes=1)


@pytest.fixture
def books(tmp_path: Path) -> Iterator[Books]:
    store = Store.open(tmp_path)
    store.ledger.execute("BEGIN IMMEDIATE")
    yield Books(store, lambda: STAMP)
    store.ledger.execute("COMMIT")
    store.close()


def visit(customer: str, location: str, *passes: str) -> Opened:
    segment = Segment(from_=AT, pass_=passes[0], lots=passes[1:], counts=TERMS) if passes else None
    session = Session(
        id=f"{customer}-{location}",
        customer=customer,
        location=location,
        opened_at=AT,
        segment=segment,
        channel=Channel.WIFI,
        closes_at=AT + timedelta(hours=8),
        closes_for=ClosingReason.CUTOFF,
    )
    return Opened(session=session)


def test_the_visits_on_passes_are_found_once_and_by_customer(books: Books) -> None:
    visits = (
        visit("zoe", "hq", "minutes"),
        visit("bob", "lab", "first", "minutes"),
        visit("bob", "hq", "minutes", "first"),
        visit("ana", "hq", "others"),
        visit("eve", "hq", "others", "more"),
        visit("sam", "hq"),
    )
    books.record(visits, AT)
    found = [session.id for session in books.sessions_on(["minutes", "first"])]
    assert found == ["bob-hq", "bob-lab", "zoe-hq"]
    many = ["minutes", *(f"pass {number}" for number in range(NAMED_MAX))]
    assert [session.id for session in books.sessions_on(many)] == ["bob-hq", "bob-lab", "zoe-hq"]
    assert books.sessions_on(["none"]) == []
