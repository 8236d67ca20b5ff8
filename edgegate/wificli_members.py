"""`edgegate wifi slip, profile` and `… certificate issue`: what members are handed."""

import os
import secrets
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgegate.clioptions import config_option, end
from edgegate.wificli import ca_option, explained, login_of, password_option, wifi_settings

if TYPE_CHECKING:
    from edgegate.config import Config
    from edgegate.wifi.profiles.handout import Login, Network
    from edgegate.wifi.profiles.page import Handout
    from edgegate.wificonfig import WifiSection


def _handing_out(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of every command that makes something for a member."""
    for option in (
        click.option(
            "--ssid",
            envvar="EDGEGATE_WIFI_SSID",
            help="The network; else the one that [wifi] ssid names.",
        ),
        click.option("--space", help="What the space is called; else the site's id."),
        click.option("--help-line", default="", help='Who helps, like "the desk, 030 1234".'),
        click.option("--language", default="en", show_default=True, help='"en" or "de".'),
        ca_option,
        config_option,
    ):
        command = option(command)
    return command


@click.command()
@click.option("--login", required=True, help="Whose it is: a login that the cloud issued.")
@click.option("--days", type=click.IntRange(1, 3650), help="How long it is good; else three years.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="A directory.")
@_handing_out
def issue(login: str, days: int | None, out: Path, config: Path, **options: Any) -> None:
    """Issue a client certificate for EAP-TLS.

    What devices install of it is written into a directory.
    """
    with explained():
        from edgegate.wifi.certificates import Certificates
        from edgegate.wifi.profiles import apple, geteduroam
        from edgegate.wifi.profiles.handout import Paper
        from edgegate.wifi.profiles.page import APPLE_FILE, CERTIFICATE_FILE, GETEDUROAM_FILE
        from edgegate.wifi.profiles.words import words_of

        settings, section = wifi_settings(config)
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


@click.command()
@click.option("--login", required=True, help="The member's login.")
@click.option("--url", default="", help="Where the page for the device is, if it is anywhere.")
@click.option(
    "--out", required=True, type=click.Path(path_type=Path, dir_okay=False), help="An HTML file."
)
@password_option
@_handing_out
def slip(login: str, url: str, out: Path, password_file: Path | None, **options: Any) -> None:
    """Write the slip that a member is handed, to be printed on A5."""
    with explained():
        from edgegate.wifi.profiles import page

        handout = _handout(login_of(login, password_file), url, options)
        _write(out.parent, {out.name: page.slip(handout).encode()})


@click.command()
@click.option("--login", required=True, help="The member's login.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="A directory.")
@password_option
@_handing_out
def profile(login: str, out: Path, password_file: Path | None, **options: Any) -> None:
    """Write a page that sets a member's devices up.

    The files that it names go into the same directory.
    """
    with explained():
        from edgegate.wifi.profiles import apple, geteduroam, page

        handout = _handout(login_of(login, password_file), "", options)
        network, whose = handout.network, handout.login
        said = handout.plain(handout.words.description)
        files = {
            "index.html": page.page(handout).encode(),
            page.APPLE_FILE: apple.password_profile(network, whose, said),
            page.GETEDUROAM_FILE: geteduroam.password_config(network, whose, handout.tag),
            page.CERTIFICATE_FILE: network.authority_pem,
        }
        _write(out, files)


def _network(settings: "Config", section: "WifiSection", options: Mapping[str, Any]) -> "Network":
    from edgegate.wifi.profiles.handout import Network
    from edgegate.wifi.shown import pinned

    ssid = options["ssid"] or section.ssid
    if ssid is None:
        raise click.UsageError("name the network: --ssid, or ssid in the configuration's [wifi]")
    return Network(
        ssid=ssid,
        server_name=section.server_name,
        authority=pinned(section, Path(settings.device.state_dir), options["ca"]),
        space=options["space"] or settings.site.id,
        help=options["help_line"],
    )


def _handout(login: "Login", url: str, options: Mapping[str, Any]) -> "Handout":
    from edgegate.wifi.profiles.page import Handout

    network = _network(*wifi_settings(options["config"]), options)
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
