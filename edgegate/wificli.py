"""`edgegate wifi …`: test the Wi-Fi server, see who is there, hand out what brings people on."""

import os
import secrets
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgegate.clioptions import config_option, configured, end, existing_file

if TYPE_CHECKING:
    from edgegate.config import Config
    from edgegate.wifi.nas import Nas
    from edgegate.wifi.profiles.handout import Login, Network
    from edgegate.wifi.profiles.page import Handout
    from edgegate.wificonfig import WifiSection

_ca = click.option(
    "--ca", type=existing_file, help="Whom devices trust; else the authority that is in use."
)
_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
_password = click.option(
    "--password-file",
    type=existing_file,
    help="Where the password is, on one line; else it is asked for.",
)


def _handing_out(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of every command that makes something for a member."""
    for option in (
        click.option("--ssid", required=True, envvar="EDGEGATE_WIFI_SSID", help="The network."),
        click.option("--space", help="What the space is called; else the site's id."),
        click.option("--help-line", default="", help='Who helps, like "the desk, 030 1234".'),
        click.option("--language", default="en", show_default=True, help='"en" or "de".'),
        _ca,
        config_option,
    ):
        command = option(command)
    return command


@click.group()
def wifi() -> None:
    """Look after the Wi-Fi that this appliance decides about."""


@wifi.command()
@click.option("--nas", "nas_id", help="In whose place to ask; else the first of the configuration.")
@click.option("--login", help="A member's login: this checks them in. Else one is made up.")
@click.option("--mac", default="", help="A device that comes in by its address.")
@click.option("--accounting", is_flag=True, help="Report a session's start and stop, too.")
@_password
@_ca
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
    """Ask this computer's server as an access point does, and say what fails; exit 1 if it does."""
    with _explained():
        from edgegate.wifi.probe import Plan, Probe

        settings, section = _settings(config)
        plan = Plan(
            nas=_nas(section, nas_id),
            host=_host(section.listen),
            auth_port=section.auth_port,
            acct_port=section.acct_port,
            methods=section.methods,
            trust=_trust(settings, section, ca),
            login=None if login is None else _login(login, password_file),
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
    with _explained():
        import msgspec
        from rich.console import Console

        from edgegate.store.reading import open_for_reading, reading_books
        from edgegate.wifi.present import present
        from edgegate.wifitext import render_present

        settings, _ = _settings(config)
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
    """Say how the server's certificate is; exit 1 if something is wrong with it."""
    if context.invoked_subcommand is not None:
        return
    with _explained():
        import msgspec
        from rich.console import Console

        from edgegate.wifi.shown import shown
        from edgegate.wifitext import render_certificate

        settings, section = _settings(config)
        now = datetime.now(UTC)
        found = shown(section, Path(settings.device.state_dir), now)
        if as_json:
            click.echo(msgspec.json.format(msgspec.json.encode(found), indent=2).decode())
        else:
            Console().print(render_certificate(found, now))
        sys.exit(1 if found.faults else 0)


@certificate.command()
@click.option("--login", required=True, help="Whose it is: a login that the cloud issued.")
@click.option("--days", type=click.IntRange(1, 3650), help="How long it is good; else three years.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="A directory.")
@_handing_out
def issue(login: str, days: int | None, out: Path, config: Path, **options: Any) -> None:
    """Issue a client certificate for EAP-TLS, and write what devices install of it."""
    with _explained():
        from datetime import timedelta

        from edgegate.wifi.certificates import Certificates
        from edgegate.wifi.profiles import apple, geteduroam
        from edgegate.wifi.profiles.handout import Paper
        from edgegate.wifi.profiles.page import APPLE_FILE, CERTIFICATE_FILE, GETEDUROAM_FILE
        from edgegate.wifi.profiles.words import words_of

        settings, section = _settings(config)
        if section.client_ca is not None:
            end("Another authority signs client certificates ([wifi] client_ca): ask there.")
        network = _network(settings, section, options)
        now = datetime.now(UTC)
        until = None if days is None else now + timedelta(days=days)
        password = secrets.token_hex(16)
        certificates = Certificates(Path(settings.device.state_dir))
        made = certificates.issue(login, password, now, until)
        paper = Paper(login, made.pkcs12, password)
        said = words_of(options["language"]).description.format(
            ssid=network.ssid, server=network.server_name
        )
        files = {
            APPLE_FILE: apple.certificate_profile(network, paper, said),
            GETEDUROAM_FILE: geteduroam.certificate_config(network, paper, options["language"]),
            CERTIFICATE_FILE: network.authority_pem,
            "wifi.p12": made.pkcs12,
        }
        _write(out, files)
        click.echo(f"Certificate {made.serial} is good until {made.until:%Y-%m-%d}.")
        click.echo(f"The password of wifi.p12, told this once: {password}")


@certificate.command()
@click.option("--login", help="All certificates of this login.")
@click.option("--serial", help="One certificate, by its number.")
@config_option
def revoke(login: str | None, serial: str | None, config: Path) -> None:
    """Let client certificates count no more; the daemon heeds it within a minute."""
    if (login is None) == (serial is None):
        raise click.UsageError("name either --login or --serial")
    with _explained():
        from edgegate.wifi.certificates import Certificates

        settings, _ = _settings(config)
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


@wifi.command()
@click.option("--login", required=True, help="The member's login.")
@click.option("--url", default="", help="Where the page for the device is, if it is anywhere.")
@click.option(
    "--out", required=True, type=click.Path(path_type=Path, dir_okay=False), help="An HTML file."
)
@_password
@_handing_out
def slip(login: str, url: str, out: Path, password_file: Path | None, **options: Any) -> None:
    """Write the slip that a member is handed, to be printed on A5."""
    with _explained():
        from edgegate.wifi.profiles import page

        handout = _handout(_login(login, password_file), url, options)
        _write(out.parent, {out.name: page.slip(handout).encode()})


@wifi.command()
@click.option("--login", required=True, help="The member's login.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="A directory.")
@_password
@_handing_out
def profile(login: str, out: Path, password_file: Path | None, **options: Any) -> None:
    """Write the page for a member's devices, and the files that it names, into a directory."""
    with _explained():
        from edgegate.wifi.profiles import apple, geteduroam, page

        handout = _handout(_login(login, password_file), "", options)
        network, whose = handout.network, handout.login
        said = handout.plain(handout.words.description)
        files = {
            "index.html": page.page(handout).encode(),
            page.APPLE_FILE: apple.password_profile(network, whose, said),
            page.GETEDUROAM_FILE: geteduroam.password_config(network, whose, handout.tag),
            page.CERTIFICATE_FILE: network.authority_pem,
        }
        _write(out, files)


def _settings(config: Path) -> "tuple[Config, WifiSection]":
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


def _login(name: str, password_file: Path | None) -> "Login":
    from edgegate.wifi.profiles.handout import Login

    if password_file is None:
        return Login(name, str(click.prompt("Password", hide_input=True, err=True)))
    return Login(name, password_file.read_text(encoding="utf-8").rstrip("\r\n"))


def _network(settings: "Config", section: "WifiSection", options: Mapping[str, Any]) -> "Network":
    from edgegate.wifi.profiles.handout import Network
    from edgegate.wifi.shown import pinned

    return Network(
        ssid=options["ssid"],
        server_name=section.server_name,
        authority=pinned(section, Path(settings.device.state_dir), options["ca"]),
        space=options["space"] or settings.site.id,
        help=options["help_line"],
    )


def _handout(login: "Login", url: str, options: Mapping[str, Any]) -> "Handout":
    from edgegate.wifi.profiles.page import Handout

    network = _network(*_settings(options["config"]), options)
    return Handout(network=network, login=login, language=options["language"], url=url)


def _write(directory: Path, files: Mapping[str, bytes]) -> None:
    """Write files that only their owner can read: they hold a password."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name, content in files.items():
        path = directory / name
        path.unlink(missing_ok=True)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        click.echo(f"{path} is written; it holds a secret: hand it to nobody else.")


@contextmanager
def _explained() -> Iterator[None]:
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
