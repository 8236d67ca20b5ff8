"""A device that proves itself again at once is answered; the ledger takes what changes anything."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import TypeAlias

import pytest

from edgegate.app import App
from edgegate.checkin import enter, leave
from edgegate.passes.facts import Request
from edgegate.passes.model import Channel, Credential, Customer, Door, Unit
from edgegate.store import cache
from edgegate.store.books import Books
from edgegate.wifi import verifiers
from edgegate.wifi.rejoin import AGAIN
from rig.access_point import Word, access_point
from rig.wifi import WAIT_S, Answer, WifiSite

WORD = "generated-password"
PHONE = "02-00-00-00-00-01"
OTHER = "02-00-00-00-00-02"
DISCONNECT_ACK = 41


@pytest.fixture
def site(tmp_path: Path) -> WifiSite:
    made = WifiSite(tmp_path)
    # Her minutes are over before her silence would end the visit.
    made.member("ana", WORD, unit=Unit.MINUTE, amount=5)
    made.put(
        made.device("ana", "02:00:00:00:00:01"),
        Door(id="front", location="hq"),
        Customer(id="sam", staff=True),
        made.login("sam", verifiers.of_generated(WORD.encode())),
    )
    return made


async def sign_in(
    site: WifiSite, name: str = "ana", word: str = WORD, station: str = PHONE
) -> Answer:
    answer = await site.ask(
        f'User-Name = "{name}", User-Password = "{word}", Calling-Station-Id = "{station}"'
    )
    assert answer.code == "Access-Accept", answer.text
    return answer


async def recorded(site: WifiSite) -> tuple[int, int]:
    """How many Accepts, and how many entries in all, the ledger has."""
    accepted = await asyncio.to_thread(site.entries, "wifi.accepted")
    ((every,),) = await asyncio.to_thread(site.rows, "SELECT count(*) FROM entry")
    return len(accepted), int(every)


@pytest.mark.parametrize("name", ["ana", "sam"])
async def test_a_device_that_asks_without_end_fills_no_ledger(site: WifiSite, name: str) -> None:
    async with site.serving(wifi="") as app:
        first = await sign_in(site, name)
        before = await recorded(site)
        for _ in range(20):
            again = await sign_in(site, name)
            assert again.attributes["Class"] == first.attributes["Class"]
            assert again.attributes["User-Name"] == name
            left_s = int(again.attributes["Session-Timeout"])
            assert 0 <= int(first.attributes["Session-Timeout"]) - left_s <= WAIT_S
        assert await recorded(site) == before
        counts = app.wifi.counts()
        assert (counts.accepted, counts.again) == (21, 20)
        site.ahead = AGAIN
        later = await sign_in(site, name)
        assert later.attributes["Class"] != first.attributes["Class"]
        assert await recorded(site) == (before[0] + 1, before[1] + 2)


Meanwhile: TypeAlias = Callable[[WifiSite, App], Awaitable[object]]


async def checked_out(_: WifiSite, app: App) -> None:
    await app.keeper.do(lambda books: leave(books, "ana", "hq", app.clock.now()))


async def came_by_the_door(_: WifiSite, app: App) -> None:
    def entered(books: Books) -> None:
        location, customer, door = books.location("hq"), books.customer("ana"), books.door("front")
        assert location is not None
        assert customer is not None
        at = app.clock.now()
        enter(books, Request(at=at, location=location, channel=Channel.DOOR, door=door), customer)

    await app.keeper.do(entered)


async def fell_silent(site: WifiSite, _: App) -> None:
    ((class_,),) = await asyncio.to_thread(site.rows, "SELECT class FROM wifi_grant")
    for status in ("Start", "Stop"):
        told = {"Class": "0x" + class_.encode().hex(), "Calling_Station_Id": f'"{PHONE}"'}
        await site.account(status, "s1", **told)


async def put(app: App, login: Credential) -> None:
    """As if the cloud had changed it."""
    await app.thread.run_cache(lambda store: cache.put(store.cache, cache.CREDENTIAL, login))


async def has_a_new_password(site: WifiSite, app: App) -> None:
    # The same words, salted anew: what was proven before is no proof of it.
    await put(app, site.login("ana", verifiers.of_generated(WORD.encode())))


async def may_stay_for_another_time(_: WifiSite, app: App) -> None:
    def moved(books: Books) -> None:
        books.ledger.execute("UPDATE wifi_grant SET until = until - 1000000")

    await app.keeper.do(moved)


@pytest.mark.parametrize(
    "meanwhile",
    [
        checked_out,
        came_by_the_door,
        fell_silent,
        has_a_new_password,
        may_stay_for_another_time,
    ],
)
async def test_what_changes_anything_is_recorded(site: WifiSite, meanwhile: Meanwhile) -> None:
    async with site.serving() as app:
        await sign_in(site)
        await meanwhile(site, app)
        await sign_in(site)
        assert (await recorded(site))[0] == 2
        assert app.wifi.counts().again == 0


async def test_a_clock_that_went_back_is_not_waited_for(site: WifiSite) -> None:
    async with site.serving() as app:
        await sign_in(site, "sam")
        site.ahead = timedelta(hours=-1)
        await sign_in(site, "sam")
        assert app.wifi.counts().again == 0


async def test_another_device_and_another_proof_are_recorded(site: WifiSite) -> None:
    async with site.serving() as app:
        await sign_in(site)
        await sign_in(site, station=OTHER)
        await sign_in(site, PHONE, PHONE)
        assert (await recorded(site))[0] == 3
        await sign_in(site, station="")
        await sign_in(site, station="")
        assert (await recorded(site))[0] == 5, "of a device that has no name nobody knows which"
        assert app.wifi.counts().again == 0


async def test_who_has_no_right_any_more_is_refused_at_once(site: WifiSite) -> None:
    async with site.serving() as app:
        await sign_in(site)

        await put(app, site.login("ana", "sha256$00$00"))
        answer = await site.ask(
            f'User-Name = "ana", User-Password = "{WORD}", Calling-Station-Id = "{PHONE}"'
        )
        assert answer.code == "Access-Reject"

        def locked(books: Books) -> None:
            books.lockdown = True

        await app.keeper.do(locked)
        answer = await site.ask(
            f'User-Name = "{PHONE}", User-Password = "{PHONE}", Calling-Station-Id = "{PHONE}"'
        )
        assert answer.code == "Access-Reject"


@pytest.mark.parametrize("session", ["s1", "s2"])
async def test_a_session_after_it_counts_and_ends_by_its_right(
    site: WifiSite, session: str
) -> None:
    """It begins under the Class of the first, though that one's session has stopped."""
    await asyncio.to_thread(site.member, "bob", WORD, unit=Unit.MINUTE, amount=2)
    phone = {"Calling_Station_Id": f'"{PHONE}"'}
    async with access_point(Word(DISCONNECT_ACK)) as point:
        nas = f'vendor = "hostapd"\ndisconnect_port = {point.port}'
        async with site.serving(nas=nas) as app:
            class_ = (await sign_in(site, "bob")).attributes["Class"]
            await site.account("Start", "s1", Class=class_, **phone)
            await sign_in(site, "bob")
            assert app.wifi.counts().again == 1
            await site.account("Stop", "s1", Class=class_, Acct_Delay_Time=30, **phone)
            await site.account("Start", session, Class=class_, **phone)
            live = "SELECT number FROM wifi_session WHERE stopped_at IS NULL"
            assert await asyncio.to_thread(site.rows, live) == [(session,)]
            site.ahead = timedelta(seconds=121)
            async with asyncio.timeout(WAIT_S):
                while not point.heard:  # noqa: ASYNC110 - the access point is no task of ours
                    await asyncio.sleep(0.05)
        assert point.heard[0][44] == [session.encode()]
