"""`edgegate wifi …` beside the real appliance: what the test finds, and what is written."""

import asyncio
import json
import plistlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from edgegate.cli import main
from edgegate.wifi.authority import certificate_pem
from rig.wifi import WifiSite
from rig.wifi_papers import authority

PASSWORD = "k7mw-2xq9"  # noqa: S105 - of nobody

DOOR = """
[[door]]
id = "front"
strike = { driver = "gpio", line = 17 }
[[reader]]
name = "card"
door = "front"
driver = "nfc"
port = "/dev/ttyUSB0"
"""


@pytest.fixture
def site(tmp_path: Path) -> WifiSite:
    made = WifiSite(tmp_path)
    made.member("ana", PASSWORD)
    (tmp_path / "password").write_text(f"{PASSWORD}\n")
    return made


@pytest.fixture
async def serving(site: WifiSite) -> AsyncIterator[WifiSite]:
    async with site.serving():
        yield site


async def run(site: WifiSite, *arguments: str) -> Result:
    """A command with the site's configuration; in a thread, as it blocks."""
    where = ("--config", str(site.directory / "config.toml"))
    return await asyncio.to_thread(CliRunner().invoke, main, ["wifi", *arguments, *where])


async def entries(site: WifiSite, kind: str) -> list[dict[str, Any]]:
    return await asyncio.to_thread(site.entries, kind)


def as_ana(site: WifiSite) -> tuple[str, ...]:
    return "--login", "ana", "--password-file", str(site.directory / "password")


def lines(result: Result, verdict: str) -> list[str]:
    return [line for line in result.output.splitlines() if line.startswith(verdict)]


async def test_a_login_is_tried_in_every_way(serving: WifiSite) -> None:
    found = await run(serving, "test", *as_ana(serving), "--accounting", "--nas", "ap")
    assert found.exit_code == 0, found.output
    good = "\n".join(lines(found, "good"))
    assert "Status-Server" in good
    assert "PAP as ana: let in as ana for" in good
    assert "EAP-TTLS/PAP as ana: let in as ana for" in good
    assert "TLSv1.3" in good
    assert "start and stop were taken" in good
    assert len(await entries(serving, "wifi.started")) == 1
    stopped = [e for e in await entries(serving, "wifi.stopped") if "number" in e]
    assert len(stopped) == 1


async def test_without_a_login_nobody_is_checked_in(serving: WifiSite) -> None:
    found = await run(serving, "test")
    assert found.exit_code == 0, found.output
    assert found.output.count("as a made-up login has to be") == 2
    assert await entries(serving, "wifi.accepted") == []


async def test_a_refusal_tells_its_sentence(serving: WifiSite) -> None:
    (serving.directory / "password").write_text("wrong\n")
    found = await run(serving, "test", *as_ana(serving))
    assert found.exit_code == 1
    bad = lines(found, "BAD")
    assert len(bad) == 2
    assert all("Name or password doesn\u2019t fit" in line for line in bad)
    assert "edgegate explain" in found.output


async def test_a_device_is_tried_by_its_address(site: WifiSite) -> None:
    await asyncio.to_thread(site.put, site.device("ana", "AABBCCDDEE0F"))
    async with site.serving():
        known = await run(site, "test", "--mac", "aa-bb-cc-dd-ee-0f")
        assert known.exit_code == 0, known.output
        assert "the device aa-bb-cc-dd-ee-0f: let in as ana" in known.output
        unknown = await run(site, "test", "--mac", "aa-bb-cc-dd-ee-10")
    assert unknown.exit_code == 1
    assert "wifi-device" in unknown.output


async def test_another_secret_than_the_daemons_is_found_out(serving: WifiSite) -> None:
    serving.nas_file.write_bytes(b"another secret of many octets")
    found = await run(serving, "test")
    assert found.exit_code == 1
    assert "the secrets differ" in found.output
    assert "systemctl restart edgegate" in found.output
    # Nobody answers at all, so that nothing else is tried.
    assert "PAP as" not in found.output


async def test_that_nobody_listens_is_said(site: WifiSite) -> None:
    site.write_config()
    found = await run(site, "test")
    assert found.exit_code == 1
    assert "nobody listens" in found.output
    assert "systemctl status edgegate" in found.output
    assert "no daemon runs" in found.output


async def test_an_access_point_that_the_daemon_does_not_know_yet(serving: WifiSite) -> None:
    more = f'''
[[wifi.nas]]
id = "new"
address = "192.0.2.9"
secret = {{ file = "{serving.nas_file}" }}
location = "hq"
'''
    await asyncio.to_thread(serving.write_config, tail=more)
    found = await run(serving, "test", "--nas", "new")
    assert found.exit_code == 1
    assert "does not know who asks" in found.output
    nobody = await run(serving, "test", "--nas", "old")
    assert (nobody.exit_code, "there are: ap, new" in nobody.output) == (2, True)


async def test_a_password_is_said_only_to_the_right_server(serving: WifiSite) -> None:
    other = serving.directory / "other.pem"
    other.write_bytes(certificate_pem(authority("ec").certificate))
    strange = await run(serving, "test", *as_ana(serving), "--ca", str(other))
    assert strange.exit_code == 1
    assert "was not signed by the authority that devices pin" in strange.output
    await asyncio.to_thread(serving.write_config, wifi='server_name = "wifi.other.example"')
    renamed = await run(serving, "test", *as_ana(serving))
    assert renamed.exit_code == 1
    assert "devices were told wifi.other.example" in renamed.output
    # PAP came through, and again at once; what EAP's tunnel was to carry was never said.
    assert len(await entries(serving, "wifi.accepted")) == 1
    (granted,) = await entries(serving, "access.granted")
    assert granted["customer"] == "ana"


async def test_who_is_there_is_shown(serving: WifiSite) -> None:
    empty = await run(serving, "clients")
    assert "Nobody is on the Wi-Fi" in empty.output
    accepted = await serving.ask(
        f'User-Name = "ana", User-Password = "{PASSWORD}", Calling-Station-Id = "02-00-00-00-00-01"'
    )
    name = accepted.attributes["Class"]
    await serving.account("Start", "s1", Class=name, Calling_Station_Id='"02-00-00-00-00-01"')
    found = await run(serving, "clients", "--json")
    (one,) = json.loads(found.output)
    assert (one["customer"], one["nas"], one["method"]) == ("ana", "ap", "login")
    assert one["mac"] == "020000000001"
    assert one["left_s"] > 0
    table = await run(serving, "clients")
    assert "02-00-00-00-00-01" in table.output


async def test_the_certificate_is_shown_and_clients_come_and_go(serving: WifiSite) -> None:
    shown = await run(serving, "certificate", "--json")
    assert shown.exit_code == 0, shown.output
    told = json.loads(shown.output)
    assert (told["names"], told["faults"]) == (["wifi.edgegate.internal"], [])
    assert "renews itself" in (await run(serving, "certificate")).output
    out = serving.directory / "ana"
    options = ("--ssid", "Loft", "--language", "de", "--out", str(out))
    issued = await run(serving, "certificate", "issue", "--login", "ana", *options)
    assert issued.exit_code == 0, issued.output
    profile = plistlib.loads((out / "wifi.mobileconfig").read_bytes())
    assert "traut dort niemandem" in profile["PayloadDescription"]
    assert {path.name for path in out.iterdir()} == {
        *("wifi.mobileconfig", "wifi.eap-config", "wifi-ca.crt", "wifi.p12")
    }
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in out.iterdir())
    gone = await run(serving, "certificate", "revoke", "--login", "ana")
    assert (gone.exit_code, "1 certificates of ana" in gone.output) == (0, True)
    again = await run(serving, "certificate", "revoke", "--login", "ana")
    assert again.exit_code == 1
    unknown = await run(serving, "certificate", "revoke", "--serial", "12ab")
    assert (unknown.exit_code, "No certificate 12ab" in unknown.output) == (2, True)


async def test_a_certificate_that_does_not_fit_is_complained_of(serving: WifiSite) -> None:
    await asyncio.to_thread(serving.write_config, wifi='server_name = "wifi.other.example"')
    found = await run(serving, "certificate")
    assert found.exit_code == 1
    assert "but devices are told wifi.other.example" in " ".join(found.output.split())


async def test_slip_and_page_are_written_for_their_owner_alone(serving: WifiSite) -> None:
    options = (*as_ana(serving), "--ssid", "Loft", "--space", "The Loft")
    slip = serving.directory / "slip.html"
    made = await run(serving, "slip", *options, "--out", str(slip), "--url", "https://x.example/w")
    assert made.exit_code == 0, made.output
    assert slip.stat().st_mode & 0o777 == 0o600
    assert PASSWORD in slip.read_text().replace("<wbr>", "")
    out = serving.directory / "page"
    made = await run(serving, "profile", *options, "--out", str(out))
    assert made.exit_code == 0, made.output
    names = {"index.html", "wifi.mobileconfig", "wifi.eap-config", "wifi-ca.crt"}
    assert {path.name for path in out.iterdir()} == names
    again = await run(serving, "profile", *options, "--out", str(out))
    assert again.exit_code == 0, again.output
    long = await run(serving, "slip", *options[:4], "--ssid", "x" * 33, "--out", str(slip))
    assert (long.exit_code, "1 to 32 bytes" in long.output) == (2, True)


async def test_the_network_is_the_configurations_unless_another_is_named(
    serving: WifiSite,
) -> None:
    def network(out: Path) -> str:
        written = plistlib.loads((out / "wifi.mobileconfig").read_bytes())
        (found,) = [p["SSID_STR"] for p in written["PayloadContent"] if "SSID_STR" in p]
        return str(found)

    options = (*as_ana(serving), "--out", str(serving.directory / "page"))
    nowhere = await run(serving, "profile", *options)
    assert nowhere.exit_code == 2
    assert "name the network: --ssid, or ssid in" in nowhere.output
    await asyncio.to_thread(serving.write_config, wifi='ssid = "Members"')
    assert (await run(serving, "profile", *options)).exit_code == 0
    assert network(serving.directory / "page") == "Members"
    assert (await run(serving, "profile", *options, "--ssid", "Guests")).exit_code == 0
    assert network(serving.directory / "page") == "Guests"


@pytest.mark.parametrize("command", [("test",), ("clients",), ("certificate",)])
async def test_an_appliance_without_wifi_says_so(site: WifiSite, command: tuple[str, ...]) -> None:
    path = site.write_config()
    text = path.read_text()
    path.write_text(text[: text.index("[wifi]")] + DOOR)
    found: Any = await run(site, *command)
    assert (found.exit_code, "There is no [wifi]" in found.output) == (2, True), found.output
