"""The edits that disable the pass rules fit the code as it is, so that they cannot go stale."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

TOP = Path(__file__).parent.parent.parent

RULES = '[[part]]\ntitle = "Time"\n\n[[part.rule]]\nid = "T-01"\nsays = "A day is a day."\n'
EDITS = """
[[edit]]
rule = "T-01"
what = "the day is a week"
file = "edgegate/days.py"
old = "DAYS = 1"
new = "DAYS = 7"
"""


def _script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("disable_rules", TOP / "scripts/disable_rules.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


disable_rules = _script()


def _tree(top: Path, *, code: str = "DAYS = 1\n", rules: str = RULES, edits: str = EDITS) -> Path:
    for name, text in {
        "docs/pass-rules.toml": rules,
        "scripts/rule-edits.toml": edits,
        "edgegate/days.py": code,
    }.items():
        (top / name).parent.mkdir(exist_ok=True)
        (top / name).write_text(text)
    return top


def test_every_edit_fits_the_code_and_every_rule_has_one(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert disable_rules.main(["--check"]) == 0, capsys.readouterr().out


def test_a_tree_whose_edits_fit_is_told_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert disable_rules.main(["--check", "--top", str(_tree(tmp_path))]) == 0
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("changed", "complaint"),
    [
        ({"code": "DAYS = 2\n"}, "T-01, the day is a week: its text stands 0 times"),
        ({"code": "DAYS = 1\nMORE_DAYS = 1\n"}, "T-01, the day is a week: its text stands 2 times"),
        ({"edits": EDITS.replace("= 7", "=")}, "T-01, the day is a week: the code is no Python"),
        ({"edits": EDITS.replace("days.py", "weeks.py")}, "weeks.py"),
        ({"edits": EDITS + EDITS.replace("T-01", "T-70")}, "T-70, the day is a week: there is no"),
        ({"rules": RULES + RULES.replace("T-01", "T-02")}, "T-02 has no edit"),
    ],
)
def test_an_edit_that_disables_nothing_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], changed: dict[str, str], complaint: str
) -> None:
    assert disable_rules.main(["--check", "--top", str(_tree(tmp_path, **changed))]) == 1
    told = capsys.readouterr().out
    assert complaint in told
    assert len(told.splitlines()) == 1
