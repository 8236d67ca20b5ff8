"""The books over HTTP: a device uploads with its certificate, staff ask with a token."""

from io import BytesIO
from typing import Any

from edgegate_sync.cloud.tokens import Scope, create
from edgegate_sync.wire.events import BATCH_TYPE
from rig.clouds import Caller, Reply, RunningCloud
from rig.ledgers import Device, at, batch, use

pytest_plugins = ("rig.cloud_fixtures",)

BASE = "/admin/v1/sites/north"


async def ready(cloud: RunningCloud) -> tuple[Caller, Caller]:
    """An administrator who has put Ana's ten days, and the device "door"."""
    admin = await cloud.admin()
    for kind, body in (
        ("location", {"id": "hall"}),
        ("customer", {"id": "ana"}),
        ("pass", {"id": "days", "holder": "ana", "amount": 10}),
    ):
        assert (await admin.put(kind, body)).status in (200, 201)
    return admin, await cloud.caller(await cloud.enrol("door"))


async def upload(device: Caller, body: bytes) -> Reply:
    return await device.ask(
        "POST", "/v1/ledger", data=BytesIO(body), headers={"Content-Type": BATCH_TYPE}
    )


async def post(admin: Caller, path: str, body: Any) -> Reply:
    return await admin.ask("POST", f"{BASE}{path}", json=body)


async def test_a_device_uploads_and_only_what_is_its_own_counts(cloud: RunningCloud) -> None:
    admin, device = await ready(cloud)
    own, other = Device("door"), Device("gate")
    own.write(use("ana", "days", at(0)))
    other.write(use("ana", "days", at(2000)), at(2000))
    done = await upload(device, batch([*own.entries, *other.entries]))
    assert done.status == 200
    assert (done.json["counted"], done.json["settled"][0]["outcome"]) == (2, "quarantined")
    assert (await device.ask("GET", "/v1/ledger")).json["counted"] == 2
    balance = await admin.ask("GET", f"{BASE}/records/balance/days")
    assert balance.json["body"]["remaining"] == 9
    parked = (await admin.ask("GET", f"{BASE}/quarantine")).json["parked"]
    assert [(p["fault"], p["device"]) for p in parked] == [("foreign", "door")]
    path = f"{BASE}/quarantine/{parked[0]['id']}"
    assert "gate" in (await admin.ask("GET", path)).json["raw"]
    assert (await admin.ask("POST", f"{path}/dismiss", json={"memo": "seen"})).status == 200
    assert (await admin.ask("GET", f"{BASE}/quarantine")).json["parked"] == []
    assert (await admin.ask("GET", f"{BASE}/ledgers")).json["heads"][0]["sequence"] == 2


async def test_what_is_no_batch_is_a_problem(cloud: RunningCloud) -> None:
    _, device = await ready(cloud)
    assert (await upload(device, b"{}")).status == 422
    assert (await upload(device, b"[" + b" " * 1_100_000 + b"]")).status == 413
    stranger = await cloud.caller()
    assert (await upload(stranger, b"[]")).status == 401


async def test_staff_adjust_book_and_read_what_happened(cloud: RunningCloud) -> None:
    admin, _ = await ready(cloud)
    added = await post(admin, "/passes/days/adjustments", {"amount": 2, "memo": "sorry"})
    assert added.json == {"remaining": 12}
    assert (await post(admin, "/passes/days/adjustments", {"amount": 0})).status == 422
    assert (await post(admin, "/passes/days/adjustments", {"amount": -13})).status == 409
    assert (await post(admin, "/passes/none/adjustments", {"amount": 1})).status == 404
    lot = {"id": "gift", "holder": "ana", "amount": 3, "state": "awaiting_approval"}
    assert (await post(admin, "/lots", {"lot": lot})).json == {"remaining": 3}
    decided = await post(admin, "/passes/gift/approval", {"approved": True})
    assert decided.status == 200
    booking = {
        "id": "r",
        "customer": "ana",
        "pass": "days",
        "location": "hall",
        "from": "2999-01-01T10:00:00Z",
        "until": "2999-01-01T12:00:00Z",
    }
    assert (await post(admin, "/bookings", {"reservation": booking})).json == {"remaining": 11}
    assert (await post(admin, "/bookings/r/cancel", {})).json == {"remaining": 12}
    assert (await post(admin, "/bookings/none/cancel", {})).status == 404
    assert (await post(admin, "/devices/door/abandon", {})).json == {"count": 0}
    told = await admin.ask("GET", f"{BASE}/customers/ana/history?limit=2")
    assert [t["kind"] for t in told.json["transactions"]] == ["booking_refund", "booking"]
    more = await admin.ask(
        "GET", f"{BASE}/customers/ana/history", params={"cursor": told.json["next"]}
    )
    kinds = [t["kind"] for t in more.json["transactions"]]
    assert kinds == ["approval", "granted", "adjustment"]
    assert more.json["transactions"][-1]["memo"] == "sorry"
    for cursor in ("nonsense", "99999999999999999999999:x"):
        wrong = await admin.ask("GET", f"{BASE}/customers/ana/history", params={"cursor": cursor})
        assert wrong.status == 400


async def test_the_policy_of_a_site_and_of_a_location(cloud: RunningCloud) -> None:
    admin, device = await ready(cloud)
    path = f"{BASE}/settlement-policies"
    for policy in ({"outcomes": ["forgiven"]}, {"outcomes": ["charged"], "location": "x"}):
        assert (await admin.ask("PUT", path, json=policy)).status == 204
    policies = (await admin.ask("GET", path)).json["policies"]
    assert policies == [{"outcomes": ["forgiven"]}, {"outcomes": ["charged"], "location": "x"}]
    await admin.put("pass", {"id": "last", "holder": "ana", "amount": 0})
    own = Device("door")
    own.write(use("ana", "last", at(0)))
    done = await upload(device, batch(own.entries))
    assert done.json["settled"][0]["outcome"] == "forgiven"


async def test_who_may_only_read_changes_nothing(cloud: RunningCloud) -> None:
    await ready(cloud)
    async with cloud.cloud.database.writing() as writing:
        _, secret = await create(writing, "reader", (Scope.READ,))
    reader = await cloud.caller(token=secret)
    assert (await reader.ask("GET", f"{BASE}/customers/ana/history")).status == 200
    for path, body in (
        ("/passes/days/adjustments", {"amount": 1}),
        ("/lots", {"lot": {"id": "x", "holder": "ana"}}),
        ("/bookings/r/cancel", {}),
        ("/devices/door/abandon", {}),
    ):
        assert (await post(reader, path, body)).status == 403
