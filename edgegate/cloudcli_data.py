"""`edgegate cloud import, site-key, backup, restore, demo-data`, and `edgegate backup, restore`."""

import asyncio
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgegate.clioptions import config_option, existing_file, state_directory, state_option
from edgegate.cloudcli import _explained, _settings, _stored, cloud

if TYPE_CHECKING:
    from edgegate_sync.cloud.csv_import import ImportReport

MAPPINGS = ("andcards", "cobot", "deskie", "edgegate", "nexudus", "spacebring")
FAULTS_SHOWN_MAX = 1_000

_passphrase = click.option(
    "--passphrase-file",
    type=existing_file,
    help="Where the passphrase is, on one line; else it is asked for.",
)


@cloud.command("import")
@_stored
@click.argument("files", nargs=-1, required=True)
@click.option("--site", required=True)
@click.option("--mapping", required=True, type=click.Choice(MAPPINGS), help="The product.")
@click.option("--dry-run", is_flag=True, help="Write nothing, and list every fault.")
@click.option("--encoding", type=click.Choice(["utf-8", "cp1252"]), default="utf-8")
@click.option("--location", help="Where passes are at home whose line does not say it.")
@click.option("--timezone", help="Whose wall times the files have; else the location's.")
@click.option("--date-format", "dates", multiple=True, help='Like "%d.%m.%Y"; repeat.')
@click.option(
    "--cards",
    type=click.Choice(["hex", "hex_reversed", "decimal", "decimal_reversed"]),
    default="hex",
    show_default=True,
    help="How card numbers are written.",
)
@click.option("--remove-gone", is_flag=True, help="Delete what earlier imports had.")
def import_files(
    database: str,
    key_file: Path | None,
    files: tuple[str, ...],
    site: str,
    encoding: str,
    **options: Any,
) -> None:
    """Import FILES that another product exported.

    [TABLE=]FILE says which one it is.
    """
    with _explained():
        from edgegate_sync.cloud.csv_import import ImportOptions
        from edgegate_sync.cloud.csv_import_desk import import_paths

        settings = _settings(database, key_file)
        made = ImportOptions(**options)
        report = asyncio.run(import_paths(settings, site, files, encoding, made))
        _show(report)
        sys.exit(1 if report.faults_count else 0)


@cloud.command("site-key")
@_stored
@click.option("--site", required=True)
@click.argument("file", type=existing_file)
def site_key(database: str, key_file: Path | None, site: str, file: Path) -> None:
    """Deposit the key of a site's devices.

    With it card numbers can be imported.
    """
    with _explained():
        from edgegate_sync.cloud.csv_import_desk import deposit

        fingerprint = asyncio.run(deposit(_settings(database, key_file), site, file))
        click.echo(f"The key of {site} is kept; its fingerprint is {fingerprint}.")


@cloud.command("backup")
@_stored
@click.argument("out", type=click.Path(path_type=Path))
@_passphrase
def backup_cloud(
    database: str, key_file: Path | None, out: Path, passphrase_file: Path | None
) -> None:
    """Write database and keys into one encrypted file.

    The authorities are among the keys; workers may be running.
    """
    with _explained(), _sealed():
        from edgegate_sync.cloud import backup

        words = _words(passphrase_file, confirm=True)
        report = backup.make(_settings(database, key_file), out, words)
        click.echo(" ".join((report.done, report.left)).strip())


@cloud.command("restore")
@_stored
@click.argument("source", type=existing_file, required=False)
@click.option("--replace", is_flag=True, help="Set what is there aside.")
@click.option("--check", is_flag=True, help="Only see that database and keys belong together.")
@_passphrase
def restore_cloud(
    database: str,
    key_file: Path | None,
    source: Path | None,
    replace: bool,
    check: bool,
    passphrase_file: Path | None,
) -> None:
    """Put a backup in the place of a cloud; no worker may be running."""
    with _explained(), _sealed():
        from edgegate_sync.cloud import backup

        settings = _settings(database, key_file)
        if not check:
            if source is None:
                raise click.UsageError("name the backup, or say --check")
            words = _words(passphrase_file)
            report = backup.restore(settings, source, words, replace=replace)
            click.echo(" ".join((report.done, report.left)).strip())
            if report.left:
                return
        click.echo(asyncio.run(backup.check(settings)).done)


@cloud.command("demo-data")
@_stored
@click.option("--site", default="demo", show_default=True)
@click.option(
    "--site-key", type=existing_file, help="Of the site's devices: then there are cards too."
)
def demo_data(database: str, key_file: Path | None, site: str, site_key: Path | None) -> None:
    """Make a believable space to try things with.

    It has two locations, doors, plans, and 40 members with all kinds of passes.
    """
    with _explained():
        from edgegate_sync.cloud.csv_import_desk import make_demo

        changed = asyncio.run(make_demo(_settings(database, key_file), site, site_key))
        click.echo(f"The site {site} has the demo space; {changed} records were written.")


@click.command("backup")
@click.argument("out", type=click.Path(path_type=Path))
@config_option
@state_option
@_passphrase
def backup(out: Path, config: Path, state_dir: Path | None, passphrase_file: Path | None) -> None:
    """Write ledger and identity into one encrypted file.

    The appliance may be running.
    """
    with _explained(), _sealed():
        from edgegate_sync.appliance import backup as box

        where = state_directory(config, state_dir)
        box.make(where, out, _words(passphrase_file, confirm=True))
        click.echo(f"Ledger and identity are in {out}.")


@click.command("restore")
@click.argument("source", type=existing_file)
@config_option
@state_option
@click.option("--replace", is_flag=True, help="Set the ledger that is there aside.")
@_passphrase
def restore(
    source: Path,
    config: Path,
    state_dir: Path | None,
    replace: bool,
    passphrase_file: Path | None,
) -> None:
    """Put a backup into this appliance.

    It may not be running; its ledger begins an epoch.
    """
    with _explained(), _sealed():
        from edgegate_sync.appliance import backup as box

        where = state_directory(config, state_dir)
        done = box.restore(where, source, _words(passphrase_file), replace=replace)
        click.echo(f"Restored as of {done.made_at}; the ledger goes on in epoch {done.epoch}.")
        if not done.has_identity:
            click.echo("It had no identity: enrol with `edgegate enroll`.")


def _words(file: Path | None, *, confirm: bool = False) -> str:
    if file is not None:
        return file.read_text(encoding="utf-8").rstrip("\r\n")
    if not sys.stdin.isatty():
        raise click.UsageError("without a terminal the passphrase comes from --passphrase-file")
    return str(click.prompt("Passphrase", hide_input=True, confirmation_prompt=confirm))


@contextmanager
def _sealed() -> Iterator[None]:
    from edgegate.ports import OperatingError
    from edgegate.store.sealed_file import SealedFileError

    try:
        yield
    except (SealedFileError, OperatingError) as error:
        click.echo(f"{error}.", err=True)
        sys.exit(2)


def _show(report: "ImportReport") -> None:
    for one in report.files:
        click.echo(f"{one.file}: {one.table}")
    for fault in report.faults[:FAULTS_SHOWN_MAX]:
        column = f", {fault.column}" if fault.column else ""
        click.echo(f"{fault.file}:{fault.line}{column}: {fault.problem}. {fault.advice}", err=True)
    for warning in report.warnings:
        click.echo(
            f"{warning.file}:{warning.line}: note: {warning.problem}. {warning.advice}", err=True
        )
    would = "would be " if not report.written else ""
    for kind, tally in report.kinds.items():
        click.echo(
            f"{kind}: {tally.new} {would}new, {tally.changed} changed, {tally.same} the same,"
            f" {tally.gone} gone"
        )
    if report.faults_count:
        click.echo(f"Faults: {report.faults_count}; nothing was written.", err=True)
    elif report.written:
        click.echo(f"Imported, as of {datetime.now(UTC):%Y-%m-%d %H:%M} UTC.")
