"""`edgegate wifi …`: test the Wi-Fi server, see who is there and how its certificate is."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgegate.clioptions import config_option, configured, end, existing_file

if TYPE_CHECKING:
    from edgegate.config import Config
    from edgegate.wifi.nas import Nas
    from edgegate.wifi.profiles.handout import Login
    from edgegate.wificonfig import WifiSection

ca_option = click.option(
    "--ca", type=existing_file, help="Whom devices trust; else the authority that is in use."
)
_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
password_option = click.option(
    "--password-file",
    type=existing_file,
    help="Where the password is, on one line; else it is asked for.",
)


@click.group()
def wifi() -> None:
    """Look after the Wi-Fi that this appliance decides about."""


@wifi.command()
@click.option("--nas", "nas_id", help="In whose place to ask; else the first of the configuration.")
@click.option("--login", help="A member's login: this checks them in. Else one is made up.")
@click.option("--mac", default="", help="A device that comes in by its address.")
@click.option("--accounting", is_flag=True, help="Report a session's start and stop, too.")
@password_option
@ca_option
@config_option
def test(
    nas_id: str | None,
    login: str | None,
    mac: str,
    accounting: bool,
    password_file: Path | None,
    ca: Path | None,
    config: Path,
) -> None:
    """Ask as an access point does, and say what fails.

    It is this computer's server that is asked; exit 1 if anything fails.
    """
    with explained():
        from edgegate.wifi.probe import Plan, Probe

        settings, section = wifi_settings(config)
        plan = Plan(
            nas=_nas(section, nas_id),
            host=_host(section.listen),
            auth_port=section.auth_port,
            acct_port=section.acct_port,
            methods=section.methods,
            trust=_trust(settings, section, ca),
            login=None if login is None else login_of(login, password_file),
            mac=mac,
            accounting=accounting,
            at=datetime.now(UTC),
        )
        state_dir = Path(settings.device.state_dir)
        failed = [*_drivers_away(state_dir)]
        for finding in Probe(plan, lambda: _refused(state_dir)).run():
            click.echo(f"{'good' if finding.good else 'BAD '}  {finding.tried}: {finding.came}")
            if finding.advice:
                click.echo(f"      {finding.advice}")
            failed += [] if finding.good else [finding.tried]
        sys.exit(1 if failed else 0)


@wifi.command()
@_json
@config_option
def clients(as_json: bool, config: Path) -> None:
    """Say who is on the Wi-Fi now."""
    with explained():
        import msgspec
        from rich.console import Console

        from edgegate.store.reading import open_for_reading, reading_books
        from edgegate.wifi.present import present
        from edgegate.wifitext import render_present

        settings, _ = wifi_settings(config)
        now = datetime.now(UTC)
        with open_for_reading(Path(settings.device.state_dir)) as files:
            found = present(reading_books(files), now)
        if as_json:
            click.echo(msgspec.json.format(msgspec.json.encode(found), indent=2).decode())
        else:
            Console().print(render_present(found, now))


@wifi.group(invoke_without_command=True)
@_json
@config_option
@click.pass_context
def certificate(context: click.Context, as_json: bool, config: Path) -> None:
    """Say how the server's certificate is.

    Exit 1 if something is wrong with it.
    """
    if context.invoked_subcommand is not None:
        return
    with explained():
        import msgspec
        from rich.console import Console

        from edgegate.wifi.shown import shown
        from edgegate.wifitext import render_certificate

        settings, section = wifi_settings(config)
        now = datetime.now(UTC)
        found = shown(section, Path(settings.device.state_dir), now)
        if as_json:
            click.echo(msgspec.json.format(msgspec.json.encode(found), indent=2).decode())
        else:
            Console().print(render_certificate(found, now))
        sys.exit(1 if found.faults else 0)


@certificate.command()
@click.option("--login", help="All certificates of this login.")
@click.option("--serial", help="One certificate, by its number.")
@config_option
def revoke(login: str | None, serial: str | None, config: Path) -> None:
    """Let client certificates count no more.

    Whoever is on the Wi-Fi by one is off it within seconds.
    """
    if (login is None) == (serial is None):
        raise click.UsageError("name either --login or --serial")
    with explained():
        from edgegate.wifi.certificates import Certificates

        settings, _ = wifi_settings(config)
        known = Certificates(Path(settings.device.state_dir)).clients
        now = datetime.now(UTC)
        if login is not None:
            gone = known.revoke_all(login, now)
            click.echo(f"{len(gone)} certificates of {login} count no more.")
            sys.exit(0 if gone else 1)
        number = (serial or "").lower().lstrip("0")
        ends = [client.until for client in known.reload() if client.serial == number]
        if not ends:
            end(f"No certificate {number} was given out here: see its number in the device.")
        known.revoke(number, now, ends[0])
        click.echo(f"Certificate {number} counts no more.")


def wifi_settings(config: Path) -> "tuple[Config, WifiSection]":
    """The configuration with its `[wifi]`; without one that is said, and the command ends."""
    settings = configured(config)
    if settings.wifi is None:
        end(f"There is no [wifi] in {config}: see config.example.toml.")
    return settings, settings.wifi


def _nas(section: "WifiSection", nas_id: str | None) -> "Nas":
    """The access point in whose place to ask, at its address on this computer."""
    from edgegate.radius import nas_of
    from edgegate.wifi.nas import twin

    known = [nas.id for nas in section.all_nas]
    if nas_id is not None and nas_id not in known:
        end(f'There is no access point "{nas_id}" in [[wifi.nas]]; there are: {", ".join(known)}.')
    place = 0 if nas_id is None else known.index(nas_id)
    return twin(nas_of(section.all_nas[place]), place)


def _host(listen: str) -> str:
    """Where the server is to be had from this computer."""
    return {"0.0.0.0": "127.0.0.1", "::": "127.0.0.1"}.get(listen, listen)  # noqa: S104 - no bind


def _trust(settings: "Config", section: "WifiSection", ca: Path | None) -> Any:
    from edgegate.wifi.peer import Trust
    from edgegate.wifi.shown import NotThereError, pinned

    try:
        authority = pinned(section, Path(settings.device.state_dir), ca)
    except NotThereError as error:
        click.echo(f"BAD   the server's certificate: {error}")
        return None
    return Trust(authority, section.server_name)


def _drivers_away(state_dir: Path) -> Iterator[str]:
    """What the daemon says is wrong, before anything is tried."""
    from edgegate.control import ControlError, ask_status

    try:
        drivers = ask_status(state_dir).state.drivers
    except ControlError as error:
        click.echo(f"BAD   the daemon: {error}\n      Start it: systemctl start edgegate.")
        yield "the daemon"
        return
    for driver in drivers:
        if driver.name.startswith("wifi") and driver.status not in ("enabled", "disabled"):
            click.echo(f"BAD   {driver.name}: {driver.detail or driver.status}")
            yield driver.name


def _refused(state_dir: Path) -> Mapping[str, int]:
    from edgegate.control import ControlError, ask_status

    try:
        told = ask_status(state_dir).wifi
    except ControlError:
        return {}
    return {} if told is None or told.counts is None else told.counts.unanswered


def login_of(name: str, password_file: Path | None) -> "Login":
    """A login, its password out of a file or asked for."""
    from edgegate.wifi.profiles.handout import Login

    if password_file is None:
        return Login(name, str(click.prompt("Password", hide_input=True, err=True)))
    return Login(name, password_file.read_text(encoding="utf-8").rstrip("\r\n"))


@contextmanager
def explained() -> Iterator[None]:
    """Turn what may go wrong into a sentence and exit code 2."""
    try:
        from edgegate.wifi.certificates import CertificatesError
        from edgegate.wifi.clients import ClientsError
        from edgegate.wifi.profiles.handout import HandoutError
        from edgegate.wifi.shown import NotThereError
    except ModuleNotFoundError as error:
        end(f"{error.name} is not installed: pip install 'edgegate[wifi]'")
    try:
        yield
    except ModuleNotFoundError as error:
        end(f"{error.name} is not installed: pip install 'edgegate[wifi]'")
    except (CertificatesError, ClientsError, HandoutError, NotThereError, ValueError) as error:
        end(_sentence(str(error)))
    except OSError as error:
        end(f"{error.filename or 'A file'}: {error.strerror or error}.")


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."
