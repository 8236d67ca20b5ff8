"""A device at a real access point: it joins by a pass, and leaves when the pass is used up."""

import asyncio
import signal
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from edgegate.passes.model import Location, Unit
from rig.wifi import WAIT_S, WifiSite
from rig.wired import Program, cable

pytestmark = pytest.mark.namespaces

WORD = "generated-word"


@pytest.fixture
def site(tmp_path: Path) -> WifiSite:
    made = WifiSite(tmp_path)
    made.member("ana", WORD, unit=Unit.MINUTE, amount=3)
    return made


def network(site: WifiSite) -> str:
    return f"""
        eap=TTLS
        identity="ana"
        anonymous_identity="anonymous"
        password="{WORD}"
        phase2="auth=PAP"
        ca_cert="{site.state}/wifi/ca.pem"
        domain_match="wifi.edgegate.internal"
    """


async def until_entry(
    site: WifiSite, kind: str, fits: Callable[[dict[str, Any]], bool], *programs: Program
) -> dict[str, Any]:
    """The first entry of a kind that fits, once there is one."""
    ends_s = time.monotonic() + WAIT_S
    while True:
        for entry in await asyncio.to_thread(site.entries, kind):
            if fits(entry):
                return entry
        if time.monotonic() > ends_s:
            told = [(await program.printed())[-4000:] for program in programs]
            pytest.fail(f"no {kind}: {told}")
        await asyncio.sleep(0.05)


async def until_printed(program: Program, words: str) -> None:
    """Wait until a program has printed these words."""
    ends_s = time.monotonic() + WAIT_S
    while words not in await program.printed():
        assert time.monotonic() < ends_s, f"it never printed: {words}"
        await asyncio.sleep(0.05)


async def test_a_pass_of_minutes_from_joining_to_being_refused(site: WifiSite) -> None:
    async with cable(site.directory, site.auth_port, site.acct_port) as wire:
        nas = f'vendor = "hostapd"\ndisconnect_port = {wire.das_port}'
        async with site.serving(nas=nas):
            await wire.access_point.start()
            device = await asyncio.to_thread(wire.device, network(site))
            await device.start()
            try:
                both = (wire.access_point, device)
                started = await until_entry(site, "wifi.started", lambda _: True, *both)
                assert started["customer"] == "ana"
                site.ahead = timedelta(minutes=3, seconds=1)
                ended = await until_entry(site, "wifi.disconnected", lambda e: "tries" in e, *both)
                assert (ended["outcome"], ended["customer"]) == ("acked", "ana")
                stopped = await until_entry(site, "wifi.stopped", lambda e: "why" in e, *both)
                assert (stopped["why"], stopped["number"]) == ("stop", started["number"])
                closed = await until_entry(site, "session.closed", lambda _: True)
                assert (closed["reason"], closed["minutes"]) == ("used_up", 3)
                await device.stop()
                await device.start()
                denied = await until_entry(site, "access.denied", lambda _: True, *both)
                assert (denied["customer"], denied["reason"]) == ("ana", "used_up")
                await until_printed(wire.access_point, "Your minutes are used up")
            finally:
                await device.stop()


async def test_an_access_point_that_dies_settles_its_sessions_when_it_is_back(
    site: WifiSite,
) -> None:
    async with cable(site.directory, site.auth_port, site.acct_port) as wire, site.serving():
        await wire.access_point.start()
        device = await asyncio.to_thread(wire.device, network(site))
        await device.start()
        try:
            first = await until_entry(site, "wifi.started", lambda _: True, wire.access_point)
            await wire.access_point.stop(signal.SIGKILL)
            await device.stop(signal.SIGKILL)
            await wire.access_point.start()
            stopped = await until_entry(
                site, "wifi.stopped", lambda e: "why" in e, wire.access_point
            )
            assert (stopped["why"], stopped["number"]) == ("restarted", first["number"])
            await device.start()
            again = await until_entry(
                site, "wifi.started", lambda e: e["number"] != first["number"], wire.access_point
            )
            assert again["customer"] == "ana"
        finally:
            await device.stop()


@pytest.mark.soak
@pytest.mark.timeout(600)
async def test_minutes_count_as_far_as_the_access_point_told(site: WifiSite) -> None:
    """An interim takes a minute to come: hostapd knows no shorter interval."""
    hq = Location(id="hq", timezone=site.zone, wifi_idle_minutes=15)
    await asyncio.to_thread(site.put, hq)
    await asyncio.to_thread(site.member, "ana", WORD, unit=Unit.MINUTE, amount=60)
    async with (
        cable(site.directory, site.auth_port, site.acct_port) as wire,
        site.serving(wifi="interim_s = 60") as app,
    ):
        await wire.access_point.start()
        device = await asyncio.to_thread(wire.device, network(site))
        await device.start()
        try:
            await until_entry(site, "wifi.started", lambda _: True, wire.access_point, device)
            told = 0
            ends_s = time.monotonic() + 60 + WAIT_S
            while not told:
                assert time.monotonic() < ends_s, "no interim came"
                await asyncio.sleep(1)
                await app.wifi.accounting.flush()
                ((told,),) = await asyncio.to_thread(site.rows, "SELECT seconds FROM wifi_session")
            assert 60 <= told < 120
            # Both lose their power: nobody tells of the end.
            await wire.access_point.stop(signal.SIGKILL)
            await device.stop(signal.SIGKILL)
            site.ahead = timedelta(minutes=4)
            await app.wifi.accounting.flush()
            lost = await until_entry(site, "wifi.stopped", lambda e: "why" in e)
            assert (lost["why"], lost["seconds"]) == ("lost", told)
            site.ahead = timedelta(minutes=25)
            closed = await until_entry(site, "session.closed", lambda _: True)
            assert closed["reason"] == "wifi_idle"
            assert told // 60 <= closed["minutes"] <= told // 60 + 1
        finally:
            await device.stop()
