"""The `[wifi]` section: what it fills in, what it refuses, and what it warns of."""

from collections.abc import Callable
from ipaddress import ip_network
from pathlib import Path

import pytest
from click.testing import CliRunner

from edgegate.cli import main
from edgegate.config import Config, ConfigError, load_config
from edgegate.configdump import dump

BASE = """\
[device]
id = "box"
[site]
id = "space"
key = {{ file = "{secret}" }}
[wifi]
{wifi}
{nas}
"""
NAS = """\
[[wifi.nas]]
id = "ap"
address = "192.0.2.7"
secret = {{ file = "{secret}" }}
location = "hq"
"""
Read = Callable[..., Config]


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    def write(wifi: str = "", nas: str = NAS, secret: str = "s" * 48) -> Path:
        file = tmp_path / "secret"
        file.write_text(secret)
        file.chmod(0o600)
        path = tmp_path / "config.toml"
        path.write_text(BASE.format(wifi=wifi, nas=nas.format(secret=file), secret=file))
        return path

    return write


@pytest.fixture
def faults_of(write: Callable[..., Path]) -> Callable[..., str]:
    def faults_of(*args: str) -> str:
        path = write(*args)
        with pytest.raises(ConfigError) as caught:
            load_config(path)
        return str(caught.value).replace(f"{path}:", "")

    return faults_of


def test_an_appliance_may_serve_nothing_but_access_points(write: Callable[..., Path]) -> None:
    config = load_config(write())
    assert config.wifi is not None
    assert (config.wifi.auth_port, config.wifi.acct_port, config.wifi.interim_s) == (
        1812,
        1813,
        300,
    )
    (nas,) = config.wifi.all_nas
    assert nas.address.network == ip_network("192.0.2.7/32")
    assert nas.secret.reveal() == b"s" * 48
    assert list(config.wifi.warnings()) == []


def test_a_dump_reads_back_and_tells_no_secret(write: Callable[..., Path], tmp_path: Path) -> None:
    config = load_config(write('certificate = { chain = "/a", key = "/b" }'))
    written = dump(config)
    assert "ssss" not in written
    again = tmp_path / "again.toml"
    again.write_text(written)
    assert load_config(again) == config


@pytest.mark.parametrize(
    ("wifi", "nas", "fault"),
    [
        ("", "", "6: wifi.nas: is missing"),
        ("nas = []", "", "7: wifi.nas: must have at least 1 of them"),
        ("interim_s = 59", NAS, "7: wifi.interim_s: must be"),
        ("acct_port = 1812", NAS, "6: wifi: auth_port and acct_port must differ"),
        ('methods = ["peap"]', NAS, "7: wifi.methods[0]: must be"),
        ("", NAS.replace("192.0.2.7", "192.0.2.7/24"), "10: wifi.nas[0].address: must be an"),
        ("", NAS.replace('location = "hq"', ""), "8: wifi.nas[0].location: is missing"),
        ("", NAS + NAS, "14: wifi.nas[1].id: must differ from wifi.nas[0].id (line 9)"),
        ("", NAS + NAS.replace('"ap"', '"b"'), "15: wifi.nas[1].address: must differ from"),
        ("", NAS + "vendor = 'hostpad'", "13: wifi.nas[0].vendor: must be"),
        ("[wifi.vlans]\nplans = { flex = 4095 }", NAS, "wifi.vlans.plans.flex: must be"),
        ('ssid = ""', NAS, "6: wifi: ssid has 1 to 32 bytes, all printable"),
        (f'ssid = "{"ü" * 17}"', NAS, "6: wifi: ssid has 1 to 32 bytes, all printable"),
        ("certificate = { chain = '/a' }", NAS, "7: wifi.certificate.key: is missing"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(
    faults_of: Callable[..., str], wifi: str, nas: str, fault: str
) -> None:
    assert fault in faults_of(wifi, nas)


def test_a_short_secret_is_refused_and_a_middling_one_warned_of(
    faults_of: Callable[..., str], write: Callable[..., Path]
) -> None:
    assert "must be at least 16 bytes long" in faults_of("", NAS, "s" * 15).replace("32", "16")
    path = write("", NAS + 'require_message_authenticator = "no"', "s" * 32)
    key = path.with_name("short")
    key.write_text("s" * 16)
    key.chmod(0o600)
    text = path.read_text()
    head, _, tail = text.rpartition(str(path.with_name("secret")))
    path.write_text(head + str(key) + tail)
    config = load_config(path)
    assert config.wifi is not None
    assert [warning.partition(": ")[2][:20] for warning in config.wifi.warnings()] == [
        "its secret is shorte",
        "whoever is between c",
    ]
    done = CliRunner().invoke(main, ["check-config", str(path)])
    assert done.exit_code == 0
    assert "warning: wifi nas ap: its secret is shorter" in done.output
