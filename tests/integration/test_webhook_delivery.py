"""Webhooks from what a device uploads to a receiver, on both databases."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update

from edgegate_sync.cloud import erasure, ingest, webhook_events, webhooks
from edgegate_sync.cloud.database import fetch
from edgegate_sync.cloud.tables import device
from edgegate_sync.cloud.webhook_tables import webhook, webhook_event
from rig.clouds import Caller, Reply, RunningCloud, running
from rig.hooks import Receiver
from rig.ledgers import Device, at, batch, opened, use

pytest_plugins = ("rig.further_fixtures",)

LOOPBACK = ("127.0.0.0/8",)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look and try again at once."""
    monkeypatch.setattr(webhooks, "LOOK_EVERY_S", 0.02)
    monkeypatch.setattr(webhooks, "backoff", lambda _failures: timedelta(milliseconds=20))


@pytest.fixture
async def cloud(further_url: str, tmp_path: Path) -> AsyncIterator[RunningCloud]:
    """A cloud whose webhooks may go to this machine."""
    async with running(further_url, tmp_path, webhook_networks=LOOPBACK) as made:
        yield made


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """Somebody who is told."""
    async with Receiver().serving() as made:
        yield made


async def put(admin: Caller, url: str, *events: str, name: str = "crm", **more: Any) -> Reply:
    path = f"/admin/v1/sites/north/webhooks/{name}"
    return await admin.ask("PUT", path, json={"url": url, "events": list(events), **more})


async def subscribe(
    cloud: RunningCloud, receiver: Receiver, *events: str, name: str = "crm"
) -> Caller:
    admin = await cloud.admin()
    made = await put(admin, receiver.url, *events, name=name)
    assert made.status == 200, made.body
    receiver.secret = made.json["secret"]
    return admin


async def visit(cloud: RunningCloud, count: int = 1, name: str = "door") -> None:
    """Let a device upload visits, each with a use."""
    one = Device(name)
    for n in range(count):
        one.write(opened("ana", at(n), f"visit-{n}"), at(n))
        one.write(use("ana", "days", at(n)), at(n))
    now = datetime.now(UTC)
    await ingest.send_ledger(cloud.cloud.database, "north", name, batch(one.entries), now)
    # The same once more tells nobody anything.
    await ingest.send_ledger(cloud.cloud.database, "north", name, batch(one.entries), now)


async def until_sent(admin: Caller, name: str = "crm", **wanted: Any) -> Any:
    async with asyncio.timeout(30):
        while True:
            found = await admin.ask("GET", "/admin/v1/sites/north/webhooks")
            (one,) = [w for w in found.json["webhooks"] if w["id"] == name]
            if all(one.get(field) == value for field, value in wanted.items()):
                return one
            await asyncio.sleep(0.02)


async def test_what_happens_is_told_in_order_and_signed(
    cloud: RunningCloud, receiver: Receiver
) -> None:
    admin = await subscribe(cloud, receiver, "session.*")
    await visit(cloud, 3)
    await receiver.wait(3)
    await until_sent(admin, waiting=None)
    assert receiver.verified == [True, True, True]
    assert [e["data"]["sequence"] for e in receiver.events] == [1, 3, 5]
    first = receiver.events[0]
    assert (first["type"], first["data"]["site"]) == ("session.opened", "north")
    assert first["data"]["entry"]["session"]["customer"] == "ana"
    found = await admin.ask("GET", "/admin/v1/sites/north/webhooks/crm/deliveries")
    assert [d["state"] for d in found.json["deliveries"]] == ["delivered"] * 3
    assert b"whsec" not in found.body


async def test_what_failed_is_told_again_before_what_follows(
    cloud: RunningCloud, receiver: Receiver
) -> None:
    receiver.statuses.extend([500, 302, 404])
    admin = await subscribe(cloud, receiver, "session.opened")
    await visit(cloud, 2)
    await receiver.wait(5)
    await until_sent(admin, waiting=None)
    assert receiver.followed == 0
    assert len(set(receiver.ids[:4])) == 1
    assert [e["data"]["sequence"] for e in receiver.events] == [1, 3]
    found = await admin.ask("GET", "/admin/v1/sites/north/webhooks/crm/deliveries")
    assert [d["attempts"] for d in found.json["deliveries"]] == [4, 1]


async def test_one_endpoint_does_not_wait_for_another(
    cloud: RunningCloud, receiver: Receiver
) -> None:
    async with Receiver().serving() as stuck:
        stuck.goes_on.clear()
        await subscribe(cloud, stuck, "*", name="stuck")
        await subscribe(cloud, receiver, "session.opened")
        await visit(cloud, 1)
        await stuck.wait(1)
        await receiver.wait(1)
        await visit(cloud, 2, "other")
        await receiver.wait(3)
        assert len(stuck.ids) == 1
        stuck.goes_on.set()


async def test_what_nobody_takes_for_a_day_is_parked(
    cloud: RunningCloud, receiver: Receiver
) -> None:
    receiver.statuses.extend([500] * 1000)
    admin = await subscribe(cloud, receiver, "session.opened")
    await visit(cloud, 1)
    await receiver.wait(1)
    async with cloud.cloud.database.writing() as writing:
        old = datetime.now(UTC) - timedelta(hours=25)
        await writing.execute(update(webhook_event).values(noted_at=old))
    found = await until_sent(admin, waiting=None)
    receiver.statuses.clear()
    path = "/admin/v1/sites/north/webhooks/crm/deliveries"
    (parked,) = (await admin.ask("GET", f"{path}?state=parked")).json["deliveries"]
    again = await admin.ask("POST", f"{path}/{parked['number']}/retry")
    assert (again.status, again.json["state"], again.json["status"]) == (200, "delivered", 200)
    assert receiver.events[-1]["data"]["sequence"] == 1
    assert found["error"] == "status 500"


async def test_whoever_wants_nothing_any_more_is_left_alone(
    cloud: RunningCloud, receiver: Receiver
) -> None:
    receiver.statuses.append(410)
    admin = await subscribe(cloud, receiver, "session.opened")
    await visit(cloud, 2)
    await until_sent(admin, paused=True)
    assert len(receiver.ids) == 1
    changed = await put(admin, receiver.url, "session.opened")
    assert "secret" not in changed.json
    await receiver.wait(3)


async def test_a_secret_is_replaced_without_a_gap(cloud: RunningCloud, receiver: Receiver) -> None:
    admin = await subscribe(cloud, receiver, "session.opened")
    made = await admin.ask("POST", "/admin/v1/sites/north/webhooks/crm/rotate")
    assert made.json["secret"] != receiver.secret
    await visit(cloud, 1)
    await receiver.wait(1)
    receiver.secret, old = made.json["secret"], receiver.secret
    await visit(cloud, 1, "other")
    await receiver.wait(2)
    assert receiver.verified == [True, True]
    async with cloud.cloud.database.writing() as writing:
        await writing.execute(update(webhook).values(previous_until=datetime.now(UTC)))
    receiver.secret = old
    await visit(cloud, 1, "third")
    await receiver.wait(3)
    assert receiver.verified[-1] is False
    async with cloud.cloud.database.reading() as connection:
        row = (await fetch(connection, select(webhook.c.secret))).one()
    assert old.encode() not in row.secret


async def test_two_workers_tell_an_event_once(
    cloud: RunningCloud, receiver: Receiver, further_url: str, tmp_path: Path
) -> None:
    async with running(further_url, tmp_path, webhook_networks=LOOPBACK):
        admin = await subscribe(cloud, receiver, "session.opened")
        await visit(cloud, 30)
        await receiver.wait(30)
        await until_sent(admin, waiting=None)
    assert [e["data"]["sequence"] for e in receiver.events] == list(range(1, 60, 2))


async def test_a_silent_device_is_told_of_once(cloud: RunningCloud, receiver: Receiver) -> None:
    await subscribe(cloud, receiver, "device.offline")
    database = cloud.cloud.database
    await cloud.enrol("door")
    now = datetime.now(UTC)
    async with database.writing() as writing:
        await writing.execute(update(device).values(seen_at=now - timedelta(minutes=6)))
    await webhook_events.note_offline(database, now)
    await webhook_events.note_offline(database, now)
    await receiver.wait(1)
    async with database.reading() as connection:
        rows = (await fetch(connection, select(webhook_event.c.id))).all()
    assert len(rows) == 1
    assert receiver.events[0]["data"]["device"] == "door"


async def test_nothing_is_noted_that_nobody_wants(cloud: RunningCloud, receiver: Receiver) -> None:
    await visit(cloud, 2)
    await subscribe(cloud, receiver, "access.denied")
    await visit(cloud, 2, "other")
    async with cloud.cloud.database.reading() as connection:
        assert (await fetch(connection, select(webhook_event.c.id))).all() == []


async def test_whoever_is_erased_is_not_told_of(cloud: RunningCloud, receiver: Receiver) -> None:
    admin = await subscribe(cloud, receiver, "session.opened")
    await put(admin, receiver.url, "session.opened", paused=True)
    await visit(cloud, 1)
    async with cloud.cloud.database.site("north") as tx:
        await erasure.erase(tx, "customer", "ana")
    await visit(cloud, 1, "other")
    async with cloud.cloud.database.reading() as connection:
        assert (await fetch(connection, select(webhook_event.c.id))).all() == []


async def test_old_events_are_forgotten_and_hold_up_nobody(
    cloud: RunningCloud, receiver: Receiver
) -> None:
    admin = await subscribe(cloud, receiver, "session.opened")
    await put(admin, receiver.url, "session.opened", paused=True)
    await visit(cloud, 2)
    database = cloud.cloud.database
    await webhook_events.sweep(database, datetime.now(UTC) + timedelta(days=8))
    await put(admin, receiver.url, "session.opened")
    await visit(cloud, 1, "other")
    await receiver.wait(1)
    assert receiver.events[0]["data"]["device"] == "other"


async def test_the_admin_api_refuses_what_cannot_be(cloud: RunningCloud) -> None:
    admin = await cloud.admin()
    for url in ("http://example.com/x", "https://10.0.0.1/", "https://user@example.com/"):
        refused = await put(admin, url, "*")
        assert (refused.status, refused.json["faults"][0]["field"]) == (422, "url")
    assert (await put(admin, "https://example.com/", "nonsense")).status == 422
    gone = await admin.ask("DELETE", "/admin/v1/sites/north/webhooks/none")
    assert gone.status == 404
    for n in range(20):
        assert (
            await put(admin, "https://example.com/", "*", name=f"n{n}", paused=True)
        ).status == 200
    assert (await put(admin, "https://example.com/", "*", name="n20")).status == 409
    assert (await admin.ask("DELETE", "/admin/v1/sites/north/webhooks/n3")).status == 204
