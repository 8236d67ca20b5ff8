"""The admin API over HTTPS: records of every kind, faults by field, scopes, limits, tokens."""

import json
from typing import Any

import pytest

from edgegate_sync.cloud import app, erasure
from edgegate_sync.cloud.feed import Transaction
from edgegate_sync.cloud.limits import Limiter, Rate
from edgegate_sync.wire.kinds import KINDS
from rig.clouds import RunningCloud

pytest_plugins = ("rig.cloud_fixtures",)

EXAMPLES: dict[str, dict[str, Any]] = {
    "location": {"id": "l", "timezone": "Europe/Berlin"},
    "team": {"id": "t"},
    "customer": {"id": "c", "team": "t"},
    "plan": {"id": "gold"},
    "contract": {"id": "k", "holder": "c", "plan": "gold"},
    "credential": {"id": "card", "customer": "c", "kind": "nfc_uid"},
    "pass": {"id": "p", "holder": "c", "amount": 5},
    "balance": {"pass": "p", "remaining": 4},
    "offer": {"id": "o", "price": 100},
    "resource": {"id": "room", "location": "l"},
    "reservation": {
        "id": "r",
        "customer": "c",
        "from": "2026-11-22T10:00:00+01:00",
        "until": "2026-11-22T11:00:00+01:00",
    },
    "door_group": {"id": "g"},
    "door": {"id": "d", "location": "l"},
    "staff_account": {"id": "s"},
    "device_config": {"id": "door"},
}


def path_of(kind: str, record_id: str) -> str:
    return f"/admin/v1/sites/north/records/{kind}/{record_id}"


def test_every_operation_of_mine_has_a_handler_and_no_handler_is_left_over() -> None:
    names = {operation.name for operation in app.OPERATIONS}
    assert set(app.HANDLERS) <= names
    assert set(EXAMPLES) == set(KINDS)


async def test_every_kind_is_put_read_listed_and_deleted(cloud: RunningCloud) -> None:
    admin = await cloud.admin()
    for kind, record in EXAMPLES.items():
        put = await admin.put(kind, record)
        assert put.status == 200, (kind, put.body)
        assert put.json.get("warnings", []) == [], kind
        path = path_of(kind, record.get("id", record.get("pass", "")))
        got = await admin.ask("GET", path)
        assert record.items() <= got.json["body"].items() or kind == "reservation"
        listed = await admin.ask("GET", f"/admin/v1/sites/north/records/{kind}")
        assert [one["seq"] for one in listed.json["records"]] == [put.json["head"]]
    for kind, record in EXAMPLES.items():
        path = path_of(kind, record.get("id", record.get("pass", "")))
        assert (await admin.ask("DELETE", path)).status == 200
        assert (await admin.ask("GET", path)).status == 404
        assert (await admin.ask("DELETE", path)).status == 200


@pytest.mark.parametrize(
    ("kind", "body", "field"),
    [
        ("pass", {"id": "x", "holder": 5}, "holder"),
        ("pass", {"id": "x"}, ""),
        ("pass", {"id": "y", "holder": "c"}, "id"),
        ("pass", {"id": "x", "holder": "c", "hours": [{"from": "25:00"}]}, "hours[0].from"),
        ("pass", {"id": "x", "holder": "c", "colour": "red"}, "colour"),
        ("location", {"id": "x", "timezone": "Mars/Base"}, ""),
        ("team", {"id": "x", "name": "a\0b"}, ""),
    ],
)
async def test_a_fault_names_its_field_and_changes_nothing(
    cloud: RunningCloud, kind: str, body: dict[str, Any], field: str
) -> None:
    admin = await cloud.admin()
    told = await admin.ask("PUT", path_of(kind, "x"), json=body)
    assert told.status == 422, told.body
    assert told.headers["Content-Type"] == "application/problem+json"
    assert told.json["faults"][0].get("field", "") == field
    assert (await admin.ask("GET", "/admin/v1/sites/north")).json["head"] == 0


async def test_a_reference_in_vain_is_a_warning(cloud: RunningCloud) -> None:
    admin = await cloud.admin()
    told = await admin.put("credential", {"id": "x", "customer": "nobody", "kind": "nfc_uid"})
    assert told.status == 200
    assert told.json["warnings"][0]["field"] == "customer"
    await admin.put("team", {"id": "t"})
    team = await admin.put("pass", {"id": "p", "holder": "t"})
    assert "warnings" not in team.json


async def test_pages_follow_each_other_without_loss(cloud: RunningCloud) -> None:
    admin = await cloud.admin()
    names = [f"{number:02}" for number in range(7)] + ["B", "a", "ä"]
    await admin.ask(
        "POST",
        "/admin/v1/sites/north/records",
        json=[{"kind": "team", "id": name, "body": {"id": name}} for name in reversed(names)],
    )
    found: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        query: dict[str, str] = {"limit": "3", "cursor": cursor}
        page = await admin.ask("GET", "/admin/v1/sites/north/records/team", params=query)
        found += [one["id"] for one in page.json["records"]]
        cursor = page.json.get("next")
    # By code point on both databases.
    assert found == names
    for name in ("c1", "c2"):
        await admin.put("customer", {"id": name, "team": "B"})
    await admin.put("customer", {"id": "c3"})
    mine = await admin.ask("GET", "/admin/v1/sites/north/records/customer?owner=B")
    assert [one["id"] for one in mine.json["records"]] == ["c1", "c2"]


def bulk(count: int, faulty: int) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = [
        {"kind": "team", "id": str(n), "body": {"id": str(n)}} for n in range(count)
    ]
    items[faulty]["body"]["name"] = 5
    return items


@pytest.mark.parametrize("lines", [False, True])
async def test_bulk_names_each_fault_by_its_place(cloud: RunningCloud, lines: bool) -> None:
    admin = await cloud.admin()
    items = [*bulk(1200, 600), {"kind": "nonsense", "id": "x"}, {"kind": "team", "op": "erase"}]
    path = "/admin/v1/sites/north/records" + ("/lines" if lines else "")
    if lines:
        data = "\n".join(json.dumps(item) for item in items).encode() + b"\n{broken\n"
        body: dict[str, Any] = {"data": data, "headers": {"Content-Type": "application/x-ndjson"}}
    else:
        body = {"json": items}
    refused = await admin.ask("POST", f"{path}?all_or_nothing=true", **body)
    assert refused.status == 422
    assert (await admin.ask("GET", "/admin/v1/sites/north")).json["head"] == 0
    told = await admin.ask("POST", path, **body)
    assert told.status == 200, told.body
    assert told.json["written"] == 1199
    assert told.json["head"] == 1199
    places = [(fault["line"], fault.get("field", "")) for fault in told.json["faults"]]
    assert places[:2] == [(601, "name"), (1201, "kind")]
    assert [line for line, _ in places] == [601, 1201, 1202, *([1203] if lines else [])]
    assert told.json["faults"] == refused.json["faults"]
    gone = await admin.ask(
        "POST", path.removesuffix("/lines"), json=[{"kind": "team", "id": "1", "op": "delete"}]
    )
    assert gone.json["written"] == 1
    assert (await admin.ask("GET", path_of("team", "1"))).status == 404


async def test_erasing_a_person_takes_their_traces_along(cloud: RunningCloud) -> None:
    admin = await cloud.admin()
    for kind, record in EXAMPLES.items():
        await admin.put(kind, record)
    await admin.put("customer", {"id": "other"})
    called: list[tuple[str, str]] = []

    async def eraser(_transaction: Transaction, kind: str, record_id: str) -> None:
        called.append((kind, record_id))

    erasure.erasers.append(eraser)
    try:
        told = await admin.ask("POST", path_of("customer", "c") + "/erase")
    finally:
        erasure.erasers.remove(eraser)
    assert told.json["records"] == 6
    assert called == [("customer", "c")]
    device = await cloud.caller(await cloud.enrol())
    lines = (await device.ask("GET", "/v1/feed?after=0")).lines
    erased = {(line["kind"], line["id"]) for line in lines if line.get("op") == "erase"}
    assert erased == {
        ("customer", "c"),
        ("credential", "card"),
        ("contract", "k"),
        ("pass", "p"),
        ("balance", "p"),
        ("reservation", "r"),
    }
    assert ("customer", "other") in {(line.get("kind"), line.get("id")) for line in lines}
    assert (await admin.ask("POST", path_of("team", "t") + "/erase")).status == 404


async def test_a_token_does_what_its_scopes_say_and_no_more(cloud: RunningCloud) -> None:
    admin = await cloud.admin()
    asks = {
        "read": ("GET", path_of("team", "t"), None),
        "write": ("PUT", path_of("team", "t"), {"id": "t"}),
        "devices": ("POST", "/admin/v1/sites/north/claims", {}),
        "admin": ("GET", "/admin/v1/tokens", None),
    }
    for scope, (own_method, own_path, _) in asks.items():
        body = {"name": scope, "scopes": [scope]}
        made = (await admin.ask("POST", "/admin/v1/tokens", json=body)).json
        caller = await cloud.caller(token=made["secret"])
        for other, (method, path, sent) in asks.items():
            told = await caller.ask(method, path, **({} if sent is None else {"json": sent}))
            assert (told.status == 403) is (scope != other), (scope, other, told.body)
        gone = await admin.ask("DELETE", f"/admin/v1/tokens/{made['token']['id']}")
        assert gone.status == 204
        assert (await caller.ask(own_method, own_path)).status == 401
    listed = await admin.ask("GET", "/admin/v1/tokens")
    assert [one["name"] for one in listed.json["tokens"]] == ["test"]
    assert b"egt_" not in listed.body


@pytest.mark.parametrize("token", [None, "", "egt_wrong", "x" * 5000])
async def test_without_a_token_there_is_nothing(cloud: RunningCloud, token: str | None) -> None:
    caller = await cloud.caller(token=token)
    told = await caller.ask("GET", "/admin/v1/sites")
    assert told.status == 401
    assert told.headers["WWW-Authenticate"] == "Bearer"


async def test_an_expired_token_is_worthless(cloud: RunningCloud) -> None:
    admin = await cloud.admin()
    body = {"name": "x", "scopes": ["read"], "expires_at": "2020-01-01T00:00:00Z"}
    made = (await admin.ask("POST", "/admin/v1/tokens", json=body)).json
    assert (
        await (await cloud.caller(token=made["secret"])).ask("GET", "/admin/v1/sites")
    ).status == 401


async def test_rates_are_limited_by_token_and_by_address(cloud: RunningCloud) -> None:
    cloud.cloud.limits.admin = Limiter(Rate(3, 0.001))
    cloud.cloud.limits.unknown = Limiter(Rate(2, 0.001))
    admin = await cloud.admin()
    statuses = [(await admin.ask("GET", "/admin/v1/sites")).status for _ in range(5)]
    assert statuses == [200, 200, 200, 429, 429]
    stranger = await cloud.caller(token="egt_guess")  # noqa: S106 - it is none
    told = [(await stranger.ask("GET", "/admin/v1/sites")) for _ in range(4)]
    assert [one.status for one in told] == [401, 401, 429, 429]
    assert told[-1].json["type"] == "urn:edgegate:rate"
    assert int(told[-1].headers["Retry-After"]) > 1


async def test_bodies_are_limited_and_of_their_type(cloud: RunningCloud) -> None:
    admin = await cloud.admin()
    path = path_of("team", "t")
    large = json.dumps({"id": "t", "name": "x" * 200_000}).encode()
    json_type = {"Content-Type": "application/json"}

    async def parts() -> Any:
        for start in range(0, len(large), 10_000):
            yield large[start : start + 10_000]

    assert (await admin.ask("PUT", path, data=large, headers=json_type)).status == 413
    assert (await admin.ask("PUT", path, data=parts(), headers=json_type)).status == 413
    assert (await admin.ask("PUT", path, data=b"{}")).status == 415
    assert (await admin.ask("PUT", path, data=b"{", headers=json_type)).status == 422
    deep = b"[" * 100_000
    assert (await admin.ask("PUT", path, data=deep, headers=json_type)).status == 422


async def test_unknown_paths_sites_and_methods_are_problems_too(cloud: RunningCloud) -> None:
    admin = await cloud.admin()
    for method, path, status in (
        ("GET", "/nowhere", 404),
        ("PATCH", "/admin/v1/sites", 405),
        ("GET", "/admin/v1/sites/south", 404),
        ("GET", "/admin/v1/sites/south/records/team", 404),
        ("GET", "/admin/v1/sites/south/devices", 404),
        ("GET", "/admin/v1/sites/north/devices/none", 404),
        ("POST", "/admin/v1/sites/north/devices/none/revoke", 404),
        ("GET", "/admin/v1/sites/..%2f/records/team", 400),
        ("GET", path_of("team", "a%00b"), 400),
        ("GET", path_of("team", "x" * 200), 400),
    ):
        told = await admin.ask(method, path)
        assert told.status == status, (path, told.body)
        assert told.headers["Content-Type"] == "application/problem+json"
    put = await admin.ask("PUT", "/admin/v1/sites/south/records/team/t", json={"id": "t"})
    assert put.status == 404
    body = {"id": "north"}
    assert (await admin.ask("POST", "/admin/v1/sites", json=body)).status == 409


async def test_a_command_needs_a_broker_and_a_device_that_spoke(cloud: RunningCloud) -> None:
    admin = await cloud.admin()
    await cloud.enrol("door")
    path = "/admin/v1/sites/north/devices/door/commands"
    told = await admin.ask("POST", path, json={"name": "identify"})
    assert told.status == 409
    state = {
        "at": "2026-11-22T12:00:00Z",
        "version": "1",
        "boot": "b",
        "uptime_s": 5,
        "head": 0,
        "ledger": {"epoch": 1, "sequence": 0},
        "clock": "trusted",
    }
    device = await cloud.caller(await cloud.enrol("door"))
    assert (await device.ask("PUT", "/v1/state", json=state)).status == 204
    told = await admin.ask("POST", path, json={"name": "identify"})
    assert (told.status, told.json["type"]) == (503, "urn:edgegate:busy")


async def test_an_unexpected_error_is_told_by_number_and_nothing_else(
    cloud: RunningCloud, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    admin = await cloud.admin()

    async def fail(*_arguments: object) -> None:
        raise ZeroDivisionError("the secret of the house")

    monkeypatch.setattr("edgegate_sync.cloud.record_api.dangling", fail)
    told = await admin.put("team", {"id": "t"})
    assert told.status == 500
    assert b"secret" not in told.body
    assert told.json["instance"] in str([getattr(r, "fields", "") for r in caplog.records])
    assert (await admin.ask("GET", "/admin/v1/sites/north")).json["head"] == 0


async def test_the_description_and_its_page_need_nothing_from_elsewhere(
    cloud: RunningCloud,
) -> None:
    caller = await cloud.caller()
    told = await caller.ask("GET", "/admin/v1/openapi.json")
    assert told.json["openapi"] == "3.1.0"
    assert "put_pass" in told.body.decode()
    page = await caller.ask("GET", "/admin/v1/docs")
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    text = page.body.decode()
    assert "<script" not in text
    assert "http:" not in text
    assert "https:" not in text
    assert (await caller.ask("GET", "/healthz")).body == b"ok\n"
    assert (await caller.ask("GET", "/readyz")).body == b"ready\n"
