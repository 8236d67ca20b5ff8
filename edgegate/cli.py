"""The command line; each command imports what it needs only when it runs."""

import asyncio
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgegate import __version__
from edgegate.clioptions import (
    CONFIG,
    CONFIG_VARIABLE,
    config_option,
    configured,
    state_directory,
    state_option,
)
from edgegate.cloudcli import cloud
from edgegate.cloudcli_data import backup, restore
from edgegate.cloudcli_wifi import wifi_device, wifi_login
from edgegate.synccli import enroll, status, sync
from edgegate.wificli import certificate, wifi
from edgegate.wificli_members import issue, profile, slip

if TYPE_CHECKING:
    from sqlite3 import Connection


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="edgegate")
def main() -> None:
    """The check-in appliance beside a coworking space's door."""


for command in (cloud, backup, restore, enroll, status, sync):
    main.add_command(command)
main.add_command(wifi)
certificate.add_command(issue)
for command in (slip, profile):
    wifi.add_command(command)
for command in (wifi_login, wifi_device):
    cloud.add_command(command)


@main.command()
@config_option
def run(config: Path) -> None:
    """Run the appliance until it is told to stop."""
    import uvloop

    from edgegate import logs
    from edgegate.app import App

    settings = configured(config)
    logs.set_up(settings.log.level, for_journal="JOURNAL_STREAM" in os.environ)
    app = App(settings, config_path=config)
    # Its hand-overs between threads take half as long, and a tap has two of them.
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(app.run())


@main.command()
@click.option("--tour", is_flag=True, help="Play a scripted tour and end.")
def demo(tour: bool) -> None:
    """See it work, with doors made of software.

    It is the real appliance; readers and cards are software, too.
    """
    from edgegate.demo import run_demo

    sys.exit(run_demo(tour=tour or not sys.stdin.isatty()))


@main.command("check-config")
@click.argument("file", type=click.Path(path_type=Path), envvar=CONFIG_VARIABLE, default=CONFIG)
@click.option("--dump", is_flag=True, help="Print all settings as they are in effect.")
def check_config(file: Path, dump: bool) -> None:
    """Say everything that is wrong with a configuration.

    Exit 2 if anything is.
    """
    settings = configured(file)
    for name, device in settings.devices():
        if device.load_error:
            click.echo(f"{file}: {name}: warning: {device.load_error}", err=True)
    for warning in settings.wifi.warnings() if settings.wifi is not None else ():
        click.echo(f"{file}: warning: {warning}", err=True)
    if dump:
        from edgegate.configdump import dump as dump_config

        click.echo(dump_config(settings), nl=False)
    else:
        doors, readers = len(settings.doors), len(settings.readers)
        click.echo(f"{file} is in order (doors: {doors}, readers: {readers}).")


@main.group()
def ledger() -> None:
    """Read the ledger of what the appliance did."""


@ledger.command()
@config_option
@state_option
@click.option("--count", "-n", default=20, show_default=True, type=click.IntRange(1, 100_000))
def tail(config: Path, state_dir: Path | None, count: int) -> None:
    """Print the newest entries."""
    from edgegate.ledgertext import line_of
    from edgegate.store.ledger import tail as newest

    with _ledger(config, state_dir) as connection:
        for entry in newest(connection, count):
            click.echo(line_of(entry))


@ledger.command()
@config_option
@state_option
def verify(config: Path, state_dir: Path | None) -> None:
    """Follow the chain of hashes to the last entry.

    Exit 1 if it breaks.
    """
    from edgegate.store import ledger as chain

    with _ledger(config, state_dir) as connection:
        faults = chain.verify(connection)
        link = chain.head(connection)
    for fault in faults:
        click.echo(f"entry {fault.epoch}/{fault.sequence}: {fault.detail}", err=True)
    if faults:
        sys.exit(1)
    click.echo(f"The chain holds up to entry {link.epoch}/{link.sequence}, {link.hash.hex()}.")


@ledger.command()
@config_option
@state_option
def export(config: Path, state_dir: Path | None) -> None:
    """Print every entry as one line of JSON (CloudEvents)."""
    from edgegate.store import ledger as chain

    with _ledger(config, state_dir) as connection:
        chain.export(connection, sys.stdout.buffer)


@main.command()
@config_option
@state_option
@click.option("--customer", required=True, help="The customer's id.")
@click.option("--door", help="The door's id; else it is judged as at the front desk.")
@click.option("--location", help="The location's id, where there are several and no door is named.")
@click.option("--at", "at_text", help='When, like "2026-03-29T02:30:00+01:00"; else now.')
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def explain(
    config: Path,
    state_dir: Path | None,
    customer: str,
    door: str | None,
    location: str | None,
    at_text: str | None,
    as_json: bool,
) -> None:
    """Say how far each pass of a customer gets, and why.

    The rules are gone through in their order.
    """
    from rich.console import Console

    from edgegate.explain import explain as explained
    from edgegate.explain import render, to_json
    from edgegate.store.reading import open_for_reading, reading_books

    at = _instant(at_text)
    with open_for_reading(state_directory(config, state_dir)) as files:
        explanation = explained(reading_books(files), customer, door, location, at)
    if as_json:
        click.echo(to_json(explanation))
    else:
        Console().print(render(explanation))


@main.command()
@click.argument("paths", nargs=-1, type=click.Path(exists=True, path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option(
    "--ledger",
    "exports",
    multiple=True,
    type=click.Path(path_type=Path),
    help="What if: an export whose taps are replayed; one for each device.",
)
@click.option(
    "--with",
    "changes",
    type=click.Path(path_type=Path),
    help="What if: the records that would be otherwise.",
)
@click.option(
    "--records",
    type=click.Path(path_type=Path),
    help="What if: the site's records in a file; else they are those of the appliance.",
)
@click.option("--not-reproduced", is_flag=True, help="What if: list what the records do not show.")
@config_option
@state_option
def replay(  # noqa: PLR0913, PLR0917 - one for each option
    paths: tuple[Path, ...],
    exports: tuple[Path, ...],
    changes: Path | None,
    records: Path | None,
    config: Path,
    state_dir: Path | None,
    as_json: bool,
    not_reproduced: bool,
) -> None:
    """Run scenario files and print what differs.

    Exit 1 if anything does, 2 if a file is wrong.

    With --ledger and --with it is a what-if: the recorded taps are presented again under other
    records, and whoever would have been treated differently is listed.
    """
    if not exports and changes is None:
        from edgegate.replaytext import replay_all

        if not paths:
            raise click.UsageError("name scenario files, or an export with --ledger and --with")
        sys.exit(replay_all(paths, as_json=as_json))
    if paths or changes is None or not exports:
        raise click.UsageError("a what-if takes --ledger EXPORT and --with CHANGES, nothing else")
    from edgegate.whatif.records import from_cache, from_file
    from edgegate.whatiftext import what_if

    if records is not None:
        known = partial(from_file, records)
    else:
        known = partial(from_cache, state_directory(config, state_dir) / "cache.db")
    sys.exit(what_if(exports, changes, known, as_json=as_json, list_not_reproduced=not_reproduced))


@main.group()
def door() -> None:
    """Drive the doors by hand, while the appliance does not run."""


@door.command("lock-all")
@config_option
def lock_all(config: Path) -> None:
    """Leave every strike locked.

    A fail-safe one stays released while the fire input is active.
    """
    from edgegate.lockall import lock_all as lock

    faults = asyncio.run(lock(configured(config)))
    for fault in faults:
        click.echo(fault, err=True)
    sys.exit(1 if faults else 0)


@contextmanager
def _ledger(config: Path, state_dir: Path | None) -> Iterator["Connection"]:
    from edgegate.store.reading import open_for_reading

    with open_for_reading(state_directory(config, state_dir)) as files:
        yield files.ledger


def _instant(text: str | None) -> datetime:
    if text is None:
        return datetime.now(UTC)
    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        raise click.BadParameter(f"{text!r} is no date and time", param_hint="--at") from error
    if at.tzinfo is None:
        raise click.BadParameter("needs an offset, like +01:00", param_hint="--at")
    return at.astimezone(UTC)
