"""Replays scenario files through the line's own functions and compares what comes of them."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
from msgspec import UNSET, Struct

from edgegate.scenario import Scenario, Step
from edgegate.simulated import World

PLAIN = (
    *("opens", "reason", "because", "pass", "offer", "retry_at", "sessions"),
    *("session_timeout", "wifi_disconnected"),
)
"""What is compared as it stands."""


class Difference(Struct, frozen=True):
    """What came out otherwise than expected; `step` counts from 1."""

    step: int
    field: str
    expected: Any
    got: Any


class Replayed(Struct, frozen=True):
    """What came of a scenario."""

    file: str
    title: str
    passed: bool
    failed: list[Difference]
    steps: list[dict[str, Any]]


def replay(scenario: Scenario) -> Replayed:
    """Run a scenario and compare each step with what it expects."""
    world = World(scenario)
    failed: list[Difference] = []
    steps = []
    for number, step in enumerate(scenario.steps):
        result = world.run(step, scenario.arrivals.get(number))
        steps.append({"at": step.at, **result})
        failed += _differences(number + 1, step, result)
    return Replayed(
        file=scenario.file,
        title=scenario.title,
        passed=not failed,
        failed=failed,
        steps=steps,
    )


def _differences(number: int, step: Step, result: dict[str, Any]) -> Iterator[Difference]:
    expected = step.expect
    for name in PLAIN:
        want = getattr(expected, "pass_" if name == "pass" else name)
        if want is not UNSET and result.get(name) != want:
            yield Difference(number, name, want, result.get(name))
    if expected.remaining is not UNSET:
        for pass_id, left in expected.remaining.items():
            if result["remaining"].get(pass_id) != left:
                got = result["remaining"].get(pass_id)
                yield Difference(number, f"remaining.{pass_id}", left, got)
    if expected.closed is not UNSET and not _like(expected.closed, result["closed"]):
        yield Difference(number, "closed", expected.closed, result["closed"])
    if expected.charged is not UNSET and not _like(expected.charged, result["charged"]):
        yield Difference(number, "charged", expected.charged, result["charged"])


def _like(expected: Sequence[Struct], got: list[dict[str, Any]]) -> bool:
    """Whether as many things happened as expected, each as far as it is described."""
    wanted = [msgspec.to_builtins(visit, builtin_types=(datetime,)) for visit in expected]
    return len(wanted) == len(got) and all(
        all(visit[name] == want[name] for name in want)
        for want, visit in zip(wanted, got, strict=True)
    )


def scenario_files(paths: tuple[Path, ...]) -> list[Path]:
    """The scenario files that are meant: the files named, and those in the folders named."""
    found: list[Path] = []
    for path in paths:
        found += sorted(path.rglob("*.toml")) if path.is_dir() else [path]
    return found
