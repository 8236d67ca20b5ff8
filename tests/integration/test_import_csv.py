"""Importing what other products export, on both databases."""

import io
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from edgegate.credentials.lookup import lookup
from edgegate.passes.model import CredentialKind, Location
from edgegate_sync.cloud import csv_import, erasure, leases
from edgegate_sync.cloud.csv_import import ImportOptions, ImportReport
from edgegate_sync.cloud.csv_import_api import keep_site_key
from edgegate_sync.cloud.csv_import_files import CsvFile
from edgegate_sync.cloud.database import Database
from edgegate_sync.cloud.feed import create_site
from rig.clouds import RunningCloud, running

pytest_plugins = ("rig.further_fixtures",)

KEY = b"0123456789abcdef" * 2
BERLIN = Location(id="hall", name="Hall", timezone="Europe/Berlin")

MEMBERS = """\
ID;Name;Email;Company;Plan Name;Start Date;Canceled to;Check-in token
11;Ana Alt;ana@example.com;Acme;Flex 10;2026-01-01;;04A1B2C3D4E580
12;Bo Berg;bo@example.com;Acme;Flex 10;2026-02-01;2026-03-31;
13;Cy Clark;cy@example.com;;;2026-02-01;;
"""
PASSES = """\
Membership ID;Pass;Left;Expires at
11;Day pass;7;31.12.2026
13;Day pass;1;
"""


def file(text: str, name: str = "members.csv", **more: Any) -> CsvFile:
    return CsvFile(name=name, open=lambda: io.BytesIO(text.encode()), **more)


async def set_up(database: Database) -> None:
    async with database.writing() as writing:
        await create_site(writing, "north", "North")
    async with database.site("north") as tx:
        await tx.put("location", "hall", BERLIN)


async def bring(
    database: Database, *files: CsvFile, mapping: str = "cobot", **more: Any
) -> ImportReport:
    options = ImportOptions(mapping=mapping, **more)
    return await csv_import.run(database, "north", files, options, KEY)


async def body(database: Database, kind: str, record_id: str) -> Any:
    async with database.site("north") as tx:
        found = await tx.get(kind, record_id)
    return None if found is None else json.loads(found)


def counts(report: ImportReport) -> dict[str, tuple[int, int, int, int]]:
    return {k: (t.new, t.changed, t.same, t.gone) for k, t in report.kinds.items()}


async def test_a_dry_run_says_what_would_change_and_changes_nothing(database: Database) -> None:
    await set_up(database)
    report = await bring(database, file(MEMBERS), dry_run=True)
    assert not report.faults
    assert counts(report) == {
        "team": (1, 0, 0, 0),
        "customer": (3, 0, 0, 0),
        "contract": (2, 0, 0, 0),
        "credential": (1, 0, 0, 0),
    }
    assert (report.written, report.head) == (False, 1)
    # The plan is not there: whoever imports should know, and nothing is refused for it.
    assert {w.problem for w in report.warnings} == {'there is no plan "flex-10"'}


async def test_an_import_writes_records_that_devices_can_use(database: Database) -> None:
    await set_up(database)
    report = await bring(database, file(PASSES, "passes.csv"), file(MEMBERS))
    assert report.written
    assert [f.table for f in report.files] == ["members", "passes"]
    assert await body(database, "customer", "11") == {
        "id": "11",
        "name": "Ana Alt",
        "team": "acme",
    }
    digest = lookup(KEY, CredentialKind.NFC_UID, bytes.fromhex("04A1B2C3D4E580"))
    async with database.reading() as connection:
        rows = (await connection.exec_driver_sql("SELECT kind, body FROM record")).all()
    records = [(row.kind, json.loads(row.body)) for row in rows]
    card = next(r for kind, r in records if kind == "credential")
    assert (card["customer"], card["lookup"], card["kind"]) == ("11", digest, "nfc_uid")
    contract = next(r for kind, r in records if kind == "contract" and r["holder"] == "12")
    assert contract["starts_at"] == "2026-01-31T23:00:00Z"
    # Until the end of the last day in Berlin, where it is summer by then.
    assert contract["ends_at"] == "2026-03-31T22:00:00Z"
    days = next(r for kind, r in records if kind == "pass" and r["holder"] == "11")
    assert (days["amount"], days["home"], days["source"]) == (7, "hall", "purchase")
    assert "04A1B2C3D4E580" not in str(rows)


async def test_a_second_import_changes_nothing(database: Database) -> None:
    await set_up(database)
    first = await bring(database, file(MEMBERS), file(PASSES, "p.csv"))
    again = await bring(database, file(MEMBERS), file(PASSES, "p.csv"))
    assert again.head == first.head
    assert all(new == changed == gone == 0 for new, changed, _, gone in counts(again).values())


async def test_what_edgegate_knows_better_stays(database: Database) -> None:
    await set_up(database)
    await bring(database, file(MEMBERS), file(PASSES, "p.csv"))
    ana = await body(database, "customer", "11")
    async with database.site("north") as tx:
        await tx.put("customer", "11", json.dumps(ana | {"staff": True}).encode())
    passes = PASSES.replace("Day pass;7", "Day pass;5")
    members = MEMBERS.replace("Ana Alt", "Ana Neu")
    report = await bring(database, file(members), file(passes, "p.csv"))
    assert counts(report)["customer"] == (0, 1, 2, 0)
    # What is left of a pass is counted here from its first import on.
    assert counts(report)["pass"] == (0, 0, 2, 0)
    assert await body(database, "customer", "11") == ana | {"name": "Ana Neu", "staff": True}


async def test_what_is_gone_is_told_and_removed_on_demand(database: Database) -> None:
    await set_up(database)
    async with database.site("north") as tx:
        await tx.put("customer", "own", b'{"id":"own"}')
    await bring(database, file(MEMBERS))
    fewer = "".join(MEMBERS.splitlines(keepends=True)[:3])
    report = await bring(database, file(fewer))
    assert [(g.kind, g.id) for g in report.gone] == [("customer", "13")]
    assert await body(database, "customer", "13") is not None
    await bring(database, file(fewer), remove_gone=True)
    assert await body(database, "customer", "13") is None
    assert await body(database, "customer", "own") is not None


async def test_every_fault_is_told_by_file_line_and_column(database: Database) -> None:
    await set_up(database)
    text = (
        "ID;Name;Plan Name;Start Date;Paused;Check-in token\n"
        "1;Ana;Flex;31-31-2026;no;\n"
        "2;;Flex;2026-01-01;no;\n"
        "3;Cy;Flex;2026-01-01;perhaps;nonsense\n"
        "3;Dee;Flex;2026-01-01;no;\n"
        "3;Eve;Flex;2026-01-01;no;\n"
        "4;Fay;Flex;2026-01-01;no;;;x\n"
    )
    report = await bring(database, file(text), dry_run=True)
    assert sorted((f.line, f.column) for f in report.faults) == [
        (2, "Start Date"),
        (3, "Name"),
        (4, "Check-in token"),
        (4, "Paused"),
        (6, ""),
        (7, ""),
    ]
    assert all(f.file == "members.csv" and f.problem and f.advice for f in report.faults)
    real = await bring(database, file(text))
    assert (real.written, real.faults_count, real.head) == (False, 6, 1)


async def test_one_faulty_file_holds_up_all(database: Database) -> None:
    await set_up(database)
    report = await bring(database, file(MEMBERS), file("Colour\nred\n", "other.csv"))
    assert [f.file for f in report.faults] == ["other.csv"]
    assert not report.written
    assert await body(database, "customer", "11") is None


async def test_whoever_was_erased_does_not_come_back(database: Database) -> None:
    await set_up(database)
    await bring(database, file(MEMBERS))
    async with database.site("north") as tx:
        await erasure.erase(tx, "customer", "13")
    report = await bring(database, file(MEMBERS))
    assert report.written
    assert ("members.csv", 4) in {(w.file, w.line) for w in report.warnings}
    assert await body(database, "customer", "13") is None


async def test_many_lines_come_in_bites(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(csv_import, "BATCH_MAX", 7)
    await set_up(database)
    text = "ID,Name,Plan,Start Date\n" + "".join(
        f"{n},Member {n},Flex,2026-01-01\n" for n in range(100)
    )
    report = await bring(database, file(text))
    assert counts(report)["customer"] == (100, 0, 0, 0)
    assert (await bring(database, file(text))).head == report.head


async def test_imports_into_one_site_come_one_after_the_other(database: Database) -> None:
    await set_up(database)
    assert await leases.take(database, "import north", "somebody", timedelta(seconds=60))
    with pytest.raises(csv_import.ImportBusyError):
        await bring(database, file(MEMBERS))


async def test_the_admin_api_imports(further_url: str, tmp_path: Path) -> None:
    async with running(further_url, tmp_path) as cloud:
        await import_by_api(cloud)


async def import_by_api(cloud: RunningCloud) -> None:
    admin = await cloud.admin()
    await admin.put("location", {"id": "hall", "timezone": "Europe/Berlin"})
    path = "/admin/v1/sites/north/import?mapping=cobot"
    csv = {"headers": {"Content-Type": "text/csv"}, "data": MEMBERS.encode()}
    refused = await admin.ask("POST", path, **csv)
    assert refused.status == 422
    # Card numbers need the site's key, which nobody deposited yet.
    (fault,) = refused.json["faults"]
    assert (fault["line"], fault["field"]) == (2, "Check-in token")
    assert "site-key" in fault["advice"]
    async with cloud.cloud.database.writing() as writing:
        await keep_site_key(writing, cloud.cloud.vault, "north", KEY)
    dry = await admin.ask("POST", path + "&dry_run=true", **csv)
    assert (dry.status, dry.json["kinds"]["customer"]["new"]) == (200, 3)
    done = await admin.ask("POST", path, **csv)
    assert (done.status, done.json["written"]) == (200, True)
    unknown = await admin.ask("POST", path.replace("cobot", "other"), **csv)
    assert unknown.status == 400
    nowhere = await admin.ask("POST", path.replace("north", "south"), **csv)
    assert nowhere.status == 404
