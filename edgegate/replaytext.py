"""`edgegate replay` for people and for programs: what was run and what came out otherwise."""

from pathlib import Path

import click
import msgspec

from edgegate.faults import Fault, FaultsError
from edgegate.replay import Difference, Replayed, replay, scenario_files
from edgegate.scenario import Scenario, read


def replay_all(paths: tuple[Path, ...], *, as_json: bool) -> int:
    """Run scenario files and print the result; 0: all hold, 1: some differ, 2: a file is wrong."""
    scenarios, faults = _read_all(scenario_files(paths))
    if faults:
        for fault in faults:
            click.echo(str(fault), err=True)
        return 2
    replayed = [replay(scenario) for scenario in scenarios]
    if as_json:
        click.echo(msgspec.json.encode({"scenarios": replayed}))
    else:
        for result in replayed:
            _print(result)
        passed = sum(result.passed for result in replayed)
        click.echo(f"{passed} passed, {len(replayed) - passed} failed")
    return 0 if all(result.passed for result in replayed) else 1


def _read_all(files: list[Path]) -> tuple[list[Scenario], list[Fault]]:
    scenarios: list[Scenario] = []
    faults: list[Fault] = []
    for file in files:
        try:
            scenarios.append(read(file))
        except FaultsError as error:
            faults += error.faults
    if not files:
        faults.append(Fault("", None, "", "there is no scenario file (*.toml) in what was named"))
    return scenarios, faults


def _print(result: Replayed) -> None:
    click.echo(f"{'ok    ' if result.passed else 'DIFFERS'} {result.file}: {result.title}")
    for difference in result.failed:
        click.echo(f"        {_sentence(difference)}")


def _sentence(difference: Difference) -> str:
    want = msgspec.json.encode(difference.expected).decode()
    got = msgspec.json.encode(difference.got).decode()
    return f"step {difference.step}: {difference.field} should be {want}, is {got}"
