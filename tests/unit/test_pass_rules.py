"""Every pass rule has a scenario that proves it, and the page that says so is up to date."""

import importlib.util
import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

TOP = Path(__file__).parent.parent.parent


def _script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("pass_rules", TOP / "scripts/pass_rules.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


pass_rules = _script()


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for folder in ("docs", "tests/scenarios"):
        shutil.copytree(TOP / folder, tmp_path / folder)
    assert pass_rules.main(["--top", str(tmp_path)]) == 0
    return tmp_path


def test_every_rule_is_proved_and_the_page_is_up_to_date() -> None:
    assert pass_rules.main(["--check"]) == 0


def _edit(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def _without_a_scenario(tree: Path) -> None:
    for file in (tree / "tests/scenarios").glob("*.toml"):
        file.write_text(file.read_text().replace('"P-07"', ""))


def _without_its_preset(tree: Path) -> None:
    for file in (tree / "tests/scenarios").glob("*.toml"):
        file.write_text(file.read_text().replace('preset = "andcards"\n', ""))


def _unknown(tree: Path) -> None:
    _edit(tree / "tests/scenarios/in-and-out-at-once.toml", '"P-07"', '"P-07", "P-70"')


def _waits_for_nothing(tree: Path) -> None:
    _edit(tree / "docs/pass-rules.toml", 'id = "P-07"', 'id = "P-07"\nwaits_for = "nothing"')


def _stale(tree: Path) -> None:
    _edit(tree / "docs/pass-rules.toml", "A stay of no length", "A stay of no time")


def _empty(tree: Path) -> None:
    shutil.rmtree(tree / "tests/scenarios")


@pytest.mark.parametrize(
    ("fault", "complaint"),
    [
        (_without_a_scenario, "P-07 has no scenario"),
        (_without_its_preset, "AC-02 has no scenario under the preset of andcards"),
        (_unknown, "in-and-out-at-once.toml proves P-70, which is no rule"),
        (_waits_for_nothing, "P-07 has a scenario now"),
        (_stale, "docs/pass-rules.md is out of date"),
        (_empty, "there are no scenarios"),
    ],
)
def test_what_is_missing_is_named(
    tree: Path,
    capsys: pytest.CaptureFixture[str],
    fault: Callable[[Path], None],
    complaint: str,
) -> None:
    fault(tree)
    assert pass_rules.main(["--check", "--top", str(tree)]) == 1
    assert complaint in capsys.readouterr().err
