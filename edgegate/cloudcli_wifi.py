"""`edgegate cloud wifi-login, wifi-device`: by what a customer's devices come onto the Wi-Fi."""

import asyncio
import json
from pathlib import Path

import click

from edgegate.cloudcli import _explained, _settings, _stored


@click.command("wifi-login")
@_stored
@click.option("--site", required=True)
@click.option("--customer", required=True, help="The customer's id.")
@click.option("--name", help="What the login is called; else a name is made up.")
@click.option("--chap", is_flag=True, help="For a portal that speaks CHAP.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def wifi_login(
    database: str,
    key_file: Path | None,
    site: str,
    customer: str,
    name: str | None,
    chap: bool,
    as_json: bool,
) -> None:
    """Make a Wi-Fi login for a customer.

    Its password is printed this once.
    """
    with _explained():
        from msgspec.structs import asdict

        from edgegate_sync.cloud.wifi_desk import make_login

        settings = _settings(database, key_file)
        made = asyncio.run(make_login(settings, site, customer, name, chap=chap))
        if as_json:
            click.echo(json.dumps(asdict(made)))
        else:
            click.echo(f"login:    {made.name}\npassword: {made.password}")
            click.echo(
                "Nobody can look the password up again. At the appliance, what the member is handed"
                f" is made by: edgegate wifi slip --login {made.name}",
                err=True,
            )


@click.command("wifi-device")
@_stored
@click.option("--site", required=True)
@click.option("--customer", required=True, help="The customer's id.")
@click.argument("mac")
def wifi_device(database: str, key_file: Path | None, site: str, customer: str, mac: str) -> None:
    """Let a device come onto the Wi-Fi by its MAC.

    The address is taken in any notation.
    """
    with _explained():
        from edgegate_sync.cloud.wifi_desk import add_device

        settings = _settings(database, key_file)
        credential, plain = asyncio.run(add_device(settings, site, customer, mac))
        click.echo(f"The device {plain} is known as {credential}.")
