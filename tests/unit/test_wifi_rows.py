"""The tables of who is on the Wi-Fi stay small, whatever access points and members do."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from sqlite3 import Connection

import pytest

from edgegate.store import wifi, wifi_rows
from edgegate.store.files import Store
from edgegate.store.wifi_rows import Online

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Connection]:
    store = Store.open(tmp_path)
    store.ledger.execute("BEGIN")
    yield store.ledger
    store.ledger.execute("COMMIT")
    store.close()


def accepted(number: int, station: str) -> wifi.Accepted:
    return wifi.Accepted(
        class_=f"c{number}",
        customer="ana",
        location="hq",
        nas="ap",
        place="ap",
        station=station,
        until=NOON + timedelta(days=1),
    )


def count(ledger: Connection, table: str) -> int:
    (found,) = ledger.execute(f"SELECT count(*) FROM {table}").fetchone()  # noqa: S608 - constants
    return int(found)


@pytest.mark.parametrize("told", [True, False])
def test_a_device_that_makes_up_addresses_fills_no_table(
    ledger: Connection, monkeypatch: pytest.MonkeyPatch, told: bool
) -> None:
    monkeypatch.setattr(wifi, "GRANTS_OF_ONE_MAX", 10)
    for number in range(30):
        station = f"m{number}" if told else ""
        wifi.apply(ledger, accepted(number, station), NOON + timedelta(seconds=number))
        if number == 3:
            started = wifi.Started(
                place="ap",
                number="s3",
                station=station,
                customer="ana",
                class_="c3",
                nas="ap",
                location="hq",
                began_at=NOON,
            )
            wifi.apply(ledger, started, NOON)
    # The ten newest, and the one by which a device is on the Wi-Fi.
    assert count(ledger, "wifi_grant") == 11
    assert wifi_rows.grant(ledger, "c3") is not None


def test_sessions_that_were_nobodys_leave_few_rows(
    ledger: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wifi_rows, "ENDED_UNKNOWN_MAX", 5)
    for number in range(20):
        at = NOON + timedelta(seconds=number)
        row = Online(
            place="ap",
            number=f"s{number}",
            station="m",
            customer="",
            class_="",
            nas="ap",
            location="hq",
            started_at=at,
            seen_at=at,
            seconds=0,
            received=0,
            sent=0,
            stopped_at=None,
            why="",
            names=b"",
            address="",
        )
        wifi_rows.keep_unknown(ledger, row)
        if number:
            wifi_rows.end_unknown(ledger, row.key, at, "stop")
    kept = [row[0] for row in ledger.execute("SELECT number FROM wifi_session ORDER BY started_at")]
    assert kept == ["s0", "s15", "s16", "s17", "s18", "s19"]
