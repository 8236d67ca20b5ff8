"""Exports as a what-if reads them: what they tell, and every fault with its line."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from edgegate.faults import FaultsError
from edgegate.passes.happenings import Denied, Granted, Happening
from edgegate.passes.model import Customer, Door, Location, Pass
from edgegate.store.chain import Entry
from edgegate.whatif.export import LINE_BYTES_MAX, Checked, check, happened
from fakes.recorded_site import RecordedSite, minutes

NINE = datetime(2026, 3, 2, 9, tzinfo=UTC)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[RecordedSite]:
    site = filled(RecordedSite(tmp_path))
    yield site
    site.close()


def filled(site: RecordedSite) -> RecordedSite:
    site.put(Location(id="mill"), Door(id="front", location="mill"), Customer(id="ana"))
    site.put(Pass(id="days", holder="ana", amount=9))
    return site


def seen(*paths: Path) -> tuple[list[Checked], list[tuple[Entry, Happening | None]]]:
    entries: list[tuple[Entry, Happening | None]] = []
    return list(check(paths, lambda entry, h: entries.append((entry, h)))), entries


def faults(*paths: Path) -> list[str]:
    with pytest.raises(FaultsError) as caught:
        list(check(paths, lambda _entry, _happening: None))
    return [str(fault) for fault in caught.value.faults]


def rewritten(file: Path, number: int, old: str, new: str) -> Path:
    """The export with one of its lines, counted from 1, written otherwise."""
    lines = file.read_text().splitlines(keepends=True)
    assert old in lines[number - 1]
    lines[number - 1] = lines[number - 1].replace(old, new)
    file.write_text("".join(lines))
    return file


def test_an_export_of_the_daemons_own_is_read_whole(site: RecordedSite) -> None:
    site.tap("ana", "front", NINE)
    site.tap("stranger", "front", NINE + minutes(1))
    file = site.export()
    (checked,), entries = seen(file)
    assert checked == Checked(file=str(file), entries=4, erased=0, chain=[])
    assert [entry.sequence for entry, _ in entries] == [1, 2, 3, 4]
    told = [h for _, h in happened([file])]
    assert isinstance(told[0], Granted)
    assert isinstance(told[-1], Denied)
    assert len(told) == 4


def test_entries_that_tell_nothing_of_a_visit_or_were_erased_are_left_out(
    site: RecordedSite,
) -> None:
    site.tap("ana", "front", NINE)
    site.erase(1)
    (checked,), _ = seen(site.export())
    assert (checked.erased, checked.chain) == (1, [])
    assert len(list(happened([site.export()]))) == 2


def test_a_changed_a_missing_and_an_exchanged_entry_break_the_chain(site: RecordedSite) -> None:
    for hour in range(4):
        site.tap("ana", "front", NINE + timedelta(hours=hour))
    file = rewritten(site.export(), 1, '"reason":"pass"', '"reason":"free"')
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join(lines[:3] + lines[4:]))
    (checked,), _ = seen(file)
    assert len(checked.chain) == 2
    assert checked.chain[0].endswith("of edgegate/mill/pi: the data is not what was recorded")
    assert "after " in checked.chain[1]


def test_a_chain_with_very_many_faults_is_read_to_its_end(site: RecordedSite) -> None:
    for hour in range(120):
        site.tap("ana", "front", NINE + minutes(hour))
    file = site.export()
    file.write_text(file.read_text().replace('"reason":"covered"', '"reason":"free"'))
    (checked,), entries = seen(file)
    assert len(checked.chain) == 100
    assert checked.entries == len(entries) == 122


def test_an_export_may_begin_late_and_hold_two_devices(tmp_path: Path, site: RecordedSite) -> None:
    other = filled(RecordedSite(tmp_path, "pi-2"))
    for hour in range(3):
        site.tap("ana", "front", NINE + timedelta(hours=2 * hour))
        other.tap("ana", "front", NINE + timedelta(hours=2 * hour + 1))
    one, two = site.export(), other.export()
    other.close()
    both = tmp_path / "both.jsonl"
    both.write_text("".join(one.read_text().splitlines(keepends=True)[2:]) + two.read_text())
    (checked,), _ = seen(both)
    assert checked.chain == []
    merged = [h.entry for h in happened([one, two]) if isinstance(h.happening, Granted)]
    assert [e.device for e in merged] == ["pi", "pi-2"] * 3
    assert [e.at for e in merged] == [NINE + timedelta(hours=hour) for hour in range(6)]


def test_an_entry_in_two_files_is_a_fault(tmp_path: Path, site: RecordedSite) -> None:
    site.tap("ana", "front", NINE)
    early = site.export("early.jsonl")
    site.tap("ana", "front", NINE + minutes(1))
    late = site.export("late.jsonl")
    (fault,) = faults(early, late)
    assert fault.startswith(f"{late}: entries ")
    assert "/1 to " in fault
    assert f"/3 of edgegate/mill/pi are in {early} as well" in fault
    rest = tmp_path / "rest.jsonl"
    rest.write_text("".join(late.read_text().splitlines(keepends=True)[3:]))
    assert [c.entries for c in seen(early, rest)[0]] == [3, 1]
    rest.write_text("".join(late.read_text().splitlines(keepends=True)[2:]))
    assert "/3 to " in faults(early, rest)[0]
    assert len(faults(rest, early)) == 1


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ('"customer":"ana"', '"custmer":"ana"', 'data.custmer: is not a known key; did you mean'),
        ('"customer":"ana"', '"customer":7', "data.customer: must be text (got 7)"),
        ('"channel":"door"', '"channel":"dor"', 'data.channel: must be one of "door", "wifi"'),
        ('"sequence":1', '"sequence":"1"', "sequence: must be a whole number of at least 1"),
        ('"prevhash":"0', '"prevhash":"x', "prevhash: must be text that matches"),
        ('"time":"2026', '"time":"0026', "time: must be in a year from 1970 to 8999"),
        (':00.000000Z', ':00.000000', "time: must be a date-time with offset"),
        ('"type":', '"typ":', "is not an entry of a ledger; `edgegate ledger export`"),
        ('{"clock"', '"clock"', "is not an entry of a ledger"),
        ('"specversion":"1.0"', '"specversion":"2.0"', "specversion: must be text that matches"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_an_entry_is_named_with_its_line(
    site: RecordedSite, old: str, new: str, expected: str
) -> None:
    site.tap("ana", "front", NINE)
    file = site.export()
    first, *rest = file.read_text().splitlines(keepends=True)
    file.write_text("\n" + first.replace(old, new) + "".join(rest))
    assert first.replace(old, new) != first
    found = faults(file)
    assert found[0].startswith(f"{file}:2: {expected}")


def test_an_instant_in_the_data_needs_an_offset(site: RecordedSite) -> None:
    site.tap("ana", "front", NINE)
    site.leave("ana", "mill", NINE + minutes(5))
    file = rewritten(site.export(), 4, '"at":"2026-03-02T09:05:00Z"', '"at":"2026-03-02T09:05:00"')
    assert faults(file) == [f"{file}:4: data.at: needs an offset, like Z"]


def test_data_of_another_shape_are_a_fault(site: RecordedSite) -> None:
    site.tap("ana", "front", NINE)
    file = site.export()
    lines = file.read_text().splitlines(keepends=True)
    head, _, tail = lines[0].partition('"data":{')
    lines[0] = f'{head}"data":7{tail[tail.index("}") + 1 :]}'
    file.write_text("".join(lines))
    assert faults(file) == [f"{file}:1: data: must be a table (got 7)"]


def test_the_faults_of_all_files_are_told_together(tmp_path: Path) -> None:
    packed = tmp_path / "packed"
    packed.write_bytes(bytes(range(256)) * 40 + b"\n" + b"\xff\n" * 50)
    long = tmp_path / "long"
    long.write_text("{" + " " * LINE_BYTES_MAX + "}\n{}\n")
    gone = tmp_path / "gone"
    found = faults(packed, long, gone, tmp_path)
    assert len(found) == 4
    text = "\n".join(found)
    assert f"{packed}:1: is not an entry of a ledger" in text
    assert f"{long}:1: is longer than {LINE_BYTES_MAX} bytes" in text
    assert f"{gone}: cannot be read: No such file or directory" in text
    assert f"{tmp_path}: must be a file" in text


def test_no_more_than_a_hundred_faults_are_told(site: RecordedSite) -> None:
    for minute in range(150):
        site.tap("ana", "front", NINE + minutes(minute))
    file = site.export()
    file.write_text(file.read_text().replace('"channel":"door"', '"channel":"x"'))
    assert len(faults(file)) == 100
