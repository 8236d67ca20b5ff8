"""The changes that are tried on the rules are those that are said, and their names last."""

import ast
from pathlib import Path

import pytest

from mutation.changes import Mutant, members_of, mutants_of
from mutation.report import read_explained

TOP = Path(__file__).parent.parent.parent
RULES = sorted((TOP / "edgegate" / "passes").glob("*.py"))

SMALL = '''
"""A module."""
from enum import StrEnum
LIMIT: int = 3
class Kind(StrEnum):
    """Two."""
    ONE = "one"
    TWO = "two"
def small(a: int | None, kind: Kind, b: int = 0) -> bool:
    """It says so."""
    if a is None:
        raise ValueError("no number")
    return kind is Kind.ONE and a <= b
'''


def found(source: str) -> list[Mutant]:
    return mutants_of("small", source, members_of({"small": source}))


def test_every_sort_of_change_is_tried_and_no_other() -> None:
    assert [f"{m.function}: {m.text}" for m in found(SMALL)] == [
        "module: LIMIT: int = 3 → LIMIT: int = 4",
        "module: LIMIT: int = 3 → LIMIT: int = 2",
        "Kind: ONE = 'one' → ONE = 'oneX'",
        "Kind: TWO = 'two' → TWO = 'twoX'",
        "small: 0 → 1",
        "small: 0 → -1",
        "small: if a is None → if True",
        "small: if a is None → if False",
        "small: a is None → a is not None",
        "small: raise ValueError('no number') → pass",
        "small: return kind is Kind.ONE and a <= b → return None",
        "small: return kind is Kind.ONE and a <= b → return kind is Kind.ONE or a <= b",
        "small: return kind is Kind.ONE and a <= b → return a <= b",
        "small: return kind is Kind.ONE and a <= b → return kind is Kind.ONE",
        "small: return kind is Kind.ONE and a <= b → return kind is not Kind.ONE and a <= b",
        "small: return kind is Kind.ONE and a <= b → return kind is Kind.TWO and a <= b",
        "small: return kind is Kind.ONE and a <= b → return kind is Kind.ONE and a < b",
        "small: return kind is Kind.ONE and a <= b → return kind is Kind.ONE and a > b",
    ]


def test_a_mutant_is_the_code_with_that_change_and_no_other() -> None:
    for place, mutant in enumerate(found(SMALL)):
        before = ast.unparse(ast.parse(SMALL)).splitlines()
        after = ast.unparse(found(SMALL)[place].apply()).splitlines()
        assert before != after, mutant.key


def test_a_mutant_keeps_its_name_when_its_function_moves() -> None:
    moved = f"{SMALL}\ndef other() -> int:\n    return 1\n".replace("LIMIT: int", "\n\nLIMIT: int")
    assert {m.key for m in found(SMALL)} < {m.key for m in found(moved)}


@pytest.mark.parametrize("file", RULES, ids=lambda file: file.stem)
def test_the_mutants_of_the_rules_have_names_of_their_own(file: Path) -> None:
    sources = {f.stem: f.read_text(encoding="utf-8") for f in RULES}
    mutants = mutants_of(file.stem, sources[file.stem], members_of(sources))
    assert len({m.key for m in mutants}) == len(mutants)


def test_every_explanation_is_of_a_kind_and_names_a_mutant_once() -> None:
    assert all(text.count(" → ") for text in read_explained(TOP / "scripts" / "mutants.toml"))


def test_what_explains_nothing_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "wrong.toml"
    row = (
        '[[survivor]]\nmodule = "m"\nfunction = "f"\nkind = "{}"\nwhy = "{}"\nmutants = ["a → b"]\n'
    )
    file.write_text(row.format("luck", "none"))
    with pytest.raises(ValueError, match="explained by nothing"):
        read_explained(file)
    file.write_text(row.format("speed", "a cache") * 2)
    with pytest.raises(ValueError, match="explained twice"):
        read_explained(file)
