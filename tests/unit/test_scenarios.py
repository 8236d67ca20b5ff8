"""The scenario files hold, and files that are wrong are told so."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from edgegate.cli import main
from edgegate.faults import FaultsError
from edgegate.replay import replay
from edgegate.scenario import read

FILES = sorted((Path(__file__).parent.parent / "scenarios").glob("*.toml"))


def test_there_are_scenarios() -> None:
    assert len(FILES) >= 8


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_scenario_holds(file: Path) -> None:
    assert replay(read(file)).failed == []


def test_every_fault_of_a_file_is_named_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "wrong.toml"
    file.write_text(
        'title = "Wrong"\n'
        "proves = []\n"
        'preset = "nexudos"\n'
        "[[location]]\n"
        'id = "hq"\n'
        'day_cutof = "03:00"\n'
        "[[pass]]\n"
        'id = "p"\n'
        'holder = "ana"\n'
        'unit = "hours"\n'
        "[[step]]\n"
        "at = 2026-03-02T10:00:00\n"
        "[[step]]\n"
        "at = 2026-03-02T10:00:00Z\n"
        'put = { kind = "pas", body = {} }\n'
    )
    with pytest.raises(FaultsError) as caught:
        read(file)
    text = str(caught.value)
    for line in (3, 6, 10, 12, 15):
        assert f"wrong.toml:{line}: " in text
    assert "nexudus" in text
    assert "day_cutoff" in text


def test_a_difference_is_told_and_is_exit_1(tmp_path: Path) -> None:
    known = next(file for file in FILES if file.stem == "automatic-check-out")
    text = known.read_text().replace("minutes = 60", "minutes = 61")
    file = tmp_path / "other.toml"
    file.write_text(text)
    result = CliRunner().invoke(main, ["replay", str(file)])
    assert result.exit_code == 1
    assert "minutes" in result.output


def test_a_wrong_file_is_exit_2(tmp_path: Path) -> None:
    file = tmp_path / "broken.toml"
    file.write_text("title = ")
    result = CliRunner().invoke(main, ["replay", str(file)])
    assert result.exit_code == 2
    assert "broken.toml:1" in result.output


def test_a_wrong_policy_is_named_by_field_and_hides_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "wrong.toml"
    file.write_text(
        'title = "Wrong"\n'
        'proves = ["T-01"]\n'
        "[[location]]\n"
        'id = "hq"\n'
        'timezone = "Europe/Berln"\n'
        'holder_first = "taem"\n'
        'auto_checkout_at = "25:00"\n'
        "[[door]]\n"
        'id = "front"\n'
        'policy = "check_in_frist"\n'
        "lease_hours = 0\n"
        'schedule = [{ from = "08:00", to = "25:00" }]\n'
        "[[step]]\n"
        "at = 2026-03-02T10:00:00Z\n"
        'put = { kind = "location", body = { id = "hq", timezone = "Mars/Base" } }\n'
    )
    result = CliRunner().invoke(main, ["replay", str(file)])
    assert result.exit_code == 2
    told = [line.partition("wrong.toml:")[2] for line in result.output.splitlines()]
    assert told == [
        '5: location[0].timezone: "Europe/Berln" is no time zone; did you mean "Europe/Berlin"?',
        (
            '6: location[0].holder_first: must be one of "personal", "team" (got "taem"); '
            'did you mean "team"?'
        ),
        (
            '7: location[0].auto_checkout_at: must be a time of day from "00:00" to "23:59" '
            '(got "25:00")'
        ),
        (
            '10: door[0].policy: must be one of "pass", "check_in_first", "booking", "membership", '
            '"staff", "free" (got "check_in_frist"); did you mean "check_in_first"?'
        ),
        "11: door[0].lease_hours: must be a whole number from 1 to 1000000 (got 0)",
        ('12: door[0].schedule[0].to: must be a time of day from "00:00" to "24:00" (got "25:00")'),
        '15: step[0].put.body.timezone: "Mars/Base" is no time zone',
    ]
