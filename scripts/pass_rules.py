#!/usr/bin/env python3
"""Makes docs/pass-rules.md: what each pass rule says, and the scenarios that prove it.

Without an argument it writes the page, with `--check` it only compares. It complains, and exits 1,
if a rule or a product's behaviour has no scenario, a scenario names an unknown id, or the page is
out of date.
"""

import argparse
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent
HEAD = """# The pass rules and what proves them

Made by `scripts/pass_rules.py` from [pass-rules.toml](pass-rules.toml) and the scenarios in
[tests/scenarios](../tests/scenarios); do not edit. Each scenario is a small story with what must
come of it, and [scenarios.md](scenarios.md) says how to read and run one.
"""


@dataclass(frozen=True)
class Scenario:
    """What the page needs to know of a scenario file."""

    name: str
    title: str
    preset: str | None
    proves: tuple[str, ...]


@dataclass(frozen=True)
class Rule:
    """A rule of the law; `waits_for` says why no scenario can prove it yet."""

    id: str
    says: str
    tags: tuple[str, ...]
    waits_for: str | None


@dataclass(frozen=True)
class Law:
    """All that the page lists, in its order."""

    parts: tuple[tuple[str, tuple[Rule, ...]], ...]
    products: tuple[tuple[str, str, dict[str, str]], ...]
    """By product: name, preset, and what each of its tags says."""
    open_points: dict[str, str]

    @property
    def rules(self) -> list[Rule]:
        """Every rule, in order."""
        return [rule for _, rules in self.parts for rule in rules]

    @property
    def ids(self) -> set[str]:
        """Every id that a scenario may name."""
        tags = {tag for _, _, says in self.products for tag in says}
        return {rule.id for rule in self.rules} | tags | set(self.open_points)


def read_law(top: Path) -> Law:
    """Read docs/pass-rules.toml."""
    data = tomllib.loads((top / "docs/pass-rules.toml").read_text(encoding="utf-8"))
    return Law(
        parts=tuple(
            (part["title"], tuple(_rule(row) for row in part["rule"])) for part in data["part"]
        ),
        products=tuple((p["name"], p["preset"], p["says"]) for p in data["product"]),
        open_points=data["open_points"],
    )


def _rule(row: dict[str, object]) -> Rule:
    tags = row.get("tags", [])
    waits_for = row.get("waits_for")
    return Rule(
        id=str(row["id"]),
        says=str(row["says"]),
        tags=tuple(tags) if isinstance(tags, list) else (),
        waits_for=None if waits_for is None else str(waits_for),
    )


def read_scenarios(top: Path) -> list[Scenario]:
    """Read the heads of the scenario files, by name."""
    return [
        Scenario(file.stem, data["title"], data.get("preset"), tuple(data["proves"]))
        for file in sorted((top / "tests/scenarios").glob("*.toml"))
        for data in [tomllib.loads(file.read_text(encoding="utf-8"))]
    ]


def proofs(id_: str, scenarios: list[Scenario], preset: str | None = None) -> list[Scenario]:
    """The scenarios that prove an id; a product's behaviour is proved under its preset only."""
    return [s for s in scenarios if id_ in s.proves and preset in (None, s.preset)]


def complaints(law: Law, scenarios: list[Scenario]) -> Iterator[str]:
    """Everything that is missing or unknown."""
    if not scenarios:
        yield "there are no scenarios"
    for rule in law.rules:
        yield from _about_rule(rule, law, scenarios)
    for name, preset, says in law.products:
        for tag in says:
            if not proofs(tag, scenarios, preset):
                yield f"{tag} has no scenario under the preset of {name}"
    yield from (f"{p} has no scenario" for p in law.open_points if not proofs(p, scenarios))
    for scenario in scenarios:
        yield from _about_scenario(scenario, law)


def _about_rule(rule: Rule, law: Law, scenarios: list[Scenario]) -> Iterator[str]:
    proved = bool(proofs(rule.id, scenarios))
    if not proved and rule.waits_for is None:
        yield f"{rule.id} has no scenario"
    if proved and rule.waits_for is not None:
        yield f"{rule.id} has a scenario now: take its waits_for out"
    unknown = (tag for tag in rule.tags if tag not in law.ids)
    yield from (f"{rule.id} carries {tag}, which no product lists" for tag in unknown)


def _about_scenario(scenario: Scenario, law: Law) -> Iterator[str]:
    unknown = (id_ for id_ in scenario.proves if id_ not in law.ids)
    yield from (f"{scenario.name}.toml proves {id_}, which is no rule" for id_ in unknown)
    if len(set(scenario.proves)) < len(scenario.proves):
        yield f"{scenario.name}.toml names a rule twice"


def page(law: Law, scenarios: list[Scenario]) -> str:
    """The text of docs/pass-rules.md."""
    return "\n".join([HEAD, *_page_lines(law, scenarios)])


def _page_lines(law: Law, scenarios: list[Scenario]) -> Iterator[str]:
    for title, rules in law.parts:
        yield from (
            f"## {title}",
            "",
            "| rule | says | products | proved by |",
            "|---|---|---|---|",
        )
        for rule in rules:
            shown = _links(proofs(rule.id, scenarios)) or f"waits for {rule.waits_for}"
            yield f"| {rule.id} | {rule.says} | {', '.join(rule.tags)} | {shown} |"
        yield ""
    for name, preset, says in law.products:
        yield from (f"## As {name} does it", "", f'With `preset = "{preset}"`.', "")
        yield from _table(says, scenarios, preset)
    yield from ("## Points that the products leave open", "")
    yield from _table(law.open_points, scenarios, None)
    yield from ("## The scenarios", "", "| scenario | shows |", "|---|---|")
    yield from (f"| {_link(s)} | {s.title}. |" for s in scenarios)
    yield ""


def _table(says: dict[str, str], scenarios: list[Scenario], preset: str | None) -> Iterator[str]:
    yield from ("| | says | proved by |", "|---|---|---|")
    for id_, what in says.items():
        yield f"| {id_} | {what} | {_links(proofs(id_, scenarios, preset))} |"
    yield ""


def _links(scenarios: list[Scenario]) -> str:
    return ", ".join(_link(s) for s in scenarios)


def _link(scenario: Scenario) -> str:
    return f"[{scenario.name}](../tests/scenarios/{scenario.name}.toml)"


def main(arguments: list[str] | None = None) -> int:
    """Write or check the page; the result is the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--check", action="store_true", help="write nothing, only compare")
    parser.add_argument("--top", type=Path, default=TOP, help="the tree to look at")
    options = parser.parse_args(arguments)
    law, scenarios = read_law(options.top), read_scenarios(options.top)
    found = list(complaints(law, scenarios))
    text, file = page(law, scenarios), options.top / "docs/pass-rules.md"
    if not options.check:
        file.write_text(text, encoding="utf-8")
    elif not file.exists() or file.read_text(encoding="utf-8") != text:
        found.append("docs/pass-rules.md is out of date: run scripts/pass_rules.py")
    for complaint in found:
        print(complaint, file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
