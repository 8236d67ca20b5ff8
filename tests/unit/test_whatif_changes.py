"""Changes to a site's records: what they patch, what they add, and what is wrong with them."""

from pathlib import Path

import pytest

from edgegate.faults import FaultsError
from edgegate.passes.model import (
    Contract,
    Customer,
    Door,
    DoorPolicy,
    Hours,
    Location,
    Pass,
    Record,
    Unit,
)
from edgegate.scenario import KINDS
from edgegate.whatif.changes import REFERENCES, read_changes
from edgegate.whatif.records import SiteRecords

DAYS = Pass(
    id="days",
    name="Day passes",
    holder="c-1",
    amount=10,
    home="mill",
    hours=(Hours(from_="09:00", to="18:00"),),
)
RECORDS: tuple[Record, ...] = (
    Location(id="mill", name="Mill Lane", timezone="Europe/Berlin"),
    Door(id="front", location="mill", groups=("street",)),
    Customer(id="c-1", name="Ana Berger"),
    Contract(id="k", holder="c-1", plan="Full time"),
    DAYS,
)


def site(*records: Record) -> SiteRecords:
    by_kind: dict[str, dict[str, Record]] = {name: {} for name in KINDS}
    names = {kind.type: kind.name for kind in KINDS.values()}
    for record in (*RECORDS, *records):
        by_kind[names[type(record)]][record.id] = record
    return SiteRecords(by_kind=by_kind, remaining={"days": 4})


def changed(tmp_path: Path, text: str, *records: Record) -> SiteRecords:
    file = tmp_path / "changes.toml"
    file.write_text(text)
    return read_changes(file, site(*records)).records


def faults(tmp_path: Path, text: str) -> list[str]:
    with pytest.raises(FaultsError) as caught:
        changed(tmp_path, text)
    return [str(fault).removeprefix(f"{tmp_path}/") for fault in caught.value.faults]


def test_only_the_named_fields_change_and_only_in_a_copy(tmp_path: Path) -> None:
    base = site()
    file = tmp_path / "changes.toml"
    file.write_text('title = "less"\n[[pass]]\nid = "days"\nname = "Days"\nremaining = 9\n')
    read = read_changes(file, base)
    p = read.records.get("pass", "days")
    assert read.title == "less"
    assert (p.name, p.amount, p.hours, p.holder) == ("Days", 10, DAYS.hours, "c-1")
    assert base.get("pass", "days") is DAYS
    assert (base.remaining, read.records.remaining) == ({"days": 4}, {"days": 9})
    assert read.records.get("location", "mill") is base.get("location", "mill")


@pytest.mark.parametrize(
    ("fields", "left"),
    [
        ("amount = 20", 14),
        ("amount = 8", 2),
        ("amount = 3", -3),
        ("name = 'x'", 4),
        ("remaining = 7", 7),
        ("amount = 20\nremaining = 0", 0),
        ("amount = 600\nunit = 'minute'", 600),
    ],
)
def test_what_is_left_follows_the_amount_unless_it_is_said(
    tmp_path: Path, fields: str, left: int
) -> None:
    records = changed(tmp_path, f'[[pass]]\nid = "days"\n{fields}\n')
    assert records.remaining == {"days": left}


def test_a_field_can_be_unset(tmp_path: Path) -> None:
    records = changed(tmp_path, '[[pass]]\nid = "days"\nunset = ["hours", "home"]\n')
    p = records.get("pass", "days")
    assert (p.hours, p.home, p.amount) == ((), None, 10)


def test_a_new_record_is_added_at_the_one_location(tmp_path: Path) -> None:
    text = '[[pass]]\nid = "extra"\nnew = true\nholder = "c-1"\nunit = "minute"\namount = 90\n'
    records = changed(tmp_path, text)
    p = records.get("pass", "extra")
    assert (p.holder, p.unit, p.home) == ("c-1", Unit.MINUTE, "mill")
    assert records.remaining == {"days": 4, "extra": 90}


def test_new_records_may_name_each_other(tmp_path: Path) -> None:
    text = (
        '[[pass]]\nid = "extra"\nnew = true\nholder = "acme"\namount = 1\n'
        '[[team]]\nid = "acme"\nnew = true\n[[customer]]\nid = "c-1"\nteam = "acme"\n'
    )
    assert changed(tmp_path, text).get("customer", "c-1").team == "acme"


def test_another_preset_holds_for_the_location_and_its_doors(tmp_path: Path) -> None:
    records = changed(
        tmp_path,
        '[[location]]\nid = "mill"\npreset = "nexudus"\npayg_hand_over = false\n'
        '[[location]]\nid = "hill"\nnew = true\npreset = "deskie"\n'
        '[[door]]\nid = "side"\nnew = true\nlocation = "hill"\n',
        Door(id="other", location="hill", policy=DoorPolicy.FREE),
    )
    assert records.get("location", "mill").day_cutoff == "03:00"
    assert records.get("location", "mill").payg_hand_over is False
    assert records.get("location", "mill").name == "Mill Lane"
    assert records.get("door", "front").policy is DoorPolicy.PASS
    assert records.get("door", "front").groups == ("street",)
    assert records.get("door", "other").policy is DoorPolicy.CHECK_IN_FIRST


WRONG: dict[str, tuple[str, list[str]]] = {
    "nothing": ("", ["changes.toml: changes nothing; tables that may stand: [[location]]"]),
    "key": (
        'titel = "x"\n[[pass]]\nid = "days"\namount = 1\n',
        [':1: titel: is not a known key; did you mean "title"?'],
    ),
    "single": ("[pass]\nid = 'days'\n", [":1: pass: must be an array of tables; write [[pass]]"]),
    "id": ("[[pass]]\namount = 1\n", [":1: pass[0]: must have an id; it says which pass is meant"]),
    "unknown": (
        '[[pass]]\nid = "dais"\namount = 1\n',
        [':2: pass[0].id: there is no pass "dais"; did you mean "days"?'],
    ),
    "far": ('[[pass]]\nid = "x"\namount = 1\n', ["to add it, write new = true and all its fields"]),
    "name": (
        '[[customer]]\nid = "ana berger"\nname = ""\n',
        ['did you mean "c-1", whose name that is?'],
    ),
    "known": (
        '[[pass]]\nid = "days"\nnew = true\nholder = "c-1"\n',
        [':3: pass[0].new: there is a pass "days" already; leave out new to change it'],
    ),
    "twice": (
        '[[pass]]\nid = "days"\namount = 1\n[[pass]]\nid = "days"\n',
        [':4: pass[1]: changes the pass "days" again; let one table say it all'],
    ),
    "empty": (
        '[[pass]]\nid = "days"\n',
        [":1: pass[0]: changes nothing; name a field and its value"],
    ),
    "field": (
        '[[pass]]\nid = "days"\nunit = "minutes"\namont = 3\n',
        [
            ":3: pass[0].unit: must be one of",
            ':4: pass[0].amont: is not a known key; did you mean "amount"?',
        ],
    ),
    "whole": (
        '[[pass]]\nid = "days"\nper = "window"\n',
        [':1: pass[0]: per = "window" needs window_minutes'],
    ),
    "missing": ('[[pass]]\nid = "x"\nnew = true\n', ["pass[0].holder: is missing"]),
    "marks": (
        '[[pass]]\nid = "days"\nremaining = -1\n',
        [":3: pass[0].remaining: must be a whole number from 0"],
    ),
    "left": (
        '[[door]]\nid = "front"\nremaining = 1\n',
        [":3: door[0].remaining: is not a known key"],
    ),
    "unset": (
        '[[pass]]\nid = "days"\namount = 1\nunset = ["nam", "holder", "amount"]\n',
        [
            ':4: pass[0].unset[0]: a pass has no field "nam"; did you mean "name"?',
            ':4: pass[0].unset[1]: a pass cannot be without "holder"',
            ':4: pass[0].unset[2]: "amount" is set in the same table',
        ],
    ),
    "unset and more": (
        '[[pass]]\nid = "days"\nunset = ["nam"]\nunit = "hour"\n',
        [":3: pass[0].unset[0]: ", ":4: pass[0].unit: "],
    ),
    "preset": (
        '[[location]]\nid = "mill"\npreset = "nexudos"\n',
        [':3: location[0].preset: "nexudos" is no preset; did you mean "nexudus"?'],
    ),
    "reference": (
        (
            '[[pass]]\nid = "days"\nhome = "mil"\nlocations = ["mill", "mil"]\n'
            'holder = "Ana Berger"\ndoor_groups = ["steet"]\n'
        ),
        [
            ':3: pass[0].home: there is no location "mil"; did you mean "mill"?',
            ':4: pass[0].locations[1]: there is no location "mil"',
            ':5: pass[0].holder: there is no customer or team "Ana Berger"; did you mean "c-1"',
            ':6: pass[0].door_groups[0]: there is no group of doors "steet"; did you mean "st',
        ],
    ),
    "toml": ("[[pass]\n", [":1: is not valid TOML"]),
}


@pytest.mark.parametrize("name", WRONG)
def test_every_fault_is_named_with_its_line_and_what_was_meant(tmp_path: Path, name: str) -> None:
    text, expected = WRONG[name]
    found = faults(tmp_path, text)
    assert len(found) == len(expected)
    for fault, words in zip(found, expected, strict=True):
        assert words in fault


def test_every_field_that_names_records_is_known() -> None:
    for kind in KINDS.values():
        fields = set(kind.type.__struct_encode_fields__)
        assert REFERENCES.get(kind.name, {}).keys() <= fields, kind.name
