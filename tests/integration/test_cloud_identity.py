"""Enrolment, renewal and revocation over real TLS, and who gets in with what."""

import asyncio
import ssl
from typing import Any

import aiohttp
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from sqlalchemy import update

from edgegate_sync.cloud.tables import certificate, claim
from edgegate_sync.wire.commands import public_key
from edgegate_sync.wire.enrolment import decode_enrolled
from edgegate_sync.wire.errors import PROBLEM_TYPE, encode
from rig.authority import Authority
from rig.clouds import DeviceFiles, Reply, RunningCloud, request_for, running, until

pytest_plugins = ("rig.cloud_fixtures",)


async def test_a_claim_makes_an_identity_once(cloud: RunningCloud) -> None:
    caller = await cloud.caller()
    code = await cloud.claim()
    key, csr = request_for("somebody/else")
    made = await caller.ask(
        "POST", "/v1/enroll", json={"claim": code, "csr": csr, "device": "door"}
    )
    assert made.status == 201, made.body
    enrolled = decode_enrolled(made.body)
    assert (enrolled.site, enrolled.device, enrolled.broker) == ("north", "door", None)
    assert public_key(enrolled.command_key)
    leaf = x509.load_pem_x509_certificate(enrolled.certificate.encode())
    name = leaf.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)[0].value
    assert name == "north/door"
    _, other = request_for("x")
    for csr_again, status in ((other, 403), (csr, 201)):
        again = await caller.ask("POST", "/v1/enroll", json={"claim": code, "csr": csr_again})
        # A lost answer may be asked for again, by the same key alone.
        assert again.status == status, again.body
    assert again.json["certificate"] == enrolled.certificate
    device = await cloud.caller(cloud.files(key, made.json))
    assert (await device.ask("GET", "/v1/feed?after=0")).status == 200


async def test_a_claim_that_is_unknown_or_expired_says_the_same(cloud: RunningCloud) -> None:
    caller = await cloud.caller()
    _, csr = request_for("x")
    code = await cloud.claim()
    async with cloud.cloud.database.writing() as writing:
        await writing.execute(update(claim).values(expires_at=claim.c.created_at))
    bodies = []
    for wrong in (code, "0000-0000-0000-0000-0000"):
        told = await caller.ask("POST", "/v1/enroll", json={"claim": wrong, "csr": csr})
        assert told.status == 403
        assert told.headers["Content-Type"] == PROBLEM_TYPE
        bodies.append(told.json)
    assert bodies[0] == bodies[1]
    assert bodies[0]["type"] == "urn:edgegate:claim-unknown"


@pytest.mark.parametrize("kind", ["curve", "no request", "broken"])
async def test_a_faulty_request_leaves_the_claim_good(cloud: RunningCloud, kind: str) -> None:
    caller = await cloud.caller()
    code = await cloud.claim("door")
    _, csr = request_for("x", ec.SECP384R1() if kind == "curve" else None)
    if kind != "curve":
        csr = "nonsense" if kind == "no request" else csr[:200] + "AAAA" + csr[204:]
    told = await caller.ask("POST", "/v1/enroll", json={"claim": code, "csr": csr})
    assert told.status == 422
    assert told.json["faults"][0]["field"] == "csr"
    _, good = request_for("x")
    assert (await caller.ask("POST", "/v1/enroll", json={"claim": code, "csr": good})).status == 201


async def test_a_device_is_replaced_only_by_a_claim_that_names_it(cloud: RunningCloud) -> None:
    old = await cloud.enrol("door")
    caller = await cloud.caller()
    code = await cloud.claim()
    _, csr = request_for("x")
    told = await caller.ask(
        "POST", "/v1/enroll", json={"claim": code, "csr": csr, "device": "door"}
    )
    assert told.status == 409
    new = await cloud.enrol("door")
    assert (await (await cloud.caller(new)).ask("GET", "/v1/feed?after=0")).status == 200
    locked = await (await cloud.caller(old)).ask("GET", "/v1/feed?after=0")
    assert (locked.status, locked.json["type"]) == (403, "urn:edgegate:revoked")


async def test_a_renewed_certificate_keeps_the_name_and_the_old_one_stays_good(
    cloud: RunningCloud,
) -> None:
    old = await cloud.enrol("door")
    device = await cloud.caller(old)
    key, csr = request_for("another name")
    made = await device.ask("POST", "/v1/renew", json={"csr": csr})
    assert made.status == 200, made.body
    assert made.json["names"] == ["north/door"]
    for files in (old, cloud.files(key, made.json)):
        caller = await cloud.caller(files)
        assert (await caller.ask("GET", "/v1/feed?after=0")).status == 200


async def test_a_revoked_device_is_refused_and_its_live_connections_are_cut(
    cloud: RunningCloud,
) -> None:
    device = await cloud.caller(await cloud.enrol("door"))
    other = await cloud.caller(await cloud.enrol("gate"))
    waiting = asyncio.create_task(device.ask("GET", "/v1/feed?after=0&wait=60"))
    staying = asyncio.create_task(other.ask("GET", "/v1/feed?after=0&wait=60"))
    await until(lambda: len(cloud.cloud.connections._transports) == 2)
    admin = await cloud.admin()
    told = await admin.ask("POST", "/admin/v1/sites/north/devices/door/revoke")
    assert told.status == 204
    assert await cloud.cloud.connections.look(cloud.cloud.database) == 1
    # The client tries once more by itself where a connection breaks.
    (ended,) = await asyncio.gather(waiting, return_exceptions=True)
    assert isinstance(ended, aiohttp.ClientError) or (
        isinstance(ended, Reply) and ended.status == 403
    )
    locked = await device.ask("GET", "/v1/feed?after=0")
    assert (locked.status, locked.json["type"]) == (403, "urn:edgegate:revoked")
    await admin.put("team", {"id": "t"})
    assert (await staying).lines[-1] == {"head": 1, "complete": True}
    shown = (await admin.ask("GET", "/admin/v1/sites/north/devices/door")).json
    assert shown["revoked_at"]


async def test_devices_need_a_certificate_of_this_cloud(cloud: RunningCloud) -> None:
    caller = await cloud.caller()
    for method, path in (("GET", "/v1/feed?after=0"), ("POST", "/v1/renew"), ("PUT", "/v1/state")):
        assert (await caller.ask(method, path)).status == 401
    admin = await cloud.admin()
    assert (await admin.ask("GET", "/v1/feed?after=0")).status == 401


async def test_a_certificate_of_another_authority_does_not_even_connect(
    cloud: RunningCloud,
) -> None:
    identity = Authority(cloud.directory / "other").issue("north/door")
    files = DeviceFiles("door", identity.certificate, identity.key, {})
    with pytest.raises((aiohttp.ClientError, ssl.SSLError)):
        await (await cloud.caller(files)).ask("GET", "/v1/feed?after=0")


async def test_a_certificate_that_the_database_does_not_know_is_nobodys(
    cloud: RunningCloud,
) -> None:
    """Such as one that was signed with a stolen key."""
    device = await cloud.caller(await cloud.enrol("door"))
    async with cloud.cloud.database.writing() as writing:
        await writing.execute(certificate.delete())
    assert (await device.ask("GET", "/v1/feed?after=0")).status == 401


async def test_a_device_of_a_new_site_gets_in_and_sees_its_own_site_alone(
    cloud: RunningCloud,
) -> None:
    admin = await cloud.admin()
    made = await admin.ask("POST", "/admin/v1/sites", json={"id": "south", "name": "South"})
    assert made.status == 201, made.body
    await admin.put("team", {"id": "of-north"})
    await admin.put("team", {"id": "of-south"}, site="south")
    for site in ("north", "south"):
        device = await cloud.caller(await cloud.enrol("door", site))
        lines = (await device.ask("GET", "/v1/feed?after=0")).lines
        assert [line["id"] for line in lines[:-1]] == [f"of-{site}"]


async def test_enrolling_is_limited_by_address(cloud: RunningCloud) -> None:
    caller = await cloud.caller()
    _, csr = request_for("x")
    statuses = []
    for _ in range(12):
        told = await caller.ask("POST", "/v1/enroll", json={"claim": "0" * 20, "csr": csr})
        statuses.append(told.status)
    assert statuses == [403] * 10 + [429] * 2
    assert int(told.headers["Retry-After"]) >= 1


async def test_a_second_worker_knows_what_the_first_one_made(
    cloud: RunningCloud, database_url: str
) -> None:
    files = await cloud.enrol("door")
    async with running(database_url, cloud.directory, site=None) as second:
        device = await second.caller(files)
        poll = asyncio.create_task(device.ask("GET", "/v1/feed?after=0&wait=30"))
        await (await cloud.admin()).put("team", {"id": "t"})
        assert (await poll).lines[0]["id"] == "t"
        # A site that is made here is trusted there when it next looks.
        await (await cloud.admin()).ask("POST", "/admin/v1/sites", json={"id": "south"})
        await second.cloud.trust_new_sites()
        other = await second.caller(await cloud.enrol("door", "south"))
        assert (await other.ask("GET", "/v1/feed?after=0")).status == 200


async def test_a_device_says_how_it_does_where_there_is_no_broker(
    cloud: RunningCloud, state: dict[str, Any]
) -> None:
    device = await cloud.caller(await cloud.enrol("door"))
    told = await device.ask("PUT", "/v1/state", json=state)
    assert told.status == 204, told.body
    shown = (await (await cloud.admin()).ask("GET", "/admin/v1/sites/north/devices")).json
    assert shown["devices"][0]["state"]["boot"] == "boot-1"
    assert (await device.ask("PUT", "/v1/state", json={"at": 1})).status == 422
    assert encode(state)


@pytest.fixture
def state() -> dict[str, Any]:
    return {
        "at": "2026-11-22T12:00:00Z",
        "version": "0.4.0",
        "boot": "boot-1",
        "uptime_s": 5,
        "head": 0,
        "ledger": {"epoch": 1, "sequence": 0},
        "clock": "trusted",
    }
