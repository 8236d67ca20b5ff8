"""The exchange over a certificate's life: connections made anew with it, an end when revoked."""

from pathlib import Path

import pytest

from edgegate.bookkeeper import Bookkeeper
from edgegate.config import CloudSection
from edgegate.supervisor import StatusBoard
from edgegate_sync.appliance import uplink as uplink_module
from edgegate_sync.appliance.client import CloudClient
from edgegate_sync.appliance.enrol import enrol
from edgegate_sync.appliance.identity import renewal_due
from edgegate_sync.appliance.renew import Renewal
from edgegate_sync.appliance.uplink import Loops, Parts, Uplink
from rig.brokers import running as beside
from rig.brokers import until
from rig.clouds import running
from rig.devices import Device, Hands, StillClock


@pytest.mark.parametrize("is_revoked", [False, True])
async def test_the_exchange_follows_its_certificate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_revoked: bool
) -> None:
    monkeypatch.setattr(uplink_module, "REVOKED_PAUSE_S", 3600.0)
    async with (
        running(f"sqlite:///{tmp_path}/cloud.db", tmp_path) as cloud,
        Device(tmp_path / "d", "front") as device,
    ):
        admin = await cloud.admin()
        made = await admin.ask("POST", "/admin/v1/sites/north/claims", json={"device": "front"})
        identity = await enrol(cloud.base, made.json["typed"], device.state_dir)
        first = identity.serial
        clock = StillClock(identity.life[0])
        board = StatusBoard()
        keeper = Bookkeeper(device.thread, lambda: device.stamp)
        keeper._books, keeper._store = device.books, None
        uplink: Uplink
        pulls_before = 0

        def note_renewed() -> None:
            # Counted here: the next pull may be over before this test looks again.
            nonlocal pulls_before
            pulls_before = uplink.pulls
            uplink.note_renewed()

        def more(client: CloudClient) -> Loops:
            renewal = Renewal(identity, client, clock, note=board.note, on_renewed=note_renewed)
            return {"uplink certificate": renewal.run}

        parts = Parts(
            site="north",
            device="front",
            state_dir=device.state_dir,
            settings=CloudSection(url=cloud.base, wait_s=1),
            identity=identity,
            keeper=keeper,
            thread=device.thread,
            clock=clock,
            stamp=lambda: device.stamp,
            board=board,
            acts=Hands(),
            note_reached=lambda _at: None,
            more=more,
        )
        uplink = Uplink(parts)
        async with beside(uplink.run()):
            await until(lambda: uplink.pulls > 0, "a pull")
            state = await uplink.collect()
            assert state is not None
            assert state.certificate_expires_at == identity.expires_at()
            if is_revoked:
                await admin.ask("POST", "/admin/v1/sites/north/devices/front/revoke")
                await until(
                    lambda: "locked this device out" in board.devices()["certificate"].detail,
                    "an end",
                )
            else:
                clock.at = renewal_due(identity)
                uplink.note_renewed()
                await until(lambda: identity.serial != first, "a new certificate")
                await until(lambda: uplink.pulls > pulls_before > 0, "a pull with it")
                uplink.sync_now()
