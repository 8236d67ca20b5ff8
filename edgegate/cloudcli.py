"""`edgegate cloud …`: the reference cloud from the command line, imported only when used."""

import asyncio
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgegate.clioptions import end, existing_file

if TYPE_CHECKING:
    from edgegate_sync.cloud.cloud import Settings

DATABASE = "sqlite:////var/lib/edgegate-cloud/cloud.db"
SQLITE = "sqlite:///"

LEVELS = ("debug", "info", "warning", "error")
SCOPES = ("read", "write", "devices", "admin", "metrics")


database_option = click.option(
    "--database",
    envvar="EDGEGATE_CLOUD_DATABASE",
    default=DATABASE,
    show_default=True,
    help="sqlite:///path or postgresql+asyncpg://user@host/name.",
)


def _stored(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of every command that opens keys."""
    key_file = click.option(
        "--key-file",
        envvar="EDGEGATE_CLOUD_KEY_FILE",
        type=click.Path(path_type=Path),
        help="The master key; with SQLite beside the database. Keep a copy of it elsewhere.",
    )
    return database_option(key_file(command))


@click.group()
def cloud() -> None:
    """Run the reference cloud, and look after it."""


@cloud.command()
@_stored
@click.option("--listen", default="127.0.0.1:8443", show_default=True, help="HOST:PORT")
@click.option("--name", "names", multiple=True, help="A name its own certificate is for; repeat.")
@click.option("--tls-cert", type=existing_file, help="A certificate of your own.")
@click.option("--tls-key", type=existing_file, help="The key of that certificate.")
@click.option("--no-migrate", is_flag=True, help="For several workers: migrate beforehand.")
@click.option("--broker", help="HOST[:PORT] of the MQTT broker (TLS).")
@click.option("--broker-ca", type=existing_file)
@click.option("--broker-cert", type=existing_file)
@click.option("--broker-key", type=existing_file)
@click.option("--broker-public", help="HOST[:PORT] where devices find it; else as --broker.")
@click.option("--broker-websocket", type=click.IntRange(1, 65535), help="Its WebSocket port.")
@click.option("--no-dynamic-security", is_flag=True, help="Leave the broker's clients alone.")
@click.option(
    "--webhook-network",
    "webhook_networks",
    multiple=True,
    metavar="NETWORK",
    help='A network of yours, like "192.168.7.0/24", into which webhooks may go; repeat.',
)
@click.option("--log-level", default="info", show_default=True, type=click.Choice(LEVELS))
def serve(listen: str, log_level: str, **options: Any) -> None:
    """Serve devices and administrators over HTTPS until told to stop."""
    with _explained():
        from edgegate import logs
        from edgegate_sync.cloud.app import serve as run

        logs.set_up(log_level, for_journal="JOURNAL_STREAM" in os.environ)
        host, port = _address(listen, 8443, "--listen")
        asyncio.run(run(_serve_settings(options), host, port, click.echo))


@cloud.command()
@database_option
def migrate(database: str) -> None:
    """Bring the database to the revision that this version needs."""
    with _explained():
        from edgegate_sync.cloud.desk import bring_up_to_date

        _make_directory(database)
        asyncio.run(bring_up_to_date(database))
        click.echo("The database is up to date.")


@cloud.command()
@_stored
@click.option("--name", required=True, help="Who or what will use it.")
@click.option("--scope", "scopes", multiple=True, type=click.Choice(SCOPES), required=True)
@click.option("--days", type=click.IntRange(1, 3650), help="How long it is good.")
def token(
    database: str, key_file: Path | None, name: str, scopes: tuple[str, ...], days: int | None
) -> None:
    """Make an API token and print its secret, this once."""
    with _explained():
        from edgegate_sync.cloud.desk import make_token

        life = None if days is None else timedelta(days=days)
        click.echo(asyncio.run(make_token(_settings(database, key_file), name, scopes, life)))


@cloud.command()
@_stored
@click.option("--site", required=True, help="The site; it is made if it is not there.")
@click.option("--device", help="The device's name; one of that name is replaced.")
@click.option("--hours", default=24, show_default=True, type=click.IntRange(1, 720))
def claim(database: str, key_file: Path | None, site: str, device: str | None, hours: int) -> None:
    """Make a claim code, with which one device can enrol once."""
    with _explained():
        from edgegate_sync.cloud.desk import make_claim

        settings = _settings(database, key_file)
        code, print_of_ca = asyncio.run(make_claim(settings, site, device, timedelta(hours=hours)))
        click.echo(code)
        click.echo(f"The cloud's authority has the fingerprint {print_of_ca}.", err=True)
        click.echo(
            'Where the cloud has a certificate of a public authority, leave out "@" and the rest.',
            err=True,
        )


@cloud.command()
@_stored
def trust(database: str, key_file: Path | None) -> None:
    """Print the certificates of all authorities.

    A broker of your own has to trust them.
    """
    with _explained():
        from edgegate_sync.cloud.desk import authorities

        click.echo(asyncio.run(authorities(_settings(database, key_file))), nl=False)


@cloud.command()
@_stored
@click.argument("names", nargs=-1, required=True)
@click.option("--client", is_flag=True, help="For the cloud as the broker's client, not a server.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="OUT.pem and OUT.key")
def certificate(
    database: str, key_file: Path | None, names: tuple[str, ...], client: bool, out: Path
) -> None:
    """Issue a certificate for a server of yours, such as the broker."""
    with _explained():
        from edgegate_sync.cloud.desk import issue_files

        asyncio.run(issue_files(_settings(database, key_file), names, out, client=client))


@cloud.command()
@_stored
@click.option("--site", required=True)
@click.password_option("--passphrase", help="What the key will be encrypted with.")
def escrow(database: str, key_file: Path | None, site: str, passphrase: str) -> None:
    """Print a site's authority under a passphrase.

    Its key is with it; keep it elsewhere.
    """
    with _explained():
        from edgegate_sync.cloud.desk import escrowed

        settings = _settings(database, key_file)
        click.echo(asyncio.run(escrowed(settings, site, passphrase.encode())), nl=False)


def _serve_settings(options: dict[str, Any]) -> "Settings":
    from msgspec.structs import replace

    from edgegate_sync.cloud.broker import BrokerAddress
    from edgegate_sync.wire.enrolment import Broker

    settings = replace(
        _settings(options["database"], options["key_file"]),
        names=options["names"] or ("localhost", "127.0.0.1"),
        certificate=options["tls_cert"],
        key=options["tls_key"],
        migrate=not options["no_migrate"],
        webhook_networks=_networks(options["webhook_networks"]),
    )
    if options["broker"] is None:
        return settings
    host, port = _address(options["broker"], 8883, "--broker")
    public = options["broker_public"] or options["broker"]
    told_host, told_port = _address(public, 8883, "--broker-public")
    return replace(
        settings,
        broker=BrokerAddress(host=host, port=port, security=not options["no_dynamic_security"]),
        broker_ca=options["broker_ca"],
        broker_certificate=options["broker_cert"],
        broker_key=options["broker_key"],
        broker_told=Broker(
            host=told_host, port=told_port, websocket_port=options["broker_websocket"]
        ),
    )


def _settings(database: str, key_file: Path | None) -> "Settings":
    from edgegate_sync.cloud.cloud import Settings

    return Settings(database=database, key_file=_directory(database, key_file))


def _directory(database: str, key_file: Path | None) -> Path:
    """The master key's file; the directory of a SQLite database is made if it is not there."""
    _make_directory(database)
    if database.startswith(SQLITE):
        return key_file or Path(database.removeprefix(SQLITE)).with_suffix(".key")
    if key_file is None:
        raise click.UsageError(
            "--database is sqlite:///path or postgresql+asyncpg://user@host/name; the latter needs"
            " --key-file: where the master key is or will be."
        )
    return key_file


def _make_directory(database: str) -> None:
    if database.startswith(SQLITE):
        parent = Path(database.removeprefix(SQLITE)).parent
        parent.mkdir(mode=0o700, parents=True, exist_ok=True)


def _address(text: str, port: int, option: str) -> tuple[str, int]:
    host, colon, number = text.rpartition(":")
    if not colon or (":" in host and not host.startswith("[")):
        return text.strip("[]"), port
    if not number.isdecimal() or int(number) > 65535:
        raise click.BadParameter(f"{text!r} is not HOST:PORT", param_hint=option)
    return host.strip("[]"), int(number)


def _networks(texts: tuple[str, ...]) -> tuple[str, ...]:
    from ipaddress import ip_network

    try:
        return tuple(str(ip_network(text)) for text in texts)
    except ValueError as error:
        raise click.BadParameter(f"{error}", param_hint="--webhook-network") from error


@contextmanager
def _explained() -> Iterator[None]:
    """Turn what may go wrong into a sentence and exit code 2."""
    try:
        from sqlalchemy.exc import DBAPIError

        from edgegate_sync.cloud.authority import RequestFaultError
        from edgegate_sync.cloud.database import DatabaseUrlError
        from edgegate_sync.cloud.feed import SiteUnknownError
        from edgegate_sync.cloud.migrate import RevisionError
        from edgegate_sync.cloud.vault import VaultError
    except ModuleNotFoundError as error:
        end(f"{error.name} is not installed: pip install 'edgegate[cloud]'")
    try:
        yield
    except SiteUnknownError as error:
        end(f'There is no site "{error}".')
    except DBAPIError as error:
        end(f"The database refuses: {error.orig}. Is it the one that --database should name?")
    except OSError as error:
        end(_sentence(error))
    except (
        *(DatabaseUrlError, RequestFaultError),
        *(RevisionError, ValueError, VaultError),
    ) as error:
        end(str(error))


def _sentence(error: OSError) -> str:
    told = error.strerror or str(error)
    if error.filename is not None:
        return f"{error.filename}: {told}."
    # A socket that is not there has no name; an address that cannot be listened on tells its own.
    if isinstance(error, ConnectionError | FileNotFoundError):
        return f"{told}. Is the database running where --database says?"
    return f"{told}."
