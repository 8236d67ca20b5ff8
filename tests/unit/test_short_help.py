"""What `--help` says of each command is a whole sentence on a terminal of 80 columns."""

from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from edgegate.cli import main

COLUMNS = 80


def groups(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    if isinstance(command, click.Group):
        yield path
        for name, below in command.commands.items():
            yield from groups(below, (*path, name))


PATHS = list(groups(main))


def listed(path: tuple[str, ...]) -> list[str]:
    """The lines that say what commands a group has."""
    told = CliRunner().invoke(main, [*path, "--help"], terminal_width=COLUMNS)
    assert told.exit_code == 0, told.output
    return told.output.partition("Commands:\n")[2].splitlines()


@pytest.mark.parametrize("path", PATHS, ids=" ".join)
def test_no_command_is_explained_by_half_a_sentence(path: tuple[str, ...]) -> None:
    lines = listed(path)
    assert lines
    assert [line for line in lines if "..." in line or "…" in line] == []
    assert all(len(line) <= COLUMNS for line in lines)
    assert all(len(line.split()) > 1 for line in lines)


def test_all_groups_are_seen() -> None:
    assert {(), ("wifi",), ("wifi", "certificate"), ("cloud",), ("door",)} <= set(PATHS)
