"""`edgegate enroll`, `edgegate status` and `edgegate sync`: the appliance and its cloud."""

import asyncio
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgegate.clioptions import basics, config_option, end

if TYPE_CHECKING:
    from edgegate.config import Basics
    from edgegate.status import Progress, Status, Whose
    from edgegate_sync.appliance.identity import Identity


@click.command()
@click.option("--cloud", "url", required=True, help='Like "https://cloud.example:8443".')
@click.option("--claim", required=True, help='The claim code, with "@" and what follows it.')
@click.option("--name", help="What the device is to be called; else as the configuration says.")
@click.option(
    "--state-dir",
    type=click.Path(path_type=Path),
    help="Where the identity goes; else where the configuration says.",
)
@config_option
def enroll(url: str, claim: str, name: str | None, state_dir: Path | None, config: Path) -> None:
    """Make this computer a device of a site in the cloud.

    The claim code comes from there.
    """
    # A device may be enrolled before it is configured.
    settings = basics(config) if state_dir is None or config.exists() else None
    if settings is not None:
        state_dir = state_dir or Path(settings.device.state_dir)
        name = name or settings.device.id
    if state_dir is None:
        raise click.UsageError("name --config or --state-dir")
    try:
        from edgegate_sync.appliance.enrol import EnrolError, enrol
    except ModuleNotFoundError as error:
        end(f"{error.name} is not installed: pip install 'edgegate[cloud]'")
    try:
        identity = asyncio.run(enrol(url, claim, state_dir, name))
    except EnrolError as error:
        end(f"Not enrolled: {error}.")
    click.echo(f"Enrolled as {identity.site}/{identity.device}; the identity is in {state_dir}.")
    click.echo(f"The certificate is good until {identity.life[1]:%Y-%m-%d} and renews itself.")
    broker = identity.broker()
    told = "polls the cloud" if broker is None else f"hears of changes from {broker.host}"
    click.echo(f"The device {told}.")
    for line in _advice(identity, url, settings, config):
        click.echo(line)


@click.command()
@config_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def status(config: Path, as_json: bool) -> None:
    """Say how the appliance is doing.

    Where the daemon does not run, its files tell.
    """
    from edgegate.control import ControlError, ask_status
    from edgegate.status import from_files
    from edgegate.store.errors import StoreUnavailableError

    whose = _whose(config)
    try:
        found = ask_status(whose.state_dir)
    except ControlError as error:
        click.echo(_sentence(error), err=True)
        try:
            found = from_files(whose, datetime.now(UTC), _expiry(whose))
        except StoreUnavailableError as missing:
            end(_sentence(missing))
    _show(found, as_json=as_json)


@click.group()
def sync() -> None:
    """Exchange with the cloud."""


@sync.command()
@config_option
def now(config: Path) -> None:
    """Pull and upload now, and show how it goes.

    Exit 1 if it did not come to its end.
    """
    from edgegate.control import ControlError, ask_sync

    progress = None
    shown = ""
    try:
        for progress in ask_sync(_whose(config).state_dir):
            line = _line(progress)
            if line != shown:
                click.echo(line)
                shown = line
    except ControlError as error:
        end(_sentence(error))
    sys.exit(0 if progress is not None and progress.done else 1)


def _line(progress: "Progress") -> str:
    pulled = "pulled" if progress.pulled else "pulling"
    left = f"{progress.backlog} entries to upload" if progress.backlog else "all uploaded"
    why = f" ({progress.why})" if progress.why and not progress.done else ""
    return f"{pulled} up to change {progress.head}, {left}{why}"


def _advice(
    identity: "Identity", url: str, settings: "Basics | None", config: Path
) -> Iterator[str]:
    """What of the configuration has to become otherwise, and what comes next."""
    lines = []
    if settings is None or settings.site.id != identity.site:
        lines += ["[site]", f'id = "{identity.site}"']
    if settings is None or settings.device.id != identity.device:
        lines += ["[device]", f'id = "{identity.device}"']
    known = None if settings is None or settings.cloud is None else settings.cloud.url
    if known is None or known.rstrip("/") != url.rstrip("/"):
        lines += ["[cloud]", f'url = "{url.rstrip("/")}"']
    if lines:
        yield f"{config} must say:"
        yield from (f"    {line}" for line in lines)
    yield "Then start the appliance anew: systemctl restart edgegate"


def _show(found: "Status", *, as_json: bool) -> None:
    import msgspec
    from rich.console import Console

    from edgegate.statustext import render

    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(found), indent=2).decode())
    else:
        Console().print(render(found, datetime.now(UTC)))


def _whose(config: Path) -> "Whose":
    from edgegate.status import Whose

    settings = basics(config)
    return Whose(
        site=settings.site.id,
        device=settings.device.id,
        state_dir=Path(settings.device.state_dir),
        cloud=None if settings.cloud is None else settings.cloud.url,
        wifi=settings.wifi is not None,
    )


def _expiry(whose: "Whose") -> datetime | None:
    if whose.cloud is None:
        return None
    from edgegate_sync.appliance.identity import Identity, NotEnrolledError

    try:
        return Identity.load(whose.state_dir).expires_at()
    except NotEnrolledError as error:
        click.echo(_sentence(error), err=True)
        return None


def _sentence(error: Exception) -> str:
    text = str(error)
    return f"{text[:1].upper()}{text[1:]}."
