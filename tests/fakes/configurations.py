"""Fixtures that write a configuration and read it back, and the faults that it is told to have.

A test module has them by `pytest_plugins = ("fakes.configurations",)`.
"""

from collections.abc import Callable
from pathlib import Path

import pytest

from edgegate.config import Config, ConfigError, load_config

SITE_KEY = "/etc/edgegate/site.key"
AP_FILE = "/etc/edgegate/wifi-lobby.secret"
SECRET = "0123456789abcdef" * 4


@pytest.fixture(scope="module")
def write(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Write a configuration whose secrets are where this test may write."""
    folder = tmp_path_factory.mktemp("config")
    key = folder / "site.key"
    key.write_text(SECRET + "\n")
    key.chmod(0o600)

    def write(text: str) -> Path:
        path = folder / "config.toml"
        path.write_text(text.replace(SITE_KEY, str(key)).replace(AP_FILE, str(key)))
        return path

    return write


@pytest.fixture(scope="module")
def read(write: Callable[[str], Path]) -> Callable[[str], Config]:
    return lambda text: load_config(write(text))


@pytest.fixture(scope="module")
def faults_of(write: Callable[[str], Path]) -> Callable[[str], list[str]]:
    """The faults of a configuration, as lines without the file's folder."""

    def faults_of(text: str) -> list[str]:
        path = write(text)
        with pytest.raises(ConfigError) as caught:
            load_config(path)
        return str(caught.value).replace(f"{path}:", "").splitlines()

    return faults_of
