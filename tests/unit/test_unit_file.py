"""The systemd unit: that the lines a door depends on stand there, and that systemd knows each."""

import re
import shutil
import subprocess
from collections import defaultdict
from pathlib import Path

import pytest

SYSTEMD = Path(__file__).resolve().parents[2] / "systemd"
UNIT = SYSTEMD / "edgegate.service"

Settings = dict[tuple[str, str], list[str]]

# From systemd.unit(5), systemd.service(5), systemd.exec(5) and systemd.resource-control(5).
NAMES = {
    "Unit": "Description Documentation Wants After StartLimitIntervalSec",
    "Service": (
        "Type NotifyAccess ExecStart ExecStopPost Restart RestartSec WatchdogSec TimeoutStartSec "
        "TimeoutStopSec TimeoutAbortSec LimitCORE OOMScoreAdjust User Group SupplementaryGroups "
        "UMask StateDirectory StateDirectoryMode RuntimeDirectory RuntimeDirectoryMode "
        "WorkingDirectory Environment LoadCredential ProtectSystem ProtectHome PrivateTmp "
        "ProtectProc ProtectControlGroups ProtectHostname ProtectKernelLogs "
        "ProtectKernelModules ProtectKernelTunables NoNewPrivileges CapabilityBoundingSet "
        "AmbientCapabilities LockPersonality MemoryDenyWriteExecute RemoveIPC RestrictNamespaces "
        "RestrictRealtime RestrictSUIDSGID SystemCallArchitectures SystemCallFilter "
        "SystemCallErrorNumber RestrictAddressFamilies DevicePolicy DeviceAllow"
    ),
    "Install": "WantedBy",
}


def parsed(text: str) -> Settings:
    """The unit's settings with all their lines: configparser knows no repeated keys."""
    settings: Settings = defaultdict(list)
    section = ""
    for line in text.splitlines():
        if header := re.fullmatch(r"\[(\w+)\]", line):
            section = header[1]
        elif line and not line.startswith(("#", ";")):
            name, equals, value = line.partition("=")
            assert equals, f"no setting: {line}"
            settings[section, name].append(value)
    return settings


@pytest.fixture
def settings() -> Settings:
    return parsed(UNIT.read_text())


@pytest.mark.parametrize(
    ("section", "name", "values"),
    [
        ("Unit", "StartLimitIntervalSec", ["0"]),
        ("Service", "Type", ["notify"]),
        ("Service", "NotifyAccess", ["main"]),
        ("Service", "Restart", ["always"]),
        ("Service", "LimitCORE", ["0"]),
        ("Service", "User", ["edgegate"]),
        ("Service", "SupplementaryGroups", ["gpio dialout input plugdev"]),
        ("Service", "StateDirectory", ["edgegate"]),
        ("Service", "RuntimeDirectory", ["edgegate"]),
        ("Service", "WorkingDirectory", ["%t/edgegate"]),
        ("Service", "ProtectSystem", ["strict"]),
        ("Service", "ProtectHome", ["yes"]),
        ("Service", "PrivateTmp", ["yes"]),
        ("Service", "NoNewPrivileges", ["yes"]),
        ("Service", "CapabilityBoundingSet", [""]),
        ("Service", "MemoryDenyWriteExecute", ["yes"]),
        ("Service", "SystemCallFilter", ["@system-service", "~@privileged", "adjtimex"]),
        ("Service", "RestrictAddressFamilies", ["AF_UNIX AF_INET AF_INET6 AF_NETLINK"]),
        ("Service", "DevicePolicy", ["closed"]),
        ("Install", "WantedBy", ["multi-user.target"]),
    ],
)
def test_a_line_that_matters_stands_there(
    settings: Settings, section: str, name: str, values: list[str]
) -> None:
    assert settings.get((section, name)) == values


def test_every_strike_is_locked_after_however_the_daemon_ended(settings: Settings) -> None:
    (command,) = settings["Service", "ExecStopPost"]
    # A "-" before it would hide that a door could not be locked.
    assert command.split()[:3] == ["edgegate", "door", "lock-all"]
    (start,) = settings["Service", "ExecStart"]
    assert start.split()[:2] == ["edgegate", "run"]
    assert command.split()[3:] == start.split()[2:], "both go by the same configuration"


def test_a_hung_daemon_is_killed_and_comes_back_within_seconds(settings: Settings) -> None:
    def seconds(name: str) -> int:
        (value,) = settings["Service", name]
        return int(value)

    assert 1 <= seconds("WatchdogSec") <= 15
    assert seconds("TimeoutAbortSec") <= 5
    assert seconds("RestartSec") <= 5
    assert seconds("TimeoutStopSec") >= 5


def test_the_devices_that_drivers_need_are_allowed_and_no_others(settings: Settings) -> None:
    allowed = sorted(settings["Service", "DeviceAllow"])
    names = ("gpiochip", "input", "ttyACM", "ttyAMA", "ttyS", "ttyUSB", "usb_device")
    assert allowed == [f"char-{name} rw" for name in names]
    # It would take all of them away again.
    assert ("Service", "PrivateDevices") not in settings


def test_drivers_of_serial_adapters_are_loaded_before_their_names_are_looked_up(
    settings: Settings,
) -> None:
    for name in ("Wants", "After"):
        words = " ".join(settings["Unit", name])
        assert "modprobe@usbserial.service" in words
        assert "modprobe@cdc_acm.service" in words


def test_lgpio_works_in_a_directory_that_it_may_write(settings: Settings) -> None:
    (environment,) = settings["Service", "Environment"]
    assert f"LG_WD={settings['Service', 'WorkingDirectory'][0]}" in environment.split()


def test_the_sites_key_comes_as_a_credential(settings: Settings) -> None:
    (credential,) = settings["Service", "LoadCredential"]
    name, _, path = credential.partition(":")
    assert name == "site-key"
    assert path.startswith("/etc/edgegate/")


def test_the_units_user_and_groups_are_made() -> None:
    made = {
        tuple(line.split()[:2])
        for line in (SYSTEMD / "edgegate.sysusers").read_text().splitlines()
        if line and not line.startswith("#")
    }
    groups = {("g", name) for name in ("gpio", "dialout", "input", "plugdev")}
    assert made == {*groups, ("u", "edgegate")}


def test_every_setting_is_one_that_systemd_knows(settings: Settings, tmp_path: Path) -> None:
    for section, name in settings:
        assert name in NAMES[section].split(), f"[{section}] {name}"
    analyze = shutil.which("systemd-analyze")
    if analyze is not None:
        # Not the command but the settings are looked at, wherever edgegate is installed.
        text = re.sub(r"(?m)^(Exec\w+=)edgegate", r"\1/bin/true", UNIT.read_text())
        assert verified(analyze, tmp_path / "edgegate.service", text) == ""
        typo = text.replace("ProtectHome=", "ProtectHoam=")
        assert "ProtectHoam" in verified(analyze, tmp_path / "typo.service", typo)


def verified(analyze: str, path: Path, text: str) -> str:
    """What systemd has to say about a unit."""
    path.write_text(text)
    command = [analyze, "verify", "--man=no", "--recursive-errors=no", str(path)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return result.stdout + result.stderr
