"""A what-if from the command line, on the export of a ledger that the daemon's functions wrote."""

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from click.testing import CliRunner, Result

from edgegate.cli import main
from edgegate.passes.model import Contract, Customer, Door, Kind, Location, Offer, Pass, Team, Unit
from fakes.recorded_site import RecordedSite, minutes

NINE = datetime(2026, 3, 2, 9, tzinfo=ZoneInfo("Europe/Berlin"))  # Monday
DAY = timedelta(days=1)

FEWER = """\
title = "Ana's pass had 2 uses and Acme an hour"
[[pass]]
id = "ana-days"
amount = 2
[[pass]]
id = "acme-hours"
amount = 60
"""

ANSWER = """\
What if Ana's pass had 2 uses and Acme an hour
22 entries in 1 file, Monday 2 March 2026 9:00 to Wednesday 4 March 2026 13:00 (Europe/Berlin)

Tuesday 3 March 2026
   9:30  Front door  Ben Okafor  in: pass (In on Team hours, 540 of 600 minutes left.) → refused: used_up (0 of 60 minutes left.)

Wednesday 4 March 2026
   9:00  Front door  Ana Berger  in: pass (In. Day passes used, 7 of 10 left.) → in: payg by Hot desk (In, pay as you go.)
  12:00  Lounge      Ana Berger  in: covered by Day passes (In again, nothing used.) → in: covered by Hot desk (In again, nothing used.)

Summary
  7 taps, 3 treated differently: 1 would be refused, 2 in as before, on other grounds
        1  in: pass → refused: used_up, 1 member
        1  in: pass → in: payg, 1 member
        1  in: covered, on another pass, 1 member
  Members affected: 2: Ana Berger (2), Ben Okafor (1)

Spent
                            was  would be  difference
  Acme: Team hours          120        60  -60 minutes
  Ana Berger: Day passes      3         2  -1 use
  Pay as you go: Hot desk  0.00     24.00  +24.00 EUR
  Visits                      5         4  -1

1 tap of unknown cards, or at faults, was left as it was.
"""  # noqa: E501 - a terminal's lines


@pytest.fixture
def site(tmp_path: Path) -> Iterator[RecordedSite]:
    site = RecordedSite(tmp_path)
    site.put(
        Location(id="mill", name="Mill Lane", timezone="Europe/Berlin", payg=(Kind.CONTACTS,)),
        Door(id="front", name="Front door", location="mill"),
        Door(id="lounge", name="Lounge", location="mill"),
        Customer(id="c-1", name="Ana Berger"),
        Customer(id="c-2", name="Ben Okafor", team="acme"),
        Team(id="acme", name="Acme"),
        Contract(id="k", holder="acme"),
        Pass(id="ana-days", name="Day passes", holder="c-1", amount=10, home="mill"),
        Pass(id="acme-hours", name="Team hours", holder="acme", unit=Unit.MINUTE, amount=600),
        Offer(
            id="desk",
            name="Hot desk",
            home="mill",
            unit=Unit.MINUTE,
            amount=60,
            price=600,
            currency="EUR",
            sold_to=(Kind.CONTACTS,),
        ),
    )
    for day in range(3):
        at = NINE + day * DAY
        site.tap("c-1", "front", at)
        if day < 2:
            site.tap("c-2", "front", at + minutes(30))
            site.leave("c-2", "mill", at + minutes(90))
        if day == 2:
            site.tap("c-1", "lounge", at + minutes(180))
            site.tap("nobody", "front", at + minutes(190))
        site.leave("c-1", "mill", at + minutes(240))
    yield site
    site.close()


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["replay", *map(str, arguments)])


def written(tmp_path: Path, name: str, text: str) -> Path:
    file = tmp_path / name
    file.write_text(text)
    return file


def exported(site: RecordedSite) -> Path:
    """The export as the command line makes it."""
    result = CliRunner().invoke(main, ["ledger", "export", "--state-dir", str(site.state)])
    assert result.exit_code == 0
    file = site.state.parent / "export.jsonl"
    file.write_bytes(result.stdout_bytes)
    return file


def test_the_answer_reads_well_and_leaves_the_site_alone(
    tmp_path: Path, site: RecordedSite
) -> None:
    export = exported(site)
    before = {file: file.read_bytes() for file in site.state.iterdir()}
    changes = written(tmp_path, "fewer.toml", FEWER)
    result = run("--ledger", export, "--with", changes, "--state-dir", site.state)
    assert (result.output, result.exit_code) == (ANSWER, 0)
    assert {file: file.read_bytes() for file in site.state.iterdir()} == before


def test_programs_are_told_the_same(tmp_path: Path, site: RecordedSite) -> None:
    changes = written(tmp_path, "fewer.toml", FEWER)
    result = run(
        *("--ledger", exported(site), "--with", changes, "--state-dir", site.state, "--json")
    )
    assert result.exit_code == 0
    document: dict[str, Any] = json.loads(result.output)
    assert document["title"].startswith("Ana's pass")
    assert [f["entries"] for f in document["files"]] == [22]
    first = document["taps"][0]
    assert first["local"] == "2026-03-03T09:30:00+01:00"
    assert (first["name"], first["door"], first["channel"]) == ("Ben Okafor", "front", "door")
    assert first["recorded"] == {"opens": True, "reason": "pass", "pass": "acme-hours"}
    assert first["was"]["says"] == "In on Team hours, 540 of 600 minutes left."
    assert first["would_be"]["reason"] == "used_up"
    assert (first["differs"], first["reproduced"]) == (True, True)
    summary = document["summary"]
    assert len(document["taps"]) == summary["differently"] == 3
    assert summary["members"][0] == {"customer": "c-1", "name": "Ana Berger", "taps": 2}
    assert summary["changes"][0]["was"] == {"opens": True, "reason": "pass"}
    assert summary["changes"][0]["customers"] == ["c-2"]
    assert summary["visits"] == {"was": 5, "would_be": 4}
    assert {row["pass"]: (row["was"], row["would_be"]) for row in summary["spent"]} == {
        "acme-hours": (120, 60),
        "ana-days": (3, 2),
    }
    assert summary["charged"] == [{"offer": "desk", "currency": "EUR", "was": 0, "would_be": 2400}]


def test_nothing_different_is_said_and_no_tap_is_still_json(
    tmp_path: Path, site: RecordedSite
) -> None:
    changes = written(tmp_path, "same.toml", '[[door]]\nid = "front"\nname = "Street door"\n')
    what = ("--ledger", exported(site), "--with", changes, "--state-dir", site.state)
    text = run(*what)
    assert "Nobody would have been treated differently.\n\nSummary\n  7 taps, 0" in text.output
    assert "Spent" not in text.output
    assert json.loads(run(*what, "--json").output)["taps"] == []


RECORDS = """\
title = "Mill Lane, as far as the manager wrote it down"
[[location]]
id = "mill"
timezone = "Europe/Berlin"
[[door]]
id = "front"
[[customer]]
id = "c-1"
name = "Ana\\u001b[31m Berger"
[[pass]]
id = "ana-days"
holder = "c-1"
amount = 10
remaining = 2
[[step]]
at = 2026-03-02T10:00:00Z
"""


def test_away_from_the_device_the_records_come_from_a_file(
    tmp_path: Path, site: RecordedSite
) -> None:
    records = written(tmp_path, "records.toml", RECORDS)
    changes = written(tmp_path, "c.toml", '[[pass]]\nid = "ana-days"\nremaining = 3\n')
    what = ("--ledger", exported(site), "--with", changes, "--records", records)
    text = run(*what).output
    assert "Ana\ufffd[31m Berger" in text
    assert "refused: used_up (0 of 10 left.) → in: pass by ana-days" in text
    assert "[recorded as in: pass by ana-days]" in text
    assert "4 taps could not be reproduced: records changed since (3 name what is gone).\n" in text
    assert "--not-reproduced lists them." in text
    assert "c-2" not in text
    listed = run(*what, "--not-reproduced").output
    assert "c-2" in listed
    assert "recorded as in: pass by acme-hours; replayed: not in the records" in listed
    assert "lists them" not in listed


def test_all_faults_of_all_files_are_named_and_exit_2(tmp_path: Path, site: RecordedSite) -> None:
    export = written(tmp_path, "bad.jsonl", exported(site).read_text() + "{}\n")
    changes = written(tmp_path, "bad.toml", '[[pass]]\nid = "ana-dys"\namount = 1\n')
    result = run("--ledger", export, "--with", changes, "--state-dir", site.state)
    assert result.exit_code == 2
    assert f"{export}:23: is not an entry of a ledger" in result.stderr
    assert f'{changes}:2: pass[0].id: there is no pass "ana-dys"; did you mean "ana-days"?' in (
        result.stderr
    )
    assert result.stdout == ""
    for records in ("[[location]]\nid = 7\n", "titel = 1\n"):
        file = written(tmp_path, "records.toml", records)
        result = run("--ledger", export, "--with", changes, "--records", file)
        assert result.exit_code == 2
        assert f"{file}:" in result.stderr
    result = run("--ledger", export, "--with", changes, "--state-dir", tmp_path / "nowhere")
    assert result.exit_code == 2
    assert "cache.db: cannot be read: unable to open database file; name the" in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [(), ("--ledger", "x"), ("--with", "x"), (".", "--ledger", "x", "--with", "y")],
)
def test_a_question_without_its_parts_is_refused(arguments: tuple[str, ...]) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert "--ledger" in result.stderr
    assert "--with" in result.stderr
