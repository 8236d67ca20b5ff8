"""What commands of the appliance share: where its configuration and its databases are."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

if TYPE_CHECKING:
    from edgegate.config import Basics, Config

CONFIG = "/etc/edgegate/config.toml"
CONFIG_VARIABLE = "EDGEGATE_CONFIG"

config_option = click.option(
    "--config",
    "-c",
    type=click.Path(path_type=Path),
    envvar=CONFIG_VARIABLE,
    default=CONFIG,
    show_default=True,
    help="The configuration file.",
)
state_option = click.option(
    "--state-dir",
    type=click.Path(path_type=Path),
    help="Where the databases are; else where the configuration says.",
)
existing_file = click.Path(path_type=Path, exists=True, dir_okay=False)


def configured(path: Path) -> "Config":
    """The configuration; where anything is wrong with it, that is said and the command ends."""
    from edgegate.config import load_config

    with _explained(path):
        return load_config(path)


def basics(path: Path) -> "Basics":
    """What of it can be had without devices and secrets; faults as in `configured`."""
    from edgegate.config import load_basics

    with _explained(path):
        return load_basics(path)


def state_directory(config: Path, state_dir: Path | None) -> Path:
    """Where the databases are: as it was named, else where the configuration says."""
    return state_dir if state_dir is not None else Path(basics(config).device.state_dir)


def end(why: str) -> NoReturn:
    """End the command with exit code 2, saying why."""
    click.echo(why, err=True)
    sys.exit(2)


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    from edgegate.config import ConfigError

    try:
        yield
    except ConfigError as error:
        click.echo(str(error), err=True)
        if not path.exists():
            end(f"Name yours here or in {CONFIG_VARIABLE}, or make one after config.example.toml.")
        sys.exit(2)
