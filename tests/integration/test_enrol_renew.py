"""A certificate over its life, with the real cloud: renewed in time, revoked, ended."""

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import pytest
from msgspec.structs import replace

from edgegate.clock import SystemClock
from edgegate.ports import ClockTrust, DriverStatus
from edgegate_sync.appliance import clocktrust
from edgegate_sync.appliance.client import CloudClient
from edgegate_sync.appliance.clocktrust import hear_cloud
from edgegate_sync.appliance.enrol import enrol
from edgegate_sync.appliance.errors import UnreachableError
from edgegate_sync.appliance.identity import Identity, renewal_due
from edgegate_sync.appliance.renew import (
    LOOK_S_MAX,
    RETRY_FIRST_S,
    CertificateRevokedError,
    Renewal,
)
from edgegate_sync.wire.enrolment import Renewed, RenewRequest
from rig.brokers import running as beside
from rig.brokers import until
from rig.clouds import RunningCloud, running
from rig.devices import StillClock


@pytest.fixture
async def cloud(tmp_path: Path) -> AsyncIterator[RunningCloud]:
    async with running(f"sqlite:///{tmp_path}/cloud.db", tmp_path) as made:
        yield made


class Notes:
    """What was said of the certificate, and how often it was new."""

    def __init__(self) -> None:
        self.said: list[tuple[str, DriverStatus, str]] = []
        self.renewed = 0

    def note(self, name: str, status: DriverStatus, detail: str) -> None:
        self.said.append((name, status, detail))

    def on_renewed(self) -> None:
        self.renewed += 1


class Enrolled(NamedTuple):
    """A device, with a clock that the test moves."""

    identity: Identity
    clock: StillClock
    notes: Notes
    state_dir: Path

    def renewal(self, client: CloudClient) -> Renewal:
        return Renewal(
            self.identity,
            client,
            self.clock,
            note=self.notes.note,
            on_renewed=self.notes.on_renewed,
        )


@pytest.fixture
async def device(cloud: RunningCloud, tmp_path: Path) -> Enrolled:
    admin = await cloud.admin()
    made = await admin.ask("POST", "/admin/v1/sites/north/claims", json={"device": "front"})
    identity = await enrol(cloud.base, made.json["typed"], tmp_path / "state")
    return Enrolled(identity, StillClock(identity.life[0]), Notes(), tmp_path / "state")


async def client_of(cloud: RunningCloud, identity: Identity) -> CloudClient:
    return CloudClient(cloud.base, await asyncio.to_thread(identity.tls))


async def test_it_is_renewed_when_due_and_not_before(cloud: RunningCloud, device: Enrolled) -> None:
    first, due = device.identity.serial, renewal_due(device.identity)
    async with await client_of(cloud, device.identity) as client:
        renewal = device.renewal(client)
        device.clock.at = due - timedelta(minutes=10)
        assert await renewal.look() == 600
        assert (device.identity.serial, device.notes.renewed) == (first, 0)
        device.clock.at = due
        await renewal.look()
    assert device.notes.renewed == 1
    loaded = await asyncio.to_thread(Identity.load, device.state_dir)
    assert loaded.serial == device.identity.serial != first
    assert (loaded.site, loaded.device) == ("north", "front")
    assert not (device.state_dir / "identity" / "next.key").exists()
    async with await client_of(cloud, loaded) as client, client.feed(0) as answer:
        assert [chunk async for chunk in answer.chunks()]


async def test_a_clock_that_nobody_believes_renews_nothing(
    cloud: RunningCloud, device: Enrolled
) -> None:
    """By a clock that is ten years ahead each new one would be due at once."""
    first = device.identity.serial
    device.clock.at += timedelta(days=3650)
    device.clock.trusted = ClockTrust.UNTRUSTED
    async with await client_of(cloud, device.identity) as client:
        assert await device.renewal(client).look() == LOOK_S_MAX
    assert device.identity.serial == first


async def test_a_clock_far_ahead_of_the_clouds_renews_once_and_not_for_ever(
    cloud: RunningCloud, device: Enrolled
) -> None:
    """Each new one would be due at once, and the cloud would revoke the one that is in use."""
    device.clock.at = device.identity.life[1] - timedelta(days=1)
    async with await client_of(cloud, device.identity) as client:
        await device.renewal(client).look()
    second = device.identity.serial
    async with await client_of(cloud, device.identity) as client:
        assert 0 < await device.renewal(client).look() <= LOOK_S_MAX
    assert (device.identity.serial, device.notes.renewed) == (second, 1)


async def test_a_device_that_was_locked_out_says_so_and_stops(
    cloud: RunningCloud, device: Enrolled
) -> None:
    admin = await cloud.admin()
    told = await admin.ask("POST", "/admin/v1/sites/north/devices/front/revoke")
    assert told.status == 204
    device.clock.at = renewal_due(device.identity)
    async with await client_of(cloud, device.identity) as client:
        with pytest.raises(CertificateRevokedError, match="locked this device out"):
            await device.renewal(client).run()
    assert device.notes.renewed == 0


class AwayCloud(CloudClient):
    """A cloud that is out of reach."""

    def __init__(self) -> None:
        super().__init__("https://away.invalid")
        self.asked = 0

    async def renew(self, request: RenewRequest) -> Renewed:
        assert request.csr
        self.asked += 1
        raise UnreachableError("no route")


async def test_a_cloud_that_is_away_is_asked_less_and_less_and_the_end_is_told(
    device: Enrolled,
) -> None:
    away = AwayCloud()
    renewal = device.renewal(away)
    ends = device.identity.life[1]
    device.clock.at = renewal_due(device.identity)
    waits = [await renewal.look() for _ in range(40)]
    assert all(wait <= min(LOOK_S_MAX, RETRY_FIRST_S * 2**i) for i, wait in enumerate(waits))
    assert away.asked == 40
    assert device.notes.said == []
    device.clock.at = ends - timedelta(days=29)
    await renewal.look()
    assert device.notes.said[-1][:2] == ("certificate", DriverStatus.SELF_CHECK_FAILED)
    device.clock.at = ends + timedelta(seconds=1)
    await renewal.look()
    name, status, detail = device.notes.said[-1]
    assert (name, status) == ("certificate", DriverStatus.OFFLINE)
    assert "enrol the device anew" in detail


async def test_a_certificate_that_is_not_ours_is_not_taken(
    cloud: RunningCloud, device: Enrolled
) -> None:
    """Such as an answer that a proxy mixed up."""

    class Mixed(CloudClient):
        async def renew(self, request: RenewRequest) -> Renewed:
            return replace(await super().renew(request), device="back")

    first = device.identity.serial
    device.clock.at = renewal_due(device.identity)
    async with Mixed(cloud.base, await asyncio.to_thread(device.identity.tls)) as client:
        await device.renewal(client).look()
    assert (device.identity.serial, device.notes.renewed) == (first, 0)
    assert (await asyncio.to_thread(Identity.load, device.state_dir)).serial == first


async def test_the_clouds_date_makes_a_clock_trusted(
    cloud: RunningCloud, device: Enrolled, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgegate.clock._synchronised", lambda: False)
    monkeypatch.setattr(clocktrust, "LOOK_S", 0.01)
    clock = SystemClock()
    assert clock.trust() is ClockTrust.UNTRUSTED
    client = await client_of(cloud, device.identity)
    async with client, beside(hear_cloud(client, clock)):
        async with client.feed(0) as answer:
            assert [chunk async for chunk in answer.chunks()]
        await until(lambda: clock.trust() is ClockTrust.TRUSTED, "trust")
    assert clock.source == "cloud"
    assert abs(clock.now() - datetime.now(tz=clock.now().tzinfo)) < timedelta(minutes=1)
