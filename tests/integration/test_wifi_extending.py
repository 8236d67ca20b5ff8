"""A right that lasts longer is told to access points that understand, once."""

import asyncio
import time
from datetime import timedelta
from pathlib import Path

import pytest

from edgegate.app import App
from edgegate.deadlines import reconsider
from edgegate.passes.model import Pass, Unit
from edgegate.store import cache, wifi_grants
from edgegate.store.books import Books
from edgegate.store.files import Store
from edgegate.wifi.attributes import Code
from rig.access_point import AccessPoint, Word, access_point
from rig.wifi import WAIT_S, WifiSite

WORD = "generated-password"
PHONE = "02-00-00-00-00-01"
SESSION_TIMEOUT = 27


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> WifiSite:
    monkeypatch.setattr("edgegate.wifi.extending.LOOK_S", 0.05)
    made = WifiSite(tmp_path)
    made.member("ana", WORD, unit=Unit.MINUTE, amount=5)
    return made


async def until_heard(point: AccessPoint, count: int) -> None:
    ends_s = time.monotonic() + WAIT_S
    while len(point.heard) < count:
        assert time.monotonic() < ends_s
        await asyncio.sleep(0.05)


async def joined(site: WifiSite) -> None:
    answer = await site.ask(
        f'User-Name = "ana", User-Password = "{WORD}", Calling-Station-Id = "{PHONE}"'
    )
    told = {"Class": answer.attributes["Class"], "User_Name": '"ana"'}
    await site.account("Start", "s1", Calling_Station_Id=f'"{PHONE}"', **told)


async def has_minutes(app: App, amount: int) -> None:
    """As if the cloud had changed the pass."""
    issued = Pass(id="ana-pass", holder="ana", unit=Unit.MINUTE, amount=amount, wifi=True)

    def changed(store: Store) -> None:
        cache.put(store.cache, cache.PASS, issued)

    def reconsidered(books: Books) -> None:
        reconsider(books, app.clock.now())

    await app.thread.run_cache(changed)
    await app.keeper.do(reconsidered)


async def to_tell(app: App) -> int:
    return len(await app.keeper.do(lambda books: wifi_grants.later(books.ledger)))


async def test_an_extended_pass_is_told(site: WifiSite) -> None:
    async with access_point(Word(Code.COA_ACK)) as point:
        nas = f'vendor = "mikrotik"\ndisconnect_port = {point.port}'
        async with site.serving(nas=nas) as app:
            await joined(site)
            assert await to_tell(app) == 0
            for count, amount in enumerate((20, 40), start=1):
                await has_minutes(app, amount)
                await until_heard(point, count)
                (timeout,) = point.heard[-1][SESSION_TIMEOUT]
                left_s = int.from_bytes(timeout)
                assert amount * 60 - WAIT_S <= left_s <= amount * 60
                assert point.heard[-1].code == Code.COA_REQUEST
                ends_s = time.monotonic() + WAIT_S
                while await to_tell(app):
                    assert time.monotonic() < ends_s
            # What ends sooner is no matter of this: that device is sent off when its time comes.
            await has_minutes(app, 10)
            assert await to_tell(app) == 0
            assert len(point.heard) == 2
            assert all(point.genuine)


async def test_who_refuses_is_not_asked_again_for_the_same(site: WifiSite) -> None:
    async with access_point(Word(Code.COA_NAK, 401)) as point:
        nas = f'vendor = "mikrotik"\ndisconnect_port = {point.port}'
        async with site.serving(nas=nas) as app:
            await joined(site)
            await has_minutes(app, 20)
            await until_heard(point, 2)
            await asyncio.sleep(0.5)
            # By both names that it may know the session by, and no more.
            assert len(point.heard) == 2
            assert await to_tell(app) == 1


async def test_who_does_not_understand_is_not_asked(site: WifiSite) -> None:
    async with access_point(Word(Code.COA_ACK)) as point:
        nas = f'vendor = "hostapd"\ndisconnect_port = {point.port}'
        async with site.serving(nas=nas) as app:
            await joined(site)
            await has_minutes(app, 20)
            await asyncio.sleep(0.3)
            assert point.heard == []
            # The device comes in again when its access point ends the session, and is told more.
            site.ahead = timedelta(seconds=301)
            answer = await site.ask(
                f'User-Name = "ana", User-Password = "{WORD}", Calling-Station-Id = "{PHONE}"'
            )
            assert int(answer.attributes["Session-Timeout"]) > 14 * 60
