"""Wi-Fi logins, devices and blocking in the admin API: what is told once, and what is kept."""

import secrets
from typing import Any

import msgspec
import pytest

from edgegate.credentials.lookup import lookup
from edgegate.passes.model import Credential, CredentialKind
from edgegate.wifi import verifiers
from edgegate.wifi.proofs import ChapProof, LoginProof
from edgegate_sync.cloud import wifi_logins
from edgegate_sync.cloud.csv_import_api import keep_site_key
from edgegate_sync.cloud.desk import ensure_site
from rig.clouds import Caller, Reply, RunningCloud

pytest_plugins = ("rig.cloud_fixtures",)

KEY = secrets.token_bytes(32)
SITE = "/admin/v1/sites/north"


@pytest.fixture
async def admin(cloud: RunningCloud) -> Caller:
    """An administrator of a site with its key and one customer."""
    inner = cloud.cloud
    async with inner.database.writing() as writing:
        await keep_site_key(writing, inner.vault, "north", KEY)
    admin = await cloud.admin()
    assert (await admin.put("customer", {"id": "ana", "name": "Ana"})).status == 200
    return admin


async def issue(admin: Caller, **wanted: Any) -> Reply:
    return await admin.ask("POST", f"{SITE}/customers/ana/wifi-logins", json=wanted)


async def kept(admin: Caller, credential: str) -> Credential:
    got = await admin.ask("GET", f"{SITE}/records/credential/{credential}")
    assert got.status == 200, got.body
    return msgspec.convert(got.json["body"], Credential)


def opens(credential: Credential, name: str, password: str) -> bool:
    """Whether the appliance lets this login in."""
    number = lookup(KEY, CredentialKind.WIFI_LOGIN, name.encode())
    proof = LoginProof(name, password.encode())
    return credential.lookup == number and verifiers.fits(credential.verifier, proof, KEY, number)


async def test_a_login_is_told_once_and_opens(admin: Caller) -> None:
    made = await issue(admin)
    assert made.status == 201, made.body
    assert made.headers["Cache-Control"] == "no-store"
    found = await kept(admin, made.json["credential"])
    name, password = made.json["name"], made.json["password"]
    assert (found.customer, found.kind) == ("ana", CredentialKind.WIFI_LOGIN)
    assert opens(found, name, password)
    assert opens(found, name.upper(), password)
    assert not opens(found, name, password[:-1])
    text = (await admin.ask("GET", f"{SITE}/records/credential")).body.decode()
    assert password not in text
    assert name not in text


async def test_a_customer_has_several_logins_each_with_its_own_password(admin: Caller) -> None:
    wanted = {"name": "Ana's Laptop", "valid_until": "2027-01-01T00:00:00Z"}
    first, second = await issue(admin, **wanted), await issue(admin)
    assert (first.status, second.status) == (201, 201)
    assert first.json["password"] != second.json["password"]
    found = await kept(admin, first.json["credential"])
    assert opens(found, "ana's laptop", first.json["password"])
    assert found.valid_until is not None
    taken = await issue(admin, name="ANA'S LAPTOP ".strip())
    assert (taken.status, "new password" in taken.json["detail"]) == (409, True)


async def test_chap_portals_get_a_sealed_password(admin: Caller) -> None:
    made = await issue(admin, chap=True)
    found = await kept(admin, made.json["credential"])
    assert found.verifier.startswith("sealed$")
    assert opens(found, made.json["name"], made.json["password"])
    other = ChapProof(made.json["name"], bytes(17), bytes(16))
    assert not verifiers.fits(found.verifier, other, KEY, found.lookup)
    path = f"{SITE}/credentials/{found.id}/wifi-password"
    again = await admin.ask("POST", path, json={})
    assert (await kept(admin, found.id)).verifier.startswith("sealed$")
    plain = await admin.ask("POST", path, json={"chap": False})
    renewed = await kept(admin, found.id)
    assert renewed.verifier.startswith("sha256$")
    assert opens(renewed, made.json["name"], plain.json["password"])
    assert not opens(renewed, made.json["name"], again.json["password"])


async def test_a_device_is_the_same_in_every_notation(admin: Caller) -> None:
    path = f"{SITE}/customers/ana/wifi-devices"
    notations = ("aa:bb:cc:dd:ee:0f", "AA-BB-CC-DD-EE-0F", "aabb.ccdd.ee0f", "AABBCCDDEE0F")
    made = [await admin.ask("POST", path, json={"mac": mac}) for mac in notations]
    assert [one.status for one in made] == [201] * 4
    assert len({one.body for one in made}) == 1
    assert (made[0].json["mac"], made[0].json["randomised"]) == ("AABBCCDDEE0F", True)
    found = await kept(admin, made[0].json["credential"])
    assert found.lookup == lookup(KEY, CredentialKind.MAC, b"AABBCCDDEE0F")
    bought = await admin.ask("POST", path, json={"mac": "00:11:22:33:44:55"})
    assert bought.json["randomised"] is False
    await admin.put("customer", {"id": "bob"})
    theirs = await admin.ask("POST", path.replace("ana", "bob"), json={"mac": notations[0]})
    assert (theirs.status, "another customer" in theirs.json["detail"]) == (409, True)


@pytest.mark.parametrize("mac", ["aa:bb:cc:dd:ee:0g", "01:00:5e:00:00:01", "aa:bb:cc:dd:ee:"])
async def test_what_is_no_device_is_refused(admin: Caller, mac: str) -> None:
    refused = await admin.ask("POST", f"{SITE}/customers/ana/wifi-devices", json={"mac": mac})
    assert (refused.status, refused.json["faults"][0]["field"]) == (422, "mac")


@pytest.mark.parametrize("name", [" ana", "a\nb", "AABBCCDDEEFF", "aa:bb:cc:dd:ee:ff"])
async def test_a_name_that_would_not_work_is_refused(admin: Caller, name: str) -> None:
    refused = await issue(admin, name=name)
    assert (refused.status, refused.json["faults"][0]["field"]) == (422, "name")


async def test_a_blocked_login_stays_known_and_works_again(admin: Caller) -> None:
    made = await issue(admin)
    path = f"{SITE}/credentials/{made.json['credential']}"
    blocked = await admin.ask("POST", f"{path}/block")
    assert blocked.status == 200
    assert (await kept(admin, made.json["credential"])).status == "blocked"
    again = await admin.ask("POST", f"{path}/block")
    assert again.json == blocked.json
    # A device that is added again stays blocked: only unblocking unblocks.
    mac = {"mac": "00:11:22:33:44:55"}
    device = await admin.ask("POST", f"{SITE}/customers/ana/wifi-devices", json=mac)
    credential = device.json["credential"]
    await admin.ask("POST", f"{SITE}/credentials/{credential}/block")
    await admin.ask("POST", f"{SITE}/customers/ana/wifi-devices", json=mac)
    assert (await kept(admin, credential)).status == "blocked"
    assert (await admin.ask("POST", f"{path}/unblock")).json["head"] > blocked.json["head"]
    assert opens(
        await kept(admin, made.json["credential"]), made.json["name"], made.json["password"]
    )


async def test_what_is_not_there_is_said(admin: Caller, cloud: RunningCloud) -> None:
    nobody = await admin.ask("POST", f"{SITE}/customers/zoe/wifi-logins", json={})
    assert (nobody.status, "zoe" in nobody.json["detail"]) == (404, True)
    for deed in ("block", "unblock"):
        nothing = await admin.ask("POST", f"{SITE}/credentials/none/{deed}")
        assert nothing.status == 404
    elsewhere = await admin.ask("POST", "/admin/v1/sites/x/customers/ana/wifi-logins", json={})
    assert elsewhere.status == 404
    made = await admin.ask("POST", f"{SITE}/customers/ana/wifi-devices", json={"mac": "0" * 12})
    path = f"{SITE}/credentials/{made.json['credential']}/wifi-password"
    assert (await admin.ask("POST", path, json={})).status == 409
    async with cloud.cloud.database.writing() as writing:
        await ensure_site(writing, cloud.cloud.keys, "keyless")
    await admin.put("customer", {"id": "ana"}, site="keyless")
    path = "/admin/v1/sites/keyless/customers/ana/wifi-logins"
    keyless = await admin.ask("POST", path, json={})
    assert (keyless.status, "site-key" in keyless.json["detail"]) == (409, True)


async def test_a_customer_has_only_so_many(admin: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wifi_logins, "CREDENTIALS_MAX", 2)
    assert [(await issue(admin)).status for _ in range(3)] == [201, 201, 409]
